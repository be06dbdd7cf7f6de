# SPDX-License-Identifier: MIT
"""Torture of the bench itself: it reads pytest's results, and finds files and processes that pytest left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shirq_bench import deadline
from shirq_bench.campaigns.torture import outside

_SUITE = """
import pytest, time
def test_passes(): pass
def test_fails(): assert 1 == 2
@pytest.mark.skip
def test_is_skipped(): pass
def test_takes_its_time(): time.sleep(600)
"""


def _run(directory: Path, *options: str) -> outside._Outcome:
    (directory / "pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider\n")
    (directory / "test_suite.py").write_text(_SUITE)
    return outside._pytest(directory, options, 1, directory / "kept")


def test_what_failed_or_was_left_out_is_told_from_what_passed(tmp_path: Path) -> None:
    outcome = _run(tmp_path, "-k", "not time")
    assert outcome.passed == ["test_suite.py::test_passes"]
    assert sorted(outcome.failed) == ["test_suite.py::test_fails", "test_suite.py::test_is_skipped"]
    assert "assert 1 == 2" in outcome.failed["test_suite.py::test_fails"]
    assert "test_fails" in (tmp_path / "kept/said").read_text()


def test_a_run_without_any_test_is_a_failure_of_pytest(tmp_path: Path) -> None:
    assert _run(tmp_path, "--no-such-option").failed.keys() == {"pytest"}


def test_a_run_that_does_not_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outside, "_DEADLINE", 1.0)
    monkeypatch.setattr(deadline, "competition", lambda: 5.0)
    (what,) = _run(tmp_path, "-k", "time").failed.values()
    assert what.startswith("pytest has not ended within 1 s (5 s on this busy host)")


def test_a_worker_that_is_killed_is_a_crash_and_the_others_go_on(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider\n")
    (tmp_path / "begun").mkdir()
    (tmp_path / "test_suite.py").write_text(
        "import os, pathlib, pytest, time\n"
        "@pytest.mark.parametrize('n', range(20))\n"
        "def test_it(n):\n"
        "    pathlib.Path(__file__).with_name('begun').joinpath(str(os.getpid())).touch()\n"
        "    time.sleep(0.5)\n"
    )
    killer = outside._Killer(3, tmp_path / "begun", most=2, between_s=1.0)
    outcome = outside._pytest(tmp_path, ["-n2"], 4, tmp_path / "kept", meanwhile=killer.run)
    assert killer.kills, "no worker was killed"
    assert len(outcome.passed) + len(outcome.failed) == 20
    assert len(outcome.failed) <= killer.kills
    assert all("crashed" in what for what in outcome.failed.values())


def test_leftover_directory_and_process_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory and a process that pytest left behind are reported."""
    monkeypatch.setattr(outside, "_PATIENCE_S", 0.5)
    assert outside._left(tmp_path) == []
    (tmp_path / "shirq-left").mkdir()
    code = [sys.executable, "-c", "import time; time.sleep(600)"]
    sleeper = subprocess.Popen(code, env={**os.environ, "TMPDIR": str(tmp_path)})
    try:
        found = outside._left(tmp_path)
        assert sleeper.wait(300) == -signal.SIGKILL, "the process that was left behind must be killed"
    finally:
        sleeper.kill()
        sleeper.wait()
    assert found == ["left behind: shirq-left", f"process {sleeper.pid} outlived its test"]


def test_only_the_leaders_own_workers_are_killed(tmp_path: Path) -> None:
    """A new process may have the id of an ended worker: it does not belong to the tests and must not be killed."""
    begun = tmp_path / "begun"
    begun.mkdir()
    for pid in (os.getpid(), os.getppid()):
        (begun / str(pid)).touch()
    assert outside._workers(begun, os.getppid()) == [os.getpid()]


def test_a_cache_with_more_than_one_template_has_grown(tmp_path: Path) -> None:
    assert outside._grown(tmp_path) == ["the cache should hold one complete template, but holds []"]
    (tmp_path / "template/one").mkdir(parents=True)
    assert outside._grown(tmp_path) == []
    (tmp_path / "template/two").mkdir()
    assert outside._grown(tmp_path) == ["the cache should hold one complete template, but holds ['one', 'two']"]
