# SPDX-License-Identifier: MIT
"""The ranking: by what a report shows, without what it cannot show; and the experiments that tell the rest apart."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import comparing
from diagnosed import WORDS
from shirq_bench.campaigns.diagnose import hypothesis, output, rank, reproduction
from shirq_bench.campaigns.diagnose import run as runs
from shirq_bench.campaigns.diagnose.hypothesis import Experiment, Hypothesis
from shirq_bench.campaigns.diagnose.rank import Says
from shirq_bench.campaigns.diagnose.reproduction import Reproduction
from shirq_bench.campaigns.zoo.case import Case
from shirq_bench.campaigns.zoo.outcome import Outcome
from shirq_bench.campaigns.zoo.outcome import Result as Judged
from shirq_bench.campaigns.zoo.run import Played
from shirq_bench.channels.log import Header, Log
from shirq_bench.cli.main import main
from shirq_bench.intake import join, symptoms, text
from shirq_bench.intake.report import Report

UNKNOWN: dict[str, str | None] = dict.fromkeys(symptoms.SYMPTOMS)
NO_SIGNS: dict[str, bool | None] = dict.fromkeys(symptoms.SIGNS)


def report_of(name: str) -> Report:
    return join.report(text.read([comparing.REPORTS / name]))


def ranking(report: Report) -> list[rank.Ranked]:
    """The ranking if each run shows its words, as a guest test proves."""
    line = symptoms.focus(report)
    assert line
    words, signs = symptoms.of_report(report, line), symptoms.signs_of(report, line)
    expected = [rank.expect(one, words, signs) for one in hypothesis.all_hypotheses()]
    played = rank.worth(expected)
    judged = [rank.judge(one, WORDS[one.id], words, signs) for one in played]
    return rank.order([*judged, *(one for one in expected if one.hypothesis not in played)])


CAUSES = {name: found for name in comparing.names() if (found := comparing.expected(name).get("cause"))}


@pytest.mark.parametrize("name", CAUSES)
def test_the_cause_or_an_alternative_is_among_the_first_three(name: str) -> None:
    first = [one.hypothesis.id for one in ranking(report_of(name))[:3]]
    assert {CAUSES[name]["hypothesis"], *CAUSES[name]["alternatives"]} & {*first}


def test_the_cause_is_first_in_three_of_four_reports() -> None:
    right = [name for name in CAUSES if ranking(report_of(name))[0].hypothesis.id == CAUSES[name]["hypothesis"]]
    assert len(CAUSES) >= 10
    assert len(right) / len(CAUSES) >= 0.75, sorted({*CAUSES} - {*right})


@pytest.mark.parametrize("name", sorted({*comparing.names()} - {*CAUSES}))
def test_an_unsettled_report_has_no_first_that_it_contradicts_twice(name: str) -> None:
    ranked = ranking(report_of(name))
    assert len(ranked[0].of(Says.AGAINST)) <= 1
    assert ranked[0].of(Says.FOR)
    assert ranked[0].hypothesis.shows == (Outcome.DISABLED,), "the line died"


def test_what_a_report_cannot_show_says_nothing() -> None:
    one = hypothesis.get("orphan-asserts")
    judged = rank.judge(one, WORDS[one.id], UNKNOWN, NO_SIGNS)
    assert {evidence.says for evidence in judged.evidence} == {Says.OPEN}
    died = rank.judge(one, WORDS[one.id], UNKNOWN | {"died": "yes"}, NO_SIGNS)
    assert [evidence.key for evidence in died.of(Says.FOR)] == ["died"]


def test_a_contradiction_weighs_more_than_support() -> None:
    def ranked(name: str, support: int, against: int) -> rank.Ranked:
        says = [Says.FOR] * support + [Says.AGAINST] * against
        return rank.Ranked(hypothesis.get(name), tuple(rank.Evidence("died", each, "") for each in says), UNKNOWN)

    much, little, none = ranked("orphan-asserts", 5, 1), ranked("stuck-pin", 1, 0), ranked("wrong-routing", 0, 0)
    assert rank.order([none, much, little]) == [little, none, much]


def test_the_more_usual_cause_comes_first_if_all_else_is_equal() -> None:
    judged = [rank.judge(one, WORDS[one.id], UNKNOWN, NO_SIGNS) for one in hypothesis.all_hypotheses()]
    usual = [one.hypothesis.usual for one in rank.order(reversed(judged))]
    assert usual == sorted(usual)
    assert len(set(usual)) > 1


def test_a_machine_that_cannot_have_the_fault_excludes_it() -> None:
    found = [rank.expect(one, UNKNOWN, NO_SIGNS | {"bridge": False}) for one in hypothesis.all_hypotheses()]
    assert hypothesis.get("misbehaving-bridge") not in rank.worth(found)
    assert len(rank.worth(found)) == len(found) - 1
    (only,) = [one for one in found if one.hypothesis.id == "misbehaving-bridge"]
    assert rank.worth([only]) == [], "not even to have three"


def test_hypotheses_that_the_report_contradicts_are_played_only_to_have_three() -> None:
    seen = UNKNOWN | {"died": "yes", "asserter": "undriven", "uncovered": "yes"}
    found = [rank.expect(one, seen, NO_SIGNS) for one in hypothesis.all_hypotheses()]
    worth = [one.id for one in rank.worth(found)]
    assert worth[0] == "orphan-asserts"
    clean = {one.hypothesis.id for one in found if not one.of(Says.AGAINST)}
    assert clean <= {*worth}
    assert len(worth) == max(rank.LEAST, len(clean))


# ------------------------------------------------------------------ experiments


def rivals_of(seen: dict[str, str | None], *names: str) -> list[rank.Ranked]:
    ranked = rank.order(rank.judge(hypothesis.get(name), WORDS[name], seen, NO_SIGNS) for name in names)
    return rank.rivals(ranked)


def test_the_cheapest_experiment_that_tells_apart_is_chosen() -> None:
    seen = UNKNOWN | {"died": "yes"}
    rivals = rivals_of(seen, "orphan-asserts", "polls-with-interrupts-on")
    (trial,), left = rank.trials(rivals, seen, hypothesis.experiments())
    assert trial.do == symptoms.SYMPTOMS["asserter"].command
    assert {*trial.outcomes.values()} == {("orphan-asserts",), ("polls-with-interrupts-on",)}
    assert not left


def test_a_symptom_that_the_report_shows_is_no_experiment() -> None:
    seen = UNKNOWN | {"died": "yes", "asserter": "nobody", "uncovered": "no", "again": "yes", "moment": "late"}
    rivals = rivals_of(seen, "stuck-pin", "misbehaving-bridge")
    assert len(rivals) == 2
    (trial,), left = rank.trials(rivals, seen, hypothesis.experiments())
    assert "another slot" in trial.do
    assert not left


def test_a_rival_that_nothing_tells_apart_is_said() -> None:
    seen = UNKNOWN | {"died": "yes", "asserter": "nobody", "uncovered": "no", "again": "yes", "moment": "late"}
    rivals = rivals_of(seen, "stuck-pin", "misbehaving-bridge")
    assert rank.trials(rivals, seen, ()) == ([], [rivals[1].hypothesis.id])


def test_an_experiment_with_one_outcome_is_not_named() -> None:
    seen = UNKNOWN | {"died": "yes", "asserter": "nobody", "uncovered": "no", "again": "yes", "moment": "late"}
    same = Experiment(name="x", do="look", cost=1, outcomes=dict.fromkeys(("stuck-pin", "misbehaving-bridge"), "alike"))
    trials, left = rank.trials(rivals_of(seen, "stuck-pin", "misbehaving-bridge"), seen, (same,))
    assert not trials
    assert len(left) == 1


# ------------------------------------------------------------------ the run and the command


LOG = Log(Header(0, 0, 0, 0, ()), ())


@pytest.fixture
def guests(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, str | None]]:
    """Stands in for the runs in guests: each shows its words. A hypothesis without words cannot be played."""
    words = {name: {**each} for name, each in WORDS.items()}

    def run(one: Hypothesis, found: Reproduction, kernel: str, folder: Path) -> runs.Run:
        if one.id not in words:
            raise runs.NotShown(f"the run of {one.id} does not show its own symptom")
        folder.parent.mkdir(parents=True, exist_ok=True)
        case = found.save(one, folder.with_suffix(".toml"))
        played = Played(case, runs.DRIVER, kernel, Judged(one.shows[0], {}, ()), LOG, 0.1)
        return runs.Run(one, played, words[one.id])

    monkeypatch.setattr(runs, "run", run)
    return words


def shirq(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)], prog_name="shirq")


def test_the_command_ranks_and_writes_case_picture_and_readme(guests: object, tmp_path: Path) -> None:
    assert shirq("import", comparing.REPORTS / "madeup-q67", "--out", tmp_path / "guest").exit_code == 0
    result = shirq("diagnose", tmp_path / "guest")
    assert result.exit_code == 0, result.output
    assert "1. orphan-asserts: a function without a driver asserts the line" in result.output
    assert "not played, since the report contradicts them:" in result.output
    assert shirq("case", "check", tmp_path / "guest" / output.CASE).exit_code == 0
    assert "naive: line disabled" in (tmp_path / "guest" / output.PICTURE).read_text()
    readme = (tmp_path / "guest" / output.README).read_text()
    assert "shirq case run case.toml --driver naive --reproduce" in readme
    assert "03:04.0 [10b5:9050] of the report" in readme


def test_json_has_evidence_and_experiments(guests: object, tmp_path: Path) -> None:
    result = shirq("diagnose", comparing.REPORTS / "acer-z68-2011", "--json", "--out", tmp_path)
    data = json.loads(result.stdout)
    first = data["ranking"][0]
    assert first["hypothesis"] == data["rivals"][0] == "misbehaving-bridge"
    assert {"died", "moment", "bridge"} <= {*first["for"]}
    assert not first["against"]
    assert "asserter" in first["open"]
    named = {name for one in data["experiments"] for names in one["outcomes"].values() for name in names}
    assert {"stuck-pin", "orphan-asserts"} <= named
    assert not data["not_told_apart"]


def test_a_hypothesis_that_does_not_show_its_symptom_fails_the_command(
    guests: dict[str, dict[str, str | None]], tmp_path: Path
) -> None:
    del guests["orphan-asserts"]
    result = shirq("diagnose", comparing.REPORTS / "madeup-q67", "--out", tmp_path)
    assert result.exit_code == 1
    assert "could not be played, and are in no place of the ranking:" in result.output
    assert "1. asserts" in result.output or "1. polls" in result.output


def test_a_run_without_its_own_symptom_is_an_error_of_the_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The guest dies, but nobody asserts without a driver: the texts are those of another fault."""
    report = report_of("acer-z68-2011")
    line = symptoms.focus(report)
    assert line
    found = reproduction.make(report, line)
    log = "[  100.0] irq 20: nobody cared\n[  100.1] handlers:\n[  100.2] [<00000000aa>] e1000_intr [e1000]\n"

    def play(case: Case, *_: object, keep: Path, **__: object) -> Played:
        keep.mkdir()
        return Played(case, runs.DRIVER, "6.1", Judged(Outcome.DISABLED, {}, ()), LOG, 0.1)

    monkeypatch.setattr(runs, "play", play)
    monkeypatch.setattr(text, "read", lambda _: text.clean([("log", log)]))
    with pytest.raises(runs.NotShown, match="asserter is not shown, must be undriven") as caught:
        runs.run(hypothesis.get("orphan-asserts"), found, "6.1", tmp_path / "run")
    assert str(tmp_path / "run") in str(caught.value)


