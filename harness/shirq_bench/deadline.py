# SPDX-License-Identifier: MIT
"""Timeouts of the bench on the host. A busy host stretches them, because a slow guest is not a hung guest.

A deadline ends a wait for an event that will never come. On an overloaded host a healthy guest gets only its share of a
processor, so a deadline is stretched by the number of processes that compete for each processor.
"""

from __future__ import annotations

import os
import select
import time
from pathlib import Path

#: Maximum stretch factor; a longer wait would hide a hang.
_MOST = 20.0
#: Seconds between two measurements of the host's load.
STEP = 1.0


def competition() -> float:
    """The number of runnable processes per processor that this process may use: at least 1, at most 20.

    The result is the greater of the last minute's average and the present number: the average alone would miss load
    that has just begun.
    """
    minute, _, _, running, _ = Path("/proc/loadavg").read_text().split()
    wanting = max(float(minute), float(running.partition("/")[0]))
    return min(_MOST, max(1.0, wanting / len(os.sched_getaffinity(0))))


class Deadline:
    """A deadline of ``seconds``, counted from now and stretched by the highest load that was measured.

    A wait must check again at least every `STEP` seconds: ``while not deadline.passed: ready.wait(deadline.step)``. As
    text, a deadline gives the requested and the stretched seconds: ``20 s (64 s on this busy host)``.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._began = time.monotonic()
        self._stretch = competition()

    @property
    def left(self) -> float:
        """Seconds until the deadline passes, given the load measured so far; never negative."""
        left = self._began + self._seconds * self._stretch - time.monotonic()
        if left <= 0:
            # Measure the load again before the deadline counts as passed: at the last measurement the host may have
            # been idle.
            self._stretch = max(self._stretch, competition())
            left = self._began + self._seconds * self._stretch - time.monotonic()
        return max(0.0, left)

    @property
    def passed(self) -> bool:
        return self.left == 0

    @property
    def step(self) -> float:
        """Seconds to wait before the next check: the remaining time, but at most `STEP`."""
        return min(STEP, self.left)

    @property
    def stretched(self) -> bool:
        """Whether the host has been busy: a missed deadline may then mean a slow guest, not a hung one."""
        return self._stretch > 1

    def readable(self, descriptor: int) -> bool:
        """Wait until ``descriptor`` is readable; false if the deadline passes first."""
        while not (ready := select.select([descriptor], [], [], self.step)[0]) and not self.passed:
            pass
        return bool(ready)

    def writable(self, descriptor: int) -> bool:
        """Wait until ``descriptor`` is writable; false if the deadline passes before."""
        while not (ready := select.select([], [descriptor], [], self.step)[1]) and not self.passed:
            pass
        return bool(ready)

    def __str__(self) -> str:
        seconds = self._seconds * self._stretch
        busy = f" ({seconds:.0f} s on this busy host)" if self.stretched else ""
        return f"{self._seconds:g} s{busy}"
