# SPDX-License-Identifier: MIT
"""The coverage report adds up the counts of guests and host tests, and compares the sum with a bound."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from shirq_bench.errors import BenchError
from shirq_bench.observe import coverage

_SOURCE = """
int main(int argc, char **argv)
{
	if (argc == 1)
		return 0;
	argc += argv[1][0] == 'b';
	return 1;
}
"""


@pytest.fixture
def counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of --shirq-coverage for guests whose module is `_SOURCE`; no guest has run the module yet."""
    source = tmp_path / "kmod"
    notes = tmp_path / "counted/guests/debug/notes"
    for folder in (source, notes, tmp_path / "counted/host"):
        folder.mkdir(parents=True)
    (source / "main.c").write_text(_SOURCE)
    subprocess.run(["gcc", "--coverage", "-o", "program", "main.c"], cwd=source, check=True)
    (source / "program-main.gcno").rename(notes / "program-main.gcno")
    monkeypatch.setattr(coverage, "KMOD", source)
    monkeypatch.setattr(coverage, "BUILD", tmp_path / "build")
    return tmp_path / "counted"


def _run(counted: Path, guest: str, *arguments: str) -> None:
    """Run the module's program as a guest does, which writes its counters."""
    folder = counted / "guests/debug" / guest
    folder.mkdir()
    where = {"GCOV_PREFIX": str(folder), "GCOV_PREFIX_STRIP": "99"}
    subprocess.run([counted.parent / "kmod/program", *arguments], env={**os.environ, **where})


def _never_ran(counted: Path) -> list[int]:
    (file,) = json.loads((counted.parent / "build/reports/kmod-coverage.json").read_text())["files"]
    assert file["file"] == "main.c"
    return [line["line_number"] for line in file["lines"] if not line["count"]]


def test_a_line_has_run_if_any_guest_ran_it(counted: Path) -> None:
    _run(counted, "vm1-a")
    (counted / "guests/debug/vm2-a").mkdir()  # This guest never loaded the module.
    assert coverage.report(counted, at_least=100) == 2
    assert _never_ran(counted) == [6, 7]
    _run(counted, "vm3-a", "b")
    assert coverage.report(counted, at_least=100) == 0
    assert _never_ran(counted) == []
    assert (counted.parent / "build/reports/kmod-coverage/index.html").exists()


def test_guests_whose_last_counters_are_lost_are_named(counted: Path, capfd: pytest.CaptureFixture[str]) -> None:
    _run(counted, "vm1-a")
    (counted / "missed").write_text("test_a_guest_reboots: vm7\n")
    coverage.report(counted, at_least=0)
    assert "test_a_guest_reboots: vm7" in capfd.readouterr().out


def test_without_any_guests_counters_there_is_no_figure(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"no counters of a guest: run guest tests on a kernel with GCOV \(debug\)"):
        coverage.report(tmp_path, at_least=0)


@pytest.fixture
def guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the guest's script reads and writes: its debugfs, which is mounted, and its /tmp."""
    for folder in ("debug/gcov/kmod", "tmp", "bin"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "debug/gcov/kmod/main.gcda").write_text("counted")
    # The guest has busybox's programs, and no others.
    for name in ("cat", "find", "mkdir", "sh", "tar", "test"):
        (tmp_path / "bin" / name).symlink_to(shutil.which(name) or "")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin")
    return tmp_path


def _counters(guest: Path) -> subprocess.CompletedProcess[bytes]:
    script = coverage._COUNTERS.replace("/tmp/", f"{guest}/tmp/").replace("/sys/kernel/debug", str(guest / "debug"))
    return subprocess.run(["sh", "-c", script], capture_output=True, timeout=60)


def test_the_counters_of_a_guest_are_an_archive(guest: Path) -> None:
    done = _counters(guest)
    assert (done.returncode, done.stderr) == (0, b"")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
        assert sorted(tar.getnames()) == [".", "./main.gcda"]


def _unreadable(guest: Path) -> None:
    (guest / "debug/gcov/kmod/other.gcda").mkdir()
    (guest / "debug/gcov/kmod/z.gcda").write_text("the last copy does not fail")


def _missing(guest: Path) -> None:
    shutil.rmtree(guest / "debug/gcov")


def _full(guest: Path) -> None:
    (guest / "tmp/counters").write_text("no folder")


@pytest.mark.parametrize("spoil", [_unreadable, _missing, _full])
def test_counters_that_are_not_copied_fail_the_script(guest: Path, spoil: Callable[[Path], None]) -> None:
    """A part of the counters would lower the figure, and nobody would know."""
    spoil(guest)
    done = _counters(guest)
    assert (done.returncode != 0, done.stdout) == (True, b"")
