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
from shirq_bench.campaigns.sweep.pairs import Matrix, Operation
from shirq_bench.campaigns.sweep.scenario import Scenario
from shirq_bench.errors import BenchError
from shirq_bench.toml import Words, filled

FILE: Final = Path(__file__).with_name("actors.toml")
BETWEEN: Final = "~"
_DEVICES: Final = ("dev0", "dev1", "ctl", "ctl2")
_ANY: Final = "*"
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
class Pair:
    """A first and a second actor: their scenario, or the reason why there is none."""

    first: str
    second: str
    scenario: Scenario | None = None
    reason: str = ""

    @property
    def name(self) -> str:
        """The name of the pair's scenario."""
        return f"{self.first}{BETWEEN}{self.second}"


@dataclass(frozen=True)
class Actors:
    """The second actors, the omitted pairs, and the number of points of a pair by size and cost."""

    turn_ns: int
    rest_ns: int
    sizes: Mapping[str, Mapping[str, int]]
    others: Mapping[str, Other]
    left_out: tuple[LeftOut, ...] = ()

    def pairs(self, size: str) -> Iterator[Pair]:
        """All pairs, by their first actors."""
        matrix = pairs.load()
        for first in matrix.operations.values():
            for second in self.others.values():
                yield self._pair(matrix, first, second, size)

    def _pair(self, matrix: Matrix, first: Operation, second: Other, size: str) -> Pair:
        if reason := self._reason(first, second):
            return Pair(first.name, second.name, reason=reason)
        costs = list(self.sizes[size])
        cost = max(first.cost, second.cost, key=costs.index)
        return Pair(first.name, second.name, self._scenario(matrix, first, second, self.sizes[size][cost]))

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

    def _scenario(self, matrix: Matrix, first: Operation, second: Other, points: int) -> Scenario:
        """The scenario. Guests are shared by pairs: each lane knows the deeds of all pairs that can have its guest."""
        how = second.how or first.how
        never = {name for gap in self.left_out if _ANY in gap.others for name in gap.operations}
        firsts = (one for one in matrix.operations.values() if one.deed and one.name not in never)
        own = list(dict.fromkeys(one.deed for one in firsts))
        theirs = list(dict.fromkeys(one.deed for one in self.others.values() if one.deed))
        lanes = {"ctl": f"--control ctl --cpu 0{_deeds(own)}", "ctl2": f"--control ctl2 --cpu 1{_deeds(theirs)}"}
        beside = [lanes["ctl2"]] if second.device == "dev1" else []
        visitor = [f"--visitor {lanes['ctl2']} dev0"] if second.visitor else []
        same = [lanes["ctl2"]] if second.deed and not beside and not visitor else []
        mortal = {"--mortal"} if same or visitor else set[str]()
        bound = f"--cpu {1 if second.entries else 0}"
        readers = [] if second.readers is None else [f"--readers {second.readers}"]
        owner = [f"--how {how}", *sorted({*first.options, *mortal}), bound, *readers, lanes["ctl"], *same, "dev0"]
        neighbour = [*sorted({*first.neighbour, *(second.options if beside else ())}), *beside, "dev1"]
        asked = (f"ctl2 raise {1 << theirs.index(second.deed)}",) if second.deed else ()
        entries = second.entries or asked
        last = entries[-1].split()[0] if entries else "ctl2"
        return Scenario(
            name=f"{first.name}{BETWEEN}{second.name}",
            title=f"{first.title}; meanwhile {second.title}",
            actors=(" ".join(owner), " ".join(neighbour), *visitor),
            first=first.first or (f"ctl raise {1 << own.index(first.deed)}",),
            second=(*entries, f"{last} turn 1"),
            since=first.since,
            until=first.until,
            devices=_DEVICES,
            # Locks are unfair in a guest: an actor that waits for one may need several turns of the other one.
            bound_ns=2 * max(first.bound_ns, second.bound_ns) + _TURNS * self.turn_ns,
            points=points,
            spurious=first.spurious + second.spurious,
            cards=matrix.guest.cards,
            vcpus=2,
            turn_ns=self.turn_ns,
            rest_ns=self.rest_ns,
        )


def _deeds(names: Sequence[str]) -> str:
    return "".join(f" --deed {name}" for name in names)


def load(path: Path = FILE) -> Actors:
    """The second actors in a file. Raises `TomlError`."""
    return toml.read(Actors, path)


def choose(size: str, names: Sequence[str] = ()) -> list[Pair]:
    """The pairs of the named actors; "FIRST~SECOND" names one pair. Without names, all. `BenchError` names others."""
    every = list(load().pairs(size))
    chosen: list[Pair] = []
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
