# SPDX-License-Identifier: MIT
"""Finds the line of a key in a TOML file, which tomllib does not report."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

#: The place of a value in a document: keys of tables and indices of arrays of tables.
Path = tuple[str | int, ...]


def _paths(value: Any, path: Path) -> Iterator[Path]:
    yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _paths(inner, (*path, key))


def line_numbers(text: str) -> dict[Path, int]:
    """The line, from 1, on which each key of a valid document begins; the empty path is on line 1.

    A statement of TOML ends at the first line with which tomllib accepts its lines as a document.
    """
    found: dict[Path, int] = {(): 1}
    table: Path = ()
    arrays: dict[Path, int] = {}
    statement: list[str] = []
    for number, line in enumerate(text.split("\n"), start=1):
        statement.append(line)
        try:
            part = tomllib.loads("\n".join(statement))
        except tomllib.TOMLDecodeError:
            continue
        first = number - len(statement) + 1
        if statement[0].lstrip().startswith("["):
            table = ()
            while isinstance(part, dict) and part:
                ((key, part),) = part.items()
                table += (key,)
                if isinstance(part, list):
                    arrays[table] = arrays.get(table, -1) + 1
                    part = part[0]
                if table in arrays:
                    table += (arrays[table],)
            found[table] = first
        else:
            for path in _paths(part, table):
                found.setdefault(path, first)
        statement = []
    return found
