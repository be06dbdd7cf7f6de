# SPDX-License-Identifier: MIT
"""Scripts of test_ring.py."""

from __future__ import annotations

import asyncio
import ctypes
import dataclasses
import fcntl
import mmap
import os
import random
import select
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import shirq
from guest.scripts.inguest import (
    ADDRESS,
    INT_ACK,
    INT_MASK,
    INT_MASK_CLEAR,
    INT_RAISE,
    SET,
    TIMEOUT,
    acknowledging,
    asleep_in,
    child,
    command,
    fails,
    kind,
    libc,
    libc_errno,
    loaded,
    low_irq,
    proceed,
    reason,
    report,
    reset,
    stat,
    useless_mask,
)
from shirq import abi
from shirq.aio import AsyncDevice
from shirq.ring import Ring

_PAGE = mmap.PAGESIZE
_RING = -(-ctypes.sizeof(abi.RingStruct) // _PAGE) * _PAGE


def _ringing(programs: shirq.ProgramSet = SET, mask: shirq.Program = ()) -> tuple[shirq.Device, shirq.Registers, Ring]:
    """Open the device and arm it with a ring; returns it, its BAR 0 and the ring."""
    device = loaded(programs, mask)
    device.arm(ring=True)
    return device, device.mmap(0), device.ring()


def _map(device: shirq.Device, part: int, size: int, access: int, flags: int = mmap.MAP_SHARED) -> mmap.mmap:
    return mmap.mmap(device.fileno(), size, flags, access, offset=part << abi.MMAP_SHIFT)


def _consumer(device: shirq.Device) -> abi.ConsumerStruct:
    """Map what the owner writes, for raw accesses."""
    memory = _map(device, abi.MMAP_CONSUMER, _PAGE, mmap.PROT_READ | mmap.PROT_WRITE)
    return abi.ConsumerStruct.from_buffer(memory)


def _next(ring: Ring) -> shirq.Event:
    """Wait for an event and take it."""
    ring.wait(timeout=TIMEOUT)
    event = ring.take()
    assert event is not None
    return event


def _pulse(registers: shirq.Registers, times: int) -> None:
    """Raise a source this often. The irq program acknowledges it."""
    for _ in range(times):
        registers.write32(INT_RAISE, 1)
        while registers.read32(0x24):
            pass


def _wait(device: shirq.Device, **fields: int) -> str:
    """Make the call SHIRQ_WAIT with these fields; returns its errno."""
    raw = abi.WaitStruct(size=ctypes.sizeof(abi.WaitStruct), **fields)
    return fails(fcntl.ioctl, device.fileno(), abi.WAIT, raw)


def served() -> None:
    device, registers, ring = _ringing()
    report(ring.stores, len(ring), ring.state.name, ring.seq, ring.take())
    for source in (1, 2, 4):
        registers.write32(INT_RAISE, source)
        event = _next(ring)
        masked = registers.read32(INT_MASK)
        registers.write32(INT_ACK, event.r[0])
        ring.unmask(event.seq)
        report(kind(event), event.seq, event.lost, hex(event.r[0]), hex(masked), hex(registers.read32(INT_MASK)))
    # A neighbour's interrupt may have shown the last unmask to the kernel already.
    report(stat("claims"), stat("unmasks") in (2, 3), len(ring), ring.seq, ring.lost)
    report(abi.InfoFlag.MASKED in device.info.flags, stat("unmasks"))


def iterated(count: int, spin: float) -> None:
    """Take events by `events`, and report each; the test raises them."""
    device = loaded()
    device.arm(ring=True)
    registers = device.mmap(0)
    report("armed")
    for number, event in enumerate(device.events(spin=spin), 1):
        registers.write32(INT_ACK, event.r[0])
        report(event.seq, hex(event.r[0]))
        if number == count:
            device.disarm()
    report("disarmed")


def ping_pong(count: int) -> None:
    """Raise each interrupt as soon as the last one is unmasked, while the owner is about to sleep."""
    _, registers, ring = _ringing()
    unmasked = threading.Semaphore()

    def raises() -> None:
        for _ in range(count):
            unmasked.acquire()
            registers.write32(INT_RAISE, 1)

    thread = threading.Thread(target=raises)
    thread.start()
    for number in range(1, count + 1):
        event = _next(ring)
        assert (event.seq, event.lost) == (number, 0), event
        registers.write32(INT_ACK, 1)
        ring.unmask(event.seq)
        unmasked.release()
    thread.join()
    report(stat("claims"), ring.lost, len(ring))


def _reset_by_sysfs(device: shirq.Device) -> None:
    reset()


def _unbind(device: shirq.Device) -> None:
    Path("/sys/bus/pci/drivers/shirq/unbind").write_text(ADDRESS)


def _storm(device: shirq.Device) -> None:
    device.mmap(0).write32(INT_RAISE, 1)


_ENDS: dict[str, tuple[Callable[[], shirq.ProgramSet], Callable[[shirq.Device], None]]] = {
    "disarm": (lambda: SET, lambda device: device.disarm()),
    "reset": (lambda: SET, _reset_by_sysfs),
    "unbind": (lambda: SET, _unbind),
    "storm": (useless_mask, _storm),
}


def ends(how: str) -> None:
    """End the arming while a thread sleeps in SHIRQ_WAIT."""
    programs, end = _ENDS[how]
    device, _, ring = _ringing(programs())
    answers: list[str] = []

    def wait() -> None:
        # Events that come before the end are no end.
        while (answer := fails(ring.wait, timeout=TIMEOUT)) == "OK":
            while (event := ring.take()) is not None:
                answers.append(kind(event))
        answers.append(answer)

    thread = threading.Thread(target=wait)
    thread.start()
    asleep_in(thread, f"16 {device.fileno():#x}")
    end(device)
    thread.join()
    report(*(answer for answer in answers if answer != "IRQ"), ring.state.name, ring.reason.name or "none")


def timeouts() -> None:
    device, registers, ring = _ringing()
    report(fails(ring.wait, timeout=0.05), fails(ring.wait, spin=0.01, timeout=0))
    registers.write32(INT_RAISE, 1)
    _next(ring)
    report(fails(ring.wait, timeout=0))
    signal.signal(signal.SIGUSR1, lambda *_: None)
    main = threading.main_thread()

    def interrupts() -> None:
        asleep_in(main, f"16 {device.fileno():#x}")
        signal.pthread_kill(main.ident or 0, signal.SIGUSR1)

    # The binding makes the call again: make it alone.
    raw = abi.WaitStruct(size=ctypes.sizeof(abi.WaitStruct), timeout_ns=(1 << 64) - 1, tail=1)
    thread = threading.Thread(target=interrupts)
    thread.start()
    result = libc.ioctl(device.fileno(), ctypes.c_ulong(abi.WAIT), ctypes.byref(raw))
    report(result, libc_errno())
    thread.join()


def interrupted() -> None:
    """A signal with a handler comes during a wait; then an interrupt ends the wait."""
    device, registers, ring = _ringing()
    signal.signal(signal.SIGUSR1, lambda *_: report("handled"))
    main = threading.main_thread()

    def interrupts() -> None:
        asleep_in(main, f"16 {device.fileno():#x}")
        signal.pthread_kill(main.ident or 0, signal.SIGUSR1)
        asleep_in(main, f"16 {device.fileno():#x}")
        registers.write32(INT_RAISE, 1)

    thread = threading.Thread(target=interrupts)
    thread.start()
    report(_next(ring).r[0])
    thread.join()


def stopped_while_served(unmask: str) -> None:
    """Disarm, and be reset, while an event of `events` is served; the mask of the first one is looked at."""
    programs = dataclasses.replace(SET, unmask=shirq.assemble(unmask)) if unmask else SET
    device = loaded(programs)
    device.arm(ring=True)
    registers = device.mmap(0)
    registers.write32(INT_RAISE, 1)
    for event in device.events():
        registers.write32(INT_ACK, event.r[0])
        device.disarm()
    report(hex(registers.read32(INT_MASK)))
    device.arm(ring=True)
    registers.write32(INT_RAISE, 2)
    seen = []
    for event in device.events():
        seen.append(kind(event))
        if event.type is shirq.EventType.IRQ:
            reset()
    report(seen)


def refusals() -> None:
    device = loaded()
    read = mmap.PROT_READ
    report("unarmed:", _wait(device))
    device.arm()
    report("read:", _wait(device), fails(device.ring().wait, timeout=0))
    device.disarm()
    flags = abi.ArmFlag.RING | abi.ArmFlag.SHARED
    for source, arming in ((0, flags | abi.ArmFlag.AUTO_UNMASK), (1, abi.ArmFlag.RING), (0, flags)):
        raw = abi.ArmStruct(size=ctypes.sizeof(abi.ArmStruct), source=source, flags=int(arming))
        report("arm:", fails(fcntl.ioctl, device.fileno(), abi.ARM, raw))
    report(
        "armed:", fails(os.read, device.fileno(), 64), _wait(device), _wait(device, source=1), _wait(device, flags=1)
    )
    for part, size, access, kind_of in (
        (abi.MMAP_RING, _RING, read, mmap.MAP_SHARED),
        (abi.MMAP_RING, _RING, read | mmap.PROT_WRITE, mmap.MAP_SHARED),
        (abi.MMAP_RING, _RING, read, mmap.MAP_PRIVATE),
        (abi.MMAP_RING, _RING + _PAGE, read, mmap.MAP_SHARED),
        (abi.MMAP_CONSUMER, _PAGE, read | mmap.PROT_WRITE, mmap.MAP_SHARED),
        (abi.MMAP_CONSUMER, 2 * _PAGE, read, mmap.MAP_SHARED),
        (8, _PAGE, read, mmap.MAP_SHARED),
    ):
        report("map:", fails(_map, device, part, size, access, kind_of))
    # Behind the ring there is what the owner may write.
    inside = {"offset": (abi.MMAP_RING << abi.MMAP_SHIFT) + _PAGE}
    report("inside:", fails(mmap.mmap, device.fileno(), _RING, mmap.MAP_SHARED, read, **inside))
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, *[ctypes.c_size_t] * 4, ctypes.c_long]
    address = libc.mmap(None, _RING, read, mmap.MAP_SHARED, device.fileno(), abi.MMAP_RING << abi.MMAP_SHIFT)
    result = libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(_RING), read | mmap.PROT_WRITE)
    report("mprotect:", result, libc_errno())


