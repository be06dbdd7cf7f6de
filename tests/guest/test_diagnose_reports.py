# SPDX-License-Identifier: MIT
"""Every hypothesis shows its words in a guest, and each report of the import's tests is diagnosed."""

from __future__ import annotations

from pathlib import Path

import pytest

import comparing
from diagnosed import WORDS
from shirq_bench.campaigns.diagnose import hypothesis, reproduction, run
from shirq_bench.campaigns.diagnose.diagnose import diagnose
from shirq_bench.intake import join, symptoms, text
from shirq_bench.intake.report import Report

pytestmark = pytest.mark.long

#: A report whose machine can have the hypothesis; of all others, `USUAL`.
FITTING = {"too-many-sharers-no-fault": "mkosi-18-names-2023", "never-raises": "te220-not-detected-2024"}
USUAL = "madeup-c216"


def report_of(name: str) -> Report:
    return join.report(text.read([comparing.REPORTS / name]))


def same(found: dict[str, str | None], words: dict[str, str | None]) -> dict[str, tuple[str | None, str | None]]:
    """The symptoms in which a run differs from its words; a word that is None may be any."""
    return {key: (found[key], word) for key, word in words.items() if word is not None and found[key] != word}


@pytest.mark.parametrize("name", sorted(WORDS))
def test_a_hypothesis_shows_its_words(name: str, tmp_path: Path) -> None:
    report = report_of(FITTING.get(name, USUAL))
    line = symptoms.focus(report)
    assert line
    done = run.run(hypothesis.get(name), reproduction.make(report, line), "6.1", tmp_path / "run")
    assert same(done.symptoms, WORDS[name]) == {}


@pytest.mark.parametrize("name", comparing.names())
def test_a_report_is_diagnosed(name: str, tmp_path: Path) -> None:
    """The settled cause, or an alternative, is among the first three. Each run shows its words.

    So tests on the host, which rank by these words, speak for guests.
    """
    found, _ = diagnose(report_of(name), tmp_path, "6.1", hypothesis.all_hypotheses())
    assert found.failed == {}
    for one in found.played:
        assert one.words is not None
        assert same({**one.words}, WORDS[one.hypothesis.id]) == {}, one.hypothesis.id
    if cause := comparing.expected(name).get("cause"):
        first = {one.hypothesis.id for one in found.played[:3]}
        assert {cause["hypothesis"], *cause["alternatives"]} & first
