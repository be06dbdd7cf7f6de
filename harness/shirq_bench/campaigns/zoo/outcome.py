# SPDX-License-Identifier: MIT
"""The outcome of a run: measured on the line, the device's registers, the neighbour's pin and the kernel's log.

Drivers are not queried. An interrupt is served when its source was acknowledged at the device (INT_ACK); if the device
has other registers, when the source is no longer pending. If the device was silenced by acknowledging all sources at
once or by a reset, its pending interrupts are neither served nor lost.
"""

from __future__ import annotations

import dataclasses
import enum
import re
from collections.abc import Mapping, Sequence

from shirq_bench.channels.edu import Register
from shirq_bench.channels.log import Entry, Kind, Log, find
from shirq_bench.observe import judge, splats

_ALL = 0xFFFFFFFF
#: More deliveries without a cause than this count as a storm: shirq's breaker ends a storm after fewer.
STORM = 5000
#: Share of the neighbour's interrupts that must be handled in time.
_SHARE = 0.9
_MISMATCH = "Flags mismatch"
_DISABLED = re.compile(r"Disabling IRQ #|nobody cared")


class Outcome(enum.StrEnum):
    """The outcomes of a run, the worst first; if several apply, the first one counts."""

    HANG = "hang"
    SPLAT = "splat"
    DISABLED = "line disabled"
    STORM = "storm"
    GRUMBLES = "refuses, with a complaint"
    REFUSES = "refuses"
    STARVES = "starves the neighbour"
    LOSES = "loses interrupts"
    DUPLICATES = "duplicates"
    SURVIVES = "survives"


#: A description of each outcome.
MEANINGS = {
    Outcome.HANG: "the guest does not answer any more",
    Outcome.SPLAT: "the kernel's log has a splat that is not about the line",
    Outcome.DISABLED: "the kernel disabled the line for all devices that share it",
    Outcome.STORM: f"more than {STORM} interrupts came without a cause, and the guest recovered",
    Outcome.GRUMBLES: "the driver did not take the device, and the kernel's log complains of its request for the line",
    Outcome.REFUSES: "the driver did not take the device, and nothing else happened",
    Outcome.STARVES: "the neighbour's interrupts were handled late or never",
    Outcome.LOSES: "interrupts of the device were never served, although the case had not ended the driver",
    Outcome.DUPLICATES: "interrupts without a cause came or were served",
    Outcome.SURVIVES: "each raise was served once, or the driver silenced its device in time; the neighbour was served",
}


class Ledger:
    """The account of raised and served interrupts of one device, source by source, from the log.

    ``before`` are earlier entries: interrupts that are outstanding at the end of these entries count as raised.
    """

    def __init__(self, device: str = "dev0", before: Sequence[Entry] = (), by_register: bool = True) -> None:
        self._device = device
        #: Whether the log shows what is acknowledged, as a write of INT_ACK. Otherwise `settle` tells it, and a raise:
        #: only a source that is not pending can be raised.
        self._by_register = by_register
        #: When each outstanding interrupt was raised, in virtual ns, source by source.
        self._outstanding: dict[int, list[int]] = {}
        self._begin()
        self.take(before)
        self._begin()

    def _begin(self) -> None:
        self.raised, self.served, self.duplicates, self.silenced = self.outstanding, 0, 0, 0
        #: The last time at which the device was silenced with interrupts pending, in virtual ns; 0: never.
        self.silenced_ns = 0
        #: The longest time from a raise to its acknowledgement, in virtual ns.
        self.slowest_ns = 0

    @property
    def outstanding(self) -> int:
        """The number of interrupts that were raised and not served yet."""
        return sum(map(len, self._outstanding.values()))

    def take(self, entries: Sequence[Entry]) -> None:
        """Account for the logged entries."""
        # Search only for relevant entries: a storm has millions of accesses, and few of them are acknowledgements.
        found = find(entries, Kind.RAISE, Kind.LOWER, Kind.RESET, device=self._device)
        if self._by_register:
            found += find(entries, Kind.WRITE, device=self._device, offset=Register.INT_ACK)
        for _, entry in sorted(found):
            if entry.kind is Kind.RAISE:
                if not self._by_register:
                    self.settle(self.pending & ~entry.value)
                for source in _sources(entry.value):
                    self.raised += 1
                    self._outstanding.setdefault(source, []).append(entry.time_ns)
            elif entry.kind is not Kind.WRITE:
                self._silence(entry)
            elif entry.space == 0:
                self._acknowledge(entry)

    @property
    def pending(self) -> int:
        """The sources with an outstanding interrupt, one bit each."""
        return sum(1 << source for source, raised in self._outstanding.items() if raised)

    def settle(self, status: int) -> None:
        """Take the device's status word: an interrupt whose source is not pending any more was served."""
        for source in _sources(self.pending & ~status):
            self.served += len(self._outstanding.pop(source))

    def _acknowledge(self, entry: Entry) -> None:
        if entry.value == _ALL:
            self._silence(entry)
            return
        for source in _sources(entry.value):
            if waiting := self._outstanding.get(source):
                self.slowest_ns = max(self.slowest_ns, entry.time_ns - waiting.pop(0))
                self.served += 1
            else:
                self.duplicates += 1

    def _silence(self, entry: Entry) -> None:
        if self.outstanding:
            self.silenced_ns = entry.time_ns
        self.silenced += self.outstanding
        self._outstanding.clear()


