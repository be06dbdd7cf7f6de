# SPDX-License-Identifier: MIT
"""The plugin's options, markers and order of tests, without a guest."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from _pytest.fixtures import FixtureFunctionDefinition

from shirq_bench import plugin
from shirq_bench.build import kernel
from shirq_bench.machine import Machine

TOP = Path(__file__).parents[2]


def run(directory: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    """Run pytest in ``directory`` as somebody would who has installed the plugin; its status and what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=directory,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stdout


def test_an_unknown_kernel_is_refused_before_any_test_runs(tmp_path: Path) -> None:
    status, said = run(tmp_path, "--kernel", "6.1,9.9")
    assert status == pytest.ExitCode.USAGE_ERROR
    assert f"--kernel 9.9: there are {', '.join(kernel.names())}, or a vmlinuz's path" in said


def test_every_test_with_a_guest_runs_on_every_chosen_kernel(tmp_path: Path) -> None:
    (tmp_path / "vmlinuz-mine").touch()
    (tmp_path / "test_it.py").write_text("def test_x(kernel_name): print('on', kernel_name)\ndef test_y(): pass\n")
    status, said = run(tmp_path, "-rP", "--kernel", "6.12,./vmlinuz-mine")
    assert status == 0, said
    assert "on 6.12" in said and "on ./vmlinuz-mine" in said
    assert "3 passed" in said
    assert "test_x[vmlinuz-mine]" in said
    _, listed = run(tmp_path, "--collect-only", "-q", "--kernel", "all")
    assert [line for line in listed.splitlines() if "test_x" in line] == [
        f"test_it.py::test_x[{name}]" for name in kernel.names()
    ]


def test_options_markers_and_fixtures_explain_themselves(tmp_path: Path) -> None:
    _, options = run(tmp_path, "--help")
    assert all(option in options for option in ("--kernel=NAME", "--artefacts=DIR", "shirq_splats"))
    _, markers = run(tmp_path, "--markers")
    for marker in ("splats_expected", "invariants_broken(reason)", "alone", "smoke"):
        assert f"@pytest.mark.{marker}: " in markers
    _, fixtures = run(tmp_path, "--fixtures")
    for fixture in ("boot", "vm", "kernel_name"):
        (at,) = [n for n, line in enumerate(fixtures.splitlines()) if line.startswith(f"{fixture} ")] or [
            n for n, line in enumerate(fixtures.splitlines()) if line.startswith(f"{fixture} [session")
        ]
        assert "no docstring" not in fixtures.splitlines()[at + 1]


_MEASURES = """
import time
from pathlib import Path
import pytest

DIARY = Path(__file__).with_name("diary")

def note(text):
    with DIARY.open("a") as file:
        file.write(f"{text}\\n")

@pytest.mark.parametrize("n", range(6))
def test_any(n):
    note("begin any")
    time.sleep(0.1)
    note("end any")

@pytest.mark.parametrize("n", range(2))
@pytest.mark.alone
def test_measure(n):
    note("begin alone")
    time.sleep(0.5)
    note("end alone")

@pytest.mark.parametrize("n", range(6))
def test_other(n):
    note("begin any")
    time.sleep(0.1)
    note("end any")
"""


def test_a_test_that_measures_runs_with_no_other_beside_it(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(_MEASURES)
    status, said = run(tmp_path, "-n3")
    assert status == 0, said
    diary = (tmp_path / "diary").read_text().splitlines()
    assert len(diary) == 2 * 14
    running = 0
    for number, line in enumerate(diary):
        if line == "begin alone":
            assert running == 0, diary
            assert diary[number + 1] == "end alone", diary
        running += 1 if line.startswith("begin") else -1


def test_the_readme_explains_every_field_option_marker_and_fixture() -> None:
    readme = (TOP / "harness/README.md").read_text()
    documented = {
        word for cell in re.findall(r"^\| (`.*?) \|", readme, re.MULTILINE) for word in re.findall(r"[\w-]+", cell)
    }
    fixtures = {name for name, value in vars(plugin).items() if isinstance(value, FixtureFunctionDefinition)}
    markers = {name.partition("(")[0] for name in plugin._MARKERS}
    fields = {field.name for field in dataclasses.fields(Machine)}
    assert fixtures == {"boot", "vm", "kernel_name"}
    assert {*fields, *markers, *fixtures, "--kernel", "--artefacts", "--coverage", "shirq_splats"} <= documented


def test_only_the_plugins_that_the_project_names_are_loaded(tmp_path: Path) -> None:
    """Another's plugin that happens to be installed would change, or break, the tests."""
    stranger = tmp_path / "stranger-1.0.dist-info"
    stranger.mkdir()
    (stranger / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (stranger / "entry_points.txt").write_text("[pytest11]\nstranger = stranger\n")
    (tmp_path / "stranger.py").write_text("raise RuntimeError('a plugin that nobody asked for')\n")
    path = f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"
    few = ["--collect-only", "-q", "tests/host/test_cache.py"]
    status, said = run(TOP, *few, PYTHONPATH=path)
    assert status == 0, said
    _, said = run(TOP, "-o", "addopts=", *few, PYTHONPATH=path)
    assert "a plugin that nobody asked for" in said
