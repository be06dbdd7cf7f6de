# SPDX-License-Identifier: MIT
"""Profiles: a card's registers, and the programs that claim and silence its interrupts, as a TOML file.

Its keys, by example:

    name = "rtl8139"                        # the file's name, without .toml
    title = "Realtek RTL8139"
    source = "RTL8139C(L) datasheet, 5.7"   # document that describes the registers
    notes = "..."                           # what the owner must know; optional
    mode = "masks"                          # or "acknowledges": what the irq program does to the card

    [[match]]                               # any number; all keys that are given must fit the function's IDs
    vendor = 0x10ec                         # also subsystem_vendor, subsystem_device, class (24 bits)
    device = 0x8139

    [bars]                                  # the card's BARs, at their smallest
    bar1 = { kind = "memory", size = 256 }  # kind: memory, wide (64-bit memory, takes 8 bytes at once), port

    [registers.IntrStatus]
    at = "bar1+0x3e"                        # or config+N
    bits = 16                               # 8, 16, 32, 64
    endian = "little"                       # or "big"; optional
    access = "write-1-to-clear"             # optional; see ACCESS
    sets = "IntrMask"                       # optional: a bit written here as 1 becomes 1 in that register
    clears = "IntrMask"                     # optional: a bit written here as 1 becomes 0 in that register
    enables = "IntrStatus"                  # optional: a bit that is 1 here lets the same bit of that register assert
    masks = "IntrStatus"                    # optional: a bit that is 1 here silences the same bit of that register
    index = "RAP"                           # optional: reached through that index register
    notes = "..."                           # optional

    [programs]                              # shirq.asm, with `read r0, IntrStatus` and `write IntrStatus, r0`
    irq = '''
        read r0, IntrStatus, gone_if_ones
        ...
    '''
    unmask = "..."                          # optional if mode is "acknowledges"
    release = "..."
    mask = "..."                            # optional: for MASK, if the interrupt-disable bit does not suffice

    [quiesce]                               # optional: further means that may silence the card
    rungs = ["d3hot", "flr"]                # in a storm, see RUNGS; default: d3hot
    reset_at_release = false                # true: a function-level reset at close()

    [uio]                                   # optional: for `shirqctl uio`
    name = "..."                            # in /sys/class/uio/uioN/name; default: the profile's name
    version = "..."                         # in /sys/class/uio/uioN/version; default: "0"
    unmask = "write"                        # or "read", for programs that never write: a read() that waits unmasks, too

    [selftest]                              # optional: for `shirqctl selftest`
    fire = "..."                            # a one-shot program: the card raises an interrupt by itself
    serve = "..."                           # a one-shot program that ends it; gets the event's r0 to r3

    [[allow]]                               # optional: a finding of lint that is no error in this place
    rule = "claim-clears"
    register = "ICR"                        # the register that the finding is about, or a list of several
    program = "irq"                         # for a finding without a register; otherwise narrows it
    reason = "..."
"""

from __future__ import annotations

import dataclasses
import functools
import re
import tomllib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from shirq import tomllines
from shirq.abi import BARS, CONFIG_DISINTX_OFFSET, CONFIG_SPACE, Mode, ProgramKind, Quiesce, Reason
from shirq.asm import RESERVED, assemble_lines
from shirq.binding import check_uio_name
from shirq.errors import AssemblyError
from shirq.program import Place, Program
from shirq.programset import ProgramSet
from shirq.simulate import (
    Cell,
    OnRead,
    OnWrite,
    RegisterFile,
    clear_on_read,
    ignores_writes,
    plain_read,
    plain_write,
    reads_zero,
    write_1_to_clear,
    write_1_to_set,
)
from shirq.verify import NO_SPACE, Kind, Space, verify

