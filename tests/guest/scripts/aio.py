# SPDX-License-Identifier: MIT
"""Scripts of test_asyncio.py."""

from __future__ import annotations

import asyncio

import shirq
from guest.scripts.inguest import ADDRESS, INT_ACK, SET, proceed, report
from shirq.aio import AsyncDevice


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    async with AsyncDevice(shirq.Device.open(ADDRESS)) as device:
        device.load(SET)
        device.arm()
        registers = device.device.mmap(0)
        events = aiter(device)
        report("armed")
        first = await anext(events)
        registers.write32(INT_ACK, first.r[0])
        report("event", hex(first.r[0]))
        await loop.run_in_executor(None, proceed)
        waiting = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        report("waiting")
        second = await waiting
        registers.write32(INT_ACK, second.r[0])
        report("event", hex(second.r[0]), second.seq - first.seq)
        cancelled = asyncio.create_task(device.read())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        cancelled.cancel()
        report("cancelled", await asyncio.gather(cancelled, return_exceptions=True))
        third = await anext(events)
        registers.write32(INT_ACK, third.r[0])
        report("event", hex(third.r[0]))
        loop.call_soon(device.disarm)
        async for event in device:
            report("unexpected", event)
        report("ended")


def serve() -> None:
    asyncio.run(_serve())
