# SPDX-License-Identifier: MIT
"""Finds the line of each value in a TOML document, down to the values in arrays and inline tables."""

from __future__ import annotations

import re
from collections.abc import Iterator

_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}'
    r"|'''.*?'{3,5}"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'"
    r"|\#[^\n]*"
    r"|[\[\]{},=\n]"
    r"|[^\s\[\]{},=\"'#]+",
    re.DOTALL,
)
_KEY = re.compile(r'"(?:\\.|[^"\\])*"|\'[^\']*\'|[^.\s]+')
_QUOTES = "\"'"


def lines(text: str) -> dict[str, int]:
    """The line, from 1, on which each value of a valid document begins.

    A value is named as in an error message: ``machine.slots.dev0``, ``steps[3].raise``.
    """
    return _Scan(text).found


class _Scan:
    def __init__(self, text: str) -> None:
        self._tokens = self._all(text)
        self._line = 1
        self._token = ""
        self._next()
        self.found: dict[str, int] = {}
        #: The number of tables so far in each array of tables.
        self._tables: dict[str, int] = {}
        table = ""
        while self._skip():
            table = self._header() if self._token == "[" else self._pair(table)

    @staticmethod
    def _all(text: str) -> Iterator[tuple[int, str]]:
        line, end = 1, 0
        for match in _TOKEN.finditer(text):
            line += text.count("\n", end, match.start())
            end = match.start()
            if not match[0].startswith("#"):
                yield line, match[0]
        yield line, ""

    def _next(self) -> str:
        """Go on to the next token; returns the one before it. The last token is empty."""
        token = self._token
        self._line, self._token = next(self._tokens, (self._line, ""))
        return token

    def _skip(self) -> bool:
        while self._token == "\n":
            self._next()
        return bool(self._token)

    def _key(self, table: str, end: str) -> str:
        """Read a key up to the token ``end``."""
        words = ""
        while self._token not in (end, ""):
            words += self._next()
        parts = [part.strip(_QUOTES) for part in _KEY.findall(words)]
        for part in parts[:-1]:
            table = self._inner(table, part)
        return f"{table}.{parts[-1]}".lstrip(".")

    def _inner(self, table: str, part: str) -> str:
        """The table of this name; of an array of tables, the last one."""
        name = f"{table}.{part}".lstrip(".")
        return f"{name}[{self._tables[name]}]" if name in self._tables else name

    def _header(self) -> str:
        line = self._line
        self._next()
        array = self._token == "["
        if array:
            self._next()
        name = self._key("", "]")
        while self._token == "]":
            self._next()
        if array:
            self._tables[name] = self._tables.get(name, -1) + 1
            self.found.setdefault(name, line)
        name = self._inner("", name) if array else name
        self.found[name] = line
        return name

    def _pair(self, table: str, end: str = "=") -> str:
        line = self._line
        name = self._key(table, end)
        self.found[name] = line
        self._next()
        self._value(name)
        return table

    def _value(self, name: str) -> None:
        if self._token == "[":
            self._list(name)
        elif self._token == "{":
            self._next()
            while self._skip() and self._token != "}":
                self._pair(name)
                self._comma()
            self._next()
        else:
            while self._token not in ("\n", ",", "]", "}", ""):
                self._next()

    def _list(self, name: str) -> None:
        self._next()
        number = 0
        while self._skip() and self._token != "]":
            self.found[f"{name}[{number}]"] = self._line
            self._value(f"{name}[{number}]")
            self._comma()
            number += 1
        self._next()

    def _comma(self) -> None:
        self._skip()
        if self._token == ",":
            self._next()
