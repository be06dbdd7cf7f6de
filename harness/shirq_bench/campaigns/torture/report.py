# SPDX-License-Identifier: MIT
"""Adds the result of each test on each kernel to build/reports/torture.json, and makes docs/reliability.md of it."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from shirq_bench import pages
from shirq_bench.campaigns.torture import case
from shirq_bench.campaigns.torture.run import Result, merged
from shirq_bench.errors import BenchError
from shirq_bench.paths import BUILD
from shirq_bench.vm import environment

FILE = BUILD / "reports" / "torture.json"
#: Maximum number of failure messages in the report; its counts include all failures.
_MOST_SAID = 20


def entry(result: Result, date: str) -> dict[str, Any]:
    """A result as an entry of torture.json."""
    return {
        "test": result.test,
        "kernel": result.kernel,
        "release": result.release,
        "date": date,
        "seed": result.seed,
        "wanted": result.wanted,
        "attempts": result.attempts,
        "failures": len(result.failures),
        "splats": len(result.splats),
        "lost_interrupts": len(result.lost),
        "choices": result.choices,
        "seconds": round(result.seconds),
        "figures": result.figures,
        "said": [*result.failures, *result.splats, *result.lost][:_MOST_SAID],
    }


def add(result: Result) -> None:
    """Add a result to the report; it replaces an earlier result of the same test, kernel, seed and size."""
    entries = _entries()
    new = entry(result, time.strftime("%Y-%m-%d")) | {"environment": environment.head([result.kernel])}
    key = ("test", "kernel", "seed", "wanted")
    entries = [old for old in entries if any(old[k] != new[k] for k in key)] + [new]
    FILE.parent.mkdir(parents=True, exist_ok=True)
    new_file = FILE.with_suffix(".new")
    new_file.write_text(json.dumps({"tests": entries}, indent=1) + "\n")
    new_file.replace(FILE)


def _entries() -> list[dict[str, Any]]:
    tests: list[dict[str, Any]] = json.loads(FILE.read_text())["tests"] if FILE.exists() else []
    return tests


def document(path: Path) -> None:
    """Write the page about reliability, with the figures of the report. `BenchError` if there is no report."""
    entries = _entries()
    if not entries:
        raise BenchError(f"{FILE} has no figures yet: run `make torture` first")
    path.write_text(pages.render(__package__, "document.md", rows=_rows(entries)))


def table(entries: Sequence[dict[str, Any]]) -> str:
    """The report as a table in Markdown, in the order of the tests; all seeds of a test on a kernel form one line."""
    return pages.render(__package__, "table.md", rows=_rows(entries))


def _rows(entries: Sequence[dict[str, Any]]) -> Iterator[list[str]]:
    titles = {name: each.title for name, each in case.load().items()}
    places: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for entry in entries:
        places[entry["test"], entry["kernel"]].append(entry)
    known = list(titles)
    for (test, kernel), runs in sorted(places.items(), key=lambda item: (known.index(item[0][0]), item[0][1])):
        counts = [f"{sum(run[key] for run in runs):,}" for key in ("attempts", "failures", "splats", "lost_interrupts")]
        figures: dict[str, int] = {}
        for run in runs:
            figures = merged(figures, run["figures"])
        seeds = ", ".join(str(run["seed"]) for run in runs)
        measured = ", ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in figures.items())
        place = f"{kernel} ({runs[-1]['release']})"
        yield [f"`{test}`", titles[test], place, *counts, seeds, max(run["date"] for run in runs), measured]
