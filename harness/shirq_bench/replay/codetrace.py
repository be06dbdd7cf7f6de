# SPDX-License-Identifier: MIT
"""A code trace: the lines of the modules' code that a run has executed, in their order, and where two of them part.

QEMU writes the address of every block of instructions of the traced modules that it executes, and the devices'
accesses and pins between them. It translates the guest's code as before, so the guest is not changed: a deterministic
run stays the same to the byte. Blocks become source lines by the modules' debugging information, so that the traces
of two builds of a module can be compared.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from shirq_bench.errors import BenchError
from shirq_bench.observe import source_lines
from shirq_bench.observe.source_lines import Place
from shirq_bench.paths import KMOD, MODULES
from shirq_bench.provision import cache
from shirq_bench.replay import symbols
from shirq_bench.replay.symbols import Symbols
from shirq_bench.vm.machine import Machine
from shirq_bench.vm.vm import Further, nothing_further, parts

#: QEMU's output in a guest's folder, and the trace that `save` makes of it.
RAW, FILE = "blocks", "codetrace.json"
_BLOCK = re.compile(r"Trace (\d+): \S+ \[[0-9a-f]+/([0-9a-f]+)/")
_EVENT = "shirq_edu_"
_MOST = 64 << 20
#: The room for a module's last function, whose end no symbol tells.
_LAST = 4096
#: Hashes of instructions, for each machine function by the functions that are inlined in it.
_Code = Mapping[str, Mapping[str, str]]
#: Number of executed lines before the parting that an explanation shows.
_BEFORE = 3


@dataclass(frozen=True)
class Line:
    """A source line: the innermost function that it is of, its file, number and text, and the machine function."""

    function: str
    file: str
    line: int
    text: str
    symbol: str

    @property
    def key(self) -> tuple[str, str, str]:
        """What it has in common with the same line of another build."""
        return self.function, self.file, self.text or str(self.line)

    def __str__(self) -> str:
        return f"{self.function}() at {self.file}:{self.line}{f', `{self.text}`' if self.text else ''}"


@dataclass(frozen=True)
class CodeTrace:
    """``order`` has a pair for each executed line: the vCPU and the line's place in ``lines``; (-1, 0) for an event of
    a device. ``code`` has a hash of the instructions of each machine function of the modules, by the functions that are
    inlined in it."""

    lines: tuple[Line, ...]
    order: tuple[tuple[int, int], ...]
    code: _Code = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Write codetrace.json."""
        data = {"lines": [asdict(line) for line in self.lines], "order": self.order, "code": self.code}
        (folder / FILE).write_text(json.dumps(data, separators=(",", ":")) + "\n")


@dataclass(frozen=True)
class Parting:
    """Where two traces part: ``line`` is the first line that only one of the runs executed there.

    ``which`` is 0 if the first run executed it, 1 if the second one did. ``before`` are lines that it executed before,
    the last one at the end; ``instead`` is what the other run executed instead, if it is known.
    """

    which: int
    line: Line
    before: tuple[Line, ...]
    instead: Line | None = None


def load(folder: Path) -> CodeTrace | None:
    """The trace in a folder, or None if it has none. `BenchError` if the file is damaged."""
    file = folder / FILE
    if not file.exists():
        return None
    try:
        data = json.loads(file.read_text())
        lines = tuple(Line(**line) for line in data["lines"])
        order = tuple((int(cpu), int(place)) for cpu, place in data["order"])
        code = {str(name): dict(inlined) for name, inlined in data["code"].items()}
        if any(not 0 <= place < max(1, len(lines)) for _, place in order):
            raise ValueError("a line is missing")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BenchError(f"{file} is no code trace: {error}") from error
    return CodeTrace(lines, order, code)


# ------------------------------------------------------------------- record


def recorder(machine: Machine) -> Further:
    """The further arguments of a clone of the template of ``machine`` that writes the executed blocks of its modules.

    If the guest has no module, nothing is written.
    """
    ranges = [f"{start:#x}..{end:#x}" for start, end in _modules(symbols.of(machine)).values()]
    if not ranges:
        return nothing_further
    what = ("-d", "exec,nochain", "-dfilter", ",".join(ranges), "-trace", f"{_EVENT}*")
    return lambda directory: (*what, "-D", str(directory / RAW))


def _modules(names: Symbols) -> dict[str, tuple[int, int]]:
    """The first and last address of each module's code."""
    found: dict[str, tuple[int, int]] = {}
    for address, name in names.names:
        _, _, module = name.partition(" ")
        if module := module.strip("[]"):
            start, _ = found.get(module, (address, 0))
            found[module] = (start, address + _LAST)
    return found


