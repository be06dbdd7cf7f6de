# SPDX-License-Identifier: MIT
"""What the clients of a UIO device have in common: the card, shirq-edu, and the loop that serves it.

A client is one file: how a program that exists finds its UIO device, maps it, waits, and unmasks. It makes these system
calls in the order of that program, and no others. Command line: CLIENT.py INTERRUPTS WHERE.
"""

from __future__ import annotations

import mmap
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

INT_STATUS: Final = 0x24
INT_RAISE: Final = 0x60
INT_ACK: Final = 0x64
INT_MASK_CLEAR: Final = 0x6C


class Card:
    """The card's registers, in a mapping of its BAR 0."""

    def __init__(self, memory: mmap.mmap) -> None:
        # A cast view accesses an element at once; a slice could be copied byte by byte.
        self._words = memoryview(memory).cast("I")

    def enable(self) -> None:
        """Let the sources assert, for a profile that does not know the card."""
        self._words[INT_MASK_CLEAR // 4] = 0xFFFFFFFF

    def serve(self) -> int:
        """Acknowledge what is pending; returns the sources."""
        status = self._words[INT_STATUS // 4]
        self._words[INT_ACK // 4] = status
        return status

    def again(self) -> None:
        """Let the card raise its next interrupt, as a transfer that the client starts would."""
        self._words[INT_RAISE // 4] = 1


class Account:
    """Counts interrupts by the numbers that read() gives, and says what happened."""

    def __init__(self, card: Card, interrupts: int) -> None:
        self._card = card
        self._interrupts = interrupts
        self._first: int | None = None
        self._last = 0
        self.served = 0
        self._lost = self._idle = 0

    def handle(self, number: int) -> bool:
        """Serve the card after read() has given `number`; returns False when all interrupts were served.

        The card then has one more pending, which nobody acknowledges.
        """
        if self._first is None:
            self._first = self._last = number
        else:
            self._lost += number - self._last - 1
        self._last = number
        if self.served == self._interrupts:
            print("pending", flush=True)
            return False
        self.served += 1
        self._idle += not self._card.serve()
        if self.served == self._interrupts:
            print(f"served={self.served} lost={self._lost} idle={self._idle}", flush=True)
        self._card.again()
        return True


#: The card, a function that waits for an interrupt and returns its number, and one that unmasks.
Connection = tuple[Card, Callable[[], int], Callable[[], None]]


def run(connect: Callable[[str], Connection]) -> None:
    """Serve the device that `connect` finds by WHERE."""
    card, wait, unmask = connect(sys.argv[2])
    account = Account(card, int(sys.argv[1]))
    print("armed", flush=True)
    while account.handle(wait()):
        unmask()
    sys.stdin.read()


def text(path: str | Path) -> str:
    """The content of a sysfs attribute."""
    return Path(path).read_text().strip()
