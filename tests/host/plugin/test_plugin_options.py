# SPDX-License-Identifier: MIT
"""The plugin's options and markers and the order of tests, without a guest."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from _pytest.fixtures import FixtureFunctionDefinition

from shirq_bench import plugin
from shirq_bench.provision import kernel
from shirq_bench.vm.machine import Machine

TOP = Path(__file__).parents[3]


def run_without(directory: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    """Run pytest in ``directory``, a project that does not load the plugin; returns its status and output."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=directory,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    return done.returncode, done.stdout


def run(directory: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    """Run pytest in ``directory`` with the plugin loaded; returns its status and output."""
    return run_without(directory, "-p", "shirq_bench.plugin", *arguments, **environment)


#: A project whose option, fixture and marker have the same names as some of the bench's.
_UNRELATED = {
    "conftest.py": """
        import pytest

        def pytest_addoption(parser):
            parser.addoption("--kernel")

        def pytest_configure(config):
            config.addinivalue_line("markers", "needs_kernel(name): ours")

        @pytest.fixture
        def vm(pytestconfig):
            return pytestconfig.getoption("--kernel")
        """,
    "test_it.py": """
        import pytest

        @pytest.mark.needs_kernel("mine")
        def test_it(vm, tmp_path):
            assert vm == "mine"
            assert not list(tmp_path.parent.parent.glob("running"))
        """,
}


def _write(directory: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (directory / name).write_text(textwrap.dedent(text))


@pytest.mark.parametrize("question", ["--help", "--markers", "--fixtures"])
def test_an_unrelated_project_sees_nothing_of_the_plugin(tmp_path: Path, question: str) -> None:
    _, said = run_without(tmp_path, question)
    assert "tmp_path" in said or "skipif" in said or "usage:" in said
    assert not [word for word in ("shirq", "splats", "needs_kernel", "alone:", "boot") if word in said]


def test_an_unrelated_project_runs_as_if_alone(tmp_path: Path) -> None:
    """Such a project may use names of the bench, and its tests under pytest-xdist take no locks."""
    _write(tmp_path, _UNRELATED)
    status, said = run_without(tmp_path, "-n2", "--strict-markers", "--kernel", "mine")
    assert status == 0, said
    assert "1 passed" in said


@pytest.mark.parametrize(
    "loading",
    [
        {"pytest.ini": "[pytest]\naddopts = -p shirq_bench.plugin\n"},
        {"conftest.py": 'pytest_plugins = ["shirq_bench.plugin"]\n'},
    ],
    ids=["addopts", "conftest"],
)
def test_a_project_loads_the_plugin_in_either_way(tmp_path: Path, loading: dict[str, str]) -> None:
    _write(tmp_path, loading | {"test_it.py": "def test_x(kernel_name): print('on', kernel_name)\n"})
    status, said = run_without(tmp_path, "-rP", "--shirq-kernel", "6.12")
    assert status == 0, said
    assert "on 6.12" in said


@pytest.mark.parametrize("old", ["--kernel=6.1", "--artefacts=x", "--coverage=x"])
def test_options_without_the_prefix_are_unknown(tmp_path: Path, old: str) -> None:
    status, said = run(tmp_path, old)
    assert status == pytest.ExitCode.USAGE_ERROR
    assert f"unrecognized arguments: {old}" in said


@pytest.mark.parametrize(
    ("marker", "said"),
    [("needs_kernel('debgu')", "needs_kernel('debgu')"), ("needs_kernel", "needs_kernel()")],
    ids=["unknown kernel", "no kernel"],
)
@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_a_mistaken_needs_kernel_is_refused(tmp_path: Path, marker: str, said: str, workers: str) -> None:
    """A mistake in the marker is an error, because otherwise the test would never run, without a message."""
    _write(tmp_path, {"test_it.py": f"import pytest\n@pytest.mark.{marker}\ndef test_x(kernel_name): pass\n"})
    status, answer = run(tmp_path, workers)
    assert status != 0
    assert "INTERNALERROR" not in answer
    names = ", ".join(kernel.names())
    assert f"test_it.py::test_x is marked {said}: each must be the path of a vmlinuz or one of {names}" in answer


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("", "missing 1 required positional argument: 'reason'"),
        ("'a reason'", "the broken invariant must be named, such as guest_ends=True or line_of='dev0'"),
        ("'a reason', dropped=True", "unexpected keyword argument 'dropped'"),
    ],
    ids=["no reason", "nothing", "what is never excused"],
)
def test_a_mistaken_invariants_broken_is_refused(tmp_path: Path, arguments: str, said: str) -> None:
    """A waiver without a named invariant is an error, and no waiver can excuse dropped log entries."""
    _write(
        tmp_path, {"test_it.py": f"import pytest\n@pytest.mark.invariants_broken({arguments})\ndef test_x(): pass\n"}
    )
    status, answer = run(tmp_path)
    assert status != 0
    assert "INTERNALERROR" not in answer
    assert "test_it.py::test_x: invariants_broken: " in answer
    assert said in answer


