# SPDX-License-Identifier: MIT
"""The zoo's pages: the matrix of cases and drivers, and a page for a case with the waveforms of two drivers.

Each page is one self-contained file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shirq_bench import pages
from shirq_bench.campaigns.zoo.case import DRIVERS, Case
from shirq_bench.campaigns.zoo.outcome import MEANINGS, Outcome, in_words
from shirq_bench.campaigns.zoo.run import Played, line
from shirq_bench.channels.log import Entry, Kind, Log
from shirq_bench.report import html as picture_page
from shirq_bench.report import model

#: Maximum number of log entries in a picture: the beginning of a storm shows its whole pattern.
_SHOWN = 3000
_ROLES = {"dev0": "the device", "nic0": "the neighbour: e1000 and its kernel driver"}
#: The colour of an outcome: good, bad, or in between.
_TONES = {
    Outcome.SURVIVES: "good",
    Outcome.REFUSES: "fair",
    Outcome.GRUMBLES: "fair",
    Outcome.DUPLICATES: "poor",
    Outcome.LOSES: "poor",
    Outcome.STARVES: "poor",
}


def tone(outcome: str) -> str:
    """The style class of an outcome."""
    return _TONES.get(Outcome(outcome), "bad")


def _page(template: str, title: str, **values: object) -> str:
    css = pages.verbatim(__package__, "page.css")
    return pages.render(__package__, template, title=title, css=css, tone=tone, figures=in_words, **values)


def matrix(report: Mapping[str, Any], cases: Mapping[str, Case]) -> str:
    """zoo.html: one row for each case in `zoo.json`, one column for each driver. A row opens to the case's story."""
    return _page("matrix.html", "The interrupt zoo", **report, known=cases, drivers=DRIVERS, meanings=MEANINGS)


def document(report: Mapping[str, Any], cases: Mapping[str, Case]) -> str:
    """docs/zoo.md: the matrix as a document."""
    known = [cases[name] for name in sorted(cases)]
    return pages.render(__package__, "document.md", **report, known=known, drivers=DRIVERS, meanings=MEANINGS)


def render(case: Case, played: Sequence[Played]) -> str:
    """A case's page: its story, each driver's verdict, and the pictures of two drivers above each other."""
    frames = [_frame(each) for each in contrast(case, played)]
    return _page("case.html", case.title, case=case, played=played, frames=frames)


def contrast(case: Case, played: Sequence[Played]) -> list[Played]:
    """The two runs that illustrate the case: a run that shows the bug, and the first of the other runs."""
    ill = next((each for each in reversed(played) if each.result.outcome in case.shows), played[-1])
    well = next((each for each in played if each is not ill), None)
    return [ill, well] if well else [ill]


def _frame(each: Played) -> dict[str, Any]:
    log = _beginning(each.log)
    title = f"{each.case.id}: {each.driver} on {each.kernel}"
    shown = model.build(log, title=title, roles=_ROLES, gsi=line(each.case)) if log.of(Kind.PIN) else None
    return {
        "driver": each.driver,
        "outcome": each.result.outcome,
        "entries": len(each.log.entries),
        "cut": len(log.entries) < len(each.log.entries),
        "picture": shown and picture_page.render(shown),
    }


def _beginning(log: Log) -> Log:
    entries: Sequence[Entry] = log.entries[:_SHOWN]
    return Log(log.header, entries, log.past)
