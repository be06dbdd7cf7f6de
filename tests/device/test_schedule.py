# SPDX-License-Identifier: MIT
"""Schedules: stimuli in virtual time, from a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from device.scene import Start
from shirq_bench.channels.edu import Register
from shirq_bench.channels.log import Kind
from shirq_bench.deadline import Deadline
from shirq_bench.errors import BenchError, QmpFailed
from shirq_bench.observe.words import SETTINGS
from shirq_bench.vm.board import Bar, Board

DEVICE = "shirq-edu,id=dev0,addr=4"
INT_MASK, DOORBELL = Register.INT_MASK, Register.DOORBELL
#: The kinds of entries that a schedule causes.
EFFECTS = (Kind.SCHEDULED, Kind.RAISE, Kind.LOWER, Kind.PIN, Kind.MASK, Kind.RESET, Kind.SETTING)


@pytest.fixture
def board(start: Start) -> Board:
    board = start(DEVICE)
    board.function(4).enable().write(INT_MASK, 0)
    return board


def schedule(board: Board, path: Path, text: str) -> None:
    """Give the device a schedule while the VM is stopped."""
    path.write_text(text)
    board.qmp.execute("stop")
    board.qmp.set("dev0", "schedule", str(path))
    board.qmp.execute("cont")


def bar(board: Board) -> Bar:
    return Bar(board.qtest, board.function(4).config_read(0x10, 4) & ~0xF)


def scheduled(board: Board) -> list[tuple[int, int]]:
    """The time at which each line of the file was executed."""
    return [(entry.time_ns, entry.offset) for entry in board.log().of(Kind.SCHEDULED, device="dev0")]


def test_entries_run_at_their_time_in_any_file_order(board: Board, tmp_path: Path) -> None:
    """Schedule entries are executed at their time, whatever their order in the file."""
    schedule(board, tmp_path / "s", "@3000 lower 1\n# a comment\n\n@1000 raise 0x1   # first\n@2000 raise 6\n")
    assert board.qmp.get("dev0", "schedule-left") == 3
    board.qtest.clock_step(2999)
    assert scheduled(board) == [(1000, 4), (2000, 5)]
    assert board.qmp.get("dev0", "schedule-left") == 1
    board.qtest.clock_step(1)
    log = board.log()
    assert [(e.time_ns, e.value) for e in log.of(Kind.RAISE)] == [(1000, 1), (2000, 6)]
    assert [(e.time_ns, e.value) for e in log.of(Kind.LOWER)] == [(3000, 1)]
    assert board.qmp.get("dev0", "status") == 6


def test_entries_of_one_time_run_in_file_order(board: Board, tmp_path: Path) -> None:
    """Schedule entries of the same time are executed in the order of the file."""
    text = "".join(f"@500 {'raise' if n % 2 else 'lower'} 1\n" for n in range(200))
    schedule(board, tmp_path / "s", text)
    board.qtest.clock_step(500)
    assert [line for _, line in scheduled(board)] == list(range(1, 201))


def test_doorbell_starts_and_restarts_relative_entries(board: Board, tmp_path: Path) -> None:
    """The doorbell starts the relative entries, and starts them again when it is written again."""
    schedule(board, tmp_path / "s", "+100 raise 1\n+200 lower 1\n@350 note 9\n+250 raise 2\n")
    board.qtest.clock_step(100)
    bar(board).write(DOORBELL, 0xD00B)
    board.qtest.clock_step(250)
    assert scheduled(board) == [(200, 1), (300, 2), (350, 3), (350, 4)]
    board.qtest.clock_step(50)
    bar(board).write(DOORBELL, 1)
    board.qtest.clock_step(100)
    assert scheduled(board)[4:] == [(500, 1)]
    assert [entry.value for entry in board.log().of(Kind.DOORBELL)] == [0xD00B, 1]


def test_every_action_does_what_its_name_says(board: Board, tmp_path: Path) -> None:
    lines = ["raise 3", "mask 1", "unmask 1", "set dead bars", "set deassert-delay-ns 7", "note 0x123456789abcdef"]
    schedule(board, tmp_path / "s", "".join(f"@{n + 1} {line}\n" for n, line in enumerate([*lines, "reset"])))
    values = []
    for _ in lines:
        board.qtest.clock_step(1)
        values.append([board.qmp.get("dev0", name) for name in ("status", "mask", "dead", "deassert-delay-ns")])
    assert values == [
        [3, 0, "off", 0],
        [3, 1, "off", 0],
        [3, 0, "off", 0],
        [3, 0, "bars", 0],
        [3, 0, "bars", 7],
        [3, 0, "bars", 7],
    ]
    board.qtest.clock_step(1)
    assert board.qmp.get("dev0", "pin") is False
    assert board.qmp.get("dev0", "mask") == 0xFFFFFFFF
    entries = board.log().of(Kind.SCHEDULED)
    assert [entry.width for entry in entries] == [0, 2, 3, 5, 5, 6, 4]
    assert entries[5].value == 0x123456789ABCDEF
    assert board.function(4).config_read(4, 2) == 0


def test_its_log_entry_is_before_its_effects(board: Board, tmp_path: Path) -> None:
    mark = board.log().mark
    schedule(board, tmp_path / "s", "@10 raise 1\n@20 set reassert 1\n")
    board.qtest.clock_step(20)
    kinds = [entry.kind for entry in board.log().since(mark).of(*EFFECTS, device="dev0")]
    assert kinds == [Kind.SCHEDULED, Kind.RAISE, Kind.PIN, Kind.SCHEDULED, Kind.SETTING]


BUSY, HALTED = b"\xeb\xfe", b"\xf4"  # jmp $; hlt


def counting(start: Start, directory: Path, first: bytes) -> Board:
    """A stopped board whose processor begins with the instruction ``first``, and executes one instruction per
    nanosecond.
    """
    (directory / "rom").write_bytes(HALTED * 0xFFF0 + first.ljust(16, HALTED))
    rom = ["-bios", str(directory / "rom")]
    return start(DEVICE, accel="tcg", extra=[*rom, "-icount", "shift=0,sleep=off", "-S"])


def test_icount_executes_every_entry_at_its_nanosecond(start: Start, tmp_path: Path) -> None:
    """With instruction counting, every schedule entry is executed at its nanosecond."""
    board = counting(start, tmp_path, BUSY)
    times = [1000 + n * n * 37 for n in range(500)]
    (tmp_path / "s").write_text("".join(f"@{time} note {n}\n" for n, time in enumerate(times)))
    board.qmp.set("dev0", "schedule", str(tmp_path / "s"))
    board.qmp.execute("cont")
    end = Deadline(20)
    while board.qmp.get("dev0", "schedule-left") and not end.passed:
        pass
    board.qmp.execute("stop")
    assert [time for time, _ in scheduled(board)] == times


@pytest.mark.parametrize("first", [BUSY, HALTED], ids=["busy", "halted"])
def test_stop_leaves_the_clock_at_its_time(start: Start, tmp_path: Path, first: bytes) -> None:
    """QEMU's main loop must not treat a vCPU that is stopping as idle before the VM is stopped."""
    board = counting(start, tmp_path, first)
    (tmp_path / "s").write_text("@1000 stop\n@5000 note 1\n@9000 stop\n")
    board.qmp.set("dev0", "schedule", str(tmp_path / "s"))
    (tmp_path / "past").write_text("@0 note 1")
    for time, executed in ((1000, 1), (9000, 3)):
        board.qmp.execute("cont")
        board.qmp.wait_event("STOP")
        assert len(scheduled(board)) == executed
        with pytest.raises(QmpFailed, match=rf"@0 is past: it is @{time} now"):
            board.qmp.set("dev0", "schedule", str(tmp_path / "past"))
    assert scheduled(board) == [(1000, 1), (5000, 2), (9000, 3)]


