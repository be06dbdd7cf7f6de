# SPDX-License-Identifier: MIT
"""Runs pytest in a process of its own, and reads the outcomes of its tests."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from shirq_bench import supervisor
from shirq_bench.campaigns import reportlog
from shirq_bench.campaigns.reportlog import Outcome
from shirq_bench.errors import BenchError

#: How much of pytest's last output an error says.
_LAST = 2000


class UnendedError(BenchError):
    """Pytest has not ended in time."""


class NoTestError(BenchError):
    """Pytest ran no test: there is none, or its options leave all of them out."""


def run(top: Path, words: Sequence[str], deadline_s: float, said: Path | None = None) -> list[Outcome]:
    """Run pytest with these arguments in the folder ``top``; its output goes into the file ``said``.

    `UnendedError` if it has not ended in time, `NoTestError` if it ran no test, `BenchError` if it failed itself: all
    with its last output.
    """
    with tempfile.TemporaryDirectory(prefix="shirq-pytest-") as folder:
        report, output = Path(folder, "report.jsonl"), said or Path(folder, "said")
        argv = [sys.executable, "-m", "pytest", "-q", *words, *reportlog.options(report)]
        with (
            output.open("wb") as sink,
            supervisor.child(argv, cwd=top, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT) as process,
        ):
            try:
                process.wait(deadline_s)
                ended = True
            except subprocess.TimeoutExpired:
                ended = False
        last = f"its last output:\n{output.read_text(errors='replace')[-_LAST:]}"
        if not ended:
            raise UnendedError(f"pytest has not ended within {deadline_s:g} s; {last}")
        try:
            tests = reportlog.read(report)
        except BenchError as error:
            raise BenchError(f"{error}; {last}") from error
    if not tests:
        raise NoTestError(f"pytest ran no test with {' '.join(words)}; {last}")
    return tests
