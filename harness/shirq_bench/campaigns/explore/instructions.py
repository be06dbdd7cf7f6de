# SPDX-License-Identifier: MIT
"""Which instructions of x86 change only registers of their processor, and what can follow them.

Import this module only where it is needed: capstone takes 25 ms, which every command would pay.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import capstone
from capstone import x86

#: Instructions that change only registers, if their operands are registers and constants.
_COMPUTES: Final = frozenset(
    (
        *("mov", "movabs", "movzx", "movsx", "movsxd", "bswap", "cdq", "cqo", "cdqe", "cwde"),
        *("add", "sub", "adc", "sbb", "and", "or", "xor", "not", "neg", "inc", "dec", "cmp", "test", "imul", "mul"),
        *("shl", "sal", "shr", "sar", "rol", "ror", "shld", "shrd"),
        *("bsf", "bsr", "bt", "btc", "btr", "bts", "popcnt", "tzcnt", "lzcnt"),
    )
)
#: Those whose operand in memory is not accessed.
_ADDRESSES: Final = frozenset(("lea", "nop", "endbr64"))
_CONDITIONAL: Final = ("cmov", "set")
#: Registers that change more than the processor's own computation: control, debug and segment registers.
_SPECIAL: Final = frozenset(
    getattr(x86, name)
    for name in dir(x86)
    if name.startswith(("X86_REG_CR", "X86_REG_DR")) or name in {f"X86_REG_{segment}S" for segment in "CDEFGS"}
)


def successors(code: Mapping[int, bytes]) -> dict[int, frozenset[int]]:
    """The addresses that can follow each instruction that changes only registers; ``code`` has their bytes.

    All other instructions, and jumps whose target is in a register, are left out.
    """
    decoder = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    decoder.detail = True
    decoded = ((place, next(decoder.disasm(text, place, count=1), None)) for place, text in code.items())
    return {place: frozenset(_next(one)) for place, one in decoded if one is not None and _only_registers(one)}


def _next(instruction: capstone.CsInsn) -> Iterable[int]:
    yield instruction.address + instruction.size
    if _jumps(instruction):
        yield instruction.operands[0].imm


def _jumps(instruction: capstone.CsInsn) -> bool:
    return bool(instruction.mnemonic.startswith("j"))


def _only_registers(instruction: capstone.CsInsn) -> bool:
    if instruction.mnemonic in _ADDRESSES:
        return True
    kinds = {operand.type for operand in instruction.operands}
    if _jumps(instruction):
        return kinds == {x86.X86_OP_IMM}
    conditional = bool(kinds) and instruction.mnemonic.startswith(_CONDITIONAL)
    if instruction.mnemonic not in _COMPUTES and not conditional:
        return False
    special = {operand.reg for operand in instruction.operands if operand.type == x86.X86_OP_REG} & _SPECIAL
    return x86.X86_OP_MEM not in kinds and not special
