# SPDX-License-Identifier: MIT
"""Scripts of test_messages.py. The device is shirq-edu with MSI, which has one vector."""

from __future__ import annotations

import asyncio
import ctypes
import dataclasses
import fcntl
import os
import select
import threading
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
    armed,
    asleep_in_read,
    become_nobody,
    child,
    command,
    fails,
    kind,
    loaded,
    proceed,
    quarantined,
    reason,
    report,
    reset,
    resetting,
    silence,
    stat,
    state,
    with_irq,
)
from shirq import abi
from shirq.aio import AsyncDevice

#: The part of a set's irq program that declines all sources but those of the mask 0x1, which it acknowledges.
DECLINE_OTHERS = """
    read32 r0, bar0+0x2c
    write32 bar0+0x64, r0
    and r0, 0x1
    skip_if_not_zero r0, ours
    decline
ours:
    claim
"""


def _with_messages(count: int = 1, master: bool = True) -> tuple[shirq.Device, shirq.Registers]:
    """Open the device with messages and all of its sources unmasked; returns it and its BAR 0."""
    device = shirq.Device.open(ADDRESS)
    assert device.set_messages(count) == 1
    device.set_master(master)
    registers = device.mmap(0)
    registers.write32(INT_MASK_CLEAR, 0xFFFFFFFF)
    return device, registers


def _pulse(registers: shirq.Registers, bits: int = 1) -> None:
    """Raise sources and acknowledge them: one message."""
    registers.write32(INT_RAISE, bits)
    registers.write32(INT_ACK, bits)


def _next(device: shirq.Device) -> str:
    event = device.read(timeout=TIMEOUT)
    return f"{kind(event)} source={event.source} seq={event.seq} lost={event.lost} r={list(map(hex, event.r))}"


def _interrupts() -> dict[str, int]:
    """The numbers of the device's interrupts in /proc/interrupts, by the names of their handlers."""
    lines = [line.split() for line in Path("/proc/interrupts").read_text().splitlines()]
    return {words[-1]: int(words[0][:-1]) for words in lines if words[-1].startswith(f"shirq:{ADDRESS}")}


def without_set() -> None:
    device = shirq.Device.open(ADDRESS)
    info = device.info
    print(info.sources, info.messages, abi.Feature.MESSAGES in info.features, fails(device.info_of, 1))
    line = info.irq
    print(device.set_messages(32), device.info.sources, device.info.irq == line, hex(command() & 0x404))
    device.set_master(True)
    device.arm(source=1)
    one = device.info_of(1)
    print(one.state.name, device.info.state.name, state(), _interrupts() == {f"shirq:{ADDRESS}-1": one.irq})
    registers = device.mmap(0)
    registers.write32(INT_MASK_CLEAR, 0xFFFFFFFF)
    for _ in range(2):
        _pulse(registers)
        print(_next(device))
    device.disarm(source=1)
    print(device.info_of(1).state.name, fails(device.read), _interrupts())
    _pulse(registers)
    device.arm(source=1)
    print(silence(device, 0.2))
    _pulse(registers)
    print(_next(device))


def with_set() -> None:
    device, registers = _with_messages()
    device.load(SET, source=1)
    print(device.info_of(1).state.name, device.info.state.name)
    device.arm(source=1)
    registers.write32(INT_RAISE, 0x12)
    event = device.read(timeout=TIMEOUT)
    masked = bool(device.info_of(1).flags & abi.InfoFlag.MASKED)
    print(hex(event.r[0]), event.source, masked, hex(registers.read32(INT_MASK)))
    registers.write32(INT_ACK, event.r[0])
    registers.write32(INT_RAISE, 4)
    # The next read() unmasks: the source that was raised while the device was masked sends its message then.
    event = device.read(timeout=TIMEOUT)
    print(hex(event.r[0]), event.seq, fails(device.unmask, 3, 1), fails(device.unmask, 1, 1))
    print("stale:", hex(registers.read32(INT_MASK)))
    registers.write32(INT_ACK, 4)
    device.unmask(2, 1)
    device.disarm(1)
    print("disarmed:", hex(registers.read32(INT_MASK)))
    # A program that declines: the kernel sees an interrupt that nobody handles.
    device.load(with_irq(DECLINE_OTHERS, acknowledging()), source=1)
    device.arm(source=1)
    before = stat("declines")
    registers.write32(INT_RAISE, 2)
    while stat("declines") == before:
        pass
    registers.write32(INT_RAISE, 1)
    print(_next(device), stat("declines") - before)
    number = device.info_of(1).irq
    spurious = Path(f"/proc/irq/{number}/spurious").read_text().split()
    print("unhandled:", spurious[spurious.index("unhandled") + 1])


