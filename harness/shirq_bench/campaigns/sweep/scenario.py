# SPDX-License-Identifier: MIT
"""Scenarios of sweeps: a first stimulus, and a second one injected at each instruction of its handling.

They are data, in ``scenarios.toml``; its head describes the keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shirq_bench import toml
from shirq_bench.errors import BenchError
from shirq_bench.toml import Words
from shirq_bench.vm.machine import ADDRESSES, LOAD_MODULE, SETTLED, Machine, bind, insmod, start

FILE = Path(__file__).with_name("scenarios.toml")
_ACTOR = "/usr/bin/shirq-actor"
#: Capacity of a run's event log, in entries.
_LOG_ENTRIES = 1 << 22


@dataclass(frozen=True)
class Scenario:
    """See the head of ``scenarios.toml``; times in ns of virtual time, which are instructions.

    ``cards``, ``modules``, ``since`` and ``before`` are used only by scenarios that `pairs` makes. Each of ``cards``
    gives a device's properties, as "DEVICE PROPERTIES"; ``modules`` are the kernel's, to be loaded. ``since`` is where
    the window begins; by default it begins with ``first``. ``before`` comes before ``first`` in a point that has a
    second stimulus. ``vcpus`` and ``turn_ns``, the machine's, ``rest_ns``, the time by which a point is longer than the
    bound demands, and ``deliveries``, the most interrupts of a point (0: any number), are used only by
    `shirq_bench.campaigns.explore`.
    """

    name: str
    title: str
    actors: Words
    first: Words
    second: Words
    until: str
    devices: Words = ("dev0",)
    extra_ns: int = 100
    bound_ns: int = 200_000
    step: int = 1
    points: int = 0
    spurious: int = 0
    deliveries: int = 0
    drivers: Words = ()
    halts: bool = False
    cards: Words = ()
    modules: Words = ()
    since: str = ""
    before: Words = ()
    broken: Words = ()
    vcpus: int = 1
    turn_ns: int = 100_000
    rest_ns: int = 0

    @property
    def mortal(self) -> bool:
        """Whether each point ends a process or a device, which makes it far more expensive than other points."""
        return any("--mortal" in actor for actor in self.actors)

    @property
    def processes(self) -> int:
        """Number of actor processes in a healthy guest: an actor with --mortal also has a parent process."""
        return sum(2 if "--mortal" in actor else 1 for actor in self.actors)

    def machine(self, kernel: str) -> Machine:
        """The guest: dev0 and dev1 on one line, ctl on its own, bound to shirq.ko, and the actors waiting.

        A guest with several vCPUs also has ctl2, on a line of its own.
        """
        cards = {
            "dev0": "shirq-edu,id=dev0,addr=4",
            "dev1": "shirq-edu,id=dev1,addr=8",
            "ctl": "shirq-edu,id=ctl,addr=5",
        }
        if self.vcpus > 1:
            cards["ctl2"] = "shirq-edu,id=ctl2,addr=6"
        for card, properties in map(str.split, self.cards):
            cards[card] += f",{properties}"
        drivers = dict.fromkeys(cards, "shirq") | dict(map(str.split, self.drivers))
        return Machine(
            kernel=kernel,
            devices=tuple(cards.values()),
            deterministic=True,
            vcpus=self.vcpus,
            turn_ns=self.turn_ns,
            log_entries=_LOG_ENTRIES,
            prepare=(
                *(LOAD_MODULE, insmod("neighbour")),
                *(f"modprobe {module}" for module in self.modules),
                *(bind(card, driver) for card, driver in drivers.items()),
                SETTLED,
                *map(_start, self.actors),
                # An actor is ready before all its threads wait.
                *([SETTLED] if self.vcpus > 1 else ()),
            ),
        )


def _start(actor: str) -> str:
    """Guest script: start an actor."""
    arguments = " ".join(ADDRESSES.get(word, word) for word in actor.split())
    return start(f"{_ACTOR} {arguments}", "ready", "/run/actors")


def load(path: Path = FILE) -> dict[str, Scenario]:
    """All scenarios, by name. Raises `TomlError`."""
    return toml.read(dict[str, Scenario], path)


def get(name: str) -> Scenario:
    """The scenario called ``name``. Raises `BenchError` if there is none."""
    known = load()
    if name not in known:
        raise BenchError(f"there is no scenario {name!r}; known scenarios: {', '.join(known)}")
    return known[name]
