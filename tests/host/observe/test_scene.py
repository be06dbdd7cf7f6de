# SPDX-License-Identifier: MIT
"""A method of a scene fails if its command in the guest fails."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from agentguest import guest
from shirq_bench.channels.agent import _Frame
from shirq_bench.errors import CommandFailed
from shirq_bench.observe.scene import Scene
from shirq_bench.vm.vm import Vm


def test_an_upload_that_the_guest_cannot_keep_fails(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"\xff\0")
    heard: list[object] = []

    def refuse() -> None:
        while (frame := vm.hears())[2]:
            heard.append(frame[::2])
        vm.says(_Frame.STDERR, 1, b"sh: can't create /no such/file: nonexistent directory\n")
        vm.exits(1, 1)

    with guest() as vm:
        threading.Thread(target=refuse).start()
        scene = Scene(cast(Vm, SimpleNamespace(name="vm7", agent=vm.agent)))
        with pytest.raises(
            CommandFailed, match=rf"vm7: {source} is not in the guest as /no such/file: sh: can't create"
        ):
            scene.upload(source, "/no such/file")
    assert heard == [
        (_Frame.EXEC, b"sh\0-c\0cat >'/no such/file' && chmod 755 '/no such/file'\0"),
        (_Frame.STDIN, b"\xff\0"),
    ]