def refusals() -> None:
    device = shirq.Device.open(ADDRESS)

    def call(number: int, struct: ctypes.Structure) -> str:
        struct.size = ctypes.sizeof(struct)
        return fails(fcntl.ioctl, device.fileno(), number, struct)

    def messages(**fields: int) -> str:
        return call(abi.SET_MESSAGES, abi.MessagesStruct(**fields))

    print("bad:", messages(count=33), messages(count=1, flags=1), messages(count=1, reserved=1), messages())
    device.load(SET)
    device.arm()
    print("line armed:", messages(count=1), messages(count=0))
    device.disarm()
    print("allocated:", messages(count=1), messages(count=1), fails(device.arm), device.info.sources)
    sources = (0, 1, 2, 32, 33, 0xFFFFFFFF)
    print("load:", *(fails(device.load, SET, source=source) for source in sources))
    flags = (1, 2, 5, 8, 4)
    print("arm:", *(call(abi.ARM, abi.ArmStruct(source=1, flags=each)) for each in flags), fails(device.arm, source=1))
    print("armed:", messages(count=1), messages(count=0), fails(device.load, SET, source=1), fails(device.load, SET))
    for name, method in (("mask", device.mask), ("disarm", device.disarm), ("info", device.info_of)):
        print(f"{name}:", *(fails(method, source) for source in (2, 33, 0xFFFFFFFF)))
    print("unmask:", *(fails(device.unmask, 0, source) for source in (0, 1, 2, 33)))
    print("eventfd:", *(fails(device.set_eventfd, None, source) for source in (0, 1, 2, 33)))
    device.disarm(1)
    print("disarmed:", fails(device.disarm, 1), fails(device.mask, 1), fails(device.unmask, 0, 1), messages(count=0))
    print("freed:", fails(device.info_of, 1), hex(command() & 0x400), fails(device.arm), state())
    device.disarm()
    become_nobody()
    print("nobody:", messages(count=1), messages(count=0))


def no_messages() -> None:
    with shirq.Device.open(ADDRESS) as device:
        print(device.info.messages, fails(device.set_messages, 1), fails(device.set_messages, 0), device.info.sources)


def masters() -> None:
    """No message comes while bus mastering is off."""
    device, registers = _with_messages(master=False)
    device.arm(source=1)
    _pulse(registers)
    print(silence(device, 0.2), stat("claims"))
    device.set_master(True)
    _pulse(registers)
    print(_next(device))


