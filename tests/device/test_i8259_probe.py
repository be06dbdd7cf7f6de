# SPDX-License-Identifier: MIT
"""The line probe at the 8259s: lines, trigger modes, masks, acknowledged interrupts and their ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from device.scene import Start
from shirq_bench.channels.log import BY_PIN, I8259, IOAPIC, Kind
from shirq_bench.vm.board import Board, IoApic, Pic

LINE = 11
VECTOR = Pic.BASE + LINE
DEVICES = ("shirq-edu,id=dev0,addr=4", "shirq-edu,id=dev1,addr=8")
#: The machines, each with the slot and the register that route the pins of `DEVICES` to a line of the 8259s.
ROUTE = {"q35": (0x1F, 0x68), "pc": (1, 0x63)}

Happened = tuple[Kind, int, int]


def route(board: Board, machine: str, line: int = LINE) -> None:
    """Route the devices' pins to a line, as firmware would."""
    slot, register = ROUTE[machine]
    board.function(slot).config_write(register, line, 1)


def prepare(board: Board, machine: str) -> Pic:
    """Route the devices' pins to `LINE`, initialise the controller, and enable the devices; the line stays masked."""
    for slot in (4, 8):
        board.function(slot).enable().write(0x6C, 1)
    route(board, machine)
    pic = Pic(board.qtest)
    pic.initialise()
    pic.trigger([LINE])
    return pic


@pytest.fixture(params=ROUTE)
def machine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def board(start: Start, machine: str) -> Board:
    return start(*DEVICES, machine=machine)


@pytest.fixture
def pic(board: Board, machine: str) -> Pic:
    pic = prepare(board, machine)
    pic.unmask([Pic.CASCADE, LINE])
    return pic


def since(board: Board, mark: int) -> list[Happened]:
    """The 8259s' entries after ``mark``, without the timer's line: kind, line, value."""
    entries = board.log().since(mark).of(device=I8259)
    return [(entry.kind, entry.offset, entry.value) for entry in entries if entry.offset != 2]


def test_an_interrupt_goes_line_deliver_eoi_at_the_8259(board: Board, pic: Pic) -> None:
    mark = board.log().mark
    board.qmp.set("dev0", "raise", 1)
    assert pic.acknowledge(LINE) == LINE
    board.qmp.set("dev0", "lower", 1)
    pic.eoi(LINE)
    assert since(board, mark) == [
        (Kind.LINE, LINE, 1),
        (Kind.DELIVER, LINE, VECTOR),
        (Kind.LINE, LINE, 0),
        (Kind.EOI, LINE, VECTOR),
    ]


def test_a_line_that_is_high_at_its_eoi_is_pending_again(board: Board, pic: Pic) -> None:
    board.qmp.set("dev0", "raise", 1)
    mark = board.log().mark
    assert pic.acknowledge(LINE) == LINE
    assert pic.acknowledge(LINE) is None, "an interrupt in service was acknowledged again"
    pic.eoi(LINE)
    assert pic.acknowledge(LINE) == LINE
    delivered = (Kind.DELIVER, LINE, VECTOR)
    assert since(board, mark) == [delivered, (Kind.EOI, LINE, VECTOR), delivered]


@pytest.mark.parametrize(
    "word",
    [0x20, 0xA0, 0x60 | LINE % 8, 0xE0 | LINE % 8],
    ids=["non-specific", "rotating", "specific", "specific-rotating"],
)
def test_every_kind_of_eoi_ends_the_interrupt_once(board: Board, pic: Pic, word: int) -> None:
    board.qmp.set("dev0", "raise", 1)
    pic.acknowledge(LINE)
    mark = board.log().mark
    for _ in range(2):
        pic.command(LINE, word)
    assert since(board, mark) == [(Kind.EOI, LINE, VECTOR)]