def test_only_some_hypotheses_are_played(guests: object, tmp_path: Path) -> None:
    result = shirq("diagnose", comparing.REPORTS / "acer-z68-2011", "--only", "stuck-pin", "--out", tmp_path, "--json")
    assert [one["hypothesis"] for one in json.loads(result.stdout)["ranking"]] == ["stuck-pin"]


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        pytest.param("Dear list, my network is slow.", [], "no interrupt line with a function on it", id="no line"),
        pytest.param("irq 9: nobody cared", ["--only", "gremlins"], "no hypothesis 'gremlins'; there are", id="only"),
    ],
)
def test_bad_input_is_refused(tmp_path: Path, content: str, options: list[str], said: str) -> None:
    path = tmp_path / "mail.txt"
    path.write_text(content)
    result = shirq("diagnose", path, *options, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert said in result.output
    assert not (tmp_path / "out").exists()


def test_progress_names_each_run(guests: object, tmp_path: Path) -> None:
    result = shirq("diagnose", comparing.REPORTS / "madeup-q67", "--out", tmp_path, "--json")
    told = re.findall(r"shirq: (\d) of (\d): ([a-z-]+), \d+ s", result.stderr)
    assert len(told) == int(told[0][1]) == len(json.loads(result.stdout)["ranking"])
