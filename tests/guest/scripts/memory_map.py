# SPDX-License-Identifier: MIT
"""Scripts of test_memory_map.py."""

from __future__ import annotations

import mmap
import os
import random
from pathlib import Path

import shirq
from guest.scripts.inguest import ADDRESS, command, set_command


def _bar0(address: str) -> int:
    return int((Path("/sys/bus/pci/devices") / address / "resource").read_text().split()[0], 16)


def read_while_another_moves(other: str, changes: int) -> None:
    """Read the device at ``other`` while memory decoding of the script's device goes off and on."""
    assert _bar0(ADDRESS) < _bar0(other), "the BAR that is read must be above the other device's BAR"
    registers = shirq.Device.open(other).mmap(0)
    good = registers.read32(0)
    ended = mmap.mmap(-1, 1)

    def read() -> None:
        os.sched_setaffinity(0, {1})
        seen = set()
        while not ended[0]:
            seen.add(registers.read32(0))
            for _ in range(random.randrange(100)):
                pass
        assert seen == {good}, [hex(value) for value in seen]

    def change() -> None:
        os.sched_setaffinity(0, {0})
        on = command() | 2
        for _ in range(changes):
            set_command(on & ~2)
            set_command(on)
        ended[0] = 1

    changing = os.fork()
    if not changing:
        change()
        os._exit(0)
    read()
    os.waitpid(changing, 0)