def full() -> None:
    device, registers, ring = _ringing(acknowledging())
    _pulse(registers, 260)
    report(len(ring), ring.lost, stat("lost"), ring.seq)
    first = ring.take()
    _pulse(registers, 1)
    events = [event for event in iter(ring.take, None)]
    report(first and first.seq, len(events), events[-2].seq, events[-1].seq, events[-2].lost, events[-1].lost)
    _pulse(registers, 256)
    reset()
    report(len(ring), ring.lost, ring.state.name)
    report({kind(event) for event in iter(ring.take, None)})
    device.arm(ring=True)
    report(ring.state.name, ring.lost)
    reset()
    report([kind(event) for event in iter(ring.take, None)], ring.state.name)


def stale() -> None:
    """Unmask by the store alone; the number follows."""
    device, registers, ring = _ringing()
    consumer = _consumer(device)
    registers.write32(INT_RAISE, 1)
    first = _next(ring)
    registers.write32(INT_ACK, 1)
    before = stat("silent")
    registers.write32(INT_RAISE, 2)
    registers.write32(INT_MASK_CLEAR, 0xFFFFFFFF)
    while stat("silent") == before:
        pass
    consumer.unmasked = first.seq
    event = _next(ring)
    report(event.r[0], stat("lost"))
    registers.write32(INT_ACK, 2)
    # Numbers that no event has had yet, or that an earlier event had, unmask nothing.
    for seq in (0, event.seq - 1, event.seq + 1, event.seq + 2**32, 2**64 - 1):
        consumer.unmasked = seq
        report(abi.InfoFlag.MASKED in device.info.flags)
    consumer.unmasked = event.seq
    report(abi.InfoFlag.MASKED in device.info.flags)


