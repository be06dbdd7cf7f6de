# SPDX-License-Identifier: MIT
"""The line probe: pins of any PCI function, lines, and the interrupt controller's actions."""

from __future__ import annotations

from pathlib import Path

import pytest

from device.scene import Start
from shirq_bench.channels.log import Entry, Kind
from shirq_bench.vm.board import Board, IoApic
from shirq_bench.vm.machine import gsi_of

GSI, VECTOR = 20, 0x61
DEVICES = ("shirq-edu,id=dev0,addr=4", "shirq-edu,id=dev1,addr=8")


@pytest.fixture
def board(start: Start) -> Board:
    board = start(*DEVICES)
    for slot in (4, 8):
        board.function(slot).enable().write(0x6C, 1)
    return board


def controller(entries: list[Entry]) -> list[tuple[Kind, int, int]]:
    """The I/O APIC's entries, each as kind, line and value."""
    return [(entry.kind, entry.offset, entry.value) for entry in entries if entry.device == "ioapic"]


def since(board: Board, mark: int) -> list[tuple[Kind, int, int]]:
    """The I/O APIC's entries after ``mark``, without trigger modes and without the machine's timer on line 2."""
    found = controller(list(board.log().since(mark).entries))
    return [entry for entry in found if entry[0] is not Kind.TRIGGER and entry[1] != 2]


def test_an_interrupt_goes_line_deliver_eoi(board: Board) -> None:
    IoApic(board.qtest).program(GSI, VECTOR)
    mark = board.log().mark
    board.qmp.set("dev0", "raise", 1)
    board.qmp.set("dev0", "lower", 1)
    IoApic(board.qtest).eoi(VECTOR)
    assert since(board, mark) == [
        (Kind.LINE, GSI, 1),
        (Kind.DELIVER, GSI, VECTOR),
        (Kind.LINE, GSI, 0),
        (Kind.EOI, GSI, VECTOR),
    ]


def test_line_still_high_at_its_eoi_is_delivered_again(board: Board) -> None:
    """A line that is still high at its EOI is delivered again."""
    IoApic(board.qtest).program(GSI, VECTOR)
    board.qmp.set("dev0", "raise", 1)
    mark = board.log().mark
    IoApic(board.qtest).eoi(VECTOR)
    assert since(board, mark) == [(Kind.EOI, GSI, VECTOR), (Kind.DELIVER, GSI, VECTOR)]


def test_a_second_device_on_a_high_line_changes_only_its_pin(board: Board) -> None:
    IoApic(board.qtest).program(GSI, VECTOR)
    board.qmp.set("dev0", "raise", 1)
    mark = board.log().mark
    board.qmp.set("dev1", "raise", 1)
    board.qmp.set("dev0", "lower", 1)
    assert since(board, mark) == []
    assert [(entry.device, entry.value) for entry in board.log().since(mark).of(Kind.PIN)] == [("dev1", 1), ("dev0", 0)]


def test_an_end_of_interrupt_with_nothing_in_service_is_none(board: Board) -> None:
    IoApic(board.qtest).program(GSI, VECTOR)
    mark = board.log().mark
    IoApic(board.qtest).eoi(VECTOR)
    assert since(board, mark) == []


def test_mask_changes_are_logged_and_rewrites_are_not(board: Board) -> None:
    ioapic = IoApic(board.qtest)
    mark = board.log().mark
    ioapic.program(GSI, VECTOR, masked=True)
    ioapic.program(GSI, VECTOR)
    ioapic.program(GSI, VECTOR + 1)
    ioapic.program(GSI, VECTOR, masked=True)
    assert since(board, mark) == [(Kind.LINE_MASK, GSI, 0), (Kind.LINE_MASK, GSI, 1)]


def test_changes_of_the_trigger_mode_are_logged(board: Board) -> None:
    ioapic = IoApic(board.qtest)
    mark = board.log().mark
    for level in (True, True, False):
        ioapic.program(GSI, VECTOR, level=level)
    found = [(entry.device, entry.offset, entry.value) for entry in board.log().since(mark).of(Kind.TRIGGER)]
    assert found == [("ioapic", GSI, 1), ("ioapic", GSI, 0)]


