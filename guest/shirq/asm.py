# SPDX-License-Identifier: MIT
"""Interrupt programs as text: assembler and disassembler.

A line has one operation; `#` starts a comment; letters may be of either case. A label may precede an operation or be on
its own line.

    read8|read16|read32|read64 REG, SPACE+OFFSET [, big_endian] [, gone_if_ones]
    write8|write16|write32|write64 SPACE+OFFSET, REG [, big_endian]
    load|and|or|xor|add|shl|shr REG, NUMBER or REG      the first register changes
    skip_if_zero REG, TARGET                            go on at TARGET if REG is zero
    skip_if_not_zero REG, TARGET                        go on at TARGET if REG is not zero
    claim                                               the interrupt is ours
    decline                                             the interrupt is not ours: the program ends
    LABEL:                                              names the next operation

With the named registers of a profile, also

    read REG, NAME [, gone_if_ones]                     with the width and byte order of the named register
    write NAME, REG

REG is r0 to r7. SPACE is bar0 to bar5 or config; `bar0` alone is `bar0+0`. NUMBER and OFFSET are decimal, 0x, 0o or
0b, with underscores if you like; a NUMBER may be negative and is taken modulo 2^64. TARGET is a label further down,
`end` (the end of the program), or `+N`: pass over the next N operations.

    read32 r0, bar0+0x2c, gone_if_ones
    skip_if_not_zero r0, ours
    decline
    ours:
    claim
    load r1, 0xffffffff
    write32 bar0+0x68, r1
    read32 r1, bar0+0x28            # flush the posted write
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from shirq.abi import BARS, CONFIG_SPACE, MAX_OPS, REGS, Code, OpFlag
from shirq.errors import AssemblyError
from shirq.program import Op, Place, Program, place_of

END: Final = "end"
_WIDTHS: Final = {"8": 1, "16": 2, "32": 4, "64": 8}
_SPACES: Final = {**{f"bar{n}": n for n in range(BARS)}, "config": CONFIG_SPACE}
_ALU: Final = {code.name.lower(): code for code in Code if Code.LOAD <= code <= Code.SHR}
_SKIPS: Final = {"skip_if_zero": Code.SKIP_Z, "skip_if_not_zero": Code.SKIP_NZ}
_VERDICTS: Final = {"claim": Code.CLAIM, "decline": Code.DECLINE}
_FLAGS: Final = {"big_endian": OpFlag.BIG_ENDIAN, "gone_if_ones": OpFlag.GONE_IF_ONES}
_ACCESSES: Final = {
    f"{verb}{bits}": (code, width)
    for verb, code in (("read", Code.READ), ("write", Code.WRITE))
    for bits, width in _WIDTHS.items()
}
_NAMED: Final = {"read": Code.READ, "write": Code.WRITE}
_NO_NAMES: Final[Mapping[str, Place]] = MappingProxyType({})
_TAKEN_FLAGS: Final = {Code.READ: ("big_endian", "gone_if_ones"), Code.WRITE: ("big_endian",)}
_SPACE_NAMES: Final = {number: name for name, number in _SPACES.items()}
_ACCESS_NAMES: Final = {access: name for name, access in _ACCESSES.items()}
_SIMPLE_NAMES: Final = {code: name for name, code in (_ALU | _SKIPS | _VERDICTS).items()}
_MNEMONICS: Final = (*_ACCESSES, *_NAMED, *_ALU, *_SKIPS, *_VERDICTS)
#: Words that a profile cannot use as the name of a register.
RESERVED: Final = frozenset({*_MNEMONICS, *_SPACES, *_FLAGS, END, *(f"r{n}" for n in range(REGS))})

_LABEL: Final = re.compile(r"([a-z_][a-z0-9_.]*)\s*:\s*(.*)")
_NUMBER_HELP: Final = "a number such as 12, 0x2c or 0b101"


class _LineError(Exception):
    """An error in a line; the caller adds the line number."""


def _number(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise _LineError(f"{text!r} is no number: write {_NUMBER_HELP}") from None


def _is_register(text: str) -> bool:
    return re.fullmatch(r"r\d+", text) is not None


def _register(text: str) -> int:
    if not _is_register(text) or int(text[1:]) >= REGS:
        raise _LineError(f"{text!r} is no register: write r0 to r{REGS - 1}")
    return int(text[1:])


def _constant(text: str) -> int:
    value = _number(text)
    if not -(1 << 63) <= value < 1 << 64:
        raise _LineError(f"{text!r} does not fit into 64 bits")
    return value % (1 << 64)


def _address(text: str) -> tuple[int, int]:
    name, plus, offset = (part.strip() for part in text.partition("+"))
    if name not in _SPACES:
        raise _LineError(f"{text!r} is no address: write bar0+0x24 or config+4, with bar0 to bar{BARS - 1} or config")
    if plus and not offset:
        raise _LineError(f"{text!r} has no offset after the +: write {_NUMBER_HELP}")
    value = _constant(offset) if plus else 0
    if offset.startswith("-"):
        raise _LineError(f"{text!r} has a negative offset: offsets count from the start of the space")
    return _SPACES[name], value


def _named(text: str, names: Mapping[str, Place]) -> Place:
    if text in names:
        return names[text]
    if _address_like(text):
        raise _LineError(f"the width is missing for {text!r}: write read8 to read64 or write8 to write64")
    if not names:
        raise _LineError(f"there is no register {text!r}: only a profile names registers; write read32 and an address")
    raise _LineError(f"there is no register {text!r}: the profile has {', '.join(sorted(names))}")


def _address_like(text: str) -> bool:
    return text.partition("+")[0].strip() in _SPACES


def _flags(code: Code, names: Sequence[str], width: int) -> int:
    taken = _TAKEN_FLAGS[code]
    flags = OpFlag(0)
    for name in names:
        if name not in taken:
            raise _LineError(f"{name!r} is no flag of {code.name.lower()}: it takes {' and '.join(taken)}")
        if width == 1 and name == "big_endian":
            raise _LineError("a single byte has no byte order: leave big_endian out")
        if flags & _FLAGS[name]:
            raise _LineError(f"{name} is given twice")
        flags |= _FLAGS[name]
    return int(flags)


def _expect(operands: Sequence[str], count: int, form: str) -> None:
    if len(operands) != count:
        raise _LineError(f"it takes {count} operands, not {len(operands)}: write {form}")


def _parse_named(mnemonic: str, operands: list[str], names: Mapping[str, Place]) -> Op:
    code = _NAMED[mnemonic]
    if len(operands) < 2:
        _expect(operands, 2, f"{mnemonic} " + ("REG, NAME" if code is Code.READ else "NAME, REG"))
    if "big_endian" in operands[2:]:
        raise _LineError("a named register has its byte order in the profile: leave big_endian out")
    register, name = operands[:2] if code is Code.READ else reversed(operands[:2])
    place = _named(name, names)
    flags = _flags(code, operands[2:], place.width) | (int(OpFlag.BIG_ENDIAN) if place.big_endian else 0)
    role = {"dst": _register(register)} if code is Code.READ else {"src": _source(register)}
    return Op(code, **role, width=place.width, space=place.space, flags=flags, imm=place.offset)


def _source(text: str) -> int:
    if text[:1].isdigit():
        raise _LineError(f"a write takes a register: load {text} into one first")
    return _register(text)


def _parse(mnemonic: str, operands: list[str], distance: Callable[[str], int], names: Mapping[str, Place]) -> Op:
    if mnemonic in _NAMED:
        return _parse_named(mnemonic, operands, names)
    if mnemonic in _ACCESSES:
        code, width = _ACCESSES[mnemonic]
        form = f"{mnemonic} " + ("REG, SPACE+OFFSET" if code is Code.READ else "SPACE+OFFSET, REG")
        if len(operands) < 2:
            _expect(operands, 2, form)
        flags = _flags(code, operands[2:], width)
        if code is Code.READ:
            dst = _register(operands[0])
            space, offset = _address(operands[1])
            return Op(code, dst=dst, width=width, space=space, flags=flags, imm=offset)
        space, offset = _address(operands[0])
        return Op(code, src=_source(operands[1]), width=width, space=space, flags=flags, imm=offset)
    if mnemonic in _ALU:
        _expect(operands, 2, f"{mnemonic} REG, NUMBER or REG")
        dst = _register(operands[0])
        if _is_register(operands[1]):
            return Op(_ALU[mnemonic], dst=dst, src=_register(operands[1]), flags=int(OpFlag.SRC_REG))
        return Op(_ALU[mnemonic], dst=dst, imm=_constant(operands[1]))
    if mnemonic in _SKIPS:
        _expect(operands, 2, f"{mnemonic} REG, LABEL")
        return Op(_SKIPS[mnemonic], src=_register(operands[0]), skip=distance(operands[1]))
    if mnemonic in _VERDICTS:
        _expect(operands, 0, mnemonic)
        return Op(_VERDICTS[mnemonic])
    raise _LineError(f"{mnemonic!r} is no operation: write one of {', '.join(_MNEMONICS)}")


def _split(text: str) -> tuple[list[tuple[int, str]], dict[str, int]]:
    """Return the lines that have an operation, with their numbers, and for each label the index of its operation."""
    lines: list[tuple[int, str]] = []
    labels: dict[str, int] = {}
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.partition("#")[0].strip().lower()
        while match := _LABEL.fullmatch(line):
            label, line = match[1], match[2].strip()
            if label == END:
                raise AssemblyError(number, raw, "'end' names the end of every program: choose another label")
            if label in labels:
                raise AssemblyError(number, raw, f"label {label!r} is defined twice")
            labels[label] = len(lines)
        if line:
            lines.append((number, line))
    return lines, labels


def assemble(text: str, names: Mapping[str, Place] = _NO_NAMES) -> Program:
    """Assemble a program in the language that this module describes; `names` are registers, in lower case.

    Names and syntax are checked here; the BARs of the device and the paths through the program are checked when the
    program is loaded. Raises AssemblyError with the line, the error and the expected form.
    """
    return assemble_lines(text, names)[0]


def assemble_lines(text: str, names: Mapping[str, Place] = _NO_NAMES) -> tuple[Program, tuple[int, ...]]:
    """As `assemble`, but also returns the line number of each operation, counted from 1."""
    lines, labels = _split(text)
    if len(lines) > MAX_OPS:
        number, line = lines[MAX_OPS]
        raise AssemblyError(number, line, f"{len(lines)} operations: a program has at most {MAX_OPS}")
    targets = {**labels, END: len(lines)}
    program: list[Op] = []

    def distance(target: str) -> int:
        if target.startswith("+"):
            skip = _number(target[1:])
        elif target in targets:
            skip = targets[target] - len(program) - 1
        else:
            raise _LineError(f"there is no label {target!r}: write one that is defined below, {END}, or +N")
        if skip < 1:
            raise _LineError(f"{target!r} is not a forward target: jumps go forward, over at least one operation")
        if len(program) + 1 + skip > len(lines):
            raise _LineError(f"{target!r} leads past the end of the program")
        return skip

    for number, line in lines:
        mnemonic, _, rest = line.partition(" ")
        operands = [operand.strip() for operand in rest.split(",")] if rest.strip() else []
        try:
            program.append(_parse(mnemonic, operands, distance, names))
        except _LineError as bad:
            raise AssemblyError(number, line, str(bad)) from None
    return tuple(program), tuple(number for number, _ in lines)


def _render(op: Op, target: str, by_place: Mapping[Place, str] = MappingProxyType({})) -> str:
    """One operation as the assembler reads it, without the fields that the operation does not use."""
    if op.code in (Code.READ, Code.WRITE):
        named = by_place.get(place_of(op))
        name = Code(op.code).name.lower() if named else _ACCESS_NAMES[Code(op.code), op.width]
        address = named or f"{_SPACE_NAMES[op.space]}+{op.imm:#x}"
        pair = [f"r{op.dst}", address] if op.code == Code.READ else [address, f"r{op.src}"]
        flags = [
            flag
            for flag in _TAKEN_FLAGS[Code(op.code)]
            if op.flags & _FLAGS[flag] and not (named and flag == "big_endian")
        ]
        return f"{name} {', '.join(pair + flags)}"
    name = _SIMPLE_NAMES[Code(op.code)]
    if name in _ALU:
        return f"{name} r{op.dst}, " + (f"r{op.src}" if op.flags & OpFlag.SRC_REG else f"{op.imm:#x}")
    return f"{name} r{op.src}, {target}" if name in _SKIPS else name


def disassemble_op(op: Op, names: Mapping[str, Place] = _NO_NAMES) -> str:
    """Return an operation as text; field by field if it has no exact text (the verifier refuses such an operation)."""
    try:
        text = _render(op, f"+{op.skip}", {place: name for name, place in names.items()})
        if assemble("\n".join([text, *["claim"] * op.skip]), names)[0] == op:
            return text
    except (KeyError, ValueError):
        pass
    fields = ", ".join(f"{name}={value}" for name, value in vars(op).items() if value or name == "code")
    return f"operation with {fields}"


def disassemble(program: Program, names: Mapping[str, Place] = _NO_NAMES) -> str:
    """Return the program as text, with labels, and with `names` where they fit; the text assembles to the same program.

    Raises ValueError if there is no such text.
    """
    by_place = {place: name for name, place in names.items()}
    targets = sorted(
        {index + 1 + op.skip for index, op in enumerate(program) if op.code in _SKIPS.values()} - {len(program)}
    )
    labels = {index: f"L{number}" for number, index in enumerate(targets, start=1)} | {len(program): END}
    lines: list[str] = []
    for index, op in enumerate(program):
        if index in targets:
            lines.append(f"{labels[index]}:")
        try:
            lines.append(_render(op, labels.get(index + 1 + op.skip, ""), by_place))
        except (KeyError, ValueError):
            raise ValueError(f"operation {index} cannot be written as text: {disassemble_op(op)}") from None
    text = "".join(f"{line}\n" for line in lines)
    if assemble(text, names) != program:
        raise ValueError("a field that the operation does not use is not zero")
    return text
