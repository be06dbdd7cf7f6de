# SPDX-License-Identifier: MIT
"""The cards that the device imitates in its tests: every preset, and one card for each behaviour that no preset has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from device.scene import Start
from shirq_bench.channels.log import Kind
from shirq_bench.vm.board import Bar, Board, Function, Ports

#: BAR, offset, width in bytes, and the written value; None: a read.
Access = tuple[int, int, int, int | None]
BARS = "bar0=mem:16384,bar1=port:256"
SLOT, GSI = 4, 20


@dataclass(frozen=True)
class Card:
    """A card, with the accesses by which a driver unmasks or masks all its sources, or acknowledges ``source``."""

    name: str
    source: int
    unmask: tuple[Access, ...]
    mask: tuple[Access, ...]
    acknowledge: tuple[Access, ...]
    #: A status register as BAR, offset and width. Its value is ``pending`` while the source is pending and unmasked,
    #: and ``quiet`` after the acknowledgement.
    status: tuple[int, int, int] | None = None
    pending: int = 0
    quiet: int = 0
    #: The registers' description; if it is empty, ``name`` is the name of a preset.
    registers: str = ""

    @property
    def properties(self) -> str:
        return f"registers={self.registers}" if self.registers else f"preset={self.name}"


@dataclass
class Driver:
    """A card in a board, with its BARs switched on."""

    board: Board
    card: Card
    spaces: dict[int, Bar | Ports]

    @classmethod
    def attach(cls, board: Board, card: Card, slot: int = SLOT) -> Driver:
        function = board.function(slot)
        return cls(board, card, {0: function.enable(), 1: function.enable_ports(1)})

    def moved(self, board: Board) -> Driver:
        """The driver of the same card in ``board``, which is a clone."""
        spaces = {n: type(space)(board.qtest, space.base) for n, space in self.spaces.items()}
        return Driver(board, self.card, spaces)

    def do(self, accesses: tuple[Access, ...]) -> int:
        """Execute the accesses; returns the value of the last read."""
        value = 0
        for bar, offset, width, written in accesses:
            if written is None:
                value = self.spaces[bar].read(offset, width)
            else:
                self.spaces[bar].write(offset, written, width)
        return value

    def status(self) -> int:
        assert self.card.status
        bar, offset, width = self.card.status
        return self.spaces[bar].read(offset, width)

    def raise_(self, source: int | None = None) -> None:
        self.board.qmp.set("dev0", "raise", source or self.card.source)

    def pin(self) -> list[int]:
        """The levels of the pin, one after the other."""
        return [entry.value for entry in self.board.log().of(Kind.PIN, device="dev0")]


def device(card: Card, *properties: str) -> str:
    """The ``-device`` argument."""
    return ",".join(["shirq-edu", "id=dev0", f"addr={SLOT}", BARS, card.properties, *properties])


def clone(start: Start, board: Board, path: Path, *devices: str) -> Board:
    """Start a clone of the board, with ``devices``."""
    board.save(path)
    copy = start(*devices, incoming=True)
    copy.load(path)
    return copy


def function(board: Board) -> Function:
    return board.function(SLOT)


def _custom(name: str, status: str, *, ack: tuple[Access, ...], quiet: int = 0, pending: int = 4) -> Card:
    """A card with a plain 32-bit enable register at 10h and a status register at 20h."""
    return Card(
        name,
        4,
        unmask=((0, 0x10, 4, 0xFFFFFFFF),),
        mask=((0, 0x10, 4, 0),),
        acknowledge=ack,
        status=(0, 0x20, 4),
        pending=pending,
        quiet=quiet,
        registers=f"bar0+0x10/32 enable; {status}",
    )


PRESETS = (
    Card(
        "edu",
        0x10,
        unmask=((0, 0x6C, 4, 0xFFFFFFFF),),
        mask=((0, 0x68, 4, 0xFFFFFFFF),),
        acknowledge=((0, 0x64, 4, 0x10),),
        status=(0, 0x2C, 4),
        pending=0x10,
    ),
    Card(
        "plx9050",
        2,
        unmask=((0, 0x4C, 4, 0x49),),
        mask=((0, 0x4C, 4, 0x09),),
        acknowledge=((0, 0x100, 4, 2),),
        status=(0, 0x4C, 4),
        pending=0x69,
        quiet=0x49,
    ),
    Card(
        "e1000-like",
        4,
        unmask=((0, 0xD0, 4, 0xFF),),
        mask=((0, 0xD8, 4, 0xFFFFFFFF),),
        acknowledge=((0, 0xC0, 4, None),),
        status=(0, 0xC0, 4),
        pending=0x80000004,
    ),
    Card(
        "rtl8139-like",
        1,
        unmask=((1, 0x3C, 2, 0xFFFF),),
        mask=((1, 0x3C, 2, 0),),
        acknowledge=((1, 0x3E, 2, 1),),
        status=(1, 0x3E, 2),
        pending=1,
    ),
    Card(
        "nvme-like",
        2,
        unmask=((0, 0x14, 4, 1), (0, 0x10, 4, 0xFFFFFFFF)),
        mask=((0, 0x0C, 4, 0xFFFFFFFF),),
        acknowledge=((0, 0x100C, 4, 7),),
    ),
    Card(
        "ahci-like",
        0x400,
        unmask=((0, 0x194, 4, 0xFF), (0, 0x04, 4, 2)),
        mask=((0, 0x04, 4, 0),),
        acknowledge=((0, 0x190, 4, 4), (0, 0x08, 4, 2)),
        status=(0, 0x08, 4),
        pending=2,
    ),
    Card(
        "pcnet-like",
        0x400,
        unmask=((1, 0x12, 2, 0), (1, 0x10, 2, 0x40)),
        mask=((1, 0x12, 2, 0), (1, 0x10, 2, 0x00)),
        acknowledge=((1, 0x12, 2, 0), (1, 0x10, 2, 0x440)),
        status=(1, 0x10, 2),
        pending=0x4C0,
        quiet=0x40,
    ),
)

OTHERS = (
    _custom("plain", "bar0+0x20/32 status", ack=((0, 0x20, 4, 0),)),
    _custom("w1c", "bar0+0x20/32 status w1c", ack=((0, 0x20, 4, 4),)),
    _custom("w0c", "bar0+0x20/32 status w0c", ack=((0, 0x20, 4, 0xFFFFFFFB),)),
    _custom("any-write-clears", "bar0+0x20/32 status wc", ack=((0, 0x20, 4, 0),)),
    _custom("clear-on-read", "bar0+0x20/32 status ro rc", ack=((0, 0x20, 4, None),)),
    _custom("big-endian", "bar0+0x20/32be status w1c", ack=((0, 0x20, 4, 0x04000000),), pending=0x04000000),
    _custom(
        "sticky",
        "bar0+0x20/32 status w1c; bar0+0x24/32 cause w1c",
        ack=((0, 0x24, 4, 4), (0, 0x20, 4, 4)),
    ),
    _custom(
        "bytes",
        "bar0+0x20/8 status w1c; bar0+0x20/32 status ro",
        ack=((0, 0x20, 1, 4),),
    ),
    _custom(
        "summary-follows",
        "bar0+0x24/32 status w1c; bar0+0x20/32 summary ro group=1",
        ack=((0, 0x24, 4, 4),),
    ),
    Card(
        "automask",
        1,
        unmask=((0, 0x10, 4, 0xFFFFFFFF),),
        mask=((0, 0x20, 4, None),),
        acknowledge=((0, 0x24, 4, 1),),
        status=(0, 0x20, 4),
        pending=1,
        registers="bar0+0x10/32 enable; bar0+0x20/32 status ro automask; bar0+0x24/32 status w1c wo",
    ),
    Card(
        "port-bytes",
        0x80,
        unmask=((1, 0x08, 1, 0xFF),),
        mask=((1, 0x08, 1, 0),),
        acknowledge=((1, 0x09, 1, 0x80),),
        status=(1, 0x09, 1),
        pending=0x80,
        registers="bar1+8/8 enable; bar1+9/8 status w1c",
    ),
)

CARDS = PRESETS + OTHERS
