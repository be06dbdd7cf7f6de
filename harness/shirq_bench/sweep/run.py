"""Sweep a scenario: calibrate its window, try every instruction of it, judge every point."""

from __future__ import annotations

import bisect
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from shirq_bench.errors import BenchError
from shirq_bench.sweep.oracle import Oracle, Violation
from shirq_bench.sweep.play import Recording, Stimulus, play
from shirq_bench.sweep.scenario import Scenario
from shirq_bench.trace import Kind

#: Points of one guest.
CHUNK = 4000
#: A period of a calibration: far longer than any point takes.
_LONG_NS = 20_000_000
#: Asked when a run is over: nothing has gone wrong that the devices do not show.
QUESTION = "cat /run/actors; for pid in $(pidof shirq-actor); do echo alive; done"


@dataclass(frozen=True)
class Shape:
    """What calibration finds: how long the window is, and how long after a point's beginning all is quiet again."""

    window_ns: int
    period_ns: int


@dataclass(frozen=True)
class Point:
    """One try: the second stimulus ``offset_ns`` after the first, in a run's ``slot``-th period."""

    slot: int
    offset_ns: int


@dataclass(frozen=True)
class Failure:
    """A point that the oracle objects to, with the run that it was in. ``at_ns`` is when the point began in it."""

    scenario: Scenario
    kernel: str
    stimuli: tuple[Stimulus, ...]
    length_ns: int
    digest: str
    offset_ns: int
    at_ns: int
    violations: tuple[Violation, ...]


@dataclass
class Result:
    """What a sweep found. ``seconds`` is the time of the guests' runs, cloning and judging included."""

    scenario: str
    kernel: str
    window_ns: int
    period_ns: int
    points: int = 0
    runs: int = 0
    seconds: float = 0.0
    failures: list[Failure] = field(default_factory=list)
    #: Distinct instructions that the second stimulus fell on.
    places: set[int] = field(default_factory=set)


def stimuli_of(scenario: Scenario, points: Sequence[Point], period_ns: int) -> Iterator[Stimulus]:
    """The schedule of a run: one period a point."""
    for point in points:
        start = point.slot * period_ns
        yield from _entries(scenario.first, start)
        yield from (Stimulus(start + point.offset_ns, word.split()[0], "where") for word in scenario.second[:1])
        yield from _entries(scenario.second, start + point.offset_ns)


def _entries(words: Sequence[str], at_ns: int) -> Iterator[Stimulus]:
    for word in words:
        device, _, action = word.partition(" ")
        yield Stimulus(at_ns, device, action)


def calibrate(scenario: Scenario, kernel: str) -> Shape:
    """How long the window is, from a point without a second stimulus; and how long points are, from a few with one."""
    machine = scenario.machine(kernel)
    alone = play(machine, list(_entries(scenario.first, 0)), _LONG_NS, QUESTION)
    window = _window(scenario, alone) + scenario.extra_ns
    tries = [Point(slot, window * slot // 8) for slot in range(9)]
    some = play(machine, list(stimuli_of(scenario, tries, _LONG_NS)), len(tries) * _LONG_NS, QUESTION)
    quiet = 0
    for slot, entries in enumerate(_cut(some, len(tries), _LONG_NS)):
        last = max((e.time_ns for e in entries if e.device in scenario.devices), default=0)
        quiet = max(quiet, last - some.base_ns - slot * _LONG_NS)
    if quiet > _LONG_NS // 2:
        raise BenchError(f"scenario {scenario.name}: it is not quiet {_LONG_NS // 2} ns after it began")
    return Shape(window, max(quiet + quiet // 2, window + 4000))


def _window(scenario: Scenario, alone: Recording) -> int:
    what, _, device = scenario.until.partition(" ")
    kinds = {"unmasked": (Kind.MASK, 0), "marked": (Kind.MARK, None)}
    if what not in kinds or not device:
        raise BenchError(f"scenario {scenario.name}: until must be 'unmasked DEVICE' or 'marked DEVICE'")
    kind, value = kinds[what]
    ends = [e.time_ns for e in alone.entries if e.kind is kind and e.device == device and value in (None, e.value)]
    if not ends:
        raise BenchError(f"scenario {scenario.name}: {device} was never {what}\n{alone.report}")
    return ends[-1] - alone.base_ns


def _cut(recording: Recording, slots: int, period_ns: int) -> Iterator[Sequence[object]]:
    entries = recording.entries
    times = [entry.time_ns for entry in entries]
    cuts = [bisect.bisect_left(times, recording.base_ns + slot * period_ns) for slot in range(slots + 1)]
    for slot in range(slots):
        yield entries[cuts[slot] : cuts[slot + 1]]


def judge(scenario: Scenario, recording: Recording, slots: int, period_ns: int) -> Iterator[list[Violation]]:
    """What the oracle says of each period of a run."""
    oracle = Oracle(scenario.devices, scenario.bound_ns, scenario.spurious)
    for entries in _cut(recording, slots, period_ns):
        yield oracle.judge(entries)


def health(scenario: Scenario, recording: Recording) -> list[Violation]:
    """What is wrong with the guest when its run is over: splats, and actors that have ended."""
    found = [Violation("dead", f"splat: {complaint}") for complaint in recording.complaints]
    if recording.report.split() != ["alive"] * len(scenario.actors):
        found.append(Violation("dead", f"an actor ended: {recording.report.strip()}"))
    return found


def sweep(scenario: Scenario, kernel: str, points: int = 0, tell: Callable[[str], None] = lambda _: None) -> Result:
    """Try ``points`` instructions of the window, evenly spread; 0: all of them. ``tell`` hears of the progress."""
    shape = calibrate(scenario, kernel)
    step = max(scenario.step, -(-shape.window_ns // points)) if points else scenario.step
    offsets = range(0, shape.window_ns, step)
    result = Result(scenario.name, kernel, shape.window_ns, shape.period_ns)
    machine = scenario.machine(kernel)
    for begin in range(0, len(offsets), CHUNK):
        chunk = [Point(slot, offset) for slot, offset in enumerate(offsets[begin : begin + CHUNK])]
        started = time.monotonic()
        stimuli = tuple(stimuli_of(scenario, chunk, shape.period_ns))
        length = len(chunk) * shape.period_ns
        recording = play(machine, stimuli, length, QUESTION)
        for point, violations in zip(chunk, judge(scenario, recording, len(chunk), shape.period_ns), strict=True):
            if violations:
                result.failures.append(
                    Failure(
                        scenario=scenario,
                        kernel=kernel,
                        stimuli=stimuli,
                        length_ns=length,
                        digest=recording.digest,
                        offset_ns=point.offset_ns,
                        at_ns=point.slot * shape.period_ns,
                        violations=tuple(violations),
                    )
                )
        if sick := health(scenario, recording):
            result.failures.append(
                Failure(scenario, kernel, stimuli, length, recording.digest, -1, 0, tuple(sick))
            )
        result.places |= {e.value for e in recording.entries if e.kind is Kind.WHERE}
        result.points += len(chunk)
        result.runs += 1
        result.seconds += time.monotonic() - started
        tell(f"[{result.points}/{len(offsets)}] points, {len(result.failures)} violations")
    return result
