# SPDX-License-Identifier: MIT
"""Mutants: each file is valid, its patch applies, its tests exist; and the runner reports each result."""

from __future__ import annotations

import difflib
import json
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from shirq_bench.campaigns.mutants import mutant, report, trial
from shirq_bench.campaigns.mutants.mutant import Mutant
from shirq_bench.campaigns.mutants.trial import Verdict, Workshop
from shirq_bench.campaigns.sweep import scenario
from shirq_bench.cli.mutants import command, rotated
from shirq_bench.errors import BenchError
from shirq_bench.paths import need_checkout

TOP = need_checkout("trying mutants")
ALL = {one.name: one for one in mutant.load(TOP)}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout."""
    tree = tmp_path_factory.mktemp("checkout")
    trial.copy_checkout(TOP, tree)
    return tree


# ---------------------------------------------------------------- the set


def test_40_mutants_cover_module_binding_driver_and_harness() -> None:
    """There are at least 40 mutants, of module, binding, driver and harness."""
    assert len(ALL) >= 40
    changed = {name for one in ALL.values() for name in one.files}
    for part in ("kmod/", "guest/shirq/", "guest/drivers/edu"):
        assert any(name.startswith(part) for name in changed), f"no mutant of {part}"
    assert not {
        name
        for name in changed
        if not name.startswith(
            ("kmod/", "guest/lib/", "guest/shirq/", "guest/drivers/", "guest/profiles/", "harness/shirq_bench/")
        )
    }


@pytest.mark.parametrize("name", ALL)
def test_every_mutants_patch_applies(name: str, checkout: Path) -> None:
    before = {file: (checkout / file).read_text() for file in ALL[name].files}
    assert trial.apply(ALL[name].diff, checkout) == "", f"refresh tests/mutants/{name}.patch"
    assert all((checkout / file).read_text() != text for file, text in before.items())
    for file, text in before.items():
        (checkout / file).write_text(text)


@pytest.mark.parametrize("name", ALL)
def test_what_should_notice_a_mutant_exists(name: str) -> None:
    for test in ALL[name].tests:
        file, _, function = test.partition("::")
        text = (TOP / file).read_text()
        assert not function or f"def {function.partition('[')[0]}(" in text, f"{file} has no {function}"
    assert set(ALL[name].sweep) <= scenario.load().keys()


# ---------------------------------------------------------------- a file

_DIFF = "--- a/f\n+++ b/f\n@@ -1 +1 @@\n-1\n+2\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title = 't'\ntests = ['x']\n", "mutant m: the file has no diff"),
        ("title = 't'\n" + _DIFF, "mutant m: tests is missing"),
        ("tests = ['x']\n" + _DIFF, "mutant m: title is missing"),
        ("title = 't'\ntests = 'x'\n" + _DIFF, "mutant m: tests must be a list, not 'x'"),
        ("title = 't'\ntests = ['x']\nsweep = []\n" + _DIFF, "mutant m: sweep must not be empty"),
        (
            "title = 't'\ntests = ['x']\nother = 1\n" + _DIFF,
            "mutant m: unknown key other; known keys: equivalent, kernel, ",
        ),
        ("title = t\n" + _DIFF, "mutant m: Invalid value"),
    ],
)
def test_a_file_that_is_no_mutant_says_why(text: str, message: str) -> None:
    with pytest.raises(BenchError) as caught:
        mutant.parse("m", text)
    assert str(caught.value).startswith(message)


# ---------------------------------------------------------------- a trial


_PRODUCT = "def double(x):\n    if x < 0:\n        return -2 * -x\n    return 2 * x\n"
_TRIPLES = ("    return 2 * x", "    return 3 * x")


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    """A project of one function, whose tests cover numbers above 0 only."""
    monkeypatch.setenv("SHIRQ_CACHE", str(tmp_path / "cache"))
    top = tmp_path / "project"
    (top / "tests").mkdir(parents=True)
    (top / "double.py").write_text(_PRODUCT)
    (top / "tests/test_double.py").write_text(
        "import pytest\nfrom double import double\n\n"
        "@pytest.fixture\ndef made():\n    assert double.__code__.co_argcount == 1\n\n"
        "def test_that_passes(made):\n    assert double(2) == 4\n\n"
        "def test_that_fails():\n    assert double(2) == 5\n"
    )
    (top / "conftest.py").write_text("")
    subprocess.run(["git", "init", "--quiet", top], check=True)
    (tmp_path / "work").mkdir()
    return Workshop(top, "6.1", tmp_path / "work")


def _mutant(old: str, new: str, test: str = "test_that_passes", equivalent: str = "") -> Mutant:
    texts = (_PRODUCT.splitlines(True), _PRODUCT.replace(old, new).splitlines(True))
    diff = "".join(difflib.unified_diff(*texts, "a/double.py", "b/double.py"))
    return Mutant(name="m", title="t", diff=diff, tests=(f"tests/test_double.py::{test}",), equivalent=equivalent)


def test_a_mutant_that_a_test_notices_is_killed_by_that_test(workshop: Workshop) -> None:
    verdict = workshop.try_(_mutant(*_TRIPLES))
    assert (verdict.verdict, verdict.by, verdict.detail) == ("killed", "test_that_passes", "assert 6 == 4")
    assert "return 2 * x" in (workshop.top / "double.py").read_text(), "the checkout itself was changed"


def test_a_deadline_that_passes_once_kills_no_mutant(workshop: Workshop, tmp_path: Path) -> None:
    """As when a machine is very busy."""
    tries = tmp_path / "tries"
    test = workshop.top / "tests/test_double.py"
    test.write_text(
        test.read_text()
        + "\nfrom pathlib import Path\n\ndef test_that_fails_at_first():\n"
        + f"    tries = Path({str(tries)!r})\n    tries.open('a').write('.')\n"
        + "    assert len(tries.read_text()) > 1, 'DeadlineExceeded'\n"
    )
    assert workshop.try_(_mutant("-2", "-3", "test_that_fails_at_first")).verdict == "survived"
    assert len(tries.read_text()) == 3, "it was not tried again, alone and then with all"


def test_a_mutant_that_no_test_notices_survives(workshop: Workshop) -> None:
    assert workshop.try_(_mutant("-2", "-3")).verdict == "survived"


@pytest.mark.parametrize(
    ("one", "verdict", "detail"),
    [
        (
            replace(_mutant(*_TRIPLES), diff=_mutant(*_TRIPLES).diff.replace("2 * x", "4 * x")),
            "stale",
            "patch does not apply",
        ),
        (_mutant("double(x)", "double(x"), "stillborn", "SyntaxError"),
        (_mutant("double(x)", "double(x, y)"), "stillborn", "failed on setup"),
        (_mutant(*_TRIPLES, "test_that_fails"), "unsound", "test_that_fails fails"),
    ],
)
def test_a_mutant_that_proves_nothing_is_told_from_a_killed_one(
    workshop: Workshop, one: Mutant, verdict: str, detail: str
) -> None:
    tried = workshop.try_(one)
    assert tried.verdict == verdict
    assert detail in tried.detail


def test_nothing_is_left_of_a_trial(workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place))
    workshop.try_(_mutant(*_TRIPLES))
    assert list(place.iterdir()) == []


def test_what_does_not_end_is_ended(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "DEADLINE", 10.0)
    tried = workshop.try_(_mutant("2 * x", "__import__('time').sleep(999)"))
    assert tried.verdict == "endless"
    assert "not finished after 10 s" in tried.detail


def test_trial_that_the_total_time_cuts_short_is_untried(workshop: Workshop, tmp_path: Path) -> None:
    """A mutant whose trial does not end before the time of all is over is untried."""
    late = tmp_path / "late"
    hurried = replace(workshop, until=time.monotonic() + 5)
    sleeps = f"__import__('os').system('sleep 300 && touch {late}')"
    assert hurried.try_(_mutant("2 * x", sleeps)).verdict == "untried"
    assert not late.exists()


# ---------------------------------------------------------------- the report


def _verdicts() -> list[Verdict]:
    survivor = _mutant("2", "3")
    equivalent = _mutant("2", "3", equivalent="Nobody can tell.")
    swept = Mutant(name="w", title="a wake-up is lost", diff=_DIFF, tests=("tests/x.py",), sweep=("reassert",))
    return [
        Verdict(_mutant("2", "3"), "killed", "test_x[a|b]", "assert 1 == 2", 2.0),
        Verdict(swept, "killed", "reassert", "lost: dev0", 3.0, passed=31),
        Verdict(survivor, "survived"),
        Verdict(equivalent, "survived"),
        Verdict(survivor, "stale", detail="does not apply"),
    ]


#: All mutants that there are: one of them was not tried.
_KNOWN = [*(verdict.mutant for verdict in _verdicts()), replace(_mutant("2", "3"), name="late")]


def test_report_counts_survivors_without_equivalent_mutants(tmp_path: Path) -> None:
    """The report does not count equivalent mutants as survivors."""
    report.write(report.data(_verdicts(), "6.1", "full", _KNOWN), tmp_path / "mutants.json")
    content = json.loads((tmp_path / "mutants.json").read_text())
    assert (content["total"], content["killed"], content["sweep_only"]) == (5, 2, 1)
    assert (content["survivors"], content["equivalent"], content["mistakes"]) == (["m"], ["m"], ["m"])
    assert content["untried"] == ["late"]
    assert report.summary(content).endswith("; 1 others were not tried")
    assert report.summary(content).startswith("5 mutants: 2 killed, 1 of them by sweeps only; 1 equivalent, 1 surv")


def test_document_tells_sweeps_from_tests_and_gives_the_argument() -> None:
    """The document separates sweeps from tests and gives the argument for each equivalent mutant."""
    text = report.document(report.data(_verdicts(), "6.1", "full", _KNOWN))
    tests, sweeps = text.partition("## Found only by sweeps")[::2]
    assert "`test_x[a\\|b]` |" in tests and "reassert" not in tests
    assert "| `w` | a wake-up is lost | 31 | `reassert`: lost: dev0 |" in sweeps
    assert "- `m`: t. Nobody can tell." in sweeps
    assert "This run has no result for `late`." in sweeps


def test_every_commit_begins_with_another_mutant_in_turn() -> None:
    """Every commit begins with another mutant, and all have their turn."""
    everyone = list(ALL.values())
    firsts = {rotated(everyone, turn)[0].name for turn in range(len(everyone) * 2)}
    assert len(firsts) == len(everyone)
    assert {one.name for one in rotated(everyone, 12345)} == set(ALL)


def test_no_mutant_begins_after_the_budget_or_counts_if_cut(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No trial begins after the budget, and a trial that the budget ended counts as not tried."""
    now = 0.0

    def try_(shop: Workshop, one: Mutant, __: object) -> Verdict:
        nonlocal now
        now += 100.0
        return Verdict(one, "killed" if now <= shop.until else "untried", seconds=100.0)

    monkeypatch.setattr("time.monotonic", lambda: now)
    monkeypatch.setattr(Workshop, "try_", try_)
    monkeypatch.setattr(report, "REPORT", tmp_path / "mutants.json")
    result = CliRunner().invoke(command, ["--size", "ci"])
    assert result.exit_code == 0, result.output
    content = json.loads((tmp_path / "mutants.json").read_text())
    assert (content["size"], content["total"]) == ("ci", 2), "the third was not done at 240 s"
    assert now == 300.0
    assert not any(ALL[tried["name"]].sweep for tried in content["mutants"])


def test_an_unknown_mutant_is_refused_by_its_name() -> None:
    result = CliRunner().invoke(command, ["nosuch"])
    assert isinstance(result.exception, BenchError)
    assert "no mutant is called nosuch" in str(result.exception)
