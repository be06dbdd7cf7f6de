#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Driver for a card with four 16550 UARTs: sends back on each port what it receives there.

The transmitter of a port asserts as long as it is empty. So its interrupt is enabled only while there is something to
send: each event's handling decides this for each port, in the register that the irq program has saved.
"""

from __future__ import annotations

import argparse

import shirq
from card import Card, run

# PC16550D datasheet, table 1: registers of one UART, in the order of its addresses
BAR, PORTS, STRIDE = 0, 4, 8
RBR, THR, IER, FCR, LCR, LSR = 0, 0, 1, 2, 3, 5
RECEIVED, EMPTY = 0x01, 0x02  # IER
DATA_READY, THR_EMPTY = 0x01, 0x20  # LSR
#: Both FIFOs on and cleared; an interrupt comes after 14 bytes, or when no more bytes come.
FIFO_ON = 0xC7
FIFO_BYTES = 16
EIGHT_BITS = 0x03

#: IIR: nothing asserts.
NOTHING = 0x01
SAVED = 1 << 32
#: Changes what `unmask` will restore.
SET_ENABLES = shirq.assemble("load r4, r0")


class Serial4(Card):
    profile = "pci-serial-4x"

    def __init__(self, device: shirq.Device, options: argparse.Namespace) -> None:
        super().__init__(device, options)
        self.waiting = [bytearray() for _port in range(PORTS)]
        self.counts |= {"received": 0, "sent": 0}

    def start(self) -> None:
        for port in range(PORTS):
            for register, value in ((FCR, FIFO_ON), (LCR, EIGHT_BITS), (IER, RECEIVED)):
                self._write(port, register, value)

    def handle(self, event: shirq.Event) -> None:
        for port, iir in enumerate(event.r):
            if not iir & NOTHING:
                self._serve(port)
        enables = sum((RECEIVED | (EMPTY if self.waiting[port] else 0)) << 8 * port for port in range(PORTS))
        self.device.exec(SET_ENABLES, [SAVED | enables], kept=True)

    def _serve(self, port: int) -> None:
        waiting = self.waiting[port]
        while (status := self._read(port, LSR)) & DATA_READY:
            waiting.append(self._read(port, RBR))
            self.counts["received"] += 1
        if status & THR_EMPTY:
            for byte in waiting[:FIFO_BYTES]:
                self._write(port, THR, byte)
                self.counts["sent"] += 1
            del waiting[:FIFO_BYTES]

    def _read(self, port: int, register: int) -> int:
        return self.device.pread(BAR, port * STRIDE + register, 1)

    def _write(self, port: int, register: int, value: int) -> None:
        self.device.pwrite(BAR, port * STRIDE + register, 1, value)


if __name__ == "__main__":
    run(Serial4)
