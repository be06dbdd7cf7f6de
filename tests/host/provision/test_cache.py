# SPDX-License-Identifier: MIT
"""The cache: an entry is complete or absent, is made once, and is made again if it is damaged."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from interruptible import INTERRUPTIBLE
from shirq_bench.deadline import Deadline
from shirq_bench.provision import cache

_BUILDER = """
import sys, time
from pathlib import Path
from shirq_bench.provision import cache
def build(directory):
    with open(sys.argv[1], "a") as log:
        log.write("built\\n")
    (directory / "part").write_bytes(b"x" * int(sys.argv[2]))
    time.sleep(0.3)
print(cache.entry("kind", "key", build))
"""

_LONG_BUILDER = """
import sys
from pathlib import Path
from shirq_bench.provision import cache
from shirq_bench.provision.steps import run
def build(directory):
    (directory / "part").write_text("half of it")
    run("a long step", ["sh", "-c", "echo pid=$$; sleep 600"], log=Path(sys.argv[1]))
cache.entry("kind", "key", build)
"""


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SHIRQ_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def _fill(directory: Path) -> None:
    (directory / "file").write_text("content")


def test_an_entry_is_made_once(root: Path) -> None:
    made = []

    def build(directory: Path) -> None:
        made.append(directory)
        _fill(directory)

    first = cache.entry("kind", "key", build)
    assert cache.entry("kind", "key", build) == first == root / "kind/key"
    assert len(made) == 1
    assert (first / "file").read_text() == "content"


@pytest.mark.parametrize("error", [RuntimeError("no"), KeyboardInterrupt()], ids=["error", "Ctrl-C"])
def test_a_build_that_fails_leaves_nothing_behind(root: Path, error: BaseException) -> None:
    def build(directory: Path) -> None:
        _fill(directory)
        raise error

    with pytest.raises(type(error)):
        cache.entry("kind", "key", build)
    assert list((root / "kind").iterdir()) == []


@pytest.mark.parametrize("damage", ["truncated", "lost", "interrupted"])
def test_a_damaged_entry_is_made_anew_and_said_to_be(
    root: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = cache.entry("kind", "key", _fill) / "file"
    if damage == "truncated":
        os.truncate(file, 3)
    elif damage == "lost":
        file.unlink()
    else:
        (root / "kind/key/.manifest").unlink()
    assert (cache.entry("kind", "key", _fill) / "file").read_text() == "content"
    assert "kind/key is damaged" in capsys.readouterr().err


def test_two_processes_that_want_the_same_entry_make_it_once(root: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    processes = [
        subprocess.Popen([sys.executable, "-c", _BUILDER, log, "10"], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    outputs = {process.communicate(timeout=300)[0] for process in processes}
    assert outputs == {f"{root}/kind/key\n"}
    assert log.read_text() == "built\n"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_killed_builder_leaves_no_commands_and_no_half_entry(
    root: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """If a builder is killed, the commands that it started end and the partial entry is removed."""
    builder = subprocess.Popen(
        [*INTERRUPTIBLE, sys.executable, "-c", _LONG_BUILDER, tmp_path / "log"], stderr=subprocess.DEVNULL
    )
    end = Deadline(60)
    try:
        while not (match := re.search(r"\npid=(\d+)\n", _text(tmp_path / "log"))):
            assert not end.passed, "the step has not begun"
            time.sleep(0.01)
        (partial,) = root.glob("kind/.partial-key-*")
        assert (partial / "part").exists()
        step = os.pidfd_open(int(match[1]))
        builder.send_signal(number)
        ended = Deadline(60).readable(step)
        os.close(step)
        assert ended, "the command outlived its builder"
    finally:
        builder.kill()
        builder.wait()
    end = Deadline(60)
    while partial.exists():
        assert not end.passed, f"{partial} outlived its builder"
        time.sleep(0.01)


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def test_half_entry_of_a_crashed_machine_goes_when_made_anew(root: Path) -> None:
    """A partial entry that a crash has left is removed when the entry is built again."""
    left = root / "kind/.partial-key-0abcd123"
    other = root / "kind/.partial-key2-0abcd123"
    for directory in (left, other):
        directory.mkdir(parents=True)
        _fill(directory)
    cache.entry("kind", "key", _fill)
    assert sorted(path.name for path in (root / "kind").iterdir()) == [other.name, "key"]


def test_full_disk_is_reported_with_a_remedy_and_leaves_nothing(root: Path) -> None:
    """If the disk is full, the error contains the remedy, and no partial entry remains."""

    def build(directory: Path) -> None:
        _fill(directory)
        (directory / "part").symlink_to("/dev/full")
        (directory / "part").write_text("does not fit")

    with pytest.raises(cache.CacheError, match=rf"no space left in the cache {root} for kind/key.*SHIRQ_CACHE"):
        cache.entry("kind", "key", build)
    assert list((root / "kind").iterdir()) == []


def test_the_key_depends_on_names_contents_and_modes(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    file = tmp_path / "tree/file"
    file.write_text("a")
    keys = [cache.digest(tmp_path / "tree")]
    file.write_text("b")
    keys.append(cache.digest(tmp_path / "tree"))
    file.chmod(0o755)
    keys.append(cache.digest(tmp_path / "tree"))
    file.rename(tmp_path / "tree/other")
    keys.append(cache.digest(tmp_path / "tree"))
    keys.append(cache.digest(tmp_path / "tree", "more"))
    assert len(set(keys)) == len(keys)


def test_a_read_only_cache_is_used_all_the_same(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = cache.entry("kind", "key", lambda directory: (directory / "file").touch())

    def read_only(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "utime", read_only)
    assert cache.entry("kind", "key", lambda directory: pytest.fail("it is made anew")) == made
