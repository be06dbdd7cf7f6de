# SPDX-License-Identifier: MIT
"""Each profile's programs claim, mask, unmask and silence a model of the card, and keep the owner's settings.

The models have their offsets and bits from the cards' documents, not from the profiles.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from program_model import Library, compile_library
from shirq import abi, lint, profile, simulate
from shirq.abi import Mode, ProgramKind, Reason
from shirq.profile import Profile
from shirq.simulate import Outcome, Run
from shirq.verify import NO_SPACE, Kind, Space, verify

PROFILES = Path(__file__).parents[3] / "guest" / "profiles"
CONFIG = Space(Kind.CONFIG, 256)


def bars(**sizes: tuple[Kind, int]) -> tuple[Space, ...]:
    return (*(Space(*sizes[f"bar{n}"]) if f"bar{n}" in sizes else NO_SPACE for n in range(6)), CONFIG)


@dataclass
class Card:
    """A model of a card; a subclass defines the registers. If the card is dead, every read returns all-ones."""

    dead: bool = False
    spaces: tuple[Space, ...] = ()

    @property
    def asserts(self) -> bool:
        raise NotImplementedError

    def raise_(self) -> None:
        """Trigger an interrupt that the card's owner has enabled."""
        raise NotImplementedError

    def get(self, space: int, offset: int, width: int) -> int:
        raise NotImplementedError

    def put(self, space: int, offset: int, width: int, value: int) -> None:
        raise NotImplementedError

    def read(self, space: int, offset: int, width: int) -> int:
        return (1 << 8 * width) - 1 if self.dead else self.get(space, offset, width)

    def write(self, space: int, offset: int, width: int, value: int) -> None:
        if not self.dead:
            self.put(space, offset, width, value)


def nowhere(space: int, offset: int, width: int) -> AssertionError:
    return AssertionError(f"the card has no register of {width} bytes at {offset:#x} in space {space}")


@dataclass
class Edu(Card):
    spaces: tuple[Space, ...] = bars(bar0=(Kind.PLAIN, 0x1000))
    status: int = 0
    mask: int = 0xFFFFFFFF

    @property
    def asserts(self) -> bool:
        return bool(self.status & ~self.mask)

    def raise_(self) -> None:
        self.status |= 4

    def get(self, space: int, offset: int, width: int) -> int:
        match space, offset, width:
            case 0, 0x28, 4:
                return self.mask
            case 0, 0x2C, 4:
                return self.status & ~self.mask
        raise nowhere(space, offset, width)

    def put(self, space: int, offset: int, width: int, value: int) -> None:
        match space, offset, width:
            case 0, 0x64, 4:
                self.status &= ~value
            case 0, 0x68, 4:
                self.mask |= value
            case 0, 0x6C, 4:
                self.mask &= ~value
            case _:
                raise nowhere(space, offset, width)


@dataclass
class QemuEdu(Card):
    spaces: tuple[Space, ...] = bars(bar0=(Kind.PLAIN, 0x100000))
    factorial: int = 120
    enabled: bool = False
    status: int = 0

    @property
    def asserts(self) -> bool:
        return bool(self.status)

    def raise_(self) -> None:
        self.status |= self.enabled  # Bit 0: a computation has ended.

    def get(self, space: int, offset: int, width: int) -> int:
        match space, offset, width:
            case 0, 0x8, 4:
                return self.factorial
            case 0, 0x24, 4:
                return self.status
        raise nowhere(space, offset, width)

    def put(self, space: int, offset: int, width: int, value: int) -> None:
        match space, offset, width:
            case 0, 0x20, 4:
                self.enabled = bool(value & 0x80)
            case 0, 0x64, 4:
                self.status &= ~value
            case _:
                raise nowhere(space, offset, width)


