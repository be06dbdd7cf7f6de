# SPDX-License-Identifier: MIT
"""Detects regressions: compares the exact instruction counts of shirq.ko with a committed baseline."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shirq_bench.errors import BenchError

FILE = Path(__file__).with_name("baseline.json")
#: Relative growth of a figure above which it counts as a regression.
TOLERANCE = 0.02


def figures(costs: Mapping[str, Any]) -> dict[str, float]:
    """The guarded figures in the result of `cost.measure` for one kernel."""
    regular = costs["drivers"]["shirq"]["regular"]
    found = {f"interrupt, {name}": regular[name]["median"] for name in ("awake", "enabled", "hard")}
    found["neighbour's interrupt, added"] = costs["neighbour"]["beside"]["shirq"]["added"]
    return found


def compare(measured: Mapping[str, float], baseline: Mapping[str, Any], release: str) -> list[str]:
    """A sentence for each figure that is worse than the baseline's. `BenchError` if the two cannot be compared."""
    if baseline["release"] != release:
        raise BenchError(
            f"the baseline was measured on kernel {baseline['release']}, this run on {release}: instruction counts of"
            " different kernels cannot be compared; accept a new baseline with this reason"
        )
    if baseline["figures"].keys() != measured.keys():
        raise BenchError(
            f"the figures differ: the baseline has {', '.join(baseline['figures'])}, this run has {', '.join(measured)}"
        )
    return [
        f"{name}: {measured[name]:g} instructions, {measured[name] / old - 1:+.1%} against the baseline's {old:g}"
        for name, old in baseline["figures"].items()
        if measured[name] > old * (1 + TOLERANCE)
    ]


def load(path: Path = FILE) -> dict[str, Any]:
    """The committed baseline. Raises `BenchError` if there is none."""
    if not path.exists():
        raise BenchError(f'there is no {path.name}: make one with make bench-guard ACCEPT="the reason"')
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def accept(measured: Mapping[str, float], release: str, date: str, reason: str, path: Path = FILE) -> None:
    """Store the measured figures as the baseline, with the reason for it."""
    if not reason.strip():
        raise BenchError("a new baseline needs a reason, but the given one is empty")
    content = {"release": release, "date": date, "reason": reason, "figures": dict(measured)}
    path.write_text(json.dumps(content, indent=1) + "\n")
