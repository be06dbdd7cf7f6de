"""Finds splats, the kernel's own complaints, in a kernel log. What counts is data: splats-deny and splats-allow."""

from __future__ import annotations

import functools
import re
from pathlib import Path

_HERE = Path(__file__).parent


@functools.cache
def _patterns(name: str) -> re.Pattern[str]:
    lines = (_HERE / name).read_text().splitlines()
    wanted = [line for line in lines if line and not line.startswith("#")]
    return re.compile("|".join(f"(?:{line})" for line in wanted) or r"(?!)")


def scan(text: str) -> str:
    """The offending lines of a kernel log, each with the few lines that follow it; empty if there is none."""
    lines = text.splitlines()
    found: list[str] = []
    for number, line in enumerate(lines):
        if _patterns("splats-deny").search(line) and not _patterns("splats-allow").search(line):
            found += lines[number : number + 12] + ["..."]
    return "\n".join(found)
