# SPDX-License-Identifier: MIT
"""The asyncio binding, with a pipe in place of the module."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Iterator

import pytest

from shirq import Device, ShirqError, abi
from shirq.aio import AsyncDevice


class Pipe:
    """A device whose events the test writes into a pipe."""

    def __init__(self) -> None:
        fd, self._end = os.pipe()
        self.device = AsyncDevice(Device(fd, "0000:00:04.0"))

    def queue(self, *numbers: int) -> None:
        for seq in numbers:
            os.write(self._end, bytes(abi.EventStruct(size=64, type=abi.EventType.IRQ, seq=seq)))

    def close(self) -> None:
        self.device.close()
        os.close(self._end)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


def test_queued_events_come_in_order_and_others_are_awaited(pipe: Pipe) -> None:
    """Queued events are returned in order, and the iteration waits for an event that is not queued yet."""

    async def main() -> list[int]:
        pipe.queue(1, 2)
        asyncio.get_running_loop().call_later(0.01, pipe.queue, 3)
        seen: list[int] = []
        async for event in pipe.device:
            seen.append(event.seq)
            if len(seen) == 3:
                return seen
        raise AssertionError("the iteration ended")

    assert asyncio.run(asyncio.wait_for(main(), 10)) == [1, 2, 3]


def test_each_read_asks_the_kernel_before_it_waits(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each read() calls the kernel before it waits, because the call unmasks."""
    asked: list[str] = []
    read = os.read

    def reading(fd: int, size: int) -> bytes:
        if fd == pipe.device.device.fileno():
            asked.append("read")
        return read(fd, size)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        monkeypatch.setattr("os.read", reading)
        add = loop.add_reader

        def waiting(fd: int, callback: Callable[[], object]) -> None:
            asked.append("wait")
            add(fd, callback)

        monkeypatch.setattr(loop, "add_reader", waiting)
        loop.call_later(0.01, pipe.queue, 1)
        await pipe.device.read()
        assert not loop.remove_reader(pipe.device.device.fileno()), "the loop still watches the device"

    asyncio.run(asyncio.wait_for(main(), 10))
    assert asked == ["read", "wait", "read"]


def test_readers_take_turns_and_a_cancelled_one_loses_no_event(pipe: Pipe) -> None:
    async def main() -> list[int]:
        first, second, third = (asyncio.create_task(pipe.device.read()) for _ in range(3))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        pipe.queue(1, 2)
        return [event.seq for event in await asyncio.gather(second, third)]

    assert asyncio.run(asyncio.wait_for(main(), 10)) == [1, 2]


def test_iteration_ends_on_disarm_and_fails_on_a_gone_device(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """An iteration ends when the device is disarmed and fails when the device is gone."""

    async def main(number: int) -> int:
        def fail() -> None:
            raise ShirqError(number, "no")

        monkeypatch.setattr(pipe.device.device, "read", fail)
        return len([event async for event in pipe.device])

    assert asyncio.run(main(errno.ENXIO)) == 0
    with pytest.raises(ShirqError):
        asyncio.run(main(errno.ENODEV))
