# SPDX-License-Identifier: MIT
"""The Perfetto trace has every level, span and event of the picture, and the guest's own trace, on one time axis."""

from __future__ import annotations

import io
import json
from itertools import pairwise
from typing import Any

import pytest

from logwriter import Story
from shirq_bench.channels.log import ClockFit, GuestEvent, TraceError, parse_ftrace, parse_ftrace_events
from shirq_bench.report import perfetto
from shirq_bench.report.model import Picture, Shape, Span, Tone, Track, build

#: The relation to the clock of a guest, which began 4 ms before virtual time.
FIT = ClockFit.from_marks([(n, n - 4_000_000) for n in range(14_000_000, 16_000_000, 10_000)])
FTRACE = """\
# tracer: nop
#
# entries-in-buffer/entries-written: 4/4   #P:2
#
#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION
#              | |         |   |||||     |         |
          <idle>-0       [001] d.h1.     0.014001: irq_handler_entry: irq=20 name=shirq:0000:00:04.0
          <idle>-0       [001] d.h1.     0.014003: irq_handler_exit: irq=20 ret=handled
       edu-driver-1-201  [000] d..2.     0.014010: sched_switch: prev_comm=edu prev_pid=201 ==> next_comm=swapper/0
              sh-202     (    202) [000] .....     0.014020: sys_enter: NR 1 (1, 2)
              sh-202     [000] .....     0.014021: <stack trace>
 => vfs_write
 => ksys_write
              sh-202     [000] .....     0.014025: vfs_write <-ksys_write
"""


def story() -> Story:
    told = Story(("dev0", "nic"), now=10_000_000)
    return told.claimed_interrupt("dev0").wait(100_000).neighbours_interrupt("nic").wait(300_000)


def picture(**more: Any) -> Picture:
    return build(story().log(), title="a run", **more)


def written(shown: Picture, **more: Any) -> dict[str, Any]:
    file = io.StringIO()
    perfetto.write(shown, file, **more)
    data = json.loads(file.getvalue())
    assert isinstance(data, dict)
    return data


