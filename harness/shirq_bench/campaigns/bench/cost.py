# SPDX-License-Identifier: MIT
"""The cost of one interrupt in instructions, from the event log of a deterministic guest.

In that guest, one instruction takes one nanosecond of virtual time, and an idle processor executes none. So the times
between the log's entries are instruction counts, which are exact and do not depend on the host.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from shirq_bench.campaigns.bench import contender
from shirq_bench.campaigns.bench.contender import CONTENDERS, NEIGHBOUR, SHARING, driving
from shirq_bench.channels.edu import Register
from shirq_bench.channels.log import CONFIG_SPACE, KERNEL_RING, Entry, Kind
from shirq_bench.errors import BenchError
from shirq_bench.replay.play import Recording, Stimulus, play
from shirq_bench.vm.machine import GSI, Machine

#: Number of interrupts that precede the measured ones, because the first accesses cause page faults and fill the
#: allocator's caches.
WARM_UP = 200
#: Time between two interrupts, in ns of virtual time; long enough for the guest to be idle again before the next one.
PERIOD_NS = 200_000
#: Seed of the random delays, which let interrupts come at any point of the kernel's own work.
_SEED = 2005
_COMMAND = (4, 5)


@dataclass(frozen=True)
class Round:
    """The cost of one interrupt, in instructions.

    ``awake`` is from the assertion until the user program runs again (its first store), ``enabled`` from the assertion
    until the device can assert again, ``hard`` from delivery to the end of interrupt.

    ``registers`` counts the accesses to the device's registers, ``config`` those to its configuration space. The store
    that marks the wake-up is not counted. ``awake`` is 0 if there is no user program.
    """

    awake: int
    enabled: int
    hard: int
    registers: int
    config: int


@dataclass(frozen=True)
class Spread:
    """Median, 99th percentile and extremes."""

    median: float
    p99: int
    least: int
    most: int

    @classmethod
    def of(cls, values: Sequence[int]) -> Spread:
        """The spread of at least one value."""
        ordered = sorted(values)
        p99 = ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]
        return cls(statistics.median(ordered), p99, ordered[0], ordered[-1])


def schedule(device: str, interrupts: int, seed: int | None = None, *, period_ns: int = PERIOD_NS) -> list[Stimulus]:
    """The raises of the warm-up and ``interrupts``, one a period; a ``seed`` delays each by up to half a period."""
    generator = random.Random(seed)
    return [
        Stimulus(slot * period_ns + (generator.randrange(period_ns // 2) if seed is not None else 0), device, "raise 1")
        for slot in range(WARM_UP + interrupts)
    ]


def rounds(recording: Recording, device: str, expected: int) -> list[list[Entry]]:
    """The log's entries of each interrupt of ``device``, from its raise to the next raise, without the warm-up."""
    found: list[list[Entry]] = []
    for entry in recording.entries:
        if entry.kind is Kind.RAISE and entry.device == device:
            found.append([])
        if found:
            found[-1].append(entry)
    if len(found) != WARM_UP + expected:
        raise BenchError(f"{device} was raised {len(found)} times instead of {WARM_UP + expected}")
    return found[WARM_UP:]


def measure_round(entries: Sequence[Entry], wakes: bool) -> Round:
    """The figures of one interrupt of dev0. Raises `BenchError` if it was not handled once and completely."""
    raised = entries[0]
    own = [entry for entry in entries if entry.device == raised.device]
    marks = [entry.time_ns for entry in own if entry.kind is Kind.MARK]
    enabled = [entry.time_ns for entry in own if _enables(entry, wakes)]
    if not raised.value or len(marks) != wakes or len(enabled) != 1:
        raise BenchError(
            f"the interrupt at {raised.time_ns} ns was not handled once and completely: {len(marks)} wake-ups,"
            f" {len(enabled)} times enabled"
        )
    touched = [entry for entry in own if entry.kind in (Kind.READ, Kind.WRITE)]
    return Round(
        awake=marks[0] - raised.time_ns if marks else 0,
        enabled=enabled[0] - raised.time_ns,
        hard=hard(entries),
        registers=sum(entry.space != CONFIG_SPACE and entry.offset != Register.MARK for entry in touched),
        config=sum(entry.space == CONFIG_SPACE for entry in touched),
    )