@dataclass
class E1000(Card):
    spaces: tuple[Space, ...] = bars(bar0=(Kind.PLAIN, 0x20000), bar1=(Kind.PLAIN, 0x40))
    icr: int = 0
    ims: int = 0

    @property
    def asserts(self) -> bool:
        return bool(self.icr & self.ims)

    def raise_(self) -> None:
        self.icr |= 0x80  # RXT0

    def get(self, space: int, offset: int, width: int) -> int:
        match space, offset, width:
            case 0, 0x8, 4:
                return 0x80080783
            case 0, 0xC0, 4:
                value, self.icr = self.icr, 0
                return value
            case 0, 0xD0, 4:
                return self.ims
        raise nowhere(space, offset, width)

    def put(self, space: int, offset: int, width: int, value: int) -> None:
        match space, offset, width:
            case 0, 0xD0, 4:
                self.ims |= value
            case 0, 0xD8, 4:
                self.ims &= ~value
            case _:
                raise nowhere(space, offset, width)


@dataclass
class Rtl8139(Card):
    spaces: tuple[Space, ...] = bars(bar0=(Kind.PLAIN, 256), bar1=(Kind.PLAIN, 256))
    status: int = 0
    mask: int = 0

    @property
    def asserts(self) -> bool:
        return bool(self.status & self.mask)

    def raise_(self) -> None:
        self.status |= 0x1  # ROK

    def get(self, space: int, offset: int, width: int) -> int:
        match space, offset, width:
            case ((0 | 1), 0x3C, 2):
                return self.mask
            case ((0 | 1), 0x3E, 2):
                return self.status
        raise nowhere(space, offset, width)

    def put(self, space: int, offset: int, width: int, value: int) -> None:
        match space, offset, width:
            case ((0 | 1), 0x3C, 2):
                self.mask = value
            case ((0 | 1), 0x3E, 2):
                self.status &= ~value
            case _:
                raise nowhere(space, offset, width)


@dataclass
class Ne2000(Card):
    spaces: tuple[Space, ...] = bars(bar0=(Kind.PLAIN, 0x20))
    cr: int = 0x66  # Started, transmitting, page 1, remote DMA off: the owner writes multicast registers.
    isr: int = 0
    imr: int = 0
    sent: int = 0

    @property
    def asserts(self) -> bool:
        return bool(self.isr & self.imr & 0x7F)

    def raise_(self) -> None:
        self.isr |= 0x1  # PRX

    @property
    def page(self) -> int:
        return self.cr >> 6

    def get(self, space: int, offset: int, width: int) -> int:
        match space, offset, width, self.page:
            case 0, 0x0, 1, _:
                return self.cr
            case 0, 0x7, 1, 0:
                return self.isr
            case 0, 0x7, 1, 1:
                return 0x5A  # CURR
        raise nowhere(space, offset, width)

    def put(self, space: int, offset: int, width: int, value: int) -> None:
        match space, offset, width, self.page:
            case 0, 0x0, 1, _:
                self.sent += bool(value & 0x4)
                self.cr = value | self.cr & 0x4  # a 0 does not stop a running transmission
            case 0, 0x7, 1, 0:
                self.isr &= ~value
            case 0, 0xF, 1, 0:
                self.imr = value
            case _:
                raise nowhere(space, offset, width)


@dataclass
class Pcnet(Card):
    spaces: tuple[Space, ...] = bars(bar0=(Kind.PLAIN, 0x20), bar1=(Kind.PLAIN, 0x20))
    rap: int = 88  # the owner is reading the chip's ID
    csr0: int = 0x0032
    other: int = 0

    @property
    def asserts(self) -> bool:
        return self.csr0 & 0xC0 == 0xC0

    def raise_(self) -> None:
        if not self.csr0 & 0x4:  # stopped
            self.csr0 |= 0x480  # RINT, INTR

    def get(self, space: int, offset: int, width: int) -> int:
        match space, offset, width:
            case 0, 0x10, 2:
                return self.csr0 if self.rap == 0 else 0x2420
            case 0, 0x12, 2:
                return self.rap
        raise nowhere(space, offset, width)

    def put(self, space: int, offset: int, width: int, value: int) -> None:
        match space, offset, width:
            case 0, 0x10, 2:
                assert self.rap == 0, "another CSR is written"
                if value & 0x4:
                    self.csr0 = 0x4
                else:
                    cleared = self.csr0 & ~(value & 0x7F00)
                    self.csr0 = cleared & ~0x40 | value & 0x40
                    if not self.csr0 & 0x7F00:
                        self.csr0 &= ~0x80
            case 0, 0x12, 2:
                self.rap = value
            case _:
                raise nowhere(space, offset, width)


