# SPDX-License-Identifier: MIT
"""Writes the results of a sweep: its figures, and for each violation a replayable file with a picture."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from shirq_bench.campaigns import twins
from shirq_bench.campaigns.sweep.run import Failure, Result
from shirq_bench.channels.log import Kind, read_log
from shirq_bench.errors import BenchError
from shirq_bench.observe import judge
from shirq_bench.observe.judge import BrokenRuleError
from shirq_bench.paths import BUILD
from shirq_bench.replay import failure, stopped
from shirq_bench.replay.case import Case, Finding, finding, shrink
from shirq_bench.replay.failure import OfSweep
from shirq_bench.replay.oracle import Violation
from shirq_bench.report import files, model
from shirq_bench.vm import environment
from shirq_bench.vm.machine import GSI

REPORT = BUILD / "reports" / "sweep.json"
FINDINGS = BUILD / "sweep"
#: The folder of the passing twin, in that of a finding.
PASSED = "passed"
#: Rules that a guest breaks in which something stands still.
_UNFINISHED = {"lost", "unfinished"}
#: Maximum number of violations per scenario that are shrunk and drawn: one bug causes many violations.
MOST = 3


def explain(failure: Failure, tell: Callable[[str], None] = lambda _: None) -> Finding:
    """Shrink a failure and say where the guest was when its last stimulus came.

    Of several vCPUs, the position is the first one's; those of the others, and all positions at the end of a run in
    which something was not finished, have names of their own.
    """
    rules = {violation.rule for violation in failure.outcome.violations[failure.index] or failure.outcome.health}
    case = shrink(failure.case, failure.index, rules, tell)
    found = finding(case, case.run())
    with stopped.stopped(case, case.last_ns) as vm:
        first, *others = stopped.look(vm)
    where = first.as_data() | {f"vCPU {number}": str(each) for number, each in enumerate(others, 1)}
    if others and _UNFINISHED & rules:
        with stopped.stopped(case, case.cuts[-1]) as vm:
            where |= {f"vCPU {number} at the end": str(each) for number, each in enumerate(stopped.look(vm))}
    return replace(found, where=where)


def keep(found: Finding, name: str, directory: Path = FINDINGS) -> Path:
    """Write a finding, and the pictures of its run, below ``directory``; returns its file."""
    place = directory / name
    shutil.rmtree(place, ignore_errors=True)
    file = place / OfSweep().finding
    found.save(file)
    outcome = twins.record(found.case, place)
    draw(found.case, place)
    failure.record(place, f"{name}: {found.case.title}", said(outcome.all()), OfSweep(), {"": found.case.machine})
    _explain(found, place)
    return file


def _explain(found: Finding, place: Path) -> None:
    """Explain a finding by the nearest moment at which the same stimulus breaks nothing, if there is one."""
    if passing := twins.passing(found.case):
        case, name = passing
        twins.record(case, place / PASSED)
        twins.write(place, place / PASSED, (found.case.title, name), found.what)
    else:
        (place / twins.TEXT).write_text("There is no explanation: the stimulus breaks a rule at every moment nearby.\n")


def said(violations: Sequence[Violation]) -> list[str]:
    """Violations as a failure has them: the rule, then what broke it."""
    return list(dict.fromkeys(f"{violation.rule}: {violation.what}" for violation in violations))


def draw(case: Case, place: Path) -> None:
    """Draw the log that a run left in ``place``, from the run's beginning on."""
    log = read_log(place)
    begin = next((n for n, entry in enumerate(log.entries) if entry.kind is Kind.SCHEDULED), 0)
    cut = log.since(begin)
    try:
        gsi = judge.line_of(cut, case.devices[:1])
    except (BenchError, BrokenRuleError):
        # The pin may not have moved, so that the log does not show its line. All sweeps use the same slots and line.
        gsi = GSI
    files.save(model.build(cut, title=case.title, gsi=gsi), place)


@dataclass(frozen=True)
class Unswept:
    """A scenario whose sweep did not finish. ``fails_alone`` is true if the cause is that the scenario `FailsAlone`."""

    name: str
    kernel: str
    error: str
    fails_alone: bool


def data(
    results: Sequence[Result],
    kept: Sequence[Path],
    errors: Sequence[Unswept] = (),
    replays_identical: bool | None = None,
) -> dict[str, Any]:
    """The report's content. ``points_per_minute`` counts only the time of the runs, on one core."""
    points = sum(result.points for result in results)
    # Leave out scenarios that need a new process or device for each point.
    quick = [result for result in results if not result.mortal]
    seconds = sum(result.seconds for result in quick)
    return {
        "date": datetime.date.today().isoformat(),
        "kernels": sorted({result.kernel for result in results}),
        "scenarios": [
            {
                "name": result.scenario,
                "kernel": result.kernel,
                "window": result.shape.window_ns,
                "points": result.points,
                "runs": result.runs,
                "instructions": len(result.places),
                "violations": len(result.failures),
                "a_process_a_point": result.mortal,
                "points_per_minute": round(60 * result.points / result.seconds) if result.seconds else 0,
            }
            for result in results
        ],
        "errors": [asdict(one) for one in errors],
        "points": points,
        "points_per_minute": round(60 * sum(r.points for r in quick) / seconds) if seconds else 0,
        "violations": sum(len(result.failures) for result in results),
        "findings": [str(file) for file in kept],
        "replays_identical": replays_identical,
    }


def write(content: dict[str, Any]) -> None:
    """Write `REPORT`, with the exact versions of the guests' parts."""
    environment.write_report(REPORT, content, content["kernels"])
