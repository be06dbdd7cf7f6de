# SPDX-License-Identifier: MIT
"""`reportlog` reads the same outcomes of tests from pytest's report as pytest itself prints."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from shirq_bench.campaigns import reportlog
from shirq_bench.errors import BenchError

_SUITE = """
import pytest

@pytest.fixture
def absent():
    assert 0, "not there"

@pytest.fixture
def leaves():
    yield
    raise RuntimeError("left")

def test_passes(): pass
def test_fails(): assert 1 == 2
def test_has_no_fixture(absent): pass
def test_leaves(leaves): pass
@pytest.mark.skip(reason="not now")
def test_is_skipped(): pass
@pytest.mark.xfail
def test_is_to_fail(): assert 3 == 4
@pytest.mark.parametrize("n", ["a::b"])
def test_of(n): pass
"""


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """The report of a run of the suite, which also has a file that is not valid Python."""
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider --disable-plugin-autoload\n")
    (tmp_path / "test_suite.py").write_text(_SUITE)
    (tmp_path / "test_wrong.py").write_text("def\n")
    command = [sys.executable, "-m", "pytest", "-q", "--continue-on-collection-errors"]
    subprocess.run([*command, *reportlog.options(tmp_path / "report")], cwd=tmp_path, capture_output=True, timeout=300)
    return tmp_path / "report"


def test_each_test_came_out_as_pytest_says(report: Path) -> None:
    found = {test.name: test for test in reportlog.read(report)}
    wrong = found.pop("test_wrong.py")
    assert (wrong.outcome, wrong.when) == ("failed", "collect") and "SyntaxError" in wrong.message
    assert {name: (test.outcome, test.when, test.message.splitlines()[:1]) for name, test in found.items()} == {
        "test_passes": ("passed", "call", []),
        "test_fails": ("failed", "call", ["assert 1 == 2"]),
        "test_has_no_fixture": ("failed", "setup", ["failed on setup with AssertionError: not there"]),
        "test_leaves": ("failed", "teardown", ["failed on teardown with RuntimeError: left"]),
        "test_is_skipped": ("skipped", "setup", ["Skipped: not now"]),
        "test_is_to_fail": ("skipped", "call", ["assert 3 == 4"]),
        "test_of[a::b]": ("passed", "call", []),
    }
    assert found["test_of[a::b]"].id == "test_suite.py::test_of[a::b]"


def test_a_run_that_did_not_end_has_no_outcome(report: Path) -> None:
    lines = report.read_text().splitlines(keepends=True)
    report.write_text("".join(lines[:5]) + lines[5][:20])
    with pytest.raises(BenchError, match="pytest did not finish"):
        reportlog.read(report)
    with pytest.raises(BenchError, match="pytest did not finish"):
        reportlog.read(report.with_name("none"))
