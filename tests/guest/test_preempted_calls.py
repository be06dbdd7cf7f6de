# SPDX-License-Identifier: MIT
"""A thread's ioctl is interrupted at a chosen instruction by an ioctl of another thread.

The guest has one vCPU and a kernel with full preemption. A real-time thread waits for the interrupt of another device.
The test makes that device assert at the chosen instruction, so that the real-time thread makes its call before the
first thread continues.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from guest.guest_python import command_line
from guest.scripts import preempted_calls
from shirq_bench.channels.log import CONFIG_SPACE, Entry, Kind, LogReader
from shirq_bench.deadline import Deadline
from shirq_bench.replay import symbols
from shirq_bench.replay.play import Stimulus, beginning, schedule
from shirq_bench.vm import template
from shirq_bench.vm.machine import ADDRESSES, LOAD_MODULE, Machine, bind, bind_at, start

# Only these kernels have the parameter preempt=full. Times are in instructions, of which instrumented kernels need
# more.
pytestmark = pytest.mark.needs_kernel("6.1", "6.12")

#: A third device, on another line. The first thread makes its call at this device's interrupt.
_TRIGGER = "0000:00:06.0"
#: Values of MARK. The first thread writes _BEGIN and _END around its call; the second one writes its errno, or _OK.
_BEGIN, _END, _OK = 0x111, 0x222, 0x1000
#: The time of dev0's interrupt and the length of a run, from the run's beginning, in ns of virtual time.
_LATER, _LENGTH = 200_000_000, 300_000_000
#: The bus-master bit of the Command register.
_MASTER = 4


@dataclass(frozen=True)
class _Run:
    """The result of one run; times count from the run's beginning."""

    marks: dict[tuple[str, int], int]
    where: int
    dev0: list[Entry]
    bugs: list[str]

    @property
    def answer(self) -> int | None:
        """The result of the second call: an error number, or _OK; None if the call was not made."""
        return next((value for device, value in self.marks if device == "ctl"), None)


def _machine(kernel: str, case: str) -> Machine:
    argv, source = command_line(
        "dev0", preempted_calls.interrupted, case, ADDRESSES["ctl"], _TRIGGER, begin=_BEGIN, end=_END, ok=_OK
    )
    return Machine(
        kernel=kernel,
        devices=("shirq-edu,id=dev0,addr=4", "shirq-edu,id=ctl,addr=5", "shirq-edu,id=trigger,addr=6"),
        deterministic=True,
        vcpus=1,
        parameters="preempt=full",
        prepare=(
            LOAD_MODULE,
            *(bind(card) for card in ("dev0", "ctl")),
            bind_at(_TRIGGER, "shirq"),
            f"cat >/run/source <<'X'\n{source}X",
            start(shlex.join(["sh", "-c", f"exec {shlex.join(argv)} </run/source"]), "ready"),
            # Wait in virtual time for the guest to settle: with preempt=full its load average never becomes idle.
            "sleep 3",
        ),
    )


def _run(machine: Machine, at_ns: int | None) -> _Run:
    """Make a run: the first call, the second one at ``at_ns``, and then an interrupt of dev0."""
    stimuli = [
        Stimulus(0, "trigger", "raise 1"),
        Stimulus(_LATER, "dev0", "raise 1"),
        Stimulus(_LENGTH, "trigger", f"note {_END}"),
    ]
    if at_ns is not None:
        stimuli += [Stimulus(at_ns, "ctl", "where"), Stimulus(at_ns, "ctl", "raise 1")]
    with template.clone(machine, stopped=True) as vm:
        vm.start()
        base = beginning(vm)
        schedule(vm, base, stimuli)
        vm.qmp.execute("cont")
        entries: list[Entry] = []
        end = Deadline(300)
        with LogReader(vm.log_path) as reader:
            while not any(entry.kind is Kind.SCHEDULED and entry.value == _END for entry in entries):
                assert vm.status() is None, f"the guest has ended in the middle of a run\n{vm.situation()}"
                assert not end.passed, f"the run has not ended within {end}\n{vm.situation()}"
                entries += reader.poll()
                time.sleep(0.02)
        console = vm.console.tail(200)
    mine = [entry for entry in entries if entry.time_ns >= base]
    return _Run(
        {(entry.device, entry.value): entry.time_ns - base for entry in mine if entry.kind is Kind.MARK},
        next((entry.value for entry in mine if entry.kind is Kind.WHERE), 0),
        [entry._replace(time_ns=entry.time_ns - base) for entry in mine if entry.device == "dev0"],
        [line for line in console.splitlines() if "BUG:" in line or "Oops" in line],
    )


