# SPDX-License-Identifier: MIT
"""A program of PYNQ: its uio.py, unchanged, on an asyncio loop. WHERE is the name of the UIO device."""

from __future__ import annotations

import asyncio
import importlib
import mmap
import sys

import client


async def serve(interrupts: int, name: str) -> None:
    sys.path.insert(0, "/tmp/pynq")
    uio = importlib.import_module("uio")
    node = uio.get_uio_device(name)
    controller = uio.UioController(node)
    number = uio.get_uio_index(name)
    memory = mmap.mmap(controller.uio.fileno(), mmap.PAGESIZE, mmap.MAP_SHARED, offset=0)
    account = client.Account(client.Card(memory), interrupts)
    print("armed", flush=True)
    handling = True
    while handling:
        event = asyncio.Event()
        controller.add_event(event, 0)
        await event.wait()
        # uio.py drops the number that it reads.
        handling = account.handle(int(client.text(f"/sys/class/uio/uio{number}/event")))
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2]))
