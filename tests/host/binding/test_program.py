# SPDX-License-Identifier: MIT
"""The kernel's verifier and interpreter, compiled for the host, compared with examples and the binding's models."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from program_model import SPACES, Bus, Library, Memory, compile_library
from shirq import assemble
from shirq.abi import MAX_IRQ_ACCESSES, MAX_OPS, Code, OpFlag, ProgramKind, Reason
from shirq.program import Op, Program
from shirq.simulate import Outcome, run
from shirq.verify import Kind, Space, verify

IRQ, UNMASK, RELEASE, EXEC, MASK = ProgramKind
M64 = (1 << 64) - 1


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return Library(compile_library(tmp_path_factory.mktemp("program")))


# ----------------------------------------------------------- every operation


@pytest.mark.parametrize(
    ("text", "r0"),
    [
        ("load r0, 0x123456789abcdef0", 0x123456789ABCDEF0),
        ("load r0, r1", 0xF0F0),
        ("and r0, 0xff", 0x34),
        ("and r0, r1", 0x1030),
        ("or r0, 0xff", 0x12FF),
        ("xor r0, 0xffff", 0xEDCB),
        ("add r0, 1", 0x1235),
        ("add r0, -0x1235", M64),
        ("shl r0, 4", 0x12340),
        ("shl r0, 63", 0),
        ("shl r0, 64", 0),
        ("shl r0, 0xffffffffffffffff", 0),
        ("shr r0, 4", 0x123),
        ("shr r0, 64", 0),
        ("shr r0, r1", 0),
        ("skip_if_zero r2, end\nload r0, 1", 0x1234),
        ("skip_if_zero r1, end\nload r0, 1", 1),
        ("skip_if_not_zero r1, end\nload r0, 1", 0x1234),
        ("skip_if_not_zero r2, end\nload r0, 1", 1),
        ("skip_if_zero r2, +1\nload r0, 1\nadd r0, 1", 0x1235),
    ],
)
def test_an_operation_leaves_its_result_in_r0(library: Library, text: str, r0: int) -> None:
    program = assemble(text)
    assert library.verify(program, EXEC) == (len(program), Reason.OK)
    assert library.run(program, Bus(), (0x1234, 0xF0F0, 0, 0, 0, 0, 0, 0)).regs[0] == r0


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("read8 r0, bar0+3", 0x88),
        ("read16 r0, bar0+2", 0x7788),
        ("read32 r0, bar0+4", 0x55667788),
        ("read64 r0, bar1+8", 0x1122334455667788),
        ("read16 r0, bar0+2, big_endian", 0x8877),
        ("read32 r0, bar0+4, big_endian", 0x88776655),
        ("read64 r0, bar1+8, big_endian", 0x8877665544332211),
        ("read32 r0, config+0x10", 0x55667788),
        ("read8 r0, config+0xff", 0x88),
    ],
)
def test_a_read_is_one_access_of_its_width_zero_extended(library: Library, text: str, value: int) -> None:
    program, bus = assemble(text), Bus([0x1122334455667788])
    assert library.verify(program, UNMASK) == (1, Reason.OK)
    assert library.run(program, bus, (M64,) * 8).regs[0] == value
    assert bus.log == [("read", program[0].space, program[0].imm, program[0].width)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("write8 bar0+3, r1", 0x88),
        ("write16 bar2+2, r1", 0x7788),
        ("write32 bar0+4, r1", 0x55667788),
        ("write64 bar1+8, r1", 0x1122334455667788),
        ("write16 bar0+2, r1, big_endian", 0x8877),
        ("write32 bar0+4, r1, big_endian", 0x88776655),
        ("write64 bar1+8, r1, big_endian", 0x8877665544332211),
    ],
)
def test_a_write_is_one_access_of_its_width_truncated(library: Library, text: str, value: int) -> None:
    program, bus = assemble(text), Bus()
    assert library.verify(program, EXEC) == (1, Reason.OK)
    library.run(program, bus, (0, 0x1122334455667788, 0, 0, 0, 0, 0, 0))
    assert bus.log == [("write", program[0].space, program[0].imm, program[0].width, value)]


@pytest.mark.parametrize(("value", "old", "written"), [(0xFF, 0x01, 0x05), (0x00, 0xFF, 0xFB), (0x04, 0x00, 0x04)])
def test_a_config_write_changes_the_interrupt_disable_bit_alone(
    library: Library, value: int, old: int, written: int
) -> None:
    bus = Bus([old])
    library.run(assemble("write8 config+5, r0"), bus, (value,) + (0,) * 7)
    assert bus.log == [("read", 6, 5, 1), ("write", 6, 5, 1, written)]


def test_claim_captures_r0_to_r3_and_the_program_goes_on(library: Library) -> None:
    """A claim captures r0 to r3, and the program continues, so that it can mask."""
    program, bus = assemble("load r0, 7\nload r2, 9\nclaim\nload r0, 1\nwrite32 bar0, r0"), Bus()
    assert library.verify(program, IRQ) == (5, Reason.OK)
    run = library.run(program, bus)
    assert (run.outcome, run.captured) == (Outcome.CLAIMED, (7, 0, 9, 0))
    assert bus.log == [("write", 0, 0, 4, 1)]


def test_a_decline_ends_the_program(library: Library) -> None:
    program, bus = assemble("read32 r0, bar0\nskip_if_not_zero r0, +1\ndecline\nclaim\nread32 r1, bar0+4"), Bus([0])
    assert library.verify(program, IRQ) == (5, Reason.OK)
    assert library.run(program, bus).outcome is Outcome.ENDED
    assert bus.log == [("read", 0, 0, 4)]


def test_falling_off_the_end_without_a_claim_declines(library: Library) -> None:
    program = assemble("read32 r0, bar0\nskip_if_zero r0, end\nclaim")
    assert library.verify(program, IRQ) == (3, Reason.OK)
    assert library.run(program, Bus([0])).outcome is Outcome.ENDED
    assert library.run(program, Bus([1])).outcome is Outcome.CLAIMED


@pytest.mark.parametrize("value", [1, 1 << 31, 1 << 32, 1 << 63])
def test_a_skip_looks_at_all_64_bits(library: Library, value: int) -> None:
    for skip, skipped in (("skip_if_zero", False), ("skip_if_not_zero", True)):
        bus = Bus()
        library.run(assemble(f"load r0, {value}\n{skip} r0, end\nwrite32 bar0, r0"), bus)
        assert (bus.log == []) is skipped


@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_only_all_ones_of_the_width_mean_gone(library: Library, width: int) -> None:
    """Only a value that is all-ones in the read's width means gone; one zero bit is enough to prevent that."""
    program = assemble(f"read{8 * width} r0, bar1, gone_if_ones\nwrite32 bar0, r0")
    ones = (1 << 8 * width) - 1
    bus = Bus([ones])
    assert library.run(program, bus).outcome is Outcome.GONE
    assert bus.log == [("read", 1, 0, width)]
    assert library.run(program, Bus([ones - 1])).outcome is Outcome.ENDED