#: The effects of reads and writes on a register.
ACCESS: Final = {
    "read-write": "reads what was written",
    "read-only": "writes do nothing",
    "write-only": "reads mean nothing",
    "clear-on-read": "a read returns the bits and clears them",
    "mask-on-read": "a read masks the device",
    "write-1-to-clear": "bits written as 1 become 0, the others stay",
    "write-1-to-set": "bits written as 1 become 1, the others stay",
    "index": "chooses which registers others access; holds the owner's choice",
}
BEHAVIOUR: Final[dict[str, tuple[OnRead, OnWrite]]] = {
    "read-write": (plain_read, plain_write),
    "read-only": (plain_read, ignores_writes),
    "write-only": (reads_zero, plain_write),
    "clear-on-read": (clear_on_read, ignores_writes),
    "mask-on-read": (plain_read, ignores_writes),
    "write-1-to-clear": (plain_read, write_1_to_clear),
    "write-1-to-set": (plain_read, write_1_to_set),
    "index": (plain_read, plain_write),
}
#: The rungs that may silence a storming card, in the order in which they are tried.
RUNGS: Final = {
    "d3hot": "put the card to D3hot",
    "flr": "function-level reset",
    "bus": "secondary bus reset, if the card is alone on its bus",
}
MODES: Final = {"masks": Mode.MASKS, "acknowledges": Mode.ACKNOWLEDGES}
_KINDS: Final = {"memory": Kind.PLAIN, "wide": Kind.WIDE, "port": Kind.PLAIN}
_SPACES: Final = {**{f"bar{n}": n for n in range(BARS)}, "config": CONFIG_SPACE}
_CONFIG: Final = Space(Kind.CONFIG, 256)
_PROGRAMS: Final = {kind.name.lower(): kind for kind in ProgramKind if kind is not ProgramKind.EXEC}
#: Keys of a register that name another register.
_LINKS: Final = ("sets", "clears", "enables", "masks", "index")
_IDS: Final = {"vendor": 16, "device": 16, "subsystem_vendor": 16, "subsystem_device": 16, "class": 24}


class ProfileError(ValueError):
    """An invalid profile: `path`, `line` from 1, and a message with the error and the expected form."""

    def __init__(self, path: str, line: int, problem: str) -> None:
        self.path = path
        self.line = line
        self.problem = problem
        super().__init__(f"{path}:{line}: {problem}")


@dataclass(frozen=True)
class Register:
    """A named register: its place and properties.

    `sets`, `clears`, `enables`, `masks` and `index` are names of other registers.
    """

    name: str
    place: Place
    access: str = "read-write"
    sets: str | None = None
    clears: str | None = None
    enables: str | None = None
    masks: str | None = None
    index: str | None = None
    notes: str = ""

    @property
    def changes(self) -> str | None:
        """The register that a write to this one changes instead."""
        return self.sets or self.clears


@dataclass(frozen=True)
class Match:
    """IDs that a function must have; a field that is None fits any ID."""

    vendor: int | None = None
    device: int | None = None
    subsystem_vendor: int | None = None
    subsystem_device: int | None = None
    class_code: int | None = None

    def fits(self, ids: Mapping[str, int]) -> bool:
        """Whether all IDs fit; `ids` uses the names of the fields."""
        wanted = dataclasses.asdict(self)
        return all(value is None or ids.get(name) == value for name, value in wanted.items())

    @property
    def exactness(self) -> int:
        return sum(value is not None for value in dataclasses.astuple(self))


@dataclass(frozen=True)
class Allow:
    """Allows findings of `rule` about `registers`; if there are none, findings in `program` about no register."""

    rule: str
    registers: tuple[str, ...]
    program: ProgramKind | None
    reason: str
    line: int


@dataclass(frozen=True)
class SelfTest:
    """One-shot programs for `shirqctl selftest`: `fire` makes the card raise an interrupt, `serve` ends it."""

    fire: Program
    serve: Program


@dataclass(frozen=True)
class Uio:
    """How the card appears as a UIO device: see `Device.add_uio`."""

    name: str
    version: str
    unmask_by_read: bool


