# SPDX-License-Identifier: MIT
"""What a failed test keeps of a guest that has ended."""

from __future__ import annotations

import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pexpect

from shirq_bench.channels.console import Console
from shirq_bench.errors import AgentGone, QmpFailed
from shirq_bench.observe import splats
from shirq_bench.plugin import artefacts

_CONSOLE = """\
shirq: the guest is up
[    5.000000] BUG: KASAN: slab-use-after-free in shirq_read+0x10/0x20 [shirq]
[    5.000001] Call Trace:
[    5.000002]  </TASK>
[    6.000000] Kernel panic - not syncing: KASAN: panic_on_warn set ...
"""


def test_the_report_before_a_panic_is_in_the_kernel_log(tmp_path: Path) -> None:
    def gone(*_: object, **__: object) -> Any:
        raise AgentGone("the agent channel was closed")

    def closed(*_: object, **__: object) -> Any:
        raise QmpFailed("the connection is closed")

    near, far = socket.socketpair()
    console = Console("trial", near, tmp_path / "console.log")
    far.sendall(_CONSOLE.encode())
    far.close()
    console.expect(pexpect.EOF)
    vm: Any = SimpleNamespace(
        started=True,
        dir=tmp_path,
        agent=SimpleNamespace(succeed=gone),
        qmp=SimpleNamespace(execute=closed),
        console=console,
    )
    log, unread = artefacts.kernel_log(vm)
    (found,) = splats.scan(log)
    assert "KASAN" in found.rule
    assert unread == "the agent channel was closed"
