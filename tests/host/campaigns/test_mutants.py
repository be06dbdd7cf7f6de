# SPDX-License-Identifier: MIT
"""Mutants: each file is valid, its patch applies and its tests exist; the runner reports each result correctly."""

from __future__ import annotations

import difflib
import json
import signal
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from shirq_bench.campaigns.explore import actors
from shirq_bench.campaigns.mutants import mutant, report, trial
from shirq_bench.campaigns.mutants.mutant import Mutant
from shirq_bench.campaigns.mutants.trial import Verdict, Workshop
from shirq_bench.campaigns.sweep import scenario
from shirq_bench.cli import mutants as cli
from shirq_bench.cli.mutants import command, rotated
from shirq_bench.deadline import Deadline
from shirq_bench.errors import BenchError
from shirq_bench.paths import need_checkout
from shirq_bench.provision.cache import CacheError

TOP = need_checkout("trying mutants")
ALL = {one.name: one for one in mutant.load(TOP)}
#: What a mutant's ``sweep`` may name.
SCENARIOS = {*scenario.load(), *(pair.name for pair in actors.choose("full") if pair.scenario)}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout."""
    tree = tmp_path_factory.mktemp("checkout")
    trial.copy_checkout(TOP, tree)
    return tree


# ---------------------------------------------------------------- the set


def test_40_mutants_cover_module_binding_driver_and_harness() -> None:
    """There are at least 40 mutants: of the module, the binding, the driver and the harness."""
    assert len(ALL) >= 40
    changed = {name for one in ALL.values() for name in one.files}
    for part in ("kmod/", "guest/shirq/", "guest/drivers/edu"):
        assert any(name.startswith(part) for name in changed), f"no mutant of {part}"
    assert not {
        name
        for name in changed
        if not name.startswith(
            (
                *(
                    "kmod/",
                    "guest/lib/",
                    "guest/shirq/",
                    "guest/drivers/",
                    "guest/profiles/",
                    "guest/agent/",
                    "guest/sweep/",
                ),
                *("harness/shirq_bench/", "qemu-device/overlay/", "qemu-device/patches/", "qemu-device/upstream/"),
            )
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
    assert set(ALL[name].sweep) <= SCENARIOS


# ---------------------------------------------------------------- a file

_DIFF = "--- a/f\n+++ b/f\n@@ -1 +1 @@\n-1\n+2\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title = 't'\ntests = ['x']\n", "mutant m: the file has no diff"),
        ("title = 't'\n" + _DIFF, "mutant m: tests is missing"),
        ("tests = ['x']\n" + _DIFF, "mutant m: title is missing"),
        ("title = 't'\ntests = 'x'\n" + _DIFF, "mutant m:2: tests must be a list, not 'x'"),
        ("title = 't'\ntests = ['x']\nsweep = []\n" + _DIFF, "mutant m:3: sweep must not be empty"),
        (
            "title = 't'\ntests = ['x']\nother = 1\n" + _DIFF,
            "mutant m:3: unknown key other; known keys: equivalent, kernel, ",
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
    """A project with one function, whose tests cover only numbers above 0."""
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
    """A mutant whose test exceeds a deadline only once survives, because a busy machine can cause that."""
    tries = tmp_path / "tries"
    test = workshop.top / "tests/test_double.py"
    test.write_text(
        test.read_text()
        + "\nfrom pathlib import Path\n\ndef test_that_fails_at_first():\n"
        + f"    tries = Path({str(tries)!r})\n    tries.open('a').write('.')\n"
        + "    assert len(tries.read_text()) > 1, 'DeadlineExceeded'\n"
    )
    assert workshop.try_(_mutant("-2", "-3", "test_that_fails_at_first")).verdict == "survived"
    assert len(tries.read_text()) == 3, "the test must be run again: alone, and then with all tests"


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
    """If the time for all mutants ends before a trial does, that mutant counts as untried."""
    late = tmp_path / "late"
    hurried = replace(workshop, until=time.monotonic() + 5)
    sleeps = f"__import__('os').system('sleep 300 && touch {late}')"
    assert hurried.try_(_mutant("2 * x", sleeps)).verdict == "untried"
    assert not late.exists()


# ---------------------------------------------------------------- a campaign


@pytest.fixture
def campaign(workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    """Make the command try the mutants a, b and c of the workshop's project."""
    three = [replace(_mutant(*_TRIPLES), name=name) for name in "abc"]
    monkeypatch.setattr(cli, "need_checkout", lambda _: workshop.top)
    monkeypatch.setattr(mutant, "load", lambda _: three)
    monkeypatch.setattr(report, "REPORT", tmp_path / "mutants.json")
    return workshop