@dataclass(frozen=True)
class Profile:
    """A card as its profile describes it; `lines` has the file's line of each operation of each program."""

    path: str
    name: str
    title: str
    source: str
    notes: str
    matches: tuple[Match, ...]
    spaces: tuple[Space, ...]
    ports: frozenset[int]
    registers: Mapping[str, Register]
    programs: ProgramSet
    lines: Mapping[ProgramKind, tuple[int, ...]]
    rungs: tuple[str, ...]
    reset_at_release: bool
    uio: Uio
    selftest: SelfTest | None
    allowed: tuple[Allow, ...]

    def card(self) -> RegisterFile:
        """A card whose registers hold 0 and behave as the profile says, for `shirq.simulate`."""
        cells = {name: Cell(0, *BEHAVIOUR[register.access]) for name, register in self.registers.items()}
        for name, register in self.registers.items():
            if register.changes:
                cells[name].of = cells[register.changes]
                cells[name].on_write = write_1_to_set if register.sets else write_1_to_clear
        command = Place(CONFIG_SPACE, CONFIG_DISINTX_OFFSET, 1)
        return RegisterFile({command: Cell()} | {self.registers[name].place: cell for name, cell in cells.items()})

    @property
    def quiesce(self) -> Quiesce:
        """The rungs that a quarantine may use."""
        return functools.reduce(Quiesce.__or__, (Quiesce[rung.upper()] for rung in self.rungs), Quiesce(0))

    @property
    def release_reset(self) -> Quiesce:
        """The reset used when the owner closes the card."""
        return Quiesce.FLR if self.reset_at_release else Quiesce(0)

    @property
    def places(self) -> dict[str, Place]:
        """The named registers as the assembler takes them."""
        return places(self.registers)

    def exactness(self, ids: Mapping[str, int]) -> int:
        """The number of IDs in the best match that fits; 0 if the profile is not for this function."""
        return max((match.exactness for match in self.matches if match.fits(ids)), default=0)

    def line_of(self, kind: ProgramKind, index: int) -> int:
        """The line of an operation; for the end of the program, the line of the last operation."""
        lines = self.lines[kind]
        return lines[min(index, len(lines) - 1)] if lines else 1

    def refusal(self, spaces: Sequence[Space] | None = None) -> ProfileError | None:
        """Why the verifier would refuse the programs on a device with `spaces` (default: the profile's own BARs)."""
        for kind in _PROGRAMS.values():
            program = self.programs.program(kind)
            if not program and _may_lack(kind, self.programs.mode):
                continue
            index, reasons = verify(program, kind, spaces or self.spaces)
            if reasons != {Reason.OK}:
                why = "; ".join(reason.text for reason in sorted(reasons))
                text = f"{kind.name.lower()} program, operation {index}: {why}"
                return ProfileError(self.path, self.line_of(kind, index), text)
        return None


def _may_lack(kind: ProgramKind, mode: Mode) -> bool:
    """Whether a set may lack the program."""
    return kind is ProgramKind.MASK or (kind is ProgramKind.UNMASK and mode is Mode.ACKNOWLEDGES)


def places(registers: Mapping[str, Register]) -> dict[str, Place]:
    return {name.lower(): register.place for name, register in registers.items()}


# ------------------------------------------------------------------- reading


