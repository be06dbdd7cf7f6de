# SPDX-License-Identifier: MIT
"""The supervisor answers the request that was made, keeps no descriptor, and refuses what it cannot pass on."""

from __future__ import annotations

import contextlib
import itertools
import os
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from shirq_bench.deadline import Deadline
from shirq_bench.supervisor import FIRST_FD, Supervisor


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    with contextlib.closing(Supervisor()) as it:
        it.disown(Path("folder"))  # Once it answers, it has opened its own descriptors.
        yield it


class Interrupted:
    """A socket whose first answer is not received because of Ctrl-C."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._first = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    def recv(self, size: int) -> bytes:
        if self._first:
            self._first = False
            raise KeyboardInterrupt
        data: bytes = self._channel.recv(size)
        return data


def _running(supervisor: Supervisor) -> list[list[str]]:
    """The command lines of the supervisor's processes that have not ended."""
    found = []
    for child in psutil.Process(supervisor.pid).children():
        with contextlib.suppress(psutil.Error):
            if child.status() != psutil.STATUS_ZOMBIE:
                found.append(child.cmdline())
    return found


def test_an_answer_that_nobody_waits_for_is_no_others(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does the process that was started for it go on."""
    monkeypatch.setattr(supervisor, "_socket", Interrupted(supervisor._socket))
    with pytest.raises(KeyboardInterrupt):
        supervisor.spawn(["sleep", "600"], [], tmp_path / "first")
    pid, ended = supervisor.spawn(["sleep", "601"], [], tmp_path / "second")
    os.close(ended)
    supervisor.own(tmp_path / "folder")
    end = Deadline(20)
    while (running := _running(supervisor)) != [["sleep", "601"]] and not end.passed:
        time.sleep(0.01)
    assert running == [["sleep", "601"]]
    assert psutil.Process(pid).cmdline() == ["sleep", "601"]


def _descriptors(supervisor: Supervisor) -> set[int]:
    return {int(path.name) for path in Path(f"/proc/{supervisor.pid}/fd").iterdir()}


@contextlib.contextmanager
def _left(supervisor: Supervisor, most: int) -> Iterator[None]:
    """In the block the supervisor can open this many descriptors more."""
    opened = _descriptors(supervisor)
    limit = next(limit for limit in itertools.count(1) if len(set(range(limit)) - opened) == most)
    before = resource.prlimit(supervisor.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(supervisor.pid, resource.RLIMIT_NOFILE, (limit, before[1]))
    try:
        yield
    finally:
        resource.prlimit(supervisor.pid, resource.RLIMIT_NOFILE, before)


@pytest.fixture
def channels() -> Iterator[list[int]]:
    """40 descriptors."""
    with contextlib.ExitStack() as opened:
        pipes = [os.pipe() for _ in range(20)]
        found = [end for pipe in pipes for end in pipe]
        for end in found:
            opened.callback(os.close, end)
        yield found


@pytest.mark.parametrize(("left", "why"), [(60, "Too many open files"), (30, "only 30 have arrived")])
def test_a_process_that_does_not_start_leaves_no_descriptor(
    supervisor: Supervisor, channels: list[int], tmp_path: Path, left: int, why: str
) -> None:
    """A channel whose end is left open never ends."""
    before = _descriptors(supervisor)
    with _left(supervisor, left), pytest.raises(OSError, match=why):
        supervisor.spawn(["true"], channels, tmp_path / "output")
    assert _descriptors(supervisor) == before


def test_a_process_gets_all_of_many_channels(supervisor: Supervisor, channels: list[int], tmp_path: Path) -> None:
    script = "import os; print(*os.listdir('/proc/self/fd'))"
    _, ended = supervisor.spawn([sys.executable, "-S", "-E", "-c", script], channels, tmp_path / "output")
    with os.fdopen(ended) as status:
        assert status.read() == "0"
    seen = set(map(int, (tmp_path / "output").read_text().split()))
    assert seen >= {0, 1, 2, *range(FIRST_FD, FIRST_FD + len(channels))}
