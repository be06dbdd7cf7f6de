# SPDX-License-Identifier: MIT
"""Explains a failure by its passing twin: the same run with a driver, at a moment or in a test in which nothing broke.

The explanation is beside the failure: explanation.txt, and explanation.html with the pictures of both runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from shirq_bench.channels.log import Kind, Log, LogError, find, read_log
from shirq_bench.errors import BenchError
from shirq_bench.observe.judge import BrokenRuleError
from shirq_bench.replay import codetrace
from shirq_bench.replay.case import Case, Outcome
from shirq_bench.replay.codetrace import CodeTrace, Parting
from shirq_bench.replay.play import Start, end_of
from shirq_bench.report import difference
from shirq_bench.report.difference import Difference, Run

TEXT, PAGE = "explanation.txt", "explanation.html"
#: The distances, in instructions, at which a passing neighbour of a failing moment is looked for.
_DISTANCES = (1, 2, 4, 8, 16, 32, 64, 256, 1024, 4096)


#: What the two runs are called in an explanation.
NAMES = ("this run", "the run that passed")


def write(failed: Path, passed: Path, titles: tuple[str, str], broken: Sequence[str] = ()) -> Parting | None:
    """Explain the guest in the folder ``failed`` by the one in ``passed``; the explanation goes into ``failed``.

    ``titles`` are those of the two runs, ``broken`` the rules that the failed one breaks. If there can be no
    explanation, explanation.txt says why. Returns where the runs part in their code, if both folders have a code trace.
    """
    parting: Parting | None = None
    try:
        parting = part(failed, passed)
        found = explain(failed, passed, NAMES, titles, parting, broken)
        (failed / TEXT).write_text(difference.text(found))
        (failed / PAGE).write_text(difference.page(found), encoding="utf-8")
    except (BenchError, BrokenRuleError, LogError, OSError) as error:
        (failed / TEXT).write_text(f"There is no explanation by {titles[1]}: {error}\n")
    return parting


def explain(
    one: Path,
    other: Path,
    names: tuple[str, str],
    titles: tuple[str, str],
    parting: Parting | None,
    broken: Sequence[str] = (),
    gsi: int | None = None,
) -> Difference:
    """Explain the guest in the folder ``one`` by the one in ``other``.

    ``one`` and ``other`` may be logs, too. ``parting`` is where their code traces part, as `part` finds it. ``gsi`` is
    the line; by default it is found.

    Raises `BenchError`, LogError or OSError.
    """
    also = codetrace.words(parting, names) if parting else ()
    logs = [_of_run(read_log(folder)) for folder in (one, other)]
    return difference.explain(
        Run(names[0], logs[0], titles[0], tuple(broken)), Run(names[1], logs[1], titles[1]), gsi, also
    )


def part(
    one: Path, other: Path, how: Callable[[CodeTrace, CodeTrace, bool], Parting | None] = codetrace.part
) -> Parting | None:
    """Where the guests in two folders part in their code, by ``how``; None if one of them has no code trace."""
    traces = [codetrace.load(folder) for folder in (one, other)]
    if not (traces[0] and traces[1]):
        return None
    exact = all(end_of(read_log(folder).entries) is not None for folder in (one, other))
    return how(traces[0], traces[1], exact)


def _of_run(log: Log) -> Log:
    """A log without the guest's history before a played schedule and after it; other logs as they are."""
    if (end := end_of(log.entries)) is None:
        return log
    return Log(log.header, log.entries[: end + 1]).since(find(log.entries, Kind.SCHEDULED)[0][0])


def passing(case: Case) -> tuple[Case, str] | None:
    """The nearest case that passes, and its name: its last stimulus is some instructions earlier or later, or left out.

    Stimuli of one time are one, unless there are no others: they are moved or left out together. None if these cases
    fail, too.
    """
    others = tuple(stimulus for stimulus in case.stimuli if stimulus.at_ns != case.last_ns)
    last = tuple(stimulus for stimulus in case.stimuli if stimulus.at_ns == case.last_ns)
    if not others:
        others, last = case.stimuli[:-1], case.stimuli[-1:]
    for distance in _DISTANCES:
        for shift in (-distance, distance):
            if not 0 <= case.last_ns + shift < case.cuts[-1]:
                continue
            later = (stimulus._replace(at_ns=stimulus.at_ns + shift) for stimulus in last)
            moved = replace(case, stimuli=(*others, *later))
            if not moved.run().all():
                return moved, f"the run with its last stimulus {distance} ns {'earlier' if shift < 0 else 'later'}"
    without = replace(case, stimuli=others)
    return (without, "the run without its last stimulus") if others and not without.run().all() else None


def record(case: Case, folder: Path) -> Outcome:
    """Play a case with its code trace, and leave the guest's files in ``folder``."""
    outcome = case.run(keep=folder, start=Start(further=codetrace.recorder(case.machine)))
    codetrace.save(case.machine, folder)
    return outcome