def rate(ring: bool) -> None:
    """Raise each interrupt when the last one is unmasked, faster than the limit."""
    device = loaded()
    device.set_quiesce(max_rate=1)
    device.arm(ring=ring, auto_unmask=False)
    registers = device.mmap(0)
    mapped = device.ring()
    taken = 0
    while taken < 1600:
        if mapped.state is abi.RingState.ARMED:
            registers.write32(INT_RAISE, 1)
        event = _next(mapped) if ring else device.read(timeout=TIMEOUT)
        if event.type is not shirq.EventType.IRQ:
            report(taken, kind(event), reason(event), mapped.state.name, mapped.reason.name)
            return
        taken += 1
        if mapped.state is abi.RingState.ARMED:
            registers.write32(INT_ACK, 1)
            mapped.unmask(event.seq) if ring else device.unmask(event.seq)
    report(taken)


def masked_by_call(mask: str) -> None:
    device, registers, ring = _ringing(mask=shirq.assemble(mask) if mask else ())
    consumer = _consumer(device)
    seq = device.mask()
    assert ring.seq == seq
    consumer.unmasked = seq
    registers.write32(INT_RAISE, 1)
    report(abi.InfoFlag.MASKED in device.info.flags, fails(ring.wait, timeout=0.1))
    device.unmask(seq)
    report(_next(ring).r[0])


