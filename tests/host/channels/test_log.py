# SPDX-License-Identifier: MIT
"""Event logs, handler traces and the relation of their clocks are read as they were written, or refused."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logwriter import CONTROLLERS, GSI, INT_ACK, Story, pack_entries, pack_header, write_log
from shirq_bench.channels import log as log_module
from shirq_bench.channels.log import (
    ENTRY,
    HEADER_SIZE,
    IOAPIC,
    NONE,
    VM,
    ClockError,
    ClockFit,
    Entries,
    Entry,
    HandlerCall,
    Kind,
    Log,
    LogError,
    LogReader,
    TraceError,
    clock_marks,
    find,
    joined,
    last,
    offsets,
    parse_ftrace,
    read_log,
    sources,
    written_ns,
)

DEVICES = ("dev0", "dev1", "nic")

entries = st.builds(
    Entry,
    time_ns=st.integers(0, 2**64 - 1),
    kind=st.sampled_from(Kind),
    space=st.integers(0, 6),
    width=st.sampled_from([0, 1, 2, 4, 8]),
    vcpu=st.integers(0, 255),
    device=st.sampled_from([*DEVICES, IOAPIC, VM]),
    ring=st.sampled_from([0, 3, NONE]),
    offset=st.integers(0, 2**64 - 1),
    value=st.integers(0, 2**64 - 1),
)


# The log


@given(written=st.lists(entries, max_size=20), dropped=st.integers(0, 2**64 - 1), epoch=st.integers(0, 2**64 - 1))
def test_what_was_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, written: list[Entry], dropped: int, epoch: int
) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    log = read_log(write_log(path, DEVICES, written, dropped=dropped, epoch=epoch))
    assert log.entries == written
    assert (log.header.head, log.header.dropped, log.header.epoch) == (len(written), dropped, epoch)
    assert log.header.devices == (*CONTROLLERS, *DEVICES)


def test_an_entry_has_the_layout_of_the_contract(tmp_path: Path) -> None:
    raw = bytes.fromhex("0807060504030201 09 02 04 01 0200 03 00 2c00000000000000 efbeadde00000000")
    path = tmp_path / "log"
    path.write_bytes(pack_header(["dev0"], capacity=9, head=1) + raw)
    assert read_log(path).entries == [Entry(0x0102030405060708, Kind.READ, 2, 4, 1, "dev0", 3, 0x2C, 0xDEADBEEF)]


def test_entries_beyond_head_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "log"
    story = Story()
    path.write_bytes(pack_header(DEVICES, capacity=100, head=2) + pack_entries(DEVICES, story.entries) + bytes(3000))
    assert read_log(path).entries == story.entries[:2]


def test_live_log_is_read_in_parts_with_devices_added_later(tmp_path: Path) -> None:
    """A reader gets the new entries of a log that is being written, including entries of devices added later."""
    path = tmp_path / "log"
    first, second = Story(("dev0",)).stimulus("dev0").entries, Story().stimulus("nic").entries
    path.write_bytes(pack_header(["dev0"], capacity=100, head=0) + bytes(100 * ENTRY.size))
    with LogReader(path) as reader, path.open("r+b") as qemu:

        def store(at: int, data: bytes) -> None:
            qemu.seek(at)
            qemu.write(data)
            qemu.flush()

        assert reader.poll() == []
        store(HEADER_SIZE, pack_entries(["dev0"], first))
        assert reader.poll() == [], "an entry must not be read before head includes it"
        store(0, pack_header(["dev0"], capacity=100, head=len(first)))
        assert reader.poll() == first
        assert reader.poll() == []
        mark = reader.mark
        store(HEADER_SIZE + len(first) * ENTRY.size, pack_entries(DEVICES, second))
        store(0, pack_header(DEVICES, capacity=100, head=len(first) + len(second)))
        log = reader.log()
        assert log.entries == first + second
        assert log.since(mark).entries == second
        assert log.since(mark).past == first
        assert reader.poll() == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"magic": b"NOTALOG!"}, "starts with b'NOTALOG!' instead of b'SHIRQLOG'"),
        ({"magic": bytes(8)}, "not an event log"),
        ({"version": 1}, "version 1, but this reader knows only version 2"),
        ({"entry_size": 40}, "entries of 40 bytes instead of 32"),
        ({"head": 9, "capacity": 8}, "head is 9, beyond the capacity of 8"),
        ({"head": 7, "capacity": 8}, "truncated: 7 entries need 65760 bytes, the file had 65632"),
    ],
)
def test_a_broken_header_is_refused_with_what_is_wrong(tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = tmp_path / "broken.log"
    header = pack_header(DEVICES, **{"capacity": 8, "head": 3, **change})  # type: ignore[arg-type]
    path.write_bytes(header + pack_entries(DEVICES, Story().entries[:3]))
    with pytest.raises(LogError, match=message) as refused:
        read_log(path)
    assert "broken.log" in str(refused.value)


def test_a_device_count_beyond_the_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log"
    header = bytearray(pack_header((), capacity=0, head=0))
    header[48:52] = (1001).to_bytes(4, "little")
    path.write_bytes(header)
    with pytest.raises(LogError, match="the header counts 1001 devices, but the table has only 1000 slots"):
        read_log(path)


def test_a_file_shorter_than_the_header_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log"
    for size in (0, 8, HEADER_SIZE - 1):
        path.write_bytes(bytes(size))
        with pytest.raises(LogError, match=f"{size} bytes are too few"):
            read_log(path)


@pytest.mark.parametrize(
    ("at", "raw", "message"),
    [(8, 99, "entry 2 has the unknown kind 99"), (12, 7, "entry 2 has the unknown device 7, but the table has 5")],
)
def test_an_unknown_kind_or_device_is_refused_with_its_index(tmp_path: Path, at: int, raw: int, message: str) -> None:
    path = write_log(tmp_path / "log", DEVICES, Story().stimulus("dev0").entries)
    data = bytearray(path.read_bytes())
    data[HEADER_SIZE + 2 * ENTRY.size + at] = raw
    path.write_bytes(data)
    with pytest.raises(LogError, match=message):
        read_log(path)


def test_a_head_that_goes_back_is_refused(tmp_path: Path) -> None:
    story = Story().stimulus("dev0")
    path = write_log(tmp_path / "log", DEVICES, story.entries)
    with LogReader(path) as reader:
        reader.poll()
        with path.open("r+b") as qemu:
            qemu.write(pack_header(DEVICES, capacity=9, head=1))
        with pytest.raises(LogError, match="head went back from 8 to 1"):
            reader.poll()


def test_a_mark_beyond_the_log_is_refused() -> None:
    log = Story().log()
    assert log.since(log.mark).entries == []
    with pytest.raises(ValueError, match="mark 6 is not in this log of 5 entries"):
        log.since(6)


def test_a_log_is_cut_into_epochs_where_state_was_loaded() -> None:
    first, second = Story().stimulus("dev0"), Story().claimed_interrupt()
    header = first.log().header
    for log in (Log(header, first.entries + second.entries), Log(header, second.entries, first.entries)):
        assert [epoch.entries for epoch in log.epochs()] == [first.entries, second.entries]


# Handler calls

TRACE = """\
# tracer: nop
#
# entries-in-buffer/entries-written: 8/8   #P:2
#
#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION
          <idle>-0       [000] d.h1.    12.345678: irq_handler_entry: irq=20 name=shirq:0000:00:04.0
          <idle>-0       [000] d.h1.    12.345690: irq_handler_exit: irq=20 ret=unhandled
     Web Content-4242    [001] d.h2.    12.345691: irq_handler_entry: irq=11 name=ata piix
          <idle>-0       [000] d.h1.    12.345692: irq_handler_entry: irq=20 name=enp0s5
          <idle>-0       [000] d.H1.    12.345702: irq_handler_exit: irq=20 ret=handled
          <idle>-0       [000] dN.h.    12.345703: sched_wakeup: comm=x pid=1 prio=120 target_cpu=000
     Web Content-4242    [001] d.h2.    12.345710: irq_handler_exit: irq=11 ret=handled
