# SPDX-License-Identifier: MIT
"""The complete state of a run at an exact instruction: the event log, the processor and the whole memory.

Two runs of the same stimuli are identical if their complete states are equal, whatever the host did meanwhile. Equal
event logs prove less: a log does not show a guest's activity between two accesses to the devices.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from shirq_bench.channels.log import ENTRY, HEADER_SIZE, Kind, LogReader
from shirq_bench.deadline import Deadline
from shirq_bench.errors import BenchError, DeadlineExceeded
from shirq_bench.replay.play import Stimulus, beginning, schedule
from shirq_bench.vm.vm import Vm

#: The number of a schedule's action `stop`: qemu-device/SPEC.md, "Schedule".
_STOP = 8
#: Commands of QEMU's human monitor that show all vCPUs and the interrupt controllers.
_PROCESSOR = ("info registers -a", "info pic")


@dataclass(frozen=True)
class State:
    """``log`` and ``memory`` are digests, ``processor`` is text; ``entries`` is the number of the log's entries."""

    entries: int
    log: str
    processor: str
    memory: str


def state(
    vm: Vm,
    stimuli: Sequence[Stimulus],
    at_ns: int,
    meanwhile: Callable[[Vm], None] = lambda vm: time.sleep(0.02),
    pauses: bool = False,
    deadline: float = 300.0,
) -> State:
    """Give ``stimuli`` to a deterministic guest that stands at its beginning; return its state ``at_ns`` later.

    ``at_ns`` counts from the run's beginning. ``meanwhile`` is called again and again as the run goes on, and with
    ``pauses`` the VM is stopped and continued after each call. ``deadline`` is in seconds. `BenchError` if QEMU ends or
    refuses the schedule, or the log is full.
    """
    schedule(vm, beginning(vm), [*stimuli, Stimulus(at_ns, stimuli[0].device, "stop")])
    vm.qmp.execute("cont")
    end = Deadline(deadline)
    with LogReader(vm.log_path) as reader:
        while not _is_over(reader):
            if vm.status() is not None:
                raise BenchError(f"the guest has ended in the middle of a run\n{vm.situation()}")
            if end.passed:
                raise DeadlineExceeded(f"the run has not ended within {end}\n{vm.situation()}")
            meanwhile(vm)
            if pauses:
                vm.qmp.execute("stop")
                # If the scheduled stop came before this stop, the VM must not continue.
                if _is_over(reader):
                    break
                vm.qmp.execute("cont")
    while vm.qmp.execute("query-status")["running"]:
        if end.passed:
            raise DeadlineExceeded(f"the VM has not stopped within {end}\n{vm.situation()}")
    return look(vm)


def _is_over(reader: LogReader) -> bool:
    over = any(entry.kind is Kind.SCHEDULED and entry.width == _STOP for entry in reader.poll())
    if not over:
        reader.require_complete()
    return over


def look(vm: Vm) -> State:
    """The state of a stopped VM."""
    head = vm.log().header.head
    with vm.log_path.open("rb") as log:
        log.seek(HEADER_SIZE)
        entries = log.read(head * ENTRY.size)
    lapics = [f"info lapic {vcpu}" for vcpu in range(vm.machine.vcpus)]
    processor = [vm.qmp.execute("human-monitor-command", command_line=line) for line in (*_PROCESSOR, *lapics)]
    file = vm.dir / "memory"
    size = vm.parts.memory_mib(vm.machine) << 20
    vm.qmp.execute("pmemsave", val=0, size=size, filename=str(file), deadline=120)
    with file.open("rb") as memory:
        digest = hashlib.file_digest(memory, "sha256").hexdigest()
    file.unlink()
    return State(head, hashlib.sha256(entries).hexdigest(), "\n".join(processor), digest)
