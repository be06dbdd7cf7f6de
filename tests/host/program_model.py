"""The kernel's verifier and interpreter as a host library, and an independent model of both in Python."""

from __future__ import annotations

import ctypes
import enum
import itertools
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from shirq import abi
from shirq.abi import Code, OpFlag, ProgramKind, Reason
from shirq.program import Op, Program

KMOD = Path(__file__).parents[2] / "kmod"
M64 = (1 << 64) - 1


class Outcome(enum.IntEnum):
    ENDED = 0
    CLAIMED = 1
    GONE = 2


class Kind(enum.IntEnum):
    NONE = 0
    PLAIN = 1
    WIDE = 2
    CONFIG = 3


@dataclass(frozen=True)
class Space:
    kind: Kind
    size: int


NO_SPACE = Space(Kind.NONE, 0)
# A memory BAR, a 64-bit memory BAR, a port BAR, a tiny BAR, two missing ones, config space.
SPACES = (
    Space(Kind.PLAIN, 0x1000),
    Space(Kind.WIDE, 0x2000),
    Space(Kind.PLAIN, 0x20),
    Space(Kind.PLAIN, 2),
    NO_SPACE,
    NO_SPACE,
    Space(Kind.CONFIG, 256),
)


@dataclass
class Bus:
    """Registers that return `values` in turn, and a log of all accesses: (verb, space, offset, width[, value])."""

    values: Sequence[int] = (0,)
    spaces: Sequence[Space] = SPACES
    log: list[tuple[str | int, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._next = itertools.cycle(self.values)

    def read(self, space: int, offset: int, width: int) -> int:
        self.log.append(("read", space, offset, width))
        return next(self._next) & (1 << 8 * width) - 1

    def write(self, space: int, offset: int, width: int, value: int) -> None:
        self.log.append(("write", space, offset, width, value))


@dataclass(frozen=True)
class Run:
    outcome: Outcome
    regs: tuple[int, ...]
    captured: tuple[int, ...] | None


# ------------------------------------------------------------- the library


class _Space(ctypes.Structure):
    _fields_ = [("size", ctypes.c_uint64), ("kind", ctypes.c_uint32)]


class _Program(ctypes.Structure):
    _fields_ = [("count", ctypes.c_uint32), ("op", abi.OpStruct * abi.MAX_OPS)]


_U32, _U64 = ctypes.c_uint32, ctypes.c_uint64
_READ = ctypes.CFUNCTYPE(_U64, ctypes.c_void_p, ctypes.c_uint, _U64, ctypes.c_uint)
_WRITE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint, _U64, ctypes.c_uint, _U64)


class _Bus(ctypes.Structure):
    _fields_ = [("space", _Space * 7), ("read", _READ), ("write", _WRITE)]


def compile_library(folder: Path) -> Path:
    """Build kmod/program.c for the host; undefined behaviour traps."""
    library = folder / "program.so"
    subprocess.run(
        ["cc", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared"]
        + ["-fsanitize=undefined", "-fsanitize-undefined-trap-on-error"]
        + ["-o", str(library), str(KMOD / "program.c")],
        check=True,
        timeout=60,
    )
    return library


class Library:
    """The kernel's code, called through ctypes."""

    def __init__(self, path: Path) -> None:
        library = ctypes.CDLL(str(path))
        self._verify = library.shirq_verify
        self._verify.argtypes = [
            ctypes.POINTER(_Program),
            ctypes.c_int,
            ctypes.POINTER(_Bus),
            ctypes.POINTER(_U32),
        ]
        self._run = library.shirq_run
        self._run.argtypes = [
            ctypes.POINTER(_Program),
            ctypes.POINTER(_Bus),
            ctypes.POINTER(_U64),
            ctypes.POINTER(_U64),
        ]

    @staticmethod
    def _bus(bus: Bus) -> _Bus:
        spaces = (_Space * 7)(*(_Space(space.size, space.kind) for space in bus.spaces))
        return _Bus(
            spaces,
            _READ(lambda _, space, offset, width: bus.read(space, offset, width)),
            _WRITE(lambda _, space, offset, width, value: bus.write(space, offset, width, value)),
        )

    @staticmethod
    def _program(program: Program) -> _Program:
        raw = _Program(count=len(program))
        for index, op in enumerate(program[: abi.MAX_OPS]):
            raw.op[index] = op.to_abi()
        return raw

    def verify(self, program: Program, kind: ProgramKind, bus: Bus | None = None) -> tuple[int, Reason]:
        index = _U32()
        reason = self._verify(
            ctypes.byref(self._program(program)), kind, ctypes.byref(self._bus(bus or Bus())), ctypes.byref(index)
        )
        return index.value, Reason(reason)

    def run(self, program: Program, bus: Bus, regs: Sequence[int] = (0,) * 8) -> Run:
        raw_regs = (_U64 * 8)(*regs)
        captured = (_U64 * 4)()
        outcome = Outcome(
            self._run(ctypes.byref(self._program(program)), ctypes.byref(self._bus(bus)), raw_regs, captured)
        )
        return Run(outcome, tuple(raw_regs), tuple(captured) if outcome is Outcome.CLAIMED else None)


# --------------------------------------------------------------- the model

ALU = range(Code.LOAD, Code.SHR + 1)
SKIPS = (Code.SKIP_Z, Code.SKIP_NZ)


def _bytes(value: int, op: Op) -> int:
    """The value of a register of this width and byte order, from or to little endian: its own inverse."""
    order = "big" if op.flags & OpFlag.BIG_ENDIAN else "little"
    return int.from_bytes((value & (1 << 8 * op.width) - 1).to_bytes(op.width, "little"), order)  # type: ignore[arg-type]


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
            return (a + b) & M64
        case Code.SHL:
            return (a << b) & M64 if b < 64 else 0
        case _:
            return a >> b if b < 64 else 0


def model_run(program: Program, bus: Bus, regs: Sequence[int] = (0,) * 8) -> Run:
    """What the program does, from the description in kmod/shirq.h."""
    r = list(regs)
    captured: tuple[int, ...] | None = None
    position = 0
    while position < len(program):
        op = program[position]
        position += 1
        if op.code == Code.READ:
            r[op.dst] = _bytes(bus.read(op.space, op.imm, op.width), op)
            if op.flags & OpFlag.GONE_IF_ONES and r[op.dst] == (1 << 8 * op.width) - 1:
                return Run(Outcome.GONE, tuple(r), None)
        elif op.code == Code.WRITE and op.space == abi.CONFIG_SPACE:
            old = bus.read(op.space, op.imm, op.width)
            bus.write(op.space, op.imm, op.width, old & 0xFB | r[op.src] & 0x04)
        elif op.code == Code.WRITE:
            bus.write(op.space, op.imm, op.width, _bytes(r[op.src], op))
        elif op.code in ALU:
            operand = r[op.src] if op.flags & OpFlag.SRC_REG else op.imm
            r[op.dst] = _calculate(op.code, r[op.dst], operand)
        elif op.code in SKIPS:
            if (r[op.src] == 0) == (op.code == Code.SKIP_Z):
                position += op.skip
        elif op.code == Code.CLAIM:
            captured = tuple(r[:4])
        else:
            return Run(Outcome.ENDED, tuple(r), None)
    return Run(Outcome.CLAIMED if captured is not None else Outcome.ENDED, tuple(r), captured)


def _reads(op: Op) -> set[int]:
    """The registers that an operation reads."""
    used: set[int] = set()
    if op.code in (Code.WRITE, *SKIPS) or op.flags & OpFlag.SRC_REG:
        used.add(op.src)
    if op.code in ALU and op.code != Code.LOAD:
        used.add(op.dst)
    return used


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
    if op.dst > 7 or op.src > 7:
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
    if op.code == Code.WRITE and space.kind is Kind.CONFIG and (op.imm, op.width) != (5, 1):
        faults.add(Reason.CONFIG_WRITE)
    return faults


# The state of one path: the registers that it has written, and whether it has claimed.
Path_ = tuple[frozenset[int], bool]


def _path_faults(op: Op, kind: ProgramKind, paths: set[Path_]) -> set[Reason]:
    """Every rule that an operation breaks on some path that leads to it."""
    if not paths:
        return {Reason.UNREACHABLE}
    faults: set[Reason] = set()
    if any(not _reads(op) <= defined for defined, _ in paths):
        faults.add(Reason.UNDEFINED)
    verdict = op.code in (Code.CLAIM, Code.DECLINE)
    if verdict and kind != ProgramKind.IRQ:
        faults.add(Reason.NOT_IRQ)
    if any(claimed for _, claimed in paths):
        if op.code == Code.CLAIM:
            faults.add(Reason.SECOND_CLAIM)
        if op.code == Code.DECLINE:
            faults.add(Reason.DECLINE_CLAIMED)
        if op.flags & OpFlag.GONE_IF_ONES:
            faults.add(Reason.GONE_CLAIMED)
    return faults


def model_verify(program: Program, kind: ProgramKind, spaces: Sequence[Space] = SPACES) -> tuple[int, set[Reason]]:
    """The first operation that breaks a rule, and all the rules that it breaks; (length, {OK}) for a good program.

    Follows every path by itself, where the kernel joins what it knows of them.
    """
    if not program:
        return 0, {Reason.EMPTY}
    if len(program) > abi.MAX_OPS:
        return abi.MAX_OPS, {Reason.TOO_LONG}
    paths: list[set[Path_]] = [set() for _ in range(len(program) + 1)]
    paths[0] = {(frozenset(range(8)) if kind == ProgramKind.EXEC else frozenset(), False)}
    claims = False
    for index, op in enumerate(program):
        faults = _field_faults(op, len(program) - index - 1, spaces) | _path_faults(op, kind, paths[index])
        if faults:
            return index, faults
        if op.code == Code.DECLINE:
            continue
        claims |= op.code == Code.CLAIM
        writes = {op.dst} if op.code == Code.READ or op.code in ALU else set()
        after = {(defined | writes, claimed or op.code == Code.CLAIM) for defined, claimed in paths[index]}
        paths[index + 1] |= after
        if op.code in SKIPS:
            paths[index + 1 + op.skip] |= after
    if kind == ProgramKind.IRQ and not claims:
        return len(program), {Reason.NO_CLAIM}
    return len(program), {Reason.OK}
