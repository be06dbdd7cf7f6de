# SPDX-License-Identifier: MIT
"""The set of programs that a device is loaded with."""

from __future__ import annotations

from dataclasses import dataclass, field

from shirq import abi
from shirq.asm import assemble
from shirq.program import Program


@dataclass(frozen=True)
class ProgramSet:
    """The set of programs that is loaded into a device.

    `irq` claims, and masks or acknowledges, as `mode` says. `unmask` lets the device assert again. `release` silences
    the device permanently. `mask` is for Device.mask(), which sets the interrupt-disable bit if there is no such
    program.
    """

    irq: Program
    release: Program
    unmask: Program = field(default=())
    mode: abi.Mode = abi.Mode.MASKS
    mask: Program = field(default=())

    @classmethod
    def from_text(
        cls, *, irq: str, release: str, unmask: str = "", mode: abi.Mode = abi.Mode.MASKS, mask: str = ""
    ) -> ProgramSet:
        """Assemble a set. Raises AssemblyError."""
        return cls(assemble(irq), assemble(release), assemble(unmask), mode, assemble(mask))

    def program(self, kind: abi.ProgramKind) -> Program:
        """One of the four programs. Raises KeyError for EXEC, which is not part of a set."""
        return {
            abi.ProgramKind.IRQ: self.irq,
            abi.ProgramKind.UNMASK: self.unmask,
            abi.ProgramKind.RELEASE: self.release,
            abi.ProgramKind.MASK: self.mask,
        }[kind]