def save(machine: Machine, folder: Path) -> None:
    """Replace the blocks that QEMU has written in a guest's ``folder`` by codetrace.json."""
    raw = folder / RAW
    objects = parts(machine.kernel, machine.modules, machine.overlay).objects
    by_name = {file.stem.replace("-", "_"): file for file in objects}
    read(raw, symbols.of(machine), by_name, _sources(machine)).save(folder)
    raw.unlink()


def _sources(machine: Machine) -> dict[str, Path]:
    """The source files of the modules, by their names."""
    folders = [KMOD, *(path.parent for path in MODULES.glob("*/Kbuild")), *map(Path, machine.modules)]
    return {file.name: file for folder in folders for file in sorted(folder.rglob("*.[ch]"))}


def read(raw: Path, names: Symbols, objects: Mapping[str, Path], sources: Mapping[str, Path]) -> CodeTrace:
    """The trace in QEMU's output ``raw``, of which the first `_MOST` bytes are read: a storm writes gigabytes.

    ``objects`` are the modules' files by the modules' names, ``sources`` their source files by the files' names. Blocks
    of other modules are left out.
    """
    blocks: list[tuple[int, int]] = []
    left = _MOST
    with raw.open(errors="replace") as file:
        for text in file:
            if (left := left - len(text)) < 0:
                break
            if match := _BLOCK.match(text):
                blocks.append((int(match[1]), int(match[2], 16)))
            elif text.startswith(_EVENT):
                blocks.append((-1, 0))
    texts = functools.cache(lambda name: sources[name].read_text(errors="replace").splitlines())
    known: dict[Line, int] = {}
    of: dict[int, list[int]] = {}
    for pc, places in _places({pc for cpu, pc in blocks if cpu >= 0}, names, objects).items():
        made = (_line(place, symbol, texts(place.file) if place.file in sources else ()) for symbol, place in places)
        of[pc] = [known.setdefault(line, len(known)) for line in made]
    order: list[tuple[int, int]] = []
    for cpu, pc in blocks:
        if cpu < 0:
            order.append((-1, 0))
        for number in of.get(pc, ()) if cpu >= 0 else ():
            if not order or order[-1] != (cpu, number):
                order.append((cpu, number))
    return CodeTrace(tuple(known), tuple(order), _code(names, objects))


def _code(names: Symbols, objects: Mapping[str, Path]) -> _Code:
    functions: dict[str, list[str]] = {}
    for _, name in names.names:
        function, _, module = name.partition(" ")
        functions.setdefault(module.strip("[]"), []).append(function)
    return {
        name: {inner: cache.digest(text) for inner, text in inlined.items()}
        for module, file in objects.items()
        for name, inlined in source_lines.codes(file, functions.get(module, ())).items()
    }


def _line(place: Place, symbol: str, text: Sequence[str]) -> Line:
    said = text[place.line - 1].strip() if 0 < place.line <= len(text) else ""
    return Line(place.function, place.file, place.line, said, symbol)


def _places(blocks: Iterable[int], names: Symbols, objects: Mapping[str, Path]) -> dict[int, list[tuple[str, Place]]]:
    """For each block, the places of its instructions, each with its machine function."""
    wanted: dict[str, dict[int, tuple[str, int]]] = {}
    for pc in blocks:
        function, _, rest = names.name(pc).partition("+")
        offset, _, module = rest.partition(" ")
        if (module := module.strip("[]")) in objects:
            wanted.setdefault(module, {})[pc] = (function, int(offset, 16))
    found: dict[int, list[tuple[str, Place]]] = {}
    for module, starts in wanted.items():
        places = source_lines.blocks(objects[module], list(starts.values()))
        for (pc, (function, _)), block in zip(starts.items(), places, strict=True):
            found[pc] = [(function, place) for place in block]
    return found


# ------------------------------------------------------------------- compare


def part(one: CodeTrace, other: CodeTrace, exact: bool = False) -> Parting | None:
    """Where two traces part, or None if they do not.

    If the modules were built from other sources, the runs part in the first executed function whose instructions
    differ: there at the first line or step that only one run executed, or else at its first line. Otherwise `by_lines`.
    """
    differ = _differing(one.code, other.code)
    inside = (_inside(one, differ), _inside(other, differ))
    if found := by_lines(*inside):
        return found
    lines = (one.lines[place] for cpu, place in one.order if cpu >= 0)
    # What is inlined may only have been moved: prefer the machine function itself.
    first = sorted(
        ((line.symbol != line.function, line) for line in lines if (line.symbol, line.function) in differ),
        key=lambda each: each[0],
    )
    return Parting(0, first[0][1], ()) if first else by_lines(one, other, exact)


