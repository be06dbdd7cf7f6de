# SPDX-License-Identifier: MIT
"""A mutant: one small, realistic bug as a patch, and the tests that should detect it.

A file ``NAME.patch`` begins with TOML and goes on with a unified diff:

    title      the bug, in one sentence
    tests      pytest's ids of the tests that touch what it breaks; {kernel} stands for the kernel's name
    sweep      scenarios of `shirq sweep` that find it though all of ``tests`` pass: moments that no test meets
    kernel     what its guests boot, if it is not the run's kernel
    equivalent why nothing can tell it from the product, if nothing can
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shirq_bench.errors import BenchError

#: Below the checkout.
FOLDER = Path("tests/mutants")

_DIFF = "--- a/"
_TEXTS = ("title", "kernel", "equivalent")
_LISTS = ("tests", "sweep")


def boot_guests(tests: Sequence[str]) -> bool:
    """Whether one of these tests boots a guest."""
    return any(test.startswith("tests/guest") for test in tests)


@dataclass(frozen=True)
class Mutant:
    """The keys are described above; ``diff`` is relative to the top of the checkout."""

    name: str
    title: str
    diff: str
    tests: tuple[str, ...]
    sweep: tuple[str, ...] = ()
    kernel: str = ""
    equivalent: str = ""

    @property
    def files(self) -> list[str]:
        """The files that it changes."""
        lines = self.diff.splitlines()
        return [line.removeprefix(_DIFF).split("\t")[0] for line in lines if line.startswith(_DIFF)]

    @property
    def has_guest(self) -> bool:
        """Whether a guest is needed to detect it."""
        return bool(self.sweep) or boot_guests(self.tests)


def parse(name: str, text: str) -> Mutant:
    """Parse the text of a mutant's file. Raises `BenchError` with the error."""
    head, found, diff = text.partition(_DIFF)
    try:
        if not found:
            raise BenchError(f"it has no diff: a line that begins with '{_DIFF}'")
        return Mutant(name=name, diff=found + diff, **_values(tomllib.loads(head)))
    except (BenchError, tomllib.TOMLDecodeError) as error:
        raise BenchError(f"mutant {name}: {error}") from None


def _values(table: dict[str, Any]) -> dict[str, Any]:
    for key, value in table.items():
        if key in _TEXTS:
            right = isinstance(value, str) and bool(value)
        elif key in _LISTS:
            right = isinstance(value, list) and bool(value) and all(isinstance(word, str) for word in value)
        else:
            raise BenchError(f"{key} is not known: there are {', '.join((*_TEXTS, *_LISTS))}")
        if not right:
            raise BenchError(f"{key} must be {'a text' if key in _TEXTS else 'a list of texts'}, not {value!r}")
    for key in ("title", "tests"):
        if key not in table:
            raise BenchError(f"{key} is missing")
    return {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}


def load(top: Path) -> list[Mutant]:
    """All mutants of a checkout, by name."""
    return [parse(path.stem, path.read_text()) for path in sorted((top / FOLDER).glob("*.patch"))]
