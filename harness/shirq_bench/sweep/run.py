# SPDX-License-Identifier: MIT
"""Sweep a scenario: calibrate its window, try every instruction of it, judge every point."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from shirq_bench.errors import BenchError
from shirq_bench.machine import ADDRESSES
from shirq_bench.sweep.case import Case, Outcome
from shirq_bench.sweep.play import Stimulus
from shirq_bench.sweep.scenario import Scenario
from shirq_bench.trace import Kind

#: Points of one guest.
CHUNK = 4000
#: So many violations, and a sweep ends: the scenario, or what it drives, is broken.
MOST_FAILURES = 20
#: A point's time in a calibration: far longer than any point takes.
_LONG_NS = 50_000_000


@dataclass(frozen=True)
class Shape:
    """What calibration finds: how long the window is, and how long a point takes at most.

    The kernel's own work may come between, as long as the bound on an interrupt's handling. It costs nothing to wait
    for it: an idle guest's time jumps.
    """

    window_ns: int
    period_ns: int


@dataclass(frozen=True)
class Failure:
    """A part of a run that the oracle objects to, and the offset of its second stimulus."""

    case: Case
    index: int
    offset_ns: int
    outcome: Outcome


@dataclass
class Result:
    """What a sweep found. ``seconds`` is the time of the guests' runs, cloning and judging included.

    ``places`` are the distinct instructions before which the second stimulus came.
    """

    scenario: str
    kernel: str
    shape: Shape
    mortal: bool
    points: int = 0
    runs: int = 0
    seconds: float = 0.0
    failures: list[Failure] = field(default_factory=list)
    places: set[int] = field(default_factory=set)


def case_of(scenario: Scenario, kernel: str, offsets: Sequence[int | None], period_ns: int) -> Case:
    """A run with a point for each offset of the second stimulus; None: without one."""
    return Case(
        title=scenario.name,
        machine=scenario.machine(kernel),
        stimuli=tuple(_stimuli(scenario, offsets, period_ns)),
        cuts=tuple(period_ns * (slot + 1) for slot in range(len(offsets))),
        devices=scenario.devices,
        actors=scenario.processes,
        bound_ns=scenario.bound_ns,
        spurious=scenario.spurious,
    )


def _stimuli(scenario: Scenario, offsets: Sequence[int | None], period_ns: int) -> Iterator[Stimulus]:
    for slot, offset in enumerate(offsets):
        start = slot * period_ns
        yield from _at(start, scenario.first)
        if offset is not None:
            yield from _at(start + offset, (f"{scenario.second[0].split()[0]} where", *scenario.second))
            yield from _at(start + offset + scenario.later_ns, scenario.later)


def _at(at_ns: int, words: Sequence[str]) -> Iterator[Stimulus]:
    for word in words:
        device, _, action = word.partition(" ")
        yield Stimulus(at_ns, device, action)


def calibrate(scenario: Scenario, kernel: str) -> Shape:
    """How long the window is, from points without a second stimulus, and how long points are, from some with one."""
    alone = case_of(scenario, kernel, [None] * 4, _LONG_NS).run()
    if wrong := alone.all():
        raise BenchError(f"scenario {scenario.name}: without a second stimulus: {wrong[0].what}")
    window = max(_ends(scenario, alone)) + scenario.extra_ns
    some = case_of(scenario, kernel, [window * slot // 8 for slot in range(9)], _LONG_NS).run()
    base = some.recording.base_ns
    quiet = max((e.time_ns - base) % _LONG_NS for e in some.recording.entries if e.device in ADDRESSES)
    if quiet > _LONG_NS // 2:
        raise BenchError(f"scenario {scenario.name}: it is not quiet {_LONG_NS // 2} ns after it began")
    return Shape(window, max(quiet, window) + scenario.bound_ns)


_UNTIL = {"masked": (Kind.MASK, 1), "unmasked": (Kind.MASK, 0), "marked": (Kind.MARK, None)}


def _ends(scenario: Scenario, alone: Outcome) -> list[int]:
    what, _, device = scenario.until.partition(" ")
    if what not in _UNTIL or not device:
        allowed = ", ".join(f"'{word} DEVICE'" for word in _UNTIL)
        raise BenchError(f"scenario {scenario.name}: until must be one of {allowed}")
    kind, value = _UNTIL[what]
    ends = [
        (entry.time_ns - alone.recording.base_ns) % _LONG_NS
        for entry in alone.recording.entries
        if entry.kind is kind and entry.device == device and value in (None, entry.value)
    ]
    if not ends:
        raise BenchError(f"scenario {scenario.name}: {device} was never {what}")
    return ends


def sweep(
    scenario: Scenario,
    kernel: str,
    points: int = 0,
    tell: Callable[[str], None] = lambda _: None,
    most: int = MOST_FAILURES,
) -> Result:
    """Try ``points`` instructions of the window, evenly spread; 0: all of them. ``tell`` hears of the progress.

    After ``most`` violations it ends.
    """
    shape = calibrate(scenario, kernel)
    step = max(scenario.step, -(-shape.window_ns // points)) if points else scenario.step
    offsets = range(0, shape.window_ns, step)
    result = Result(scenario.name, kernel, shape, scenario.mortal)
    while result.points < len(offsets) and len(result.failures) < most:
        chunk = offsets[result.points : result.points + CHUNK]
        started = time.monotonic()
        case = case_of(scenario, kernel, chunk, shape.period_ns)
        outcome = case.run()
        bad = outcome.first()
        if bad is None and outcome.health:
            bad = len(chunk) - 1
        if bad is not None:
            result.failures.append(Failure(case, bad, chunk[bad], outcome))
        # What comes after a failure may be its consequence: it is tried again, by another guest.
        done = len(chunk) if bad is None else bad + 1
        end = outcome.recording.base_ns + case.cuts[done - 1]
        result.places |= {e.value for e in outcome.recording.entries if e.kind is Kind.WHERE and e.time_ns < end}
        result.points += done
        result.runs += 1
        result.seconds += time.monotonic() - started
        tell(f"[{result.points}/{len(offsets)}] points, {len(result.failures)} violations")
    return result