"""


def test_each_handler_of_a_shared_irq_gets_its_own_exit() -> None:
    assert parse_ftrace(TRACE) == [
        HandlerCall(0, 12.345678, 12.345690, 20, "shirq:0000:00:04.0", False),
        HandlerCall(1, 12.345691, 12.345710, 11, "ata piix", True),
        HandlerCall(0, 12.345692, 12.345702, 20, "enp0s5", True),
    ]


def test_the_format_of_old_kernels_and_of_trace_pipe_is_read() -> None:
    text = (
        "  agent-77    (     77) [003] d.h.  5.000001: irq_handler_entry: irq=20 name=nic\n"
        "  agent-77    (     77) [003] d.h.  5.000002: irq_handler_exit: irq=20 ret=handled\n"
        "  <...>-77 [003]  6.000001: irq_handler_entry: irq=20 name=nic\n"
        "  <...>-77 [003]  6.000002: irq_handler_exit: irq=20 ret=handled\n"
    )
    assert [call.entry_s for call in parse_ftrace(text)] == [5.000001, 6.000001]


THREADED = """\
# tracer: nop
   irq/20-eth0-107       [001] .....    12.345678: irq_thread_entry: (irq_forced_thread_fn+0x0/0x80) irq=20 name="eth0"
  irq/20-shirq:-104      [000] ....2    12.345679: irq_thread_entry: (irq_forced_thread_fn+0x0/0x80) irq=20 name="shirq:0000:00:04.0"
          <idle>-0       [000] d.h1.    12.345680: irq_handler_entry: irq=20 name=shirq:0000:00:04.0
          <idle>-0       [000] d.h1.    12.345681: irq_handler_exit: irq=20 ret=handled
   irq/20-eth0-107       [000] .....    12.345690: irq_thread_exit: (irq_thread+0xd5/0x1b0 <- irq_forced_thread_fn) ret=1
  irq/20-shirq:-104      [000] ....2    12.345699: irq_thread_exit: (irq_thread+0xd5/0x1b0 <- irq_forced_thread_fn) ret=0
