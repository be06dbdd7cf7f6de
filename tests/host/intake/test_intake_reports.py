# SPDX-License-Identifier: MIT
"""Bug reports of many shapes: every fact that a report states is found, and no other."""

from __future__ import annotations

import re

import pytest

import comparing
from shirq_bench.intake import join, output, text
from shirq_bench.intake.report import Report

NAMES = comparing.names()


def imported(name: str) -> Report:
    return join.report(text.read([comparing.REPORTS / name]))


@pytest.mark.parametrize("name", NAMES)
def test_every_fact_of_a_report_is_found_and_no_other(name: str) -> None:
    assert comparing.differences(comparing.expected(name), output.data(imported(name))) == []


def test_the_reports_state_thousands_of_facts() -> None:
    assert len(NAMES) >= 12
    assert sum(comparing.facts(comparing.expected(name)) for name in NAMES) > 2000


#: Damage that has one meaning. The other names describe what a report is about.
PLAIN = {
    "crlf", "html-entities", "irq-is-not-gsi", "last-message-repeated", "old-trace-format", "quoted-printable",
    "soft-line-breaks", "tabs-to-spaces", "typographic-quotes", "wrapped-lines", "wrapped-row",
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_the_damage_that_was_undone_is_named(name: str) -> None:
    assert PLAIN.intersection(imported(name).damage) == PLAIN.intersection(comparing.expected(name)["damage"])


@pytest.mark.parametrize("name", NAMES)
def test_every_place_that_is_named_has_the_fact(name: str) -> None:
    """The number of a line of interrupts is in the text line that is given as the source of its facts."""
    report = imported(name)
    lines = {path: path.read_text(errors="replace").splitlines() for path in (comparing.REPORTS / name).iterdir()}
    texts = {str(path): rows for path, rows in lines.items()}
    for line in report.lines:
        for key, told in line.facts.items():
            around = " ".join(texts[told.at.file][told.at.line - 1 : told.at.line + 1]) if told.at.file else ""
            if key not in ("handlers", "modules", "given_up"):
                assert re.search(rf"(?<!\d){line.irq}(?!\d)", around), (line.irq, key, told)


@pytest.mark.parametrize("name", NAMES)
def test_the_comparison_notices_each_missing_fact(name: str) -> None:
    """A line, a device or a suspect less, or a changed one, is a difference."""
    want, got = comparing.expected(name), output.data(imported(name))
    for key in ("device", "suspects"):
        if want.get(key):
            assert comparing.differences(want, got | {key: [*got[key][1:]]})
    for line in want.get("line", ()):
        others = [one for one in got["line"] if one["irq"] != line["irq"]]
        assert f"no line {line['irq']}" in comparing.differences(want, got | {"line": others})
    if got["device"]:
        changed = [got["device"][0] | {"irq": 99}, *got["device"][1:]]
        assert comparing.differences(want, got | {"device": changed})
    more = [*got["line"], {"irq": 98, "given_up": 1}]
    assert comparing.differences(want, got | {"line": more})
