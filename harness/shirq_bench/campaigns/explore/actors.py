# SPDX-License-Identifier: MIT
"""Pairs of actors on two vCPUs, generated from two lists: scenarios in which one actor preempts the other.

The first actors are the operations of `shirq_bench.campaigns.sweep.pairs`, the second ones are data, in
``actors.toml``; its head describes the keys. The scenario of a pair is called "FIRST~SECOND".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from shirq_bench import toml
from shirq_bench.campaigns.sweep import pairs
from shirq_bench.campaigns.sweep.cells import Cell
from shirq_bench.campaigns.sweep.pairs import Guest, Matrix, Operation
from shirq_bench.campaigns.sweep.scenario import Scenario
from shirq_bench.errors import BenchError
from shirq_bench.toml import Words, filled

FILE: Final = Path(__file__).with_name("actors.toml")
BETWEEN: Final = "~"
_DEVICES: Final = ("dev0", "dev1", "ctl", "ctl2")
_ANY: Final = "*"
#: More interrupts in a point are a storm: a device asserts while its handler declines.
_DELIVERIES: Final = 40
#: The turns of the other actor for which one waits at most.
_TURNS: Final = 10


@dataclass(frozen=True)
class Other:
    """A second actor: see the head of ``actors.toml``; times in ns of virtual time."""

    name: str
    title: str
    deed: str = ""
    entries: Words = ()
    readers: int | None = None
    device: str = "dev0"
    visitor: bool = False
    how: str = ""
    options: Words = ()
    cost: str = "instruction"
    bound_ns: int = 0
    spurious: int = 0

    def __post_init__(self) -> None:
        if sum(map(bool, (self.deed, self.entries, self.are_readers))) != 1:
            raise ValueError("needs exactly one of the keys `deed` and `entries`, or only `readers = 1`")

    @property
    def are_readers(self) -> bool:
        """Whether the threads that read events are the actor, once an interrupt on vCPU 0 has woken them."""
        return self.readers == 1 and not self.deed and not self.entries


@dataclass(frozen=True)
class LeftOut:
    """Pairs that are not played, and the reason; "*" stands for every second actor."""

    operations: Words
    others: Words
    reason: Annotated[str, filled]


@dataclass(frozen=True)
class _Lane:
    """A thread of guest/sweep/actor.c, on one vCPU, that does a deed for each source of a control device."""

    device: str
    vcpu: int
    deeds: Sequence[str]

    @property
    def words(self) -> str:
        """Its part of the actor's command line."""
        return " ".join([f"--control {self.device} --cpu {self.vcpu}", *(f"--deed {deed}" for deed in self.deeds)])

    def ask(self, deed: str) -> str:
        """The schedule's entry that makes it do a deed."""
        return f"{self.device} raise {1 << self.deeds.index(deed)}"


