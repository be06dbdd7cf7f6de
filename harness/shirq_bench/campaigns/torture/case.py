# SPDX-License-Identifier: MIT
"""The torture's tests are data, in ``tests.toml``; its head describes the keys."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from shirq_bench.errors import BenchError

FILE = Path(__file__).with_name("tests.toml")
SIZES = ("full", "ci")


class TestError(BenchError):
    """``tests.toml`` does not describe one; the message names the test and the key."""

    __test__ = False


@dataclass(frozen=True)
class Case:
    """See the head of ``tests.toml``."""

    name: str
    title: str
    by: str
    full: int
    ci: int
    debug: int = 0
    words: tuple[str, ...] = ()
    round: int = 0
    span_us: int = 6000
    devices: tuple[str, ...] = ("dev0",)
    properties: tuple[str, ...] = ()
    witness: bool = False
    silent: bool = True
    leaks: bool = False
    lost_s: int = 3
    kernels: tuple[str, ...] = ()

    def attempts(self, size: str, kernel: str) -> int:
        """The number of its attempts at a size on a kernel."""
        if size == "ci":
            return self.ci
        return self.debug if kernel == "debug" and self.debug else self.full

    def runs_on(self, kernel: str) -> bool:
        """Whether it can run on a kernel."""
        return not self.kernels or kernel in self.kernels

    def rounds(self, attempts: int) -> list[int]:
        """The number of attempts of each guest, for a given total."""
        each = self.round or attempts
        return [min(each, attempts - first) for first in range(0, attempts, each)]


def parse(name: str, table: dict[str, Any]) -> Case:
    """The test of one table of the file. Raises `TestError`."""
    types = {field.name: field.type for field in fields(Case) if field.name != "name"}
    values: dict[str, Any] = {}
    for key, value in table.items():
        kind = types.get(key)
        if kind is None:
            raise TestError(f"test {name}: {key} is not known: there are {', '.join(sorted(types))}")
        if kind == "tuple[str, ...]":
            if not isinstance(value, list) or not value or not all(isinstance(word, str) for word in value):
                raise TestError(f"test {name}: {key} must be a list of strings, not {value!r}")
            values[key] = tuple(value)
        elif type(value).__name__ != kind:
            raise TestError(f"test {name}: {key} must be of type {kind}, not {value!r}")
        else:
            values[key] = value
    try:
        case = Case(name=name, **values)
    except TypeError as error:
        raise TestError(f"test {name}: {error}") from None
    for key, least in (("full", 1), ("ci", 0), ("debug", 0), ("span_us", 1), ("lost_s", 1)):
        if getattr(case, key) < least:
            raise TestError(f"test {name}: {key} must be at least {least}, not {getattr(case, key)}")
    return case


def load(path: Path = FILE) -> dict[str, Case]:
    """All tests, by name, in the file's order."""
    return {name: parse(name, table) for name, table in tomllib.loads(path.read_text()).items()}


def get(name: str) -> Case:
    """The test called ``name``. Raises `TestError`."""
    known = load()
    if name not in known:
        raise TestError(f"there is no torture test {name!r}: there are {', '.join(known)}")
    return known[name]
