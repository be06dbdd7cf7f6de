# SPDX-License-Identifier: MIT
"""Events in asyncio, with the module: when events are unmasked, and how an iteration ends."""

from __future__ import annotations

from shirq_bench.observe.scene import Scene
from shirq_bench.vm.machine import ADDRESSES

_SCRIPT = """
import asyncio, runpy, sys
import shirq
from shirq.aio import AsyncDevice
edu = runpy.run_path("/usr/bin/shirq-edu.py")

def report(*what):
    print(*what, flush=True)

async def proceed():
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)

async def main():
    async with AsyncDevice(shirq.Device.open("%s")) as device:
        device.load(edu["PROGRAMS"])
        device.arm()
        registers = device.device.mmap(0)
        events = aiter(device)
        report("armed")
        first = await anext(events)
        registers.write32(edu["INT_ACK"], first.r[0])
        report("event", hex(first.r[0]))
        await proceed()
        waiting = asyncio.create_task(anext(events))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        report("waiting")
        second = await waiting
        registers.write32(edu["INT_ACK"], second.r[0])
        report("event", hex(second.r[0]), second.seq - first.seq)
        cancelled = asyncio.create_task(device.read())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        cancelled.cancel()
        report("cancelled", await asyncio.gather(cancelled, return_exceptions=True))
        third = await anext(events)
        registers.write32(edu["INT_ACK"], third.r[0])
        report("event", hex(third.r[0]))
        asyncio.get_running_loop().call_soon(device.disarm)
        async for event in device:
            report("unexpected", event)
        report("ended")

asyncio.run(main())
"""


def test_the_next_read_unmasks_and_waiting_for_an_event_does_not(scene: Scene) -> None:
    script = scene.vm.agent.start("python3", "-c", _SCRIPT % ADDRESSES["dev1"])
    script.expect("^armed$", 60)
    scene.wait_unmasked("dev1")
    scene.raise_("dev1", bits=1)
    script.expect("^event 0x1$")
    # The loop keeps running, and the next event has not been requested.
    assert scene.vm.qmp.get("dev1", "mask") == 0xFFFFFFFF
    script.write("\n")
    script.expect("^waiting$")
    assert scene.vm.qmp.get("dev1", "mask") == 0, "asking for the next event unmasks at once, though none is there"
    scene.raise_("dev1", bits=2)
    script.expect("^event 0x2 1$")
    script.expect("^cancelled ")
    scene.raise_("dev1", bits=4)
    script.expect("^event 0x4$")
    result = script.wait(20)
    assert result.status == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "ended"
