# SPDX-License-Identifier: MIT
"""One CPU reads registers of a device while another CPU changes the memory map."""

from __future__ import annotations

import pytest

from guest.guest_python import finish, start
from guest.scripts import memory_map
from shirq_bench.observe.scene import Scene
from shirq_bench.vm.machine import ADDRESSES

#: The race window is short: on a faulty QEMU, a read hits it in about one of 10,000 changes.
_CHANGES = 25_000


@pytest.mark.long
def test_device_reads_stay_right_while_the_memory_map_changes(scene: Scene) -> None:
    """A CPU reads the correct values from its device while another CPU changes the memory map."""
    # The script checks the values of millions of reads. Switch the log off meanwhile, because it would overflow.
    scene.vm.qmp.set("/objects/log", "on", False)
    finish(start(scene, "dev0", memory_map.read_while_another_moves, ADDRESSES["dev1"], _CHANGES), deadline=120)
    scene.vm.qmp.set("/objects/log", "on", True)
