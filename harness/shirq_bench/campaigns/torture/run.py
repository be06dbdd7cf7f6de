# SPDX-License-Identifier: MIT
"""Runs torture tests guest by guest, and sums up their results."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from shirq_bench.campaigns.torture import guests
from shirq_bench.campaigns.torture.case import Case
from shirq_bench.campaigns.torture.deeds import BY
from shirq_bench.campaigns.torture.guests import Round
from shirq_bench.campaigns.torture.outside import OUTSIDE
from shirq_bench.errors import BenchError
from shirq_bench.paths import BUILD
from shirq_bench.vm.vm import parts

#: Folder for the artefacts of guests that failed.
ARTEFACTS = BUILD / "torture"
#: A test is aborted after this many guests with failures.
MOST_FAILURES = 5


@dataclass
class Result:
    """The result of a test on a kernel, whose ``uname -r`` is ``release``.

    The guests' seeds derive from ``seed``; ``choices`` is a digest of all choices.
    """

    test: str
    kernel: str
    seed: int
    wanted: int
    release: str = ""
    attempts: int = 0
    failures: list[str] = field(default_factory=list)
    splats: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    choices: str = ""
    figures: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether all attempts were made, without a failure, a splat or a lost interrupt."""
        return self.attempts >= self.wanted and not (self.failures or self.splats or self.lost)

    def add(self, round_: Round) -> None:
        """Add the result of one guest."""
        self.attempts += round_.attempts
        self.failures += round_.failures
        self.splats += round_.splats
        self.lost += round_.lost
        self.choices = hashlib.sha256((self.choices + round_.choices).encode()).hexdigest()[:16]
        self.figures = merged(self.figures, round_.figures)


def merged(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    """Combine the figures: the maximum of the slowest times and of the reached code, the sum of all others."""
    both = dict(one)
    for name, value in other.items():
        before = both.get(name, 0)
        both[name] = max(before, value) if name.startswith(("slowest", "places")) else before + value
    return both


def seed_of(seed: int, test: str, number: int) -> int:
    """The seed of a test's guest with this number."""
    return random.Random(f"{seed} {test} {number}").getrandbits(63)


def torture(case: Case, kernel: str, attempts: int, seed: int, tell: Callable[[str], None] = lambda _: None) -> Result:
    """Run a test; the files of guests with a failure are kept below `ARTEFACTS`."""
    result = Result(case.name, kernel, seed, attempts, parts(kernel).kernel.release)
    began = time.monotonic()
    bad = 0
    for number, count in enumerate(case.rounds(attempts)):
        tell(f"[{result.attempts}/{attempts}]")
        keep = ARTEFACTS / f"{case.name}-{kernel}-{seed}-{number}"
        round_ = _round(case, kernel, count, seed_of(seed, case.name, number), keep)
        result.add(round_)
        bad += not round_.clean
        if bad == MOST_FAILURES:
            break
    result.seconds = time.monotonic() - began
    return result


def _round(case: Case, kernel: str, count: int, seed: int, keep: Path) -> Round:
    try:
        if case.by in OUTSIDE:
            return OUTSIDE[case.by](case, kernel, count, seed, keep)
        return guests.run(case, kernel, count, seed, BY[case.by], keep)
    except (BenchError, OSError) as error:
        return Round(seed, failures=[str(error)])
