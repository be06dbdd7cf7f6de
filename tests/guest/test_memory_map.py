# SPDX-License-Identifier: MIT
"""Reads from a device by one CPU while another device changes the memory map."""

from __future__ import annotations

import pytest

from guest.guest_python import finish, start
from guest.scripts import memory_map
from shirq_bench.observe.scene import Scene
from shirq_bench.vm.machine import ADDRESSES

#: The race window is short: on a faulty QEMU, about one read in 10,000 changes hits it.
_CHANGES = 25_000


@pytest.mark.long
def test_device_reads_stay_right_while_the_memory_map_changes(scene: Scene) -> None:
    """A processor reads its device correctly while another processor changes the memory map."""
    # Millions of reads: judge the values read, and switch the log off meanwhile.
    scene.vm.qmp.set("/objects/log", "on", False)
    finish(start(scene, "dev0", memory_map.read_while_another_moves, ADDRESSES["dev1"], _CHANGES), deadline=120)
    scene.vm.qmp.set("/objects/log", "on", True)
