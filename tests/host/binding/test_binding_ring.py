# SPDX-License-Identifier: MIT
"""The ring, with a file in place of the module's memory, and a fake of its calls."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import mmap
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import shirq.ring
from shirq import Device, ShirqError, abi
from shirq.aio import AsyncDevice

ADDRESS = "0000:00:04.0"
REGISTER = 0x6C


class Module:
    """A module whose device has a BAR of one page and a ring. ``calls`` are the errnos of each kind of call."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("device")
        os.ftruncate(self.fd, (abi.MMAP_CONSUMER << abi.MMAP_SHIFT) + mmap.PAGESIZE)
        self.file = os.dup(self.fd)
        self.write(abi.RingStruct.state.offset, abi.RingState.ARMED)
        self.answers: dict[int, list[int]] = {}
        self.calls: list[tuple[int, ctypes.Structure]] = []

    def write(self, offset: int, value: int, part: int = abi.MMAP_RING) -> None:
        os.pwrite(self.file, value.to_bytes(4, "little"), (part << abi.MMAP_SHIFT) + offset)

    def store(self) -> None:
        """The unmask program is a store."""
        self.write(abi.RingStruct.store_width.offset, 4)
        self.write(abi.RingStruct.store_offset.offset, REGISTER)

    def queue(self, *kinds: abi.EventType) -> None:
        """Put events into the empty ring."""
        for number, kind in enumerate(kinds):
            event = abi.EventStruct(size=64, type=kind, seq=number + 1)
            at = abi.RingStruct.event.offset + number * ctypes.sizeof(event)
            os.pwrite(self.file, bytes(event), (abi.MMAP_RING << abi.MMAP_SHIFT) + at)
        self.write(abi.RingStruct.head.offset, len(kinds))

    def ioctl(self, fd: int, request: int, argument: ctypes.Structure) -> int:
        self.calls.append((request, type(argument).from_buffer_copy(argument)))
        if isinstance(argument, abi.InfoStruct):
            argument.bar[0].length = mmap.PAGESIZE
        answers = self.answers.get(request)
        number = answers.pop(0) if answers else 0
        if number:
            raise OSError(number, os.strerror(number))
        return 0

    def waits(self) -> list[int]:
        """The timeouts of the calls that waited."""
        return [raw.timeout_ns for request, raw in self.calls if request == abi.WAIT]


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Iterator[Module]:
    module = Module()
    monkeypatch.setattr("fcntl.ioctl", module.ioctl)
    yield module
    os.close(module.file)


@pytest.fixture
def device(module: Module) -> Iterator[Device]:
    with Device(module.fd, ADDRESS) as device:
        yield device


def _mappings() -> int:
    return Path("/proc/self/maps").read_text().count("memfd:device")


@pytest.mark.parametrize("end", [errno.ENXIO, errno.ENODEV])
def test_device_stopped_while_an_event_is_served_ends_its_events(device: Device, module: Module, end: int) -> None:
    """The event that says why is yielded, although the event before it cannot be unmasked any more."""
    module.queue(abi.EventType.IRQ, abi.EventType.QUARANTINED)
    module.answers = {abi.UNMASK: [end], abi.WAIT: [end]}
    events = device.events()
    assert [next(events).type, next(events).type] == [abi.EventType.IRQ, abi.EventType.QUARANTINED]
    if end == errno.ENODEV:
        with pytest.raises(ShirqError, match="the device is gone"):
            next(events)
    else:
        assert not list(events)


def test_device_stopped_while_an_event_is_served_ends_asyncs_events(module: Module) -> None:
    async def main() -> list[object]:
        module.queue(abi.EventType.IRQ, abi.EventType.QUARANTINED)
        module.answers = {abi.UNMASK: [errno.ENXIO], abi.WAIT: [errno.ENXIO]}
        async with AsyncDevice(Device(module.fd, ADDRESS)) as device:
            device.arm(ring=True)
            return [event.type async for event in device]

    assert asyncio.run(main()) == [abi.EventType.IRQ, abi.EventType.QUARANTINED]


def test_an_unmask_that_fails_otherwise_is_an_error(device: Device, module: Module) -> None:
    module.answers = {abi.UNMASK: [errno.EINVAL]}
    with pytest.raises(ShirqError, match="no event had the number 7 yet"):
        device.ring().unmask(7)


def test_ring_of_a_stopped_device_is_mapped_without_its_registers(
    device: Device, module: Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device may be quarantined between arm() and ring(): its events and its state say why."""
    module.store()
    module.queue(abi.EventType.QUARANTINED)
    map_all = mmap.mmap

    def map_some(fd: int, length: int, flags: int, access: int = -1, *, offset: int) -> mmap.mmap:
        if offset >> abi.MMAP_SHIFT < abi.BARS:
            raise OSError(errno.EIO, "stopped")
        return map_all(fd, length, flags, access, offset=offset)

    monkeypatch.setattr("mmap.mmap", map_some)
    ring = device.ring()
    event = ring.take()
    assert event and event.type is abi.EventType.QUARANTINED and not ring.stores


def test_signal_with_a_handler_does_not_end_a_wait(device: Device, module: Module) -> None:
    """As for read(): the call is made again, with what is left of the timeout; a handler that raises ends it."""
    module.answers = {abi.WAIT: [errno.EINTR, errno.EINTR]}
    device.ring().wait(timeout=1000)
    first, *_, last = module.waits()
    assert len(module.waits()) == 3 and last < first <= 1000 * 10**9

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    def ioctl(*_: object) -> int:
        signal.raise_signal(signal.SIGUSR1)
        raise InterruptedError(errno.EINTR, "")

    before = signal.signal(signal.SIGUSR1, stop)
    try:
        with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
            ring = device.ring()
            patch.setattr("fcntl.ioctl", ioctl)
            ring.wait()
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize(
    ("timeout", "limit"),
    [(None, 2**64 - 1), (0, 0), (-0.5, 0), (float("inf"), 2**64 - 1), (1e300, 2**64 - 1)],
)
def test_timeout_that_has_passed_is_none_at_all(
    device: Device, module: Module, timeout: float | None, limit: int
) -> None:
    """A negative number would be a timeout of centuries."""
    device.ring().wait(timeout=timeout)
    assert module.waits() == [limit]


@pytest.mark.skipif(not shirq.ring._ORDERED, reason="unmasks by a call")
def test_iterating_anew_after_each_stop_leaves_no_mapping(device: Device, module: Module) -> None:
    module.store()
    for _ in range(3):
        module.answers = {abi.WAIT: [errno.ENXIO]}
        assert not list(device.events())
    assert _mappings() == 0
    ring = device.ring()
    assert ring.stores and _mappings() == 3
    ring.close()
    ring.close()
    assert _mappings() == 0
    assert not device.ring().closed
    assert len(device._mapped) == 1


def test_arming_async_device_anew_leaves_no_mapping(module: Module) -> None:
    async def main() -> None:
        module.store()
        async with AsyncDevice(Device(module.fd, ADDRESS)) as device:
            for _ in range(3):
                device.arm(ring=True)
            assert _mappings() <= 3
            device.arm()
            assert not _mappings()

    asyncio.run(main())


def test_kernel_without_a_ring_is_told(device: Device, module: Module, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr("mmap.mmap", refuse)
    with pytest.raises(ShirqError, match=f"mapping the ring of {ADDRESS}: this kernel's shirq is too old for a ring"):
        device.ring()
