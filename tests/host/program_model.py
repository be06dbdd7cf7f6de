# SPDX-License-Identifier: MIT
"""The kernel's verifier and interpreter, compiled for the host, for comparisons with the binding's models."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from shirq import abi
from shirq.abi import ProgramKind, Reason
from shirq.program import Program
from shirq.simulate import Bus as AnyBus
from shirq.simulate import Outcome, Run
from shirq.verify import NO_SPACE, Kind, Space
from shirq_bench.observe import coverage

KMOD = Path(__file__).parents[2] / "kmod"
# A memory BAR, a 64-bit memory BAR, a port BAR, a BAR of 2 bytes, two missing BARs, config space.
SPACES = (
    Space(Kind.PLAIN, 0x1000),
    Space(Kind.WIDE, 0x2000),
    Space(Kind.PLAIN, 0x20),
    Space(Kind.PLAIN, 2),
    NO_SPACE,
    NO_SPACE,
    Space(Kind.CONFIG, 256),
)

#: The BARs that a linked program accesses directly, without a function call.
IN_MEMORY = (0, 1, 3)


@dataclass
class Bus:
    """A fake bus: reads return `values` in turn; `log` has all accesses as (verb, space, offset, width[, value])."""

    values: Sequence[int] = (0,)
    log: list[tuple[str | int, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._next = itertools.cycle(self.values)

    def read(self, space: int, offset: int, width: int) -> int:
        self.log.append(("read", space, offset, width))
        return next(self._next) & (1 << 8 * width) - 1

    def write(self, space: int, offset: int, width: int, value: int) -> None:
        self.log.append(("write", space, offset, width, value))


class Memory:
    """A fake bus whose registers keep the last written value; those of ``IN_MEMORY`` can be accessed directly.

    ``calls`` are the accesses by `read` and `write`: (verb, space, offset, width).
    """

    def __init__(self, content: bytes) -> None:
        """Fill all spaces with repetitions of ``content``."""
        self.bytes = [bytearray((content * space.size)[: space.size]) for space in SPACES]
        self.calls: list[tuple[str, int, int, int]] = []

    def read(self, space: int, offset: int, width: int) -> int:
        self.calls.append(("read", space, offset, width))
        return int.from_bytes(self.bytes[space][offset : offset + width], "little")

    def write(self, space: int, offset: int, width: int, value: int) -> None:
        self.calls.append(("write", space, offset, width))
        self.bytes[space][offset : offset + width] = value.to_bytes(width, "little")


# ------------------------------------------------------------- the library


class _Space(ctypes.Structure):
    _fields_ = [("size", ctypes.c_uint64), ("kind", ctypes.c_uint32)]


class _Program(ctypes.Structure):
    _fields_ = [
        ("count", ctypes.c_uint32),
        ("keeps", ctypes.c_uint32),
        ("relevant", ctypes.c_uint32),
        ("rest", ctypes.c_uint32),
        ("op", abi.OpStruct * abi.MAX_OPS),
    ]


_U32, _U64 = ctypes.c_uint32, ctypes.c_uint64
_READ = ctypes.CFUNCTYPE(_U64, ctypes.c_void_p, ctypes.c_uint, _U64, ctypes.c_uint)
_WRITE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint, _U64, ctypes.c_uint, _U64)


class _Bus(ctypes.Structure):
    _fields_ = [("space", _Space * 7), ("read", _READ), ("write", _WRITE), ("memory", ctypes.c_void_p * 7)]


def compile_library(folder: Path, source: Path = KMOD / "program.c") -> Path:
    """Compile kmod/program.c, or another source that includes from kmod/, for the host; undefined behaviour traps."""
    counting = coverage.host_folder()
    library = (counting or folder) / f"{source.stem}.so"
    subprocess.run(
        ["cc", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-I", str(KMOD)]
        + ["-fsanitize=undefined", "-fsanitize-undefined-trap-on-error"]
        # To count lines, do not optimise: the optimiser merges equal lines into one.
        + (["--coverage", "-O0"] if counting else [])
        + ["-o", str(library), str(source)],
        check=True,
        timeout=600,
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
        self._link = library.shirq_link
        self._link.argtypes = [ctypes.POINTER(_Program), ctypes.POINTER(_Bus)]
        self._link.restype = None
        self._run = library.shirq_run
        self._run.argtypes = [
            ctypes.POINTER(_Program),
            ctypes.POINTER(_Bus),
            ctypes.POINTER(_U64),
            ctypes.POINTER(_U64),
        ]
        self._run_rest = library.shirq_run_rest
        self._run_rest.argtypes = [*self._run.argtypes, _U32]

    @staticmethod
    def _bus(bus: AnyBus, spaces: Sequence[Space]) -> _Bus:
        return _Bus(
            (_Space * 7)(*(_Space(space.size, space.kind) for space in spaces)),
            _READ(lambda _, space, offset, width: bus.read(space, offset, width)),
            _WRITE(lambda _, space, offset, width, value: bus.write(space, offset, width, value)),
        )

    @staticmethod
    def _program(program: Program) -> _Program:
        raw = _Program(count=len(program))
        for index, op in enumerate(program[: abi.MAX_OPS]):
            raw.op[index] = op.to_abi()
        return raw

    def verify(self, program: Program, kind: ProgramKind, spaces: Sequence[Space] = SPACES) -> tuple[int, Reason]:
        index = _U32()
        bus = self._bus(Bus(), spaces)
        reason = self._verify(ctypes.byref(self._program(program)), kind, ctypes.byref(bus), ctypes.byref(index))
        return index.value, Reason(reason)

    def keeps(self, program: Program, kind: ProgramKind) -> bool:
        """Whether the verifier finds that an accepted program reads a register that another program has left."""
        raw, bus = self._program(program), self._bus(Bus(), SPACES)
        assert self._verify(ctypes.byref(raw), kind, ctypes.byref(bus), ctypes.byref(_U32())) == Reason.OK
        return bool(raw.keeps)

    def run(
        self, program: Program, bus: AnyBus, regs: Sequence[int] = (0,) * 8, spaces: Sequence[Space] = SPACES
    ) -> Run:
        return self._outcome(self._program(program), self._bus(bus, spaces), regs)

    def run_linked(self, program: Program, memory: Memory, regs: Sequence[int] = (0,) * 8) -> Run:
        with self._linked(program, memory) as (raw, bus):
            return self._outcome(raw, bus, regs)

    def relevant(self, program: Program) -> int:
        """The bits of a program's first read without which it declines; 0 if it does not begin with its claim test."""
        with self._linked(program, Memory(bytes(4))) as (raw, _):
            return int(raw.relevant)

    def run_peeked(self, program: Program, memory: Memory) -> Run | None:
        """Run a program as the interrupt handler does; None if it does not begin with its claim test.

        The handler makes the first read by itself. If that shows that the program declines, the rest does not run; the
        registers are then without meaning.
        """
        with self._linked(program, memory) as (raw, bus):
            if not raw.relevant:
                return None
            first = _U32.from_address(raw.op[0].imm).value
            if not first & raw.relevant:
                return Run(Outcome.ENDED, (0,) * 8, None)
            return self._outcome(raw, bus, (0,) * 8, first)

    @contextlib.contextmanager
    def _linked(self, program: Program, memory: Memory) -> Iterator[tuple[_Program, _Bus]]:
        raw, bus = self._program(program), self._bus(memory, SPACES)
        # These buffers keep Python from moving the memory while the program runs.
        held = {
            space: (ctypes.c_char * len(memory.bytes[space])).from_buffer(memory.bytes[space]) for space in IN_MEMORY
        }
        for space, buffer in held.items():
            bus.memory[space] = ctypes.addressof(buffer)
        self._link(ctypes.byref(raw), ctypes.byref(bus))
        yield raw, bus
        del held

    def _outcome(self, program: _Program, bus: _Bus, regs: Sequence[int], first: int | None = None) -> Run:
        raw_regs = (_U64 * 8)(*regs)
        captured = (_U64 * 4)()
        common = (ctypes.byref(program), ctypes.byref(bus), raw_regs, captured)
        outcome = Outcome(self._run(*common) if first is None else self._run_rest(*common, first))
        return Run(outcome, tuple(raw_regs), tuple(captured) if outcome is Outcome.CLAIMED else None)
