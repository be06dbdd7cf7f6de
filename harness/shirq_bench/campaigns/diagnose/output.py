# SPDX-License-Identifier: MIT
"""Prints a diagnosis as text and as data, and writes the first hypothesis' case, picture and README into a folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from shirq_bench import pages
from shirq_bench.campaigns.diagnose import rank
from shirq_bench.campaigns.diagnose.hypothesis import Experiment
from shirq_bench.campaigns.diagnose.rank import Ranked, Says, Trial
from shirq_bench.campaigns.diagnose.reproduction import Reproduction
from shirq_bench.campaigns.diagnose.run import DRIVER, Run
from shirq_bench.campaigns.zoo import page
from shirq_bench.intake.report import Line
from shirq_bench.intake.symptoms import SYMPTOMS

FORMAT: Final = 1
CASE: Final = "case.toml"
PICTURE: Final = "timeline.html"
README: Final = "README.md"


@dataclass(frozen=True)
class Diagnosis:
    """A report's line, its symptoms, the ranking, and what tells the likeliest hypotheses apart."""

    line: Line
    symptoms: rank.Words
    ranked: tuple[Ranked, ...]
    #: Hypotheses that could not be played, each with the reason.
    failed: dict[str, str]
    experiments: tuple[Experiment, ...]

    @property
    def rivals(self) -> list[Ranked]:
        """The hypotheses that the report cannot tell from the first, which is among them."""
        return rank.rivals(self.ranked)

    def trials(self) -> tuple[list[Trial], list[str]]:
        """What to do on the machine to tell the rivals from the first, and the rivals that nothing tells."""
        return rank.trials(self.rivals, self.symptoms, self.experiments)

    @property
    def played(self) -> list[Ranked]:
        """The hypotheses that were played, the most likely first."""
        return [one for one in self.ranked if one.words is not None]

    @property
    def unplayed(self) -> list[Ranked]:
        """The hypotheses that the report contradicts, so that they were not played."""
        return [one for one in self.ranked if one.words is None]


def text(found: Diagnosis) -> Iterator[str]:
    """The lines of the diagnosis."""
    yield f"IRQ {found.line.irq} of the report:"
    for key, word in found.symptoms.items():
        if word:
            yield f"  {SYMPTOMS[key].words[word]}"
    if not any(found.symptoms.values()):
        yield "  no symptom is in these texts"
    for number, one in enumerate(found.played, 1):
        yield ""
        yield f"{number}. {one.hypothesis.id}: {one.hypothesis.title}"
        for says in (Says.FOR, Says.AGAINST):
            for evidence in one.of(says):
                yield f"   {says.value + ':':9}{evidence.what}"
        if unknown := one.of(Says.OPEN):
            yield f"   open:    {', '.join(evidence.key for evidence in unknown)}"
    if found.unplayed:
        yield ""
        yield "not played, since the report contradicts them:"
        for one in found.unplayed:
            yield f"  {one.hypothesis.id}: {'; '.join(each.what for each in one.of(Says.AGAINST))}"
    if found.failed:
        yield ""
        yield "could not be played, and are in no place of the ranking:"
        for name, why in found.failed.items():
            yield f"  {name}: {why}"
    yield from _apart(found)


def _apart(found: Diagnosis) -> Iterator[str]:
    trials, left = found.trials()
    others = [one.hypothesis.id for one in found.rivals[1:]]
    if not others:
        return
    yield ""
    yield f"the report contradicts these no more than {found.rivals[0].hypothesis.id}: {', '.join(others)}"
    for trial in trials:
        yield f"  {trial.do}"
        yield from (f"    {outcome}: {', '.join(names)}" for outcome, names in trial.outcomes.items())
    if left:
        yield f"  nothing known here tells it from: {', '.join(left)}"


def data(found: Diagnosis) -> dict[str, Any]:
    """The diagnosis as data that JSON can hold."""
    trials, left = found.trials()
    return {
        "format": FORMAT,
        "irq": found.line.irq,
        "symptoms": {key: word for key, word in found.symptoms.items() if word},
        "ranking": [
            {
                "hypothesis": one.hypothesis.id,
                "title": one.hypothesis.title,
                "remedy": one.hypothesis.remedy,
                **{says.value: {each.key: each.what for each in one.of(says)} for says in Says},
            }
            for one in found.played
        ],
        "not_played": {one.hypothesis.id: [each.what for each in one.of(Says.AGAINST)] for one in found.unplayed},
        "failed": found.failed,
        "rivals": [one.hypothesis.id for one in found.rivals],
        "experiments": [
            {"do": one.do, "cost": one.cost, "outcomes": {outcome: [*names] for outcome, names in one.outcomes.items()}}
            for one in trials
        ],
        "not_told_apart": left,
    }


def write(found: Diagnosis, first: Run, reproduction: Reproduction, folder: Path) -> list[Path]:
    """Write the case of the first hypothesis, the picture of its run, and a README; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    case, picture, readme = folder / CASE, folder / PICTURE, folder / README
    reproduction.save(first.hypothesis, case)
    picture.write_text(page.render(first.played.case, [first.played]), encoding="utf-8")
    trials, left = found.trials()
    readme.write_text(
        pages.render(
            __package__,
            "readme.md",
            found=found,
            first=found.played[0],
            lines=[*text(found)],
            trials=trials,
            left=left,
            reproduction=reproduction,
            driver=DRIVER,
            case=CASE,
            picture=PICTURE,
        ),
        encoding="utf-8",
    )
    return [case, picture, readme]