@dataclass
class Ahci(Card):
    spaces: tuple[Space, ...] = bars(bar5=(Kind.PLAIN, 0x1000))
    ghc: int = 0x80000000
    ports: dict[int, int] = field(default_factory=lambda: {0: 0, 3: 0})

    @property
    def status(self) -> int:
        return sum(1 << port for port, status in self.ports.items() if status)

    @property
    def asserts(self) -> bool:
        return bool(self.ghc & 0x2 and self.status)

    def raise_(self) -> None:
        self.ports[3] |= 0x1

    def get(self, space: int, offset: int, width: int) -> int:
        match space, offset, width:
            case 5, 0x4, 4:
                return self.ghc
            case 5, 0x8, 4:
                return self.status
        raise nowhere(space, offset, width)

    def put(self, space: int, offset: int, width: int, value: int) -> None:
        assert (space, offset, width) == (5, 0x4, 4), nowhere(space, offset, width)
        assert not value & 0x1, "the controller is reset"
        self.ghc = value


@dataclass
class Nvme(Card):
    spaces: tuple[Space, ...] = bars(bar0=(Kind.WIDE, 0x4000))
    pending: bool = False
    mask: int = 0

    @property
    def asserts(self) -> bool:
        return self.pending and not self.mask & 0x1

    def raise_(self) -> None:
        self.pending = True

    def get(self, space: int, offset: int, width: int) -> int:
        match space, offset, width:
            case 6, 0x6, 2:
                return 0x0010 | (0x8 if self.asserts else 0)
            case 0, (0xC | 0x10), 4:
                return self.mask
        raise nowhere(space, offset, width)

    def put(self, space: int, offset: int, width: int, value: int) -> None:
        match space, offset, width:
            case 0, 0xC, 4:
                self.mask |= value
            case 0, 0x10, 4:
                self.mask &= ~value
            case _:
                raise nowhere(space, offset, width)


@dataclass
class Uhci(Card):
    spaces: tuple[Space, ...] = bars(bar4=(Kind.PLAIN, 0x20))
    command: int = 0x1
    status: int = 0
    enabled: int = 0

    @property
    def asserts(self) -> bool:
        sources = (self.status & 0x1 and self.enabled & 0xC) or (self.status & 0x2 and self.enabled & 0x1)
        return bool(sources or (self.status & 0x4 and self.enabled & 0x2) or self.status & 0x18)

    def raise_(self) -> None:
        if self.command & 0x1:
            self.status |= 0x1 | 0x8  # A transfer, and a host system error, which no bit masks.

    def get(self, space: int, offset: int, width: int) -> int:
        match space, offset, width:
            case 4, 0x0, 2:
                return self.command
            case 4, 0x2, 2:
                return self.status
            case 4, 0x4, 2:
                return self.enabled
        raise nowhere(space, offset, width)

    def put(self, space: int, offset: int, width: int, value: int) -> None:
        match space, offset, width:
            case 4, 0x0, 2:
                self.command = value
            case 4, 0x2, 2:
                self.status &= ~value
            case 4, 0x4, 2:
                self.enabled = value
            case _:
                raise nowhere(space, offset, width)