def masking() -> None:
    """MASK without a mask program, and with one; messages that come while the source is masked."""
    device, registers = _with_messages()
    device.arm(source=1)
    seq = device.mask(1)
    print(seq, device.info_of(1).flags & abi.InfoFlag.MASKED != 0, stat("masks"))
    for _ in range(3):
        _pulse(registers)
    print(silence(device, 0.2), fails(device.unmask, seq + 1, 1))
    device.unmask(seq, 1)
    print(_next(device), silence(device, 0.2))
    # Two calls: the last number alone unmasks.
    first, second = device.mask(1), device.mask(1)
    _pulse(registers)
    device.unmask(first, 1)
    print(silence(device, 0.2))
    device.unmask(second, 1)
    print(_next(device))
    device.disarm(1)
    # A mask program of the set silences one of the device's sources: the messages of another one are held.
    device.load(SET, shirq.assemble("load r0, 1\nwrite32 bar0+0x68, r0"), source=1)
    device.arm(source=1, auto_unmask=False)
    seq = device.mask(1)
    print(hex(registers.read32(INT_MASK)), stat("silent"))
    for bits in (2, 2, 4):
        _pulse(registers, bits)
    registers.write32(INT_RAISE, 4)
    print(silence(device, 0.2), stat("silent") > 0)
    device.unmask(seq, 1)
    event = device.read(timeout=TIMEOUT)
    print(hex(event.r[0]), event.seq, hex(registers.read32(INT_MASK)), silence(device, 0.2))
    registers.write32(INT_ACK, 4)
    device.unmask(event.seq, 1)
    print(hex(registers.read32(INT_MASK)), device.info_of(1).lost)


def held_is_lost() -> None:
    """A held message counts as lost if the source is stopped."""
    device, registers = _with_messages()
    device.load(SET, shirq.assemble("load r0, 1\nwrite32 bar0+0x68, r0"), source=1)
    device.arm(source=1)
    device.mask(1)
    _pulse(registers, 2)
    while not stat("silent"):
        pass
    reset()
    print(_next(device), device.info_of(1).lost)


def eventfds() -> None:
    """An eventfd of the source, and that of source 0 for a source without one."""
    device, registers = _with_messages()
    shared, own = (os.eventfd(0, os.EFD_NONBLOCK) for _ in range(2))

    def counts() -> list[int]:
        return [os.eventfd_read(fd) if select.select([fd], [], [], 0)[0] else 0 for fd in (shared, own)]

    device.set_eventfd(shared)
    device.arm(source=1)
    for fd in (None, own, None):
        device.set_eventfd(fd, source=1)
        for _ in range(2):
            _pulse(registers)
            device.read(timeout=TIMEOUT)
        print(counts())
    device.set_eventfd(own, source=1)
    device.disarm(1)
    print("disarmed:", max(counts()) > 0)


def overflow() -> None:
    device, registers = _with_messages()
    device.arm(source=1)
    for _ in range(device.info.events + 3):
        before = stat("claims")
        _pulse(registers)
        while stat("claims") == before:
            pass
    print(device.info_of(1).lost, device.info.lost, stat("lost"))
    events = [device.read(timeout=TIMEOUT) for _ in range(device.info.events)]
    print(events[0].seq, events[-1].seq, {event.lost for event in events})
    _pulse(registers)
    print(_next(device))


def too_fast(how: str) -> None:
    """Messages faster than the rate, which the program acknowledges or declines, or without a program."""
    device, registers = _with_messages()
    if how == "acknowledged":
        device.load(acknowledging(), source=1)
    if how == "declined":
        device.load(with_irq(DECLINE_OTHERS, acknowledging()), source=1)
    device.set_quiesce(max_rate=1000)
    device.arm(source=1)
    report("armed")
    if how == "no set":
        while fails(device.pwrite, 0, INT_RAISE, 4, 1) == fails(device.pwrite, 0, INT_ACK, 4, 1) == "OK":
            pass
    event = quarantined(device)
    report(reason(event), event.source, hex(event.r[0]), state(), hex(command() & 0x404))
    print(fails(device.set_messages, 0), fails(device.set_master, True), fails(device.pread, 0, 0, 4))
    print(fails(device.mask, 1), child(lambda: registers.read32(0)))
    report("quarantined")
    proceed()
    device.set_quiesce()
    device.arm(source=1)
    device.set_master(True)
    registers = device.mmap(0)
    if how == "no set":
        registers.write32(INT_MASK_CLEAR, 0xFFFFFFFF)
    registers.write32(INT_RAISE, 1)
    print(state(), hex(device.read(timeout=TIMEOUT).r[0]))


