# SPDX-License-Identifier: MIT
"""The figures of explorations, as JSON and as a page."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from shirq_bench import pages
from shirq_bench.campaigns.explore.actors import Actors
from shirq_bench.campaigns.explore.run import ACTORS, Explored
from shirq_bench.campaigns.sweep import cells
from shirq_bench.campaigns.sweep.cells import Cell
from shirq_bench.campaigns.sweep.pairs import Operation
from shirq_bench.paths import BUILD
from shirq_bench.vm import environment

REPORT: Final = BUILD / "reports" / "explore.json"
FINDINGS: Final = BUILD / "explore"
#: Relative to the checkout.
DOCUMENT: Final = Path("docs/explore.md")


@dataclass(frozen=True)
class Row:
    """A pair and its result: None if it is left out or could not be explored; ``error`` says why it could not."""

    pair: Cell
    result: Explored | None = None
    error: str = ""

    def as_data(self) -> dict[str, Any]:
        """The row as data for the report: n actors, k instructions, d preemptions, and what was exhausted."""
        result = self.result
        return {
            "name": self.pair.name,
            "first": self.pair.first,
            "second": self.pair.second,
            "reason": self.pair.reason,
            "error": self.error,
            "n": ACTORS,
            "k": result.instructions if result else 0,
            "d": result.preemptions if result else 0,
            "bound": result.bound if result else None,
            "points": result.points if result else 0,
            "equivalent": result.equivalent if result else 0,
            "exhausted": bool(result and result.exhausted),
            "violations": len(result.failures) if result else 0,
            "seconds": round(result.seconds, 1) if result else 0,
        }


def report(
    rows: Sequence[Row], kernel: str, kept: Sequence[Path], replays_identical: bool | None = None
) -> dict[str, Any]:
    """The report's content. ``points_per_minute`` counts the time of the runs only, on one core."""
    pairs = [row.as_data() for row in rows]
    points, equivalent, seconds = (sum(pair[key] for pair in pairs) for key in ("points", "equivalent", "seconds"))
    played = [pair for pair in pairs if pair["points"]]
    return {
        "date": datetime.date.today().isoformat(),
        "kernel": kernel,
        "scenarios": pairs,
        "explored": len(played),
        "left_out": sum(bool(pair["reason"]) for pair in pairs),
        "errors": sum(bool(pair["error"]) for pair in pairs),
        "points": points,
        "equivalent": equivalent,
        "points_per_minute": round(60 * points / seconds) if seconds else 0,
        "exhausted": sum(pair["exhausted"] for pair in pairs),
        "violations": sum(pair["violations"] for pair in pairs),
        "replays_identical": replays_identical,
        "findings": [str(file) for file in kept],
    }


def write(content: Mapping[str, Any]) -> None:
    """Write `REPORT`, with the exact versions of the guests' parts."""
    environment.write_report(REPORT, content, [content["kernel"]])


def summary(content: Mapping[str, Any]) -> str:
    """The figures in one line."""
    return (
        f"{content['explored']} pairs with {content['points']:,} points, {content['points_per_minute']:,} a minute, and"
        f" {content['equivalent']:,} that are equivalent to one of these: {content['violations']} violations;"
        f" {content['exhausted']} windows exhausted; {content['left_out']} pairs left out, {content['errors']} failed"
    )


def table(content: Mapping[str, Any]) -> list[list[str]]:
    """The table, its head first: one row for each first actor, one column for each second one."""
    seconds, grid = cells.grid(content["scenarios"], ("first", "second"), _points)
    return [["first actor", *seconds], *([first, *texts] for first, texts in grid.items())]


def _points(pair: cells.Data) -> str:
    of = "" if pair["exhausted"] else f" of {pair['k']:,}"
    same = f" + {pair['equivalent']:,}" if pair["equivalent"] else ""
    return f"{pair['points']:,}{same}{of}"


def document(content: Mapping[str, Any], actors: Actors, operations: Mapping[str, Operation]) -> str:
    """The page, with the results as a table."""
    firsts = dict.fromkeys(pair["first"] for pair in content["scenarios"] if pair["points"])
    return pages.render(
        __package__,
        "explore.md",
        content=content,
        summary=summary(content),
        rows=table(content),
        reasons=cells.reasons(content["scenarios"]),
        firsts=[operations[name] for name in firsts],
        seconds=actors.others.values(),
        turn_us=actors.turn_ns // 1000,
    )
