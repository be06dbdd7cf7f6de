# SPDX-License-Identifier: MIT
"""Programs as data: operations, programs, and the set that a device is loaded with."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field

from shirq import abi


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


def to_array(program: Program) -> ctypes.Array[abi.OpStruct]:
    """The operations as the C array that the kernel reads."""
    return (abi.OpStruct * len(program))(*(op.to_abi() for op in program))


@dataclass(frozen=True)
class ProgramSet:
    """What a device is loaded with.

    `irq` claims, and masks or acknowledges, as `mode` says. `unmask` lets the device assert again. `release` leaves it
    silent for good.
    """

    irq: Program
    release: Program
    unmask: Program = field(default=())
    mode: abi.Mode = abi.Mode.MASKS

    @classmethod
    def from_text(cls, *, irq: str, release: str, unmask: str = "", mode: abi.Mode = abi.Mode.MASKS) -> ProgramSet:
        """Assemble a set. Raises AssemblyError."""
        from shirq.asm import assemble

        return cls(assemble(irq), assemble(release), assemble(unmask), mode)

    def program(self, kind: abi.ProgramKind) -> Program:
        """One of the three programs. Raises KeyError for EXEC, which is in no set."""
        return {
            abi.ProgramKind.IRQ: self.irq,
            abi.ProgramKind.UNMASK: self.unmask,
            abi.ProgramKind.RELEASE: self.release,
        }[kind]
