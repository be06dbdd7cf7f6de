# SPDX-License-Identifier: MIT
"""Play stimuli to a guest at its beginning, at exact instructions, and record the devices and the line.

The guest is deterministic: one instruction a nanosecond of virtual time, and vCPUs that take turns by this time. From
its beginning, the devices' schedules are its only input, so the same stimuli give the same recording, to the byte.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from shirq_bench.channels.log import ENTRY, HEADER_SIZE, Entry, Kind, LogReader, find
from shirq_bench.deadline import Deadline
from shirq_bench.errors import BenchError, DeadlineExceeded
from shirq_bench.observe.source_lines import splats_of
from shirq_bench.vm import pool, template
from shirq_bench.vm.machine import Machine
from shirq_bench.vm.vm import Further, Vm, nothing_further

#: Time from a clone's beginning to a run's beginning, in which the template's activity ends.
LEAD_NS = 5_000_000
#: The number of a schedule's action `note`: qemu-device/SPEC.md, "Schedule".
NOTE = 6
#: The number of the note that ends a run.
END = 0xE0D
#: The report of a recording whose guest has halted.
HALTED = "halted"
_LAST_WORDS = "System halted"
#: The interrupt flag in RFLAGS.
_INTERRUPTS_ON = 1 << 9


class LogOverflow(BenchError):
    """A run was aborted because its log was full. ``recording`` has the logged entries, but no report of the guest."""

    def __init__(self, message: str, recording: Recording) -> None:
        super().__init__(message)
        self.recording = recording


class Stimulus(NamedTuple):
    """One entry of a device's schedule; ``at_ns`` counts from the run's beginning."""

    at_ns: int
    device: str
    action: str


@dataclass(frozen=True)
class Start:
    """A guest for one run alone: a clone of ``frozen``, by default of the machine's template.

    ``further`` gives further arguments for QEMU, as for a `Vm`.
    """

    frozen: Path | None = None
    further: Further = nothing_further


@dataclass(frozen=True)
class Recording:
    """The result of a run: the log's entries from the run's beginning to its end, at their virtual times.

    ``base_ns`` is the beginning. ``digest`` covers all entries of the devices, from the guest's beginning on.
    ``report`` is the guest's output for the script ``question`` after the end. ``complaints`` are the splats of its
    kernel log.
    """

    base_ns: int
    entries: Sequence[Entry]
    digest: str
    report: str
    complaints: list[str]


def play(
    machine: Machine,
    stimuli: Sequence[Stimulus],
    length_ns: int,
    question: str = "",
    keep: Path | None = None,
    deadline: float = 300.0,
    meanwhile: Callable[[Vm], None] | None = None,
    halts: bool = False,
    start: Start | None = None,
) -> Recording:
    """Give ``stimuli`` to a guest of ``machine`` and record ``length_ns`` of virtual time from the beginning.

    After that the guest runs ``question``, a shell script, which is not part of the recording. With ``keep``, the VM's
    files are copied there. ``deadline`` is in seconds. ``meanwhile`` is called again and again as the run goes on. If
    the guest ``halts``, no script is run: the report says whether it has halted, and its splats are those of its
    console. ``start`` says in which guest it is played; by default in one of the pool. Raises `LogOverflow`;
    `BenchError` if QEMU refuses a schedule or ends, or if the guest does not answer the question.
    """
    with _guest(machine, start) as vm:
        base = beginning(vm)
        schedule(vm, base, [*stimuli, Stimulus(length_ns, stimuli[0].device, f"note {END}")])
        vm.qmp.execute("cont")
        with LogReader(vm.log_path) as reader:
            entries, dropped = _until_end(vm, reader, deadline, meanwhile)
        digest = _digest(vm.log_path, len(entries))
        first = next((n for n, entry in enumerate(entries) if entry.time_ns >= base), len(entries))
        if dropped:
            message = f"{vm.name}: {dropped} entries did not fit into the event log: increase the machine's log_entries"
            raise LogOverflow(message, Recording(base, entries[first:], digest, "", []))
        report, log = _halted(vm) if halts else _asked(vm, question)
        complaints = _complaints(vm, log)
        if keep:
            vm.keep(keep)
    return Recording(base, entries[first:], digest, report, complaints)


@contextlib.contextmanager
def _guest(machine: Machine, start: Start | None) -> Iterator[Vm]:
    """A guest that stands at its beginning."""
    if start is None:
        with pool.lent(machine, stopped=True) as vm:
            yield vm
        return
    frozen = start.frozen or template.get(machine)
    with Vm(machine, template=frozen, stopped=True, further=start.further) as vm:
        vm.start()
        yield vm


def _asked(vm: Vm, question: str) -> tuple[str, str | None]:
    """The guest's answer and its kernel log. Without a question, the answer is empty and the log is None."""
    if not question:
        return "", None
    return vm.agent.succeed(question, deadline=60), vm.agent.succeed("dmesg")


