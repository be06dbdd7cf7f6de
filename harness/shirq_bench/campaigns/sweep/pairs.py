# SPDX-License-Identifier: MIT
"""Every operation crossed with every stimulus: a matrix of sweeps, generated from two lists.

The lists are data, in ``pairs.toml``; its head describes the keys. A new operation or stimulus only has to be added
there. The scenario of a pair is called "OPERATION+STIMULUS".
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from shirq_bench import pages, toml
from shirq_bench.campaigns.sweep import cells, scenario
from shirq_bench.campaigns.sweep.cells import Cell
from shirq_bench.campaigns.sweep.run import Result
from shirq_bench.campaigns.sweep.scenario import Scenario
from shirq_bench.errors import BenchError
from shirq_bench.paths import BUILD
from shirq_bench.toml import Words, filled
from shirq_bench.vm import environment

FILE = Path(__file__).with_name("pairs.toml")
REPORT = BUILD / "reports" / "pairs.json"
#: Relative to the checkout.
DOCUMENT = Path("docs/pairs.md")
BETWEEN = "+"


@dataclass(frozen=True)
class Operation:
    """See the head of ``pairs.toml``; times in ns of virtual time."""

    name: str
    title: str
    until: str
    deed: str = ""
    since: str = ""
    first: Words = ()
    how: str = "read"
    options: Words = ()
    neighbour: Words = ()
    cost: str = "instruction"
    bound_ns: int = 200_000
    spurious: int = 0
    broken: Words = ()
    drivers: Words = ()
    halts: bool = False

    def __post_init__(self) -> None:
        if bool(self.deed) == bool(self.first):
            raise ValueError("needs exactly one of the keys `deed` and `first`")


@dataclass(frozen=True)
class Stimulus:
    """See the head of ``pairs.toml``; times in ns of virtual time."""

    name: str
    title: str
    entries: Words
    before: Words = ()
    options: Words = ()
    neighbour: Words = ()
    cost: str = "instruction"
    bound_ns: int = 0
    spurious: int = 0
    broken: Words = ()


@dataclass(frozen=True)
class Gap:
    """Cells that are not played, and the reason."""

    operations: Words
    stimuli: Words
    reason: Annotated[str, filled]

    def holds(self, operation: Operation, stimulus: Stimulus) -> bool:
        """Whether the pair is one of these cells."""
        return operation.name in self.operations and stimulus.name in self.stimuli


@dataclass(frozen=True)
class Bound(Gap):
    """Cells that have another bound, in ns of virtual time, and the reason."""

    bound_ns: int = 0


@dataclass(frozen=True)
class Guest:
    """The guest of all pairs: see `Scenario`."""

    cards: Words = ()
    modules: Words = ()


@dataclass(frozen=True)
class Matrix:
    """The operations and stimuli, the omitted cells, and the number of points of a cell by size and cost."""

    operations: Mapping[str, Operation]
    stimuli: Mapping[str, Stimulus]
    sizes: Mapping[str, Mapping[str, int]]
    left_out: tuple[Gap, ...] = ()
    bounds: tuple[Bound, ...] = ()
    guest: Guest = Guest()

    def __post_init__(self) -> None:
        both: list[Operation | Stimulus] = [*self.operations.values(), *self.stimuli.values()]
        for one in both:
            for size, points in self.sizes.items():
                if one.cost not in points:
                    raise ValueError(
                        f"{one.name}: size {size} has no cost {one.cost!r}; known costs: {', '.join(points)}"
                    )
        for kind, gaps in (("left_out", self.left_out), ("bounds", self.bounds)):
            for n, gap in enumerate(gaps):
                if unknown := {*gap.operations} - self.operations.keys() | {*gap.stimuli} - self.stimuli.keys():
                    raise ValueError(f"{kind}[{n}]: unknown operation or stimulus {', '.join(sorted(unknown))}")

    def cells(self, size: str) -> Iterator[Cell]:
        """All pairs, operation by operation."""
        for operation in self.operations.values():
            for stimulus in self.stimuli.values():
                yield self.cell(operation, stimulus, size)

    def cell(self, operation: Operation, stimulus: Stimulus, size: str) -> Cell:
        """The cell of one pair."""
        for gap in self.left_out:
            if gap.holds(operation, stimulus):
                return Cell(operation.name, BETWEEN, stimulus.name, reason=gap.reason)
        cost = max(operation.cost, stimulus.cost, key=list(self.sizes[size]).index)
        scenario = self._scenario(operation, stimulus, self.sizes[size][cost])
        return Cell(operation.name, BETWEEN, stimulus.name, scenario)

    def _scenario(self, operation: Operation, stimulus: Stimulus, points: int) -> Scenario:
        deeds = self._deeds(operation)
        control = ["--control ctl", *(f"--deed {deed}" for deed in deeds)] if deeds else []
        own = [bound.bound_ns for bound in self.bounds if bound.holds(operation, stimulus)]
        actors = [" ".join((*_options(operation, stimulus), *control, "dev0"))]
        if not any(driver.startswith("dev1 ") for driver in operation.drivers):
            actors.append(" ".join((*sorted({*operation.neighbour, *stimulus.neighbour}), "dev1")))
        return Scenario(
            name=f"{operation.name}{BETWEEN}{stimulus.name}",
            title=f"{operation.title}; {stimulus.title}",
            actors=tuple(actors),
            first=operation.first or (f"ctl raise {1 << deeds.index(operation.deed)}",),
            second=stimulus.entries,
            since=operation.since,
            until=operation.until,
            devices=("dev0", "dev1", "ctl"),
            bound_ns=max(operation.bound_ns, stimulus.bound_ns, *own),
            points=points,
            spurious=operation.spurious + stimulus.spurious,
            drivers=operation.drivers,
            halts=operation.halts,
            cards=self.guest.cards,
            modules=self.guest.modules,
            before=stimulus.before,
            broken=tuple(dict.fromkeys(operation.broken + stimulus.broken)),
        )

    def _deeds(self, operation: Operation) -> list[str]:
        """The deeds of all operations with the same ``how``, ``neighbour`` and ``drivers``, which can share one guest.

        Each of ctl's sources starts one deed.
        """

        def guest(one: Operation) -> tuple[object, ...]:
            return one.how, one.neighbour, one.drivers

        alike = (one.deed for one in self.operations.values() if one.deed and guest(one) == guest(operation))
        return list(dict.fromkeys(alike))


def _options(operation: Operation, stimulus: Stimulus) -> tuple[str, ...]:
    """The options of dev0's owner, in a fixed order."""
    return (f"--how {operation.how}", *sorted({*operation.options, *stimulus.options}))