"""  # noqa: E501


def test_calls_in_threads_are_told_by_their_threads() -> None:
    """A thread may move to another CPU, and what wakes it has handled nothing."""
    assert parse_ftrace(THREADED, threads=True) == [
        HandlerCall(0, 12.345678, 12.345690, 20, "eth0", True),
        HandlerCall(0, 12.345679, 12.345699, 20, "shirq:0000:00:04.0", False),
    ]
    assert parse_ftrace(THREADED) == [HandlerCall(0, 12.345680, 12.345681, 20, "shirq:0000:00:04.0", True)]
    again = THREADED.replace("12.345690: irq_thread_exit", "12.345690: nothing") + THREADED.splitlines(True)[1]
    with pytest.raises(TraceError, match="line 8: thread 107 enters a handler before eth0"):
        parse_ftrace(again, threads=True)


def test_calls_cut_by_the_traces_ends_are_left_out() -> None:
    events = TRACE.splitlines(keepends=True)[5:]
    assert [call.name for call in parse_ftrace("".join(events[1:4]))] == []
    assert [call.name for call in parse_ftrace("".join(events[1:5]))] == ["enp0s5"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("8/8", "8/20", "line 3: the trace buffer kept 8 of 20 events"),
        ("# tracer: nop", "CPU:1 [LOST 42 EVENTS]", "line 1: the kernel lost events"),
        ("# tracer: nop", "CPU:0 [LOST EVENTS]", "line 1: the kernel lost events"),
        ("[001] d.h2.    12.345691", "[000] d.h2.    12.345691", "line 9: CPU 0 enters a handler before ata piix"),
        ("12.345690: irq_handler_exit: irq=20", "12.345690: irq_handler_exit: irq=9", "line 7: exit from irq 9"),
        ("12.345692: irq_handler_entry", "12.345692: nothing", "line 10: CPU 0 leaves a handler that it did not"),
        ("    12.345678:", " 12345678:", "line 6: time 12345678 is not in seconds"),
    ],
)
def test_an_incomplete_trace_is_refused_with_its_line(old: str, new: str, message: str) -> None:
    assert old in TRACE
    with pytest.raises(TraceError, match=message):
        parse_ftrace(TRACE.replace(old, new))


# Clocks


def marks_of(offset: float, rate: float, seed: int, *, bursts: int, delayed: float) -> list[tuple[int, int]]:
    """Return bursts of marks by a guest whose clock has this offset and rate. A mark takes 1-3 us; if delayed, 5 ms."""
    rng = random.Random(seed)
    virtual, pairs = 1e9, []
    for _ in range(bursts):
        virtual += 1e9
        for _ in range(5):
            read_at = virtual
            virtual += 5e6 if rng.random() < delayed else rng.uniform(1000, 3000)
            pairs.append((round((read_at - offset) / rate), round(virtual)))
            virtual += 200
    return pairs


@given(
    offset=st.floats(-1e12, 1e9),
    rate=st.floats(1 - 9e-4, 1 + 9e-4),
    seed=st.integers(0, 1000),
    bursts=st.integers(1, 6),
    at=st.floats(-0.5, 1.5),
)
def test_the_true_clock_relation_is_always_within_the_window(
    offset: float, rate: float, seed: int, bursts: int, at: float
) -> None:
    pairs = marks_of(offset, rate, seed, bursts=bursts, delayed=0.3)
    fit = ClockFit.from_marks(pairs)
    guest = pairs[0][0] + at * (pairs[-1][0] - pairs[0][0])
    low, high = fit.window(guest)
    assert low - 2 <= offset + rate * guest <= high + 2
    assert low <= fit.virtual(guest) <= high


def test_delayed_marks_do_not_widen_the_window_of_prompt_ones() -> None:
    prompt = ClockFit.from_marks(marks_of(5e8, 1.0002, 3, bursts=4, delayed=0))
    delayed = ClockFit.from_marks(marks_of(5e8, 1.0002, 3, bursts=4, delayed=0.3))
    assert prompt.error_ns < 1500
    assert delayed.error_ns < 3 * prompt.error_ns


def test_the_window_grows_outside_of_the_marks() -> None:
    fit = ClockFit.from_marks(marks_of(0, 1, 1, bursts=2, delayed=0))
    first, last = fit.span_ns
    inside, outside = fit.window(last), fit.window(last + 10 * (last - first))
    assert outside[1] - outside[0] > 5 * (inside[1] - inside[0])


def test_a_step_between_the_clocks_becomes_slack() -> None:
    pairs = [*((g, g + 100) for g in (0, 1000, 2000)), *((g, g + 5100) for g in (10**9, 10**9 + 1000, 10**9 + 2000))]
    pairs += [(g, g + 100) for g in (2 * 10**9, 2 * 10**9 + 1000)]
    fit = ClockFit.from_marks(pairs)
    assert 1000 < fit.slack_ns < 5000
    assert fit.error_ns > fit.slack_ns


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([], "0 clock marks, at least 2"),
        ([(1, 2)], "1 clock marks, at least 2"),
        ([(10, 20), (9, 30)], r"mark 1 \(9, 30\) is before its predecessor \(10, 20\)"),
        (
            [(g, 2 * g) for start in (0, 10**9) for g in (start, start + 1000)],
            "no clock that runs within 0.1% of virtual time",
        ),
    ],
)
def test_marks_that_determine_no_clock_are_refused(pairs: list[tuple[int, int]], message: str) -> None:
    with pytest.raises(ClockError, match=message):
        ClockFit.from_marks(pairs)


def test_only_64_bit_marks_are_clock_marks() -> None:
    story = Story(now=0).marker("dev0", 7).marker("dev0", 1, width=4).marker("dev1", 9)
    assert clock_marks(story.entries) == [(7, 200), (9, 400)]
    assert clock_marks(story.entries, "dev1") == [(9, 400)]


def test_cut_logs_clock_is_that_of_the_marks_behind_the_cut() -> None:
    """The clock of a log that was cut is computed only from the marks after the cut."""
    story = Story(now=0).marker("dev0", 7).marker("dev0", 9)
    mark = len(story.entries)
    story.marker("dev0", 1000).marker("dev0", 1100)
    assert story.log().since(mark).clock("dev0").span_ns == (1000, 1100)


# Many entries


def _read(tmp_path: Path, written: Sequence[Entry]) -> Log:
    return read_log(write_log(tmp_path / "log", ("dev0", "dev1", "nic"), written))


def _story() -> list[Entry]:
    story = Story(("dev0", "dev1", "nic"))
    for number in range(40):
        story.claimed_interrupt(("dev0", "dev1")[number % 2]).neighbours_interrupt("nic").wait(1000)
    return story.entries


def test_entries_of_a_file_are_those_that_were_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Indexes, slices and reversed slices of the entries equal those of a list."""
    monkeypatch.setattr(log_module, "_CHUNK", 7)
    written = _story()
    found = _read(tmp_path, written).entries
    assert found == written and list(found) == written and len(found) == len(written)
    assert [found[place] for place in range(-len(written), len(written))] == written * 2
    for part in (slice(3, 90), slice(-5, None), slice(8, 2), slice(0, 10**9), slice(None, None, -3)):
        assert list(found[part]) == written[part]
    assert list(found[5:50][3:9]) == written[8:14]
    with pytest.raises(IndexError):
        found[len(written)]
    assert found != written[1:] and found[1:] != written