def test_all_ones_without_the_flag_is_a_value(library: Library) -> None:
    run = library.run(assemble("read32 r0, bar0"), Bus([M64]))
    assert (run.outcome, run.regs[0]) == (Outcome.ENDED, 0xFFFFFFFF)


# ------------------------------------------------------------- every refusal

READ = Op(Code.READ, width=4)
CLAIM = Op(Code.CLAIM)
LOAD = Op(Code.LOAD)

REFUSED: list[tuple[str, ProgramKind, Program, int, Reason]] = [
    ("an empty program", IRQ, (), 0, Reason.EMPTY),
    ("an empty release", RELEASE, (), 0, Reason.EMPTY),
    ("65 operations", UNMASK, (LOAD,) * 65, 64, Reason.TOO_LONG),
    ("operation 0", UNMASK, (LOAD, Op(0)), 1, Reason.CODE),
    ("an unknown operation", UNMASK, (LOAD, Op(14)), 1, Reason.CODE),
    ("operation 255", UNMASK, (Op(255),), 0, Reason.CODE),
    ("an unknown flag", UNMASK, (Op(Code.READ, width=4, flags=0x80),), 0, Reason.FLAGS),
    ("a register operand in a read", UNMASK, (Op(Code.READ, width=4, flags=OpFlag.SRC_REG),), 0, Reason.FLAGS),
    ("gone_if_ones in a write", EXEC, (Op(Code.WRITE, width=4, flags=OpFlag.GONE_IF_ONES),), 0, Reason.FLAGS),
    ("a big-endian byte", UNMASK, (Op(Code.READ, width=1, flags=OpFlag.BIG_ENDIAN),), 0, Reason.FLAGS),
    ("a big-endian load", UNMASK, (Op(Code.LOAD, flags=OpFlag.BIG_ENDIAN),), 0, Reason.FLAGS),
    ("src in a read", UNMASK, (Op(Code.READ, width=4, src=1),), 0, Reason.UNUSED),
    ("dst in a write", EXEC, (Op(Code.WRITE, width=4, dst=1),), 0, Reason.UNUSED),
    ("src beside a constant", EXEC, (Op(Code.ADD, src=1),), 0, Reason.UNUSED),
    ("a constant beside src", EXEC, (Op(Code.ADD, imm=1, flags=OpFlag.SRC_REG),), 0, Reason.UNUSED),
    ("a width in a load", UNMASK, (Op(Code.LOAD, width=4),), 0, Reason.UNUSED),
    ("a space in a load", UNMASK, (Op(Code.LOAD, space=1),), 0, Reason.UNUSED),
    ("a skip in a load", UNMASK, (Op(Code.LOAD, skip=1), LOAD), 0, Reason.UNUSED),
    ("an offset in a skip", EXEC, (Op(Code.SKIP_Z, skip=1, imm=1), LOAD), 0, Reason.UNUSED),
    ("dst in a claim", IRQ, (Op(Code.CLAIM, dst=1),), 0, Reason.UNUSED),
    ("r8 written", UNMASK, (Op(Code.LOAD, dst=8),), 0, Reason.REGISTER),
    ("r8 read", EXEC, (Op(Code.LOAD, src=8, flags=OpFlag.SRC_REG),), 0, Reason.REGISTER),
    ("r255 read", EXEC, (Op(Code.WRITE, src=255, width=4),), 0, Reason.REGISTER),
    ("a width of 0", UNMASK, (Op(Code.READ),), 0, Reason.WIDTH),
    ("a width of 3", UNMASK, (Op(Code.READ, width=3),), 0, Reason.WIDTH),
    ("a width of 16", UNMASK, (Op(Code.READ, width=16),), 0, Reason.WIDTH),
    ("space 7", UNMASK, (Op(Code.READ, width=4, space=7),), 0, Reason.SPACE),
    ("a BAR that is missing", UNMASK, (LOAD, Op(Code.READ, width=4, space=4)), 1, Reason.NO_BAR),
    ("an odd word", UNMASK, (Op(Code.READ, width=2, imm=1),), 0, Reason.ALIGNMENT),
    ("a misaligned quadword", UNMASK, (Op(Code.READ, width=8, space=1, imm=4),), 0, Reason.ALIGNMENT),
    ("a misaligned config read", UNMASK, (Op(Code.READ, width=4, space=6, imm=2),), 0, Reason.ALIGNMENT),
    ("one past the end", UNMASK, (Op(Code.READ, width=4, imm=0x1000),), 0, Reason.BOUNDS),
    ("an offset that wraps around", UNMASK, (Op(Code.READ, width=4, imm=M64 - 3),), 0, Reason.BOUNDS),
    ("a BAR smaller than the access", UNMASK, (Op(Code.READ, width=4, space=3),), 0, Reason.BOUNDS),
    ("past config space", UNMASK, (Op(Code.READ, width=4, space=6, imm=256),), 0, Reason.BOUNDS),
    ("8 bytes in a 32-bit BAR", UNMASK, (Op(Code.READ, width=8),), 0, Reason.WIDE),
    ("8 bytes of ports", UNMASK, (Op(Code.READ, width=8, space=2),), 0, Reason.WIDE),
    ("8 bytes of config space", UNMASK, (Op(Code.READ, width=8, space=6),), 0, Reason.WIDE),
    ("a write of all Command", EXEC, (Op(Code.WRITE, width=2, space=6, imm=4),), 0, Reason.CONFIG_WRITE),
    ("a write of Command's low byte", EXEC, (Op(Code.WRITE, width=1, space=6, imm=4),), 0, Reason.CONFIG_WRITE),
    ("a write of a config dword", EXEC, (Op(Code.WRITE, width=4, space=6, imm=16),), 0, Reason.CONFIG_WRITE),
    ("an undefined write", UNMASK, (Op(Code.WRITE, width=4),), 0, Reason.UNDEFINED),
    ("an undefined skip", UNMASK, (Op(Code.SKIP_Z, skip=1), LOAD), 0, Reason.UNDEFINED),
    ("an undefined dst of and", UNMASK, (Op(Code.AND, imm=1),), 0, Reason.UNDEFINED),
    (
        "a register defined on one path only",
        UNMASK,
        (LOAD, Op(Code.SKIP_Z, skip=1), Op(Code.LOAD, dst=1), Op(Code.WRITE, src=1, width=4)),
        3,
        Reason.UNDEFINED,
    ),
    ("one access too many", IRQ, (*(READ,) * 25, CLAIM), 24, Reason.ACCESSES),
    (
        "one access too many on the longer path",
        IRQ,
        (READ, Op(Code.SKIP_NZ, skip=12), *(READ,) * 12, *(Op(Code.WRITE, width=4),) * 12, CLAIM),
        25,
        Reason.ACCESSES,
    ),
    (
        "one access too many on a path that a shorter one joins",
        IRQ,
        (
            *(READ, Op(Code.SKIP_NZ, skip=14)),
            *((READ,) * 12),
            *(Op(Code.SKIP_NZ, skip=2), Op(Code.DECLINE), LOAD),
            *((Op(Code.WRITE, width=4),) * 12),
            CLAIM,
        ),
        28,
        Reason.ACCESSES,
    ),
    ("a skip of 0", EXEC, (Op(Code.SKIP_Z), LOAD), 0, Reason.BACKWARD),
    ("a backward jump", EXEC, (LOAD, Op(Code.SKIP_NZ, skip=-2), LOAD), 1, Reason.BACKWARD),
    ("the longest backward jump", EXEC, (Op(Code.SKIP_NZ, skip=-32768), LOAD), 0, Reason.BACKWARD),
    ("one past the end of the program", EXEC, (Op(Code.SKIP_Z, skip=2), LOAD), 0, Reason.PAST_END),
    ("the longest forward jump", EXEC, (Op(Code.SKIP_Z, skip=32767), LOAD), 0, Reason.PAST_END),
    ("a decline after a claim", IRQ, (CLAIM, Op(Code.LOAD), Op(Code.DECLINE)), 2, Reason.DECLINE_CLAIMED),
    ("an unreachable operation", IRQ, (Op(Code.DECLINE), CLAIM), 1, Reason.UNREACHABLE),
    ("a claim in unmask", UNMASK, (LOAD, CLAIM), 1, Reason.NOT_IRQ),
    ("a claim in release", RELEASE, (CLAIM,), 0, Reason.NOT_IRQ),
    ("a claim in mask", MASK, (CLAIM,), 0, Reason.NOT_IRQ),
    ("a register of nobody's in mask", MASK, (Op(Code.WRITE, width=4),), 0, Reason.UNDEFINED),
    ("a decline in exec", EXEC, (Op(Code.DECLINE),), 0, Reason.NOT_IRQ),
    ("a second claim", IRQ, (CLAIM, CLAIM), 1, Reason.SECOND_CLAIM),
    (
        "a second claim on one path",
        IRQ,
        (READ, Op(Code.SKIP_Z, skip=1), CLAIM, CLAIM),
        3,
        Reason.SECOND_CLAIM,
    ),
    (
        "gone_if_ones after a claim",
        IRQ,
        (CLAIM, Op(Code.READ, width=4, flags=OpFlag.GONE_IF_ONES)),
        1,
        Reason.GONE_CLAIMED,
    ),
    ("no claim", IRQ, (READ, LOAD), 2, Reason.NO_CLAIM),
    ("a decline alone", IRQ, (Op(Code.DECLINE),), 1, Reason.NO_CLAIM),
]


