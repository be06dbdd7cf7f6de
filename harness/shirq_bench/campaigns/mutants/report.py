# SPDX-License-Identifier: MIT
"""Writes the results of a mutation run: figures as JSON, and a table as Markdown."""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shirq_bench.campaigns.mutants.mutant import Mutant
from shirq_bench.campaigns.mutants.trial import KILLED, SURVIVED, Verdict
from shirq_bench.paths import BUILD

REPORT = BUILD / "reports" / "mutants.json"
#: Below the checkout.
DOCUMENT = Path("docs/mutants.md")


def data(verdicts: Sequence[Verdict], kernel: str, size: str, known: Sequence[Mutant]) -> dict[str, Any]:
    """The report's content. ``total`` counts all mutants tried, including those argued to be equivalent.

    ``known`` are all mutants that there are.
    """
    tried = {v.mutant.name for v in verdicts}
    survivors = [v for v in verdicts if v.verdict == SURVIVED]
    return {
        "date": datetime.date.today().isoformat(),
        "kernel": kernel,
        "size": size,
        "total": len(verdicts),
        "killed": sum(v.verdict == KILLED for v in verdicts),
        "sweep_only": sum(v.swept for v in verdicts),
        "equivalent": [v.mutant.name for v in survivors if v.mutant.equivalent],
        "survivors": [v.mutant.name for v in survivors if not v.mutant.equivalent],
        "mistakes": [v.mutant.name for v in verdicts if v.verdict not in (KILLED, SURVIVED)],
        "untried": [one.name for one in known if one.name not in tried],
        "seconds": round(sum(v.seconds for v in verdicts)),
        "mutants": [
            {
                "name": v.mutant.name,
                "title": v.mutant.title,
                "files": v.mutant.files,
                "verdict": v.verdict,
                "by": v.by,
                "by_sweep": v.swept,
                "ordinary_tests_passed": v.passed,
                "detail": v.detail,
                "equivalent": v.mutant.equivalent,
                "seconds": round(v.seconds, 1),
            }
            for v in verdicts
        ],
    }


def write(content: dict[str, Any], path: Path | None = None) -> None:
    """Write it as JSON, to ``REPORT`` unless another ``path`` is given."""
    path = path or REPORT
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")


def summary(content: dict[str, Any]) -> str:
    """The figures in one line."""
    line = f"{content['total']} mutants: {content['killed']} killed, {content['sweep_only']} of them by"
    line += f" sweeps alone; {len(content['equivalent'])} equivalent, {len(content['survivors'])} survivors"
    if content["mistakes"]:
        line += f", {len(content['mistakes'])} mistaken"
    if content["untried"]:
        line += f"; {len(content['untried'])} others were not tried"
    return line


_HEAD = """\
# Mutants

Small bugs, put one at a time into a copy of the module, the binding or the reference drivers, and the test that noticed
each: `make mutants`. They are the patches in `tests/mutants/`, whose heads say which tests touch what they break. The
tests must pass without the mutant; a survivor is a test that is missing.
"""

_VCPUS = """
## Several vCPUs

A sweep has one vCPU and puts a stimulus before each instruction of a window: what it finds it finds every time, and
what it passes is proven for these moments. But on one vCPU nothing runs beside the kernel's critical sections, and no
sweep says anything about what would. Three other means do, and none of them is as good:

- lockdep, on the kernel `debug`, objects to a lock that is missing or taken with interrupts enabled at its first use,
  whatever the moment; it sees no more than the locks that the code claims to hold;
- the ordinary tests run with two vCPUs. Where two vCPUs meet there is up to the host's scheduler, so it is random: a
  run that fails proves a bug, a run that passes proves nothing, and no seed brings it back;
- reading.

So there are bugs that nothing here is sure to find, and they are not in the set, since a mutant that dies by chance
says nothing of the tests. One that was tried: to wake the waiters before the event is in the queue. On one vCPU the
waiter looks when both are done. On two it may look in between, without the lock, and sleep on.
"""


def document(content: dict[str, Any]) -> str:
    """The results as a Markdown table."""
    killed = [m for m in content["mutants"] if m["verdict"] == KILLED]
    arguments = [m for m in content["mutants"] if m["verdict"] == SURVIVED and m["equivalent"]]
    lines = [
        _HEAD,
        f"Run on {content['date']} with kernel {content['kernel']}: {summary(content)}.",
        "",
        "## Found by tests",
        "",
        *("| mutant | the bug | the test |", "|---|---|---|", *(_row(m) for m in killed if not m["by_sweep"])),
        "",
        "## Found by sweeps alone",
        "",
        "The ordinary tests that touch the same code pass; the scenario of `shirq sweep` finds the moment.",
        "",
        *(
            "| mutant | the bug | tests that pass | scenario: what happened, and when |",
            "|---|---|---|---|",
            *(_row(m) for m in killed if m["by_sweep"]),
        ),
        _VCPUS.rstrip(),
    ]
    if arguments:
        lines += ["", "## Equivalent", "", *(f"- `{m['name']}`: {m['title']}. {m['equivalent']}" for m in arguments)]
    if content["untried"]:
        untried = ", ".join(f"`{name}`" for name in content["untried"])
        lines += ["", "## Not tried in this run", "", f"Nothing is said here of {untried}."]
    if content["survivors"]:
        lines += ["", "## Survivors", "", *(f"- `{name}`" for name in content["survivors"])]
    return "\n".join(lines) + "\n"


def _row(mutant: dict[str, Any]) -> str:
    by = f"`{mutant['by']}`"
    cells = [f"`{mutant['name']}`", mutant["title"], by]
    if mutant["by_sweep"]:
        cells[2:] = [str(mutant["ordinary_tests_passed"]), f"{by}: {mutant['detail']}"]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