def without_store(unmask: str) -> None:
    programs = dataclasses.replace(SET, unmask=shirq.assemble(unmask))
    device, registers, ring = _ringing(programs)
    consumer = _consumer(device)
    registers.write32(INT_RAISE, 1)
    event = _next(ring)
    registers.write32(INT_ACK, 1)
    consumer.unmasked = event.seq
    report(ring.stores, abi.InfoFlag.MASKED in device.info.flags)
    ring.unmask(event.seq)
    report(abi.InfoFlag.MASKED in device.info.flags, hex(registers.read32(INT_MASK)))


def polled() -> None:
    device, registers, ring = _ringing()
    poll = select.epoll()
    poll.register(device.fileno(), select.EPOLLIN)
    counter = os.eventfd(0)
    device.set_eventfd(counter)
    report(poll.poll(0))
    registers.write32(INT_RAISE, 1)
    report(poll.poll(TIMEOUT)[0][1] == select.EPOLLIN, int.from_bytes(os.read(counter, 8), "little"))
    event = _next(ring)
    report(poll.poll(0))
    consumer = _consumer(device)
    head = consumer.tail
    # epoll would not look again: no event has come.
    again = select.poll()
    again.register(device.fileno(), select.POLLIN)
    for tail in (head + 1, head + 1000, head - abi.RING_EVENTS - 1):
        consumer.tail = tail % 2**32
        report(again.poll(0))
    consumer.tail = head
    registers.write32(INT_ACK, 1)
    ring.unmask(event.seq)
    reset()
    report(poll.poll(TIMEOUT)[0][1] == select.EPOLLIN, int.from_bytes(os.read(counter, 8), "little"))
    report(kind(_next(ring)), poll.poll(TIMEOUT)[0][1] & select.EPOLLERR == select.EPOLLERR)