class Trace:
    """A trace whose records are found by the names of its processes and threads."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.records = data["traceEvents"]
        meta = [record for record in self.records if record["ph"] == "M"]
        self.processes = {r["pid"]: r["args"]["name"] for r in meta if r["name"] == "process_name"}
        self.threads = {(r["pid"], r["tid"]): r["args"]["name"] for r in meta if r["name"] == "thread_name"}

    def of(self, process: str, row: str) -> list[dict[str, Any]]:
        """Return the records of one row, which is a counter or a thread."""
        return [
            record
            for record in self.records
            if record["ph"] != "M"
            and self.processes[record["pid"]] == process
            and row == (record["name"] if record["ph"] == "C" else self.threads[record["pid"], record["tid"]])
        ]


def test_every_record_is_one_that_the_format_knows() -> None:
    data = written(picture(calls=parse_ftrace(FTRACE), fit=FIT), ftrace=FTRACE, fit=FIT)
    assert data["displayTimeUnit"] == "ns"
    needed = {"M": {"name", "args"}, "C": {"ts", "name", "args"}, "X": {"ts", "dur", "tid"}, "i": {"ts", "s", "tid"}}
    named = Trace(data)
    for record in data["traceEvents"]:
        assert needed[record["ph"]] <= record.keys()
        assert isinstance(record["pid"], int)
        assert record["name"]
        if record["ph"] != "M":
            assert record["pid"] in named.processes
            assert isinstance(record["ts"], float)
        if record["ph"] in "Xi":
            assert (record["pid"], record["tid"]) in named.threads
        if record["ph"] == "C":
            assert all(isinstance(value, int) for value in record["args"].values())


def test_levels_are_counters_with_every_edge_at_its_time() -> None:
    shown = picture()
    trace = Trace(written(shown))
    for track in shown.tracks:
        if track.shape is Shape.LEVEL:
            edges = [edge for span in track.spans for edge in ((span.start_ns, 1), (span.end_ns, 0))]
            assert [
                (r["ts"] * 1000 + shown.start_ns, r["args"]["level"]) for r in trace.of(track.group, track.name)
            ] == [
                (shown.start_ns, 0),
                *edges,
            ]


def test_spans_are_slices_and_stimuli_are_instants() -> None:
    shown = picture(calls=parse_ftrace(FTRACE), fit=FIT)
    trace = Trace(written(shown, fit=FIT))
    seen = set()
    for track in shown.tracks:
        if track.shape is Shape.LEVEL:
            continue
        seen.add(track.shape)
        records = trace.of(track.group, track.name)
        assert [(round(r["ts"] * 1000) + shown.start_ns, r["name"], r["args"]["detail"]) for r in records] == [
            (span.start_ns, span.label, span.detail) for span in track.spans
        ]
        if track.shape is Shape.SPANS:
            assert [round(r["dur"] * 1000) for r in records] == [
                max(span.end_ns - span.start_ns, 1) for span in track.spans
            ]
    assert seen == {Shape.SPANS, Shape.POINTS}
    assert any(name.startswith("handler shirq:") for name in trace.threads.values())


def test_everything_that_was_said_can_be_found() -> None:
    shown = picture()
    trace = Trace(written(shown))
    for event in shown.events:
        times = [
            round(r["ts"] * 1000) + shown.start_ns for r in trace.of("events", event.who) if r["name"] == event.what
        ]
        assert event.time_ns in times


def test_slices_that_overlap_go_side_by_side() -> None:
    spans = (
        Span(10, 30, "a"),
        Span(20, 40, "b"),
        Span(25, 26, "c"),
        Span(30, 50, "d"),
        Span(50, 50, "e"),
        Span(50, 60, "f"),
    )
    shown = Picture("x", 20, 0, 60, 1000, (Track("g", "t", Tone.HANDLER, Shape.SPANS, spans),), (), (), 0)
    trace = Trace(written(shown))
    lanes = {name: trace.of("g", name) for name in trace.threads.values() if name.startswith("t")}
    assert {name: [r["name"] for r in records] for name, records in lanes.items()} == {
        "t": ["a", "d", "e"],
        "t (2)": ["b", "f"],
        "t (3)": ["c"],
    }
    for records in lanes.values():
        assert all(a["ts"] + a["dur"] <= b["ts"] for a, b in pairwise(records))


def test_the_guests_trace_is_on_the_same_axis_by_cpu() -> None:
    shown = picture(calls=parse_ftrace(FTRACE), fit=FIT)
    data = written(shown, ftrace=FTRACE, fit=FIT)
    trace = Trace(data)
    (entered, left) = trace.of("guest's trace", "CPU 1")
    assert (entered["name"], left["name"]) == ("irq_handler_entry", "irq_handler_exit")
    assert entered["args"] == {"task": "<idle>-0", "details": "irq=20 name=shirq:0000:00:04.0"}
    for record, second in ((entered, 0.014001), (left, 0.014003)):
        at = record["ts"] * 1000 + shown.start_ns
        assert at == pytest.approx(second * 1e9 - 4_000_000, abs=FIT.error_ns + 1)
    assert data["otherData"]["guest_clock_error_ns"] == round(FIT.error_ns)


def test_any_event_of_a_guests_trace_is_read() -> None:
    events = parse_ftrace_events(FTRACE)
    assert events[2] == GuestEvent(
        0.014010, 0, "edu-driver-1", 201, "sched_switch", "prev_comm=edu prev_pid=201 ==> next_comm=swapper/0"
    )
    assert events[3][1:5] == (0, "sh", 202, "sys_enter")
    assert (events[4].name, events[4].details) == ("<stack trace>", "\n=> vfs_write\n=> ksys_write")
    assert (events[5].name, events[5].details) == ("vfs_write", "ksys_write")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("CPU:1 [LOST 12 EVENTS]", "line 1: the kernel lost events"),
        ("   sh-202   [000] .....   140205: sys_enter: NR 1", "line 1: .* is no event with a time in seconds"),
        ("no trace at all", "line 1: 'no trace at all' is no event"),
    ],
)
def test_a_trace_that_is_not_whole_is_refused(line: str, said: str) -> None:
    with pytest.raises(TraceError, match=said):
        parse_ftrace_events(line)


def test_a_guests_trace_needs_its_clock() -> None:
    with pytest.raises(ValueError, match="a clock fit is needed to place it on this axis"):
        written(picture(), ftrace=FTRACE)
