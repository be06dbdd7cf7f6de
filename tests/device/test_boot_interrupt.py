# SPDX-License-Identifier: MIT
"""Boot interrupts: a line that is high and masked makes another line high, of whatever drivers that one is."""

from __future__ import annotations

from pathlib import Path

import pytest

from device.scene import Start
from shirq_bench.channels.edu import Register
from shirq_bench.channels.log import Kind
from shirq_bench.errors import QmpFailed
from shirq_bench.vm.board import Board, IoApic

APIC = "/machine/q35/ioapic"
#: The lines of dev0 and dev1, and a line without a device.
LINE, OTHER, FREE = 20, 21, 23
DEVICES = ("shirq-edu,id=dev0,addr=4", "shirq-edu,id=dev1,addr=5")


@pytest.fixture
def board(start: Start) -> Board:
    """Two devices on two lines, of which dev0's is masked."""
    board = start(*DEVICES)
    for slot in (4, 5):
        board.function(slot).enable().write(Register.INT_MASK, 0)
    IoApic(board.qtest).program(LINE, 0x61, masked=True)
    for line, vector in ((OTHER, 0x62), (FREE, 0x63)):
        IoApic(board.qtest).program(line, vector)
    return board


def levels(board: Board, line: int) -> list[int]:
    """The levels that the line has had, from its first change on."""
    return [entry.value for entry in board.log().of(Kind.LINE, device="ioapic", offset=line)]


def delivered(board: Board, line: int) -> int:
    return len(board.log().of(Kind.DELIVER, device="ioapic", offset=line))


def test_a_masked_line_goes_on_as_another_one(board: Board) -> None:
    board.qmp.set(APIC, "boot-interrupt", FREE)
    board.qmp.set("dev0", "raise", 1)
    assert (levels(board, FREE), delivered(board, FREE), delivered(board, LINE)) == ([1], 1, 0)
    IoApic(board.qtest).program(LINE, 0x61)
    assert (levels(board, FREE), delivered(board, LINE)) == ([1, 0], 1)
    IoApic(board.qtest).program(LINE, 0x61, masked=True)
    assert levels(board, FREE) == [1, 0, 1]
    board.qmp.set("dev0", "lower", 1)
    assert levels(board, FREE) == [1, 0, 1, 0]


def test_without_it_a_masked_line_is_silent(board: Board) -> None:
    assert board.qmp.get(APIC, "boot-interrupt") == 0
    board.qmp.set("dev0", "raise", 1)
    assert (levels(board, FREE), levels(board, OTHER)) == ([], [])


def test_a_line_of_its_own_devices_is_high_while_either_drives_it(board: Board) -> None:
    board.qmp.set(APIC, "boot-interrupt", OTHER)
    for device, action, expected in (
        ("dev1", "raise", [1]),
        ("dev0", "raise", [1]),
        ("dev1", "lower", [1]),
        ("dev0", "lower", [1, 0]),
        ("dev0", "raise", [1, 0, 1]),
        ("dev1", "raise", [1, 0, 1]),
        ("dev0", "lower", [1, 0, 1]),
        ("dev1", "lower", [1, 0, 1, 0]),
    ):
        board.qmp.set(device, action, 1)
        assert levels(board, OTHER) == expected, (device, action)


def test_its_levels_are_not_those_of_a_pin(board: Board) -> None:
    """The pin of dev0 drives its own line, so that a log never says that it drives the other one."""
    board.qmp.set(APIC, "boot-interrupt", FREE)
    board.qmp.set("dev0", "raise", 1)
    widths = {entry.offset: entry.width for entry in board.log().of(Kind.LINE, device="ioapic") if entry.offset >= 16}
    assert widths == {LINE: 1, FREE: 0}


def test_its_own_line_and_those_of_isa_cause_none(board: Board) -> None:
    apic = IoApic(board.qtest)
    board.qmp.set(APIC, "boot-interrupt", LINE)
    board.qmp.set("dev0", "raise", 1)
    board.qmp.set("dev0", "lower", 1)
    assert levels(board, LINE) == [1, 0], "masked, it would keep itself high"
    apic.program(4, 0x64, masked=True)
    board.qtest.clock_step(1)
    assert levels(board, LINE) == [1, 0]


