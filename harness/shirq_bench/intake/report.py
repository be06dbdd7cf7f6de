# SPDX-License-Identifier: MIT
"""A report as facts: interrupt lines, functions, contradictions, suspects, and what is missing."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from shirq_bench.intake.facts import Death, Said
from shirq_bench.intake.tables import TABLES, Driver, plain
from shirq_bench.intake.text import At


@dataclass(frozen=True)
class Told:
    """A value, and where a text states it."""

    value: Any
    at: At


@dataclass
class Device:
    """A PCI function, with the properties that the texts state. Without an address it is known by a name only."""

    address: str | None = None
    facts: dict[str, Told] = field(default_factory=dict)
    known_by: str = "address"
    #: The lines of the tables' rows that name it, with the names, and whether the row is of another kernel.
    rows: dict[int, str] = field(default_factory=dict)
    #: Every line that a text gives it, also where texts contradict each other.
    irqs: set[int] = field(default_factory=set)

    def get(self, key: str) -> Any:
        """The property's value, or None if it is unknown."""
        told = self.facts.get(key)
        return told.value if told else None

    @property
    def who(self) -> str:
        """What a sentence calls it: its address, or its name."""
        return self.address or str(self.get("name") or self.get("driver") or "?")

    @property
    def uses_pin(self) -> bool:
        """Return false if the number of its interrupt is that of an MSI, or of no line."""
        message = self.get("msi") == "on" or (self.get("message_irq") and self.get("msi") is None)
        return not message and self.get("irq") not in (0, 255)

    @property
    def asserts(self) -> bool:
        """Return true if Status has shown INTx+."""
        return bool(self.get("intx") or self.get("asserted"))

    @property
    def is_bridge(self) -> bool:
        """Return true for a bridge, whose pin is for its own events only."""
        return str(self.get("class") or "").startswith("0604") or self.get("secondary") is not None

    @property
    def known(self) -> Driver | None:
        """The entry of its driver in the tables; None if it has no driver, or an unknown one."""
        driver = self.get("driver")
        return TABLES.named(driver) if driver else None


@dataclass
class Line:
    """An interrupt line, by the kernel's number."""

    irq: int
    facts: dict[str, Told] = field(default_factory=dict)
    deaths: list[Death] = field(default_factory=list)

    def get(self, key: str) -> Any:
        """The property's value, or None if it is unknown."""
        told = self.facts.get(key)
        return told.value if told else None

    @property
    def died(self) -> bool:
        """Return true if the kernel gave the line up, by a message or by its count."""
        return bool(self.deaths) or bool(self.get("given_up_at_most"))


@dataclass(frozen=True)
class Conflict:
    """Texts that contradict each other about one property."""

    what: str
    values: tuple[Told, ...]


class Strength(enum.IntEnum):
    """The kinds of suspects, the strongest first."""

    ASSERTS = 0
    NO_HANDLER = 1
    FEWER_HANDLERS = 2
    LATE_HANDLER = 3
    QUIET = 4


@dataclass(frozen=True)
class Suspect:
    """A function that may assert a line without having a handler there."""

    irq: int
    who: str
    reason: str
    strength: Strength


@dataclass(frozen=True)
class Missing:
    """Something that the texts do not say, and the command that says it."""

    what: str
    command: str


@dataclass
class Report:
    """All that the texts say."""

    files: tuple[str, ...] = ()
    kernel: Told | None = None
    cpus: Told | None = None
    cmdline: Told | None = None
    not_level: list[int] = field(default_factory=list)
    no_line: list[int] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    devices: list[Device] = field(default_factory=list)
    conflicts: list[Conflict] = field(default_factory=list)
    notes: list[Said] = field(default_factory=list)
    suspects: list[Suspect] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)

    def on_line(self, irq: int) -> list[Device]:
        """The functions that a text gives this line, by a number or by a row's name.

        A function that asserts uses its pin, whatever its MSI capability says.
        """
        return [one for one in self.devices if (irq in one.irqs and (one.uses_pin or one.asserts)) or irq in one.rows]


def family(driver: str | None) -> str | None:
    """A driver's name for comparison: ehci-pci and ehci_hcd count as one."""
    if not driver:
        return None
    known = TABLES.named(driver)
    return known.name if known else plain(driver)


def same(values: Iterable[Any]) -> bool:
    """Return true if all values are equal."""
    first, *others = [*values] or [None]
    return all(one == first for one in others)
