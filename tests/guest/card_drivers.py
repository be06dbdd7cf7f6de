# SPDX-License-Identifier: MIT
"""What the drivers of cards print, read."""

from __future__ import annotations

import re

from shirq_bench.channels.agent import Command


def counts_of(command: Command) -> dict[str, int]:
    """Return the counters that a driver printed at its end."""
    return {name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", command.stdout)}