_NO_GUEST = """
import unittest, pytest
@pytest.mark.needs_kernel("debug")
def test_function(): pass
@pytest.mark.needs_kernel("debug")
@pytest.mark.parametrize("n", [1])
def test_parameters(n): pass
class TestMethods(unittest.TestCase):
    @pytest.mark.needs_kernel("debug")
    def test_method(self): pass
"""


@pytest.mark.parametrize(("kernels", "outcome"), [("6.1,debug", "3 passed"), ("6.1", "3 deselected")])
def test_needs_kernel_without_a_guest_looks_at_the_session(tmp_path: Path, kernels: str, outcome: str) -> None:
    _write(tmp_path, {"test_it.py": _NO_GUEST})
    _, said = run(tmp_path, "--shirq-kernel", kernels)
    assert outcome in said


def test_no_lock_is_taken_where_no_test_is_alone(tmp_path: Path) -> None:
    test = "def test_x(tmp_path): assert not list(tmp_path.parent.parent.glob('running'))\n"
    _write(tmp_path, {"test_it.py": test})
    status, said = run(tmp_path, "-n2")
    assert status == 0, said
    assert "1 passed" in said


def test_an_unknown_kernel_is_refused_before_any_test_runs(tmp_path: Path) -> None:
    status, said = run(tmp_path, "--shirq-kernel", "6.1,9.9")
    assert status == pytest.ExitCode.USAGE_ERROR
    assert f"--shirq-kernel 9.9: unknown; give the path of a vmlinuz or one of {', '.join(kernel.names())}" in said


def test_every_test_with_a_guest_runs_on_every_chosen_kernel(tmp_path: Path) -> None:
    (tmp_path / "vmlinuz-mine").touch()
    (tmp_path / "test_it.py").write_text("def test_x(kernel_name): print('on', kernel_name)\ndef test_y(): pass\n")
    status, said = run(tmp_path, "-rP", "--shirq-kernel", "6.12,./vmlinuz-mine")
    assert status == 0, said
    assert "on 6.12" in said and "on ./vmlinuz-mine" in said
    assert "3 passed" in said
    assert "test_x[vmlinuz-mine]" in said
    _, listed = run(tmp_path, "--collect-only", "-q", "--shirq-kernel", "all")
    assert [line for line in listed.splitlines() if "test_x" in line] == [
        f"test_it.py::test_x[{name}]" for name in kernel.names()
    ]


def test_options_markers_and_fixtures_explain_themselves(tmp_path: Path) -> None:
    _, options = run(tmp_path, "--help")
    assert all(option in options for option in ("--shirq-kernel=NAME", "--shirq-artefacts=DIR", "shirq_splats"))
    _, markers = run(tmp_path, "--markers")
    for marker in (
        "splats_expected",
        "invariants_broken(reason, guest_ends=False, line_of='', guest=0)",
        "alone",
        "needs_kernel(*names)",
    ):
        assert f"@pytest.mark.{marker}: " in markers
    _, fixtures = run(tmp_path, "--fixtures")
    for fixture in ("boot", "vm", "kernel_name"):
        (at,) = [n for n, line in enumerate(fixtures.splitlines()) if line.startswith(f"{fixture} ")] or [
            n for n, line in enumerate(fixtures.splitlines()) if line.startswith(f"{fixture} [session")
        ]
        assert "no docstring" not in fixtures.splitlines()[at + 1]


