# SPDX-License-Identifier: MIT
"""Ranks hypotheses by a report's symptoms, and finds the experiments that tell them apart.

A symptom speaks for a hypothesis if the report and the run show the same, against it if they show different things, and
is open if either does not show it. Fewer symptoms against come first, then more for it, then the more usual cause.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from shirq_bench.campaigns.diagnose.hypothesis import Experiment, Hypothesis
from shirq_bench.intake.symptoms import SIGNS, SYMPTOMS

Words = Mapping[str, str | None]
#: At least so many hypotheses are played, if the machine can have them.
LEAST: Final = 3


class Says(enum.StrEnum):
    """The verdict of one symptom or sign about a hypothesis."""

    FOR = "for"
    AGAINST = "against"
    OPEN = "open"


@dataclass(frozen=True)
class Evidence:
    """A symptom or sign, its verdict, and the reason as a sentence."""

    key: str
    says: Says
    what: str


@dataclass(frozen=True)
class Ranked:
    """A hypothesis with its evidence. ``words`` are the symptoms of its run; None: it was not played."""

    hypothesis: Hypothesis
    evidence: tuple[Evidence, ...]
    words: Words | None

    def of(self, says: Says) -> list[Evidence]:
        """The evidence with this verdict."""
        return [one for one in self.evidence if one.says is says]

    @property
    def key(self) -> tuple[bool, int, int, int, str]:
        """The order of hypotheses."""
        against, support = len(self.of(Says.AGAINST)), len(self.of(Says.FOR))
        return (self.words is None, against, -support, self.hypothesis.usual, self.hypothesis.id)


@dataclass(frozen=True)
class Trial:
    """Something to do on the machine, and which of the hypotheses each outcome would mean."""

    do: str
    cost: int
    outcomes: Mapping[str, tuple[str, ...]]

    def told_from(self, hypothesis: str) -> set[str]:
        """The hypotheses under which the outcome is another one."""
        others = {name for names in self.outcomes.values() if hypothesis not in names for name in names}
        return others if any(hypothesis in names for names in self.outcomes.values()) else set()


def expect(hypothesis: Hypothesis, report: Words, signs: Mapping[str, bool | None]) -> Ranked:
    """Compare the symptoms that a hypothesis' run must show with a report's, without a run."""
    evidence = [_of_sign(key, signs[key]) for key in hypothesis.needs]
    evidence += [_of_symptom(key, report[key], word) for key, word in hypothesis.symptoms.items()]
    return Ranked(hypothesis, tuple(evidence), None)


def judge(hypothesis: Hypothesis, words: Words, report: Words, signs: Mapping[str, bool | None]) -> Ranked:
    """Compare the symptoms that a hypothesis' run has shown with a report's."""
    evidence = [_of_sign(key, signs[key]) for key in hypothesis.needs]
    evidence += [_of_symptom(key, report[key], words[key]) for key in SYMPTOMS]
    return Ranked(hypothesis, tuple(evidence), words)


def worth(expected: Iterable[Ranked]) -> list[Hypothesis]:
    """The hypotheses to play: those that the report does not contradict, and the next ones up to `LEAST`.

    A hypothesis without which the machine cannot be what the report says is not among them.
    """
    able = [one for one in order(expected) if not any(each.key in SIGNS for each in one.of(Says.AGAINST))]
    return [one.hypothesis for n, one in enumerate(able) if n < LEAST or not one.of(Says.AGAINST)]


def order(ranked: Iterable[Ranked]) -> list[Ranked]:
    """The most likely first; those that were not played last."""
    return sorted(ranked, key=lambda one: one.key)


def rivals(ranked: Sequence[Ranked]) -> list[Ranked]:
    """The first hypothesis and those that the report contradicts no more than it."""
    least = len(ranked[0].of(Says.AGAINST))
    return [one for one in ranked if one.words is not None and len(one.of(Says.AGAINST)) == least]


def trials(rivals: Sequence[Ranked], report: Words, experiments: Sequence[Experiment]) -> tuple[list[Trial], list[str]]:
    """The cheapest things to do that tell the first of several hypotheses from the others, and those not told.

    A symptom that the report lacks tells hypotheses apart by what their runs show.
    """
    first, left = rivals[0].hypothesis.id, {one.hypothesis.id for one in rivals[1:]}
    able = [*_able(rivals, report, experiments)]
    chosen: list[Trial] = []
    while useful := [one for one in able if one.told_from(first) & left]:
        chosen.append(min(useful, key=lambda one: (one.cost, -len(one.told_from(first) & left))))
        left -= chosen[-1].told_from(first)
    return chosen, sorted(left)


def _able(rivals: Sequence[Ranked], report: Words, experiments: Sequence[Experiment]) -> Iterable[Trial]:
    for key, symptom in SYMPTOMS.items():
        if report[key] is None and symptom.observable:
            yield _trial(symptom.command, symptom.cost, {
                one.hypothesis.id: symptom.words[word] for one in rivals if one.words and (word := one.words[key])
            })  # fmt: skip
    names = [one.hypothesis.id for one in rivals]
    for experiment in experiments:
        yield _trial(
            experiment.do, experiment.cost, {n: experiment.outcomes[n] for n in names if n in experiment.outcomes}
        )


def _trial(do: str, cost: int, outcomes: Mapping[str, str]) -> Trial:
    by_outcome: dict[str, tuple[str, ...]] = {}
    for name, outcome in outcomes.items():
        by_outcome[outcome] = (*by_outcome.get(outcome, ()), name)
    return Trial(do, cost, by_outcome)


def _of_sign(key: str, known: bool | None) -> Evidence:
    says = Says.OPEN if known is None else Says.FOR if known else Says.AGAINST
    text = SIGNS[key].question
    return Evidence(key, says, {Says.OPEN: f"whether {text}", Says.FOR: text, Says.AGAINST: f"not so: {text}"}[says])


def _of_symptom(key: str, report: str | None, run: str | None) -> Evidence:
    symptom = SYMPTOMS[key]
    if report is None or run is None:
        return Evidence(key, Says.OPEN, symptom.question)
    if report == run:
        return Evidence(key, Says.FOR, symptom.words[report])
    return Evidence(key, Says.AGAINST, f"{symptom.words[report]}; under this hypothesis, {symptom.words[run]}")
