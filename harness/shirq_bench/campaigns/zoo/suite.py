# SPDX-License-Identifier: MIT
"""Plays many cases, and writes build/reports/zoo.json and zoo.html: the matrix of cases and drivers."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from shirq_bench.campaigns.zoo import page
from shirq_bench.campaigns.zoo.case import DRIVERS, Case
from shirq_bench.campaigns.zoo.run import Played, play
from shirq_bench.channels.log import Log
from shirq_bench.errors import BenchError
from shirq_bench.paths import BUILD
from shirq_bench.vm import environment

REPORTS = BUILD / "reports"


def kernel_for(case: Case, wanted: str) -> str:
    """The kernel to play a case on: ``wanted`` if it can show the bug, else the first kernel that the case names."""
    return wanted if not case.kernels or wanted in case.kernels else case.kernels[0]


def reproduced(case: Case, played: Iterable[Played]) -> bool:
    """Whether a driver under test showed the symptom."""
    return any(each.result.outcome in case.shows for each in played)


def reproducible(case: Case) -> bool:
    """Whether the case expects a driver to show the symptom. Some bugs were below all drivers, and are fixed."""
    return any(outcome in case.shows for outcome in case.expected.values())


def describe(case: Case, played: Sequence[Played]) -> dict[str, Any]:
    """A case as an entry of zoo.json."""
    return {
        "id": case.id,
        "title": case.title,
        "kernel": played[0].kernel,
        "reproduced": reproduced(case, played),
        "shows": list(case.shows),
        "outcomes": {
            each.driver: {
                "outcome": each.result.outcome,
                "expected": each.case.expected[each.driver],
                "figures": each.result.figures,
                "complaints": list(each.result.complaints),
                "unmet": list(each.unmet),
                "argued": case.argued.get(each.driver, ""),
            }
            for each in played
        },
    }


def play_all(
    chosen: Sequence[Case], kernel: str, report: Callable[[Sequence[Sequence[Played]]], None] = lambda played: None
) -> tuple[list[list[Played]], list[str]]:
    """Play the cases with every driver, with progress on standard output. Only failures are kept, below build/zoo.

    Returns the cases that were played with every driver, and the errors of the others. ``report`` is called with the
    cases played so far after each case, because all of them take long.
    """
    done, errors = [], []
    for number, case in enumerate(chosen, 1):
        played = []
        print(f"[{number}/{len(chosen)}] {case.id}", flush=True)
        for driver in DRIVERS:
            try:
                each = _without_log(play(case, driver, kernel_for(case, kernel)))
            except (BenchError, OSError) as error:
                errors.append(str(error) if isinstance(error, BenchError) else f"{case.id}, {driver}: {error}")
                print(f"    {driver:16} ERROR {error}", flush=True)
                continue
            note = "" if each.result.outcome is case.expected[driver] else f"   EXPECTED {case.expected[driver]}"
            unmet = [f"UNMET: {what}" for what in each.unmet]
            print("\n        ".join([f"    {driver:16} {each.result.outcome}{note}", *unmet]), flush=True)
            played.append(each)
        if len(played) == len(DRIVERS):
            print(f"    {'reproduced' if reproduced(case, played) else 'not reproduced'}", flush=True)
            done.append(played)
        report(done)
    return done, errors


def _without_log(played: Played) -> Played:
    """Drop the log: a storm's log takes hundreds of megabytes in memory."""
    return dataclasses.replace(played, log=Log(played.log.header, ()))


def write(played: Sequence[Sequence[Played]], directory: Path = REPORTS, document: Path | None = None) -> None:
    """Write zoo.json and zoo.html, and the document if one is requested."""
    cases = [describe(each[0].case, each) for each in played]
    kernels = sorted({each[0].kernel for each in played})
    content = {"date": time.strftime("%Y-%m-%d"), "cases": cases}
    report = environment.write_report(directory / "zoo.json", content, kernels)
    known = {each[0].case.id: each[0].case for each in played}
    (directory / "zoo.html").write_text(page.matrix(report, known))
    if document:
        document.write_text(page.document(report, known))
