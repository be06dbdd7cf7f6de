# SPDX-License-Identifier: MIT
"""The supervisor answers the request that was made, keeps no descriptor, and refuses what it cannot pass on."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from shirq_bench.deadline import Deadline
from shirq_bench.supervisor import Supervisor


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    with contextlib.closing(Supervisor()) as it:
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