def told(how: str) -> None:
    """An armed message, whose device is stopped by ``how``: by this process, or by the test."""
    device, registers = _with_messages()
    device.load(SET, source=1)
    device.arm(source=1, auto_unmask=False)
    registers.write32(INT_RAISE, 1)
    device.read(timeout=TIMEOUT)
    report("pending")
    if how == "reset":
        reset()
    notice = device.read(timeout=TIMEOUT)
    report(kind(notice), notice.source, state(), hex(command() & 0x404), child(lambda: registers.read32(0)))
    print(fails(os.read, device.fileno(), 64), fails(device.unmask, 1, 1), fails(device.mask, 1), device.info.sources)
    report("again?")
    proceed()
    device.arm(source=1)
    device.set_master(True)
    registers = device.mmap(0)
    registers.write32(INT_RAISE, 8)
    print(hex(device.read(timeout=TIMEOUT).r[0] & 8), _interrupts() == {f"shirq:{ADDRESS}-1": device.info_of(1).irq})


def holds(programs: bool = True) -> None:
    """Arm a message, and keep a source pending that the device would show on its pin, until the test ends this."""
    device, registers = _with_messages()
    if programs:
        device.load(SET, source=1)
    device.arm(source=1)
    registers.write32(INT_RAISE, 1)
    device.read(timeout=TIMEOUT)
    report("pending")
    proceed()


def frees(release: str) -> None:
    """Free the messages of a device with a pending source: its pin could rise now."""
    device, registers = _with_messages()
    device.load(dataclasses.replace(SET, release=shirq.assemble(release)), source=1)
    device.arm(source=1)
    device.disarm(1)
    registers.write32(INT_MASK_CLEAR, 0xFFFFFFFF)
    registers.write32(INT_RAISE, 1)
    report("pending")
    proceed()
    device.set_messages(0)
    report(state(), device.info.sources if state() == "open" else _next(device), hex(command() & 0x400))
    proceed()


def waits() -> None:
    """A reader that is blocked when the last source is disarmed, and poll()."""
    device, registers = _with_messages()
    device.arm(source=1)
    said: list[str] = []
    thread = threading.Thread(target=lambda: said.append(fails(os.read, device.fileno(), 64)))
    thread.start()
    asleep_in_read(thread, device)
    device.disarm(1)
    thread.join()
    poll = select.poll()
    poll.register(device, select.POLLIN)
    print(*said, poll.poll(0)[0][1] == select.POLLERR)
    device.arm(source=1)
    print(poll.poll(0))
    _pulse(registers)
    print(poll.poll(TIMEOUT)[0][1] == select.POLLIN, _next(device))


def threads() -> None:
    """An event is unmasked by the thread that has read it alone, as long as that thread lives."""
    device, registers = _with_messages()
    device.load(SET, source=1)
    device.arm(source=1)
    registers.write32(INT_RAISE, 1)
    over = threading.Event()
    read = threading.Event()

    def first() -> None:
        os.read(device.fileno(), 64)
        registers.write32(INT_ACK, 1)
        read.set()
        over.wait()

    thread = threading.Thread(target=first)
    thread.start()
    read.wait()
    os.set_blocking(device.fileno(), False)
    print(fails(os.read, device.fileno(), 64), hex(registers.read32(INT_MASK)))
    over.set()
    while Path(f"/proc/self/task/{thread.native_id}").exists():
        pass
    print(fails(os.read, device.fileno(), 64), hex(registers.read32(INT_MASK)))


def kept() -> None:
    """The programs of a message share r4 to r7 as those of the line do, and each source has its own."""
    device, registers = _with_messages()
    counting = shirq.ProgramSet.from_text(
        irq="""
            read32 r0, bar0+0x2c
            skip_if_not_zero r0, ours
            decline
        ours:
            add r4, 1
            load r1, 0
            add r1, r4
            claim
            write32 bar0+0x64, r0
        """,
        mode=abi.Mode.ACKNOWLEDGES,
        release="load r0, -1\nwrite32 bar0+0x68, r0",
    )
    device.load(counting, source=1)
    device.arm(source=1)
    for _ in range(2):
        registers.write32(INT_RAISE, 1)
        print(device.read(timeout=TIMEOUT).r[1])
    device.disarm(1)
    registers.write32(INT_MASK_CLEAR, 0xFFFFFFFF)
    device.arm(source=1)
    registers.write32(INT_RAISE, 1)
    print(device.read(timeout=TIMEOUT).r[1])


