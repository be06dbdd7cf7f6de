"""Runs torture tests guest by guest, and adds up what they showed."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from shirq_bench.paths import BUILD
from shirq_bench.torture import guests
from shirq_bench.torture.case import Case
from shirq_bench.torture.deeds import BY
from shirq_bench.torture.guests import Round

#: Where guests that showed something wrong leave what they were.
ARTEFACTS = BUILD / "torture"
#: So many guests that showed something wrong, and a test is given up.
MOST_FAILURES = 5


@dataclass
class Result:
    """What a test showed on a kernel. ``seed`` gives every guest's; ``choices`` is a digest of all that was chosen."""

    test: str
    kernel: str
    seed: int
    wanted: int
    attempts: int = 0
    failures: list[str] = field(default_factory=list)
    splats: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    choices: str = ""
    figures: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """All attempts were made, and nothing went wrong."""
        return self.attempts >= self.wanted and not (self.failures or self.splats or self.lost)

    def add(self, round_: Round) -> None:
        """Take in what one guest showed."""
        self.attempts += round_.attempts
        self.failures += round_.failures
        self.splats += round_.splats
        self.lost += round_.lost
        self.choices = hashlib.sha256((self.choices + round_.choices).encode()).hexdigest()[:16]
        for name, value in round_.figures.items():
            before = self.figures.get(name, 0)
            self.figures[name] = max(before, value) if name.startswith(("slowest", "places")) else before + value


def seed_of(seed: int, test: str, number: int) -> int:
    """The seed of a test's guest."""
    return random.Random(f"{seed} {test} {number}").getrandbits(63)


def torture(case: Case, kernel: str, attempts: int, seed: int, tell: Callable[[str], None] = lambda _: None) -> Result:
    """Run a test; guests that show something wrong are kept below `ARTEFACTS`."""
    result = Result(case.name, kernel, seed, attempts)
    began = time.monotonic()
    bad = 0
    for number, count in enumerate(case.rounds(attempts)):
        tell(f"[{result.attempts}/{attempts}]")
        keep = ARTEFACTS / f"{case.name}-{kernel}-{seed}-{number}"
        round_ = guests.run(case, kernel, count, seed_of(seed, case.name, number), BY[case.by], keep)
        result.add(round_)
        bad += not round_.clean
        if bad == MOST_FAILURES:
            break
    result.seconds = time.monotonic() - began
    return result
