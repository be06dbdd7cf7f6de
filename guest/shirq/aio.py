# SPDX-License-Identifier: MIT
"""Events in asyncio.

    async with AsyncDevice(shirq.Device.open("0000:00:04.0")) as device:
        device.device.load_profile(card)
        device.arm()
        async for event in device:
            ...

The kernel unmasks, as for any reader: with auto_unmask the next read() unmasks the event that was delivered last;
poll() never unmasks. So a device stays masked from the event until the owner reads the next one, regardless of other
tasks that run meanwhile.
"""

from __future__ import annotations

import asyncio
import errno
import os
from types import TracebackType
from typing import Self

from shirq.abi import EventType
from shirq.device import Device
from shirq.errors import ShirqError
from shirq.programset import ProgramSet
from shirq.records import Event, Info
from shirq.ring import Ring


class AsyncDevice:
    """A device whose events are awaited. `device` has all the calls that do not wait; closing this object closes it."""

    def __init__(self, device: Device) -> None:
        self.device = device
        os.set_blocking(device.fileno(), False)
        self._reading = asyncio.Lock()
        self._ring: Ring | None = None
        self._taken: Event | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the device, once no task waits for its events."""
        self.device.close()

    @property
    def info(self) -> Info:
        """As `Device.info`."""
        return self.device.info

    def load(self, programs: ProgramSet, *, source: int = 0) -> None:
        """As `Device.load`."""
        self.device.load(programs, source=source)

    def set_messages(self, count: int) -> int:
        """As `Device.set_messages`."""
        return self.device.set_messages(count)

    def arm(self, *, shared: bool = True, auto_unmask: bool = True, source: int = 0, ring: bool = False) -> None:
        """As `Device.arm`. With `ring`, `read` takes events from the ring, and unmasks the one that it took before."""
        self.device.arm(shared=shared, auto_unmask=auto_unmask, source=source, ring=ring)
        if not source:
            if self._ring is not None:
                self._ring.close()
            self._ring = self.device.ring() if ring else None
            self._taken = None

    def disarm(self, source: int = 0) -> None:
        """As `Device.disarm`: with the last source, a task that waits gets ENXIO, and an iteration ends."""
        self.device.disarm(source)

    def unmask(self, seq: int, source: int = 0) -> None:
        """As `Device.unmask`."""
        self.device.unmask(seq, source)

    async def read(self) -> Event:
        """Wait for the next event; with auto_unmask, first unmask the event that was read last.

        Tasks that read at the same time take turns. A cancelled read loses no event. Raises ShirqError as
        `Device.read` does.
        """
        async with self._reading:
            while True:
                try:
                    return self.device.read() if self._ring is None else self._take(self._ring)
                except ShirqError as error:
                    if error.errno not in (errno.EAGAIN, errno.ETIMEDOUT):
                        raise
                await self._readable()

    def _take(self, ring: Ring) -> Event:
        """As `Device.read`, but from the ring. Raises ShirqError with ETIMEDOUT if there is no event."""
        if self._taken is not None and self._taken.type is EventType.IRQ:
            ring.unmask(self._taken.seq)
        self._taken = None
        while (event := ring.take()) is None:
            ring.wait(timeout=0)
        self._taken = event
        return event

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        fd = self.device.fileno()
        loop.add_reader(fd, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_reader(fd)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        """The next event; the iteration ends when the device is disarmed."""
        try:
            return await self.read()
        except ShirqError as error:
            if error.errno == errno.ENXIO:
                raise StopAsyncIteration from None
            raise
