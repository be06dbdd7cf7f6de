# SPDX-License-Identifier: MIT
"""Writes event logs like QEMU's, for tests of their readers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

from shirq_bench.channels.edu import Register
from shirq_bench.channels.log import (
    BY_PIN,
    ENTRY,
    HEADER,
    HEADER_SIZE,
    I8259,
    IOAPIC,
    MAGIC,
    NAME_SIZE,
    NONE,
    VERSION,
    VM,
    VM_INDEX,
    Entry,
    Header,
    Kind,
    Log,
)

INT_STATUS, INT_ACTIVE, INT_RAISE = Register.INT_STATUS, Register.INT_ACTIVE, Register.INT_RAISE
INT_ACK, INT_MASK_SET, INT_MASK_CLEAR = Register.INT_ACK, Register.INT_MASK_SET, Register.INT_MASK_CLEAR
MARK = Register.MARK
GSI = 20
VECTOR = 0x22
#: The first names in the table of each log.
CONTROLLERS = (IOAPIC, I8259)


def pack_header(
    devices: Sequence[str],
    *,
    capacity: int,
    head: int,
    dropped: int = 0,
    epoch: int = 0,
    magic: bytes = MAGIC,
    version: int = VERSION,
    entry_size: int = ENTRY.size,
    generation: int = 0,
) -> bytes:
    names = [*CONTROLLERS, *devices]
    fixed = HEADER.pack(magic, version, entry_size, capacity, epoch, head, dropped, len(names), generation)
    table = b"".join(name.encode().ljust(NAME_SIZE, b"\0") for name in names)
    return (fixed + table).ljust(HEADER_SIZE, b"\0")


def pack_entries(devices: Sequence[str], entries: Iterable[Entry]) -> bytes:
    index = {name: slot for slot, name in enumerate((*CONTROLLERS, *devices))} | {VM: VM_INDEX}
    return b"".join(ENTRY.pack(*entry[:5], index[entry.device], *entry[6:]) for entry in entries)


def write_log(
    path: Path, devices: Sequence[str], entries: Sequence[Entry], *, dropped: int = 0, epoch: int = 0
) -> Path:
    """Write a complete log with these entries; returns ``path``."""
    header = pack_header(devices, capacity=len(entries), head=len(entries), dropped=dropped, epoch=epoch)
    path.write_bytes(header + pack_entries(devices, entries))
    return path


class Story:
    """The log entries of a run, in virtual time: each method advances ``now`` by the time that it takes (ns).

    The methods keep the levels consistent, as QEMU does: a device's pin is high if a source is pending and unmasked,
    and the line is the OR of all pins. At first the line and all devices are unmasked. A test makes a story
    inconsistent if it omits a method or calls ``add``. ``controller`` is the one that has the line.
    """

    def __init__(
        self,
        devices: Sequence[str] = ("dev0", "dev1", "nic"),
        gsi: int = GSI,
        now: int = 1_000_000,
        controller: str = IOAPIC,
    ) -> None:
        self.devices = tuple(devices)
        self.gsi = gsi
        self.controller = controller
        self.now = now
        self.entries: list[Entry] = []
        self.pending = dict.fromkeys(devices, 0)
        self.masked = dict.fromkeys(devices, False)
        self.pins = dict.fromkeys(devices, False)
        self.line = False
        self.add(Kind.RESTORED, VM, value=1).add(Kind.LINE_MASK, offset=gsi, took=0)
        for device in devices:
            self.add(Kind.MASK, device, took=0)

    def add(
        self,
        kind: Kind,
        device: str = "",
        *,
        offset: int = 0,
        value: int = 0,
        ring: int = NONE,
        space: int = 0,
        width: int = 0,
        vcpu: int = 0,
        took: int = 100,
    ) -> Story:
        vcpu = NONE if ring == NONE else vcpu
        self.now += took
        device = device or self.controller
        self.entries.append(Entry(self.now, kind, space, width, vcpu, device, ring, offset, value))
        return self

    def log(self, *, dropped: int = 0) -> Log:
        count = len(self.entries)
        return Log(Header(count, 0, count, dropped, (*CONTROLLERS, *self.devices)), list(self.entries))

    def levels_only(self) -> Log:
        """The log of a guest whose interrupt controller is not followed: it has only the levels of the lines."""
        levels = [entry for entry in self.entries if entry.kind not in (Kind.LINE_MASK, Kind.DELIVER, Kind.EOI)]
        return dataclasses.replace(self.log(), entries=levels)

    def wait(self, ns: int) -> Story:
        self.now += ns
        return self

    def _settle(self, ring: int = NONE) -> Story:
        for device in self.devices:
            level = bool(self.pending[device]) and not self.masked[device]
            if level != self.pins[device]:
                self.pins[device] = level
                self.add(Kind.PIN, device, value=level, ring=ring, took=0)
        if (line := any(self.pins.values())) != self.line:
            self.line = line
            self.add(Kind.LINE, offset=self.gsi, value=line, ring=ring, width=BY_PIN, took=0)
        return self

    def stimulus(self, device: str, bits: int = 1) -> Story:
        self.pending[device] |= bits
        return self.add(Kind.RAISE, device, value=bits)._settle()

    def deliver(self) -> Story:
        return self.add(Kind.DELIVER, offset=self.gsi, value=VECTOR)

    def eoi(self) -> Story:
        return self.add(Kind.EOI, offset=self.gsi, value=VECTOR, ring=0, took=500)

    def read(self, device: str, offset: int = INT_ACTIVE, *, ring: int = 0) -> Story:
        active = 0 if self.masked[device] else self.pending[device]
        value = active if offset == INT_ACTIVE else self.pending[device]
        return self.add(Kind.READ, device, offset=offset, value=value, ring=ring, width=4)

    def mask(self, device: str, on: bool = True, *, ring: int = 0) -> Story:
        offset = INT_MASK_SET if on else INT_MASK_CLEAR
        self.add(Kind.WRITE, device, offset=offset, value=0xFFFFFFFF, ring=ring, width=4)
        if self.masked[device] != on:
            self.masked[device] = on
            self.add(Kind.MASK, device, value=on, ring=ring, took=0)
        return self._settle(ring)

    def acknowledge(self, device: str, *, ring: int = 3) -> Story:
        self.add(Kind.WRITE, device, offset=INT_ACK, value=self.pending[device], ring=ring, width=4)
        self.pending[device] = 0
        return self._settle(ring)

    def marker(self, device: str, value: int, width: int = 8) -> Story:
        self.add(Kind.WRITE, device, offset=MARK, value=value, ring=3, width=width)
        return self.add(Kind.MARK, device, value=value, ring=3, took=0)

    def claimed_interrupt(self, device: str = "dev0") -> Story:
        """Add a complete interrupt: assert, deliver, claim and mask, EOI, acknowledge from user space, unmask."""
        self.stimulus(device).deliver().wait(1500).read(device).mask(device).eoi()
        self.wait(8000).read(device, INT_STATUS, ring=3).acknowledge(device).wait(600)
        return self.mask(device, False)

    def neighbours_interrupt(self, device: str = "nic") -> Story:
        """Add an interrupt of an ordinary driver's device: QEMU logs the device's pin, but not the accesses to it."""
        self.stimulus(device).deliver().wait(2500)
        self.pending[device] = 0
        return self._settle(0).eoi()