@pytest.mark.parametrize(
    ("kind", "program", "index", "reason"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_a_bad_program_is_refused_with_its_index_and_reason(
    library: Library, kind: ProgramKind, program: Program, index: int, reason: Reason
) -> None:
    assert library.verify(program, kind) == (index, reason)
    model_index, model_reasons = verify(program, kind, SPACES)
    assert model_index == index
    assert reason in model_reasons


def test_every_reason_has_an_example_above() -> None:
    assert {row[4] for row in REFUSED} == set(Reason) - {Reason.OK}


def test_every_reason_has_a_text_of_its_own() -> None:
    assert len({reason.text for reason in Reason}) == len(Reason)


def test_64_operations_are_accepted(library: Library) -> None:
    assert library.verify((LOAD,) * MAX_OPS, UNMASK) == (MAX_OPS, Reason.OK)


def test_only_an_irq_program_is_bound_in_its_accesses(library: Library) -> None:
    """The limit applies to each path of an irq program, not to the sum of all paths; other programs have no limit."""
    assert library.verify((*(READ,) * MAX_IRQ_ACCESSES, CLAIM), IRQ) == (MAX_IRQ_ACCESSES + 1, Reason.OK)
    first = (READ, Op(Code.SKIP_NZ, skip=21), *(READ,) * 20, Op(Code.DECLINE))
    assert library.verify((*first, *(READ,) * 20, CLAIM), IRQ) == (44, Reason.OK)
    for kind in (UNMASK, RELEASE, EXEC, MASK):
        assert library.verify((READ,) * MAX_OPS, kind) == (MAX_OPS, Reason.OK)


def test_the_last_offset_of_a_space_is_accepted(library: Library) -> None:
    assert library.verify(assemble("read32 r0, bar0+0xffc"), UNMASK) == (1, Reason.OK)
    assert library.verify(assemble("read8 r0, bar0+0xfff"), UNMASK) == (1, Reason.OK)


def test_extended_config_space_can_be_read_where_it_exists(library: Library) -> None:
    program = assemble("read32 r0, config+0x100")
    express = (*SPACES[:6], Space(Kind.CONFIG, 4096))
    assert library.verify(program, UNMASK) == (0, Reason.BOUNDS)
    assert library.verify(program, UNMASK, express) == (1, Reason.OK)


def test_exec_has_all_its_registers_from_the_start(library: Library) -> None:
    program = assemble("write32 bar0, r3")
    assert library.verify(program, EXEC) == (1, Reason.OK)
    assert library.verify(program, RELEASE) == (0, Reason.UNDEFINED)


@pytest.mark.parametrize(
    ("text", "keeps"),
    [
        ("load r3, 1\nadd r3, 1", False),
        ("load r4, 1\nwrite32 bar0, r4", True),
        ("load r7, 1", True),
        ("write32 bar0, r4", True),
        ("load r0, r7", True),
        ("add r5, 1", True),
        ("skip_if_zero r6, end\nload r0, 1", True),
    ],
)
def test_program_keeps_if_it_uses_r4_to_r7(library: Library, text: str, keeps: bool) -> None:
    """A program that reads or writes one of r4 to r7 shares it: the verifier marks the program, except for EXEC."""
    program = assemble(text)
    assert library.keeps(program, UNMASK) is keeps
    assert library.keeps((*program, Op(Code.CLAIM)), IRQ) is keeps
    assert not library.keeps(program, EXEC)


# ---------------------------------------------------- against the model

small = st.integers(0, 9)
flags = st.sampled_from([0, 0, 0, 0, 1, 2, 4, 5, 8])
values = st.one_of(st.integers(0, M64), st.sampled_from([0, 1, 4, 5, 63, 64, 65, 0xFF, 0xFFFFFFFF, M64]))


@st.composite
def wild_ops(draw: st.DrawFn) -> Op:
    """Random operations, most of which violate a rule."""
    return Op(
        code=draw(st.integers(0, 14)),
        dst=draw(st.sampled_from([0, 0, 0, 1, 7, 8])),
        src=draw(st.sampled_from([0, 0, 0, 1, 7, 8])),
        width=draw(st.sampled_from([0, 0, 1, 2, 3, 4, 8])),
        space=draw(st.sampled_from([0, 0, 0, 1, 2, 3, 4, 6, 7])),
        flags=draw(flags),
        skip=draw(st.sampled_from([0, 0, 0, 1, 2, 3, -1, 32767, -32768])),
        imm=draw(st.sampled_from([0, 0, 0, 1, 4, 5, 8, 0xFFC, 0xFFE, 0x1000, 0x1FF8, M64 - 3, M64])),
    )


registers = st.sampled_from([0, 1, 2, 3, 4, 7])
access_flags = st.sampled_from([0, 0, OpFlag.BIG_ENDIAN])


@st.composite
def tame_ops(draw: st.DrawFn) -> Op:
    """Random operations that are valid by themselves: only their order can be wrong."""
    code = draw(st.sampled_from(list(Code)))
    dst, src = draw(registers), draw(registers)
    if code in (Code.READ, Code.WRITE):
        width = draw(st.sampled_from([1, 2, 4, 8]))
        space = 1 if width == 8 else draw(st.sampled_from([0, 1, 2]))
        flag = draw(access_flags) if width > 1 else 0
        if code is Code.READ:
            if draw(st.booleans()):
                flag |= OpFlag.GONE_IF_ONES
            return Op(code, dst=dst, width=width, space=space, flags=int(flag), imm=8 * draw(st.integers(0, 3)))
        if draw(st.integers(0, 4)) == 0:
            return Op(code, src=src, width=1, space=6, imm=5)
        return Op(code, src=src, width=width, space=space, flags=int(flag), imm=8 * draw(st.integers(0, 3)))
    if code in (Code.SKIP_Z, Code.SKIP_NZ):
        return Op(code, src=src, skip=draw(st.integers(1, 4)))
    if code in (Code.CLAIM, Code.DECLINE):
        return Op(code)
    if draw(st.booleans()):
        return Op(code, dst=dst, src=src, flags=int(OpFlag.SRC_REG))
    return Op(code, dst=dst, imm=draw(values))


programs = st.one_of(
    st.lists(tame_ops(), min_size=1, max_size=12),
    st.lists(tame_ops(), min_size=1, max_size=4),
    st.lists(wild_ops(), min_size=1, max_size=4),
).map(tuple)
kinds = st.sampled_from(list(ProgramKind))


def repaired(program: Program, kind: ProgramKind) -> Program:
    """Return the program without the operations that the model refuses; usually some operations remain."""
    while True:
        index, reasons = verify(program, kind, SPACES)
        if reasons == {Reason.OK} or not program:
            return program
        if reasons == {Reason.NO_CLAIM}:
            program = (*program, Op(Code.CLAIM))
            if verify(program, kind, SPACES)[1] != {Reason.OK}:
                return (Op(Code.CLAIM),)
        else:
            program = program[:index] + program[index + 1 :]


@settings(max_examples=2000, deadline=None)
@given(programs, kinds)
def test_the_verifier_refuses_what_the_model_refuses(library: Library, program: Program, kind: ProgramKind) -> None:
    index, reason = library.verify(program, kind)
    model_index, reasons = verify(program, kind, SPACES)
    assert index == model_index
    assert reason in reasons


@settings(max_examples=2000, deadline=None)
@given(programs, kinds, st.lists(values, min_size=1, max_size=4), st.lists(values, min_size=8, max_size=8))
def test_the_interpreter_does_what_the_model_does(
    library: Library, program: Program, kind: ProgramKind, data: list[int], regs: list[int]
) -> None:
    program = repaired(program, kind)
    if not program:
        return
    assert library.verify(program, kind)[1] is Reason.OK
    start = regs if kind == EXEC else [0] * 4 + regs[4:]
    ours, theirs = Bus(data), Bus(data)
    assert library.run(program, theirs, start) == run(program, ours, start)
    assert theirs.log == ours.log


@settings(max_examples=2000, deadline=None)
@given(programs, kinds, st.lists(values, min_size=1, max_size=4), st.lists(values, min_size=8, max_size=8))
def test_a_program_that_keeps_nothing_depends_on_no_kept_value(
    library: Library, program: Program, kind: ProgramKind, data: list[int], regs: list[int]
) -> None:
    program = repaired(program, kind)
    if not program or kind == EXEC or library.keeps(program, kind):
        return
    first, second = Bus(data), Bus(data)
    one, other = library.run(program, first, [0] * 8), library.run(program, second, [0] * 4 + regs[4:])
    assert (one.outcome, one.captured) == (other.outcome, other.captured)
    assert first.log == second.log


# --------------------------------------------------------------- linked


def assert_linked_does_the_same(
    library: Library, program: Program, content: bytes, regs: tuple[int, ...] = (0,) * 8
) -> Memory:
    """Run a linked program and compare it with the model's run; returns the memory of the linked program."""
    ours, theirs = Memory(content), Memory(content)
    model, linked = run(program, ours, regs), library.run_linked(program, theirs, regs)
    assert (linked.outcome, linked.captured) == (model.outcome, model.captured)
    if model.outcome is not Outcome.GONE:
        assert linked.regs == model.regs
    assert theirs.bytes == ours.bytes
    return theirs


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("read32 r0, bar0+4", 0),
        ("read32 r0, bar0+4, gone_if_ones\nclaim", 0),
        ("write32 bar0+4, r1", 0),
        ("load r0, 0x123456789\nwrite32 bar0+4, r0", 0),
        ("load r0, 7\nwrite32 bar0+4, r1\nwrite32 bar0+8, r0", 0),
        ("load r0, r1\nwrite32 bar0+4, r0", 0),
        ("load r0, 7\nload r2, 8\nwrite32 bar0+4, r0\nwrite32 bar0+8, r2", 0),
        ("load r0, 7\nadd r0, 1\nwrite32 bar0+4, r0", 0),
        ("load r0, 7\nread32 r2, bar0+4\nwrite32 bar0+4, r0", 0),
        ("load r0, 7\nwrite32 bar2+4, r0", 1),
        ("load r0, 7\nskip_if_zero r7, +1\nload r0, 8\nwrite32 bar0+4, r0", 0),
        ("skip_if_not_zero r1, +1\nload r0, 8\nwrite32 bar0+4, r0", 0),
        ("read16 r0, bar0+4", 1),
        ("read64 r0, bar1+8", 1),
        ("write8 bar0+5, r1", 1),
        ("write64 bar1+8, r1", 1),
        ("read32 r0, bar0+4, big_endian", 1),
        ("write32 bar0+4, r1, big_endian", 1),
        ("load r0, 7\nwrite32 bar0+4, r0, big_endian", 1),
        ("read32 r0, bar2+4", 1),
        ("write32 bar2+4, r1", 1),
        ("read32 r0, config+0x10", 1),
        ("write8 config+5, r1", 2),
    ],
)
def test_linked_program_does_the_same_without_4_byte_calls(library: Library, text: str, calls: int) -> None:
    """A linked program has the same effects, and calls no function for accesses of 4 bytes to a memory BAR."""
    regs = (0, 0x1122334455667788, 0, 0, 0, 0, 0, 0)
    memory = assert_linked_does_the_same(library, assemble(text), bytes(range(0xE0, 0x100)), regs)
    assert len(memory.calls) == calls


