# SPDX-License-Identifier: MIT
"""Diagnoses a report: plays the hypotheses that it allows, and ranks them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from shirq_bench.campaigns.diagnose import hypothesis, output, rank, reproduction
from shirq_bench.campaigns.diagnose import run as runs
from shirq_bench.campaigns.diagnose.hypothesis import Hypothesis
from shirq_bench.campaigns.diagnose.output import Diagnosis
from shirq_bench.errors import BenchError
from shirq_bench.intake import symptoms
from shirq_bench.intake.report import Report

#: The folder of the guests' artefacts, in the folder of a diagnosis.
RUNS: Final = "runs"


class NoLine(BenchError):
    """A report has no interrupt line that could be diagnosed."""


def diagnose(
    report: Report,
    folder: Path,
    kernel: str,
    hypotheses: Sequence[Hypothesis],
    play_all: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> tuple[Diagnosis, list[Path]]:
    """Play the hypotheses that `rank.worth` names, rank all, and write the first one's case, picture and README.

    With ``play_all``, all are played. ``tell`` gets a line at the beginning and after each run. A hypothesis that
    cannot be played is in `Diagnosis.failed`. Returns the diagnosis and the files. `NoLine` if the report has no line,
    or excludes every hypothesis.
    """
    line = symptoms.focus(report)
    if line is None:
        raise NoLine(
            "the texts have no interrupt line with a function on it: add /proc/interrupts, or the kernel's message"
        )
    words, signs = symptoms.of_report(report, line), symptoms.signs_of(report, line)
    guest = reproduction.make(report, line)
    expected = [rank.expect(one, words, signs) for one in hypotheses]
    chosen = [one.hypothesis for one in rank.order(expected)] if play_all else rank.worth(expected)
    if not chosen:
        raise NoLine(f"the report excludes every hypothesis: {', '.join(one.id for one in hypotheses)}")
    ranked = [one for one in expected if one.hypothesis not in chosen]
    tell(f"IRQ {line.irq} is GSI {reproduction.IRQ} of the guest; {len(chosen)} hypotheses are played")
    done: dict[str, runs.Run] = {}
    failed: dict[str, str] = {}
    for number, one in enumerate(chosen, 1):
        began = time.monotonic()
        try:
            done[one.id] = runs.run(one, guest, kernel, folder / RUNS / one.id)
        except BenchError as error:
            failed[one.id] = str(error)
            tell(f"{number} of {len(chosen)}: {one.id} could not be played: {error}")
            continue
        ranked.append(rank.judge(one, done[one.id].symptoms, words, signs))
        tell(f"{number} of {len(chosen)}: {one.id}, {time.monotonic() - began:.0f} s")
    if not done:
        raise BenchError("no hypothesis could be played:\n" + "\n".join(f"{n}: {why}" for n, why in failed.items()))
    found = Diagnosis(line, words, tuple(rank.order(ranked)), failed, hypothesis.experiments())
    return found, output.write(found, done[found.played[0].hypothesis.id], guest, folder)
