# SPDX-License-Identifier: MIT
"""The simulator: registers that behave like a card's, and the trace of a program that accesses them."""

from __future__ import annotations

import pytest

from shirq import assemble, profile, simulate
from shirq.program import Place
from shirq.simulate import Cell, NoRegister, Outcome, RegisterFile

WORD = Place(0, 0x10, 4)
PROGRAM = assemble("read32 r0, bar0+0x10, gone_if_ones\nskip_if_zero r0, end\nclaim\nload r0, 7\nwrite32 bar0+0x10, r0")


def test_a_trace_shows_each_operation_with_what_it_did() -> None:
    card = RegisterFile({WORD: Cell(5)})
    steps = list(simulate.trace(PROGRAM, card))
    assert [step.index for step in steps] == [0, 1, 2, 3, 4]
    assert [step.value for step in steps] == [5, None, None, None, 7]
    assert [step.regs[0] for step in steps] == [5, 5, 5, 7, 7]
    texts = [" ".join(step.describe({"status": WORD}).split()) for step in steps]
    assert texts[0] == "0 read r0, status, gone_if_ones -> 0x5"
    assert texts[3:] == ["3 load r0, 0x7 r0 = 0x7", "4 write status, r0 <- 0x7"]
    run = simulate.outcome(steps)
    assert (run.outcome, run.captured) == (Outcome.CLAIMED, (5, 0, 0, 0))
    assert card[WORD] == 7


def test_a_trace_shows_of_a_write_what_its_width_lets_through() -> None:
    card = RegisterFile({WORD: Cell(0)})
    steps = list(simulate.trace(assemble("load r0, 0x1234567890\nwrite32 bar0+0x10, r0"), card))
    assert (steps[1].value, card[WORD]) == (0x34567890, 0x34567890)


def test_what_changes_between_two_steps_is_seen_by_the_next_one() -> None:
    card = RegisterFile({WORD: Cell(0)})
    program = assemble("read32 r0, bar0+0x10\nread32 r1, bar0+0x10")
    steps = []
    for step in simulate.trace(program, card):
        steps.append(step)
        card[WORD] = 9
    assert simulate.outcome(steps).regs[:2] == (0, 9)


@pytest.mark.parametrize(("held", "outcome"), [(0xFFFFFFFF, Outcome.GONE), (0, Outcome.ENDED), (1, Outcome.CLAIMED)])
def test_a_run_ends_as_the_kernels_does(held: int, outcome: Outcome) -> None:
    assert simulate.run(PROGRAM, RegisterFile({WORD: Cell(held)})).outcome is outcome


@pytest.mark.parametrize(
    ("cell", "read", "after_read", "after_write"),
    [
        (Cell(0b0110), 0b0110, 0b0110, 0b0011),
        (Cell(0b0110, simulate.clear_on_read), 0b0110, 0, 0b0011),
        (Cell(0b0110, simulate.reads_zero), 0, 0b0110, 0b0011),
        (Cell(0b0110, on_write=simulate.write_1_to_clear), 0b0110, 0b0110, 0b0100),
        (Cell(0b0110, on_write=simulate.write_1_to_set), 0b0110, 0b0110, 0b0111),
        (Cell(0b0110, on_write=simulate.ignores_writes), 0b0110, 0b0110, 0b0110),
        (Cell(0b0110, lambda held: (held + 1, held + 1)), 0b0111, 0b0111, 0b0011),
    ],
)
def test_a_register_behaves_as_it_is_told(cell: Cell, read: int, after_read: int, after_write: int) -> None:
    card = RegisterFile({WORD: cell})
    assert (card.read(0, 0x10, 4), card[WORD]) == (read, after_read)
    card.write(0, 0x10, 4, 0b0011)
    assert card[WORD] == after_write
    assert card.log == [("read", WORD, read), ("write", WORD, 3)]


def test_big_endian_register_holds_value_and_bus_sees_bytes() -> None:
    """A big-endian register stores its value; the bus transfers the value's bytes in reverse order."""
    place = Place(0, 0, 2, big_endian=True)
    card = RegisterFile({place: Cell(0x1234)})
    assert card.read(0, 0, 2) == 0x3412
    assert simulate.run(assemble("read16 r0, bar0, big_endian"), card).regs[0] == 0x1234
    card.write(0, 0, 2, 0x7856)
    assert card[place] == 0x5678


@pytest.mark.parametrize("text", ["read16 r0, bar0+0x10", "read32 r0, bar0+0x14", "read32 r0, config+0x10"])
def test_an_access_where_there_is_no_register_is_told(text: str) -> None:
    with pytest.raises(NoRegister, match=r"there is no register of \d+ bits at (bar0|config)\+0x1"):
        simulate.run(assemble(text), RegisterFile({WORD: Cell()}))


def test_profiles_card_masks_by_its_set_and_clear_registers() -> None:
    """The simulated card of a profile masks by its set and clear registers."""
    card = profile.load(profile.folder() / "nvme.toml")
    registers = card.card()
    mask = card.registers["INTMS"].place
    registers[card.registers["Status"].place] = 0x8
    assert simulate.run(card.programs.irq, registers).outcome is Outcome.CLAIMED
    assert registers[mask] == 0xFFFFFFFF
    clear = card.registers["INTMC"].place
    assert registers.read(clear.space, clear.offset, clear.width) == 0xFFFFFFFF, "the clear register must read the mask"
    simulate.run(card.programs.unmask, registers)
    assert registers[mask] == 0