def _around_the_change(machine: Machine, refused: int, judge: Callable[[_Run], None]) -> None:
    """Find the instruction from which on the second call is not ``refused``, and judge runs on both sides of it."""
    names = symbols.of(machine)
    reference = _run(machine, None)
    low, high = reference.marks["trigger", _BEGIN], reference.marks["trigger", _END]
    results: list[int | None] = []

    def try_at(at: int) -> _Run:
        run = _run(machine, at)
        print(at, names.name(run.where), run.answer, *run.bugs)
        assert not run.bugs, f"the kernel has reported a bug: second call at {names.name(run.where)}"
        judge(run)
        results.append(run.answer)
        return run

    while high - low > 2:
        middle = (low + high) // 2
        if try_at(middle).answer == refused:
            low = middle
        else:
            high = middle
    for step in range(8):
        try_at(high + step * 40)
    assert {refused, _OK} <= set(results), "all second calls were on the same side of the change"


@pytest.mark.long
def test_mask_during_the_first_arm_holds_or_is_refused(kernel_name: str) -> None:
    """MASK returns ENXIO until the handler is registered; a mask set after that stays."""

    def judge(run: _Run) -> None:
        asserted = any(entry.kind is Kind.PIN and entry.value for entry in run.dev0 if entry.time_ns >= _LATER)
        assert asserted == (run.answer != _OK), "the device must assert exactly if it was not masked"

    _around_the_change(_machine(kernel_name, "arm and mask"), 6, judge)


@pytest.mark.long
def test_close_takes_nothing_from_the_next_owner(kernel_name: str) -> None:
    """close() does not clear the next owner's eventfd, and the next open() fails until close() is complete."""

    def judge(run: _Run) -> None:
        assert (("trigger", 0x333) in run.marks) == (run.answer == _OK), "the next owner's eventfd was not signalled"

    _around_the_change(_machine(kernel_name, "close and reopen"), 16, judge)


def test_a_mask_between_read_and_write_of_set_master_holds(kernel_name: str) -> None:
    """SET_MASTER reads Command and writes the whole register back: a bit that MASK sets in between must not be lost."""
    machine = _machine(kernel_name, "set_master and mask")
    reference = _run(machine, None)
    command = [entry for entry in reference.dev0 if (entry.space, entry.offset, entry.width) == (CONFIG_SPACE, 4, 2)]
    written = next(n for n, entry in enumerate(command) if entry.kind is Kind.WRITE and entry.value & _MASTER)
    read_ns, written_ns = command[written - 1].time_ns, command[written].time_ns
    assert command[written - 1].kind is Kind.READ, "SET_MASTER did not read Command just before it wrote it"
    names = symbols.of(machine)
    for step in range(1, 7):
        at = read_ns + (written_ns - read_ns) * step // 7
        run = _run(machine, at)
        where = names.name(run.where)
        print(at, where, run.answer, *run.bugs)
        assert not run.bugs, f"the kernel has reported a bug: MASK at {where}"
        assert run.answer == _OK, "MASK was refused"
        asserted = any(entry.kind is Kind.PIN and entry.value for entry in run.dev0 if entry.time_ns >= _LATER)
        assert not asserted, f"the mask was lost: MASK at {where}"
