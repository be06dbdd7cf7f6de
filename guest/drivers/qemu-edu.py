#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Driver for QEMU's own `edu` device: lets it compute factorials, one after the other, and checks each result."""

from __future__ import annotations

import argparse
import math
import time

import shirq
from card import Card, run

FACTORIAL = 0x08
#: 13! does not fit into 32 bits.
LARGEST = 12


class Edu(Card):
    profile = "qemu-edu"

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--pause", type=float, default=0.0, help="seconds between two computations")

    def start(self) -> None:
        self.counts |= {"right": 0, "wrong": 0}
        self.registers = self.device.mmap(0)
        self.number = 0

    def armed(self) -> None:
        self.registers.write32(FACTORIAL, self.number)

    def handle(self, event: shirq.Event) -> None:
        self.counts["right" if event.r[1] == math.factorial(self.number) else "wrong"] += 1
        time.sleep(self.options.pause)
        self.number = (self.number + 1) % (LARGEST + 1)
        self.registers.write32(FACTORIAL, self.number)


if __name__ == "__main__":
    run(Edu)
