# SPDX-License-Identifier: MIT
"""Programs as text: the assembler, its errors, and the disassembler."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import shirq.asm
from shirq import AssemblyError, assemble, disassemble
from shirq.abi import Code, OpFlag
from shirq.asm import disassemble_op
from shirq.program import Op, Place, Program

SRC = int(OpFlag.SRC_REG)


@pytest.mark.parametrize(
    ("text", "op"),
    [
        ("read32 r0, bar0+0x24", Op(Code.READ, dst=0, width=4, imm=0x24)),
        ("read8 r7, bar5", Op(Code.READ, dst=7, width=1, space=5)),
        ("read16 r1, bar1 + 0b10, big_endian", Op(Code.READ, dst=1, width=2, space=1, flags=1, imm=2)),
        ("read64 r1, bar1, gone_if_ones, big_endian", Op(Code.READ, dst=1, width=8, space=1, flags=5)),
        ("READ32 R0, CONFIG+4", Op(Code.READ, width=4, space=6, imm=4)),
        ("write32 bar0+0x68, r1", Op(Code.WRITE, src=1, width=4, imm=0x68)),
        ("write8 config+5,r2", Op(Code.WRITE, src=2, width=1, space=6, imm=5)),
        ("write16 bar0, r2, big_endian", Op(Code.WRITE, src=2, width=2, flags=1)),
        ("load r3, 0xffff_ffff", Op(Code.LOAD, dst=3, imm=0xFFFFFFFF)),
        ("load r3, -1", Op(Code.LOAD, dst=3, imm=(1 << 64) - 1)),
        ("load r3, r4", Op(Code.LOAD, dst=3, src=4, flags=SRC)),
        ("and r3, 0", Op(Code.AND, dst=3)),
        ("or r3, 1", Op(Code.OR, dst=3, imm=1)),
        ("xor r3, r0", Op(Code.XOR, dst=3, flags=SRC)),
        ("add r3, 1", Op(Code.ADD, dst=3, imm=1)),
        ("shl r3, 1", Op(Code.SHL, dst=3, imm=1)),
        ("shr r3, 1", Op(Code.SHR, dst=3, imm=1)),
        ("claim  # ours", Op(Code.CLAIM)),
        ("decline", Op(Code.DECLINE)),
    ],
)
def test_a_line_is_one_operation(text: str, op: Op) -> None:
    assert assemble(text) == (op,)
    assert assemble(disassemble((op,))) == (op,)


def test_labels_name_the_next_operation_and_end_the_end() -> None:
    program = assemble(
        "start: skip_if_zero r0, there\nskip_if_not_zero r0, end\nthere:\n\nagain: claim\nskip_if_zero r1, +1\nclaim"
    )
    assert [op.skip for op in program] == [1, 3, 0, 1, 0]


def test_the_example_in_the_documentation_assembles() -> None:
    documentation = shirq.asm.__doc__ or ""
    example = documentation[documentation.index("    read32 r0, bar0+0x2c") :]
    assert len(assemble(example)) == 7


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("claim\n\nfrob r0", 3, "'frob' is no operation: write one of read8"),
        ("load r8, 1", 1, "'r8' is no register: write r0 to r7"),
        ("load r0", 1, "it takes 2 operands, not 1: write load REG, NUMBER or REG"),
        ("claim r0", 1, "it takes 0 operands, not 1: write claim"),
        ("read32 r0", 1, "it takes 2 operands, not 1: write read32 REG, SPACE+OFFSET"),
        ("load r0, seven", 1, "'seven' is no number: write a number such as 12"),
        ("load r0, 0x1_0000_0000_0000_0000", 1, "does not fit into 64 bits"),
        ("read32 r0, bar6+4", 1, "'bar6+4' is no address: write bar0+0x24 or config+4"),
        ("read32 r0, bar0+", 1, "has no offset after the +"),
        ("read32 r0, bar0+-4", 1, "negative offset"),
        ("read32 r0, bar0+x", 1, "'x' is no number"),
        ("write32 bar0, 0xff", 1, "a write takes a register: load 0xff into one first"),
        ("write32 r0, bar0", 1, "'r0' is no address"),
        ("read32 r0, bar0, loud", 1, "'loud' is no flag of read: it takes big_endian and gone_if_ones"),
        ("write32 bar0, r0, gone_if_ones", 1, "'gone_if_ones' is no flag of write: it takes big_endian"),
        ("read32 r0, bar0, big_endian, big_endian", 1, "big_endian is given twice"),
        ("read8 r0, bar0, big_endian", 1, "a single byte has no byte order"),
        ("skip_if_zero r0, nowhere\nclaim", 1, "there is no label 'nowhere'"),
        ("up: claim\nskip_if_zero r0, up\nclaim", 2, "'up' is not a forward target"),
        (
            "skip_if_zero r0, next\nnext: claim",
            1,
            "'next' is not a forward target: jumps go forward, over at least one",
        ),
        ("skip_if_zero r0, +0\nclaim", 1, "'+0' is not a forward target"),
        ("skip_if_zero r0, +2\nclaim", 1, "leads past the end"),
        ("a: claim\na: claim", 2, "label 'a' is defined twice"),
        ("end: claim", 1, "'end' names the end of every program"),
        ("claim\n" * 65, 65, "65 operations: a program has at most 64"),
    ],
)
def test_bad_line_is_named_with_the_mistake_and_the_remedy(text: str, line: int, problem: str) -> None:
    """The error for a bad line contains the line's number, the mistake and the expected form."""
    with pytest.raises(AssemblyError) as caught:
        assemble(text)
    assert caught.value.line == line
    assert problem in caught.value.problem
    assert str(caught.value).startswith(f"line {line}: ")