def switched() -> None:
    """Change between the ring and read()."""
    device, registers, ring = _ringing(acknowledging())
    _pulse(registers, 3)
    device.disarm()
    report(len(ring), ring.state.name, fails(ring.wait), [event.seq for event in iter(ring.take, None)])
    device.arm(ring=True)
    _pulse(registers, 2)
    device.disarm()
    device.arm()
    report(fails(os.read, device.fileno(), 63))
    _pulse(registers, 1)
    report(device.read(timeout=TIMEOUT).seq)
    _pulse(registers, 1)
    reset()
    device.arm(ring=True)
    ring = device.ring()
    report([(kind(event), event.seq) for event in iter(ring.take, None)], ring.state.name)


def for_messages() -> None:
    device = shirq.Device.open(ADDRESS)
    device.set_messages(1)
    report(fails(device.arm, ring=True, source=1), fails(device.arm, source=1))


def revoked() -> None:
    """A reset voids the mappings of registers, and not that of the ring."""
    device, registers, ring = _ringing()
    reset()
    report(child(lambda: registers.read32(0)), child(lambda: ring.take()), kind(_next(ring)), ring.state.name)
    device.arm(ring=True)
    registers, ring = device.mmap(0), device.ring()
    registers.write32(INT_RAISE, 1)
    report(kind(_next(ring)), ring.stores)


def hostile(threads: int, rounds: int) -> None:
    """Write garbage into the ring's words from several processes, while interrupts come and are lost."""
    device, registers, ring = _ringing(acknowledging())
    consumer = _consumer(device)
    report(ring.state.name)
    children = []
    for number in range(threads):
        pid = os.fork()
        if not pid:
            rng = random.Random(number)
            while True:
                consumer.tail = rng.choice((rng.getrandbits(32), (ring.seq + rng.randrange(-300, 300)) % 2**32))
                consumer.unmasked = rng.choice((rng.getrandbits(64), ring.seq, ring.seq + 1))
        children.append(pid)
    _pulse(registers, rounds)
    claims = stat("claims")
    poll = select.poll()
    poll.register(device.fileno(), select.POLLIN)
    for _ in range(1000):
        poll.poll(0)
        _wait(device, tail=random.getrandbits(32))
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    report(claims == ring.seq == rounds, stat("events") + stat("lost") == claims)
    # Whatever was written, an owner that writes its own tail again gets its events.
    device.disarm()
    device.arm()
    device.disarm()
    device.load(SET)
    device.arm(ring=True)
    registers, ring = device.mmap(0), device.ring()
    registers.write32(INT_RAISE, 8)
    event = _next(ring)
    report(event.r[0], len(ring))
    registers.write32(INT_ACK, 8)
    device.disarm()


def hostile_storm() -> None:
    """A device whose mask is useless storms, while its owner claims to have unmasked each event at once."""
    device, registers, ring = _ringing(useless_mask())
    device.set_quiesce(max_rate=10)
    consumer = _consumer(device)
    pid = os.fork()
    if not pid:
        while True:
            consumer.unmasked = ring.seq
    registers.write32(INT_RAISE, 1)
    ring.wait(timeout=TIMEOUT)
    while ring.state is abi.RingState.ARMED:
        pass
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    report(ring.state.name, fails(device.mmap, 0))


def awaited(count: int) -> None:
    """Await events of a ring in asyncio; the test raises them."""

    async def serve() -> None:
        async with AsyncDevice(loaded()) as device:
            device.arm(ring=True)
            registers = device.device.mmap(0)
            report("armed")
            seen = 0
            async for event in device:
                registers.write32(INT_ACK, event.r[0])
                report(event.seq, hex(event.r[0]))
                seen += 1
                if seen == count:
                    device.disarm()
            report("disarmed")

    asyncio.run(serve())