def load(path: Path = FILE) -> Matrix:
    """The matrix in a file. Raises `TomlError` if the file does not describe a matrix."""
    return toml.read(Matrix, path)


def get(name: str, size: str) -> Scenario:
    """The scenario of the pair "OPERATION+STIMULUS". Raises `BenchError` if the pair is left out."""
    matrix = load()
    operation, _, stimulus = name.partition(BETWEEN)
    (cell,) = choose(matrix, size, [operation, stimulus])
    if cell.scenario is None:
        raise BenchError(f"{name} is left out: {cell.reason}")
    return cell.scenario


def find(name: str, size: str) -> Scenario:
    """The scenario called ``name``, or the pair if it is "OPERATION+STIMULUS". Raises `BenchError` if there is none."""
    return get(name, size) if BETWEEN in name else scenario.get(name)


def choose(matrix: Matrix, size: str, names: Sequence[str]) -> list[Cell]:
    """The cells of the named operations and stimuli; of all operations or all stimuli if no such name is given."""
    operations = [name for name in names if name in matrix.operations] or list(matrix.operations)
    stimuli = [name for name in names if name in matrix.stimuli] or list(matrix.stimuli)
    if unknown := set(names) - {*operations, *stimuli}:
        raise BenchError(
            f"there is no operation or stimulus {', '.join(sorted(unknown))}; operations: "
            f"{', '.join(matrix.operations)}; stimuli: {', '.join(matrix.stimuli)}"
        )
    return [matrix.cell(matrix.operations[o], matrix.stimuli[s], size) for o in operations for s in stimuli]


@dataclass(frozen=True)
class Swept:
    """A cell and its result: None if the cell is left out or its sweep failed. ``error`` says why the sweep failed."""

    cell: Cell
    result: Result | None = None
    error: str = ""

    def as_data(self) -> dict[str, Any]:
        """The result as data for the report."""
        return {
            "operation": self.cell.first,
            "stimulus": self.cell.second,
            "reason": self.cell.reason,
            "error": self.error,
            "window": self.result.shape.window_ns if self.result else 0,
            "points": self.result.points if self.result else 0,
            "instructions": len(self.result.places) if self.result else 0,
            "violations": len(self.result.failures) if self.result else 0,
            "seconds": round(self.result.seconds, 1) if self.result else 0,
        }


def report(swept: Sequence[Swept], kernel: str, kept: Sequence[Path]) -> dict[str, Any]:
    """The report's content."""
    played = [one.as_data() for one in swept]
    return {
        "date": datetime.date.today().isoformat(),
        "kernel": kernel,
        "cells": played,
        "played": sum(one.result is not None for one in swept),
        "left_out": sum(bool(one.cell.reason) for one in swept),
        "errors": sum(bool(one.error) for one in swept),
        "points": sum(cell["points"] for cell in played),
        "violations": sum(cell["violations"] for cell in played),
        "findings": [str(file) for file in kept],
    }


def write(content: Mapping[str, Any]) -> None:
    """Write `REPORT`, with the exact versions of the guests' parts."""
    environment.write_report(REPORT, content, [content["kernel"]])


def summary(content: Mapping[str, Any]) -> str:
    """The figures in one line."""
    return (
        f"{content['played']} pairs with {content['points']:,} points: {content['violations']} violations;"
        f" {content['left_out']} pairs left out, {content['errors']} that could not be swept"
    )


def rows(content: Mapping[str, Any]) -> list[list[str]]:
    """The table, its head first: one row for each operation, one column for each stimulus."""
    stimuli, grid = cells.grid(content["cells"], ("operation", "stimulus"), _points)
    windows: dict[str, int] = {}
    for cell in content["cells"]:
        windows[cell["operation"]] = max(cell["window"], windows.get(cell["operation"], 0))
    body = ([name, f"{windows[name]:,}" if windows[name] else "-", *texts] for name, texts in grid.items())
    return [["operation", "window", *stimuli], *body]


def _points(cell: cells.Data) -> str:
    return f"{cell['points']:,}" if cell["points"] else "not played"


def document(content: Mapping[str, Any], matrix: Matrix) -> str:
    """The results as a Markdown table."""
    return pages.render(
        __package__,
        "pairs.md",
        content=content,
        summary=summary(content),
        rows=rows(content),
        reasons=cells.reasons(content["cells"]),
        operations=matrix.operations.values(),
        stimuli=matrix.stimuli.values(),
    )
