# SPDX-License-Identifier: MIT
"""Reads the outcomes of a pytest run's tests from the report of pytest-reportlog."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shirq_bench.errors import BenchError

if TYPE_CHECKING:  # importing pytest would delay every command
    import pytest


def options(report: Path) -> tuple[str, ...]:
    """Options that make pytest write a report. They load the plugin: a project may have switched autoload off."""
    return ("-p", "pytest_reportlog", f"--report-log={report}")


@dataclass(frozen=True)
class Outcome:
    """The outcome of a test. ``message`` says why it did not pass; ``when`` is setup, call, teardown or collect."""

    id: str
    outcome: str
    when: str = "call"
    message: str = ""

    @property
    def name(self) -> str:
        """The test's name, without its file."""
        return self.id.partition("::")[2] or self.id


def read(report: Path) -> list[Outcome]:
    """The tests of a run, in the order of their beginning. `BenchError` if pytest did not finish."""
    lines = report.read_text().splitlines() if report.exists() else []
    if not any('"SessionFinish"' in line for line in lines):
        raise BenchError(f"pytest did not finish: its report {report} has no end of the session")
    tests: dict[str, Outcome] = {}
    for entry in map(json.loads, lines):
        kind, outcome = entry["$report_type"], entry.get("outcome")
        if kind != "TestReport" and (kind, outcome) != ("CollectReport", "failed"):
            continue
        name = entry["nodeid"]
        # A test has three reports. If one of them is not "passed", that one is the outcome.
        if outcome != "passed":
            tests[name] = Outcome(name, outcome, entry.get("when", "collect"), _message(entry))
        else:
            tests.setdefault(name, Outcome(name, outcome))
    return list(tests.values())


def reason(report: pytest.TestReport) -> str:
    """Why a test did not pass, as `read` says it of the same report."""
    crash = getattr(report.longrepr, "reprcrash", None)
    return _worded(report.when, report.outcome, crash.message if crash else str(report.longrepr))


def _message(entry: dict[str, Any]) -> str:
    match entry["longrepr"]:
        case {"reprcrash": {"message": str(message)}}:
            pass
        case [_, _, str(message)]:
            pass
        case other:
            message = str(other)
    return _worded(entry.get("when"), entry["outcome"], message)


def _worded(when: str | None, outcome: str, message: str) -> str:
    return f"failed on {when} with {message}" if when in ("setup", "teardown") and outcome == "failed" else message
