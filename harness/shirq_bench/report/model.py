# SPDX-License-Identifier: MIT
"""The picture of a run, independent of how it is drawn: tracks of levels, spans and points, and a list of events.

All times are virtual ns. The spans of a level are the times at which it is high; those of a mask, the times at which it
is set.
The interrupt program is shown by the kernel's accesses to a device between the delivery of its line and the EOI, the
user handler by the accesses from user space.
"""

from __future__ import annotations

import bisect
import dataclasses
import enum
import statistics
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest

from shirq_bench import journal
from shirq_bench.channels.log import (
    BEGINNINGS,
    OF_CONTROLLER,
    USER_RING,
    ClockFit,
    Entry,
    HandlerCall,
    Kind,
    Log,
    TurnReason,
    find,
    joined,
    written_ns,
)
from shirq_bench.journal import Step
from shirq_bench.observe import judge, words

# The value of ``pause_ns`` if no interrupt of the line was handled.
PAUSE_NS = 20_000
#: Number of characters of a step's text that its box shows.
_STEP_WORDS = 40
_NICE_NS: list[int] = [digit * 10**power for power in range(3, 19) for digit in (1, 2, 5)]


class Tone(enum.StrEnum):
    """The kind of a track; renderers choose colours by it."""

    LINE = "line"
    PIN = "pin"
    MASK = "mask"
    HANDLING = "handling"
    HANDLER = "handler"
    PROGRAM = "program"
    USER = "user"
    KERNEL = "kernel"
    STIMULUS = "stimulus"
    STEP = "step"
    TURN = "turn"


class Shape(enum.StrEnum):
    """How a track is drawn: a waveform, labelled boxes, or marks."""

    LEVEL = "level"
    SPANS = "spans"
    POINTS = "points"


@dataclasses.dataclass(frozen=True)
class Span:
    """An interval, or a point if it ends where it starts. ``muted`` spans are less important and drawn paler."""

    start_ns: int
    end_ns: int
    label: str = ""
    detail: str = ""
    muted: bool = False


@dataclasses.dataclass(frozen=True)
class Track:
    """One row. Rows are grouped by ``group``: the line, or a device with its role. Spans are in order."""

    group: str
    name: str
    tone: Tone
    shape: Shape
    spans: tuple[Span, ...]


@dataclasses.dataclass(frozen=True)
class Event:
    """One event in words: its origin and what happened."""

    time_ns: int
    who: str
    what: str


@dataclasses.dataclass(frozen=True)
class Picture:
    """A run. ``events`` and each track's spans are in order of time; ``start_ns`` is the first event's time.

    A pause longer than ``pause_ns`` separates bursts of events. It is five times the median handling time of an
    interrupt, rounded up, because a guest under emulation is a hundred times slower than one under KVM.
    """

    title: str
    gsi: int
    start_ns: int
    end_ns: int
    pause_ns: int
    tracks: tuple[Track, ...]
    events: tuple[Event, ...]
    verdicts: tuple[judge.Verdict, ...]
    dropped: int

    def _repr_html_(self) -> str:
        """The page of this picture, in a frame of its own, for notebooks."""
        from shirq_bench.report import html  # which draws pictures, and so imports this module

        return html.frame(html.render(self), self.title)