@given(st.data())
def test_what_is_found_in_a_file_is_what_is_found_in_a_list(data: st.DataObject) -> None:
    written = _story()
    with tempfile.TemporaryDirectory() as folder:
        log = _read(Path(folder), written)
    kinds = data.draw(st.lists(st.sampled_from(Kind), max_size=3, unique=True))
    device = data.draw(st.sampled_from([None, "dev0", "nic", IOAPIC, VM, "nobody"]))
    offset = data.draw(st.sampled_from([None, 0, GSI, INT_ACK]))
    value = data.draw(st.sampled_from([None, True, False]))
    start = data.draw(st.integers(0, len(written)))
    part = log.entries[start:]
    assert find(part, *kinds, device=device, offset=offset, value=value) == find(
        written[start:], *kinds, device=device, offset=offset, value=value
    )
    assert last(part, *kinds, device=device, offset=offset) == last(
        written[start:], *kinds, device=device, offset=offset
    )
    for kind in kinds:
        assert offsets(part, kind, value) == offsets(written[start:], kind, value)
        assert sources(part, kind) == sources(written[start:], kind)
    assert list(written_ns(part)) == [entry.time_ns for entry in written[start:]]


def test_a_cut_log_is_whole_again_without_a_copy(tmp_path: Path) -> None:
    written = _story()
    log = _read(tmp_path, written)
    cut = log.since(20).since(30)
    assert (list(cut.past), list(cut.entries)) == (written[:30], written[30:])
    whole = joined(cut.past, cut.entries)
    assert isinstance(whole, Entries) and whole == written
    assert list(joined(cut.entries, cut.past)) == written[30:] + written[:30]
    assert list(joined(log.entries[:20], log.entries[30:])) == written[:20] + written[30:], (
        "parts with a gap between them must be concatenated"
    )


def test_entries_outlive_their_reader_and_the_file(tmp_path: Path) -> None:
    path = write_log(tmp_path / "log", ("dev0", "dev1", "nic"), _story())
    with LogReader(path) as reader:
        found = reader.log().entries
    path.unlink()
    assert list(found) == _story()
    with pytest.raises(ValueError, match="the reader is closed"):
        reader.poll()
