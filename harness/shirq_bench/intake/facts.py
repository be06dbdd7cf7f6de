# SPDX-License-Identifier: MIT
"""Facts as the texts state them, each with its place. `join` makes a report of them."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any

from shirq_bench.intake.text import At, Stamp


class By(enum.IntEnum):
    """The kind of text that states a fact about a device. A smaller number is believed first."""

    LSPCI = 0
    DUMP = 1
    LOG = 2
    TREE = 3
    TABLE = 4
    PROSE = 5


@dataclass(frozen=True)
class DeviceFact:
    """One property of the function at `address`, such as irq or driver."""

    address: str
    key: str
    value: Any
    at: At
    by: By


@dataclass(frozen=True)
class Handler:
    """A line below "handlers:". `module` is None without a bracket, `thread` is the function of a threaded handler."""

    symbol: str
    module: str | None = None
    thread: str | None = None


class Moment(enum.StrEnum):
    """What a machine did when a line died."""

    #: The kernel or a driver was starting.
    START = "start"
    RESUME = "resume"
    #: Neither: the line had worked.
    LATE = "late"


@dataclass
class Death:
    """The kernel gave a line up: one message, whole or cut."""

    irq: int
    at: At
    depth: int
    place: int
    stamp: Stamp | None = None
    head: bool = False
    tail: bool = False
    handlers: list[Handler] = field(default_factory=list)
    handlers_listed: bool = False
    kernel: str | None = None
    trigger: str | None = None
    #: The lines of the call trace: two messages with the same trace are copies.
    signature: tuple[str, ...] = ()
    #: What the machine did at that time, as `moments` finds it. None: the texts do not say.
    moment: Moment | None = None


@dataclass(frozen=True)
class Row:
    """A row of /proc/interrupts. `table` numbers the tables of a report; `place` counts lines through all texts."""

    irq: int
    counts: tuple[int, ...]
    chip: str
    names: tuple[str, ...]
    at: At
    table: int
    place: int
    hwirq: int | None = None
    trigger: str | None = None

    @property
    def total(self) -> int | None:
        """All interrupts of the line; None if the row has no counts."""
        return sum(self.counts) if self.counts else None


@dataclass(frozen=True)
class Table:
    """A table: its number of processors, and a kernel that the sentences before it name."""

    number: int
    at: At
    place: int
    cpus: int | None = None
    kernel: str | None = None


@dataclass(frozen=True)
class Route:
    """A message or listing about a line: its inputs as printed, and the function's pin if it names one."""

    irq: int
    at: At
    gsi: int | None = None
    hwirq: int | None = None
    trigger: str | None = None
    #: A message about the line itself, not only about where a pin leads.
    message: bool = False
    chip: str | None = None
    names: tuple[str, ...] | None = None
    total: int | None = None


@dataclass(frozen=True)
class Said:
    """A text of one line, such as a kernel's version or command line."""

    text: str
    at: At
    place: int


@dataclass(frozen=True)
class Interface:
    """A network interface and what the log says of it."""

    name: str
    at: At
    address: str | None = None
    driver: str | None = None


@dataclass(frozen=True)
class Event:
    """A message about the whole machine or a driver's start, with its place in all texts."""

    kind: EventKind
    place: int
    stamp: Stamp | None


class EventKind(enum.Enum):
    """The kinds of events that tell the moment of a death."""

    BOOT = enum.auto()
    DRIVER = enum.auto()
    SLEEP = enum.auto()
    AWAKE = enum.auto()


@dataclass(frozen=True)
class Refusal:
    """The kernel refused a driver the line, because others have it with other flags."""

    irq: int
    who: str
    at: At


@dataclass
class Facts:
    """Everything that was found in the texts."""

    devices: list[DeviceFact] = field(default_factory=list)
    deaths: list[Death] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    routes: list[Route] = field(default_factory=list)
    kernels: list[Said] = field(default_factory=list)
    cmdlines: list[Said] = field(default_factory=list)
    #: Places at which another boot begins.
    boots: list[int] = field(default_factory=list)
    interfaces: list[Interface] = field(default_factory=list)
    #: Address of the host controller of a USB bus, by the bus's number.
    usb: dict[str, str] = field(default_factory=dict)
    #: Names of cards in sentences: the driver, and the name as written.
    cards: list[tuple[str, Said]] = field(default_factory=list)
    notes: list[Said] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)

    def add(self, address: str, key: str, value: Any, at: At, by: By) -> None:
        """State a property of a function."""
        self.devices.append(DeviceFact(address, key, value, at, by))


def short(domain: str | None, rest: str) -> str:
    """A function's address as reports write it: without the domain if that is 0."""
    rest = rest.lower()
    return f"{domain.lower()}:{rest}" if domain and int(domain, 16) else rest
