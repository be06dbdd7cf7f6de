# SPDX-License-Identifier: MIT
"""A deadline passes after its seconds on an idle host, and later on a busy host."""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast

import pytest

from shirq_bench.deadline import Deadline


class Host:
    """A fake host with two processors, whose clock and load the test sets."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.minute = 0.5
        self.running = 1

    def loadavg(self) -> str:
        return f"{self.minute:.2f} 0.30 0.20 {self.running}/345 6789\n"


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host()
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    monkeypatch.setattr("time.monotonic", lambda: host.now)
    monkeypatch.setattr(Path, "read_text", lambda path: host.loadavg())
    return host


def test_on_an_idle_host_it_passes_after_its_seconds(host: Host) -> None:
    end = Deadline(20)
    host.now += 19
    assert (end.passed, end.left, end.step) == (False, 1.0, 1.0)
    host.now += 1
    assert (end.passed, end.left, end.step) == (True, 0.0, 0.0)
    assert (str(end), end.stretched) == ("20 s", False)


@pytest.mark.parametrize("minute, running", [(10.0, 1), (0.5, 10)], ids=["for a minute", "since just now"])
def test_on_a_busy_host_it_is_stretched_by_the_load(host: Host, minute: float, running: int) -> None:
    host.minute, host.running = minute, running
    end = Deadline(20)
    host.now += 99
    assert not end.passed
    host.now += 1
    assert end.passed
    assert (str(end), end.stretched) == ("20 s (100 s on this busy host)", True)


def test_load_that_begins_during_a_wait_stretches_it(host: Host) -> None:
    end = Deadline(20)
    host.minute = 6.0
    host.now += 20
    assert end.left == 40.0
    host.minute = 1.0
    assert end.left == 40.0, "less load later must not shorten the stretched deadline"
    host.now += 40
    assert end.passed


def test_a_descriptor_is_waited_for_as_long_as_the_load_demands(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing_comes(*wanted: object) -> tuple[list[int], list[int], list[int]]:
        host.now += cast(float, wanted[-1])
        if host.now >= 1010:
            host.minute = 6.0
        return [], [], []

    monkeypatch.setattr("select.select", nothing_comes)
    assert not Deadline(20).readable(0)
    assert host.now == 1060
    monkeypatch.setattr("select.select", lambda *wanted: ([7], [], []))
    assert Deadline(20).readable(7)


def test_it_is_not_stretched_without_bounds(host: Host) -> None:
    host.minute = 4000.0
    end = Deadline(1)
    host.now += 20
    assert end.passed