def build(
    log: Log,
    *,
    title: str,
    roles: Mapping[str, str] | None = None,
    gsi: int | None = None,
    calls: Iterable[HandlerCall] = (),
    fit: ClockFit | None = None,
    irq: int | None = None,
    verdicts: Sequence[judge.Verdict] = (),
    steps: Iterable[Step] = (),
) -> Picture:
    """The picture of ``log``, or of its last epoch if it has several; entries before a cut only give the levels.

    ``roles`` are the devices to show, in order, each with a short description, such as "neighbour". Default: all
    devices with accesses in the log; if there are none, all devices on the line of the pin that moved first. ``gsi`` is
    their line (default: found by ``judge.line_of``, which raises BrokenRuleError if it cannot). ``calls`` are drawn if
    ``fit`` is given: those of kernel interrupt number ``irq`` (default: the GSI). Each of the ``steps`` is drawn from
    the last entry before its beginning to the last entry before its end.
    """
    dropped = log.header.dropped
    log = log.kept()
    moments = written_ns(joined(log.past, log.entries))
    if find(joined(log.past, log.entries)[1:], *BEGINNINGS):
        log = log.epochs()[-1]
    log = Log(log.header, _without_marks(log.entries), log.past)
    if roles is None:
        roles = dict.fromkeys(_shown_devices(log), "")
    if gsi is None:
        moved = {entry.device for entry in log.of(Kind.PIN)}
        gsi = judge.line_of(log, [device for device in roles if device in moved])
    shown = [entry for entry in log.entries if _concerns(entry, roles, gsi)]
    handlings = judge.handlings(log, gsi)
    pause = _pause(handlings)
    handlers = _handler_spans(calls, fit, gsi if irq is None else irq, handlings) if fit else []
    times = [entry.time_ns for entry in shown] + [time for _, span in handlers for time in (span.start_ns, span.end_ns)]
    frame = (min(times, default=0), max(times, default=0))
    events = [Event(entry.time_ns, words.who(entry), words.what(entry)) for entry in shown]
    events += [Event(span.start_ns, words.KERNEL, f"runs {name}: {span.label}") for name, span in handlers]
    tracks = [*_step_tracks(steps, moments, frame), *_turn_tracks(log, frame)]
    tracks += _line_tracks(log, gsi, frame, handlings, handlers)
    for device, role in roles.items():
        tracks += _device_tracks(log, device, f"{device}: {role}" if role else device, handlings, frame, pause)
    return Picture(
        title,
        gsi,
        *frame,
        pause,
        tuple(track for track in tracks if track.spans or track.tone in (Tone.LINE, Tone.PIN)),
        tuple(sorted(events, key=lambda event: event.time_ns)),
        tuple(verdicts),
        dropped,
    )


def _pause(handlings: Sequence[judge.Handling]) -> int:
    took = [handling.eoi.time_ns - handling.deliver.time_ns for handling in handlings if handling.eoi]
    least = 5 * statistics.median(took) if took else PAUSE_NS
    return next(step for step in _NICE_NS if step >= least)


def _shown_devices(log: Log) -> list[str]:
    """The devices to show by default, in the log's order. For stock devices the log has only the pins."""
    active = {entry.device for entry in log.of(Kind.READ, Kind.WRITE, Kind.RAISE)}
    if not active and (pins := log.of(Kind.PIN)):
        gsi = judge.line_of(log, [pins[0].device])
        active = {device for device in log.header.devices if gsi in judge.lines_moved(log, device)}
    return [device for device in log.header.devices if device in active]


def _concerns(entry: Entry, roles: Mapping[str, str], gsi: int) -> bool:
    if entry.kind in OF_CONTROLLER:
        return entry.offset == gsi
    return entry.kind in BEGINNINGS or entry.kind is Kind.TURN or entry.device in roles


def _without_marks(entries: Sequence[Entry]) -> list[Entry]:
    """The entries without clock marks, which are part of the measurement.

    Of a label (a short mark), only the write is omitted.
    """
    kept: list[Entry] = []
    for entry in entries:
        wrote = entry.kind is Kind.MARK and kept and kept[-1].kind is Kind.WRITE and kept[-1].device == entry.device
        if not (wrote and kept.pop().width == 8):
            kept.append(entry)
    return kept


def _levels(intervals: Iterable[judge.Interval], frame: tuple[int, int]) -> tuple[Span, ...]:
    def span(it: judge.Interval) -> Span:
        start, end = it.start.time_ns if it.start else frame[0], it.end.time_ns if it.end else frame[1]
        detail = [] if it.start else ["from the beginning"]
        if it.end is None:
            detail.append("to the end")
        if isinstance(it, judge.Assertion) and it.ended_by:
            detail.append(f"ended: {words.who(it.ended_by)} {words.what(it.ended_by)}")
        return Span(start, end, words.duration(end - start), "; ".join(detail))

    # Omit a level that has no start and ends at the picture's beginning: its entry only corrects the assumed reset
    # state.
    return tuple(span(it) for it in intervals if it.start or not it.end or it.end.time_ns > frame[0])