def test_a_specific_eoi_of_another_line_ends_nothing(board: Board, pic: Pic) -> None:
    board.qmp.set("dev0", "raise", 1)
    pic.acknowledge(LINE)
    mark = board.log().mark
    pic.eoi(LINE - 1)
    assert since(board, mark) == []


def test_an_automatic_eoi_follows_the_delivery(board: Board, pic: Pic) -> None:
    pic.initialise(auto_eoi=True)
    pic.unmask([Pic.CASCADE, LINE])
    board.qmp.set("dev0", "raise", 1)
    mark = board.log().mark
    assert pic.acknowledge(LINE) == LINE
    assert since(board, mark) == [(Kind.DELIVER, LINE, VECTOR), (Kind.EOI, LINE, VECTOR)]


def test_masks_are_logged_when_they_change(board: Board, pic: Pic) -> None:
    mark = board.log().mark
    pic.unmask([Pic.CASCADE, LINE])
    pic.unmask([Pic.CASCADE, 5])
    pic.unmask([Pic.CASCADE, LINE])
    masks = [(5, 0), (LINE, 1), (5, 1), (LINE, 0)]
    assert since(board, mark) == [(Kind.LINE_MASK, line, masked) for line, masked in masks]


def test_masking_the_cascade_masks_the_second_chips_lines(board: Board, pic: Pic) -> None:
    mark = board.log().mark
    pic.unmask([LINE])
    pic.unmask([Pic.CASCADE, LINE])
    assert since(board, mark) == [(Kind.LINE_MASK, LINE, 1), (Kind.LINE_MASK, LINE, 0)]
    assert not board.log().since(mark).of(Kind.LINE_MASK, offset=2), "the cascade was taken for a line"


def test_initialising_a_chip_unmasks_its_lines_and_ends_its_interrupts(board: Board, pic: Pic) -> None:
    board.qmp.set("dev0", "raise", 1)
    pic.acknowledge(LINE)
    mark = board.log().mark
    pic.command(LINE, 0x11)
    unmasked = [(Kind.LINE_MASK, line, 0) for line in range(8, 16) if line != LINE]
    assert since(board, mark) == [(Kind.EOI, LINE, VECTOR), *unmasked]


def test_elcr_makes_a_line_level_triggered(board: Board, pic: Pic) -> None:
    mark = board.log().mark
    pic.trigger([LINE, 10])
    pic.trigger([LINE])
    assert since(board, mark) == [(Kind.TRIGGER, 10, 1), (Kind.TRIGGER, 10, 0)]


def test_an_initialisation_can_make_all_lines_level_triggered(board: Board, pic: Pic) -> None:
    mark = board.log().mark
    pic.command(LINE, 0x19)
    found = board.log().since(mark).of(Kind.TRIGGER, device=I8259)
    assert {(entry.offset, entry.value) for entry in found} == {(line, 1) for line in range(8, 16) if line != LINE}


def test_a_line_that_was_high_before_it_became_level_triggered_is_delivered(start: Start, machine: str) -> None:
    """A device may assert before the firmware has initialised the controller."""
    board = start("shirq-edu,id=dev0,addr=4,reset-unmasked=1", machine=machine)
    route(board, machine)
    board.qmp.set("dev0", "raise", 1)
    pic = Pic(board.qtest)
    pic.initialise()
    pic.trigger([LINE])
    pic.unmask([Pic.CASCADE, LINE])
    assert pic.acknowledge(LINE) == LINE


def test_a_reset_unmasks_the_lines_and_forgets_their_trigger_mode(board: Board, pic: Pic) -> None:
    mark = board.log().mark
    board.qmp.execute("system_reset")
    board.qmp.wait_event("RESET")
    assert (Kind.TRIGGER, LINE, 0) in since(board, mark)
    assert {line for kind, line, value in since(board, mark) if (kind, value) == (Kind.LINE_MASK, 0)} == {
        line for line in range(1, 16) if line not in (2, LINE)
    }


