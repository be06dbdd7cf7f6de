# SPDX-License-Identifier: MIT
"""ChimeraTK DeviceAccess' sequence: sysfs event and maps by the node's name; poll, read equal to event, write 1."""

from __future__ import annotations

import mmap
import os
import select
import struct
from pathlib import Path

import client


def connect(node: str) -> client.Connection:
    folder = Path("/sys/class/uio") / Path(node).name
    fd = os.open(node, os.O_RDWR)
    assert int(client.text(folder / "maps/map0/offset"), 0) == 0
    memory = mmap.mmap(fd, int(client.text(folder / "maps/map0/size"), 0), mmap.MAP_SHARED, offset=0)
    poll = select.poll()
    poll.register(fd, select.POLLIN)

    def unmask() -> None:
        os.write(fd, struct.pack("=I", 1))

    def wait() -> int:
        # It looks every 100 ms whether it is to end.
        while not poll.poll(100):
            pass
        number = int(struct.unpack("=I", os.read(fd, 4))[0])
        event = int(client.text(folder / "event"))
        assert number == event, f"read gives {number}, sysfs {event}"
        return number

    unmask()
    return client.Card(memory), wait, unmask


if __name__ == "__main__":
    client.run(connect)
