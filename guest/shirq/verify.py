# SPDX-License-Identifier: MIT
"""The verifier's rules in Python: decides whether a program may run on a device with these spaces.

The kernel decides when a set is loaded. This module gives the same answer on any machine, but reports every broken
rule, whereas the kernel reports the first. This module follows each path separately; the kernel joins their states.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from shirq import abi
from shirq.abi import Code, OpFlag, ProgramKind, Reason
from shirq.program import ALU, SKIPS, Op, Program, regs_read, regs_written, successors
from shirq.records import Info


class Kind(enum.IntEnum):
    """The kind of registers in a space."""

    NONE = 0
    PLAIN = 1
    WIDE = 2
    CONFIG = 3


@dataclass(frozen=True)
class Space:
    """One space of a device: BAR or config space; `size` in bytes."""

    kind: Kind
    size: int


NO_SPACE = Space(Kind.NONE, 0)


def spaces_of(info: Info) -> tuple[Space, ...]:
    """The spaces of a device that is open."""
    bars = (
        Space(Kind.WIDE if bar.flags & abi.BarFlag.WIDE else Kind.PLAIN, bar.length) if bar.length else NO_SPACE
        for bar in info.bars
    )
    return (*bars, Space(Kind.CONFIG, info.config_size))


def _field_faults(op: Op, left: int, spaces: Sequence[Space]) -> set[Reason]:
    """Every rule that an operation breaks by itself; `left` operations follow it."""
    if op.code not in set(Code):
        return {Reason.CODE}
    faults: set[Reason] = set()
    memory = op.code in (Code.READ, Code.WRITE)
    allowed = 0
    if memory and op.width != 1:
        allowed |= OpFlag.BIG_ENDIAN
    if op.code == Code.READ:
        allowed |= OpFlag.GONE_IF_ONES
    if op.code in ALU:
        allowed |= OpFlag.SRC_REG
    if op.flags & ~int(allowed):
        faults.add(Reason.FLAGS)
    by_register = op.code in ALU and op.flags & OpFlag.SRC_REG
    uses = {
        "dst": op.code == Code.READ or op.code in ALU,
        "src": op.code in (Code.WRITE, *SKIPS) or by_register,
        "imm": memory or (op.code in ALU and not by_register),
        "width": memory,
        "space": memory,
        "skip": op.code in SKIPS,
    }
    if any(getattr(op, name) and not used for name, used in uses.items()):
        faults.add(Reason.UNUSED)
    if op.dst >= abi.REGS or op.src >= abi.REGS:
        faults.add(Reason.REGISTER)
    if op.code in SKIPS:
        if op.skip < 1:
            faults.add(Reason.BACKWARD)
        elif op.skip > left:
            faults.add(Reason.PAST_END)
    if memory:
        faults |= _access_faults(op, spaces)
    return faults


def _access_faults(op: Op, spaces: Sequence[Space]) -> set[Reason]:
    if op.width not in (1, 2, 4, 8):
        return {Reason.WIDTH}
    if op.space >= len(spaces):
        return {Reason.SPACE}
    space = spaces[op.space]
    if space.kind is Kind.NONE:
        return {Reason.NO_BAR}
    faults: set[Reason] = set()
    if op.width == 8 and space.kind is not Kind.WIDE:
        faults.add(Reason.WIDE)
    if op.imm % op.width:
        faults.add(Reason.ALIGNMENT)
    if op.imm + op.width > space.size:
        faults.add(Reason.BOUNDS)
    config_write = op.code == Code.WRITE and space.kind is Kind.CONFIG
    if config_write and (op.imm, op.width) != (abi.CONFIG_DISINTX_OFFSET, 1):
        faults.add(Reason.CONFIG_WRITE)
    return faults


# The state of one path: the registers that it has written, and whether it has claimed.
_Path = tuple[frozenset[int], bool]


def _path_faults(op: Op, kind: ProgramKind, paths: set[_Path]) -> set[Reason]:
    """Every rule that an operation breaks on some path that leads to it."""
    if not paths:
        return {Reason.UNREACHABLE}
    faults: set[Reason] = set()
    if any(not regs_read(op) <= defined for defined, _ in paths):
        faults.add(Reason.UNDEFINED)
    if op.code in (Code.CLAIM, Code.DECLINE) and kind != ProgramKind.IRQ:
        faults.add(Reason.NOT_IRQ)
    if any(claimed for _, claimed in paths):
        if op.code == Code.CLAIM:
            faults.add(Reason.SECOND_CLAIM)
        if op.code == Code.DECLINE:
            faults.add(Reason.DECLINE_CLAIMED)
        if op.flags & OpFlag.GONE_IF_ONES:
            faults.add(Reason.GONE_CLAIMED)
    return faults


def verify(program: Program, kind: ProgramKind, spaces: Sequence[Space]) -> tuple[int, set[Reason]]:
    """The first operation that breaks a rule, and all the rules that it breaks; (length, {OK}) for a good program.

    `spaces` are BARs 0 to 5, then config space.
    """
    if not program:
        return 0, {Reason.EMPTY}
    if len(program) > abi.MAX_OPS:
        return abi.MAX_OPS, {Reason.TOO_LONG}
    paths: list[set[_Path]] = [set() for _ in range(len(program) + 1)]
    given = range(0 if kind == ProgramKind.EXEC else abi.KEPT, abi.REGS)
    paths[0] = {(frozenset(given), False)}
    # Reads and writes on the longest path to each operation.
    accesses = [0] * (len(program) + 1)
    claims = False
    for index, op in enumerate(program):
        faults = _field_faults(op, len(program) - index - 1, spaces) | _path_faults(op, kind, paths[index])
        done = accesses[index] + (op.code in (Code.READ, Code.WRITE))
        if kind == ProgramKind.IRQ and done > abi.MAX_IRQ_ACCESSES:
            faults.add(Reason.ACCESSES)
        if faults:
            return index, faults
        claims |= op.code == Code.CLAIM
        after = {(had | regs_written(op), claimed or op.code == Code.CLAIM) for had, claimed in paths[index]}
        for follower in successors(index, op):
            paths[follower] |= after
            accesses[follower] = max(accesses[follower], done)
    if kind == ProgramKind.IRQ and not claims:
        return len(program), {Reason.NO_CLAIM}
    return len(program), {Reason.OK}
