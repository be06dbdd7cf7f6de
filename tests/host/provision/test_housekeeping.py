# SPDX-License-Identifier: MIT
"""`shirq gc` deletes entries that were not used lately, and keeps entries in use, in whatever way they are used."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shirq_bench.deadline import Deadline
from shirq_bench.provision import cache, housekeeping
from shirq_bench.provision.apt import Suites
from shirq_bench.vm import accel

DAY = 86400


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SHIRQ_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def aged(path: Path, days: float) -> Path:
    """Set the times of ``path`` as if it was last used ``days`` ago."""
    then = time.time() - days * DAY
    for inside in (*(path.iterdir() if path.is_dir() else ()), path):
        os.utime(inside, (then, then))
    return path


def entry(kind: str, key: str, days: float) -> Path:
    return aged(cache.entry(kind, key, lambda directory: _fill(directory)), days)


def _fill(directory: Path) -> None:
    (directory / "content").write_bytes(b"x" * 100_000)


def names(older_than: float) -> list[str]:
    return [item.name for item in housekeeping.unused(older_than)]


def test_what_is_older_than_asked_goes_and_the_rest_stays(root: Path) -> None:
    old, new = entry("template", "6.1-0123", 9), entry("template", "6.1-4567", 3)
    (item,) = housekeeping.unused(7)
    assert (item.kind, item.path) == ("template", old)
    assert item.size >= 100_000
    assert item.age == pytest.approx(9 * DAY, abs=60)
    assert housekeeping.delete(item)
    assert list((root / "template").iterdir()) == [new]


def test_an_entry_is_made_anew_after_it_went(root: Path) -> None:
    entry("image", "0123", 9)
    assert all(housekeeping.delete(item) for item in housekeeping.unused(7))
    assert (cache.entry("image", "0123", _fill) / "content").stat().st_size == 100_000


def test_what_was_used_within_the_hour_stays_whatever_is_asked(root: Path) -> None:
    entry("image", "0123", 50 / 60 / 24)
    assert names(0) == []
    aged(root / "image/0123", 70 / 60 / 24)
    assert names(0) == ["image/0123"]


def test_using_an_entry_makes_it_young(root: Path) -> None:
    entry("image", "0123", 9)
    cache.entry("image", "0123", _fill)
    assert names(7) == []


def test_package_lists_are_used_by_whoever_asks_them(root: Path) -> None:
    """Package lists count as used when a version of a source is read from them, as every run does for QEMU's."""
    lists = root / "apt/trixie"
    lists.mkdir(parents=True)
    (lists / "updated").touch()
    (lists / "version-qemu").write_text("10.0.1")
    aged(lists, 40)
    assert names(30) == ["apt/trixie"]
    assert Suites("trixie").source_version("qemu") == "10.0.1"
    assert names(30) == []


def test_a_verdict_is_used_by_whoever_reads_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root.mkdir()
    (root / "kvm").touch()
    monkeypatch.setattr(accel, "NODE", root / "kvm")
    monkeypatch.delenv("SHIRQ_ACCEL", raising=False)
    emulator = root / "qemu/0123/qemu-system-x86_64"
    found = accel.Accelerator("tcg", "it hangs")
    verdict = cache.entry("accel", accel._key(emulator), lambda directory: accel._write(directory, found))
    aged(verdict, 40)
    assert names(30) == [f"accel/{verdict.name}"]
    assert accel.verdict(emulator) == found
    assert names(30) == []


def test_a_working_directory_is_as_young_as_the_log_in_it(root: Path) -> None:
    work = entry("qemu-work", "0123", 9)
    assert names(7) == ["qemu-work/0123"]
    with (work / "content").open("a") as log:
        log.write("ninja was here")
    aged_directory = time.time() - 9 * DAY
    os.utime(work, (aged_directory, aged_directory))
    assert names(7) == []


def test_what_is_being_made_stays(root: Path) -> None:
    partial = aged(_partial(root), 1)
    with cache.lock("kernel-debug-0123"):
        assert names(0) == []
    (item,) = housekeeping.unused(0)
    assert (item.path, item.partial) == (partial, True)
    with cache.lock("kernel-debug-0123"):
        assert not housekeeping.delete(item)
    assert housekeeping.delete(item)
    assert list((root / "kernel").iterdir()) == []


def _partial(root: Path) -> Path:
    partial = root / "kernel/.partial-debug-0123-ab_cd3f9"
    partial.mkdir(parents=True)
    _fill(partial)
    return partial


def test_remains_of_an_interrupted_build_go_however_young(root: Path) -> None:
    """Remains of an interrupted build are deleted, however young they are."""
    aged(_partial(root), 2 / 24)
    assert names(30) == ["kernel/.partial-debug-0123-ab_cd3f9"]


@pytest.fixture
def process() -> Iterator[list[subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for it in started:
        it.kill()
        it.wait()


@pytest.mark.parametrize(
    "how",
    [
        ["sleep 60 & wait; : mem-path={0}/content,share=off"],
        ["exec 3<{0}/content; sleep 60 & wait"],
        ["cd {0}; sleep 60 & wait"],
    ],
    ids=["named by", "open in", "the directory of"],
)
def test_what_a_running_process_uses_stays(root: Path, how: list[str], process: list[subprocess.Popen[bytes]]) -> None:
    used = entry("template", "6.1-0123", 9)
    assert names(7) == ["template/6.1-0123"]
    shell = subprocess.Popen(
        ["sh", "-c", f"echo ready; {how[0].format(used)}"], stdout=subprocess.PIPE, start_new_session=True
    )
    process.append(shell)
    assert shell.stdout is not None
    shell.stdout.readline()
    end = Deadline(60)
    while names(7) and not end.passed:  # The shell prints before it acts.
        time.sleep(0.01)
    assert names(7) == []
    os.killpg(shell.pid, 9)
    shell.wait()
    assert names(7) == ["template/6.1-0123"]


def test_a_name_that_begins_alike_is_not_in_use(root: Path, process: list[subprocess.Popen[bytes]]) -> None:
    entry("template", "6.1-0123", 9)
    longer = entry("template", "6.1-01234", 9)
    process.append(subprocess.Popen(["tail", "-f", longer / "content"], stdout=subprocess.DEVNULL))
    assert names(7) == ["template/6.1-0123"]


def test_what_came_into_use_after_it_was_listed_stays(root: Path) -> None:
    entry("template", "6.1-0123", 9)
    (item,) = housekeeping.unused(7)
    cache.entry("template", "6.1-0123", _fill)
    assert not housekeeping.delete(item)
    assert (root / "template/6.1-0123/content").exists()


def test_old_logs_go_and_locks_stay(root: Path) -> None:
    with cache.lock("apt-bookworm"):
        pass
    aged(root / "locks/apt-bookworm.lock", 99)
    (root / "kernel.log").touch()
    aged(root / "kernel.log", 99)
    assert names(30) == ["kernel.log"]
    assert housekeeping.delete(housekeeping.unused(30)[0])
    assert not (root / "kernel.log").exists()
