# SPDX-License-Identifier: MIT
"""Reads from a device by one CPU while another device changes the memory map."""

from __future__ import annotations

import pytest

from guest.guest_python import finish, start
from shirq_bench.observe.scene import Scene
from shirq_bench.vm.machine import ADDRESSES

#: The race window is short: on a faulty QEMU, about one read in 10,000 changes hits it.
_CHANGES = 25_000

_READ_WHILE_ANOTHER_DEVICE_MOVES = """
import random
def bar0(address):
    return int((Path("/sys/bus/pci/devices") / address / "resource").read_text().split()[0], 16)
assert bar0(ADDRESS) < bar0({read!r}), "the device that is read is not behind the one that comes and goes"
registers = shirq.Device.open({read!r}).mmap(0)
good = registers.read32(0)
ended = mmap.mmap(-1, 1)
def read():
    os.sched_setaffinity(0, {{1}})
    seen = set()
    while not ended[0]:
        seen.add(registers.read32(0))
        for _ in range(random.randrange(100)):
            pass
    assert seen == {{good}}, [hex(value) for value in seen]
def change():
    os.sched_setaffinity(0, {{0}})
    on = command() | 2
    for _ in range({changes}):
        set_command(on & ~2)
        set_command(on)
    ended[0] = 1
changing = os.fork()
if not changing:
    change()
    os._exit(0)
read()
os.waitpid(changing, 0)
"""


@pytest.mark.long
def test_device_reads_stay_right_while_the_memory_map_changes(scene: Scene) -> None:
    """A processor reads its device correctly while another processor changes the memory map."""
    script = _READ_WHILE_ANOTHER_DEVICE_MOVES.format(read=ADDRESSES["dev1"], changes=_CHANGES)
    # Millions of reads: judge the values read, and switch the log off meanwhile.
    scene.vm.qmp.set("/objects/log", "on", False)
    finish(start(scene, "dev0", script), deadline=120)
    scene.vm.qmp.set("/objects/log", "on", True)