def test_a_schedule_survives_migration_in_the_middle_of_it(start: Start, board: Board, tmp_path: Path) -> None:
    schedule(board, tmp_path / "s", "@1000 raise 1\n@2000 raise 2\n+1500 raise 4\n+9000 raise 8\n")
    board.qtest.clock_step(700)
    bar(board).write(DOORBELL, 0)
    now = board.qtest.clock_step(500)
    board.save(tmp_path / "state")
    copy = start(DEVICE, incoming=True)
    copy.load(tmp_path / "state")
    copy.qtest.command("clock_set", now)
    copy.qmp.execute("cont")
    assert copy.qmp.get("dev0", "schedule-left") == 3
    copy.qtest.clock_step(10_000)
    assert scheduled(copy) == [(2000, 2), (2200, 3), (9700, 4)]


def test_a_reset_of_the_machine_leaves_the_schedule(board: Board, tmp_path: Path) -> None:
    schedule(board, tmp_path / "s", "@1000 raise 1\n")
    board.qmp.execute("system_reset")
    board.qmp.wait_event("RESET")
    board.qtest.clock_step(1000)
    assert scheduled(board) == [(1000, 1)]


def test_a_million_entries_are_taken_and_one_more_is_refused(board: Board, tmp_path: Path) -> None:
    text = "".join(f"@{n + 1} raise 1\n" for n in range(1_000_000))
    schedule(board, tmp_path / "s", text)
    assert board.qmp.get("dev0", "schedule-left") == 1_000_000
    board.qtest.clock_step(10_000)
    assert board.qmp.get("dev0", "schedule-left") == 990_000
    board.qmp.execute("stop")
    (tmp_path / "s").write_text(text.replace("@", "+") + "+0 raise 1")
    with pytest.raises(QmpFailed, match="line 1000001: there are more than 1000000 entries"):
        board.qmp.set("dev0", "schedule", str(tmp_path / "s"))


