# SPDX-License-Identifier: MIT
"""Writes the results of a mutation run: figures as JSON, and a table as Markdown."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shirq_bench import pages
from shirq_bench.campaigns.mutants.mutant import Mutant
from shirq_bench.campaigns.mutants.trial import KILLED, SURVIVED, Verdict
from shirq_bench.paths import BUILD
from shirq_bench.vm import environment

REPORT = BUILD / "reports" / "mutants.json"
#: The last measurement of explanations.
EXPLAINED = BUILD / "reports" / "explained.json"
#: Relative to the checkout.
DOCUMENT = Path("docs/mutants.md")


def data(verdicts: Sequence[Verdict], kernel: str, size: str, known: Sequence[Mutant]) -> dict[str, Any]:
    """The report's content. ``total`` counts all mutants tried, including those that are declared equivalent.

    ``known`` are all mutants of the checkout, tried or not.
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
    """Write the content as JSON, with the exact versions of the guests' parts, to ``REPORT`` or another ``path``."""
    environment.write_report(path or REPORT, content, [content["kernel"]])


def summary(content: dict[str, Any]) -> str:
    """The figures in one line."""
    line = f"{content['total']} mutants: {content['killed']} killed, {content['sweep_only']} of them by"
    line += f" sweeps only; {len(content['equivalent'])} equivalent, {len(content['survivors'])} survivors"
    if content["mistakes"]:
        line += f", {len(content['mistakes'])} invalid"
    if content["untried"]:
        line += f"; {len(content['untried'])} others were not tried"
    return line


def document(content: dict[str, Any], explained: dict[str, Any] | None = None) -> str:
    """The results as a Markdown table, with the last measurement of explanations, if there is one."""
    killed = [m for m in content["mutants"] if m["verdict"] == KILLED]
    arguments = [m for m in content["mutants"] if m["verdict"] == SURVIVED and m["equivalent"]]
    text = pages.render(
        __package__, "document.md", run=content, summary=summary(content), killed=killed, arguments=arguments
    )
    return with_explained(text, explained) if explained else text


def with_explained(text: str, content: dict[str, Any]) -> str:
    """The document with this measurement of explanations, in place of an earlier one."""
    section = pages.render(__package__, "explained.md", run=content)
    head = section.partition("\n")[0]
    kept = re.sub(rf"^{re.escape(head)}\n.*?(?=^## |\Z)", "", text, flags=re.MULTILINE | re.DOTALL)
    return kept.rstrip() + "\n\n" + section
