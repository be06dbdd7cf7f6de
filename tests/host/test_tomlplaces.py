# SPDX-License-Identifier: MIT
"""Each value of a TOML document is found on its line."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shirq_bench import tomlplaces

_DOCUMENT = r'''# a = 1
id = "x [y]" # [no]
[a.b]
list = [1,
  2, [3,
4]]
"q.r".text = @
[x]
k = 1 @'
time = 1979-05-27 07:32:00
other = """\"""
[z]"""
steps = [
  { driver = "bind", only = ["a",
     "b"] },
  # c
  { raise = 1 },
]
[[t]]
n = { a.b = 1, c = { d = 2 } }
[[t]]
m = 'x'
[t.u]
v = 1
[[t.w]]
last = 1'''.replace("@", "'" * 3)
_LINES = {
    "id": 2,
    "a.b": 3,
    "a.b.list": 4,
    "a.b.list[0]": 4,
    "a.b.list[1]": 5,
    "a.b.list[2]": 5,
    "a.b.list[2][0]": 5,
    "a.b.list[2][1]": 6,
    "a.b.q.r.text": 7,
    "a.b.time": 10,
    "a.b.other": 11,
    "a.b.steps": 13,
    "a.b.steps[0]": 14,
    "a.b.steps[0].driver": 14,
    "a.b.steps[0].only": 14,
    "a.b.steps[0].only[0]": 14,
    "a.b.steps[0].only[1]": 15,
    "a.b.steps[1]": 17,
    "a.b.steps[1].raise": 17,
    "t": 19,
    "t[0]": 19,
    "t[0].n": 20,
    "t[0].n.a.b": 20,
    "t[0].n.c": 20,
    "t[0].n.c.d": 20,
    "t[1]": 21,
    "t[1].m": 22,
    "t[1].u": 23,
    "t[1].u.v": 24,
    "t[1].w": 25,
    "t[1].w[0]": 25,
    "t[1].w[0].last": 26,
}
_FILES = sorted(
    path for folder in ("harness", "guest", "kmod", "tests") for path in Path(folder).rglob("*.toml")
) + [Path("pyproject.toml")]  # fmt: skip


def _leaves(value: Any, name: str) -> Iterator[str]:
    match value:
        case dict() if value:
            for key, inner in value.items():
                yield from _leaves(inner, f"{name}.{key}".lstrip("."))
        case list() if value:
            for number, inner in enumerate(value):
                yield from _leaves(inner, f"{name}[{number}]")
        case _:
            yield name


def test_each_value_has_the_line_on_which_it_begins() -> None:
    assert set(_leaves(tomllib.loads(_DOCUMENT), "")) <= _LINES.keys()
    assert tomlplaces.lines(_DOCUMENT) == _LINES


@pytest.mark.parametrize("path", _FILES, ids=str)
def test_no_value_of_this_projects_files_is_missed(path: Path) -> None:
    text = path.read_text()
    found = tomlplaces.lines(text)
    for name in _leaves(tomllib.loads(text), ""):
        key = name.rpartition(".")[2].partition("[")[0]
        assert key in text.splitlines()[found[name] - 1] or "[" in name, name