@dataclass(frozen=True)
class Actors:
    """The second actors, the omitted pairs, and the number of points of a pair by size and cost."""

    turn_ns: int
    rest_ns: int
    sizes: Mapping[str, Mapping[str, int]]
    others: Mapping[str, Other]
    left_out: tuple[LeftOut, ...] = ()

    def pairs(self, size: str) -> Iterator[Cell]:
        """All pairs, by their first actors."""
        matrix = pairs.load()
        lanes = {alone: self._lanes(matrix, alone) for alone in (False, True)}
        costs = list(self.sizes[size])
        for first in matrix.operations.values():
            for second in self.others.values():
                if reason := self._reason(first, second):
                    yield Cell(first.name, BETWEEN, second.name, reason=reason)
                    continue
                points = self.sizes[size][max(first.cost, second.cost, key=costs.index)]
                scenario = self._scenario(first, second, lanes[first.how == "alone"], points, matrix.guest)
                yield Cell(first.name, BETWEEN, second.name, scenario)

    def _lanes(self, matrix: Matrix, alone: bool) -> tuple[_Lane, _Lane]:
        """The lanes of both vCPUs, for first actors that are ``alone``, or for all others.

        Guests are shared by pairs: each lane knows all deeds that such a pair may ask it for. A control device has too
        few sources for the deeds of all first actors.
        """
        never = {name for gap in self.left_out if _ANY in gap.others for name in gap.operations}
        alike = (one for one in matrix.operations.values() if (one.how == "alone") == alone and one.name not in never)
        firsts = (one.deed for one in alike if one.deed)
        seconds = (one.deed for one in self.others.values() if one.deed)
        return _Lane("ctl", 0, list(dict.fromkeys(firsts))), _Lane("ctl2", 1, list(dict.fromkeys(seconds)))

    def _reason(self, first: Operation, second: Other) -> str:
        for gap in self.left_out:
            if first.name in gap.operations and (second.name in gap.others or _ANY in gap.others):
                return gap.reason
        if second.readers is not None and first.how == "alone":
            return "there is no thread that only reads events"
        if second.entries and first.first:
            return "one line's interrupts are not handled at the same time"
        if second.how and first.how != second.how and (first.first or first.how != "read"):
            return f"the first actor handles events by {first.how}, the second one needs {second.how}"
        return ""

    def _scenario(
        self, first: Operation, second: Other, lanes: tuple[_Lane, _Lane], points: int, guest: Guest
    ) -> Scenario:
        how = second.how or first.how
        mine, theirs = lanes
        beside = [theirs.words] if second.device == "dev1" else []
        visitor = [f"--visitor {theirs.words} dev0"] if second.visitor else []
        same = [theirs.words] if second.deed and not beside and not visitor else []
        mortal = {"--mortal"} if same or visitor else set[str]()
        bound = f"--cpu {1 if second.entries else 0}"
        readers = [] if second.readers is None else [f"--readers {second.readers}"]
        owner = [f"--how {how}", *sorted({*first.options, *mortal}), bound, *readers, mine.words, *same, "dev0"]
        neighbour = [*sorted({*first.neighbour, *(second.options if beside else ())}), *beside, "dev1"]
        entries = second.entries or ((theirs.ask(second.deed),) if second.deed else ())
        last = entries[-1].split()[0] if entries else theirs.device
        return Scenario(
            name=f"{first.name}{BETWEEN}{second.name}",
            title=f"{first.title}; meanwhile {second.title}",
            actors=(" ".join(owner), " ".join(neighbour), *visitor),
            first=first.first or (mine.ask(first.deed),),
            second=(*entries, f"{last} turn {theirs.vcpu}"),
            since=first.since,
            until=first.until,
            devices=_DEVICES,
            # Locks are unfair in a guest: an actor that waits for one may need several turns of the other one.
            bound_ns=2 * max(first.bound_ns, second.bound_ns) + _TURNS * self.turn_ns,
            points=points,
            spurious=first.spurious + second.spurious,
            cards=guest.cards,
            modules=guest.modules,
            vcpus=2,
            turn_ns=self.turn_ns,
            rest_ns=self.rest_ns,
            deliveries=_DELIVERIES,
        )


def load(path: Path = FILE) -> Actors:
    """The second actors in a file. Raises `TomlError`."""
    return toml.read(Actors, path)


def choose(size: str, names: Sequence[str] = ()) -> list[Cell]:
    """The pairs of the named actors; "FIRST~SECOND" names one pair. Without names, all. `BenchError` names others."""
    every = list(load().pairs(size))
    chosen: list[Cell] = []
    for name in names:
        found = [pair for pair in every if name in (pair.name, pair.first, f"{BETWEEN}{pair.second}")]
        if not found:
            raise BenchError(
                f"there is no actor or pair {name!r}; first actors: {', '.join(dict.fromkeys(p.first for p in every))};"
                f" second actors: {', '.join(dict.fromkeys(f'{BETWEEN}{p.second}' for p in every))}"
            )
        chosen += [pair for pair in found if pair not in chosen]
    return chosen if names else every


def get(name: str, size: str = "full") -> Scenario:
    """The scenario of the pair "FIRST~SECOND". `BenchError` if there is none."""
    (pair,) = choose(size, [name])
    if pair.scenario is None:
        raise BenchError(f"{name} is left out: {pair.reason}")
    return pair.scenario
