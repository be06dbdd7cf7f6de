# SPDX-License-Identifier: MIT
"""The source lines of addresses in modules, also for splats: the kernel's call traces name functions and offsets."""

from __future__ import annotations

import bisect
import functools
import re
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from shirq_bench.observe import splats
from shirq_bench.observe.splats import Splat
from shirq_bench.vm.vm import Vm

#: An address in a call trace: function, offset, size, module.
_ADDRESS = re.compile(r"(?P<function>[\w.]+)\+(?P<offset>0x[0-9a-f]+)/0x[0-9a-f]+ \[(?P<module>\w+)[^\]]*\]")
_TIMEOUT = 60
#: For each symbol, its address within its section, and the section's name.
_Symbols = dict[str, tuple[int, str]]


#: An instruction that ends a block, as objdump writes it: a jump, a call, a return or a trap.
_ENDS_BLOCK = re.compile(r"(j\w+|call\w*|ret\w*|iret\w*|int3?|ud2|hlt|sys\w+)\b")
#: What the compiler and the linker choose in an instruction: the target of a jump, with the symbol that objdump shows,
#: and places on the stack.
_CHOSEN = re.compile(r"\b(0x)?[0-9a-f]+ <[^>]*>|# .*|-?0x[0-9a-f]+(?=\(%r[sb]p\))|\s+$")
_REGISTER = re.compile(r"%\w+")
_INSTRUCTION = re.compile(r"^\s*([0-9a-f]+):\t(\S.*)$")


@dataclass(frozen=True)
class Place:
    """A place in the source: the innermost function, inlined or not, the file's name and the line's number."""

    function: str
    file: str
    line: int


def blocks(file: Path, starts: Sequence[tuple[str, int]]) -> list[list[Place]]:
    """The places of the instructions in blocks of a module: from a start on, up to the first jump, call or return.

    ``starts`` are offsets in functions. A block that the debugging information does not cover has no places.
    """
    known = _symbols(file)
    codes = functools.cache(lambda section: _instructions(file, section))
    wanted: list[tuple[str, list[int]]] = []
    for function, offset in starts:
        begin, section = known.get(function, (0, ""))
        wanted.append((section, _block(codes(section), begin, begin + offset) if section else []))
    places: dict[tuple[str, int], Place] = {}
    for section in {section for section, _ in wanted if section}:
        addresses = sorted({address for of, block in wanted if of == section for address in block})
        places |= {(section, address): place for address, place in _innermost(file, section, addresses).items()}
    return [
        [places[section, address] for address in block if (section, address) in places] for section, block in wanted
    ]


def codes(file: Path, functions: Iterable[str]) -> dict[str, dict[str, str]]:
    """The instructions of functions of a module, as one text for each function that is inlined in them, and for itself.

    Addresses, registers and places on the stack are left out, so that a function that did not change has the same text
    in two builds of a module, also where it is inlined in one that did. Functions that cannot be read are left out.
    """
    known = _symbols(file)
    found: dict[str, dict[str, str]] = {}
    sections = {known[function][1] for function in functions if function in known}
    for section in sections:
        if not (code := _instructions(file, section)):
            continue
        starts = sorted({address for address, of in known.values() if of == section} | {code[-1][0] + 1})
        own = [each for each in functions if each in known and known[each][1] == section]
        places = _innermost(file, section, [address for address, _ in code])
        for function in own:
            begin = known[function][0]
            end = starts[bisect.bisect_right(starts, begin)]
            texts: dict[str, list[str]] = {}
            for address, text in code[bisect.bisect_left(code, (begin, "")) : bisect.bisect_left(code, (end, ""))]:
                inner = places[address].function if address in places else function
                texts.setdefault(inner, []).append(_REGISTER.sub("%", _CHOSEN.sub("", text)))
            found[function] = {inner: "\n".join(lines) for inner, lines in texts.items()}
    return found


def _block(code: Sequence[tuple[int, str]], function: int, start: int) -> list[int]:
    """The addresses of a block's instructions."""
    found: list[int] = []
    for address, text in code[bisect.bisect_left(code, (start, "")) :]:
        found.append(address)
        # The call of the tracer with which a function begins is a no-op while nobody traces it.
        if address != function and _ENDS_BLOCK.match(text):
            break
    return found