def masked_in_a_storm() -> None:
    """A source that the programs do not know asserts while the device is masked; the owner unmasks by a store."""
    programs = shirq.ProgramSet.from_text(
        irq=low_irq(),
        unmask="load r0, -1\nwrite32 bar0+0x6c, r0",
        release="load r0, -1\nwrite32 bar0+0x68, r0",
    )
    device, registers, ring = _ringing(programs)
    report("armed")
    event = _next(ring)
    while not command() & 0x400:
        time.sleep(0.01)
    report(hex(event.r[0]), ring.stores)
    registers.write32(INT_ACK, 0xFFFFFFFF)
    ring.unmask(event.seq)
    registers.write32(INT_RAISE, 2)
    report(fails(ring.wait, timeout=5))
    device.unmask(event.seq)
    report(hex(_next(ring).r[0]))


def then_messages() -> None:
    """Leave events in a ring, and use messages afterwards."""
    device, registers, _ = _ringing(acknowledging())
    _pulse(registers, 2)
    device.disarm()
    device.set_messages(1)
    device.set_master(True)
    device.arm(source=1)
    registers.write32(INT_MASK_CLEAR, 0xFFFFFFFF)
    registers.write32(INT_RAISE, 1)
    registers.write32(INT_ACK, 1)
    event = device.read(timeout=TIMEOUT)
    report(kind(event), event.source, event.seq, _wait(device))
    reset()
    report(kind(device.read(timeout=TIMEOUT)))
    device.set_messages(0)
    device.load(acknowledging())
    device.arm(ring=True)
    registers, ring = device.mmap(0), device.ring()
    _pulse(registers, 1)
    report([(kind(event), event.seq) for event in iter(ring.take, None)])


def stopped_while_asked(rounds: int) -> None:
    """Ask for an event without waiting, again and again, while the device is reset."""
    device, _, _ = _ringing()
    consumer = _consumer(device)
    answers = set()
    for _ in range(rounds):
        tail = consumer.tail
        thread = threading.Thread(target=reset)
        thread.start()
        while (answer := _wait(device, tail=tail)) == "ETIMEDOUT":
            pass
        answers.add(answer)
        thread.join()
        consumer.tail = (tail + 1) % 2**32
        device.arm(ring=True)
    report(*answers)


def reset_when_gone() -> None:
    device, _, ring = _ringing()
    report("armed")
    report(fails(ring.wait, timeout=TIMEOUT), ring.state.name)
    reset()
    report(ring.state.name, _wait(device, tail=_consumer(device).tail))


def opened_on_return() -> None:
    """Open the device anew when it is back, before the kernel has looked whether it is."""
    device, _, _ = _ringing()
    report("armed")
    proceed()
    report(fails(device.read, timeout=0))
    device.close()
    report("closed")
    proceed()
    device = shirq.Device.open(ADDRESS)
    with mmap.mmap(device.fileno(), _RING, prot=mmap.PROT_READ, offset=abi.MMAP_RING << abi.MMAP_SHIFT) as memory:
        report(abi.RingState(abi.RingStruct.from_buffer_copy(memory).state).name)


def read_only() -> None:
    """Map registers and the ring from a file that was opened for reading."""
    fd = os.open(f"/dev/shirq/{ADDRESS}", os.O_RDONLY)
    for part, size in ((0, _PAGE), (abi.MMAP_RING, _RING), (abi.MMAP_CONSUMER, _PAGE)):
        offset = part << abi.MMAP_SHIFT
        for flags, access in (
            (mmap.MAP_SHARED, mmap.PROT_READ),
            (mmap.MAP_PRIVATE, mmap.PROT_READ),
            (mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE),
        ):
            report(part, fails(mmap.mmap, fd, size, flags, access, offset=offset))
    registers = mmap.mmap(fd, _PAGE, mmap.MAP_SHARED, mmap.PROT_READ)
    report(hex(int.from_bytes(registers[:4], "little")))
    reset()
    report(child(lambda: registers[0]))


def held_is_lost() -> None:
    """Disarm while SHIRQ_MASK, by a bit without effect, holds an interrupt back."""
    device, _, ring = _ringing()
    device.mask()
    report("masked")
    while not stat("remasks"):
        time.sleep(0.01)
    device.disarm()
    report(ring.lost, device.info.lost)