class _Reader:
    """Takes keys out of the tables of one file, and reports errors with their lines."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = text
        self._lines: dict[tomllines.Path, int] | None = None

    def line(self, where: tomllines.Path) -> int:
        if self._lines is None:
            self._lines = tomllines.line_numbers(self.text)
        while where not in self._lines:
            where = where[:-1]
        return self._lines[where]

    def error(self, where: tomllines.Path, problem: str) -> ProfileError:
        return ProfileError(self.path, self.line(where), problem)


class _Table:
    def __init__(self, reader: _Reader, where: tomllines.Path, table: Any) -> None:
        self.reader = reader
        self.where = where
        if not isinstance(table, dict):
            raise reader.error(where, f"{_name(where)} must be a table")
        self._table: dict[str, Any] = table
        self._taken: list[str] = []

    def error(self, key: str, problem: str) -> ProfileError:
        return self.reader.error((*self.where, key), problem)

    def has(self, key: str) -> bool:
        return key in self._table

    def knows(self, *keys: str) -> None:
        """Add optional keys to the known ones, so that `done` accepts them."""
        self._taken += [key for key in keys if key not in self._taken]

    def items(self) -> Iterator[tuple[str, Any]]:
        self.knows(*self._table)
        return iter(self._table.items())

    def _take(self, key: str, kind: type, form: str) -> Any:
        self.knows(key)
        if key not in self._table:
            raise self.reader.error(self.where, f"{_name(self.where)} lacks {key!r}: write {key} = {form}")
        value = self._table[key]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise self.error(key, f"{key} = {value!r}: it must be {form}")
        return value

    def text(self, key: str, default: str | None = None) -> str:
        if default is not None and not self.has(key):
            self.knows(key)
            return default
        value: str = self._take(key, str, '"text"')
        return value

    def number(self, key: str, limit: int) -> int:
        value: int = self._take(key, int, f"a number from 0 to {limit:#x}")
        if not 0 <= value <= limit:
            raise self.error(key, f"{key} = {value:#x}: it must be a number from 0 to {limit:#x}")
        return value

    def flag(self, key: str) -> bool:
        self.knows(key)
        value = self._table.get(key, False)
        if not isinstance(value, bool):
            raise self.error(key, f"{key} = {value!r}: it must be true or false")
        return value

    def choice(self, key: str, allowed: Collection[str], default: str | None = None) -> str:
        value = self.text(key, default)
        if value not in allowed:
            raise self.error(key, f"{key} = {value!r}: it must be one of {', '.join(allowed)}")
        return value

    def table(self, key: str, required: bool = True) -> _Table:
        if not required and not self.has(key):
            self.knows(key)
            return _Table(self.reader, (*self.where, key), {})
        return _Table(self.reader, (*self.where, key), self._take(key, dict, "a table"))

    def tables(self, key: str, required: bool = True) -> list[_Table]:
        if not required and not self.has(key):
            self.knows(key)
            return []
        items = self._take(key, list, f"a table [[{key}]]")
        return [_Table(self.reader, (*self.where, key, n), item) for n, item in enumerate(items)]

    def texts(self, key: str, allowed: Collection[str]) -> tuple[str, ...]:
        """A list of texts; a single text may be given without brackets."""
        values = [self._table[key]] if isinstance(self._table.get(key), str) else self._take(key, list, "a list")
        for value in values:
            if value not in allowed:
                raise self.error(key, f"{key} has {value!r}: it may have {', '.join(allowed)}")
        return tuple(values)

    def done(self) -> None:
        for key in self._table:
            if key not in self._taken:
                raise self.error(key, f"{_name(self.where)} has no key {key!r}: it has {', '.join(self._taken)}")


def _name(where: tomllines.Path) -> str:
    return "[" + ".".join(str(part) for part in where if isinstance(part, str)) + "]" if where else "a profile"


def _match(table: _Table) -> Match:
    ids = {
        ("class_code" if key == "class" else key): table.number(key, (1 << bits) - 1)
        for key, bits in _IDS.items()
        if table.has(key)
    }
    table.knows(*_IDS)
    table.done()
    if not ids:
        raise table.reader.error(table.where, f"[[match]] matches every function: write one of {', '.join(_IDS)}")
    return Match(**ids)


def _spaces(table: _Table) -> tuple[tuple[Space, ...], frozenset[int]]:
    spaces = [NO_SPACE] * BARS + [_CONFIG]
    ports = set()
    for key, _ in list(table.items()):
        if key not in _SPACES or key == "config":
            raise table.error(key, f"there is no BAR {key!r}: write bar0 to bar{BARS - 1}")
        bar = table.table(key)
        kind = bar.choice("kind", _KINDS)
        spaces[_SPACES[key]] = Space(_KINDS[kind], bar.number("size", (1 << 64) - 1))
        bar.done()
        if kind == "port":
            ports.add(_SPACES[key])
    return tuple(spaces), frozenset(ports)


def _place(table: _Table) -> Place:
    at = table.text("at")
    match = re.fullmatch(r"(\w+)\s*\+\s*(\w+)", at)
    try:
        space, offset = _SPACES[match[1]], int(match[2], 0)  # type: ignore[index]
    except (TypeError, KeyError, ValueError):
        raise table.error(
            "at", f"at = {at!r}: it must be an address such as 'bar0+0x24' or 'config+6', bar0 to bar{BARS - 1}"
        ) from None
    bits = table.number("bits", 64)
    if bits not in (8, 16, 32, 64):
        raise table.error("bits", f"bits = {bits}: it must be one of 8, 16, 32, 64")
    endian = table.choice("endian", ("little", "big"), "little")
    if bits == 8 and endian == "big":
        raise table.error("endian", "a single byte has no byte order: remove the key endian")
    return Place(space, offset, bits // 8, endian == "big")


def _registers(table: _Table) -> dict[str, Register]:
    registers: dict[str, Register] = {}
    names = [name for name, _ in table.items()]
    seen: dict[str, str] = {}
    for name in names:
        if not re.fullmatch(r"[A-Za-z_]\w*", name) or name.lower() in RESERVED:
            raise table.error(name, f"no register can be called {name!r}: write letters, digits and _, no keyword")
        if name.lower() in seen:
            raise table.error(name, f"{name!r} and {seen[name.lower()]!r} differ in case alone: programs ignore case")
        seen[name.lower()] = name
        inner = table.table(name)
        links = {key: inner.choice(key, names) if inner.has(key) else None for key in _LINKS}
        inner.knows(*links)
        access = inner.choice("access", ACCESS, "read-write")
        registers[name] = Register(name, _place(inner), access, **links, notes=inner.text("notes", ""))
        inner.done()
    for name, register in registers.items():
        if register.index and registers[register.index].access != "index":
            raise table.reader.error(
                (*table.where, name, "index"), f'index = {register.index!r}: that register needs access = "index"'
            )
    return registers


def _program(table: _Table, key: str, names: Mapping[str, Place]) -> tuple[Program, tuple[int, ...]]:
    text = table.text(key)
    first = table.reader.line((*table.where, key))
    lines_on = _lines_of_text(table.reader.text.split("\n")[first - 1], first)
    try:
        program, lines = assemble_lines(text, names)
    except AssemblyError as error:
        raise ProfileError(
            table.reader.path, lines_on(error.line), f"{key} program: {error.problem} (in {error.text!r})"
        ) from None
    return program, tuple(lines_on(line) for line in lines)


def _lines_of_text(opening: str, first: int) -> Callable[[int], int]:
    """Return a function that converts a line of a TOML string to a line of the file; `first` has the opening quotes."""
    value = opening.partition("=")[2].strip()
    if not value.startswith(('"""', "'''")):
        return lambda line: first
    # TOML drops a newline right after the opening quotes.
    return lambda line: first + line - (0 if len(value) == 3 else 1)


