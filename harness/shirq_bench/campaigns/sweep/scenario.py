# SPDX-License-Identifier: MIT
"""Scenarios of sweeps: a first stimulus, and a second one injected at each instruction of its handling.

They are data, in ``scenarios.toml``; its head describes the keys.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from shirq_bench.errors import BenchError
from shirq_bench.vm.machine import ADDRESSES, LOAD_MODULE, SETTLED, Machine, bind, insmod, start

FILE = Path(__file__).with_name("scenarios.toml")
_ACTOR = "/usr/bin/shirq-actor"
#: Entries of the log that a run may need.
_LOG_ENTRIES = 1 << 22
_Table = TypeVar("_Table")


class ScenarioError(BenchError):
    """``scenarios.toml`` does not describe one; the message names the scenario and the key."""


@dataclass(frozen=True)
class Scenario:
    """See the head of ``scenarios.toml``; times in ns of virtual time, which are instructions.

    The last ones are for scenarios that `pairs` makes: ``cards`` are properties of devices, "DEVICE PROPERTIES",
    ``since`` is where the window begins, if not with ``first``, and ``before`` comes before ``first`` in a point that
    has a second stimulus.
    """

    name: str
    title: str
    actors: tuple[str, ...]
    first: tuple[str, ...]
    second: tuple[str, ...]
    until: str
    devices: tuple[str, ...] = ("dev0",)
    extra_ns: int = 100
    bound_ns: int = 200_000
    step: int = 1
    points: int = 0
    spurious: int = 0
    drivers: tuple[str, ...] = ()
    halts: bool = False
    cards: tuple[str, ...] = ()
    since: str = ""
    before: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()

    @property
    def mortal(self) -> bool:
        """Each point ends a process, or a device: it costs far more than others."""
        return any("--mortal" in actor for actor in self.actors)

    @property
    def processes(self) -> int:
        """Number of actor processes in a healthy guest: a --mortal one has a parent."""
        return sum(2 if "--mortal" in actor else 1 for actor in self.actors)

    def machine(self, kernel: str) -> Machine:
        """The guest: dev0 and dev1 on one line, ctl on its own, bound to shirq.ko, and the actors waiting."""
        cards = {
            "dev0": "shirq-edu,id=dev0,addr=4",
            "dev1": "shirq-edu,id=dev1,addr=8",
            "ctl": "shirq-edu,id=ctl,addr=5",
        }
        for card, properties in map(str.split, self.cards):
            cards[card] += f",{properties}"
        drivers = dict.fromkeys(cards, "shirq") | dict(map(str.split, self.drivers))
        return Machine(
            kernel=kernel,
            devices=tuple(cards.values()),
            deterministic=True,
            vcpus=1,
            log_entries=_LOG_ENTRIES,
            prepare=(
                *(LOAD_MODULE, insmod("neighbour")),
                *(bind(card, driver) for card, driver in drivers.items()),
                SETTLED,
                *map(_start, self.actors),
            ),
        )


def _start(actor: str) -> str:
    """Guest script: start an actor."""
    arguments = " ".join(ADDRESSES.get(word, word) for word in actor.split())
    return start(f"{_ACTOR} {arguments}", "ready", "/run/actors")


def _words(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(word, str) for word in value):
        raise ScenarioError(f"must be a list of strings, not {value!r}")
    return tuple(value)


def read_table(kind: type[_Table], what: str, name: str, table: dict[str, Any]) -> _Table:
    """Convert a table of a file to the dataclass ``kind``; messages call it ``what``. Raises `ScenarioError`."""
    types = {field.name: field.type for field in fields(kind)}  # type: ignore[arg-type]
    values: dict[str, Any] = {"name": name}
    for key, value in table.items():
        try:
            match types.get(key) if key != "name" else None:
                case None:
                    raise ScenarioError(f"is not known: there are {', '.join(sorted(types.keys() - {'name'}))}")
                case "tuple[str, ...]":
                    values[key] = _words(value)
                case expected if type(value).__name__ != expected:
                    raise ScenarioError(f"must be of type {expected}, not {value!r}")
                case _:
                    values[key] = value
        except ScenarioError as error:
            raise ScenarioError(f"{what} {name}: {key} {error}") from None
    try:
        return kind(**values)
    except TypeError as error:
        raise ScenarioError(f"{what} {name}: {error}") from None


def parse(name: str, table: dict[str, Any]) -> Scenario:
    """The scenario of one table of the file. Raises `ScenarioError`."""
    return read_table(Scenario, "scenario", name, table)


def load(path: Path = FILE) -> dict[str, Scenario]:
    """All scenarios, by name."""
    return {name: parse(name, table) for name, table in tomllib.loads(path.read_text()).items()}


def get(name: str) -> Scenario:
    """The scenario called ``name``. Raises `ScenarioError`."""
    known = load()
    if name not in known:
        raise ScenarioError(f"there is no scenario {name!r}: there are {', '.join(known)}")
    return known[name]
