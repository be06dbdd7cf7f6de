# SPDX-License-Identifier: MIT
"""Adds source lines to the splats of a guest: the kernel's call traces name functions and offsets only."""

from __future__ import annotations

import functools
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from shirq_bench.observe import splats
from shirq_bench.observe.splats import Splat
from shirq_bench.vm.vm import Vm

#: An address in a call trace: function, offset, size, module.
_ADDRESS = re.compile(r"(?P<function>[\w.]+)\+(?P<offset>0x[0-9a-f]+)/0x[0-9a-f]+ \[(?P<module>\w+)[^\]]*\]")
_TIMEOUT = 60
#: For each symbol, its address within its section, and the section's name.
_Symbols = dict[str, tuple[int, str]]


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


def _output(*command: str) -> str:
    """The command's output; empty if it fails, because a splat without source lines is still a splat."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