def _handler_spans(
    calls: Iterable[HandlerCall], fit: ClockFit, irq: int, handlings: Sequence[judge.Handling]
) -> list[tuple[str, Span]]:
    """Each call with its handler's name, clipped to its handling: the clocks' error can move a call's ends outside."""
    delivered = [handling.deliver.time_ns for handling in handlings]
    error = words.duration(fit.error_ns + judge.TRACE_ROUNDING_NS)
    spans = []
    for call in sorted(calls, key=lambda call: call.entry_s):
        if call.irq != irq:
            continue
        start, end = (round(fit.virtual(time * 1e9)) for time in (call.entry_s, call.exit_s))
        nearest = bisect.bisect(delivered, (start + end) // 2 + fit.error_ns) - 1
        if nearest >= 0 and (over := handlings[nearest].end) and over.time_ns >= start - fit.error_ns:
            start, end = (min(max(time, delivered[nearest]), over.time_ns) for time in (start, end))
        result = "handled" if call.handled else "unhandled"
        detail = f"CPU {call.cpu}, times within {error}"
        spans.append((call.name, Span(start, end, result, detail, muted=not call.handled)))
    return spans


def _step_tracks(steps: Iterable[Step], moments: Sequence[int], frame: tuple[int, int]) -> Iterable[Track]:
    """The steps of the guest, one row for each kind; steps outside of the picture are left out."""
    spans: dict[journal.Kind, list[Span]] = {}
    for step in steps:
        start, end = (_moment(moments, place, frame) for place in (step.first, step.last))
        if frame[0] <= end and start <= frame[1]:
            words_ = " ".join(step.what.split())
            times = f"{step.times} times" if step.times > 1 else ""
            detail = "; ".join(filter(None, [words_, times, step.outcome]))
            span = Span(max(start, frame[0]), min(end, frame[1]), words_[:_STEP_WORDS], detail, muted=not step.outcome)
            spans.setdefault(step.kind, []).append(span)
    for kind, own in spans.items():
        yield Track("bench", kind, Tone.STEP, Shape.SPANS, tuple(sorted(own, key=lambda span: span.start_ns)))


def _moment(moments: Sequence[int], place: int | None, frame: tuple[int, int]) -> int:
    """The time of the entry before a place in the log; the picture's end if the place is unknown."""
    if place is None or place > len(moments):
        return frame[1]
    return moments[place - 1] if place else frame[0]


def _turn_tracks(log: Log, frame: tuple[int, int]) -> Iterable[Track]:
    """A row for each vCPU of a guest whose vCPUs take turns: when it had the turn, and by which reason it lost it."""
    turns = [entry for entry in joined(log.past, log.entries) if entry.kind is Kind.TURN]
    spans: dict[int, list[Span]] = {}
    for entry, end in zip_longest(turns, turns[1:]):
        last = end.time_ns if end else frame[1]
        if last >= frame[0] and entry.time_ns <= frame[1]:
            why = TurnReason(end.offset).name.lower() if end else ""
            detail = f"{words.duration(last - entry.time_ns)}; {words.what(entry)}"
            spans.setdefault(entry.value, []).append(Span(max(entry.time_ns, frame[0]), last, why, detail))
    for vcpu in sorted(spans):
        yield Track("processors", f"vCPU {vcpu}", Tone.TURN, Shape.SPANS, tuple(spans[vcpu]))


def _line_tracks(
    log: Log,
    gsi: int,
    frame: tuple[int, int],
    handlings: Iterable[judge.Handling],
    handlers: Sequence[tuple[str, Span]],
) -> Iterable[Track]:
    group = f"line {gsi}"
    yield Track(group, "line", Tone.LINE, Shape.LEVEL, _levels(judge.high(log, Kind.LINE, gsi=gsi), frame))
    masked = [it for it in judge.high(log, Kind.LINE_MASK, gsi=gsi) if it.start]
    yield Track(group, "masked for everyone", Tone.MASK, Shape.LEVEL, _levels(masked, frame))
    spans = []
    for handling in handlings:
        start, end = handling.deliver.time_ns, handling.eoi.time_ns if handling.eoi else frame[1]
        vcpu = f" on vCPU {handling.eoi.vcpu}" if handling.eoi else ", no EOI"
        spans.append(Span(start, end, words.duration(end - start), f"vector {handling.deliver.value:#x}{vcpu}"))
    yield Track(group, "DELIVER to EOI", Tone.HANDLING, Shape.SPANS, tuple(spans))
    for name in dict.fromkeys(name for name, _ in handlers):
        own = tuple(span for of, span in handlers if of == name)
        yield Track(group, f"handler {name}", Tone.HANDLER, Shape.SPANS, own)


def _device_tracks(
    log: Log, device: str, group: str, handlings: Sequence[judge.Handling], frame: tuple[int, int], pause: int
) -> Iterable[Track]:
    stimuli = [
        Span(entry.time_ns, entry.time_ns, f"{'+' if entry.kind is Kind.RAISE else '-'}{entry.value:#x}", _say(entry))
        if entry.kind in (Kind.RAISE, Kind.LOWER)
        else Span(entry.time_ns, entry.time_ns, "reset" if entry.kind is Kind.RESET else str(entry.value), _say(entry))
        for entry in log.of(device=device)
        if entry.kind in (Kind.RAISE, Kind.LOWER, Kind.RESET, Kind.MARK)
    ]
    yield Track(group, "stimuli", Tone.STIMULUS, Shape.POINTS, tuple(stimuli))
    yield Track(group, "pin", Tone.PIN, Shape.LEVEL, _levels(judge.assertions(log, device), frame))
    acts = _acts(log, device, handlings, pause)
    yield Track(group, "interrupt program", Tone.PROGRAM, Shape.SPANS, acts[Tone.PROGRAM])
    yield Track(group, "user handler", Tone.USER, Shape.SPANS, acts[Tone.USER])
    yield Track(group, "other kernel access", Tone.KERNEL, Shape.SPANS, acts[Tone.KERNEL])
    if log.of(Kind.MASK, device=device):
        yield Track(group, "masked", Tone.MASK, Shape.LEVEL, _levels(judge.high(log, Kind.MASK, device), frame))


def _acts(log: Log, device: str, handlings: Sequence[judge.Handling], pause: int) -> dict[Tone, tuple[Span, ...]]:
    """The device's accesses grouped by their origin; accesses close to each other form one span."""
    inside = {
        index: number for number, handling in enumerate(handlings) for index in range(handling.first, handling.last)
    }
    acts: dict[Tone, list[tuple[int | None, list[Entry]]]] = {
        tone: [] for tone in (Tone.PROGRAM, Tone.USER, Tone.KERNEL)
    }
    current: list[Entry] | None = None
    for index, entry in enumerate(log.entries):
        if entry.device != device:
            continue
        if entry.kind in (Kind.READ, Kind.WRITE):
            handling = inside.get(index)
            tone = Tone.USER if entry.ring == USER_RING else Tone.KERNEL if handling is None else Tone.PROGRAM
            scope = handling if tone is Tone.PROGRAM else None
            row = acts[tone]
            if not row or row[-1][0] != scope or entry.time_ns - row[-1][1][-1].time_ns > pause:
                row.append((scope, []))
            current = row[-1][1]
            current.append(entry)
        elif current and entry.kind in (Kind.MASK, Kind.PIN) and entry.vcpu == current[-1].vcpu:
            current.append(entry)
        else:
            current = None
    return {tone: tuple(_act(entries, tone) for _, entries in row) for tone, row in acts.items()}


def _act(entries: Sequence[Entry], tone: Tone) -> Span:
    """Successive accesses as a span with their effect. A program that only reads zeroes declines the interrupt.

    Accesses without an effect are described by the names of their registers.
    """
    masks = [entry.value for entry in entries if entry.kind is Kind.MASK]
    verbs = ["mask" if value else "unmask" for value in dict.fromkeys(masks)]
    falls = any(entry.kind is Kind.PIN and not entry.value for entry in entries)
    acknowledges = any(entry.kind is Kind.WRITE and words.register(entry) == "INT_ACK" for entry in entries)
    if acknowledges or (falls and 1 not in masks):
        verbs.insert(0, "acknowledge")
    accesses = [entry for entry in entries if entry.kind in (Kind.READ, Kind.WRITE)]
    if tone is Tone.PROGRAM and verbs:
        verbs.insert(0, "claim")
    elif tone is Tone.PROGRAM and not any(entry.kind is Kind.WRITE or entry.value for entry in accesses):
        verbs = ["decline"]
    elif not verbs:
        verbs = [*dict.fromkeys(f"{entry.kind.name.lower()} {words.register(entry)}" for entry in accesses)]
    shown = ", ".join(verbs[:3]) + (", ..." if len(verbs) > 3 else "")
    said = [*map(_say, entries[:12]), *([f"... and {len(entries) - 12} more"] if len(entries) > 12 else [])]
    return Span(entries[0].time_ns, entries[-1].time_ns, shown, "\n".join(said))


def _say(entry: Entry) -> str:
    return f"{words.who(entry)} {words.what(entry)}"
