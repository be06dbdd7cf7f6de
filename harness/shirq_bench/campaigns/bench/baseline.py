# SPDX-License-Identifier: MIT
"""Detects regressions: compares the instructions that shirq.ko adds to an interrupt with a committed baseline.

A figure is the difference to the floor that the same run measures: a driver that only wakes a reader, or the
neighbour's interrupt without a second device on the line. The kernel's own instructions are in both, so an update of
the distribution's kernel changes the difference little, and the baseline need not be of the same kernel.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shirq_bench.errors import BenchError

FILE = Path(__file__).with_name("baseline.json")
#: The contender whose counts are the floor of an interrupt.
FLOOR = "wake"
#: Growth of a count above which it is a regression: this part of the whole count, but at least `LEAST` instructions,
#: because the compilers of two kernels may differ by some.
TOLERANCE = 0.02
LEAST = 8


def figures(costs: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """The guarded figures in the result of `cost.measure` for one kernel, in instructions.

    Each has its whole ``count``, and the part of it ``above`` the floor.
    """
    ours, floor = (costs["drivers"][name]["regular"] for name in ("shirq", FLOOR))
    found = {
        f"interrupt, {name}": {
            "count": ours[name]["median"],
            "above": ours[name]["median"] - floor[name]["median"],
        }
        for name in ("awake", "enabled", "hard")
    }
    added = costs["neighbour"]["beside"]["shirq"]["added"]
    found["neighbour's interrupt"] = {"count": added, "above": added}
    return found


def compare(measured: Mapping[str, Mapping[str, float]], baseline: Mapping[str, Any]) -> list[str]:
    """A sentence for each figure that is worse than the baseline's. `BenchError` if the two cannot be compared."""
    if baseline["figures"].keys() != measured.keys():
        raise BenchError(
            f"the figures differ: the baseline has {', '.join(baseline['figures'])}, this run has {', '.join(measured)}"
        )
    return [
        f"{name}: {grown:+g} instructions above the baseline's {old['above']:g}"
        for name, old in baseline["figures"].items()
        if (grown := measured[name]["above"] - old["above"]) > max(LEAST, old["count"] * TOLERANCE)
    ]


def load(path: Path = FILE) -> dict[str, Any]:
    """The committed baseline. Raises `BenchError` if there is none."""
    if not path.exists():
        raise BenchError(f'there is no {path.name}: make one with make bench-guard ACCEPT="the reason"')
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def accept(
    measured: Mapping[str, Mapping[str, float]], release: str, date: str, reason: str, path: Path = FILE
) -> None:
    """Store the measured figures as the baseline, with the reason for it."""
    if not reason.strip():
        raise BenchError("a new baseline needs a reason, but the given one is empty")
    content = {"release": release, "date": date, "reason": reason, "figures": dict(measured)}
    path.write_text(json.dumps(content, indent=1) + "\n")
