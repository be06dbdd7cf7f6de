# SPDX-License-Identifier: MIT
"""Reads listings of /sys/kernel/irq, as grep, head and tail print them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from shirq_bench.intake.facts import Facts, Route
from shirq_bench.intake.text import At, TextLine

_KEYS = "actions|chip_name|hwirq|name|per_cpu_count|type|wakeup"
_FILE = rf"(?P<folder>/?sys/kernel/irq/|\./)?(?P<irq>0|[1-9]\d{{0,8}})/(?P<key>{_KEYS})"
#: grep . /sys/kernel/irq/*/*
_GREP = re.compile(rf"\s*{_FILE}:(?P<value>.*)$")
#: head /sys/kernel/irq/*/* and tail: the value is in the next line.
_TITLE = re.compile(rf"\s*==> {_FILE} <==\s*$")


def find(lines: Sequence[TextLine], facts: Facts) -> None:
    """Add the lines that a listing of /sys/kernel/irq has."""
    found: dict[int, dict[str, str]] = {}
    places: dict[int, At] = {}

    sure: set[int] = set()

    def note(match: re.Match[str], value: str, at: At) -> None:
        irq = int(match["irq"])
        found.setdefault(irq, {})[match["key"]] = value.strip()
        places.setdefault(irq, at)
        if "sys" in (match["folder"] or ""):
            sure.add(irq)

    for place, line in enumerate(lines):
        if match := _GREP.match(line.text):
            note(match, match["value"], line.at)
        elif match := _TITLE.match(line.text):
            behind = lines[place + 1].text if place + 1 < len(lines) else ""
            if not behind.lstrip().startswith("==>"):
                note(match, behind, line.at)
    for irq, values in found.items():
        if irq not in sure and len(values) < 2:  # without its folder, one file's name may be something else
            continue
        facts.routes.append(_route(irq, values, places[irq]))


def _route(irq: int, values: dict[str, str], at: At) -> Route:
    counts = values.get("per_cpu_count", "")
    whole = re.fullmatch(r"\d+(?:,\d+)*", counts)
    hwirq = values.get("hwirq", "")
    trigger = values.get("type", "")
    flow = values.get("name", "").rpartition("-")[2]
    return Route(
        irq,
        at,
        hwirq=int(hwirq) if hwirq.isdecimal() else None,
        trigger=trigger if trigger in ("level", "edge") else {"fasteoi": "level"}.get(flow),
        message=True,
        chip=values.get("chip_name") or None,
        names=tuple(name for part in values["actions"].split(",") if (name := part.strip()))
        if "actions" in values
        else None,
        total=sum(map(int, counts.split(","))) if whole else None,
    )
