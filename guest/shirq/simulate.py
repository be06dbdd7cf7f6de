# SPDX-License-Identifier: MIT
"""Run programs without a device: the interpreter in Python, and a file of registers that behave as a card's do.

    card = RegisterFile({Place(0, 0xC0, 4): Cell(0x4, on_read=clear)})
    for step in trace(program, card):
        print(step)

The interpreter matches the kernel's (host tests compare the two).
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from shirq import abi
from shirq.abi import Code, OpFlag
from shirq.asm import disassemble_op
from shirq.program import ALU, SKIPS, Op, Place, Program, place_of

_M64: Final = (1 << 64) - 1


class Outcome(enum.IntEnum):
    """How a program ended."""

    ENDED = 0
    CLAIMED = 1
    GONE = 2


class Bus(Protocol):
    """The registers of a device as they are on the bus: `width` bytes at `offset` of a space, little endian."""

    def read(self, space: int, offset: int, width: int) -> int: ...

    def write(self, space: int, offset: int, width: int, value: int) -> None: ...


# ---------------------------------------------------------- the interpreter


@dataclass(frozen=True)
class Step:
    """One operation that ran: the registers after it, and the value that it read or wrote (None: it was no access)."""

    index: int
    op: Op
    regs: tuple[int, ...]
    value: int | None = None

    def __str__(self) -> str:
        return self.describe({})

    def describe(self, names: Mapping[str, Place]) -> str:
        """The operation, with register names where known, and its effect."""
        text = f"{self.index:3}  {disassemble_op(self.op, names):44}"
        if self.value is not None:
            arrow = "->" if self.op.code == Code.READ else "<-"
            return f"{text} {arrow} {self.value:#x}"
        if self.op.code in ALU:
            return f"{text} r{self.op.dst} = {self.regs[self.op.dst]:#x}"
        return text.rstrip()


@dataclass(frozen=True)
class Run:
    """How a program ended, r0 to r7 at its end, and r0 to r3 at the claim if there was one."""

    outcome: Outcome
    regs: tuple[int, ...]
    captured: tuple[int, ...] | None


def _calculate(code: int, a: int, b: int) -> int:
    match code:
        case Code.LOAD:
            return b
        case Code.AND:
            return a & b
        case Code.OR:
            return a | b
        case Code.XOR:
            return a ^ b
        case Code.ADD:
            return (a + b) & _M64
        case Code.SHL:
            return (a << b) & _M64 if b < 64 else 0
        case _:
            return a >> b if b < 64 else 0


def trace(program: Program, bus: Bus, regs: Sequence[int] = (0,) * abi.REGS) -> Iterator[Step]:
    """Run a program that `verify` accepts, one operation at a time; the caller may change registers between steps."""
    r = list(regs)
    position = 0
    while position < len(program):
        index, op = position, program[position]
        position += 1
        value: int | None = None
        if op.code == Code.READ:
            value = r[op.dst] = place_of(op).in_order(bus.read(op.space, op.imm, op.width))
        elif op.code == Code.WRITE:
            value = r[op.src]
            if op.space == abi.CONFIG_SPACE:
                old = bus.read(op.space, op.imm, op.width)
                value = old & ~abi.CONFIG_DISINTX_BIT | value & abi.CONFIG_DISINTX_BIT
            else:
                value &= (1 << 8 * op.width) - 1
            bus.write(op.space, op.imm, op.width, place_of(op).in_order(value))
        elif op.code in ALU:
            operand = r[op.src] if op.flags & OpFlag.SRC_REG else op.imm
            r[op.dst] = _calculate(op.code, r[op.dst], operand)
        elif op.code in SKIPS and (r[op.src] == 0) == (op.code == Code.SKIP_Z):
            position += op.skip
        step = Step(index, op, tuple(r), value)
        yield step
        if op.code == Code.DECLINE or _says_gone(step):
            return


def _says_gone(step: Step) -> bool:
    return bool(step.op.flags & OpFlag.GONE_IF_ONES) and step.value == (1 << 8 * step.op.width) - 1


def outcome(steps: Sequence[Step], regs: Sequence[int] = (0,) * abi.REGS) -> Run:
    """The result of the steps of a complete run; `regs` are the initial registers."""
    end = steps[-1].regs if steps else tuple(regs)
    if steps and _says_gone(steps[-1]):
        return Run(Outcome.GONE, end, None)
    for step in steps:
        if step.op.code == Code.CLAIM:
            return Run(Outcome.CLAIMED, end, step.regs[: abi.EVENT_REGS])
    return Run(Outcome.ENDED, end, None)


def run(program: Program, bus: Bus, regs: Sequence[int] = (0,) * abi.REGS) -> Run:
    """Run a program that `verify` accepts, to its end."""
    return outcome(list(trace(program, bus, regs)), regs)


def kept(kind: abi.ProgramKind, run: Run, regs: Sequence[int]) -> tuple[int, ...]:
    """The initial registers of the set's next program: r4 to r7 as this run has left them.

    `regs` were this run's own; they stay if the irq program declined, or if the device is gone.
    """
    lasts = run.outcome is (Outcome.CLAIMED if kind is abi.ProgramKind.IRQ else Outcome.ENDED)
    return (0,) * abi.KEPT + tuple((run.regs if lasts else regs)[abi.KEPT :])


# ---------------------------------------------------------- the registers

#: Maps the register's value to the value that a read returns and to the register's value afterwards.
OnRead = Callable[[int], tuple[int, int]]
#: Maps the register's value and the written value to the register's value afterwards.
OnWrite = Callable[[int, int], int]


def plain_read(held: int) -> tuple[int, int]:
    return held, held


def clear_on_read(held: int) -> tuple[int, int]:
    return held, 0


def reads_zero(held: int) -> tuple[int, int]:
    return 0, held


def plain_write(held: int, written: int) -> int:
    return written


def write_1_to_clear(held: int, written: int) -> int:
    return held & ~written


def write_1_to_set(held: int, written: int) -> int:
    return held | written


def ignores_writes(held: int, written: int) -> int:
    return held


@dataclass
class Cell:
    """One register: its value, in its own byte order, and the effects of reads and writes.

    With `of` it is an alias without a value: its effects apply to that register.
    """

    value: int = 0
    on_read: OnRead = plain_read
    on_write: OnWrite = plain_write
    of: Cell | None = None


class NoRegister(LookupError):
    """An access at a place where the register file has no register of this width."""


@dataclass
class RegisterFile:
    """Registers by their place; `log` has every access, (verb, place, value), in order.

    A cell may have your own `on_read` and `on_write`, or be an alias `of` another cell. The caller may change values
    between the steps of `trace`.
    """

    cells: Mapping[Place, Cell]
    log: list[tuple[str, Place, int]] = field(default_factory=list)

    def __getitem__(self, place: Place) -> int:
        cell = self.cells[place]
        return (cell.of or cell).value

    def __setitem__(self, place: Place, value: int) -> None:
        cell = self.cells[place]
        (cell.of or cell).value = value

    def _at(self, space: int, offset: int, width: int) -> tuple[Place, Cell]:
        for place, cell in self.cells.items():
            if (place.space, place.offset, place.width) == (space, offset, width):
                return place, cell
        where = "config" if space == abi.CONFIG_SPACE else f"bar{space}"
        raise NoRegister(f"there is no register of {8 * width} bits at {where}+{offset:#x}")

    def read(self, space: int, offset: int, width: int) -> int:
        place, cell = self._at(space, offset, width)
        store = cell.of or cell
        value, store.value = cell.on_read(store.value)
        self.log.append(("read", place, value))
        return place.in_order(value)

    def write(self, space: int, offset: int, width: int, value: int) -> None:
        place, cell = self._at(space, offset, width)
        value = place.in_order(value)
        store = cell.of or cell
        store.value = cell.on_write(store.value, value) & (1 << 8 * width) - 1
        self.log.append(("write", place, value))
