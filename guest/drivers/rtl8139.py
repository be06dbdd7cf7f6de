#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Driver for the Realtek RTL8139 network card: receives and sends by bus mastering, and answers ARP queries."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import shirq
from card import CardError, run
from dma import Memory
from nic import Nic

# RTL8139C(L) datasheet, 5: registers, all in BAR 1 as well as in BAR 0
BAR = 1
IDR0 = 0x00
TSD0, TSAD0 = 0x10, 0x20
RBSTART = 0x30
CR, CAPR = 0x37, 0x38
ISR = 0x3E
TCR, RCR = 0x40, 0x44

CR_RST, CR_RE, CR_TE, CR_BUFE = 0x10, 0x08, 0x04, 0x01
TSD_OWN = 1 << 13
#: Gap as in IEEE 802.3, bursts of 2 KiB.
TCR_VALUE = 3 << 24 | 7 << 8
#: Whole frames without a threshold, bursts without a limit, a ring of 8 KiB; a frame may extend past the ring's end;
#: accept broadcasts, and unicast frames to our address.
RCR_VALUE = 7 << 13 | 7 << 8 | 1 << 7 | 0x08 | 0x02
RECEIVED_OK = 0x1

# Layout of our memory: the ring, room for a frame that extends past its end, a buffer for each send descriptor.
RING_SIZE = 8192
SEND, SEND_SIZE, SENDERS = 0x4000, 0x800, 4
#: The card's read pointer is this many bytes behind the frame to read.
CAPR_LAG = 16
_HEADER = struct.Struct("<HH")
CRC_SIZE = 4


class Rtl8139(Nic):
    profile = "rtl8139"

    def start(self) -> None:
        self.device.pwrite(BAR, CR, 1, CR_RST)
        self.wait(BAR, CR, CR_RST, 0)
        self.mac = bytes(self.device.pread(BAR, IDR0 + n, 1) for n in range(6))
        self.memory = Memory()
        if self.memory.physical >> 32:
            raise CardError(f"the card can reach 32-bit addresses only, and the buffer is at {self.memory.physical:#x}")
        self.device.set_master(True)
        self.at = self.sender = 0
        self.device.pwrite(BAR, RBSTART, 4, self.memory.physical)
        for n in range(SENDERS):
            self.device.pwrite(BAR, TSAD0 + 4 * n, 4, self.memory.physical + SEND + n * SEND_SIZE)
        # Enable receiver and transmitter before they are configured, as the card requires.
        self.device.pwrite(BAR, CR, 1, CR_RE | CR_TE)
        self.device.pwrite(BAR, RCR, 4, RCR_VALUE)
        self.device.pwrite(BAR, TCR, 4, TCR_VALUE)

    def handle(self, event: shirq.Event) -> None:
        # The status bits of the ring can be cleared only after the ring was read. So read the ring, clear them, and
        # read again: packets may have arrived in between.
        self.answer_all()
        self.device.pwrite(BAR, ISR, 2, event.r[0])
        self.answer_all()

    def frames(self) -> Iterator[bytes]:
        while not self.device.pread(BAR, CR, 1) & CR_BUFE:
            status, length = _HEADER.unpack_from(self.memory.bytes, self.at)
            if not status & RECEIVED_OK:
                raise CardError(f"the ring has status {status:#x} at {self.at:#x}")
            begin = self.at + _HEADER.size
            yield self.memory.bytes[begin : begin + length - CRC_SIZE]
            self.at = (begin + length + 3 & ~3) % RING_SIZE
            self.device.pwrite(BAR, CAPR, 2, self.at - CAPR_LAG & 0xFFFF)

    def send(self, frame: bytes) -> bool:
        descriptor = TSD0 + 4 * self.sender
        if not self.device.pread(BAR, descriptor, 4) & TSD_OWN:
            return False
        buffer = SEND + self.sender * SEND_SIZE
        self.memory.bytes[buffer : buffer + len(frame)] = frame
        self.device.pwrite(BAR, descriptor, 4, len(frame))  # clears OWN: the card sends
        self.sender = (self.sender + 1) % SENDERS
        return True


if __name__ == "__main__":
    run(Rtl8139)
