"""build/reports/torture.json: what each test showed on each kernel, added to what is there."""

from __future__ import annotations

import json
import time
from typing import Any

from shirq_bench.paths import BUILD
from shirq_bench.torture.run import Result

FILE = BUILD / "reports" / "torture.json"
#: Words kept of what went wrong; the counts are of all.
_MOST_SAID = 20


def entry(result: Result, date: str) -> dict[str, Any]:
    """A test in torture.json."""
    return {
        "test": result.test,
        "kernel": result.kernel,
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
    """Put a result in the place of an earlier one of the same test, kernel and seed."""
    entries = json.loads(FILE.read_text())["tests"] if FILE.exists() else []
    new = entry(result, time.strftime("%Y-%m-%d"))
    key = ("test", "kernel", "seed")
    entries = [old for old in entries if any(old[k] != new[k] for k in key)] + [new]
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(json.dumps({"tests": entries}, indent=1) + "\n")
