# SPDX-License-Identifier: MIT
"""A TOML file is converted to dataclasses; all errors are reported at once, each with its line and key."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import pytest

from shirq_bench import toml
from shirq_bench.toml import TomlError, Words, at_least, one_of


class Colour(enum.StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Wheel:
    inches: Annotated[int, at_least(1)]
    spokes: Words = ("steel",)


@dataclass(frozen=True)
class Car:
    name: str
    colour: Colour
    wheels: tuple[Wheel, ...] = ()
    tons: float = 1.0
    gear: Annotated[str, one_of("manual", "automatic")] = "manual"
    class_: str = field(default="a", metadata={"key": "class"})
    owners: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.wheels) == 1:
            raise ValueError("needs more than one wheel")


def _read(tmp_path: Path, text: str) -> dict[str, Car]:
    (tmp_path / "cars.toml").write_text(text)
    return toml.read(dict[str, Car], tmp_path / "cars.toml")


def test_tables_are_dataclasses_that_know_their_names(tmp_path: Path) -> None:
    text = '[a]\ncolour = "red"\ntons = 2\nclass = "b"\nwheels = [{ inches = 3 }, { inches = 4, spokes = ["wood"] }]\n'
    wheels = (Wheel(3), Wheel(4, ("wood",)))
    assert _read(tmp_path, text) == {"a": Car("a", Colour.RED, wheels, tons=2, class_="b")}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('colour = "red', ": Illegal character"),
        ("tons = 1.0", ":1: a.colour is missing"),
        ('colour = "green"', ":2: a.colour must be one of red, blue, not 'green'"),
        ('colour = "red"\ngear = "none"', ":3: a.gear must be one of manual, automatic, not 'none'"),
        ('colour = "red"\ngear = ["manual"]', ":3: a.gear must be str, not ['manual']"),
        ('colour = "red"\ntons = true', ":3: a.tons must be float, not True"),
        (
            'colour = "red"\nname = "b"',
            ":3: a: unknown key name; known keys: class, colour, gear, owners, tons, wheels",
        ),
        ('colour = "red"\nclass_ = "b"', ":3: a: unknown key class_; known keys: class, "),
        ('colour = "red"\nclass = 1', ":3: a.class must be str, not 1"),
        ('colour = "red"\nwheels = "round"', ":3: a.wheels must be a list, not 'round'"),
        ('colour = "red"\nwheels = ["round"]', ":3: a.wheels[0] must be a table, not 'round'"),
        ('colour = "red"\nwheels = [{ inches = 1 }]', ":1: a: needs more than one wheel"),
        ('colour = "red"\nowners = { me = "1" }', ":3: a.owners.me must be int, not '1'"),
        (
            "colour = 1\nwheels = [{ inches = 0 }, { inches = true, spokes = [] }]",
            ":2: a.colour must be one of red, blue, not 1\n"
            "F:3: a.wheels[0].inches must be at least 1, not 0\n"
            "F:3: a.wheels[1].inches must be int, not True\n"
            "F:3: a.wheels[1].spokes must not be empty",
        ),
    ],
)
def test_all_that_is_wrong_is_told_with_line_and_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TomlError) as refused:
        _read(tmp_path, f"[a]\n{text}\n")
    assert str(refused.value).replace(str(tmp_path / "cars.toml"), "F").startswith(f"F{message}")


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "cars.toml").write_bytes(b"a = '\xff'\n")
    with pytest.raises(TomlError, match=r"cars\.toml: 'utf-8' codec can't decode"):
        toml.read(dict[str, Car], tmp_path / "cars.toml")


def test_a_table_that_is_none_is_told_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(TomlError, match=r"cars\.toml:1: a must be a table, not 1$"):
        _read(tmp_path, "a = 1\n")
