# SPDX-License-Identifier: MIT
"""Campaigns of independent items: mutants, played cases and files of tests are shards. No guest is run."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from shirq_bench.campaigns import guest_tests, items, registry, shards
from shirq_bench.campaigns.items import Items, Kind, Tell
from shirq_bench.campaigns.mutants import mutant, report
from shirq_bench.campaigns.mutants import shards as mutants
from shirq_bench.campaigns.mutants.trial import KILLED, SURVIVED, UNSTABLE, Verdict, Workshop
from shirq_bench.campaigns.shards import OtherInputs, Store, Unable
from shirq_bench.campaigns.zoo import shards as zoo
from shirq_bench.campaigns.zoo.outcome import Outcome
from shirq_bench.cli import campaign as cli
from shirq_bench.cli.main import main
from shirq_bench.errors import BenchError
from shirq_bench.provision import checkout


def shirq(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)))


@pytest.fixture(autouse=True)
def same_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(items, "_checkout", lambda: "c")
    monkeypatch.setattr(items, "_guest", lambda kernel: f"guest of {kernel}")


def _do(top: Path, item: str, kernel_name: str, tell: Tell) -> Mapping[str, Any]:
    tell("at work")
    if item == "broken":
        raise BenchError("it is broken")
    return {"good": item != "bad", "kernel": kernel_name}


_KIND = Kind("tried", "things", _do)


def test_a_report_says_which_items_are_bad_and_which_have_no_result(tmp_path: Path) -> None:
    spec = items.describe(_KIND, ["one", "bad", "broken"], "6.1")
    campaign, store = Items(_KIND, spec), Store(tmp_path)
    store.begin(spec)
    told: list[str] = []
    shards.run_here(campaign, store, tell=told.append)
    found = store.report(campaign)
    assert found["items"] == {"one": {"good": True, "kernel": "6.1"}, "bad": {"good": False, "kernel": "6.1"}}
    assert (found["bad"], found["failed"], found["summary"], found["missing"]) == (["bad"], 1, "2 things, 1 bad", 0)
    assert list(found["apart"].values()) == ["it failed 3 times: it is broken"]
    assert any(said.endswith(": one: at work") for said in told)


def test_an_item_is_not_done_with_another_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    campaign = Items(_KIND, items.describe(_KIND, ["one"], "6.1"))
    (shard,) = campaign.shards({})
    monkeypatch.setattr(items, "_checkout", lambda: "d")
    told: list[str] = []
    with pytest.raises(OtherInputs, match="the campaign is of checkout c, not d, which this machine has"):
        campaign.run(shard.task, told.append)
    assert told == [], "the item was begun"
    assert next(Items(_KIND, items.describe(_KIND, ["one"], "6.1")).shards({})).key != shard.key


def test_the_checkout_is_all_that_git_does_not_ignore_but_for_the_docs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(items, "need_checkout", lambda what: tmp_path)
    monkeypatch.setattr(checkout, "files", lambda top: [p.relative_to(top) for p in sorted(top.rglob("*.txt"))])
    (tmp_path / "docs").mkdir()
    for name in ("code.txt", "docs/page.txt"):
        (tmp_path / name).write_text("first")
    before = items._checkout()
    (tmp_path / "docs/page.txt").write_text("second")
    assert items._checkout() == before
    (tmp_path / "code.txt").write_text("second")
    assert items._checkout() != before
    (tmp_path / "code.txt").write_text("first")
    (tmp_path / "code.txt").rename(tmp_path / "other.txt")
    assert items._checkout() != before


def test_an_item_is_done_on_the_kernel_that_it_needs() -> None:
    """The key has the guest of that kernel alone: another guest of other items changes nothing."""
    kind = Kind("tried", "things", _do, lambda top, item, kernel: "6.12" if item == "new" else kernel)
    spec = items.describe(kind, ["new", "any"], "6.1")
    campaign = Items(kind, spec)
    assert [campaign.run(shard.task)["kernel"] for shard in campaign.shards({})] == ["6.12", "6.1"]
    keys = [shard.key for shard in campaign.shards({})]
    changed = {**spec, "inputs": {**spec["inputs"], "6.12": "another guest"}}
    new, same = Items(kind, changed).shards({})
    assert (new.key != keys[0], same.key == keys[1]) == (True, True)
    with pytest.raises(OtherInputs, match=r"the campaign is of guest another guest, not guest of 6\.12"):
        Items(kind, changed).run(new.task)


def test_a_checkout_that_changes_during_a_campaign_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not only by the next process: a result of other files than the campaign's is not kept."""
    monkeypatch.undo()
    monkeypatch.setattr(items, "need_checkout", lambda what: tmp_path)
    monkeypatch.setattr(items, "_guest", lambda kernel: kernel)
    monkeypatch.setattr(checkout, "files", lambda top: [Path("code.txt")])
    code = tmp_path / "code.txt"

    def edit(top: Path, item: str, kernel_name: str, tell: Tell) -> Mapping[str, Any]:
        code.write_text(item)
        return {"good": True}

    code.write_text("first")
    kind = Kind("tried", "things", edit)
    campaign = Items(kind, items.describe(kind, ["first", "second"], "6.1"))
    first, second = campaign.shards({})
    assert campaign.run(first.task) == {"good": True}
    for _ in range(2):
        with pytest.raises(OtherInputs, match="the campaign is of checkout"):
            campaign.run(second.task)


