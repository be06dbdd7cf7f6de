# SPDX-License-Identifier: MIT
"""Failures have one form, with exact versions; logs of two runs are compared by their bytes, then by their events."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from logwriter import Story
from shirq_bench.channels.log import Entry, Kind
from shirq_bench.errors import BenchError
from shirq_bench.provision import checkout
from shirq_bench.replay import compare, failure
from shirq_bench.replay.failure import FILE, Failure, OfCase, OfCommand, OfSweep, OfTest, Source
from shirq_bench.replay.play import END, NOTE
from shirq_bench.vm import environment
from shirq_bench.vm.machine import Machine

_HOWS = [
    OfSweep(),
    OfTest("t.py::test", "/project", "pytest.ini", "6.1"),
    OfCase("/c.toml", "naive", "6.1"),
    OfCommand(("true",), 1.0, False),
]


@pytest.mark.parametrize("how", _HOWS, ids=["sweep", "test", "case", "command"])
def test_failure_of_each_kind_is_read_as_it_was_written(tmp_path: Path, how: failure.How) -> None:
    made = Failure("title", ("found", "more"), how, ("", "vm1"), {"QEMU": "10"}, {"/x": Source("file", "0")})
    made.save(tmp_path)
    assert failure.load(tmp_path) == made
    assert made.exact == isinstance(how, OfSweep)


def test_folder_without_a_failure_says_what_has_one(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"holds no failure.json: give the folder of a failed test"):
        failure.load(tmp_path)
    for text in ("{", "[" * 100_000):
        (tmp_path / FILE).write_text(text)
        with pytest.raises(BenchError, match="is no JSON"):
            failure.load(tmp_path)
        (tmp_path / "machine.json").write_text(text)
        with pytest.raises(BenchError, match=r"machine\.json does not describe a machine"):
            failure.machine_of(tmp_path)
    (tmp_path / FILE).write_text(json.dumps({"format": 9}))
    with pytest.raises(BenchError, match="the format is 9, but this shirq reads only format 1"):
        failure.load(tmp_path)


def test_recorded_failure_names_versions_and_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "versions", lambda machine: {"kernel": machine.kernel})
    driver, case, module = tmp_path / "driver.py", tmp_path / "c.toml", tmp_path / "module"
    driver.write_text("1")
    case.write_text("2")
    module.mkdir()
    (module / "Kbuild").write_text("3")
    folder = tmp_path / "kept"
    folder.mkdir()
    machines = {"": Machine(modules=(str(module),))}
    made = failure.record(folder, "t", ["f"], OfCase(str(case), str(driver), "6.1"), machines)
    assert failure.load(folder) == made
    assert made.versions == {"kernel": "6.1"}
    assert {Path(path).name: source.kind for path, source in made.sources.items()} == {
        "module": "module",
        "c.toml": "file",
        "driver.py": "file",
    }
    assert failure.machine_of(folder) == machines[""]
    driver.write_text("4")
    assert made.sources[str(driver)].now(driver) != made.sources[str(driver)]
    assert made.sources[str(module)].now(module) == made.sources[str(module)]


def test_versions_that_differ_are_named() -> None:
    there = {"QEMU": "10.0.1", "kernel": "6.1", "commit": "a"}
    here = {"QEMU": "10.0.2", "kernel": "6.1", "image": "0"}
    assert failure.different(there, here) == [
        "QEMU: 10.0.1 there, 10.0.2 here",
        "commit: a there, not known here",
        "image: not known there, 0 here",
    ]
    assert failure.different(there, there) == []


def test_findings_are_alike_apart_from_numbers() -> None:
    assert failure.alike(["late: 3.5 ms at 0xffff12"], ["late: 4 µs at 0x12"])
    assert not failure.alike(["late: 3.5 ms"], ["lost: 3.5 ms"])
    assert not failure.alike(["a"], ["a", "b"])


def test_project_has_what_git_does_not_ignore(tmp_path: Path) -> None:
    """Without git, hidden files and results of a build are no part of it."""
    for name in ("test_it.py", ".hidden", "build/result", "driver/mine.c", "driver/mine.o", "ignored"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    project = Source("project")
    assert [str(name) for name in project.files(tmp_path)] == ["driver/mine.c", "ignored", "test_it.py"]
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    (tmp_path / ".gitignore").write_text("ignored\nbuild\n*.o\n")
    assert [str(name) for name in project.files(tmp_path)] == [".gitignore", ".hidden", "driver/mine.c", "test_it.py"]


def test_commit_says_whether_files_differ_from_it(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="must be a git checkout"):
        checkout.describe(tmp_path)
    git = ["git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=e"]
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    (tmp_path / "file").write_text("1")
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "--quiet", "-m", "m"], check=True)
    commit = checkout.commit(tmp_path)
    assert len(commit) == 40 and checkout.describe(tmp_path) == commit
    (tmp_path / "file").write_text("2")
    assert checkout.describe(tmp_path) == f"{commit} and changes"


# ------------------------------------------------------------------- logs


def _log(*changes: tuple[int, Entry]) -> Story:
    return Story(("dev0",)).claimed_interrupt()


def test_equal_logs_are_identical_to_the_byte() -> None:
    found = compare.logs(_log().log(), _log().log())
    assert found.identical and found.place is None
    assert found.words.startswith("the log is identical to the byte: ")


def test_same_events_at_other_times_are_told_from_identical_ones() -> None:
    late = Story(("dev0",)).wait(1).claimed_interrupt()
    found = compare.logs(late.log(), _log().log())
    assert not found.identical and found.place is None
    assert "events, at other times" in found.words


@pytest.mark.parametrize("shorter", [False, True])
def test_first_entry_that_differs_is_named_in_both_runs(shorter: bool) -> None:
    other = _log()
    place = len(other.entries) - 3
    if shorter:
        del other.entries[place:]
    else:
        other.entries[place] = other.entries[place]._replace(value=77)
    found = compare.logs(other.log(), _log().log())
    assert (found.identical, found.place) == (False, place)
    assert found.words.startswith(f"the log differs first at entry {place}: ")
    assert ("the log ends; in the other run: " if shorter else "0x4d") in found.words


def test_what_follows_the_end_of_a_played_run_is_not_compared() -> None:
    """After the note that ends a run, the host asks the guest about its actors, at the host's times."""
    runs = []
    for more in (0, 1):
        told = _log().add(Kind.SCHEDULED, "dev0", value=END, width=NOTE)
        runs.append(told.wait(more).claimed_interrupt().log())
    assert compare.logs(*runs).identical
