# SPDX-License-Identifier: MIT
"""A mutant: one small, realistic bug as a patch, and the tests that should detect it.

A file ``NAME.patch`` begins with a head in TOML, which a unified diff follows. The head has these keys:

    title      the bug, in one sentence
    tests      pytest's ids of the tests of the code that the bug breaks; {kernel} stands for the kernel's name
    sweep      scenarios of `shirq sweep`, pairs of `shirq explore`, that find the bug if no test does; all of ``tests``
               must then pass
    kernel     the kernel of the mutant's guests, if it is not the run's kernel
    equivalent the reason why no test can notice the mutant, if it behaves like the product
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from shirq_bench import toml
from shirq_bench.errors import BenchError
from shirq_bench.toml import Words, filled

#: Relative to the checkout.
FOLDER = Path("tests/mutants")

_DIFF = "--- a/"


def boot_guests(tests: Sequence[str]) -> bool:
    """Whether one of these tests boots a guest."""
    return any(test.startswith("tests/guest") for test in tests)


@dataclass(frozen=True, kw_only=True)
class Head:
    """The head of a mutant's file."""

    title: Annotated[str, filled]
    tests: Words
    sweep: Words = ()
    kernel: str = ""
    equivalent: str = ""


@dataclass(frozen=True, kw_only=True)
class Mutant(Head):
    """A mutant. The paths in ``diff`` are relative to the top of the checkout."""

    name: str
    diff: str

    @property
    def files(self) -> list[str]:
        """The files that the mutant changes."""
        lines = self.diff.splitlines()
        return [line.removeprefix(_DIFF).split("\t")[0] for line in lines if line.startswith(_DIFF)]

    @property
    def has_guest(self) -> bool:
        """Whether a guest is needed to detect the mutant."""
        return bool(self.sweep) or boot_guests(self.tests)


def parse(name: str, text: str) -> Mutant:
    """Parse the text of a mutant's file. Raises `BenchError` with the error."""
    head, found, diff = text.partition(_DIFF)
    if not found:
        raise BenchError(f"mutant {name}: the file has no diff: no line begins with '{_DIFF}'")
    return Mutant(**vars(toml.parse(Head, head, f"mutant {name}")), name=name, diff=found + diff)


def load(top: Path) -> list[Mutant]:
    """All mutants of a checkout, by name."""
    return [parse(path.stem, path.read_text()) for path in sorted((top / FOLDER).glob("*.patch"))]


def choose(top: Path, names: Sequence[str]) -> list[Mutant]:
    """The mutants with these names; without names, all. `BenchError` for other names."""
    known = load(top)
    if unknown := set(names) - {one.name for one in known}:
        raise BenchError(f"no mutant is called {', '.join(sorted(unknown))}: `shirq mutants --list` shows them")
    return [one for one in known if not names or one.name in names]