@pytest.mark.parametrize("content", [b"\xff" * 8, b"\xff\xff\xff\x7f", b"\xfe\xff\xff\xff", bytes(4)])
@pytest.mark.parametrize("flag", ["", ", gone_if_ones"])
def test_linked_read_of_all_ones_means_gone_only_if_flagged(library: Library, flag: str, content: bytes) -> None:
    """A linked read of all-ones means gone only if the operation has the flag."""
    program = assemble(f"read32 r0, bar0{flag}\nload r1, 5\nwrite32 bar0+4, r1")
    memory = assert_linked_does_the_same(library, program, content)
    assert (memory.bytes[0][4] == 5) is not (bool(flag) and content == b"\xff" * 8)


@st.composite
def often_linked(draw: st.DrawFn) -> list[Op]:
    """Sequences that linking joins into one operation, and similar ones that it must not join."""
    register, other = draw(registers), draw(registers)
    space, flag = draw(st.sampled_from([0, 0, 1, 2])), draw(access_flags)
    load = Op(Code.LOAD, dst=register, imm=draw(values))
    write = Op(
        Code.WRITE, src=draw(st.sampled_from([register, register, other])), width=4, space=space, flags=int(flag)
    )
    return [load, write]


@settings(max_examples=2000, deadline=None)
@given(
    st.lists(st.one_of(often_linked(), tame_ops().map(lambda op: [op])), min_size=1, max_size=8),
    kinds,
    st.binary(min_size=4, max_size=32),
    st.lists(values, min_size=8, max_size=8),
)
def test_a_linked_program_does_what_the_model_does(
    library: Library, parts: list[list[Op]], kind: ProgramKind, content: bytes, regs: list[int]
) -> None:
    program = repaired(tuple(op for part in parts for op in part), kind)
    if program:
        assert_linked_does_the_same(library, program, content, tuple(regs) if kind == EXEC else (0,) * 8)