def test_a_masked_line_is_delivered_when_it_is_unmasked(board: Board) -> None:
    ioapic = IoApic(board.qtest)
    ioapic.program(GSI, VECTOR, masked=True)
    mark = board.log().mark
    board.qmp.set("dev0", "raise", 1)
    ioapic.program(GSI, VECTOR)
    assert since(board, mark) == [(Kind.LINE, GSI, 1), (Kind.LINE_MASK, GSI, 0), (Kind.DELIVER, GSI, VECTOR)]


def test_line_high_before_its_entry_is_programmed_is_delivered(board: Board) -> None:
    """A line that was high before its I/O APIC entry was programmed is delivered."""
    board.qmp.set("dev0", "raise", 1)
    mark = board.log().mark
    IoApic(board.qtest).program(GSI, VECTOR)
    assert since(board, mark) == [(Kind.LINE_MASK, GSI, 0), (Kind.DELIVER, GSI, VECTOR)]


@pytest.mark.parametrize("level_meanwhile", [True, False])
def test_a_line_that_fell_before_its_entry_was_programmed_is_not(board: Board, level_meanwhile: bool) -> None:
    ioapic = IoApic(board.qtest)
    ioapic.program(GSI, VECTOR, masked=True)
    board.qmp.set("dev0", "raise", 1)
    ioapic.program(GSI, VECTOR, masked=True, level=level_meanwhile)
    board.qmp.set("dev0", "lower", 1)
    mark = board.log().mark
    ioapic.program(GSI, VECTOR)
    assert since(board, mark) == [(Kind.LINE_MASK, GSI, 0)]


def test_state_without_levels_loses_no_interrupt(start: Start, board: Board, tmp_path: Path) -> None:
    """A state of stock QEMU has no levels of inputs: QEMU derives a high level from the pending bit of the entry."""
    ioapic = IoApic(board.qtest)
    ioapic.program(GSI, VECTOR, masked=True)
    board.qmp.set("dev0", "raise", 1)
    board.save(tmp_path / "state")
    state = (tmp_path / "state").read_bytes()
    name = b"ioapic/levels"
    # Remove the subsection: a type byte, the name with its length, a version, and 32 bits of level for each input.
    levels = state.index(b"\x05" + bytes([len(name)]) + name)
    (tmp_path / "state").write_bytes(state[:levels] + state[levels + 2 + len(name) + 4 + 24 * 4 :])
    clone = start(*DEVICES, incoming=True)
    clone.load(tmp_path / "state")
    mark = clone.log().mark
    IoApic(clone.qtest).program(GSI, VECTOR)
    assert since(clone, mark) == [(Kind.LINE_MASK, GSI, 0), (Kind.DELIVER, GSI, VECTOR)]


def test_switching_an_entry_to_edge_ends_its_level_interrupt(board: Board) -> None:
    ioapic = IoApic(board.qtest)
    ioapic.program(GSI, VECTOR)
    board.qmp.set("dev0", "raise", 1)
    assert ioapic.entry(GSI) & ioapic.REMOTE_IRR
    mark = board.log().mark
    ioapic.program(GSI, VECTOR, masked=True, level=False)
    assert not ioapic.entry(GSI) & ioapic.REMOTE_IRR
    assert since(board, mark) == [(Kind.LINE_MASK, GSI, 1), (Kind.EOI, GSI, VECTOR)]


def test_an_edge_interrupt_has_no_end(board: Board) -> None:
    ioapic = IoApic(board.qtest)
    ioapic.program(GSI, VECTOR, level=False)
    mark = board.log().mark
    board.qmp.set("dev0", "raise", 1)
    ioapic.eoi(VECTOR)
    assert since(board, mark) == [(Kind.LINE, GSI, 1), (Kind.DELIVER, GSI, VECTOR)]