def _sources(bits: int) -> list[int]:
    return [source for source in range(32) if bits >> source & 1]


@dataclasses.dataclass(frozen=True)
class Evidence:
    """The data that a run leaves."""

    #: The log since the first step, or since the step `judge`; ``past`` of the log holds the earlier entries.
    log: Log
    kernel_log: str
    gsi: int
    #: Why the driver did not take the device; empty if it did.
    refused: str = ""
    #: The guest's last activity if it no longer answers; empty if it does.
    hung: str = ""
    #: The kernel's last message if it panicked; empty if it did not.
    panicked: str = ""
    #: Whether the driver had to serve interrupts: it was started, and since then the case has neither killed it nor
    #: taken its device away. A driver that ended by itself still had to serve.
    owes: bool = True
    #: The number of queries to the neighbour, and of its replies.
    asked: int = 0
    answered: int = 0
    late_ms: int = 20
    #: Rules of splats-deny whose complaints are not the driver's doing.
    forgiven: tuple[str, ...] = ()
    #: The device's pending sources at the end, if it has other registers than the preset edu.
    status: int | None = None
    #: The number of interrupts of bursts that a driver did not serve in time, although it had to.
    overdue: int = 0
    #: Complaints up to this line of the kernel log are not judged; 0: all complaints are judged.
    judged_line: int = 0


@dataclasses.dataclass(frozen=True)
class Result:
    """The outcome, its measurements, and the kernel's complaints."""

    outcome: Outcome
    figures: dict[str, int | float | str]
    complaints: tuple[str, ...]


def in_words(figures: Mapping[str, object]) -> str:
    """A result's figures as a line of text."""
    return ", ".join(f"{name} {value}" for name, value in figures.items())