def _selftest(table: _Table, names: Mapping[str, Place], spaces: Sequence[Space]) -> SelfTest:
    found: dict[str, Program] = {}
    for key in ("fire", "serve"):
        found[key], lines = _program(table, key, names)
        index, reasons = verify(found[key], ProgramKind.EXEC, spaces)
        if reasons != {Reason.OK}:
            why = "; ".join(reason.text for reason in sorted(reasons))
            line = lines[min(index, len(lines) - 1)] if lines else table.reader.line((*table.where, key))
            raise ProfileError(table.reader.path, line, f"{key} program, operation {index}: {why}")
    table.done()
    return SelfTest(**found)


def _uio(table: _Table, default: str) -> Uio:
    texts = {"name": table.text("name", default), "version": table.text("version", "0")}
    for key, text in texts.items():
        try:
            check_uio_name(text)
        except ValueError as error:
            raise table.error(key, f"{key} = {error}") from None
    unmask = table.choice("unmask", ("write", "read"), "write")
    table.done()
    return Uio(**texts, unmask_by_read=unmask == "read")


def _allow(table: _Table, registers: Mapping[str, Register]) -> Allow:
    rule, reason = table.text("rule"), table.text("reason")
    named = table.texts("register", registers) if table.has("register") else ()
    program = _PROGRAMS[table.choice("program", _PROGRAMS)] if table.has("program") else None
    table.knows("register", "program")
    table.done()
    if not named and program is None:
        raise table.error(
            "rule",
            f"{rule} would be allowed in the whole profile: write the place that it is for, register = "
            '"NAME" of the register that the finding names, or program = "irq" if the finding names none',
        )
    return Allow(rule, named, program, reason, table.reader.line((*table.where, "rule")))


