# SPDX-License-Identifier: MIT
"""The examples of docs/howto/messages.md: the test runs each of them in a guest that has the card."""

from __future__ import annotations

import re
from pathlib import Path

from guest.test_c_library import LIBRARY, compiled
from guest.test_vectors import nic
from shirq_bench.observe.scene import Scene
from shirq_bench.paths import GUEST, need_checkout

__all__ = ["nic"]

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_examples_with_messages_print_what_the_page_shows(nic: Scene, tmp_path: Path) -> None:
    """Each program of the page, in Python and in C, prints the block that follows it."""
    page = need_checkout("this test") / "docs/howto/messages.md"
    blocks = _BLOCK.findall(page.read_text())
    programs = dict.fromkeys(["python", "c"], 0)
    for (kind, body), (_, shown) in zip(blocks[::2], blocks[1::2], strict=True):
        programs[kind] += 1
        if kind == "c":
            source = tmp_path / "example.c"
            source.write_text(body)
            program = compiled(tmp_path / "example", "-static", f"-I{GUEST}/lib", source, LIBRARY)
            nic.upload(program, "/tmp/example")
            result = nic.vm.agent.run("/tmp/example")
        else:
            result = nic.vm.agent.run("python3", "-c", body, deadline=60)
        assert (result.status, result.stdout) == (0, shown), result.stderr
    assert programs == {"python": 2, "c": 1}
