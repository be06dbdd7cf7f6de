# SPDX-License-Identifier: MIT
"""If the probe kernel does not boot in time, the verdict on KVM is permanent; on a busy host it holds for an hour."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from shirq_bench import deadline, plugin
from shirq_bench.provision import cache, kernel
from shirq_bench.vm import accel, environment
from shirq_bench.vm.accel import Accelerator


@pytest.fixture
def emulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An emulator that hangs before its first message, on a machine whose /dev/kvm can be opened."""
    emulator = tmp_path / "qemu-system-x86_64"
    emulator.write_text("#!/bin/sh\nexec sleep 1000\n")
    emulator.chmod(0o755)
    (tmp_path / "kvm").touch()
    monkeypatch.delenv("SHIRQ_ACCEL", raising=False)
    monkeypatch.setenv("SHIRQ_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(accel, "NODE", tmp_path / "kvm")
    monkeypatch.setattr(accel, "PROBE_DEADLINE", 0.1)
    monkeypatch.setattr(kernel, "get", lambda name: kernel.Kernel(name, name, emulator, tmp_path, tmp_path, name))
    return emulator


@pytest.mark.parametrize(
    ("competition", "said"),
    [(1.0, "does not boot within 0.1 s"), (20.0, "does not boot within 0.1 s (2 s on this busy host)")],
    ids=["idle host", "busy host"],
)
def test_a_timeout_on_a_busy_host_is_kept_for_an_hour(
    emulator: Path, monkeypatch: pytest.MonkeyPatch, competition: float, said: str
) -> None:
    monkeypatch.setattr(deadline, "competition", lambda: competition)
    found = accel.verdict(emulator)
    assert found.name == "tcg"
    assert found.why.endswith(said)
    assert accel.cached(emulator) == found
    hour = accel._hour()
    monkeypatch.setattr(accel, "_hour", lambda: hour + " and one")
    assert accel.cached(emulator) == (found if competition == 1 else None)


def test_a_verdict_in_a_read_only_cache_is_read(emulator: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The head of each test run has it: an error there would end the run."""

    def read_only(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    found = Accelerator("tcg", "KVM is broken here")
    place = cache.root() / "accel" / accel._key(emulator)
    place.mkdir(parents=True)
    accel._write(place, found)
    monkeypatch.setattr(os, "utime", read_only)
    assert accel.cached(emulator) == found


def test_an_environment_that_cannot_be_read_ends_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(environment, "describe", fails)
    config: Any = SimpleNamespace(getoption=lambda _: "6.1")
    (line,) = plugin.pytest_report_header(config)
    assert line == "shirq-bench: the environment of the guests is unknown: [Errno 5] Input/output error"