registers = st.integers(0, 7)
words = st.integers(0, (1 << 64) - 1)


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """Generate any program that has a text form."""
    length = draw(st.integers(0, 64))
    ops = []
    for index in range(length):
        left = length - index - 1
        code = draw(st.sampled_from([code for code in Code if left or code not in (Code.SKIP_Z, Code.SKIP_NZ)]))
        if code in (Code.READ, Code.WRITE):
            width = draw(st.sampled_from([1, 2, 4, 8]))
            flags = draw(st.sampled_from([0, 1])) if width > 1 else 0
            register = {"dst" if code is Code.READ else "src": draw(registers)}
            if code is Code.READ:
                flags |= draw(st.sampled_from([0, 4]))
            ops.append(Op(code, width=width, space=draw(st.integers(0, 6)), flags=flags, imm=draw(words), **register))
        elif code in (Code.SKIP_Z, Code.SKIP_NZ):
            ops.append(Op(code, src=draw(registers), skip=draw(st.integers(1, left))))
        elif code in (Code.CLAIM, Code.DECLINE):
            ops.append(Op(code))
        elif draw(st.booleans()):
            ops.append(Op(code, dst=draw(registers), src=draw(registers), flags=SRC))
        else:
            ops.append(Op(code, dst=draw(registers), imm=draw(words)))
    return tuple(ops)


@settings(max_examples=300, deadline=None)
@given(programs())
def test_what_is_disassembled_assembles_to_the_same(program: Program) -> None:
    assert assemble(disassemble(program)) == program


@pytest.mark.parametrize(
    ("op", "text"),
    [
        (Op(Code.READ, width=4, imm=0x24), "read32 r0, bar0+0x24"),
        (Op(Code.SKIP_NZ, src=1, skip=2), "skip_if_not_zero r1, +2"),
        (Op(Code.SKIP_NZ, src=1, skip=-2), "operation with code=11, src=1, skip=-2"),
        (Op(Code.SKIP_NZ, skip=32767), "operation with code=11, skip=32767"),
        (Op(99, imm=1), "operation with code=99, imm=1"),
        (Op(Code.CLAIM, width=1), "operation with code=12, width=1"),
        (Op(Code.READ, dst=9, width=4), "operation with code=1, dst=9, width=4"),
        (Op(Code.LOAD, flags=8), "operation with code=3, flags=8"),
    ],
)
def test_operation_without_text_is_shown_field_by_field(op: Op, text: str) -> None:
    """An operation that has no text form is shown field by field."""
    assert disassemble_op(op) == text


@pytest.mark.parametrize("op", [Op(99), Op(Code.CLAIM, width=1), Op(Code.SKIP_Z, skip=-1)])
def test_a_program_that_no_text_describes_cannot_be_disassembled(op: Op) -> None:
    with pytest.raises(ValueError):
        disassemble((op,))


# ----------------------------------------------------------- named registers

NAMES = {"status": Place(1, 0x10, 2, big_endian=True), "mask": Place(0, 4, 1), "disintx": Place(6, 5, 1)}


def test_named_register_takes_place_and_width_from_profile() -> None:
    """A named register gets its address, width and byte order from the profile."""
    program = assemble("read r0, Status, gone_if_ones\nwrite MASK, r0\nread8 r1, bar0+4", NAMES)
    assert program == assemble("read16 r0, bar1+0x10, gone_if_ones, big_endian\nwrite8 bar0+4, r0\nread8 r1, bar0+4")
    assert disassemble(program, NAMES) == "read r0, status, gone_if_ones\nwrite mask, r0\nread r1, mask\n"
    assert assemble(disassemble(program)) == program


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("read r0, nothing", "there is no register 'nothing': the profile has disintx, mask, status"),
        ("read r0, bar0+4", "the width is missing for 'bar0+4': write read8"),
        ("read r0, status, big_endian", "a named register has its byte order in the profile"),
        ("read r0", "it takes 2 operands, not 1: write read REG, NAME"),
        ("write r0", "it takes 2 operands, not 1: write write NAME, REG"),
        ("write mask, 0xff", "a write takes a register: load 0xff into one first"),
        ("write mask, r0, gone_if_ones", "'gone_if_ones' is no flag of write"),
    ],
)
def test_a_bad_use_of_a_named_register_is_told(text: str, problem: str) -> None:
    with pytest.raises(AssemblyError) as caught:
        assemble(text, NAMES)
    assert problem in str(caught.value)


def test_without_a_profile_there_are_no_names() -> None:
    with pytest.raises(AssemblyError, match="only a profile names registers"):
        assemble("read r0, status")