def test_a_line_of_both_controllers_is_delivered_where_it_is_unmasked(board: Board, pic: Pic) -> None:
    """The level is logged at both controllers; each is given the line in turn."""
    ioapic = IoApic(board.qtest)
    for controller, masked in ((I8259, True), (IOAPIC, False)):
        pic.unmask([Pic.CASCADE, LINE] if controller == I8259 else [Pic.CASCADE])
        ioapic.program(LINE, 0x61, masked=masked)
        mark = board.log().mark
        board.qmp.set("dev0", "raise", 1)
        assert pic.acknowledge(LINE) == (LINE if controller == I8259 else None)
        board.qmp.set("dev0", "lower", 1)
        pic.eoi(LINE)
        log = board.log().since(mark)
        assert {entry.device for entry in log.of(Kind.LINE, offset=LINE)} == {I8259, IOAPIC}
        assert {entry.device for entry in log.of(Kind.DELIVER, offset=LINE)} == {controller}
        ioapic.program(LINE, 0x61, masked=True, level=False)


def test_the_log_says_which_lines_a_pin_moves(board: Board, pic: Pic, machine: str) -> None:
    moved = {}
    for line in (LINE, 10):
        route(board, machine, line)
        mark = board.log().mark
        board.qmp.set("dev0", "raise", 1)
        board.qmp.set("dev0", "lower", 1)
        entries = board.log().since(mark).of(Kind.LINE, device=I8259)
        moved[line] = [(entry.offset, entry.value, entry.width) for entry in entries]
    assert moved == {line: [(line, 1, BY_PIN), (line, 0, BY_PIN)] for line in moved}


@pytest.mark.parametrize("machine", ["pc"], indirect=True)
def test_a_change_of_the_routing_is_no_change_of_a_pin(board: Board, pic: Pic, machine: str) -> None:
    board.qmp.set("dev0", "raise", 1)
    mark = board.log().mark
    route(board, machine, 10)
    entries = board.log().since(mark).of(Kind.LINE, device=I8259)
    assert {(entry.offset, entry.value, entry.width) for entry in entries} == {(LINE, 0, 0), (10, 1, 0)}


@pytest.mark.parametrize("stock", [False, True], ids=["ours", "stock"])
def test_a_clone_states_the_8259s_and_continues(start: Start, machine: str, tmp_path: Path, stock: bool) -> None:
    """The state of stock QEMU has no levels of inputs: they are derived from the pending interrupts."""
    template = start(*DEVICES, machine=machine)
    pic = prepare(template, machine)
    pic.unmask([Pic.CASCADE, LINE, 5])
    template.qmp.set("dev0", "raise", 1)
    template.save(tmp_path / "state")
    if stock:
        state, name = (tmp_path / "state").read_bytes(), b"i8259/levels"
        subsection = b"\x05" + bytes([len(name)]) + name
        assert state.count(subsection), "the state has no levels to remove"
        while subsection in state:
            at = state.index(subsection)
            # A type byte, the name with its length, a version, and one byte of levels.
            state = state[:at] + state[at + len(subsection) + 4 + 1 :]
        (tmp_path / "state").write_bytes(state)
    clone = start(*DEVICES, machine=machine, incoming=True)
    clone.load(tmp_path / "state")
    log = clone.log()
    assert {*since(clone, 0)} == {
        (Kind.LINE, LINE, 1),
        (Kind.TRIGGER, LINE, 1),
        (Kind.LINE_MASK, LINE, 0),
        (Kind.LINE_MASK, 5, 0),
    }
    assert [entry.width for entry in log.of(Kind.LINE, device=I8259, offset=LINE)] == [2]
    mark = log.mark
    pic = Pic(clone.qtest)
    assert pic.acknowledge(LINE) == LINE
    clone.qmp.set("dev0", "lower", 1)
    pic.eoi(LINE)
    assert since(clone, mark) == [(Kind.DELIVER, LINE, VECTOR), (Kind.LINE, LINE, 0), (Kind.EOI, LINE, VECTOR)]
