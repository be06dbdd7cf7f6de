# SPDX-License-Identifier: MIT
"""The same tests on one kernel after another, and the page about it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from shirq_bench.campaigns import matrix
from shirq_bench.cli import matrix as cli
from shirq_bench.provision import kernel

_TEST = """
import pytest

@pytest.mark.smoke
def test_one(): pass

@pytest.mark.smoke
def test_two(pytestconfig):
    assert pytestconfig.getoption("--shirq-kernel") == "6.1", "a | of `this`"

@pytest.mark.smoke
@pytest.mark.skip
def test_three(): pass

@pytest.mark.long
def test_long(): pass
"""
_CONFTEST = 'def pytest_addoption(parser): parser.addoption("--shirq-kernel")\n'


@dataclasses.dataclass
class _Made:
    release: str
    version: str = "as built"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with four tests, whose kernels need not be built."""
    tests = tmp_path / "tests" / "guest"
    tests.mkdir(parents=True)
    (tests / "test_it.py").write_text(_TEST)
    (tests / "conftest.py").write_text(_CONFTEST)
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -p no:shirq\nmarkers =\n smoke:\n long:\n")
    monkeypatch.setattr(kernel, "get", lambda name: _Made(f"{name}.0-amd64"))
    return tmp_path


@pytest.mark.parametrize(
    ("chosen", "name", "passed", "failed"), [("smoke", "6.1", 2, 0), ("guest", "6.1", 2, 0), ("smoke", "6.12", 1, 1)]
)
def test_a_kernel_has_the_outcomes_of_its_tests(
    project: Path, chosen: str, name: str, passed: int, failed: int
) -> None:
    found = matrix.measure(project, name, chosen)
    assert (found["release"], found["version"], found["set"]) == (f"{name}.0-amd64", "as built", chosen)
    assert (found["passed"], found["skipped"], len(found["failed"])) == (passed, 1, failed)
    assert ["a | of `this`" in why for why in found["failed"].values()] == [True] * failed


_SKIPPED = "import pytest\n@pytest.mark.smoke\n@pytest.mark.skip\ndef test_it(): pass\n"


@pytest.mark.parametrize("broken", ["import nothing_like_this\n", "import os\nos._exit(3)\n", "\n", _SKIPPED])
def test_a_run_without_a_result_is_a_failure(project: Path, broken: str) -> None:
    """A test file that cannot be read, a pytest that dies, no test at all, or none that is not skipped."""
    (project / "tests" / "guest" / "test_it.py").write_text(broken)
    found = matrix.measure(project, "6.1", "smoke")
    assert found["passed"] == 0 and found["failed"]


def test_the_page_has_a_row_for_each_kernel_and_each_failure() -> None:
    common = {"set": "smoke", "skipped": 0, "date": "2026-12-01"}
    report = {
        "kernels": {
            "6.1": {"release": "6.1.0-57-amd64", "passed": 7, "failed": {}, **common},
            "6.1-rt": {
                "release": "6.1.0-57-rt-amd64",
                "passed": 6,
                "failed": {"test_x[a]": "a | `b` <c>\nmore"},
                **common,
            },
        }
    }
    page = matrix.document(report, ["6.1", "6.1-rt", "debug"])
    assert "| `6.1` | 6.1.0-57-amd64 | smoke | 7 | 0 | 0 | 2026-12-01 |" in page
    assert "| `6.1-rt` | 6.1.0-57-rt-amd64 | smoke | 6 | 1 | 0 | 2026-12-01 |" in page
    assert "| `debug` | - | not run | - | - | - | - |" in page
    assert page.endswith("Failed:\n\n- `6.1-rt`: `test_x[a]`: a \\| 'b' &lt;c>\n")


@pytest.fixture
def shirq_matrix(project: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    monkeypatch.setattr(cli, "need_checkout", lambda what: project)
    monkeypatch.setattr(cli, "REPORT", project / "build" / "matrix.json")
    monkeypatch.setattr(kernel, "names", lambda stock=False: ["6.1", *([] if stock else ["debug"])])
    (project / "docs").mkdir()

    def run(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(cli.command, arguments)
        return done.exit_code, done.output

    return run


def test_results_of_other_kernels_stay_and_a_failure_is_the_status(
    project: Path, shirq_matrix: Callable[..., tuple[int, str]]
) -> None:
    status, said = shirq_matrix()
    assert status == 0 and "passed  6.1      6.1.0-amd64: 2 passed, 0 failed, 1 skipped" in said
    assert not (project / "docs" / "matrix.md").exists()
    status, said = shirq_matrix("--kernel", "debug", "--document")
    assert status == 1 and "FAILED  debug    debug.0-amd64: 1 passed, 1 failed, 1 skipped" in said
    assert "tests/guest/test_it.py::test_two" in said or "test_two" in said
    report = json.loads((project / "build" / "matrix.json").read_text())
    assert [found["passed"] for found in report["kernels"].values()] == [2, 1]
    assert "| `debug` | debug.0-amd64 | smoke | 1 | 1 | 1 |" in (project / "docs" / "matrix.md").read_text()