def parse(text: str, path: str) -> Profile:
    """Read a profile from the text of a file called `path`. Raises ProfileError."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        at = re.search(r"at line (\d+)", str(error))
        raise ProfileError(path, int(at[1]) if at else text.count("\n") + 1, f"this is no TOML: {error}") from None
    top = _Table(_Reader(path, text), (), document)
    name = top.text("name")
    if name != Path(path).stem:
        raise top.error("name", f"name = {name!r}: it must be {Path(path).stem!r}, as the file is called")
    title, source, notes = top.text("title"), top.text("source"), top.text("notes", "")
    mode = MODES[top.choice("mode", MODES)]
    matches = tuple(_match(table) for table in top.tables("match", required=False))
    spaces, ports = _spaces(top.table("bars"))
    registers = _registers(top.table("registers"))
    programs: dict[str, Program] = {}
    lines: dict[ProgramKind, tuple[int, ...]] = {}
    table = top.table("programs")
    for key, kind in _PROGRAMS.items():
        if _may_lack(kind, mode) and not table.has(key):
            table.knows(key)
            programs[key], lines[kind] = (), ()
            continue
        programs[key], lines[kind] = _program(table, key, places(registers))
    table.done()
    quiesce = top.table("quiesce", required=False)
    rungs = quiesce.texts("rungs", RUNGS) if quiesce.has("rungs") else ("d3hot",)
    quiesce.knows("rungs")
    reset = quiesce.flag("reset_at_release")
    quiesce.done()
    uio = _uio(top.table("uio", required=False), name)
    selftest = _selftest(top.table("selftest"), places(registers), spaces) if top.has("selftest") else None
    top.knows("selftest")
    allowed = tuple(_allow(table, registers) for table in top.tables("allow", required=False))
    top.done()
    return Profile(
        path=path,
        name=name,
        title=title,
        source=source,
        notes=notes,
        matches=matches,
        spaces=spaces,
        ports=ports,
        registers=registers,
        programs=ProgramSet(**programs, mode=mode),
        lines=lines,
        rungs=rungs,
        reset_at_release=reset,
        uio=uio,
        selftest=selftest,
        allowed=allowed,
    )


def load(path: Path) -> Profile:
    """Read a profile from a file. Raises ProfileError, OSError."""
    try:
        return parse(path.read_text(), str(path))
    except UnicodeDecodeError as error:
        raise ProfileError(str(path), 1, f"the file is no UTF-8 text: {error}") from None


def folder() -> Path:
    """The folder of the profiles that come with the binding."""
    return Path(__file__).with_name("profiles")


def load_all(where: Path | None = None) -> list[Profile]:
    """All profiles in a folder; default: the folder of those that come with the binding. Raises ProfileError."""
    return [load(path) for path in sorted((where or folder()).glob("*.toml"))]


def best(profiles: Iterable[Profile], ids: Mapping[str, int]) -> Profile | None:
    """The profile that fits a function's IDs best, or None."""
    found = max(profiles, key=lambda profile: profile.exactness(ids), default=None)
    return found if found and found.exactness(ids) else None


def find(ids: Mapping[str, int], where: Path | None = None) -> Profile | None:
    """Return the profile in folder `where` (default: the binding's folder) that fits the function's IDs best.

    Returns None if no profile fits. Raises ProfileError if a profile cannot be read.
    """
    return best(load_all(where), ids)