def _differing(one: _Code, other: _Code) -> set[tuple[str, str]]:
    """The functions whose instructions differ between two builds, each with the machine function that it is part of.

    Where a function is inlined, its instructions may differ because of what is around it. So it counts only if it
    differs everywhere.
    """
    pairs = {
        (name, inner): one[name].get(inner) == other[name].get(inner)
        for name in one.keys() & other.keys()
        for inner in one[name].keys() | other[name].keys()
    }
    same = {inner for (_, inner), equal in pairs.items() if equal}
    return {pair for pair, equal in pairs.items() if not equal and pair[1] not in same}


def _inside(trace: CodeTrace, functions: set[tuple[str, str]]) -> CodeTrace:
    """A trace in some functions alone: each a machine function, and a function that is inlined in it, or itself."""
    wanted = [(line.symbol, line.function) in functions for line in trace.lines]
    return replace(trace, order=tuple((cpu, place) for cpu, place in trace.order if cpu < 0 or wanted[place]))


def by_lines(one: CodeTrace, other: CodeTrace, exact: bool = False) -> Parting | None:
    """Where two traces part, judged by the executed lines alone.

    If both runs are ``exact``, their orders are compared, from the first event of a device on. Otherwise the vCPUs and
    the host choose the order: then the first line that only one run executed at all is it, or else the first step from
    one line of a function to another that only one run made.
    """
    if exact and (found := _in_order(one, other)):
        return found
    lines = _only_in_one(one, other, lambda _, line: line.key)
    return lines or _only_in_one(one, other, lambda before, line: (before and before.key, line.key))


def _in_order(one: CodeTrace, other: CodeTrace) -> Parting | None:
    first, second = (_from_first_event(trace) for trace in (one, other))
    place = next((n for n, (a, b) in enumerate(zip(first, second, strict=False)) if a.key != b.key), None)
    if place is None:
        if len(first) == len(second):
            return None
        place = min(len(first), len(second))
    before = tuple(first[max(0, place - _BEFORE) : place])
    if place < len(first):
        return Parting(0, first[place], before, second[place] if place < len(second) else None)
    return Parting(1, second[place], before)


def _from_first_event(trace: CodeTrace) -> list[Line]:
    begin = next((n for n, (cpu, _) in enumerate(trace.order) if cpu < 0), 0)
    lines = (trace.lines[number] for cpu, number in trace.order[begin:] if cpu >= 0)
    return list(_without_repetitions(lines))


def _without_repetitions(lines: Iterable[Line]) -> Iterator[Line]:
    last = None
    for line in lines:
        if line.key != last:
            yield line
        last = line.key


def words(parting: Parting, names: tuple[str, str]) -> list[str]:
    """A parting in sentences; ``names`` are those of the runs."""
    which = names[parting.which]
    said = [f"They part in {parting.line}, which {which} alone executes there."]
    if parting.instead:
        said.append(f"{names[1 - parting.which]} executes {parting.instead} instead.")
    if parting.before:
        said.append(f"Before this, {which} executed {'; '.join(map(str, parting.before))}.")
    return said


#: Names a step of a run, given the line before it of the same function on the same vCPU, if there is one, and its line.
_Key = Callable[[Line | None, Line], object]
#: The first occurrence of a step: the number of the devices' events before it, its line, and the lines before it.
_First = tuple[int, Line, tuple[Line, ...]]


def _steps(trace: CodeTrace, key: _Key) -> dict[object, _First]:
    """The steps of a run."""
    first: dict[object, _First] = {}
    last: dict[tuple[int, str], Line] = {}
    recent: list[Line] = []
    events = 0
    for cpu, number in trace.order:
        if cpu < 0:
            events += 1
            continue
        line = trace.lines[number]
        before = last.get((cpu, line.symbol))
        first.setdefault(key(before, line), (events, line, tuple(recent)))
        last[cpu, line.symbol] = line
        recent = [*recent[1 - _BEFORE :], line]
    return first


def _only_in_one(one: CodeTrace, other: CodeTrace, key: _Key) -> Parting | None:
    """The first step that only one of the runs made."""
    runs = (_steps(one, key), _steps(other, key))
    found = [
        (events, which, line, before)
        for which, run in enumerate(runs)
        for step, (events, line, before) in run.items()
        if step not in runs[1 - which]
    ]
    if not found:
        return None
    _, which, line, before = min(found, key=lambda each: each[:2])
    return Parting(which, line, before)