def _instructions(file: Path, section: str) -> list[tuple[int, str]]:
    """The instructions of a section, by address."""
    listing = _output("objdump", "-d", "--no-show-raw-insn", "-j", section, str(file))
    return [(int(match[1], 16), match[2]) for line in listing.splitlines() if (match := _INSTRUCTION.match(line))]


def _innermost(file: Path, section: str, addresses: Sequence[int]) -> dict[int, Place]:
    """The place of each instruction that has one."""
    text = "\n".join(f"{address:#x}" for address in addresses)
    said = _output("addr2line", "-e", str(file), "-j", section, "-a", "-i", "-f", "-s", input=text)
    found: dict[int, Place] = {}
    lines = said.splitlines()
    for number, line in enumerate(lines):
        if line.startswith("0x") and number + 2 < len(lines):
            name, _, where = lines[number + 2].partition(" ")[0].rpartition(":")
            if where.isdecimal() and "?" not in name:
                found[int(line, 16)] = Place(lines[number + 1], name, int(where))
    return found


def splats_of(vm: Vm, log: str | Path, directory: Path = splats.RULES) -> list[Splat]:
    """The splats in a guest's kernel log, as `splats.scan` finds them by the rules in ``directory``.

    Addresses in modules that the bench has compiled for the guest get their source lines.
    """
    found = splats.scan_file(log, directory) if isinstance(log, Path) else splats.scan(log, directory)
    compiled = vm.parts.objects if any(_ADDRESS.search(splat.excerpt) for splat in found) else ()
    objects = {file.stem.replace("-", "_"): file for file in compiled}
    return [replace(splat, excerpt=annotated(splat.excerpt, objects)) for splat in found]


def annotated(text: str, objects: Mapping[str, Path]) -> str:
    """``text`` with the source line after each address in one of ``objects``, innermost inlined function first.

    ``objects`` are the modules' files by name. An address that the debugging information does not cover gets no source
    line.
    """
    # Read each module's symbols only once: a call trace has many addresses of one module.
    symbols = functools.cache(_symbols)
    return "\n".join(_annotated(line, objects, symbols) for line in text.splitlines())


def _annotated(line: str, objects: Mapping[str, Path], symbols: Callable[[Path], _Symbols]) -> str:
    match = _ADDRESS.search(line)
    if not match or match["module"] not in objects:
        return line
    # Return addresses point to the instruction after the call. Only RIP is the address of the instruction itself.
    back = 0 if "RIP:" in line else 1
    file = objects[match["module"]]
    if match["function"] not in (known := symbols(file)):
        return line
    start, section = known[match["function"]]
    places = _places(file, section, start + max(int(match["offset"], 16) - back, 0))
    return f"{line} ({' < '.join(places)})" if places else line


def _symbols(file: Path) -> _Symbols:
    """The symbols of an object file. If several have one name, the first counts."""
    words = [line.split("|") for line in _output("nm", "--format=sysv", str(file)).splitlines()]
    # Skip symbols without an address: they are not defined in this file.
    defined = [row for row in words if len(row) == 7 and row[1].strip()]
    return {row[0].strip(): (int(row[1], 16), row[6].strip()) for row in reversed(defined)}


def _places(file: Path, section: str, address: int) -> list[str]:
    """FILE:LINE of an instruction and, if its function was inlined there, of the places of the inlining."""
    found = _output("addr2line", "-e", str(file), "-j", section, "-i", "-s", f"{address:#x}")
    return [place.partition(" ")[0] for place in found.split("\n") if place and "?" not in place]


def _output(*command: str, input: str | None = None) -> str:
    """The command's output; empty if it fails, because a splat without source lines is still a splat."""
    try:
        done = subprocess.run(command, input=input, capture_output=True, text=True, timeout=_TIMEOUT, check=True)
        return done.stdout
    except (OSError, subprocess.SubprocessError):
        return ""
