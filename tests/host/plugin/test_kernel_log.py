# SPDX-License-Identifier: MIT
"""The kernel log that the plugin searches for splats, and the complaints if it could not be read."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agentguest import guest
from logwriter import Story
from shirq_bench import plugin
from shirq_bench.channels.agent import _Frame
from shirq_bench.errors import AgentGone, DeadlineExceeded, QmpFailed
from shirq_bench.observe.invariants import Waiver
from shirq_bench.plugin.artefacts import kernel_log
from shirq_bench.vm.vm import Vm

_CONSOLE = "shirq: the guest is up\n"


def test_a_kernel_log_that_is_not_read_whole_is_the_consoles(tmp_path: Path) -> None:
    """If dmesg fails, its output may lack a splat: the plugin uses the console's text instead."""

    def dmesg() -> None:
        _, number, _ = it.hears()
        it.says(_Frame.STDOUT, number, b"a part\n")
        it.exits(number, 1)

    with guest() as it:
        threading.Thread(target=dmesg).start()
        whole = Hung(tmp_path)
        whole.agent = it.agent
        assert kernel_log(cast(Vm, whole)) == (_CONSOLE, "vm7: status 1 from: dmesg")


class Hung:
    """A guest that does not answer; QEMU runs unless there is a ``status``."""

    name = "vm7"
    started = True
    patience = busiest = 1.0
    parts = SimpleNamespace(objects=())

    def __init__(self, directory: Path) -> None:
        self.dir = directory
        self.ended: int | None = None
        self.agent: Any = SimpleNamespace(succeed=self.dmesg)
        self.qmp = SimpleNamespace(execute=lambda command, **_: [] if command.startswith("query") else "RIP=0")
        self.console = SimpleNamespace(text=lambda: _CONSOLE, transcript=SimpleNamespace(lost=None))

    def dmesg(self, script: str, deadline: float) -> str:
        raise AgentGone("the channel is closed") if self.ended else DeadlineExceeded("vm7: dmesg: too late\nQEMU runs")

    def status(self) -> int | None:
        return self.ended

    def log(self) -> Any:
        return Story().claimed_interrupt().log()

    def now_ns(self) -> int:
        raise QmpFailed("not asked here")


@pytest.fixture
def vm(tmp_path: Path) -> Any:
    return Hung(tmp_path)


def _complaints(vm: Any, *waivers: Waiver) -> str:
    """What a test with one guest is told at its end."""

    def markers(name: str) -> Iterator[Any]:
        yield from (SimpleNamespace(args=(), kwargs=vars(waiver)) for waiver in waivers)

    config = SimpleNamespace(getini=lambda _: "", rootpath=Path())
    item: Any = SimpleNamespace(iter_markers=markers, get_closest_marker=lambda _: None, config=config)
    return plugin._complaints(item, vm, 0)


def test_a_guest_that_hangs_does_not_pass_its_test(vm: Any) -> None:
    """Its console has not all of its kernel log, so that the absence of splats there proves nothing."""
    assert _complaints(vm) == "vm7: the kernel log could not be read: vm7: dmesg: too late"


def test_a_guest_that_may_end_is_judged_by_its_console(vm: Any) -> None:
    ends = Waiver("it ends", guest_ends=True)
    assert _complaints(vm, ends) == ""
    vm.ended = 0
    assert _complaints(vm, ends) == ""
    assert _complaints(vm, Waiver("its line is high", line_of="dev0")).endswith("QEMU ended with status 0")


def test_a_console_that_was_not_written_down_is_not_judged(vm: Any) -> None:
    vm.ended = 0
    vm.console.transcript.lost = OSError(errno.ENOSPC, "No space left on device")
    assert _complaints(vm, Waiver("it ends", guest_ends=True)) == (
        "vm7: the console's output, read in place of the kernel log, is incomplete: [Errno 28] No space left on device"
    )


def test_a_full_disk_does_not_hide_a_complaint(vm: Any) -> None:
    for name in ("dmesg", "processors"):
        (vm.dir / name).symlink_to("/dev/full")
    assert "the kernel log could not be read" in _complaints(vm)
