# SPDX-License-Identifier: MIT
"""Runs a set of guest tests on one kernel after another: `shirq matrix`, and docs/matrix.md."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shirq_bench import pages
from shirq_bench.campaigns import pytests
from shirq_bench.campaigns.reportlog import Outcome
from shirq_bench.errors import BenchError
from shirq_bench.provision import kernel
from shirq_bench.replay.failure import first_line

#: The sets of tests, as options of pytest; the second one runs for as long as an hour on a kernel.
SETS: Mapping[str, tuple[str, ...]] = {"smoke": ("-m", "smoke"), "guest": ("-m", "not long")}
#: Seconds for one kernel.
_DEADLINE = 4 * 3600.0


def measure(top: Path, name: str, chosen: str) -> dict[str, Any]:
    """Run a set of `SETS` in a checkout on the kernel of that name.

    Returns the kernel's ``release`` and words about its build (``version``), the ``set``, the numbers of tests that
    ``passed`` and were ``skipped``, the ``failed`` ones with the reason, and ``seconds``. A run that did not end, or
    ran no test, has a failure called ``pytest``.
    """
    began = time.monotonic()
    made = kernel.get(name)
    try:
        tests = pytests.run(top, ["tests/guest", *SETS[chosen], "--shirq-kernel", name], _DEADLINE)
        found = _counted(tests)
    except BenchError as error:
        found = {"passed": 0, "skipped": 0, "failed": {"pytest": str(error)}}
    seconds = round(time.monotonic() - began)
    return {"release": made.release, "version": made.version, "set": chosen, **found, "seconds": seconds}


def _counted(tests: Sequence[Outcome]) -> dict[str, Any]:
    count = {outcome: sum(test.outcome == outcome for test in tests) for outcome in ("passed", "skipped")}
    if count["skipped"] == len(tests):
        raise BenchError(f"all {len(tests)} tests were skipped")
    return {**count, "failed": {test.name: test.message for test in tests if test.outcome == "failed"}}


def document(report: Mapping[str, Any], known: Sequence[str]) -> str:
    """docs/matrix.md, from the report: a row for each kernel of ``known``, measured or not."""
    rows = [
        "| kernel | release | tests | passed | failed | skipped | date |",
        "|---|---|---|---:|---:|---:|---|",
    ]
    failures: list[str] = []
    for name in known:
        found = report["kernels"].get(name)
        if not found:
            rows.append(f"| `{name}` | - | not run | - | - | - | - |")
            continue
        cells = (found["release"], found["set"], found["passed"], len(found["failed"]), found["skipped"], found["date"])
        rows.append(f"| `{name}` | {' | '.join(map(str, cells))} |")
        failures += [f"- `{name}`: `{test}`: {_markdown(first_line(why))}" for test, why in found["failed"].items()]
    return "\n".join([_HEAD, *rows, *(["", "Failed:", "", *failures] if failures else []), ""])


def _markdown(text: str) -> str:
    return pages.cell(text).replace("`", "'").replace("<", "&lt;")


_HEAD = """\
# Kernels

`make matrix` runs the tests that every kernel must pass on each kernel of Debian, one after another, and writes this
page. `guest/kernels.toml` has the kernels as data; a kernel that you have built needs no entry: name its vmlinuz, as in
`shirq matrix --kernel path/to/vmlinuz`. `shirq matrix --set guest` runs all guest tests that do not take long.
"""