@pytest.mark.parametrize(
    ("text", "relevant"),
    [
        ("read32 r0, bar0+4\nskip_if_zero r0, end\nclaim", 0xFFFFFFFF),
        ("read32 r0, bar0+4, gone_if_ones\nskip_if_zero r0, end\nclaim", 0xFFFFFFFF),
        ("read32 r2, bar0+4\nand r2, 0x30\nskip_if_zero r2, end\nclaim", 0x30),
        ("read32 r0, bar0+4\nand r0, 0x100000003\nskip_if_zero r0, end\nclaim", 3),
        ("read32 r0, bar0+4\nskip_if_not_zero r0, +1\ndecline\nclaim", 0xFFFFFFFF),
        ("read32 r0, bar0+4\nskip_if_zero r0, +2\nclaim\nload r1, 1", 0xFFFFFFFF),
        ("read32 r0, bar0+4\nskip_if_zero r0, +1\nskip_if_not_zero r0, +1\ndecline\nclaim", 0xFFFFFFFF),
        ("read32 r0, bar0+4\nskip_if_zero r0, +1\nclaim\nread32 r1, bar0+8", 0),
        ("read32 r0, bar0+4\nskip_if_not_zero r0, end\nclaim", 0),
        ("read32 r0, bar0+4\nskip_if_zero r1, end\nclaim", 0),
        ("read32 r0, bar0+4\nand r1, 1\nskip_if_zero r0, end\nclaim", 0),
        ("read32 r0, bar0+4\nand r0, r1\nskip_if_zero r0, end\nclaim", 0),
        ("read32 r0, bar0+4\nor r0, 1\nskip_if_zero r0, end\nclaim", 0),
        ("read32 r0, bar0+4, big_endian\nskip_if_zero r0, end\nclaim", 0),
        ("read16 r0, bar0+4\nskip_if_zero r0, end\nclaim", 0),
        ("read32 r0, bar2+4\nskip_if_zero r0, end\nclaim", 0),
        ("load r0, 1\nskip_if_zero r0, end\nclaim", 0),
        ("read32 r0, bar0+4", 0),
        ("read32 r0, bar0+4\nand r0, 1", 0),
        ("claim", 0),
    ],
)
def test_claim_test_at_the_beginning_is_found(library: Library, text: str, relevant: int) -> None:
    """`relevant` are the bits of the first read without which the program declines, without another access."""
    program = assemble(text)
    assert library.relevant(program) == relevant
    if relevant:
        for value in (0, 0xFFFFFFFF, *(1 << bit for bit in range(32))):
            assert_peeked_does_the_same(library, program, value.to_bytes(4, "little"))


