#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Reference driver for the shirq-edu device: acknowledges every interrupt in user space and prints a line for it.

Needs the folder `guest` on PYTHONPATH.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import shirq

# qemu-device/SPEC.md
INT_ACK = 0x64

PROGRAMS = shirq.ProgramSet.from_text(
    irq="""
        read32 r0, bar0+0x2c, gone_if_ones  # INT_ACTIVE
        skip_if_not_zero r0, ours
        decline
    ours:
        claim
        load r1, 0xffffffff
        write32 bar0+0x68, r1               # INT_MASK_SET
        read32 r1, bar0+0x28                # INT_MASK: flushes the posted write
    """,
    unmask="""
        load r0, 0xffffffff
        write32 bar0+0x6c, r0               # INT_MASK_CLEAR
    """,
    release="""
        load r0, 0xffffffff
        write32 bar0+0x68, r0               # INT_MASK_SET
        write32 bar0+0x64, r0               # INT_ACK
        read32 r0, bar0+0x28                # INT_MASK: flushes the posted writes
    """,
)


def positive(text: str) -> int:
    number = int(text, 0)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}: write a number from 1 on")
    return number


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="acknowledge the interrupts of a shirq-edu device")
    parser.add_argument("address", help="PCI address such as 0000:00:04.0")
    parser.add_argument("--count", type=positive, help="stop after this many interrupts (default: go on until SIGTERM)")
    parser.add_argument("--exclusive", action="store_true", help="refuse to share the line")
    parser.add_argument("--bind", action="store_true", help="bind the function to shirq first")
    parser.add_argument("--log", type=Path, help="write to FILE instead of standard output")
    return parser.parse_args(arguments)


def handle(events: Iterator[shirq.Event], registers: shirq.Registers, count: int | None) -> None:
    """Handle `count` interrupts, or all until the device is disarmed."""
    interrupts = (event for event in events if event.type == shirq.EventType.IRQ)
    for event in itertools.islice(interrupts, count):
        registers.write32(INT_ACK, event.r[0])
        print(f"event seq={event.seq} status={event.r[0]:#x} lost={event.lost}", flush=True)


def main() -> None:
    options = parse(sys.argv[1:])
    if options.log:
        sys.stdout = options.log.open("w")
    try:
        if options.bind:
            shirq.bind(options.address)
        with shirq.Device.open(options.address) as device:
            device.load(PROGRAMS)
            registers = device.mmap(0)
            device.arm(shared=not options.exclusive)
            events = shirq.serve(device)
            print("armed", flush=True)
            handle(events, registers, options.count)
    except (shirq.ShirqError, ValueError) as error:
        sys.exit(f"edu: {error}")


if __name__ == "__main__":
    main()
