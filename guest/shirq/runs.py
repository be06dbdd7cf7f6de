# SPDX-License-Identifier: MIT
"""The paths (runs) through a program, and the values that are known on each, whatever the device returns.

The verifier allows forward jumps only, so there are finitely many runs. Contradictory runs are left out: a register is
zero at one skip and not zero at the next, or a constant contradicts the result of its skip.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from shirq.abi import Code, OpFlag
from shirq.program import ALU, SKIPS, Op, Program

#: Maximum number of runs of one program that are examined: a program that has only skips has too many runs.
MAX_RUNS: Final = 4096
_M64: Final = (1 << 64) - 1


@dataclass(frozen=True)
class Value:
    """Partial knowledge of 64 bits: the bits in `known` are known, and those of them in `ones` are set.

    `origins` are the reads that the value depends on, by their operations' indices. `copy_of` is the read that returned
    exactly this value, if there is one; `part_of` the read that returned it but for bits that are known to be 0 here.
    """

    known: int = 0
    ones: int = 0
    origins: frozenset[int] = frozenset()
    copy_of: int | None = None
    part_of: int | None = None

    @property
    def may_be_zero(self) -> bool:
        return not self.ones

    @property
    def may_be_other(self) -> bool:
        return self.known != _M64 or bool(self.ones)


def constant(number: int) -> Value:
    return Value(_M64, number)


def _calculate(code: int, a: Value, b: Value) -> Value:
    """The result of an ALU operation, bit by bit as far as it is known."""
    origins = a.origins | b.origins
    if code == Code.LOAD:
        return b
    if code == Code.AND:
        known = a.known & b.known | a.known & ~a.ones | b.known & ~b.ones
        part = a.part_of if b.known == _M64 else b.part_of if a.known == _M64 else None
        return Value(known, a.ones & b.ones, origins, part_of=part)
    if code == Code.OR:
        ones = a.ones | b.ones
        return Value(a.known & b.known | ones, ones, origins)
    if code == Code.XOR:
        known = a.known & b.known
        return Value(known, (a.ones ^ b.ones) & known, origins)
    if code in (Code.SHL, Code.SHR) and b.known == _M64:
        places = b.ones
        if places >= 64:
            return replace(constant(0), origins=origins)
        if code == Code.SHL:
            return Value((a.known << places | (1 << places) - 1) & _M64, a.ones << places & _M64, origins)
        return Value(a.known >> places | _M64 & ~(_M64 >> places), a.ones >> places, origins)
    if code == Code.ADD and a.known == b.known == _M64:
        return Value(_M64, (a.ones + b.ones) & _M64, origins)
    return Value(origins=origins)


@dataclass(frozen=True)
class Step:
    """One operation of a run; `value` is the value read, written or tested, or the result in its register."""

    index: int
    op: Op
    value: Value


@dataclass(frozen=True)
class Run:
    """One straight run: its steps, the index of the claim among them, and the bits of each read that were 0."""

    steps: tuple[Step, ...]
    claim: int | None
    zeros: Mapping[int, int]

    @property
    def before_claim(self) -> tuple[Step, ...]:
        return self.steps[: self.claim]

    @property
    def after_claim(self) -> tuple[Step, ...]:
        return () if self.claim is None else self.steps[self.claim + 1 :]


def _walk(
    program: Program,
    index: int,
    regs: Mapping[int, Value],
    zero: Mapping[int, bool],
    steps: tuple[Step, ...],
    zeros: Mapping[int, int],
) -> Iterator[Run]:
    """Yield the paths through the program from operation `index` on.

    `zero` has the registers that a skip has tested, and whether each was zero.
    """
    while index < len(program):
        op = program[index]
        if op.code in SKIPS:
            yield from _branch(program, index, regs, zero, steps, zeros)
            return
        value = Value()
        if op.code == Code.READ:
            above = _M64 & ~((1 << 8 * op.width) - 1)
            value = Value(above, 0, frozenset({index}), index, index)
        elif op.code == Code.WRITE:
            value = regs.get(op.src, value)
        elif op.code in ALU:
            operand = regs.get(op.src, value) if op.flags & OpFlag.SRC_REG else constant(op.imm)
            value = _calculate(op.code, regs.get(op.dst, value), operand)
        if op.code == Code.READ or op.code in ALU:
            regs = {**regs, op.dst: value}
            zero = {reg: known for reg, known in zero.items() if reg != op.dst}
        steps = (*steps, Step(index, op, value))
        if op.code == Code.DECLINE:
            break
        index += 1
    claim = next((at for at, step in enumerate(steps) if step.op.code == Code.CLAIM), None)
    yield Run(steps, claim, zeros)


def _branch(
    program: Program,
    index: int,
    regs: Mapping[int, Value],
    zero: Mapping[int, bool],
    steps: tuple[Step, ...],
    zeros: Mapping[int, int],
) -> Iterator[Run]:
    op = program[index]
    value = regs.get(op.src, Value())
    for is_zero in (True, False):
        if zero.get(op.src, is_zero) != is_zero or not (value.may_be_zero if is_zero else value.may_be_other):
            continue
        follower = index + 1 + (op.skip if is_zero == (op.code == Code.SKIP_Z) else 0)
        yield from _walk(
            program,
            follower,
            {**regs, op.src: replace(value, known=_M64)} if is_zero else regs,
            {**zero, op.src: is_zero},
            (*steps, Step(index, op, value)),
            _with_zeros(zeros, value) if is_zero else zeros,
        )


def _with_zeros(zeros: Mapping[int, int], value: Value) -> Mapping[int, int]:
    """Return `zeros` with the bits of a read that are 0 because `value` is."""
    if value.part_of is None:
        return zeros
    return {**zeros, value.part_of: zeros.get(value.part_of, 0) | _M64 & ~value.known}


def runs(program: Program) -> list[Run]:
    """The runs through a program that the verifier accepts, MAX_RUNS at most."""
    return list(itertools.islice(_walk(program, 0, {}, {}, (), {}), MAX_RUNS))
