# SPDX-License-Identifier: MIT
"""Sweep a scenario: calibrate its window, try every instruction of the window, judge every point."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from shirq_bench.campaigns.sweep.scenario import Scenario
from shirq_bench.channels.log import Kind
from shirq_bench.errors import BenchError
from shirq_bench.replay.case import Case, Outcome
from shirq_bench.replay.play import Stimulus
from shirq_bench.toml import Words
from shirq_bench.vm.machine import ADDRESSES

_Points = TypeVar("_Points", range, list[int])

#: Maximum number of points of one guest.
CHUNK = 4000
#: Maximum length of a run. An idle guest's time jumps, that of a guest which hangs in a loop does not.
_LONGEST_NS = 3_000_000_000
#: A sweep ends after this many violations: the scenario, or the driver under test, is broken.
MOST_FAILURES = 20
#: Minimum duration of a point during calibration: far longer than most points need.
_LONG_NS = 50_000_000


@dataclass(frozen=True)
class Shape:
    """The result of calibration, in ns: the window's begin (from the point's beginning) and length, a point's length.

    After its last activity, a point lasts for the bound on an interrupt's handling, because the kernel's own work may
    delay the handling. This wait costs no real time, because an idle guest's time jumps.
    """

    begin_ns: int
    window_ns: int
    period_ns: int


@dataclass(frozen=True)
class Failure:
    """A part of a run with violations, and the offset of its second stimulus."""

    case: Case
    index: int
    offset_ns: int
    outcome: Outcome


@dataclass(kw_only=True)
class Tried:
    """Points that were tried. ``seconds`` is the time of the guests' runs, cloning and judging included.

    ``places`` are the distinct instructions before which the second stimulus came; ``digests`` are those of the runs'
    logs.
    """

    points: int = 0
    runs: int = 0
    seconds: float = 0.0
    failures: list[Failure] = field(default_factory=list)
    places: set[int] = field(default_factory=set)
    digests: list[str] = field(default_factory=list)


@dataclass
class Result(Tried):
    """The result of a sweep."""

    scenario: str
    kernel: str
    shape: Shape
    mortal: bool


class FailsAlone(BenchError):
    """A scenario breaks a rule even without its second stimulus: the scenario or the driver under test is broken."""


def case_of(
    scenario: Scenario,
    kernel: str,
    offsets: Sequence[int | None],
    period_ns: int,
    further: Sequence[Words] = (),
) -> Case:
    """A run with a point for each offset of the second stimulus. With the offset None there is no second stimulus.

    ``further`` has, for each offset, entries that follow the second stimulus in this point alone.
    """
    return Case(
        title=scenario.name,
        machine=scenario.machine(kernel),
        stimuli=tuple(_stimuli(scenario, offsets, period_ns, further or [()] * len(offsets))),
        cuts=tuple(period_ns * (slot + 1) for slot in range(len(offsets))),
        devices=scenario.devices,
        actors=scenario.processes,
        bound_ns=scenario.bound_ns,
        spurious=scenario.spurious,
        broken=scenario.broken,
        halts=scenario.halts,
        deliveries=scenario.deliveries,
    )


def _stimuli(
    scenario: Scenario, offsets: Sequence[int | None], period_ns: int, further: Sequence[Words]
) -> Iterator[Stimulus]:
    for slot, (offset, more) in enumerate(zip(offsets, further, strict=True)):
        start = slot * period_ns
        if offset is not None:
            yield from _at(start, scenario.before)
        yield from _at(start, scenario.first)
        if offset is not None:
            yield from _at(start + offset, (f"{scenario.second[0].split()[0]} where", *scenario.second, *more))


def _at(at_ns: int, words: Sequence[str]) -> Iterator[Stimulus]:
    for word in words:
        later = 0
        if word.startswith("+"):
            delay, _, word = word.partition(" ")
            later = int(delay)
        device, _, action = word.partition(" ")
        yield Stimulus(at_ns + later, device, action)


def _chunk(scenario: Scenario, period_ns: int) -> int:
    """The number of points of one guest: so few that one that hangs in a loop ends its run within a minute."""
    return 1 if scenario.halts else max(1, min(CHUNK, _LONGEST_NS // period_ns))


def calibrate(scenario: Scenario, kernel: str) -> Shape:
    """Measure the window by points without a second stimulus, and a point's length by points with a second stimulus."""
    long_ns = max(_LONG_NS, 4 * scenario.bound_ns)
    alone = case_of(scenario, kernel, [None] * min(4, _chunk(scenario, long_ns)), long_ns).run()
    if wrong := alone.all():
        raise FailsAlone(f"scenario {scenario.name} fails even without the second stimulus: {wrong[0].what}")
    begin = min(_times(scenario, scenario.since, alone, long_ns)) if scenario.since else 0
    window = max(_times(scenario, scenario.until, alone, long_ns)) - begin + scenario.extra_ns
    if window < scenario.step:
        raise BenchError(
            f"scenario {scenario.name}: its window, of {window} ns, is shorter than its step, {scenario.step} ns:"
            f" it would have no point; it ends at {scenario.until!r}, plus {scenario.extra_ns} ns"
        )
    some_offsets = [begin + window * slot // 8 for slot in range(9)]
    quiet = 0
    while some_offsets:
        some = case_of(scenario, kernel, some_offsets[: _chunk(scenario, long_ns)], long_ns).run().recording
        del some_offsets[: _chunk(scenario, long_ns)]
        # Ignore reads: the module polls a device that is gone, which is not part of a point.
        active = (e for e in some.entries if e.device in ADDRESSES and e.kind is not Kind.READ)
        quiet = max(quiet, *((e.time_ns - some.base_ns) % long_ns for e in active))
    if quiet > long_ns // 2:
        raise BenchError(f"scenario {scenario.name}: devices are still active {long_ns // 2} ns after a point began")
    return Shape(begin, window, max(quiet, begin + window) + scenario.bound_ns + scenario.rest_ns)


#: The places at which a window may begin or end: the kind of the log's entry, its value (None: any) and its width.
_PLACES: dict[str, tuple[Kind, int | None, int]] = {
    "masked": (Kind.MASK, 1, 0),
    "unmasked": (Kind.MASK, 0, 0),
    "marked": (Kind.MARK, None, 4),
}
_STEP_WIDTH = 8


def _times(scenario: Scenario, place: str, alone: Outcome, period_ns: int) -> list[int]:
    """For each point of a run, the time from its beginning to a place such as "unmasked dev0" or "step 2"."""
    what, _, which = place.partition(" ")
    value: int | None
    if what == "step" and which.isdecimal():
        device = "ctl"
        kind, value, width = Kind.MARK, int(which), _STEP_WIDTH
    elif what in _PLACES and which:
        device = which
        kind, value, width = _PLACES[what]
    else:
        allowed = ", ".join(f"'{word} DEVICE'" for word in _PLACES)
        raise BenchError(f"scenario {scenario.name}: a window cannot begin or end at {place!r}: {allowed} or 'step N'")
    times = [
        (entry.time_ns - alone.recording.base_ns) % period_ns
        for entry in alone.recording.entries
        if (entry.kind, entry.device, entry.width) == (kind, device, width) and value in (None, entry.value)
    ]
    if not times:
        raise BenchError(f"scenario {scenario.name}: no point reached {place!r}")
    return times


def offsets(scenario: Scenario, shape: Shape, points: int = 0) -> range:
    """The offsets of ``points`` instructions of the window, evenly spread; with 0, as many as the scenario allows."""
    points = min(filter(None, (points, scenario.points)), default=0)
    step = max(scenario.step, -(-shape.window_ns // points)) if points else scenario.step
    return range(shape.begin_ns, shape.begin_ns + shape.window_ns, step)


def chunks(scenario: Scenario, points: _Points, period_ns: int) -> Iterator[_Points]:
    """Divide a window into the points of one guest each."""
    size = _chunk(scenario, period_ns)
    return (points[begin : begin + size] for begin in range(0, len(points), size))


def try_points(
    scenario: Scenario,
    kernel: str,
    points: Sequence[int],
    period_ns: int,
    tell: Callable[[str], None] = lambda _: None,
    most: int = MOST_FAILURES,
    tried: Tried | None = None,
    further: Sequence[Words] = (),
) -> Tried:
    """Try the second stimulus at each offset of ``points``; end after ``most`` violations. Adds to ``tried``.

    ``tell`` is called with the progress. ``further`` has, for each point, entries that follow the second stimulus.
    """
    tried = tried or Tried()
    while tried.points < len(points) and len(tried.failures) < most:
        now = slice(tried.points, tried.points + _chunk(scenario, period_ns))
        chunk = points[now]
        started = time.monotonic()
        case = case_of(scenario, kernel, chunk, period_ns, further[now])
        outcome = case.run()
        bad = outcome.first()
        if bad is None and outcome.health:
            bad = len(chunk) - 1
        if bad is not None:
            tried.failures.append(Failure(case, bad, chunk[bad], outcome))
        # Points after a failure may fail as its consequence: another guest tries them again.
        done = len(chunk) if bad is None else bad + 1
        end = outcome.recording.base_ns + case.cuts[done - 1]
        tried.places |= {e.value for e in outcome.recording.entries if e.kind is Kind.WHERE and e.time_ns < end}
        tried.digests.append(outcome.recording.digest)
        tried.points += done
        tried.runs += 1
        tried.seconds += time.monotonic() - started
        tell(f"[{tried.points}/{len(points)}] points, {len(tried.failures)} violations")
    return tried


def sweep(
    scenario: Scenario,
    kernel: str,
    points: int = 0,
    tell: Callable[[str], None] = lambda _: None,
    most: int = MOST_FAILURES,
) -> Result:
    """Calibrate a scenario, and try the `offsets` of its window."""
    shape = calibrate(scenario, kernel)
    result = Result(scenario.name, kernel, shape, scenario.mortal)
    try_points(scenario, kernel, offsets(scenario, shape, points), shape.period_ns, tell, most, result)
    return result
