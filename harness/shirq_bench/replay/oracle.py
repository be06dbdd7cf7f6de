# SPDX-License-Identifier: MIT
"""Judges one point of a sweep by the event log alone.

These rules hold for each judged device. Every raise is followed by a handling (the actor's MARK), unless the hardware
or a release program withdraws it. There are no more handlings than raises, and their sequence numbers grow. A handling
comes within a bound after the raise. No assertion lasts longer than this bound: while it lasts, the handler uses all of
the processor's time. For the same reason a point has a limited number of deliveries, unless a device is broken. When
the point is over, the device is silent and unmasked and has nothing pending, its line is low, and no line has become
masked at its interrupt controller: it would be one that the kernel has disabled.

A device that the stimulus breaks is judged only by its state at the end. If a note in the schedule says that the device
works again, all rules hold after that note. If the guest halts, no interrupt is handled any more: the only rule is that
no device asserts at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from shirq_bench.channels.edu import Register
from shirq_bench.channels.log import KERNEL_RING, Entry, Kind
from shirq_bench.observe.words import duration

_SEQUENCE = 1 << 16
#: The number of a schedule's action `note`: qemu-device/SPEC.md, "Schedule".
_NOTE = 6
#: The number of the note that says that the device works again.
MENDED = 0xC1EA


@dataclass(frozen=True)
class Violation:
    """``rule`` is lost, duplicate, disorder, late, storm, unfinished or dead; ``what`` describes the violation."""

    rule: str
    what: str


@dataclass
class Card:
    """The state of one device, carried from point to point."""

    name: str
    pending: int = 0
    masked: bool = False
    pin: bool = False
    asserted_ns: int = 0
    seq: int | None = None
    waiting: list[Entry] = field(default_factory=list)
    raised: int = 0
    handled: int = 0
    found: list[Violation] = field(default_factory=list)
    broken: bool = False
    #: Whether the violations of the present point are reported.
    judged: bool = True

    def begin(self) -> None:
        """Begin a new point."""
        self._forget()
        self.judged = not self.broken

    def _forget(self) -> None:
        self.raised, self.handled = 0, 0
        self.found = []

    def see(self, entry: Entry, bound_ns: int) -> None:
        """Process one entry of this device."""
        match entry.kind:
            case Kind.RAISE:
                self.raised += entry.value != 0
                self.pending |= entry.value
                self.waiting.append(entry)
            case Kind.LOWER:
                self._withdraw(entry.value)
            case Kind.WRITE if entry.space == 0 and entry.offset == Register.INT_ACK:
                if entry.ring == KERNEL_RING:
                    # A release program ran: the next owner's sequence numbers begin anew.
                    self._withdraw(self.pending & entry.value)
                    self.seq = None
                self.pending &= ~entry.value
            case Kind.SETTING:
                # The device was removed or has come back. No release program runs, but the next owner's sequence
                # numbers begin anew.
                self.seq = None
            case Kind.RESET:
                self._withdraw(self.pending)
            case Kind.SCHEDULED if entry.width == _NOTE and entry.value == MENDED:
                self._forget()
                self.waiting.clear()
                self.seq = None
                self.judged = True
            case Kind.MASK:
                self.masked = bool(entry.value)
            case Kind.PIN:
                self._assert(entry, bound_ns)
            # A mark of 64 bits is not a handling, but a step of an operation.
            case Kind.MARK if entry.width == 4:
                self._handle(entry, bound_ns)

    def _assert(self, entry: Entry, bound_ns: int) -> None:
        if not entry.value and self.pin and (lasted := entry.time_ns - self.asserted_ns) > bound_ns:
            what = f"{self.name} asserted for {duration(lasted)}, allowed are {duration(bound_ns)}"
            self.found.append(Violation("late", what))
        if entry.value and not self.pin:
            self.asserted_ns = entry.time_ns
        self.pin = bool(entry.value)

    def _withdraw(self, sources: int) -> None:
        self.pending &= ~sources
        if not self.pending:
            self.waiting.clear()

    def _handle(self, mark: Entry, bound_ns: int) -> None:
        self.handled += 1
        seq = mark.value >> 16
        if not mark.value & 0xFFFF:
            self.found.append(Violation("duplicate", f"{self.name}: event {seq} reports no source"))
        if self.seq is not None and not 0 < (seq - self.seq) % _SEQUENCE < _SEQUENCE // 2:
            self.found.append(Violation("disorder", f"{self.name}: event {seq} follows event {self.seq}"))
        self.seq = seq
        for entry in self.waiting:
            if (late := mark.time_ns - entry.time_ns) > bound_ns:
                what = f"{self.name}: a raise was handled after {duration(late)}, allowed are {duration(bound_ns)}"
                self.found.append(Violation("late", what))
        self.waiting.clear()

    def end(self, spurious: int, halted: bool) -> None:
        """End the point: check that all raises were handled, and the device's state."""
        if not self.judged or halted:
            self._forget()
            self.waiting.clear()
            self.seq = None
        for entry in self.waiting:
            self.found.append(Violation("lost", f"{self.name}: the raise at {entry.time_ns} ns was never handled"))
        if self.handled > self.raised + spurious:
            self.found.append(Violation("duplicate", f"{self.name}: {self.handled} events for {self.raised} raises"))
        states = [("asserting", self.pin)]
        if not halted:
            states += [("pending", bool(self.pending)), ("masked", self.masked)]
        if left := [name for name, value in states if value]:
            self.found.append(Violation("unfinished", f"{self.name}: at the end it is {' and '.join(left)}"))
        self.waiting.clear()


class Oracle:
    """Judges the points of one run in their order. ``deliveries`` is the most interrupts of a point, 0: any number."""

    def __init__(
        self,
        devices: Sequence[str],
        bound_ns: int,
        spurious: int,
        broken: Sequence[str] = (),
        halts: bool = False,
        deliveries: int = 0,
    ) -> None:
        self.cards = {name: Card(name, broken=name in broken) for name in (*devices, *broken)}
        self._bound_ns = bound_ns
        self._spurious = spurious
        self._halts = halts
        self._deliveries = 0 if broken else deliveries
        # Each input as its controller and line.
        self._high: set[tuple[str, int]] = set()
        self._masked: set[tuple[str, int]] = set()

    def judge(self, entries: Sequence[Entry]) -> list[Violation]:
        """The violations in a point, given all its entries."""
        cards = self.cards
        for card in cards.values():
            card.begin()
        delivered = 0
        for entry in entries:
            if entry.device in cards:
                cards[entry.device].see(entry, self._bound_ns)
            elif entry.kind is Kind.DELIVER:
                delivered += 1
            elif entry.kind in (Kind.LINE, Kind.LINE_MASK):
                inputs = self._high if entry.kind is Kind.LINE else self._masked
                (inputs.add if entry.value else inputs.discard)((entry.device, entry.offset))
        found = []
        if 0 < self._deliveries < delivered:
            what = f"{delivered} interrupts were delivered, at most {self._deliveries} are expected"
            found.append(Violation("storm", what))
        for card in cards.values():
            card.end(self._spurious, self._halts)
            found += card.found
        for inputs, what in ((self._high, "high"), (self._masked, "masked")):
            if inputs and not (self._halts and inputs is self._masked):
                lines = ", ".join(map(str, sorted({line for _, line in inputs})))
                found.append(Violation("unfinished", f"at the end line {lines} is {what}"))
        return found