def _complaints(vm: Vm, log: str | None) -> list[str]:
    """The splats in a kernel log; an empty log counts as a splat. Without a log there are none."""
    return [] if log is None else [str(splat) for splat in splats_of(vm, log)]


def _halted(vm: Vm) -> tuple[str, str | None]:
    """`HALTED` and the console's output, if the processor is halted with interrupts off."""
    registers = vm.qmp.execute("human-monitor-command", command_line="info registers")
    flags = re.search(r"\bRFL=([0-9a-f]+)", registers)
    if "HLT=1" not in registers or not flags or int(flags[1], 16) & _INTERRUPTS_ON:
        return "it runs", None
    # Wait for the kernel's last message: all earlier output has arrived then.
    end = Deadline(60)
    if not vm.console.shows(_LAST_WORDS, end):
        raise DeadlineExceeded(f"the console does not show '{_LAST_WORDS}' within {end}\n{vm.situation()}")
    return HALTED, vm.console.text()


def beginning(vm: Vm) -> int:
    """The virtual time at which the run of a guest that stands at its beginning begins."""
    return vm.log().entries[0].time_ns + LEAD_NS


def schedule(vm: Vm, base_ns: int, stimuli: Sequence[Stimulus]) -> None:
    """Give a stopped VM's devices their schedules."""
    lines: dict[str, list[str]] = defaultdict(list)
    for stimulus in stimuli:
        lines[stimulus.device].append(f"@{base_ns + stimulus.at_ns} {stimulus.action}\n")
    for device, text in lines.items():
        path = vm.dir / f"{device}.schedule"
        path.write_text("".join(text))
        vm.qmp.set(device, "schedule", str(path))


def end_of(entries: Sequence[Entry]) -> int | None:
    """The place of the note that ends a run; None if the entries do not reach it, or are not of a played run."""
    notes = (place for place, entry in find(entries, Kind.SCHEDULED) if (entry.width, entry.value) == (NOTE, END))
    return next(notes, None)


def _until_end(
    vm: Vm, reader: LogReader, deadline: float, meanwhile: Callable[[Vm], None] | None
) -> tuple[Sequence[Entry], int]:
    """The entries up to the run's end; or, if the log overflows, all its entries and the number of dropped ones."""
    first = reader.mark
    end = Deadline(deadline)
    while True:
        seen = reader.mark
        if (place := end_of(reader.poll())) is not None:
            return reader.since(first)[: seen - first + place + 1], 0
        if dropped := reader.header().dropped:
            # Return all entries: more may have been written between the two checks.
            return reader.since(first), dropped
        if vm.status() is not None:
            raise BenchError(f"the guest has ended in the middle of a run\n{vm.situation()}")
        if end.passed:
            raise DeadlineExceeded(f"the run has not ended within {end}\n{vm.situation()}")
        if meanwhile:
            meanwhile(vm)
        else:
            # The log is memory that QEMU writes, without notifications: poll it.
            time.sleep(0.02)


def _digest(log: Path, entries: int) -> str:
    with log.open("rb") as file:
        file.seek(HEADER_SIZE)
        return hashlib.sha256(file.read(entries * ENTRY.size)).hexdigest()
