# SPDX-License-Identifier: MIT
"""The sequence of the kernel's UIO HOWTO for uio_pci_generic: it unmasks by a byte of the function's config space."""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path

import client

COMMAND_HIGH, DISINTX = 5, 0x04


def connect(node: str) -> client.Connection:
    fd = os.open(node, os.O_RDONLY)
    config = os.open(f"/sys/class/uio/{Path(node).name}/device/config", os.O_RDWR)
    high = os.pread(config, 1, COMMAND_HIGH)[0] & ~DISINTX
    # uio_pci_generic has no maps: its programs map the function's BARs by sysfs, which shirq does not allow. So this
    # client takes the map of the UIO device instead.
    maps = os.open(node, os.O_RDWR)
    memory = mmap.mmap(maps, mmap.PAGESIZE, mmap.MAP_SHARED, offset=0)

    def unmask() -> None:
        os.pwrite(config, bytes([high]), COMMAND_HIGH)

    def wait() -> int:
        return int(struct.unpack("=I", os.read(fd, 4))[0])

    card = client.Card(memory)
    card.enable()
    unmask()
    return card, wait, unmask


if __name__ == "__main__":
    client.run(connect)
