# SPDX-License-Identifier: MIT
"""The tests of the torture campaign, which are data in ``tests.toml``; its head describes the keys."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from shirq_bench import toml
from shirq_bench.errors import BenchError
from shirq_bench.toml import Words, at_least

FILE = Path(__file__).with_name("tests.toml")
SIZES = ("full", "tenth", "ci")


@dataclass(frozen=True)
class Case:
    """See the head of ``tests.toml``."""

    name: str
    title: str
    by: str
    full: Annotated[int, at_least(1)]
    ci: Annotated[int, at_least(0)]
    debug: Annotated[int, at_least(0)] = 0
    words: Words = ()
    round: int = 0
    span_us: Annotated[int, at_least(1)] = 6000
    devices: Words = ("dev0",)
    properties: Words = ()
    witness: bool = False
    silent: bool = True
    leaks: bool = False
    lost_s: Annotated[int, at_least(1)] = 3
    kernels: Words = ()

    def attempts(self, size: str, kernel: str) -> int:
        """How often a run of this size tries the test on this kernel."""
        if size == "ci":
            return self.ci
        full = self.debug if kernel == "debug" and self.debug else self.full
        return full if size == "full" else -(-full // 10)

    def runs_on(self, kernel: str) -> bool:
        """Whether the test can run on a kernel."""
        return not self.kernels or kernel in self.kernels

    def rounds(self, attempts: int) -> list[int]:
        """The number of attempts of each guest, for a given total."""
        each = self.round or attempts
        return [min(each, attempts - first) for first in range(0, attempts, each)]


def load(path: Path = FILE) -> dict[str, Case]:
    """All tests, by name, in the file's order. Raises `TomlError`."""
    return toml.read(dict[str, Case], path)


def get(name: str) -> Case:
    """The test called ``name``. Raises `BenchError` if there is none."""
    known = load()
    if name not in known:
        raise BenchError(f"there is no torture test {name!r}; known tests: {', '.join(known)}")
    return known[name]