# ---------------------------------------------------------------- mutants


@pytest.fixture
def verdicts(monkeypatch: pytest.MonkeyPatch) -> dict[str, Verdict]:
    """What the trial of each mutant says; by default that a test killed it."""
    said: dict[str, Verdict] = {}

    def try_(self: Workshop, one: mutant.Mutant, tell: Tell) -> Verdict:
        found = said.get(one.name, Verdict(one, KILLED, "test_it", "took 0x1234", 3.0))
        return dataclasses.replace(found, mutant=one)

    monkeypatch.setattr(Workshop, "try_", try_)
    return said


def _known() -> list[mutant.Mutant]:
    return mutant.load(Path(__file__).parents[3])


def test_a_mutant_that_survives_is_bad_unless_it_is_equivalent(
    verdicts: dict[str, Verdict], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = (dataclasses.replace(each, sweep=()) for each in _known()[:2])
    other = dataclasses.replace(other, equivalent="no test can notice it")
    monkeypatch.setattr(mutants, "_mutants", lambda top: {one.name: one, other.name: other})
    for item, verdict, good in (
        (one, KILLED, True),
        (one, SURVIVED, False),
        (other, SURVIVED, True),
        (other, KILLED, False),
    ):
        verdicts[item.name] = Verdict(item, verdict, "test_it", "took 0x1234", 3.0, 7)
        found = mutants.KIND.do(Path(), item.name, "6.1", lambda _: None)
        # A test's message may differ from run to run.
        assert found == {"good": good, "verdict": verdict, "by": "test_it", "detail": "", "passed": 7}


def test_a_mutant_without_a_verdict_is_tried_again(verdicts: dict[str, Verdict]) -> None:
    one = _known()[0]
    verdicts[one.name] = Verdict(one, UNSTABLE, detail="the machine is busy")
    spec = items.describe(mutants.KIND, [one.name], "6.1")
    campaign = registry.campaign(spec)
    tried: list[str] = []
    with pytest.raises(Unable, match=f"it failed 3 times: mutant {one.name} has no verdict, it is unstable: the mach"):
        shards.attempt(campaign, next(iter(campaign.shards({}))), tried.append)
    assert sum("of 3 failed" in said for said in tried) == 3


def test_the_page_is_made_from_a_campaign(
    verdicts: dict[str, Verdict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = _known()[:2]
    verdicts[other.name] = Verdict(other, SURVIVED)
    done = shirq("campaign", "mutants", one.name, other.name, "--out", tmp_path / "out")
    assert done.exit_code == 1 and "2 mutants, 1 bad, 0 missing; " in done.output
    monkeypatch.setattr(report, "REPORT", tmp_path / "mutants.json")
    taken = shirq("mutants", "--from", tmp_path / "out")
    assert (
        taken.exit_code == 0 and "2 mutants: 1 killed, 0 of them by sweeps only; 0 equivalent, 1 surv" in taken.output
    )
    content = json.loads((tmp_path / "mutants.json").read_text())
    assert content["survivors"] == [other.name]
    assert f"| `{one.name}` |" in report.document(content)


def test_a_campaign_of_something_else_makes_no_page(tmp_path: Path) -> None:
    Store(tmp_path).begin({"campaign": "zoo", "items": []})
    done = shirq("mutants", "--from", tmp_path)
    assert done.exit_code and f"{tmp_path} has results of a campaign 'zoo', not of mutants" in done.output


def test_an_unknown_mutant_is_named(tmp_path: Path) -> None:
    done = shirq("campaign", "mutants", "no-such", "--out", tmp_path)
    assert done.exit_code and "no mutant is called no-such: `shirq mutants --list` shows them" in done.output


# ---------------------------------------------------------------- the catalogue


def test_each_case_is_played_with_each_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def play(case: Any, driver: str, kernel_name: str) -> SimpleNamespace:
        outcome = Outcome.SURVIVES if driver == "shirq" else Outcome.HANG
        result = SimpleNamespace(outcome=outcome)
        return SimpleNamespace(expected=driver == "shirq", result=result, unmet=())

    monkeypatch.setattr(zoo, "play", play)
    done = shirq("campaign", "zoo", "rmw-race", "--out", tmp_path)
    assert done.exit_code == 1 and "4 cases with a driver, 3 bad, 0 missing; " in done.output
    found = json.loads((tmp_path / "report.json").read_bytes())["items"]
    assert found["rmw-race/shirq"] == {"good": True, "outcome": "survives", "wanted": "survives", "unmet": []}
    assert (found["rmw-race/naive"]["good"], found["rmw-race/naive"]["outcome"]) == (False, "hang")


# ---------------------------------------------------------------- files of tests


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with two files of tests."""
    tests = tmp_path / "tests/guest"
    tests.mkdir(parents=True)
    (tests / "test_one.py").write_text("import pytest\ndef test_a(): pass\n@pytest.mark.long\ndef test_b(): assert 0\n")
    (tests / "test_two.py").write_text(
        "import pytest\n@pytest.mark.skip\ndef test_c(): pass\ndef test_d(): assert 0\ndef test_e(): pass\n"
    )
    (tests / "conftest.py").write_text('def pytest_addoption(parser): parser.addoption("--shirq-kernel")\n')
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -p no:shirq\nmarkers =\n long:\n")
    for module in (items, cli):
        monkeypatch.setattr(module, "need_checkout", lambda what: tmp_path)
    return tmp_path


def test_a_file_is_good_if_no_test_fails(project: Path) -> None:
    done = shirq("campaign", "tests", "--out", project / "out")
    assert done.exit_code == 1 and "2 files of tests, 1 bad, 0 missing; " in done.output
    found = json.loads((project / "out/report.json").read_bytes())["items"]
    assert found == {
        "tests/guest/test_one.py": {"good": True, "tests": {"test_a": "passed"}},
        "tests/guest/test_two.py": {
            "good": False,
            "tests": {"test_c": "skipped", "test_d": "failed", "test_e": "passed"},
        },
    }


def test_a_file_whose_tests_all_take_long_is_good(project: Path) -> None:
    file = "tests/guest/test_one.py"
    (project / file).write_text("import pytest\n@pytest.mark.long\ndef test_b(): assert 0\n")
    done = shirq("campaign", "tests", file, "--out", project / "out")
    assert done.exit_code == 0, done.output
    assert json.loads((project / "out/report.json").read_bytes())["items"] == {file: {"good": True, "tests": {}}}


def test_a_file_without_tests_is_named(project: Path) -> None:
    with pytest.raises(BenchError, match=r"test_three.py: no file with guests' tests; such are tests/guest/test_one"):
        guest_tests.items(project, ["tests/guest/test_three.py"])
