# SPDX-License-Identifier: MIT
"""The hypotheses and experiments: complete, told apart by something, and with errors that name what is wrong."""

from __future__ import annotations

import itertools
import re
import tomllib
from pathlib import Path

import pytest

import comparing
from diagnosed import WORDS
from shirq_bench import toml
from shirq_bench.campaigns.diagnose import hypothesis, reproduction
from shirq_bench.campaigns.diagnose.hypothesis import DIRECTORY, EXPERIMENTS, Hypothesis
from shirq_bench.campaigns.zoo import case as cases
from shirq_bench.campaigns.zoo import run
from shirq_bench.errors import BenchError
from shirq_bench.intake import join, symptoms, text
from shirq_bench.vm.machine import gsi_of

ALL = [one.id for one in hypothesis.all_hypotheses()]
GOOD = (DIRECTORY / "orphan-asserts.toml").read_text()


def reproduced(name: str) -> reproduction.Reproduction:
    report = join.report(text.read([comparing.REPORTS / name]))
    line = symptoms.focus(report)
    assert line
    return reproduction.make(report, line)


def test_each_settled_cause_is_a_hypothesis() -> None:
    causes = [comparing.expected(name).get("cause", {}) for name in comparing.names()]
    named = {one["hypothesis"] for one in causes if one} | {
        each for one in causes for each in one.get("alternatives", ())
    }
    assert len(named) >= 10
    assert named <= set(ALL)


def test_words_are_known_of_each_hypothesis() -> None:
    assert set(WORDS) == set(ALL)
    for one in hypothesis.all_hypotheses():
        assert one.symptoms.items() <= WORDS[one.id].items(), one.id
        assert set(WORDS[one.id]) == set(symptoms.SYMPTOMS)