@dataclass
class Plx9050(Card):
    spaces: tuple[Space, ...] = bars(bar0=(Kind.PLAIN, 0x80), bar1=(Kind.PLAIN, 0x80), bar2=(Kind.PLAIN, 0x100))
    big: bool = False
    intcsr: int = 0x0009 | 0x0002  # Both local inputs are enabled; the first one is active high.
    asserted: bool = False

    @property
    def value(self) -> int:
        return self.intcsr | (0x20 if self.asserted else 0)

    @property
    def asserts(self) -> bool:
        return bool(self.intcsr & 0x40 and self.intcsr & 0x8 and self.asserted)

    def raise_(self) -> None:
        self.asserted = True  # LINTi2

    def turned(self, value: int) -> int:
        return (value >> 8 | value << 8) & 0xFFFF if self.big else value

    def get(self, space: int, offset: int, width: int) -> int:
        assert (space, offset, width) == (0, 0x4C, 2), nowhere(space, offset, width)
        return self.turned(self.value)

    def put(self, space: int, offset: int, width: int, value: int) -> None:
        assert (space, offset, width) == (0, 0x4C, 2), nowhere(space, offset, width)
        self.intcsr = self.turned(value) & ~0x24


@dataclass
class Uart:
    """A 16550 whose enabled interrupts are `ier`: bytes have come, or the transmitter is empty."""

    ier: int
    received: bool = False
    empty: bool = False

    @property
    def iir(self) -> int:
        if self.ier & 0x1 and self.received:
            return 0xC4
        return 0xC2 if self.ier & 0x2 and self.empty else 0xC1


