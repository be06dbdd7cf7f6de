# SPDX-License-Identifier: MIT
"""Two lists that are crossed: each cell is a scenario, or has a reason why it is not played; the table of a report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shirq_bench.campaigns.sweep.scenario import Scenario

#: A cell in a report, with the keys ``reason``, ``error`` and ``violations``.
Data = Mapping[str, Any]


@dataclass(frozen=True)
class Cell:
    """One of each list: their scenario, or the reason why they have none. ``between`` joins their names."""

    first: str
    between: str
    second: str
    scenario: Scenario | None = None
    reason: str = ""

    @property
    def name(self) -> str:
        """The name of the scenario."""
        return f"{self.first}{self.between}{self.second}"


def reasons(cells: Sequence[Data]) -> list[str]:
    """The reasons why cells were left out, each once."""
    return list(dict.fromkeys(cell["reason"] for cell in cells if cell["reason"]))


def grid(
    cells: Sequence[Data], keys: tuple[str, str], say: Callable[[Data], str]
) -> tuple[list[str], dict[str, list[str]]]:
    """The names of a table's columns, and for each of its rows the texts of all columns.

    ``keys`` are those under which a cell has its row and its column; ``say`` gives the text of a cell that was played.
    """
    known = {(cell[keys[0]], cell[keys[1]]): cell for cell in cells}
    rows, columns = (list(dict.fromkeys(names[n] for names in known)) for n in (0, 1))
    why = reasons(cells)
    return columns, {row: [_text(known.get((row, column)), why, say) for column in columns] for row in rows}


def _text(cell: Data | None, why: Sequence[str], say: Callable[[Data], str]) -> str:
    if cell is None:
        return ""
    if cell["reason"]:
        return f"- ({why.index(cell['reason']) + 1})"
    if cell["error"]:
        return "error"
    violations = f", {cell['violations']} violations" if cell["violations"] else ""
    return f"{say(cell)}{violations}"
