# SPDX-License-Identifier: MIT
"""py-uio's sequence: /sys/dev/char/MAJOR:MINOR/maps/mapN, mmap at N pages, read 4, write 1."""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path

import client


def connect(node: str) -> client.Connection:
    fd = os.open(node, os.O_RDWR | os.O_CLOEXEC | os.O_SYNC)
    device = os.fstat(fd).st_rdev
    folder = Path(f"/sys/dev/char/{os.major(device)}:{os.minor(device)}/maps")
    sizes = {}
    for path in folder.iterdir():
        number = int(path.name.removeprefix("map"))
        values = {key: client.text(path / key) for key in ("name", "addr", "offset", "size")}
        assert int(values["offset"], 0) == 0
        sizes[number] = int(values["size"], 0)
    memory = mmap.mmap(fd, sizes[0], mmap.MAP_SHARED, offset=0 * mmap.PAGESIZE)

    def wait() -> int:
        return int(struct.unpack("=I", os.read(fd, 4))[0])

    def unmask() -> None:
        os.write(fd, struct.pack("=I", 1))

    return client.Card(memory), wait, unmask


if __name__ == "__main__":
    client.run(connect)