def _reported() -> dict[str, str]:
    return {one["name"]: one["verdict"] for one in json.loads(report.REPORT.read_text())["mutants"]}


@pytest.mark.parametrize(
    "error", [CacheError("no space left in the cache"), OSError(28, "No space left on device")], ids=["bench", "system"]
)
def test_an_error_of_one_trial_is_its_verdict(
    campaign: Workshop, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """An error in one trial becomes the verdict of that trial.

    The other trials still run. Before each trial, the report has the verdicts of all earlier ones.
    """
    try_ = Workshop._try
    reports = []

    def failing(shop: Workshop, one: Mutant, *rest: Any) -> int:
        reports.append(_reported() if report.REPORT.exists() else {})
        if one.name == "b":
            raise error
        return try_(shop, one, *rest)

    monkeypatch.setattr(Workshop, "_try", failing)
    result = CliRunner().invoke(command, [])
    assert result.exit_code == 1
    assert _reported() == {"a": "killed", "b": "failed", "c": "killed"}
    assert json.loads(report.REPORT.read_text())["mistakes"] == ["b"]
    assert "o space left" in result.output
    assert reports == [{}, {"a": "killed"}, {"a": "killed", "b": "failed"}]


def test_ctrl_c_ends_the_campaign_and_the_trial_that_runs(
    campaign: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = tmp_path / "begun"
    begun.touch()
    test = campaign.top / "tests/test_double.py"
    test.write_text(
        "import os\nfrom double import double\n\n"
        "def test_that_passes():\n"
        f"    assert double(2) == 4 or os.system('echo begun >>{begun}; sleep 300')\n"
    )
    monkeypatch.setattr(trial, "DEADLINE", 20.0)

    def interrupt() -> None:
        end = Deadline(60)
        while not begun.read_text() and not end.passed:
            time.sleep(0.01)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    # Python ignores SIGINT if the shell started it as a background job: install its handler.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        presser = threading.Thread(target=interrupt)
        presser.start()
        result = CliRunner().invoke(command, [])
        presser.join()
    finally:
        signal.signal(signal.SIGINT, before)
    assert result.exit_code == 1
    assert begun.read_text().split() == ["begun"], "another trial began"
    assert not report.REPORT.exists(), f"the interrupted trial has a verdict: {_reported()}"


# ---------------------------------------------------------------- a sweep

#: A fake of the command line. ``ends`` has the results of each scenario's sweeps in copies of the checkout with the bug
#: and, under "SCENARIO without it", in copies without the bug.
_SHIRQ = """
import json, sys
from pathlib import Path
tries, ends = Path({tries!r}), {ends!r}
if sys.argv[1] == "sweep":
    scenario = sys.argv[2] if "3 *" in Path("double.py").read_text() else sys.argv[2] + " without it"
    number = len([line for line in tries.read_text().splitlines() if line == scenario])
    with tries.open("a") as file:
        file.write(scenario + "\\n")
    end = ends.get(scenario, ["passes"])[number:][:1] or ends.get(scenario)[-1:]
    if end == ["crashes"]:
        sys.exit("vm1: the guest did not answer within 60 s")
    if end == ["fills the disk"]:
        text = "{{"
    else:
        error = dict(name=scenario, kernel="6.1", error="it fails at once", fails_alone=end == ["fails alone"])
        finding = dict(what=["dev0 is lost"], rules=["lost"], where=dict(function="read+1", instruction="ret"))
        Path("finding.json").write_text(json.dumps(finding))
        errors = [error] if end[0] in ("fails", "fails alone") else []
        text = json.dumps(dict(errors=errors, findings=["finding.json"] if end == ["violates"] else []))
    Path("build/reports").mkdir(parents=True, exist_ok=True)
    Path("build/reports/sweep.json").write_text(text)
    sys.exit(0 if end == ["passes"] else 1)
"""


@pytest.mark.parametrize(
    ("ends", "verdict", "detail", "tries"),
    [
        ({"a": ["violates"]}, "killed", "lost: dev0 is lost; the stimulus came at read+1 (ret)", "a|a without it"),
        ({"a": ["fails alone"]}, "killed", "it fails at once", "a|a without it"),
        ({"b": ["violates"]}, "killed", "lost: dev0 is lost; the stimulus came at read+1 (ret)", "a|b|b without it"),
        ({}, "survived", "", "a|b"),
        ({"a": ["crashes", "passes"]}, "survived", "", "a|a|b"),
        ({"a": ["fails", "violates"]}, "killed", "lost: dev0 is lost", "a|a|a without it"),
        ({"a": ["fails"]}, "unstable", "could not be run to its end", "a|a|a"),
        ({"a": ["fills the disk"]}, "unstable", "could not be run to its end", "a|a|a"),
        ({"b": ["crashes"]}, "unstable", "b could not be run to its end: vm1: the guest did not answer", "a|b|b|b"),
        (
            {"a": ["violates"], "a without it": ["fails alone"]},
            "unsound",
            "without the mutant a fails: it fails at once",
            "a|a without it",
        ),
        (
            {"a": ["violates"], "a without it": ["crashes"]},
            "unstable",
            "a could not be run to its end",
            "a|a without it|a without it|a without it",
        ),
    ],
    ids=[
        *("violates", "fails alone", "violates another", "passes", "crashes once", "fails once", "fails"),
        *("fills the disk", "second crashes", "fails without it", "crashes without it"),
    ],
)
def test_a_sweep_that_was_not_run_to_its_end_kills_no_mutant(
    workshop: Workshop, tmp_path: Path, ends: dict[str, list[str]], verdict: str, detail: str, tries: str
) -> None:
    """A guest can fail for any reason, so that only a violated rule counts as a kill."""
    (tmp_path / "tries").touch()
    package = workshop.top / "harness/shirq_bench"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "cli.py").write_text(_SHIRQ.format(tries=str(tmp_path / "tries"), ends=ends))
    (workshop.top / "tests/test_double.py").write_text("def test_that_passes():\n    pass\n")
    # The report of an earlier sweep must not count for this one.
    earlier = workshop.top / "build/reports/sweep.json"
    earlier.parent.mkdir(parents=True)
    earlier.write_text('{"findings": [], "errors": [{"error": "of yore", "fails_alone": true}]}')
    tried = workshop.try_(replace(_mutant(*_TRIPLES), sweep=("a", "b")))
    assert (tried.verdict, tried.swept) == (verdict, verdict == "killed")
    assert detail in tried.detail
    assert (tmp_path / "tries").read_text().split("\n")[:-1] == tries.split("|")


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


#: All mutants of the project; the last one was not tried.
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
    """The document lists mutants found only by sweeps separately, and has an argument for each equivalent mutant."""
    text = report.document(report.data(_verdicts(), "6.1", "full", _KNOWN))
    tests, sweeps = text.partition("## Found only by sweeps")[::2]
    assert "`test_x[a\\|b]` |" in tests and "reassert" not in tests
    assert "| `w` | a wake-up is lost | 31 | `reassert`: lost: dev0 |" in sweeps
    assert "- `m`: t. Nobody can tell." in sweeps
    assert "This run has no result for `late`." in sweeps


def test_every_commit_begins_with_another_mutant_in_turn() -> None:
    """Each commit begins with another mutant, and each mutant has its turn."""
    everyone = list(ALL.values())
    firsts = {rotated(everyone, turn)[0].name for turn in range(len(everyone) * 2)}
    assert len(firsts) == len(everyone)
    assert {one.name for one in rotated(everyone, 12345)} == set(ALL)


def test_no_mutant_begins_after_the_budget_or_counts_if_cut(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No trial begins after the budget, and a trial that the budget has cut short counts as not tried."""
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
    assert (content["size"], content["total"]) == ("ci", 2), "the third trial ended after 240 s, and must not count"
    assert now == 300.0
    assert not any(ALL[tried["name"]].sweep for tried in content["mutants"])


def test_a_campaign_without_a_verdict_is_no_success(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """If even the first trial takes longer than the budget, the command fails and writes no report."""
    monkeypatch.setattr(Workshop, "try_", lambda shop, one, _: Verdict(one, "untried"))
    monkeypatch.setattr(report, "REPORT", tmp_path / "mutants.json")
    result = CliRunner().invoke(command, ["--size", "ci"])
    assert "no trial has ended within 240 s" in str(result.exception)
    assert not report.REPORT.exists()


def test_an_unknown_mutant_is_refused_by_its_name() -> None:
    result = CliRunner().invoke(command, ["nosuch"])
    assert isinstance(result.exception, BenchError)
    assert "no mutant is called nosuch" in str(result.exception)
