# SPDX-License-Identifier: MIT
"""Scripts of test_vectors.py. The device is an igb, which has ten vectors of MSI-X."""

from __future__ import annotations

import os
import select
from pathlib import Path

import shirq
from guest.scripts.inguest import ADDRESS, TIMEOUT, fails, kind, report, silence, stat, state
from shirq import abi

#: Registers of BAR 0: how causes become messages; raise causes; let them interrupt; clear them as they interrupt.
GPIE, EICS, EIMS, EIAC = 0x1514, 0x1520, 0x1524, 0x152C
#: In GPIE: the cause of each bit sends the message of the same number.
MULTIPLE_MSIX = 1 << 4


def _setup(registers: shirq.Registers) -> None:
    registers.write32(GPIE, MULTIPLE_MSIX)
    registers.write32(EIAC, 0x1F)
    registers.write32(EIMS, 0x1F)


def _nic(count: int = 5) -> tuple[shirq.Device, shirq.Registers]:
    """Open the card with this number of messages; cause n sends the message of source n + 1."""
    device = shirq.Device.open(ADDRESS)
    assert device.set_messages(count) == count
    device.set_master(True)
    registers = device.mmap(0)
    _setup(registers)
    return device, registers


def _raise(registers: shirq.Registers, source: int) -> None:
    """Have the card send a message, and wait until the kernel has taken it."""
    before = stat("claims")
    registers.write32(EICS, 1 << (source - 1))
    while stat("claims") == before:
        pass


def _states(device: shirq.Device, *sources: int) -> list[str]:
    return [device.info_of(source).state.name for source in sources]


def _next(device: shirq.Device) -> str:
    event = device.read(timeout=TIMEOUT)
    return f"{event.source}:{event.seq}"


def streams() -> None:
    device, registers = _nic()
    info = device.info
    print(info.sources, info.messages, len({device.info_of(source).irq for source in range(1, 6)}))
    for source in range(1, 6):
        device.arm(source=source)
    print(Path("/proc/interrupts").read_text().count(f"shirq:{ADDRESS}-"), state())
    for source in (3, 1, 5, 1, 2, 4, 3):
        _raise(registers, source)
    events = [device.read(timeout=TIMEOUT) for _ in range(7)]
    times = [event.time_ns for event in events]
    print(*(f"{event.source}:{event.seq}" for event in events), times == sorted(times))
    # One system call returns the events of several sources.
    for source in (2, 1):
        _raise(registers, source)
    print(len(os.read(device.fileno(), 640)) // 64)


def apart() -> None:
    """What is done with one source leaves the others as they are."""
    device, registers = _nic()
    own = os.eventfd(0, os.EFD_NONBLOCK)
    device.set_eventfd(own, source=2)
    for source in (1, 2, 3):
        device.arm(source=source)
    _raise(registers, 1)
    _raise(registers, 3)
    print("signalled:", bool(select.select([own], [], [], 0)[0]))
    device.disarm(3)
    print("disarmed:", *_states(device, 1, 2, 3), _next(device), silence(device, 0.1))
    masked = device.mask(1)
    registers.write32(EICS, 1)
    _raise(registers, 2)
    print("masked:", _next(device), silence(device, 0.1), bool(select.select([own], [], [], 0)[0]))
    device.unmask(masked, 1)
    print("unmasked:", _next(device), bool(device.info_of(1).flags & abi.InfoFlag.MASKED))
    programs = shirq.ProgramSet.from_text(
        irq="read32 r0, bar0+0x1514\nclaim", release="read32 r0, bar0+0x1514", mode=shirq.Mode.ACKNOWLEDGES
    )
    device.load(programs, source=4)
    print("loaded:", *_states(device, 1, 4, 5), fails(device.load, programs, source=1))
    device.arm(source=4)
    for source in (4, 2):
        _raise(registers, source)
    events = [device.read(timeout=TIMEOUT) for _ in range(2)]
    print("programs:", *(f"{event.source} {event.r[0] != 0}" for event in events))


def chatty() -> None:
    """A source whose queue is full costs another one no event."""
    device, registers = _nic()
    for source in (1, 2):
        device.arm(source=source)
    for _ in range(device.info.events + 2):
        _raise(registers, 1)
    _raise(registers, 2)
    print(device.info_of(1).lost, device.info_of(2).lost)
    events = [device.read(timeout=TIMEOUT) for _ in range(device.info.events + 1)]
    print({event.source for event in events[:-1]}, events[-1].source, events[-1].seq, silence(device, 0.1))


def fewer() -> None:
    """Fewer messages than the card has; those that are freed can be allocated again."""
    device, registers = _nic(2)
    print(device.info.sources, fails(device.arm, source=3))
    device.set_messages(0)
    print(device.info.sources, fails(device.arm, source=1))
    print(device.set_messages(32), device.info.sources)
    device.arm(source=5)
    _raise(registers, 5)
    print(_next(device))


def storms() -> None:
    """One message that comes too fast quarantines the device: the other sources are disarmed too."""
    device, registers = _nic()
    for source in (1, 2):
        device.arm(source=source)
    device.set_quiesce(max_rate=100)
    while fails(device.pwrite, 0, EICS, 4, 1) == "OK":
        pass
    while (event := device.read(timeout=TIMEOUT)).type is shirq.EventType.IRQ:
        pass
    print(kind(event), event.flags, event.source, *_states(device, 1, 2))
    device.arm(source=2)
    device.set_master(True)
    registers = device.mmap(0)
    _setup(registers)
    _raise(registers, 2)
    print(_next(device), device.info_of(1).state.name)


def killed() -> None:
    device, registers = _nic()
    for source in range(1, 6):
        device.arm(source=source)
    _raise(registers, 2)
    report("armed")
    device.read()
    device.read()
