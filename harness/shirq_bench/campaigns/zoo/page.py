# SPDX-License-Identifier: MIT
"""The zoo's pages: the matrix of cases and drivers, and a case with the waveforms of two drivers above each other.

Each page is one file that needs nothing else.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from shirq_bench.campaigns.zoo.case import DRIVERS, Case
from shirq_bench.campaigns.zoo.outcome import MEANINGS, Outcome
from shirq_bench.campaigns.zoo.run import Played, line
from shirq_bench.channels.log import Entry, Kind, Log
from shirq_bench.report import html as picture_page
from shirq_bench.report import model

#: Maximum of log entries in a picture: the beginning of a storm shows all of its pattern.
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


def _document(title: str, body: str) -> str:
    style = (resources.files(__package__) / "page.css").read_text("utf-8")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width"><style>\n{style}</style></head>\n'
        f"<body>\n{body}</body></html>\n"
    )


def _figures(figures: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in figures.items())


def matrix(report: Mapping[str, Any], cases: Mapping[str, Case]) -> str:
    """zoo.html: a row for each case of `zoo.json`, a column for each driver; a row opens to its story."""
    rows = []
    for each in report["cases"]:
        case = cases[each["id"]]
        cells = []
        for driver in DRIVERS:
            found = each["outcomes"][driver]
            wrong = " unexpected" if found["outcome"] != found["expected"] or found["unmet"] else ""
            tip = html.escape("; ".join([_figures(found["figures"]), *(f"unmet: {what}" for what in found["unmet"])]))
            cells.append(f'<td class="{tone(found["outcome"])}{wrong}" title="{tip}">{found["outcome"]}</td>')
        mark = "yes" if each["reproduced"] else "no"
        rows.append(
            f"<tr><td><details><summary><code>{case.id}</code> {html.escape(case.title)}</summary>{_story(case)}"
            f"</details></td>{''.join(cells)}<td class=seen-{mark}>{mark}</td><td>{each['kernel']}</td></tr>\n"
        )
    seen = sum(each["reproduced"] for each in report["cases"])
    legend = "".join(f'<dt class="{tone(o)}">{o}</dt><dd>{html.escape(m)}</dd>' for o, m in MEANINGS.items())
    head = "".join(f"<th>{driver}</th>" for driver in DRIVERS)
    return _document(
        "The interrupt zoo",
        f"<h1>The interrupt zoo</h1>\n<p>{seen} of {len(report['cases'])} bugs reproduced, {report['date']}. "
        "Open a row for its story; point at an outcome for its figures.</p>\n"
        f"<table><thead><tr><th>bug</th>{head}<th>reproduced</th><th>kernel</th></tr></thead><tbody>\n{''.join(rows)}</tbody></table>\n<h2>Outcomes</h2>\n<dl>{legend}</dl>\n",
    )


def document(report: Mapping[str, Any], cases: Mapping[str, Case]) -> str:
    """docs/zoo.md: the matrix as a document, with where it was measured."""
    found = report["cases"]
    seen = sum(each["reproduced"] for each in found)
    rows = [
        f"| `{each['id']}` | {' | '.join(each['outcomes'][driver]['outcome'] for driver in DRIVERS)} | "
        f"{'yes' if each['reproduced'] else 'no'} | {each['kernel']} |"
        for each in found
    ]
    argued = [
        f"- `{case.id}`, {driver}: {why}"
        for case in sorted(cases.values(), key=lambda case: case.id)
        for driver, why in case.argued.items()
    ]
    text = (resources.files(__package__) / "document.md").read_text("utf-8")
    return text.format(
        date=report["date"],
        seen=seen,
        count=len(found),
        drivers=" | ".join(DRIVERS),
        rule="|---" * (len(DRIVERS) + 3) + "|",
        rows="\n".join(rows),
        told=", ".join(f"`{name}`" for name, case in sorted(cases.items()) if "irq" in case.options["shirq"]),
        argued="\n".join(argued) or "None.",
        outcomes="\n".join(f"- **{outcome}**: {meaning}" for outcome, meaning in MEANINGS.items()),
    )


def _story(case: Case) -> str:
    paragraphs = "".join(f"<p>{html.escape(part)}</p>" for part in case.explanation.split("\n\n"))
    argued = "".join(f"<li>{html.escape(f'{who}: {why}')}</li>" for who, why in case.argued.items())
    return (
        f"<dl class=story><dt>symptom</dt><dd>{html.escape(case.symptom)}</dd>"
        f"<dt>cause</dt><dd>{html.escape(case.cause)}</dd>"
        f"<dt>source</dt><dd>{html.escape('; '.join(case.source))}</dd></dl>{paragraphs}"
        + (f"<ul>{argued}</ul>" if argued else "")
    )


def render(case: Case, played: Sequence[Played]) -> str:
    """A case's page: its story, each driver's verdict, and the pictures of two drivers above each other."""
    rows = "".join(
        f'<tr><td>{each.driver}</td><td class="{tone(each.result.outcome)}{"" if each.expected else " unexpected"}">'
        f"{each.result.outcome}</td><td>{html.escape(_figures(each.result.figures))}"
        f"{''.join(f'<br>unmet: {html.escape(what)}' for what in each.unmet)}</td></tr>"
        for each in played
    )
    frames = "".join(_frame(each) for each in contrast(case, played))
    return _document(
        case.title,
        f"<h1>{html.escape(case.title)}</h1>\n{_story(case)}\n<table><thead><tr><th>driver</th><th>outcome</th>"
        f"<th>figures</th></tr></thead><tbody>{rows}</tbody></table>\n{frames}",
    )


def contrast(case: Case, played: Sequence[Played]) -> list[Played]:
    """The two runs that illustrate the case: one that shows the bug, and shirq's, or else the first other one."""
    ill = next((each for each in reversed(played) if each.result.outcome in case.shows), played[-1])
    well = next((each for each in played if each is not ill), None)
    return [ill, well] if well else [ill]


def _frame(each: Played) -> str:
    log = _beginning(each.log)
    heading = f"<h2>{each.driver}: {each.result.outcome}</h2>\n"
    if not log.of(Kind.PIN):
        return heading + "<p>No pin moved.</p>\n"
    cut = " The picture shows its beginning." if len(log.entries) < len(each.log.entries) else ""
    title = f"{each.case.id}: {each.driver} on {each.kernel}"
    document = picture_page.render(model.build(log, title=title, roles=_ROLES, gsi=line(each.case)))
    note = f"<p>{len(each.log.entries)} log entries.{cut}</p>\n"
    return f'{heading}{note}<iframe srcdoc="{html.escape(document)}"></iframe>\n'


def _beginning(log: Log) -> Log:
    entries: Sequence[Entry] = log.entries[:_SHOWN]
    return Log(log.header, entries, log.past)
