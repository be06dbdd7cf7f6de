#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Reference driver for messages: identifies an NVMe controller by its admin queue, and makes an I/O queue answer.

Each completion queue has a message of its own, MSI-X or MSI: source 1 is that of the admin queue, source 2 that of the
I/O queue. Needs the folder `guest` on PYTHONPATH, and a machine without an IOMMU that translates.
"""

from __future__ import annotations

import argparse
import struct
import sys
import time
from dataclasses import dataclass

import shirq
from dma import Memory

# NVM Express Base Specification 1.4, 3.1 and 4.2: registers of BAR 0, in bytes; sizes of queue entries
CAP, CC, CSTS, AQA, ASQ, ACQ, DOORBELLS = 0x00, 0x14, 0x1C, 0x24, 0x28, 0x30, 0x1000
COMMAND, COMPLETION = 64, 16
#: Entries of each queue: 4096 bytes of commands.
ENTRIES = 64
#: Enable; commands of 2**6 bytes, completions of 2**4 bytes.
CC_ENABLE = 1 | 6 << 16 | 4 << 20
READY = 1

FLUSH, CREATE_SQ, CREATE_CQ, IDENTIFY = 0x00, 0x01, 0x05, 0x06
#: Flags of a queue that is created: contiguous; a completion queue that interrupts.
CONTIGUOUS, INTERRUPTS = 1, 2

_PAGE = 4096


class NvmeError(Exception):
    """The controller does not behave as its specification says."""


@dataclass
class Queue:
    """A submission queue and its completion queue, with the message that tells of completions."""

    number: int
    source: int
    commands: int
    completions: int
    tail: int = 0
    head: int = 0
    phase: int = 1


class Controller:
    """An NVMe controller that `device` owns."""

    def __init__(self, device: shirq.Device) -> None:
        """Allocate the messages and switch bus mastering on. Raises ShirqError; NvmeError for a lack of messages."""
        self.device = device
        if device.set_messages(2) < 2:
            raise NvmeError("the controller has one message only: this driver wants one for each of two queues")
        device.set_master(True)
        self.registers = device.mmap(0)
        self.memory = Memory()
        self.stride = 4 << (self.registers.read32(CAP + 4) & 0xF)
        self.messages = 0

    def start(self) -> None:
        """Reset the controller and enable it with its admin queue."""
        self.registers.write32(CC, 0)
        self._wait(0)
        self.admin = Queue(0, 1, 0, _PAGE)
        self.registers.write32(AQA, (ENTRIES - 1) << 16 | (ENTRIES - 1))
        for register, place in ((ASQ, self.admin.commands), (ACQ, self.admin.completions)):
            self.registers.write32(register, (self.memory.physical + place) & 0xFFFFFFFF)
            self.registers.write32(register + 4, (self.memory.physical + place) >> 32)
        self.registers.write32(CC, CC_ENABLE)
        self._wait(READY)
        self.device.arm(source=self.admin.source)

    def _wait(self, ready: int, seconds: float = 10.0) -> None:
        until = time.monotonic() + seconds
        while self.registers.read32(CSTS) & READY != ready:
            if time.monotonic() > until:
                raise NvmeError(f"CSTS is {self.registers.read32(CSTS):#x} after {seconds:g} s")

    def call(self, queue: Queue, opcode: int, place: int = 0, namespace: int = 0, *words: int) -> int:
        """Make a command, wait for its message, and return its status; `words` are its words 10, 11, ..."""
        address = self.memory.physical + place if place else 0
        entry = struct.pack("<IIQQQQ", opcode | queue.tail << 16, namespace, 0, 0, address, 0)
        entry += struct.pack("<6I", *words, *[0] * (6 - len(words)))
        at = queue.commands + queue.tail * COMMAND
        self.memory.bytes[at : at + COMMAND] = entry
        queue.tail = (queue.tail + 1) % ENTRIES
        self.registers.write32(DOORBELLS + 2 * queue.number * self.stride, queue.tail)
        return self._completion(queue)

    def _completion(self, queue: Queue) -> int:
        at = queue.completions + queue.head * COMPLETION + 14
        while True:
            event = self.device.read()
            if event.type is not shirq.EventType.IRQ:
                raise NvmeError(f"the controller was stopped (sleep, reset or quarantine): {event.type!r}")
            status = int.from_bytes(self.memory.bytes[at : at + 2], "little")
            if event.source == queue.source and status & 1 == queue.phase:
                break
        self.messages += 1
        queue.head = (queue.head + 1) % ENTRIES
        queue.phase ^= queue.head == 0
        self.registers.write32(DOORBELLS + (2 * queue.number + 1) * self.stride, queue.head)
        return status >> 1

    def identify(self) -> tuple[str, str]:
        """The controller's model and serial number."""
        place = 2 * _PAGE
        if status := self.call(self.admin, IDENTIFY, place, 0, 1):
            raise NvmeError(f"Identify failed with status {status:#x}")
        data = self.memory.bytes[place : place + 64]
        return data[24:64].decode().strip(), data[4:24].decode().strip()

    def create(self) -> Queue:
        """An I/O queue with a message of its own, which it arms."""
        queue = Queue(1, 2, 3 * _PAGE, 4 * _PAGE)
        size = (ENTRIES - 1) << 16 | queue.number
        vector = (queue.source - 1) << 16
        for opcode, place, flags in (
            (CREATE_CQ, queue.completions, vector | INTERRUPTS | CONTIGUOUS),
            (CREATE_SQ, queue.commands, queue.number << 16 | CONTIGUOUS),
        ):
            if status := self.call(self.admin, opcode, place, 0, size, flags):
                raise NvmeError(f"creating the I/O queue failed with status {status:#x}")
        self.device.arm(source=queue.source)
        return queue


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address", help="PCI address such as 0000:00:04.0")
    parser.add_argument("--bind", action="store_true", help="bind the function to shirq first")
    parser.add_argument("--count", type=int, default=100, help="commands of the I/O queue (default: 100)")
    options = parser.parse_args()
    try:
        if options.bind:
            shirq.bind(options.address)
        with shirq.Device.open(options.address) as device:
            controller = Controller(device)
            controller.start()
            print("model={!r} serial={!r}".format(*controller.identify()), flush=True)
            queue = controller.create()
            for _ in range(options.count):
                controller.call(queue, FLUSH, 0, 1)
            lost = sum(device.info_of(source).lost for source in (1, 2))
            print(f"messages={controller.messages} lost={lost}", flush=True)
    except (shirq.ShirqError, NvmeError) as error:
        sys.exit(f"nvme: {error}")


if __name__ == "__main__":
    main()
