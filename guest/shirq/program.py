# SPDX-License-Identifier: MIT
"""Programs as data: operations, and the registers that they access."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Final

from shirq import abi

ALU: Final = frozenset(code for code in abi.Code if abi.Code.LOAD <= code <= abi.Code.SHR)
SKIPS: Final = frozenset({abi.Code.SKIP_Z, abi.Code.SKIP_NZ})


@dataclass(frozen=True)
class Op:
    """One operation, field for field as in the kernel's `struct shirq_op`."""

    code: int
    dst: int = 0
    src: int = 0
    width: int = 0
    space: int = 0
    flags: int = 0
    skip: int = 0
    imm: int = 0

    def to_abi(self) -> abi.OpStruct:
        return abi.OpStruct(self.code, self.dst, self.src, self.width, self.space, self.flags, self.skip, self.imm)


Program = tuple[Op, ...]


@dataclass(frozen=True)
class Place:
    """Where a register is: `width` bytes at `offset` in a space (BAR 0 to 5, or 6: config space), in its byte order."""

    space: int
    offset: int
    width: int
    big_endian: bool = False

    def in_order(self, value: int) -> int:
        """Convert between the bus value and the register value (either way), truncated to the width."""
        raw = (value & (1 << 8 * self.width) - 1).to_bytes(self.width, "little")
        return int.from_bytes(raw, "big" if self.big_endian else "little")


def place_of(op: Op) -> Place:
    """The register that a READ or WRITE accesses."""
    return Place(op.space, op.imm, op.width, bool(op.flags & abi.OpFlag.BIG_ENDIAN))


def regs_read(op: Op) -> frozenset[int]:
    """The registers r0 to r7 whose values an operation uses."""
    used: set[int] = set()
    if op.code in (abi.Code.WRITE, *SKIPS) or op.flags & abi.OpFlag.SRC_REG:
        used.add(op.src)
    if op.code in ALU and op.code != abi.Code.LOAD:
        used.add(op.dst)
    return frozenset(used)


def regs_written(op: Op) -> frozenset[int]:
    """The registers r0 to r7 that an operation sets."""
    return frozenset({op.dst} if op.code == abi.Code.READ or op.code in ALU else ())


def successors(index: int, op: Op) -> tuple[int, ...]:
    """The operations that can follow operation `index`; the length of the program stands for its end."""
    if op.code == abi.Code.DECLINE:
        return ()
    return (index + 1, index + 1 + op.skip) if op.code in SKIPS else (index + 1,)


def to_array(program: Program) -> ctypes.Array[abi.OpStruct]:
    """The operations as the C array that the kernel reads."""
    return (abi.OpStruct * len(program))(*(op.to_abi() for op in program))