_FAILS_AT_ITS_END = """
import pytest

@pytest.fixture
def anything():
    yield
    raise ValueError("at its end")

def test_without_a_guest(anything):
    pass
"""


def test_a_test_without_a_guest_leaves_no_artefacts(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(_FAILS_AT_ITS_END)
    status, said = run(tmp_path)
    assert status == 1 and "ValueError: at its end" in said
    assert "artefacts" not in said
    assert not (tmp_path / "build").exists()


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


def test_readme_explains_each_field_option_marker_and_fixture() -> None:
    """harness/README.md explains every field, option, marker and fixture."""
    readme = (TOP / "harness/README.md").read_text()
    documented = {
        word for cell in re.findall(r"^\| (`.*?) \|", readme, re.MULTILINE) for word in re.findall(r"[\w-]+", cell)
    }
    fixtures = {name for name, value in vars(plugin).items() if isinstance(value, FixtureFunctionDefinition)}
    markers = {name.partition("(")[0] for name in plugin._MARKERS}
    fields = {field.name for field in dataclasses.fields(Machine)}
    assert fixtures == {"boot", "vm", "kernel_name", "play_case"}
    assert {
        *fields,
        *markers,
        *fixtures,
        "--shirq-kernel",
        "--shirq-artefacts",
        "--shirq-coverage",
        "shirq_splats",
    } <= documented


def test_only_the_plugins_that_the_project_names_are_loaded(tmp_path: Path) -> None:
    """The project loads only the plugins that it names: others that are installed could change or break its tests."""
    stranger = tmp_path / "stranger-1.0.dist-info"
    stranger.mkdir()
    (stranger / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (stranger / "entry_points.txt").write_text("[pytest11]\nstranger = stranger\n")
    (tmp_path / "stranger.py").write_text("raise RuntimeError('a plugin that nobody asked for')\n")
    path = f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"
    few = ["--collect-only", "-q", "tests/host/provision/test_cache.py"]
    status, said = run(TOP, *few, PYTHONPATH=path)
    assert status == 0, said
    _, said = run(TOP, "-o", "addopts=", *few, PYTHONPATH=path)
    assert "a plugin that nobody asked for" in said


def test_the_reports_head_says_what_guests_run_on(tmp_path: Path) -> None:
    """pytest's header describes QEMU, the kernel and the host, even if nothing has been built yet."""
    _write(tmp_path, {"test_it.py": "def test_it(): pass"})
    status, said = run(tmp_path, "--shirq-kernel", "6.12", SHIRQ_CACHE=str(tmp_path / "cache"))
    assert status == 0
    head = said.partition("collected")[0]
    assert re.search(r"^QEMU: unknown until", head, re.MULTILINE)
    assert re.search(r"^kernel 6\.12: unknown until", head, re.MULTILINE)
    assert re.search(r"^host: Linux \S+, Python 3", head, re.MULTILINE)
    assert not (tmp_path / "cache").exists()


def test_steps_are_shown_as_they_end_if_asked_for(tmp_path: Path) -> None:
    """With -v, the plugin prints each step, although pytest captures output; without -v it prints none."""
    test = """
        from shirq_bench.journal import Journal, Kind

        def test_it():
            with Journal("vm7").during(Kind.COMMAND, "uname -r"):
                pass
        """
    _write(tmp_path, {"test_it.py": test})
    assert re.search(r"^  vm7 .* command uname -r$", run(tmp_path, "-v")[1], re.MULTILINE)
    assert "vm7" not in run(tmp_path)[1]
