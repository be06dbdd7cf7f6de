# SPDX-License-Identifier: MIT
"""Names for addresses of a guest: the kernel's, its modules', and those of the programs that run in it."""

from __future__ import annotations

import base64
import bisect
import json
import subprocess
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from shirq_bench.provision import cache
from shirq_bench.vm import pool, template
from shirq_bench.vm.machine import Machine

#: Programs of the guest that are linked to a fixed address.
_PROGRAMS = ("/usr/bin/shirq-actor",)
#: Maximum distance of an address from its symbol.
_LONGEST = 1 << 20


@dataclass(frozen=True)
class Symbols:
    """``names`` are (address, name), sorted by address; ``programs`` the copies of the programs."""

    names: list[tuple[int, str]]
    programs: list[Path]

    def name(self, address: int) -> str:
        """``function+0x12 [module]``; only the address if there is no symbol near it."""
        position = bisect.bisect_right(self.names, address, key=lambda pair: pair[0]) - 1
        if position >= 0 and (distance := address - self.names[position][0]) < _LONGEST:
            name, _, module = self.names[position][1].partition(" ")
            return f"{name}+{distance:#x}" + (f" {module}" if module else "")
        return f"{address:#x}"


def _texts(listing: str) -> list[tuple[int, str]]:
    """The code symbols in the output of nm or in /proc/kallsyms."""
    found = []
    for line in listing.splitlines():
        words = line.split()
        if len(words) >= 3 and words[1] in "tTwW":
            found.append((int(words[0], 16), " ".join(words[2:])))
    return found


def of(machine: Machine) -> Symbols:
    """The symbols of the template of ``machine``; read once for each template."""

    def fill(directory: Path) -> None:
        with pool.lent(machine) as vm:
            kernel = vm.agent.succeed("grep -i ' [tw] ' /proc/kallsyms", deadline=120)
            names = _texts(kernel)
            for program in _PROGRAMS:
                copy = directory / Path(program).name
                copy.write_bytes(base64.b64decode(vm.agent.succeed(f"base64 {program}", deadline=120)))
                listing = subprocess.run(["nm", copy], check=True, capture_output=True, text=True).stdout
                names += _texts(listing)
        (directory / "names.json").write_text(json.dumps(sorted(names)))

    directory = cache.entry("symbols", template.path(machine).name, fill)
    names = [(address, name) for address, name in json.loads((directory / "names.json").read_text())]
    return Symbols(names, [directory / Path(program).name for program in _PROGRAMS])


def instruction(code: bytes, address: int) -> str:
    """The first instruction of ``code``, as objdump writes it."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(code)
        file.flush()
        text = subprocess.run(
            ["objdump", "-D", "-b", "binary", "-m", "i386:x86-64", f"--adjust-vma={address:#x}", file.name],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    first = next(line for line in text.splitlines() if line.strip().startswith(f"{address:x}:"))
    return " ".join(first.split("\t")[-1].split())


def elf(symbols: Symbols, path: Path) -> None:
    """Write an object file that has the kernel's symbols and no code, for a debugger that has no vmlinux."""
    kernel = [(address, name.split()[0]) for address, name in symbols.names if address >> 63]
    lines = ['.section .text,"ax",@nobits']
    base = kernel[0][0]
    at = base
    namesakes: Counter[str] = Counter()
    for address, name in kernel:
        if address > at:
            lines.append(f".skip {address - at}")
            at = address
        namesakes[name] += 1
        quoted = f'"{name}"' if namesakes[name] == 1 else f'"{name}.{namesakes[name]}"'
        lines += [f".type {quoted},@function", f"{quoted}:"]
    lines.append(".skip 4096")
    source = path.with_suffix(".s")
    source.write_text("\n".join(lines) + "\n")
    target = path.with_suffix(".o")
    subprocess.run(["as", "-o", target, source], check=True)
    subprocess.run(["ld", "-o", path, f"-Ttext={base:#x}", "-e", "0", target], check=True, capture_output=True)
    source.unlink()
    target.unlink()