@dataclass
class Serial4(Card):
    spaces: tuple[Space, ...] = bars(bar0=(Kind.PLAIN, 32))
    uarts: list[Uart] = field(default_factory=lambda: [Uart(0x5), Uart(0x1), Uart(0x3), Uart(0x0)])

    @property
    def asserts(self) -> bool:
        return any(not each.iir & 0x1 for each in self.uarts)

    def raise_(self) -> None:
        self.uarts[0].received = self.uarts[2].empty = True

    def get(self, space: int, offset: int, width: int) -> int:
        uart = self.uarts[offset // 8]
        match space, offset % 8, width:
            case 0, 0x1, 1:
                return uart.ier
            case 0, 0x2, 1:
                iir = uart.iir
                uart.empty &= iir != 0xC2
                return iir
        raise nowhere(space, offset, width)

    def put(self, space: int, offset: int, width: int, value: int) -> None:
        match space, offset % 8, width:
            case 0, 0x1, 1:
                self.uarts[offset // 8].ier = value
            case _:
                raise nowhere(space, offset, width)


@dataclass
class Bridge(Card):
    """A PLX bridge: one register has the enables and states of its local inputs, and its own enable, `gate`."""

    offset: int = 0x4C
    width: int = 4
    gate: int = 0
    #: Enable and state of each input.
    inputs: tuple[tuple[int, int], ...] = ((0x1, 0x4),)
    #: Bits that can be written.
    writable: int = 0x1
    intcsr: int = 0x1

    @property
    def asserts(self) -> bool:
        return self.intcsr & self.gate == self.gate and any(
            self.intcsr & each and self.intcsr & on for each, on in self.inputs
        )

    def raise_(self) -> None:
        self.intcsr |= self.inputs[0][1]

    def again(self) -> None:
        self.intcsr |= self.inputs[0][0] | self.gate

    def get(self, space: int, offset: int, width: int) -> int:
        assert (space, offset, width) == (0, self.offset, self.width), nowhere(space, offset, width)
        return self.intcsr

    def put(self, space: int, offset: int, width: int, value: int) -> None:
        assert (space, offset, width) == (0, self.offset, self.width), nowhere(space, offset, width)
        self.intcsr = self.intcsr & ~self.writable | value & self.writable


def plx9030(**settings: Any) -> Bridge:
    return Bridge(spaces=bars(bar0=(Kind.PLAIN, 128), bar2=(Kind.PLAIN, 0x10000)), **settings)


def plx9056(intcsr: int) -> Bridge:
    return Bridge(
        spaces=bars(bar0=(Kind.PLAIN, 512), bar2=(Kind.PLAIN, 0x10000)),
        offset=0x68,
        gate=0x100,
        inputs=((0x800, 0x8000),),
        writable=0x000F1F00,
        intcsr=intcsr,
    )


@dataclass
class Enabled(Card):
    """Sources in one register and their enables in another, with a bit for all of them, unless `every` is 0."""

    space: int = 0
    status_at: int = 0
    enable_at: int = 0
    every: int = 0
    status: int = 0
    enable: int = 0

    @property
    def asserts(self) -> bool:
        return bool(self.status & self.enable & ~self.every) and self.enable & self.every == self.every

    def raise_(self) -> None:
        self.status |= 0x8

    def again(self) -> None:
        self.enable |= self.every

    def get(self, space: int, offset: int, width: int) -> int:
        found = {(self.space, self.status_at, 4): self.status, (self.space, self.enable_at, 4): self.enable}
        assert (space, offset, width) in found, nowhere(space, offset, width)
        return found[space, offset, width]

    def put(self, space: int, offset: int, width: int, value: int) -> None:
        assert (space, offset, width) == (self.space, self.enable_at, 4), nowhere(space, offset, width)
        self.enable = value


def sercos3() -> Enabled:
    spaces = bars(bar0=(Kind.PLAIN, 128), bar4=(Kind.PLAIN, 0x1000))
    return Enabled(spaces=spaces, space=4, status_at=0x18, enable_at=0x8, enable=0xC)


def netx() -> Enabled:
    spaces = bars(bar0=(Kind.PLAIN, 0x10000))
    return Enabled(spaces=spaces, status_at=0xFFE0, enable_at=0xFFF0, every=0x80000000, enable=0x8000000C)


def mrf_pcie() -> Enabled:
    spaces = bars(bar0=(Kind.PLAIN, 0x10000))
    return Enabled(spaces=spaces, status_at=0x8, enable_at=0xC, every=0xC0000000, enable=0x8000000C)


@dataclass
class Aectc(Card):
    spaces: tuple[Space, ...] = bars(bar0=(Kind.PLAIN, 256))
    enable: int = 0
    mask: int = 0
    pending: bool = False

    @property
    def asserts(self) -> bool:
        return self.pending and bool(self.enable & 0x10 and self.mask)

    def raise_(self) -> None:
        self.pending = True

    def get(self, space: int, offset: int, width: int) -> int:
        match space, offset, width:
            case 0, 0xFE, 1:
                return 0x8 * bool(self.enable & 0x10) | 0x1 * self.asserts
            case 0, 0x0F, 1:
                self.pending = False
                return 0x2F
        raise nowhere(space, offset, width)

    def put(self, space: int, offset: int, width: int, value: int) -> None:
        match space, offset, width:
            case 0, 0xFC, 4:
                self.enable = value
            case 0, 0x2E, 1:
                self.mask = value
            case _:
                raise nowhere(space, offset, width)


@dataclass
class Ivshmem(Card):
    spaces: tuple[Space, ...] = bars(bar0=(Kind.PLAIN, 256), bar2=(Kind.WIDE, 0x100000))
    mask: int = 0
    status: int = 0

    @property
    def asserts(self) -> bool:
        return bool(self.status & self.mask)

    def raise_(self) -> None:
        self.status |= 1

    def get(self, space: int, offset: int, width: int) -> int:
        match space, offset, width:
            case 0, 0x0, 4:
                return self.mask
            case 0, 0x4, 4:
                value, self.status = self.status, 0
                return value
        raise nowhere(space, offset, width)

    def put(self, space: int, offset: int, width: int, value: int) -> None:
        assert (space, offset, width) == (0, 0x0, 4), nowhere(space, offset, width)
        self.mask = value


@dataclass
class Pci1710(Card):
    spaces: tuple[Space, ...] = bars(bar2=(Kind.PLAIN, 32))
    control: int = 0x12
    interrupt: bool = False

    @property
    def asserts(self) -> bool:
        return self.interrupt and bool(self.control & 0x10)

    def raise_(self) -> None:
        self.interrupt |= bool(self.control & 0x10)

    def get(self, space: int, offset: int, width: int) -> int:
        assert (space, offset, width) == (2, 0x6, 2), nowhere(space, offset, width)
        return 0x100 | 0x800 * self.interrupt

    def put(self, space: int, offset: int, width: int, value: int) -> None:
        match space, offset, width:
            case 2, 0x6, 2:
                self.control = value
            case 2, 0x8, 1:
                self.interrupt = False
            case _:
                raise nowhere(space, offset, width)


@dataclass
class Pci23(Card):
    """Command's high byte, and Status."""

    spaces: tuple[Space, ...] = bars(bar0=(Kind.PLAIN, 4096))
    high: int = 0x1
    pending: bool = False

    @property
    def asserts(self) -> bool:
        return self.pending and not self.high & 0x4

    def raise_(self) -> None:
        self.pending = True

    def again(self) -> None:
        self.high &= ~0x4

    def get(self, space: int, offset: int, width: int) -> int:
        match space, offset, width:
            case 6, 5, 1:
                return self.high
            case 6, 6, 2:
                return 0x10 | 0x8 * self.pending
        raise nowhere(space, offset, width)

    def put(self, space: int, offset: int, width: int, value: int) -> None:
        assert (space, offset, width) == (6, 5, 1), nowhere(space, offset, width)
        self.high = self.high & ~0x4 | value & 0x4


def by_itself(card: Card) -> None:
    """The card asserts again without its owner."""


@dataclass(frozen=True)
class Case:
    """A card, the status that the irq program must return in r0, and the state that irq and unmask must not change.

    `again` is what the owner of an acknowledging card does to let it assert again, if the irq program has disabled it.
    """

    make: Callable[[], Card]
    r0: int
    kept: Callable[[Card], object] = lambda card: None
    again: Callable[[Any], None] = by_itself


CASES = {
    "shirq-edu": Case(Edu, 0x4, lambda card: vars(card)["status"]),
    "qemu-edu": Case(QemuEdu, 0x1),
    "e1000": Case(E1000, 0x80),
    "rtl8139": Case(Rtl8139, 0x1, lambda card: vars(card)["status"]),
    "ne2000": Case(Ne2000, 0x1, lambda card: [vars(card)[name] for name in ("cr", "isr", "sent")]),
    "pcnet": Case(Pcnet, 0x4F2, lambda card: [vars(card)["rap"], vars(card)["csr0"] & ~0x40]),
    "ahci": Case(Ahci, 0x8, lambda card: [vars(card)["ghc"] & ~0x2, vars(card)["ports"]]),
    "nvme": Case(Nvme, 0x8, lambda card: vars(card)["pending"]),
    "uhci": Case(Uhci, 0x9),
    "plx9050": Case(Plx9050, 0x6B, lambda card: vars(card)["intcsr"] & ~0x40),
    "plx9050-be": Case(lambda: Plx9050(big=True), 0x6B, lambda card: vars(card)["intcsr"] & ~0x40),
    "pci23": Case(Pci23, 0x8, lambda card: vars(card)["high"] & ~0x4, Pci23.again),
    "cif": Case(lambda: plx9030(width=1), 0x5, lambda card: vars(card)["intcsr"] & ~0x1, Bridge.again),
    "mf624": Case(
        lambda: plx9030(gate=0x40, inputs=((0x1, 0x4), (0x8, 0x20)), writable=0xDB, intcsr=0x9),
        0x4D,
        lambda card: vars(card)["intcsr"] & ~0x49,
    ),
    "mrf-plx9030": Case(lambda: plx9030(gate=0x40, writable=0xDB, intcsr=0x3), 0x47),
    "mrf-plx9056": Case(lambda: plx9056(0), 0x8900),
    "plx9054": Case(lambda: plx9056(0x00080800), 0x00088900, lambda card: vars(card)["intcsr"] & ~0x100),
    "netx": Case(netx, 0x8, lambda card: vars(card)["enable"] & 0x7FFFFFFF, Enabled.again),
    "mrf-pcie": Case(mrf_pcie, 0x8, lambda card: vars(card)["enable"] & ~0x40000000),
    "sercos3": Case(sercos3, 0x8, lambda card: vars(card)["status"]),
    "aectc": Case(Aectc, 0x9),
    "ivshmem": Case(Ivshmem, 0x1),
    "pci1710": Case(Pci1710, 0x900, lambda card: vars(card)["control"]),
    "pci-serial-4x": Case(Serial4, 0xC4, lambda card: [each.received for each in vars(card)["uarts"]]),
}

#: The profiles that have a mask program.
WITH_MASK = {
    *("shirq-edu", "e1000", "ne2000", "pci23", "mf624", "mrf-plx9030", "mrf-plx9056", "mrf-pcie", "plx9054", "sercos3"),
}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return Library(compile_library(tmp_path_factory.mktemp("program")))


@dataclass
class Bench:
    """A model of a card, with the card's profile.

    `run` executes a program twice: in the kernel's interpreter on the card, and in the Python simulator on a copy of
    the card. The results and then the cards must be equal. `regs` are the first registers of the next program: the
    programs of a set keep some for each other.
    """

    library: Library
    card: Card
    profile: Profile
    regs: Sequence[int] = (0,) * abi.REGS

    def run(self, kind: ProgramKind) -> Run:
        program, copied = self.profile.programs.program(kind), copy.deepcopy(self.card)
        run = self.library.run(program, self.card, self.regs, spaces=self.card.spaces)
        assert simulate.run(program, copied, self.regs) == run
        assert copied == self.card
        self.regs = simulate.kept(kind, run, self.regs)
        return run

    def irq(self) -> Run:
        return self.run(ProgramKind.IRQ)


@pytest.fixture(params=sorted(path.stem for path in PROFILES.glob("*.toml")))
def case(request: pytest.FixtureRequest) -> tuple[str, Case]:
    return request.param, CASES[request.param]


@pytest.fixture
def bench(library: Library, case: tuple[str, Case]) -> Bench:
    name, of = case
    return Bench(library, of.make(), profile.load(PROFILES / f"{name}.toml"))


@pytest.mark.parametrize("kind", [ProgramKind.IRQ, ProgramKind.UNMASK, ProgramKind.RELEASE])
def test_verifier_accepts_the_programs_for_the_cards_bars(bench: Bench, kind: ProgramKind) -> None:
    """The kernel's verifier accepts the programs for the card's BARs."""
    program = bench.profile.programs.program(kind)
    accepted = (len(program), Reason.OK)
    if not program and kind is ProgramKind.UNMASK and bench.profile.programs.mode is Mode.ACKNOWLEDGES:
        accepted = (0, Reason.EMPTY)  # the module does not ask the verifier about it
    assert bench.library.verify(program, kind, bench.card.spaces) == accepted
    assert bench.profile.refusal() is None and bench.profile.refusal(bench.card.spaces) is None


def test_profiles_need_few_accesses(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lowest access limit with which `irq` is accepted is what kmod/README.md states."""
    program = bench.profile.programs.irq

    def accepted(limit: int) -> bool:
        monkeypatch.setattr(abi, "MAX_IRQ_ACCESSES", limit)
        return verify(program, ProgramKind.IRQ, bench.card.spaces)[1] == {Reason.OK}

    assert next(limit for limit in range(len(program) + 1) if accepted(limit)) in (
        (12,) if bench.profile.name == "pci-serial-4x" else range(2, 6)
    )


def test_lint_finds_nothing_that_the_profile_does_not_allow(bench: Bench) -> None:
    assert lint.lint(bench.profile) == []


def test_asserting_card_is_claimed_with_its_status_and_silenced(bench: Bench, case: tuple[str, Case]) -> None:
    """If the card asserts, its irq program claims, returns the status in r0, and silences the card."""
    bench.run(ProgramKind.UNMASK)
    bench.card.raise_()
    assert bench.card.asserts
    kept = copy.deepcopy(case[1].kept(bench.card))
    run = bench.irq()
    assert run.outcome is Outcome.CLAIMED
    assert run.captured is not None and run.captured[0] == case[1].r0
    assert not bench.card.asserts
    assert case[1].kept(bench.card) == kept, "the interrupt changed registers of the owner"


def test_masked_card_asserts_again_only_when_unmasked(bench: Bench, case: tuple[str, Case]) -> None:
    """A masked card asserts again when it is unmasked, and not before."""
    bench.run(ProgramKind.UNMASK)
    bench.card.raise_()
    assert bench.irq().outcome is Outcome.CLAIMED
    bench.card.raise_()
    if bench.profile.programs.mode is Mode.MASKS:
        assert not bench.card.asserts
        kept = copy.deepcopy(case[1].kept(bench.card))
        assert bench.run(ProgramKind.UNMASK).outcome is Outcome.ENDED
        assert case[1].kept(bench.card) == kept
    else:
        case[1].again(bench.card)
    assert bench.card.asserts
    assert bench.irq().outcome is Outcome.CLAIMED


@pytest.mark.parametrize("armed", [True, False])
def test_card_that_does_not_assert_is_declined_and_unchanged(bench: Bench, armed: bool) -> None:
    """A card that does not assert is declined and left as it was."""
    if armed:
        bench.run(ProgramKind.UNMASK)
    before = copy.deepcopy(bench.card)
    assert bench.irq().outcome is Outcome.ENDED
    assert bench.card == before


def test_each_of_four_uarts_gets_its_own_enables_back(library: Library) -> None:
    """One word of the set's memory has the enables of four UARTs; the owner changes them there, by EXEC."""
    card = Serial4()
    bench = Bench(library, card, profile.load(PROFILES / "pci-serial-4x.toml"))
    bench.run(ProgramKind.UNMASK)
    assert [each.ier for each in card.uarts] == [0x5, 0x1, 0x3, 0x0], "nothing was saved yet"
    card.raise_()
    assert bench.irq().captured == (0xC4, 0xC1, 0xC2, 0xC1)
    assert [each.ier for each in card.uarts] == [0, 0, 0, 0]
    bench.run(ProgramKind.UNMASK)
    assert [each.ier for each in card.uarts] == [0x5, 0x1, 0x3, 0x0]
    card.uarts[3].ier = 0x7
    bench.run(ProgramKind.UNMASK)
    assert card.uarts[3].ier == 0x7, "what was saved before was restored twice"


@pytest.mark.parametrize("name", sorted(WITH_MASK))
def test_a_card_is_masked_by_a_program_of_its_own(library: Library, name: str) -> None:
    """The mask program silences the card until unmask, even if a source is raised, and keeps the owner's registers."""
    case = CASES[name]
    bench = Bench(library, case.make(), profile.load(PROFILES / f"{name}.toml"))
    program = bench.profile.programs.mask
    assert library.verify(program, ProgramKind.MASK, bench.card.spaces) == (len(program), Reason.OK)
    bench.run(ProgramKind.UNMASK)
    bench.card.raise_()
    kept = copy.deepcopy(case.kept(bench.card))
    assert bench.run(ProgramKind.MASK).outcome is Outcome.ENDED
    assert not bench.card.asserts
    bench.card.raise_()
    assert not bench.card.asserts
    bench.run(ProgramKind.UNMASK)
    assert bench.card.asserts
    assert case.kept(bench.card) == kept


def test_the_profiles_with_a_mask_program_are_known() -> None:
    profiles = profile.load_all(PROFILES)
    assert {each.name for each in profiles if each.programs.mask} == WITH_MASK


def test_a_released_card_is_silent_whatever_happens_in_it(bench: Bench) -> None:
    bench.run(ProgramKind.UNMASK)
    bench.card.raise_()
    bench.run(ProgramKind.RELEASE)
    assert not bench.card.asserts
    bench.card.raise_()
    assert not bench.card.asserts


def test_a_card_that_reads_all_ones_is_gone(bench: Bench) -> None:
    bench.card.dead = True
    assert bench.irq().outcome is Outcome.GONE


def test_every_profile_has_a_card_here() -> None:
    assert {path.stem for path in PROFILES.glob("*.toml")} == set(CASES)
