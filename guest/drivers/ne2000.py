#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Driver for NE2000 compatible network cards: receives and sends only through ports, and answers ARP queries.

The driver reads and writes the card's memory word by word through one port; registers of the card hold the address. The
driver does so only in `handle`, while the card is masked, or before the card is armed. The irq program does not run at
these times, so only this driver writes CR, which chooses the page of registers and starts transfers.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import shirq
from card import CardError, run
from nic import Nic

# DP8390D datasheet, 10.1 to 10.3: registers by page, BAR 0
BAR = 0
CR = 0x00
PSTART, PSTOP, BNRY, TPSR = 0x01, 0x02, 0x03, 0x04
TBCR0, TBCR1 = 0x05, 0x06
ISR = 0x07
RSAR0, RSAR1, RBCR0, RBCR1 = 0x08, 0x09, 0x0A, 0x0B
RCR, TCR, DCR, IMR = 0x0C, 0x0D, 0x0E, 0x0F
PAR0, CURR, MAR0 = 0x01, 0x07, 0x08  # page 1
DATA = 0x10

STP, STA, TXP = 0x01, 0x02, 0x04
REMOTE_READ, REMOTE_WRITE, NO_REMOTE = 0x08, 0x10, 0x20
PAGE1 = 0x40
ISR_OVW, ISR_RDC, ISR_ALL = 0x10, 0x40, 0xFF
#: Words, little endian, no loopback, FIFO threshold 8 bytes.
DCR_VALUE = 0x49
RCR_BROADCAST = 0x04
TCR_LOOPBACK, TCR_NORMAL = 0x02, 0x00
RECEIVED_OK = 0x01

# The card's memory, in pages of 256 bytes: one frame to send, then the ring.
SEND_PAGE, RING, RING_END = 0x40, 0x46, 0x80
_HEADER = struct.Struct("<BBH")

#: Reads CURR, which is on page 1, and returns to page 0.
READ_CURR = shirq.assemble(
    f"""
    load r1, {PAGE1 | NO_REMOTE | STA}
    write8 bar{BAR}+{CR}, r1
    read8 r0, bar{BAR}+{CURR}
    load r1, {NO_REMOTE | STA}
    write8 bar{BAR}+{CR}, r1
    """
)


class Ne2000(Nic):
    profile = "ne2000"

    def start(self) -> None:
        for register, value in (
            (CR, NO_REMOTE | STP),
            (DCR, DCR_VALUE),
            (IMR, 0),
            (RBCR0, 0),
            (RBCR1, 0),
            (RCR, RCR_BROADCAST),
            (TCR, TCR_LOOPBACK),
            (PSTART, RING),
            (PSTOP, RING_END),
            (BNRY, RING),
            (ISR, ISR_ALL),
        ):
            self._write(register, value)
        # The PROM returns each byte twice if it is read in words.
        self.mac = self._read_memory(0, 12)[::2]
        self._write(CR, PAGE1 | NO_REMOTE | STP)
        for n, byte in enumerate(self.mac):
            self._write(PAR0 + n, byte)
        for n in range(8):
            self._write(MAR0 + n, 0)
        self.page = RING + 1
        self._write(CURR, self.page)
        self._write(CR, NO_REMOTE | STA)
        self._write(TCR, TCR_NORMAL)

    def handle(self, event: shirq.Event) -> None:
        if event.r[0] & ISR_OVW:
            raise CardError("the ring was full: the card must be started again")
        # Acknowledge first, so that a packet that arrives while the ring is read asserts again.
        self._write(ISR, event.r[0])
        self.answer_all()

    def frames(self) -> Iterator[bytes]:
        while self.page != self.device.exec(READ_CURR)[0]:
            begin = self.page << 8
            status, following, length = _HEADER.unpack(self._read_memory(begin, _HEADER.size))
            if not status & RECEIVED_OK or not RING <= following < RING_END:
                raise CardError(f"the ring has status {status:#x}, next page {following:#x} on page {self.page:#x}")
            yield self._read_memory(begin + _HEADER.size, length - _HEADER.size)
            self.page = following
            # Tell the card the last page that was read. The card regards the ring as empty while it writes to the next
            # page.
            self._write(BNRY, (following if following > RING else RING_END) - 1)

    def send(self, frame: bytes) -> bool:
        if self._read(CR) & TXP:
            return False
        self._write_memory(SEND_PAGE << 8, frame)
        for register, value in ((TPSR, SEND_PAGE), (TBCR0, len(frame) & 0xFF), (TBCR1, len(frame) >> 8)):
            self._write(register, value)
        self._write(CR, NO_REMOTE | TXP | STA)
        return True

    def _read(self, register: int) -> int:
        return self.device.pread(BAR, register, 1)

    def _write(self, register: int, value: int) -> None:
        self.device.pwrite(BAR, register, 1, value)

    def _remote(self, command: int, address: int, count: int) -> None:
        for register, value in ((RSAR0, address), (RSAR1, address >> 8), (RBCR0, count), (RBCR1, count >> 8)):
            self._write(register, value & 0xFF)
        self._write(CR, command | STA)

    def _read_memory(self, address: int, count: int) -> bytes:
        """Read `count` bytes of the card's memory, in words; the card goes on at the ring's start after its end."""
        words = (count + 1) // 2
        self._remote(REMOTE_READ, address, 2 * words)
        data = b"".join(self.device.pread(BAR, DATA, 2).to_bytes(2, "little") for _ in range(words))
        self._remote_done()
        return data[:count]

    def _write_memory(self, address: int, data: bytes) -> None:
        padded = data + bytes(len(data) % 2)
        self._remote(REMOTE_WRITE, address, len(padded))
        for (word,) in struct.iter_unpack("<H", padded):
            self.device.pwrite(BAR, DATA, 2, word)
        self._remote_done()

    def _remote_done(self) -> None:
        self.wait(BAR, ISR, ISR_RDC, ISR_RDC)
        self._write(ISR, ISR_RDC)


if __name__ == "__main__":
    run(Ne2000)