def test_an_empty_path_takes_the_schedule_away(board: Board, tmp_path: Path) -> None:
    schedule(board, tmp_path / "s", "@1000 raise 1\n")
    board.qmp.execute("stop")
    assert board.qmp.get("dev0", "schedule") == str(tmp_path / "s")
    board.qmp.set("dev0", "schedule", "")
    board.qmp.execute("cont")
    board.qtest.clock_step(2000)
    assert scheduled(board) == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1000 raise 1", "'1000' is no time: write @NS, of the virtual clock, or .NS, after the doorbell"),
        ("@-5 raise 1", "'@-5' is no time"),
        ("@99 raise 1", "@99 is past: it is @100 now"),
        ("@1000", "after the time write one of raise SOURCES"),
        ("@1000 jump 1", "after the time write one of raise SOURCES"),
        ("@1000 raise", "after the time write one of raise SOURCES"),
        ("@1000 raise 1 2", "after the time write one of raise SOURCES"),
        ("@1000 raise 0", "'0' must be the sources as bits of 0xffffffff, and not 0"),
        ("@1000 raise 0x100000000", "'0x100000000' must be the sources as bits"),
        ("@1000 set", "after the time write one of"),
        ("@1000 set colour 1", "'colour' is no property that can be set while the VM runs"),
        ("@1000 set intx-pin B", "'intx-pin' is no property that can be set while the VM runs"),
        ("@1000 set dead maybe", "'dead' must be one of off, bars, all, not 'maybe'"),
        ("@1000 set storm-ns 5", "'storm-ns' must be 0 or 100 to"),
        ("@1000 set storm-ns x", "'storm-ns' must be a number, not 'x'"),
        ("@1000 note x", "'x' must be a number of 64 bits"),
    ],
)
def test_bad_line_is_refused_by_number_and_old_schedule_stays(
    board: Board, tmp_path: Path, line: str, message: str
) -> None:
    """A bad line is refused with its number, and the former schedule stays."""
    schedule(board, tmp_path / "good", "@5000 raise 1\n")
    board.qtest.clock_step(100)
    board.qmp.execute("stop")
    (tmp_path / "bad").write_text(f"@2000 raise 1\n{line}\n")
    with pytest.raises(QmpFailed, match=f"property 'schedule', '{tmp_path}/bad': line 2: .*{message}"):
        board.qmp.set("dev0", "schedule", str(tmp_path / "bad"))
    assert board.qmp.get("dev0", "schedule-left") == 1


def test_a_file_that_is_none_is_refused(board: Board, tmp_path: Path) -> None:
    with pytest.raises(QmpFailed, match="'schedule' can only be set while the VM is stopped"):
        board.qmp.set("dev0", "schedule", "/nowhere")
    board.qmp.execute("stop")
    with pytest.raises(QmpFailed, match="No such file"):
        board.qmp.set("dev0", "schedule", "/nowhere")
    (tmp_path / "binary").write_bytes(b"@1 raise 1\0")
    with pytest.raises(QmpFailed, match="it holds a zero byte"):
        board.qmp.set("dev0", "schedule", str(tmp_path / "binary"))


def entry(argument: int, setting: int) -> bytes:
    """An entry of a schedule, in a VM's state, that sets a property: its time, argument, line and property."""
    return b"".join(
        number.to_bytes(size) for number, size in ((0x123456789ABC, 8), (argument, 8), (1, 4), (setting, 2))
    )


#: The fields before the entry: the number of entries, and the number of those with absolute times; both are 1.
ONE = b"\0\0\0\1" * 2
#: Bytes of a schedule before its first entry: four numbers, and whether and when the doorbell was rung.
HEAD = 4 * 4 + 1 + 8


@pytest.mark.parametrize(
    ("right", "damaged", "message"),
    [
        (entry(0x2345, 5), entry(0, 5), "the state is damaged"),
        (entry(0x2345, 5), entry(2**64 - 1, 5), "the state is damaged"),
        (entry(0x2345, 5), entry(3, 3), "the state is damaged"),
        (entry(0x2345, 5), entry(1, 2), "the state is damaged"),
        (entry(0x2345, 5), entry(1, len(SETTINGS)), "the state is damaged"),
        (ONE, b"\x80\0\0\0" + ONE[4:], "Input validation failed: shirq-schedule"),
        (ONE, b"\x7f\xff\xff\xff" + ONE[4:], "Input validation failed: shirq-schedule"),
    ],
    ids=["small", "large", "no-choice", "not-at-run-time", "no-property", "negative-count", "large-count"],
)
def test_damaged_schedule_in_a_state_is_refused(
    start: Start, board: Board, tmp_path: Path, right: bytes, damaged: bytes, message: str
) -> None:
    schedule(board, tmp_path / "s", "@0x123456789abc set posted-ns 0x2345\n")
    board.save(tmp_path / "state")
    state = (tmp_path / "state").read_bytes()
    at = state.index(right, state.index(entry(0x2345, 5)) - HEAD)
    (tmp_path / "state").write_bytes(state[:at] + damaged + state[at + len(damaged) :])
    copy = start(DEVICE, incoming=True)
    with pytest.raises(BenchError, match=message):
        copy.load(tmp_path / "state")