def classify(evidence: Evidence) -> Result:
    """The outcome of a run. `CannotJudge` if the log has dropped entries or does not follow the line."""
    log, gsi = evidence.log, evidence.gsi
    log.require_complete()
    judge.require_followed(log, gsi)
    ledger = Ledger(before=log.past, by_register=evidence.status is None)
    ledger.take(log.entries)
    if evidence.status is not None:
        ledger.settle(evidence.status)
    lost = ledger.outstanding if evidence.owes and not evidence.refused else 0
    spurious = _spurious(log, gsi)
    late, neighbour, slowest = _late(log, evidence.late_ms)
    share = 1 - late / neighbour if neighbour else 1.0
    if evidence.asked:
        share = min(share, evidence.answered / evidence.asked)
    gone = evidence.hung or evidence.panicked
    # A complaint about the log as a whole has line 0: a log that cannot be scanned never passes.
    found = [] if gone else splats.scan(evidence.kernel_log, after=evidence.judged_line, forgiven=evidence.forgiven)
    # Do not count deliveries before the device was silenced: the driver needed them to detect the storm. `STORM` limits
    # their number.
    unexplained = _spurious(log, gsi, ledger.silenced_ns)
    disabled = [splat for splat in found if _DISABLED.search(splat.rule)]
    mismatches = [splat for splat in found if _MISMATCH in splat.rule] if evidence.refused else []
    others = [splat for splat in found if splat not in disabled + mismatches]
    refuses = bool(evidence.refused) and share >= _SHARE
    applies = {
        Outcome.HANG: bool(evidence.hung),
        Outcome.SPLAT: bool(others or evidence.panicked),
        Outcome.DISABLED: bool(disabled),
        Outcome.STORM: spurious > STORM,
        Outcome.GRUMBLES: refuses and bool(mismatches),
        Outcome.REFUSES: refuses,
        Outcome.STARVES: share < _SHARE,
        Outcome.LOSES: lost + evidence.overdue > 0,
        Outcome.DUPLICATES: ledger.duplicates + unexplained > ledger.raised / 2,
        Outcome.SURVIVES: True,
    }
    figures: dict[str, int | float | str] = {
        "raised": ledger.raised,
        "served": ledger.served,
        "lost": lost,
        "silenced": ledger.silenced,
        "duplicates": ledger.duplicates,
        "spurious": spurious,
        "neighbour": neighbour,
        "share": round(share, 2),
        "neighbour_slowest_us": slowest // 1000,
        "asserted_slowest_us": _masked_ns(log) // 1000,
    }
    if evidence.status is None:
        figures["slowest_us"] = ledger.slowest_ns // 1000
    if evidence.overdue:
        figures["overdue"] = evidence.overdue
    figures |= {name: text for name in ("refused", "hung", "panicked") if (text := getattr(evidence, name))}
    outcome = next(outcome for outcome, applied in applies.items() if applied)
    return Result(outcome, figures, tuple(map(_complaint, found)))


def _complaint(splat: splats.Splat) -> str:
    """The kernel's own words, and what the rule says of them."""
    words = splat.excerpt.strip().splitlines() or [splat.rule]
    return f"line {splat.line}: {words[0]} ({splat.why})" if splat.line else str(splat).splitlines()[0]


def _spurious(log: Log, gsi: int, after_ns: int = 0) -> int:
    """Number of deliveries of the line without a rising pin, after a moment of virtual time."""
    delivered = sum(1 for entry in log.of(Kind.DELIVER, offset=gsi) if entry.time_ns > after_ns)
    rises = sum(1 for entry in log.of(Kind.PIN) if entry.value and entry.time_ns > after_ns)
    return max(0, delivered - rises)


def _masked_ns(log: Log, device: str = "dev0") -> int:
    """The longest time from a raise of the device until its pin rose, in ns: so long the driver kept it masked."""
    found = find(log.entries, Kind.RAISE, Kind.LOWER, Kind.RESET, Kind.PIN, device=device)
    longest, since, high = 0, 0, False
    for _, entry in found:
        if entry.kind is Kind.PIN:
            high = bool(entry.value)
            if high and since:
                longest, since = max(longest, entry.time_ns - since), 0
        elif entry.kind is not Kind.RAISE:
            since = 0
        elif entry.value and not high and not since:
            since = entry.time_ns
    return longest


def _late(log: Log, bound_ms: int, device: str = "nic0") -> tuple[int, int, int]:
    """The number of the neighbour's interrupts that were handled late, the number of all its interrupts, and the
    longest time that one of them took, in ns."""
    pins: Sequence[judge.Interval] = judge.high(log, Kind.PIN, device)
    begin, end = (log.entries[0].time_ns, log.entries[-1].time_ns) if log.entries else (0, 0)
    late = slowest = 0
    for pin in pins:
        took = (pin.end.time_ns if pin.end else end) - (pin.start.time_ns if pin.start else begin)
        slowest = max(slowest, took)
        late += took > bound_ms * 1_000_000 or pin.end is None
    return late, len(pins), slowest