def test_switching_it_moves_and_ends_it(board: Board) -> None:
    board.qmp.set("dev0", "raise", 1)
    board.qmp.set(APIC, "boot-interrupt", FREE)
    board.qmp.set(APIC, "boot-interrupt", OTHER)
    assert (levels(board, FREE), levels(board, OTHER)) == ([1, 0], [1])
    board.qmp.set("dev1", "raise", 1)
    board.qmp.set(APIC, "boot-interrupt", 0)
    assert levels(board, OTHER) == [1], "dev1 drives it"
    board.qmp.set("dev1", "lower", 1)
    assert levels(board, OTHER) == [1, 0]


def test_a_reset_masks_all_lines_and_keeps_it(board: Board) -> None:
    board.qmp.set(APIC, "boot-interrupt", FREE)
    board.qmp.execute("system_reset")
    board.qmp.wait_event("RESET")
    assert board.qmp.get(APIC, "boot-interrupt") == FREE
    board.function(4).enable().write(Register.INT_MASK, 0)
    board.qmp.set("dev0", "raise", 1)
    assert levels(board, FREE) == [1]


def test_it_is_part_of_the_state(start: Start, board: Board, tmp_path: Path) -> None:
    """A loaded VM has the boot interrupt, also one that began with another; the other line falls as it would have."""
    board.qmp.set(APIC, "boot-interrupt", OTHER)
    board.qmp.set("dev1", "raise", 1)
    board.qmp.set("dev0", "raise", 1)
    board.save(tmp_path / "state")
    copy = start(*DEVICES, incoming=True, extra=["-global", f"ioapic.boot-interrupt={FREE}"])
    copy.load(tmp_path / "state")
    assert (copy.qmp.get(APIC, "boot-interrupt"), levels(copy, OTHER), levels(copy, FREE)) == (OTHER, [1], [])
    copy.qmp.set("dev1", "lower", 1)
    assert levels(copy, OTHER) == [1]
    copy.qmp.set("dev0", "lower", 1)
    assert levels(copy, OTHER) == [1, 0]


def test_a_savepoint_without_it_ends_it(start: Start, board: Board) -> None:
    board.qmp.execute("stop")
    board.qmp.execute("shirq-savepoint")
    board.qmp.execute("cont")
    board.qmp.set(APIC, "boot-interrupt", FREE)
    board.qmp.set("dev0", "raise", 1)
    board.qmp.execute("stop")
    board.qmp.execute("shirq-rewind")
    assert board.qmp.get(APIC, "boot-interrupt") == 0


def test_a_schedule_sets_it(board: Board, tmp_path: Path) -> None:
    (tmp_path / "s").write_text(f"@1000 raise 1\n@2000 boot-interrupt {FREE}\n@3000 boot-interrupt 0\n")
    board.qmp.execute("stop")
    board.qmp.set("dev0", "schedule", str(tmp_path / "s"))
    board.qmp.execute("cont")
    board.qtest.clock_step(3000)
    entries = board.log().of(Kind.LINE, device="ioapic", offset=FREE)
    assert [(entry.time_ns, entry.value) for entry in entries] == [(2000, 1), (3000, 0)]
    scheduled = board.log().of(Kind.SCHEDULED, device="dev0")
    assert [(entry.width, entry.value) for entry in scheduled] == [(0, 1), (10, FREE), (10, 0)]


@pytest.mark.parametrize("line", [1, 15, 24, 255])
def test_a_line_that_is_no_pci_interrupts_is_refused(board: Board, line: int) -> None:
    board.qmp.set(APIC, "boot-interrupt", FREE)
    with pytest.raises(QmpFailed, match="the boot interrupt must be an input from 16 to 23, or 0: none"):
        board.qmp.set(APIC, "boot-interrupt", line)
    assert board.qmp.get(APIC, "boot-interrupt") == FREE


def test_a_schedule_needs_a_number(board: Board, tmp_path: Path) -> None:
    (tmp_path / "s").write_text("@1000 boot-interrupt dev1\n")
    board.qmp.execute("stop")
    with pytest.raises(QmpFailed, match="line 1: 'dev1' must be the number of a line"):
        board.qmp.set("dev0", "schedule", str(tmp_path / "s"))