def assert_peeked_does_the_same(library: Library, program: Program, content: bytes) -> None:
    """Run an irq program as the handler does, and compare it with the model's run."""
    ours, theirs = Memory(content), Memory(content)
    model, peeked = run(program, ours, (0,) * 8), library.run_peeked(program, theirs)
    if peeked is None:
        return
    assert (peeked.outcome, peeked.captured) == (model.outcome, model.captured)
    assert theirs.bytes == ours.bytes
    if model.outcome is Outcome.CLAIMED:
        assert peeked.regs == model.regs


@st.composite
def claim_tests(draw: st.DrawFn) -> list[Op]:
    """Beginnings of irq programs that test what they have read, and similar ones."""
    register, other = draw(registers), draw(registers)
    flags = draw(st.sampled_from([0, 0, int(OpFlag.GONE_IF_ONES)]))
    ops = [Op(Code.READ, dst=register, width=4, space=draw(st.sampled_from([0, 0, 0, 2])), flags=flags)]
    if draw(st.booleans()):
        ops.append(Op(Code.AND, dst=draw(st.sampled_from([register, register, other])), imm=draw(values)))
    code, tested = (
        draw(st.sampled_from([Code.SKIP_Z, Code.SKIP_NZ])),
        draw(st.sampled_from([register, register, other])),
    )
    ops.append(Op(code, src=tested, skip=draw(st.integers(1, 4))))
    return [*ops, Op(Code.DECLINE)] if draw(st.booleans()) else ops


@settings(max_examples=2000, deadline=None)
@given(claim_tests(), st.lists(tame_ops(), max_size=5), st.binary(min_size=4, max_size=8))
def test_a_program_that_begins_with_its_claim_test_does_the_same_when_peeked(
    library: Library, beginning: list[Op], rest: list[Op], content: bytes
) -> None:
    program = repaired((*beginning, *rest), ProgramKind.IRQ)
    if program and not library.keeps(program, ProgramKind.IRQ):
        assert_peeked_does_the_same(library, program, content)
