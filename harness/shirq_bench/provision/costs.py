# SPDX-License-Identifier: MIT
"""What it costs to fill the cache: time and disk of each part that is not in it yet."""

from __future__ import annotations

import os
from dataclasses import dataclass

from shirq_bench.provision import kernel, qemu

#: Machines differ by this factor.
_SLOWER = 2


@dataclass(frozen=True)
class Cost:
    """Measured on a machine with two processors of 2.5 GHz, with a fast mirror.

    ``alone_s`` are seconds on one processor, whatever their number (downloads, unpacking, configuring). ``divided_s``
    are processor-seconds that all processors share (compiling). ``gib`` is the disk that the cache keeps.
    """

    alone_s: float
    divided_s: float
    gib: float

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.alone_s + other.alone_s, self.divided_s + other.divided_s, self.gib + other.gib)

    def __str__(self) -> str:
        processors = os.cpu_count() or 1
        least = self.alone_s + self.divided_s / processors
        return f"{_time(least)} to {_time(_SLOWER * least)} on {processors} processors, {self.gib:.1f} GiB"


def _time(seconds: float) -> str:
    return f"{round(seconds / 60)} min" if seconds >= 90 else f"{max(1, round(seconds))} s"


#: Compiling QEMU with the emulated device.
QEMU = Cost(30, 260, 0.7)
#: Unpacking a stock kernel, compiling its modules, and a guest's image and first boot.
STOCK_KERNEL = Cost(45, 10, 0.9)
#: Compiling an instrumented kernel, and the same.
INSTRUMENTED_KERNEL = Cost(120, 800, 4.0)


def of_kernel(name: str) -> Cost:
    """The cost of the kernel called ``name``."""
    return INSTRUMENTED_KERNEL if kernel.is_compiled(name) else STOCK_KERNEL


def of_first_guest(name: str) -> Cost:
    """The cost of what the cache lacks for a first guest with the kernel called ``name``; 0 s if it lacks nothing."""
    cost = Cost(0, 0, 0)
    if not qemu.cached():
        cost += QEMU
    if not kernel.cached(name):
        cost += of_kernel(name)
    return cost
