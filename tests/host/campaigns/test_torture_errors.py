# SPDX-License-Identifier: MIT
"""An error of one guest of a torture test is a failure of it, and does not end the others."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from shirq_bench.campaigns.torture import case as cases
from shirq_bench.campaigns.torture import guests, outside, run
from shirq_bench.campaigns.torture.guests import Round
from shirq_bench.campaigns.torture.oracle import Neighbour, Verdict
from shirq_bench.channels.log import KERNEL_RING
from shirq_bench.errors import BenchError
from shirq_bench.vm import template

_FULL = OSError(errno.ENOSPC, "No space left on device")
_ERRORS = pytest.mark.parametrize("error", [BenchError("the guest is gone"), _FULL], ids=["bench", "host"])


@_ERRORS
def test_a_guest_that_ends_with_an_error_is_a_failure(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    made: list[int] = []

    def one(case: cases.Case, kernel: str, count: int, seed: int, *_: object) -> Round:
        made.append(count)
        if len(made) == 2:
            raise error
        return Round(seed, attempts=count)

    monkeypatch.setattr(guests, "run", one)
    monkeypatch.setattr(run, "parts", lambda kernel: SimpleNamespace(kernel=SimpleNamespace(release="6.1.0")))
    case = next(case for case in cases.load().values() if case.by not in outside.OUTSIDE and case.round)
    result = run.torture(case, "6.1", 3 * case.round, seed=1)
    assert (len(made), result.attempts, result.failures) == (3, 2 * case.round, [str(error)])


@_ERRORS
def test_a_play_that_ends_with_an_error_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception
) -> None:
    runs: list[Path] = []

    def play(case: object, driver: str, kernel: str, keep: Path) -> Any:
        runs.append(keep)
        if len(runs) == 2:
            raise error
        return SimpleNamespace(expected=True)

    monkeypatch.setattr(outside, "play", play)
    case = next(case for case in cases.load().values() if case.by == "zoo")
    round_ = outside.by_zoo(case, "6.1", 3, 1, tmp_path)
    assert (round_.attempts, round_.failures) == (2, [f"run 1: {error}"])


@_ERRORS
def test_an_unstarted_guest_is_a_failure_though_it_is_not_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception
) -> None:
    def boot() -> None:
        raise error

    def keep(directory: Path) -> None:
        raise _FULL

    @contextlib.contextmanager
    def clone(machine: object, name: str) -> Iterator[Any]:
        yield SimpleNamespace(boot=boot, keep=keep, started=False)

    monkeypatch.setattr(template, "clone", clone)
    round_ = guests.run(cases.get("kill"), "6.1", 1, 1, lambda guest: None, tmp_path)
    assert round_.failures == [str(error), f"the files of the guest could not be kept: {_FULL}"]


@pytest.mark.parametrize(
    ("name", "attempts", "ends", "judged"),
    [
        *(("kill", 3, 3, True), ("kill", 3, 2, False), ("kill", 3, 0, False)),
        *(("fuzz-root", 9, 1, True), ("fuzz-root", 9, 0, False), ("cpu", 3, 0, True)),
    ],
)
def test_ends_that_were_not_judged_are_a_failure(name: str, attempts: int, ends: int, judged: bool) -> None:
    """Without its marks the log shows no end of an owner, and any assertion would be allowed."""
    round_ = Round(1, attempts=attempts)
    served = Neighbour("nb0", KERNEL_RING, raised=1, served=1)
    guests._take_in(round_, Verdict({"nb0": served}, ends=ends, assertions=attempts), cases.get(name))
    assert ["ends of owners were marked and judged" in each for each in round_.failures] == [True] * (not judged)
