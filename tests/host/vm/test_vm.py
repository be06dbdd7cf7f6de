# SPDX-License-Identifier: MIT
"""A VM before it starts and when it ends: what it leaves, and what it knows of its host."""

from __future__ import annotations

import errno
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from shirq_bench.errors import DeadlineExceeded
from shirq_bench.journal import Kind
from shirq_bench.observe import invariants
from shirq_bench.supervisor import Supervisor, SupervisorGone
from shirq_bench.vm import vm as module
from shirq_bench.vm.accel import Accelerator
from shirq_bench.vm.machine import Machine
from shirq_bench.vm.vm import Vm


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The place of the run directories. No part of a guest is built."""
    known: Any = SimpleNamespace(kernel=SimpleNamespace(patience=1.0))
    monkeypatch.setattr(module, "parts", lambda *_: known)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_line_may_wait_as_long_as_the_busiest_host_lets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that was busy at any step of the guest and is idle at the test's end."""
    loads = [20.0, 1.0]
    monkeypatch.setattr(module, "competition", lambda: loads.pop(0) if len(loads) > 1 else loads[0])
    monkeypatch.setattr(invariants, "competition", lambda: 1.0)
    with Vm(Machine()) as vm:
        assert invariants.forgotten_ns(vm) == 10_000_000_000
        for _ in range(2):
            with vm.journal.during(Kind.WAIT, "nothing"):
                pass
        assert invariants.forgotten_ns(vm) == 200_000_000_000


def test_a_vm_whose_qemu_does_not_end_leaves_nothing_else(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def kill() -> None:
        raise DeadlineExceeded("QEMU still exists after SIGKILL")

    ended: list[str] = []
    vm = Vm(Machine())
    vm._resources.callback(ended.append, "a channel")
    monkeypatch.setattr(vm._emulator, "kill", kill)
    with pytest.raises(DeadlineExceeded, match="still exists"):
        vm.close()
    assert ended == ["a channel"]
    assert vm.journal.transcript and vm.journal.transcript._file.closed
    assert list(runs.iterdir()) == []


def test_a_vm_without_room_for_its_journal_leaves_nothing(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "Journal", full)
    with pytest.raises(OSError, match="No space left"):
        Vm(Machine())
    assert list(runs.iterdir()) == []


def test_a_vm_without_a_supervisor_leaves_nothing(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object) -> None:
        raise SupervisorGone("the supervisor process has died")

    monkeypatch.setattr(Supervisor, "own", gone)
    with pytest.raises(SupervisorGone):
        Vm(Machine())
    assert list(runs.iterdir()) == []


def _arguments(monkeypatch: pytest.MonkeyPatch, machine: Machine, patience: float) -> list[str]:
    """QEMU's arguments for a machine whose kernel has this patience."""
    kernel: Any = SimpleNamespace(patience=patience, vmlinuz="vmlinuz", memory_mib=256)
    made_of = module.Parts(kernel, Path("initrd"), Path("qemu"), Accelerator("tcg", ""))
    monkeypatch.setattr(module, "parts", lambda *_: made_of)
    with Vm(machine) as vm:
        return vm._arguments(dict.fromkeys(("qmp", "console", "agent"), 9))


@pytest.mark.parametrize(("patience", "stall"), [(1.0, ""), (5.0, "rcupdate.rcu_cpu_stall_timeout=105")])
def test_slow_kernel_may_stall_longer(monkeypatch: pytest.MonkeyPatch, patience: float, stall: str) -> None:
    """RCU complains of a stall by the host's clock: on a busy host the boot of an instrumented kernel takes so long."""
    arguments = _arguments(monkeypatch, Machine(), patience)
    parameters = arguments[arguments.index("-append") + 1].split()
    assert [word for word in parameters if "stall" in word] == stall.split()


@pytest.mark.parametrize(
    ("machine", "accel"),
    [
        (Machine(vcpus=4), "tcg,thread=multi"),
        (Machine(vcpus=3, deterministic=True), "tcg,turn-ns=100000"),
        (Machine(vcpus=3, deterministic=True, turn_ns=77), "tcg,turn-ns=77"),
    ],
)
def test_vm_has_its_vcpus_and_their_quantum(monkeypatch: pytest.MonkeyPatch, machine: Machine, accel: str) -> None:
    arguments = _arguments(monkeypatch, machine, 1.0)
    assert arguments[arguments.index("-accel") + 1] == accel
    assert arguments[arguments.index("-smp") + 1] == str(machine.vcpus)
    assert ("-icount" in arguments) is machine.deterministic