def test_a_reset_masks_the_entries(board: Board) -> None:
    IoApic(board.qtest).program(GSI, VECTOR)
    mark = board.log().mark
    board.qmp.execute("system_reset")
    board.qmp.wait_event("RESET")
    assert [entry for entry in since(board, mark) if entry[1] == GSI] == [(Kind.LINE_MASK, GSI, 1)]


def test_the_probe_and_the_controllers_inputs_agree(board: Board) -> None:
    (path,) = (
        f"/machine/{parent}/{child['name']}"
        for parent in ("unattached", "q35")
        for child in board.qmp.execute("qom-list", path=f"/machine/{parent}")
        if child["type"] == "child<ioapic>"
    )
    board.qtest.intercept_inputs(path)
    levels = []
    for device, stimulus in [("dev0", "raise"), ("dev1", "raise"), ("dev0", "lower"), ("dev1", "lower")]:
        board.qmp.set(device, stimulus, 1)
        board.qtest.clock_step(1)
        levels.append((board.qtest.irqs[GSI], board.log().of(Kind.LINE, offset=GSI)[-1].value))
    assert levels == [(True, 1), (True, 1), (True, 1), (False, 0)]


def test_isa_interrupt_0_is_input_2(board: Board) -> None:
    mark = board.log().mark
    # Timer channel 0 as a square wave with the period 1193 / 1.193 MHz, 1 ms.
    board.qtest.outp(0x43, 0x36, 1)
    board.qtest.outp(0x40, 0xA9, 1)
    board.qtest.outp(0x40, 0x04, 1)
    board.qtest.clock_step(10_000_000)
    found = board.log().since(mark).of(Kind.LINE, offset=2)
    assert {entry.device for entry in found} == {"ioapic", "i8259"}
    assert {entry.width for entry in found} == {0}, "no pin moves the timer's line"
    assert board.log().of(Kind.LINE) == board.log().of(Kind.LINE, offset=2)


def test_the_pins_of_qemus_own_devices_are_logged(start: Start) -> None:
    board = start("edu,id=stock,addr=4", "e1000,id=nic,addr=8,romfile=")
    stock, nic = board.function(4).enable(), board.function(8).enable()
    stock.write(0x60, 1)
    nic.write(0xD0, 0x4)  # IMS: link status change
    nic.write(0xC8, 0x4)  # ICS: raise it
    stock.write(0x64, 1)
    nic.read(0xC0)  # ICR: clear on read
    log = board.log()
    assert [(entry.device, entry.offset, entry.value) for entry in log.of(Kind.PIN)] == [
        *(("stock", 0, 1), ("nic", 0, 1)),
        *(("stock", 0, 0), ("nic", 0, 0)),
    ]
    assert [entry.value for entry in log.of(Kind.LINE, offset=GSI)] == [1, 0]


def test_disabling_intx_of_a_stock_device_is_seen_at_its_pin(start: Start) -> None:
    board = start("edu,id=stock,addr=4")
    function = board.function(4)
    function.enable().write(0x60, 1)
    function.set_intx_disable(True)
    function.set_intx_disable(False)
    assert [entry.value for entry in board.log().of(Kind.PIN, device="stock")] == [1, 0, 1]


@pytest.mark.parametrize("pin", "ABCD")
def test_every_slots_pin_leads_to_the_line_that_the_bench_says(start: Start, pin: str) -> None:
    """Slot 0 is used by the host bridge, and slot 31 by the chipset's functions 0, 2 and 3."""
    places = {slot: f"{slot:x}.4" if slot == 31 else f"{slot:x}" for slot in range(1, 32)}
    board = start(
        *(f"shirq-edu,id=dev{slot},addr={place},intx-pin={pin},reset-unmasked=1" for slot, place in places.items())
    )
    found = {}
    for slot in places:
        mark = board.log().mark
        board.qmp.set(f"dev{slot}", "raise", 1)
        (found[slot],) = (entry.offset for entry in board.log().since(mark).of(Kind.LINE) if entry.value)
        board.qmp.set(f"dev{slot}", "lower", 1)
    assert found == {slot: gsi_of(slot, pin) for slot in places}
