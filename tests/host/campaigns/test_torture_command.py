# SPDX-License-Identifier: MIT
"""`shirq torture`: its choice of tests and seeds, its exit status, and the page that it writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from click.testing import Result as Ended

from shirq_bench.campaigns.torture import case as cases
from shirq_bench.campaigns.torture import report
from shirq_bench.campaigns.torture.run import Result
from shirq_bench.cli import torture as cli
from shirq_bench.errors import BenchError

Ran = list[tuple[str, str, int, int]]


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ran:
    """The simulated runs, each as (test, kernel, attempts, seed).

    On the fake clock each run takes 150 s. The test `kill` fails with seed 2.
    """
    runs: Ran = []
    clock = SimpleNamespace(monotonic=lambda: 150.0 * len(runs))

    def torture(case: cases.Case, kernel: str, attempts: int, seed: int, tell: Callable[[str], None]) -> Result:
        runs.append((case.name, kernel, attempts, seed))
        failures = ["the witness fell asleep"] if (case.name, seed) == ("kill", 2) else []
        return Result(case.name, kernel, seed, attempts, "6.1.0-99", attempts, failures, figures={"ends": 3})

    monkeypatch.setattr(cli, "torture", torture)
    monkeypatch.setattr(cli, "time", clock)
    monkeypatch.setattr(report, "FILE", tmp_path / "torture.json")
    return runs


def _shirq(*words: str) -> Ended:
    return CliRunner().invoke(cli.command, words)


def test_what_is_named_runs_on_each_kernel_that_it_can_run_on(ran: Ran) -> None:
    ended = _shirq("close", "refuse-memory", "--kernel", "6.1,debug", "--attempts", "7")
    assert ran == [("close", "6.1", 7, 1), ("close", "debug", 7, 1), ("refuse-memory", "debug", 7, 1)]
    assert ended.exit_code == 0, ended.output


def test_without_a_name_all_run_at_their_size(ran: Ran) -> None:
    assert _shirq("--kernel", "debug").exit_code == 0
    known = cases.load().values()
    assert ran == [(each.name, "debug", each.attempts("full", "debug"), 1) for each in known if each.runs_on("debug")]


def test_failed_test_is_reported_with_its_seed_and_status_1(ran: Ran) -> None:
    """The command reports a failed test with its seed, and ends with status 1."""
    ended = _shirq("kill", "close", "--kernel", "6.1", "--attempts", "1", "--seed", "2")
    assert ended.exit_code == 1
    assert [run[0] for run in ran] == ["kill", "close"], "the other tests must still run"
    assert "the witness fell asleep" in ended.output
    assert "seed 2; " in ended.output


def test_a_duration_goes_on_with_further_seeds(ran: Ran) -> None:
    assert _shirq("close", "--kernel", "6.1", "--attempts", "1", "--duration", "8").exit_code == 0
    assert [run[3] for run in ran] == [1, 2, 3, 4]


def test_the_small_run_begins_nothing_when_its_time_is_spent(ran: Ran) -> None:
    ended = _shirq("kill", "close", "exec", "pass", "--kernel", "6.1", "--size", "ci")
    assert [run[0] for run in ran] == ["kill", "close", "exec"]
    assert ended.exit_code == 0


def test_an_unknown_test_runs_nothing(ran: Ran) -> None:
    ended = _shirq("close", "kil")
    assert isinstance(ended.exception, BenchError)
    assert ran == []


@pytest.mark.parametrize(
    "words",
    [("crash", "--kernel", "debug"), ("crash", "--kernel", "6.12,debug"), ("storm", "--size", "ci")],
    ids=["on another kernel", "on others", "at another size"],
)
def test_a_choice_of_nothing_is_refused(ran: Ran, words: tuple[str, ...]) -> None:
    ended = _shirq(*words)
    assert isinstance(ended.exception, BenchError)
    assert f"{words[0]} does not run on " in str(ended.exception)
    assert ran == [] and not report.FILE.exists()


def test_the_page_adds_up_the_seeds_of_a_test_on_a_kernel(ran: Ran, tmp_path: Path) -> None:
    for seed in (1, 2):
        _shirq("kill", "close", "--kernel", "6.1", "--attempts", "5", "--seed", str(seed))
    page = tmp_path / "page.md"
    assert _shirq("--document", str(page)).exit_code == 0
    rows = [row for row in page.read_text().splitlines() if row.startswith(("| `kill`", "| `close`"))]
    date = json.loads(report.FILE.read_text())["tests"][0]["date"]
    title = cases.get("kill").title
    assert rows[0] == f"| `kill` | {title} | 6.1 (6.1.0-99) | 10 | 1 | 0 | 0 | 1, 2 | {date} | ends 6 |"
    assert rows[1].startswith("| `close` |")


def test_there_is_no_page_without_figures(ran: Ran, tmp_path: Path) -> None:
    ended = _shirq("--document", str(tmp_path / "page.md"))
    assert "run `make torture` first" in str(ended.exception)
    assert not (tmp_path / "page.md").exists()
