# SPDX-License-Identifier: MIT
"""EPICS devlib2's sequence: the function's address, the UIO device below it, maps by BAR number, read 4, write 4."""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path

import client


def connect(address: str) -> client.Connection:
    function = Path("/sys/bus/pci/devices") / address
    number = next(int(path.name[3:]) for path in (function / "uio").iterdir() if path.name.startswith("uio"))
    fd = os.open(f"/dev/uio{number}", os.O_RDWR)
    start, end, _ = (int(word, 16) for word in (function / "resource").read_text().splitlines()[0].split())
    bar = 0
    memory = mmap.mmap(fd, end - start + 1, mmap.MAP_SHARED, offset=bar * mmap.PAGESIZE)

    def wait() -> int:
        return int(struct.unpack("=i", os.read(fd, 4))[0])

    def unmask() -> None:
        os.write(fd, struct.pack("=i", 1))

    return client.Card(memory), wait, unmask


if __name__ == "__main__":
    client.run(connect)