@pytest.mark.parametrize("pair", [*itertools.combinations(ALL, 2)], ids="/".join)
def test_something_tells_two_hypotheses_apart(pair: tuple[str, str]) -> None:
    """Something that a person can see or try: a symptom of which both runs show a word, or an experiment."""
    first, second = (WORDS[name] for name in pair)
    seen = [
        key
        for key, one in symptoms.SYMPTOMS.items()
        if one.observable and first[key] and second[key] and first[key] != second[key]
    ]
    tried = [
        one.name
        for one in hypothesis.experiments()
        if (outcomes := [one.outcomes.get(name) for name in pair]) and None not in outcomes and len(set(outcomes)) == 2
    ]
    assert seen or tried


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        pytest.param(
            'asserter = "undriven"', 'asserter = "somebody"', "symptoms.asserter must be one of nobody", id="word"
        ),
        pytest.param('asserter = "undriven"', 'colour = "red"', "must be one of died, again", id="symptom"),
        pytest.param('culprit = "unhandled"', 'culprit = "me"', "must be one of handled, unhandled", id="culprit"),
        pytest.param("usual = 1", 'usual = 1\nneeds = ["luck"]', "must be one of bridge", id="sign"),
        pytest.param('device = "orphan"', 'device = "s1"', "devices: dev0, dev1, orphan", id="device"),
        pytest.param("{ wait = 60 }", "{ sleep = 60 }", "known keys", id="verb"),
        pytest.param("usual = 1", "usual = 0", "at least 1", id="usual"),
        pytest.param("usual = 1\n", "", "usual is missing", id="missing"),
        pytest.param("usual = 1\n", 'usual = 1\nusually = "x"\n', "unknown key usually", id="key"),
        pytest.param(GOOD[GOOD.index("[symptoms]") :], "[symptoms]\n", "must not be empty", id="no symptoms"),
    ],
)
def test_wrong_data_are_refused_with_what_is_allowed(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert GOOD.count(old) == 1
    path = tmp_path / "bad.toml"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(toml.TomlError, match=re.escape(said)) as caught:
        hypothesis.read(path)
    assert str(path) in str(caught.value)


def test_an_error_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(GOOD.replace("usual = 1", "usual = 0"))
    number = next(n for n, row in enumerate(GOOD.splitlines(), 1) if row.startswith("usual"))
    with pytest.raises(toml.TomlError, match=f"{re.escape(str(path))}:{number}: usual"):
        hypothesis.read(path)


def test_an_experiment_of_an_unknown_hypothesis_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "experiments.toml"
    path.write_text(EXPERIMENTS.read_text().replace("stuck-pin", "stuck-pen", 1))
    with pytest.raises(toml.TomlError, match=r"names stuck-pen; hypotheses: .*stuck-pin"):
        hypothesis.experiments(path)


def test_an_unknown_hypothesis_is_refused_with_those_that_exist() -> None:
    with pytest.raises(BenchError, match=r"there are asserts-before-driver, .*wrong-routing"):
        hypothesis.get("gremlins")


@pytest.mark.parametrize("name", comparing.names())
def test_each_hypothesis_is_a_case_in_each_report(name: str, tmp_path: Path) -> None:
    """Its file is read by `shirq case`, and all have one machine, so that one template serves them."""
    found = reproduced(name)
    machines = set()
    for one in hypothesis.all_hypotheses():
        path = tmp_path / f"{one.id}.toml"
        path.write_text(found.text(one))
        case = cases.read(path)
        assert len(case.steps) == len(one.steps)
        assert not re.search(r"\{(?!\s)[a-z0-9 ]+\}", " ".join(str(step.argument) for step in case.steps)), one.id
        assert run.line(case) == reproduction.IRQ
        machines.add(run.machine(case, "6.1"))
    assert len(machines) == 1


@pytest.mark.parametrize("name", comparing.names())
def test_the_sharers_of_a_report_share_the_guests_line(name: str) -> None:
    found = reproduced(name)
    machine = tomllib.loads(found.text(hypothesis.get("orphan-asserts")))["machine"]
    places = {key: slot for key, slot in machine["slots"].items()}
    for device in machine["devices"]:
        words = dict(word.partition("=")[::2] for word in device.split(","))
        assert words["id"] not in places
        places[words["id"]] = words["addr"]
    assert len(set(places.values())) == len(places), "two devices have one place"
    lines = {key: gsi_of(int(place.partition(".")[0], 16)) for key, place in places.items()}
    real = [key for key in found.roles if key not in found.stand_ins]
    assert all(lines[key] == reproduction.IRQ for key in (*real, "dev0", "dev1", "orphan", "other"))
    assert lines["far"] == lines["clock"] == reproduction.FAR_IRQ
    assert len({lines["far"], lines["far2"], reproduction.IRQ}) == 3


def test_the_culprit_has_the_reports_ids() -> None:
    found = reproduced("madeup-q67")
    machine = tomllib.loads(found.text(hypothesis.get("orphan-asserts")))["machine"]
    (orphan,) = [device for device in machine["devices"] if "id=orphan" in device]
    assert "vendor-id=0x10b5,device-id=0x9050" in orphan
    assert "orphan" not in found.stand_ins
    assert not found.hides("orphan", hypothesis.get("stuck-pin"), None)


def test_a_stand_in_is_hidden_unless_it_is_the_culprit() -> None:
    found = reproduced("acer-z68-2011")
    assert "orphan" in found.stand_ins
    assert found.hides("orphan", hypothesis.get("stuck-pin"), None)
    assert not found.hides("orphan", hypothesis.get("orphan-asserts"), None)
    assert found.hides("dev1", hypothesis.get("orphan-asserts"), None)


def test_words_that_the_scripts_do_not_know_are_found(tmp_path: Path) -> None:
    """The check of braces above can fail."""
    odd: Hypothesis = hypothesis.get("orphan-asserts")
    case = reproduced("acer-z68-2011").save(odd, tmp_path / "case.toml")
    assert "{" not in str(case.steps[0].argument)
    assert re.search(r"\{(?!\s)[a-z0-9 ]+\}", "x {sharers} y")