def _enables(entry: Entry, wakes: bool) -> bool:
    """Whether the device can assert after this entry: an unmask or, with an in-kernel driver, an acknowledgement."""
    if entry.kind is Kind.MASK:
        return wakes and not entry.value
    if entry.kind is not Kind.WRITE:
        return False
    if entry.space == CONFIG_SPACE:
        disabled = entry.value >> (10 if entry.offset == _COMMAND[0] else 2) & 1
        return entry.offset in _COMMAND and not disabled
    return not wakes and entry.ring == KERNEL_RING and entry.offset == Register.INT_ACK


def hard(entries: Sequence[Entry]) -> int:
    """Instructions from the line's delivery to its EOI. Raises `BenchError` unless there is exactly one of each."""
    delivered = [e.time_ns for e in entries if e.kind is Kind.DELIVER and e.offset == GSI]
    ended = [e.time_ns for e in entries if e.kind is Kind.EOI and e.offset == GSI]
    if len(delivered) != 1 or len(ended) != 1:
        raise BenchError(
            f"the interrupt at {entries[0].time_ns} ns has {len(delivered)} deliveries and {len(ended)} EOIs, not one"
        )
    return ended[0] - delivered[0]


def _play(machine: Machine, device: str, interrupts: int, seed: int | None) -> list[list[Entry]]:
    stimuli = schedule(device, interrupts, seed)
    recording = play(machine, stimuli, (len(stimuli) + 1) * PERIOD_NS)
    return rounds(recording, device, interrupts)


def play_regular(machine: Machine, device: str, interrupts: int) -> list[list[Entry]]:
    """Raise ``interrupts`` of ``device`` in a clone, `PERIOD_NS` apart; returns the log's entries of each interrupt."""
    return _play(machine, device, interrupts, None)


def of_contender(kernel: str, name: str, interrupts: int) -> dict[str, Any]:
    """The figures of dev0 without a neighbour, for each phase: a `Spread` of each cost, and medians of the accesses."""
    chosen = CONTENDERS[name]
    machine = contender.guest(kernel, chosen)
    result: dict[str, Any] = {}
    for phase, seed in (("regular", None), ("random", _SEED)):
        measured = [measure_round(r, bool(chosen.program)) for r in _play(machine, "dev0", interrupts, seed)]
        figures = ("awake", "enabled", "hard") if chosen.program else ("enabled", "hard")
        result[phase] = {f: asdict(Spread.of([getattr(r, f) for r in measured])) for f in figures}
        for count in ("registers", "config"):
            result[phase][count] = statistics.median(getattr(r, count) for r in measured)
    return result


def _neighbour(kernel: str, name: str | None, interrupts: int) -> list[list[Entry]]:
    scripts = driving(CONTENDERS[name]) if name else ()
    return play_regular(contender.machine(kernel, *NEIGHBOUR, *scripts), "dev1", interrupts)


def of_neighbours(kernel: str, interrupts: int, names: Sequence[str] = SHARING) -> dict[str, Any]:
    """The cost that each driver's silent device adds to an interrupt of its neighbour: instructions from delivery
    to end of interrupt, and accesses to the silent device."""
    alone = Spread.of([hard(r) for r in _neighbour(kernel, None, interrupts)])
    result: dict[str, Any] = {}
    for name in names:
        played = _neighbour(kernel, name, interrupts)
        spread = Spread.of([hard(r) for r in played])
        touched = [e for r in played for e in r if e.device == "dev0" and e.kind in (Kind.READ, Kind.WRITE)]
        result[name] = {
            "added": spread.median - alone.median,
            "p99": spread.p99 - alone.p99,
            "registers": sum(e.space != CONFIG_SPACE for e in touched) / interrupts,
            "config": sum(e.space == CONFIG_SPACE for e in touched) / interrupts,
        }
    return {"alone": asdict(alone), "beside": result}


def measure(kernel: str, interrupts: int, tell: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """All figures of one kernel: ``{"drivers": {NAME: of_contender}, "neighbour": of_neighbours}``."""
    drivers = {}
    for name in CONTENDERS:
        tell(f"kernel {kernel}: {name}, {interrupts} interrupts")
        drivers[name] = of_contender(kernel, name, interrupts)
    tell(f"kernel {kernel}: the neighbour's interrupts")
    return {"drivers": drivers, "neighbour": of_neighbours(kernel, interrupts)}
