# SPDX-License-Identifier: MIT
"""Moments that a test waits for, recognised in the event log: `PinFalls("dev0")`, `Masked("dev1")`, `Ended(20)`.

A moment in the log cannot be missed: a wait that begins late finds it in the earlier entries.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

from shirq_bench.channels.log import Entry, Kind


class Trigger(Protocol):
    """A condition on log entries; its text describes it."""

    def matches(self, entry: Entry) -> bool:
        """Whether this entry is the moment."""


@dataclass(frozen=True)
class Logged:
    """An entry of this kind, of this device, at this offset or GSI, with this value; None stands for any."""

    kind: Kind
    device: str | None = None
    offset: int | None = None
    value: int | None = None

    def matches(self, entry: Entry) -> bool:
        """Whether ``entry`` matches."""
        wanted = ((self.device, entry.device), (self.offset, entry.offset), (self.value, entry.value))
        return entry.kind is self.kind and all(want is None or want == found for want, found in wanted)

    def __str__(self) -> str:
        parts = (("device", self.device), ("offset", self.offset), ("value", self.value))
        return " ".join([self.kind.name, *(f"{name}={part}" for name, part in parts if part is not None)])


@dataclass(frozen=True)
class _OfDevice:
    """A change of a level of one device."""

    device: str
    kind: ClassVar[Kind]
    level: ClassVar[int]
    said: ClassVar[str]

    def matches(self, entry: Entry) -> bool:
        """Whether ``entry`` matches."""
        return (entry.kind, entry.device, bool(entry.value)) == (self.kind, self.device, bool(self.level))

    def __str__(self) -> str:
        return f"{self.device} {self.said}"


class PinRises(_OfDevice):
    """The device asserts its pin."""

    kind, level, said = Kind.PIN, 1, "asserts its pin"


class PinFalls(_OfDevice):
    """The device's pin falls."""

    kind, level, said = Kind.PIN, 0, "lowers its pin"


class Masked(_OfDevice):
    """The device becomes masked, by its own register or by DisINTx."""

    kind, level, said = Kind.MASK, 1, "is masked"


class Unmasked(_OfDevice):
    """The device is not masked any more."""

    kind, level, said = Kind.MASK, 0, "is unmasked"


@dataclass(frozen=True)
class _OfLine:
    """An action of the interrupt controller on one line."""

    gsi: int
    kind: ClassVar[Kind]
    value: ClassVar[int | None] = None
    said: ClassVar[str]

    def matches(self, entry: Entry) -> bool:
        """Whether ``entry`` matches."""
        return (entry.kind, entry.offset) == (self.kind, self.gsi) and self.value in (None, entry.value)

    def __str__(self) -> str:
        return f"line {self.gsi} {self.said}"


class LineFalls(_OfLine):
    """The line is low: no device asserts it."""

    kind, value, said = Kind.LINE, 0, "falls"


class LineUnmasked(_OfLine):
    """A controller unmasks the line."""

    kind, value, said = Kind.LINE_MASK, 0, "is unmasked"


class Delivered(_OfLine):
    """An interrupt of the line is delivered."""

    kind, said = Kind.DELIVER, "is delivered"


class Ended(_OfLine):
    """A vCPU ends an interrupt of the line (EOI)."""

    kind, said = Kind.EOI, "is ended"