def gone() -> None:
    device, _registers = _with_messages()
    device.load(SET, source=1)
    device.arm(source=1)
    report("armed")
    print(fails(os.read, device.fileno(), 64), state(), fails(device.set_messages, 0), fails(device.disarm, 1))


def _msi_is_on() -> bool:
    """Whether the capability of MSI is enabled, by config space."""
    config = Path("/sys/bus/pci/devices", ADDRESS, "config").read_bytes()
    at = config[0x34]
    while config[at] != 5:
        at = config[at + 1]
    return bool(config[at + 2] & 1)


def left() -> None:
    """Free the messages of a device that does not answer, and use its line when it answers again."""
    device, _registers = _with_messages()
    report("allocated")
    proceed()
    device.set_messages(0)
    report("freed", device.info.sources)
    proceed()
    before = _msi_is_on()
    device.load(SET)
    device.arm()
    report("armed", before, _msi_is_on())
    print(_next(device))


def awaited() -> None:
    """The same device in asyncio."""

    async def serve() -> None:
        async with AsyncDevice(shirq.Device.open(ADDRESS)) as device:
            print(device.set_messages(4))
            device.device.set_master(True)
            registers = device.device.mmap(0)
            device.load(SET, source=1)
            device.arm(source=1)
            registers.write32(INT_RAISE, 3)
            async for event in device:
                print(event.source, hex(event.r[0]))
                registers.write32(INT_ACK, event.r[0])
                device.unmask(event.seq, event.source)
                if event.seq == 2:
                    device.disarm(1)
                else:
                    registers.write32(INT_RAISE, 4)

    asyncio.run(serve())


def races(rounds: int) -> None:
    """Allocate, arm, mask, read and free in several threads, while the device is reset by sysfs again and again."""
    device, registers = _with_messages()
    over = threading.Event()

    def call_again_and_again() -> None:
        while not over.is_set():
            fails(device.mask, 1)
            fails(device.unmask, 1, 1)
            fails(device.info_of, 1)
            fails(device.set_eventfd, None, 1)

    os.set_blocking(device.fileno(), False)
    thread = threading.Thread(target=call_again_and_again)
    thread.start()
    done = 0
    with resetting():
        while done < rounds:
            if fails(device.arm, source=1) == "OK":
                done += 1
            fails(os.read, device.fileno(), 640)
            fails(device.disarm, 1)
            fails(device.set_messages, 0)
            fails(device.set_messages, 1)
    over.set()
    thread.join()
    while fails(device.read) == "OK":
        pass
    fails(device.disarm, 1)
    fails(device.set_messages, 0)
    print(device.set_messages(1), fails(device.arm, source=1), state(), fails(armed))
    device.set_master(True)
    registers = device.mmap(0)
    registers.write32(INT_MASK_CLEAR, 0xFFFFFFFF)
    _pulse(registers)
    print(_next(device))


def again() -> None:
    """The next owner gets the line, and no message of the former one."""
    device = loaded()
    print(device.info.sources, fails(device.info_of, 1), fails(device.arm))


def disarmed_beside_a_notice() -> None:
    """Disarm the only message while a notice, which is an event of source 0, is queued."""
    device, _registers = _with_messages()
    device.arm(source=1)
    reset()
    device.arm(source=1)
    device.disarm(1)
    print(_next(device), fails(device.read))


def claimed_by_the_line() -> None:
    """The owner before: its last claim captures a value."""
    device = loaded()
    device.arm(auto_unmask=False)
    device.mmap(0).write32(INT_RAISE, 0x40)
    print(_next(device))
