# SPDX-License-Identifier: MIT
"""A hypothesis about a line: the fault as steps of a case, and the symptoms that its run must show.

The hypotheses are hypotheses/ID.toml:

title = "..."                   # one line: what is wrong
cause = "..."                   # a sentence or two: why that gives the symptoms
remedy = "..."                  # what helps
usual = 1                       # how usual the cause is, 1 first: decides if hypotheses explain a report equally well
needs = ["bridge"]              # optional: signs (`symptoms.SIGNS`) without which a machine cannot have this fault
shows = ["line disabled"]       # the outcomes of the case, one of which must come: as in a case
forgives = ["..."]              # optional: complaints of the kernel that belong to the fault: as in a case
culprit = "handled"             # the function that is at fault: `CULPRITS`
device = { registers = "..." }  # optional: properties of dev0 before its driver is loaded
steps = [...]                   # as in a case; in scripts, words in braces stand for parts that depend
                                # on the report, such as {sharers}
[symptoms]                      # the symptoms that the run must show, by which the fault is known
asserter = "undriven"

`EXPERIMENTS` has what a person can try on the machine, and what each hypothesis predicts.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Final

from shirq_bench import toml
from shirq_bench.campaigns.zoo.case import Step
from shirq_bench.campaigns.zoo.outcome import Outcome
from shirq_bench.errors import BenchError
from shirq_bench.intake.symptoms import SIGNS, SYMPTOMS
from shirq_bench.toml import Text, at_least, one_of

DIRECTORY: Final = Path(__file__).with_name("hypotheses")
EXPERIMENTS: Final = Path(__file__).with_name("experiments.toml")
#: The functions that can be at fault: dev0, which has a handler; orphan, which has none; or none that the report lists.
CULPRITS: Final = ("handled", "unhandled", "hidden")
#: The devices of a reproduction that steps can name; `reproduction` describes them.
DEVICES: Final = ("dev0", "dev1", "orphan", "other", "far", "far2", "clock")
_Symptom = Annotated[str, one_of(*SYMPTOMS)]


@dataclass(frozen=True, kw_only=True)
class Hypothesis:
    """A hypothesis; the docstring of this module describes its keys."""

    id: str = ""
    title: Text
    cause: Text
    remedy: Text
    usual: Annotated[int, at_least(1)]
    needs: tuple[Annotated[str, one_of(*SIGNS)], ...] = ()
    shows: tuple[Outcome, ...]
    forgives: tuple[str, ...] = ()
    culprit: Annotated[str, one_of(*CULPRITS)]
    device: Mapping[str, str] = field(default_factory=dict)
    steps: tuple[Step, ...]
    symptoms: Mapping[_Symptom, str]

    def __post_init__(self) -> None:
        if not self.symptoms:
            raise ValueError("symptoms must not be empty: the run must show something by which the fault is known")
        for key, word in self.symptoms.items():
            if word not in SYMPTOMS[key].words:
                raise ValueError(f"symptoms.{key} must be one of {', '.join(SYMPTOMS[key].words)}, not {word!r}")
        for number, step in enumerate(self.steps):
            device = step.set.get("device", "dev0") if step.set else step.device
            if device not in DEVICES:
                raise ValueError(f"steps[{number}] names the device {device!r}; devices: {', '.join(DEVICES)}")


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Something that a person can do on the machine, and what it shows under each hypothesis."""

    name: str
    #: What to do, as an imperative sentence.
    do: Text
    #: The effort, 1 to 9: 1 is a command, 3 a restart, 6 a change of hardware.
    cost: Annotated[int, at_least(1)]
    #: What happens under each hypothesis, by its id.
    outcomes: Mapping[str, str]


def read(path: Path) -> Hypothesis:
    """The hypothesis in a file. `TomlError` names the file, the line, the wrong key and the allowed values."""
    found = toml.read(Hypothesis, path)
    return replace(found, id=path.stem)


@functools.cache
def all_hypotheses() -> tuple[Hypothesis, ...]:
    """All hypotheses, the most usual first."""
    found = [read(path) for path in DIRECTORY.glob("*.toml")]
    return tuple(sorted(found, key=lambda one: (one.usual, one.id)))


def get(name: str) -> Hypothesis:
    """The hypothesis with this id. `BenchError` if there is none."""
    for one in all_hypotheses():
        if one.id == name:
            return one
    raise BenchError(f"no hypothesis {name!r}; there are {', '.join(sorted(one.id for one in all_hypotheses()))}")


def experiments(path: Path = EXPERIMENTS, known: Sequence[str] | None = None) -> tuple[Experiment, ...]:
    """The experiments in a file, the cheapest first. `TomlError` if one names a hypothesis that is not ``known``."""
    names = [one.id for one in all_hypotheses()] if known is None else known
    found = toml.read(dict[str, Experiment], path)
    for one in found.values():
        if unknown := sorted(set(one.outcomes) - set(names)):
            raise toml.TomlError(
                f"{path}: {one.name}.outcomes names {', '.join(unknown)}; hypotheses: {', '.join(sorted(names))}"
            )
    return tuple(sorted(found.values(), key=lambda one: (one.cost, one.name)))
