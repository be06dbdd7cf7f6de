# SPDX-License-Identifier: MIT
"""A picture as a trace for ui.perfetto.dev and Chrome's tracing, in their JSON format.

The line and every device are shown as a "process" each: levels as counters, spans as slices, stimuli as instants. Below
them, one process has the entries as searchable text, and one has the guest's own trace, if given, by CPU. Times are
virtual, from the picture's start.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TextIO

from shirq_bench.channels.log import ClockFit, GuestEvent, parse_ftrace_events
from shirq_bench.report.model import Event, Picture, Shape, Span, Track

_Record = dict[str, Any]


def write(picture: Picture, file: TextIO, *, ftrace: str = "", fit: ClockFit | None = None) -> None:
    """Write the picture, and the guest's trace ``ftrace`` (text, seconds of the clock that ``fit`` relates), to a file.

    Raises TraceError if ``ftrace`` is not a complete trace, ValueError if it is given without ``fit``.
    """
    if ftrace and fit is None:
        raise ValueError("the guest's trace uses another clock: a clock fit is needed to place it on this axis")
    guest = [(fit.virtual(event.time_s * 1e9), event) for event in parse_ftrace_events(ftrace)] if fit else []
    records = [*_tracks(picture), *_words(picture), *_guest(guest, picture.start_ns)]
    about = {"title": picture.title, "virtual_start_ns": picture.start_ns, "dropped": picture.dropped}
    if fit:
        about["guest_clock_error_ns"] = round(fit.error_ns)
    json.dump({"displayTimeUnit": "ns", "otherData": about, "traceEvents": records}, file, indent=0)


class _Process:
    """One group of rows, with the records that name it and its threads."""

    def __init__(self, number: int, name: str) -> None:
        self.pid = number
        self.named = [
            _meta(number, 0, "process_name", name=name),
            _meta(number, 0, "process_sort_index", sort_index=number),
        ]
        self._threads = 0

    def thread(self, name: str) -> int:
        self._threads += 1
        self.named += [
            _meta(self.pid, self._threads, "thread_name", name=name),
            _meta(self.pid, self._threads, "thread_sort_index", sort_index=self._threads),
        ]
        return self._threads


def _meta(pid: int, tid: int, what: str, **values: object) -> _Record:
    return {"ph": "M", "pid": pid, "tid": tid, "name": what, "args": values}


def _us(ns: float) -> float:
    return round(ns) / 1000


def _tracks(picture: Picture) -> Iterator[_Record]:
    groups = dict.fromkeys(track.group for track in picture.tracks)
    for number, group in enumerate(groups, 1):
        process = _Process(number, group)
        records = [
            record
            for track in picture.tracks
            if track.group == group
            for record in _track(process, track, picture.start_ns)
        ]
        yield from process.named
        yield from records


def _track(process: _Process, track: Track, start: int) -> Iterator[_Record]:
    if track.shape is Shape.LEVEL:
        for time, value in _changes(track.spans, start):
            yield {"ph": "C", "pid": process.pid, "ts": _us(time - start), "name": track.name, "args": {"level": value}}
        return
    if track.shape is Shape.POINTS:
        tid = process.thread(track.name)
        for span in track.spans:
            yield _instant(process.pid, tid, span.start_ns - start, span.label, {"detail": span.detail})
        return
    for lane, spans in enumerate(_lanes(track.spans), 1):
        tid = process.thread(track.name if lane == 1 else f"{track.name} ({lane})")
        for span in spans:
            times = {"ts": _us(span.start_ns - start), "dur": _us(max(span.end_ns - span.start_ns, 1))}
            name = span.label or track.name
            yield {"ph": "X", "pid": process.pid, "tid": tid, "name": name, "args": {"detail": span.detail}, **times}


def _changes(spans: Iterable[Span], start: int) -> Iterator[tuple[int, int]]:
    """The changes of a level. The first is an explicit low, because a level that was never high has no other entry."""
    yield start, 0
    for span in spans:
        yield span.start_ns, 1
        yield max(span.end_ns, span.start_ns + 1), 0


def _lanes(spans: Iterable[Span]) -> list[list[Span]]:
    """The spans by thread. Slices of one thread must nest, so overlapping spans go to separate threads."""
    lanes: list[list[Span]] = []
    for span in sorted(spans, key=lambda span: span.start_ns):
        free = (lane for lane in lanes if max(lane[-1].end_ns, lane[-1].start_ns + 1) <= span.start_ns)
        lane = next(free, None)
        if lane is None:
            lanes.append(lane := [])
        lane.append(span)
    return lanes


def _instant(pid: int, tid: int, ns: float, name: str, values: dict[str, object]) -> _Record:
    return {"ph": "i", "s": "t", "pid": pid, "tid": tid, "ts": _us(ns), "name": name or "-", "args": values}


#: Process numbers above those of the line and all devices.
_WORDS, _GUEST = 10_000, 10_001


def _words(picture: Picture) -> Iterator[_Record]:
    process = _Process(_WORDS, "events")
    by_who: dict[str, list[Event]] = {}
    for event in picture.events:
        by_who.setdefault(event.who, []).append(event)
    threads = {who: process.thread(who) for who in by_who}
    yield from process.named
    for who, events in by_who.items():
        for event in events:
            yield _instant(process.pid, threads[who], event.time_ns - picture.start_ns, event.what, {})


def _guest(events: Sequence[tuple[float, GuestEvent]], start: int) -> Iterator[_Record]:
    if not events:
        return
    process = _Process(_GUEST, "guest's trace")
    threads = {cpu: process.thread(f"CPU {cpu}") for cpu in sorted({event.cpu for _, event in events})}
    yield from process.named
    for time, event in events:
        values: dict[str, object] = {"task": f"{event.task}-{event.pid}", "details": event.details}
        yield _instant(process.pid, threads[event.cpu], time - start, event.name, values)
