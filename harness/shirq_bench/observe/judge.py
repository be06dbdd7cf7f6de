# SPDX-License-Identifier: MIT
"""Judges a run by the line, the pins and the interrupt controller, never by a driver's own reports.

Every judge is a pure function that returns a ``Verdict``: the rule, how many cases it examined, and a finding for each
case that breaks it, with the entries that prove it. ``verdict.require()`` raises ``BrokenRuleError`` unless the rule
held in at least one examined case: without a case, a rule proves nothing.

The log's order is exact: QEMU writes it under one lock, an access before its effects. So rules on the log alone have no
tolerance. For rules that use the guest's handler calls, the time of a call is known only within ``ClockFit.window`` and
the trace's rounding to a microsecond. These rules widen each call by both, so a finding is always a proven violation,
but a violation shorter than this tolerance may go unnoticed. The verdict's note gives the tolerance.

In the reset state pins and lines are low, and devices and lines are masked. A log begins with all state that differs
from the reset state, so its changes determine every level. Levels do not continue across a load of VM state: judges
refuse a log that contains such a load. Give them one of ``log.epochs()`` instead.

A judge raises `CannotJudge`, which is no verdict, if evidence is missing: the log has dropped entries, or the
interrupts went through a controller other than the I/O APIC, which the log does not follow.
"""

from __future__ import annotations

import bisect
import dataclasses
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise

from shirq_bench.channels.log import (
    BEGINNINGS,
    IOAPIC,
    ClockFit,
    Entry,
    HandlerCall,
    Kind,
    Log,
    find,
    joined,
    last,
    offsets,
)
from shirq_bench.errors import CannotJudge
from shirq_bench.observe.words import duration, phrase

# The kernel prints trace times rounded to the nearest microsecond.
TRACE_ROUNDING_NS = 500
# I/O APIC inputs below this one are for legacy interrupts. A PCI line is on one of them only if firmware or kernel
# routes it there.
_FIRST_LEVEL_GSI = 16
_STATED = (Kind.PIN, Kind.LINE, Kind.LINE_MASK, Kind.MASK)
_NOT_FOLLOWED = (
    "The guest does not use the I/O APIC: its interrupts go through a controller that the log does not follow, "
    "such as the 8259 with the kernel parameter noapic"
)


class BrokenRuleError(AssertionError):
    """A rule was broken, or no case was judged; the message shows the entries."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """One violation of a rule: the error and its evidence."""

    what: str
    entries: tuple[Entry, ...] = ()
    calls: tuple[HandlerCall, ...] = ()

    def __str__(self) -> str:
        entries = (f"{entry.time_ns / 1000:.3f} µs  {phrase(entry)}" for entry in self.entries)
        return "\n    ".join([self.what, *entries, *map(call_text, self.calls)])


def call_text(call: HandlerCall) -> str:
    """A handler call in words, with its times on the guest's trace clock."""
    result = "handled" if call.handled else "unhandled"
    when = f"{call.entry_s:.6f} to {call.exit_s:.6f} s guest"
    return f"{when}  CPU {call.cpu}: {call.name} (irq {call.irq}) returned {result}"


@dataclasses.dataclass(frozen=True)
class Verdict:
    """``checked`` counts the cases that the rule applied to; ``note`` gives further numbers and the tolerance."""

    rule: str
    checked: int
    findings: tuple[Finding, ...] = ()
    note: str = ""

    @property
    def ok(self) -> bool:
        """No case broke the rule."""
        return not self.findings

    def require(self, at_least: int = 1) -> Verdict:
        """This verdict; raises BrokenRuleError if the rule was broken or fewer than ``at_least`` cases were judged."""
        if self.findings or self.checked < at_least:
            raise BrokenRuleError(str(self))
        return self

    def __str__(self) -> str:
        count = f"{len(self.findings)} of {self.checked} broke it" if self.findings else f"held in {self.checked}"
        shown = [f"  - {finding}" for finding in self.findings[:5]]
        if len(self.findings) > 5:
            shown.append(f"  ... and {len(self.findings) - 5} more")
        return "\n".join([f"{self.rule}: {count}{f' ({self.note})' if self.note else ''}", *shown])


@dataclasses.dataclass(frozen=True)
class Interval:
    """A time during which a level was high. ``start`` is None if it was high from the log's beginning, ``end`` is None
    if it still was at the end; ``first`` and ``last`` are the positions of these entries in ``log.entries``."""

    start: Entry | None
    end: Entry | None
    first: int
    last: int

    def holds(self, index: int) -> bool:
        """Whether the level was high when entry ``index`` of the log was written."""
        return self.first <= index < self.last

    @property
    def proof(self) -> tuple[Entry, ...]:
        """The entries that bound the interval."""
        return tuple(entry for entry in (self.start, self.end) if entry)


@dataclasses.dataclass(frozen=True)
class Assertion(Interval):
    """A time during which a device asserted its pin. ``ended_by`` is the access, reset or stimulus that made the pin
    fall: None while it is high, or where no entry of the device explains it (a timer; accesses that are not logged)."""

    ended_by: Entry | None


@dataclasses.dataclass(frozen=True)
class Handling:
    """From the delivery of a line's interrupt to the moment at which it could be delivered again.

    That moment is the EOI or, if the line was masked for everyone at the EOI (threaded handlers do so), its unmasking.
    ``end`` is None while it lasts. ``first`` and ``last`` are positions in ``log.entries``.
    """

    deliver: Entry
    eoi: Entry | None
    end: Entry | None
    first: int
    last: int


def high(log: Log, kind: Kind, device: str = IOAPIC, gsi: int | None = None) -> list[Interval]:
    """The intervals in which a level was high: PIN or MASK of a device, LINE or LINE_MASK of a GSI."""
    _require_judgeable(log)
    changes = find(log.entries, kind, device=device, offset=gsi)
    before = last(log.past, kind, device=device, offset=gsi)
    intervals: list[Interval] = []
    start: tuple[int, Entry | None] | None = None
    if before.value if before else kind in (Kind.MASK, Kind.LINE_MASK):
        start = (0, None)
    for index, entry in changes:
        if entry.value and not start:
            start = (index, entry)
        elif not entry.value and start:
            intervals.append(Interval(start[1], entry, start[0], index))
            start = None
    if start:
        intervals.append(Interval(start[1], None, start[0], len(log.entries)))
    return intervals


def assertions(log: Log, device: str) -> list[Assertion]:
    """Each period in which the device's own pin was high, and the entry that ended it."""
    return [
        Assertion(it.start, it.end, it.first, it.last, _cause(log, it.last) if it.end else None)
        for it in high(log, Kind.PIN, device)
    ]


def handlings(log: Log, gsi: int) -> list[Handling]:
    """Each delivery of the line with its EOI. An EOI whose delivery is before the log's beginning is left out."""
    masked = high(log, Kind.LINE_MASK, gsi=gsi)  # raises CannotJudge
    found: list[Handling] = []
    deliver: tuple[int, Entry] | None = None
    for index, entry in find(log.entries, Kind.DELIVER, Kind.EOI, device=IOAPIC, offset=gsi):
        if entry.kind is Kind.DELIVER and not deliver:
            deliver = (index, entry)
        elif entry.kind is Kind.EOI and deliver:
            late = _at(masked, index)
            end, after = (late.end, late.last) if late else (entry, index)
            found.append(Handling(deliver[1], entry, end, deliver[0], after))
            deliver = None
    if deliver:
        found.append(Handling(deliver[1], None, None, deliver[0], len(log.entries)))
    return found


def line_of(log: Log, devices: Sequence[str]) -> int:
    """The GSI of the line that these devices share, which is the line that their pins move.

    Firmware may also route the pin to a legacy interrupt, which the system then leaves masked. So a line that was
    delivered is preferred, then a line that was unmasked. Raises BrokenRuleError if there is no such line, or several;
    `CannotJudge` if the line is unknown because the guest does not use the I/O APIC.
    """
    log.require_complete()
    delivered, unmasked = offsets(log.entries, Kind.DELIVER), _unmasked(log)
    moved = _moved(log)
    lines = {device: _used(moved.get(device, set()), delivered, unmasked) for device in devices}
    common = set.intersection(*lines.values()) if lines else set()
    if len(common) != 1:
        found = ", ".join(f"{device} moved {sorted(gsis)}" for device, gsis in lines.items())
        if not is_followed(log) and all(lines.values()):
            raise CannotJudge(f"cannot tell which line is in use: {found}. {_NOT_FOLLOWED}")
        raise BrokenRuleError(f"the devices do not share one line: {found}")
    return common.pop()


def lines_in_use(log: Log) -> list[int]:
    """The GSIs of the level-triggered lines that moved and that the guest uses.

    An input below 16 is included only if a PCI function's pin moved it. If a pin moves several inputs (firmware also
    routes it to the legacy controller), inputs that stay masked are left out, provided that another one is unmasked.
    """
    log.require_complete()
    moved, unmasked = _moved(log), _unmasked(log)
    level = {gsi for gsi in offsets(_everything(log), Kind.LINE) if gsi >= _FIRST_LEVEL_GSI}
    unused = {gsi for gsis in moved.values() for gsi in gsis - _used(gsis, unmasked)}
    return sorted(level.union(*moved.values()) - unused)


def lines_moved(log: Log, device: str) -> set[int]:
    """The GSIs of all lines that the device's pin moved, whether the guest uses them or not."""
    log.require_complete()
    return _moved(log).get(device, set())


def is_followed(log: Log) -> bool:
    """Whether the guest uses the I/O APIC, so that the log has the masks, deliveries and EOIs of each line.

    If not (kernel parameter ``noapic``), interrupts go through the 8259, and the log has only the levels of the lines.
    """
    return bool(_unmasked(log) or offsets(_everything(log), Kind.DELIVER))


def require_followed(log: Log, gsi: int) -> None:
    """Raise `CannotJudge` unless the log follows line ``gsi``.

    The log follows the line if the I/O APIC is in use and delivers the interrupts of the line's pins through this input
    only. A line that never moved is accepted, unless another line did.
    """
    if gsi not in offsets(_everything(log), Kind.LINE):
        if other := lines_in_use(log):
            raise CannotJudge(f"line {gsi} never moved, but {', '.join(map(str, other))} did: judge the line in use")
        return
    if not is_followed(log):
        raise CannotJudge(f"line {gsi} moved. {_NOT_FOLLOWED}")
    if gsi not in (used := lines_in_use(log)):
        raise CannotJudge(f"line {gsi} moved, but the guest uses {', '.join(map(str, used))} instead")


def _everything(log: Log) -> Sequence[Entry]:
    return joined(log.past, log.entries)


def _unmasked(log: Log) -> set[int]:
    """The GSIs whose redirection entry was unmasked at some time."""
    return offsets(_everything(log), Kind.LINE_MASK, value=False)


def _moved(log: Log) -> dict[str, set[int]]:
    """The GSIs that each function's pin moved: the changes of a pin's lines directly follow the pin's own change.

    An input below 16 that also moves without a pin, such as a timer's, is not a PCI line: its change followed a pin's
    change by chance.
    """
    moved: dict[str, set[int]] = {}
    others: set[int] = set()
    pin = beginning = None
    after = 0
    for place, entry in find(_everything(log), *BEGINNINGS, *_STATED, Kind.DELIVER):
        if place != after:
            pin = None  # another entry came between
        after = place + 1
        if entry.kind in BEGINNINGS:
            beginning = entry
        elif beginning and entry.time_ns == beginning.time_ns and entry.kind in _STATED:
            continue  # the entry only states a level: nothing has moved
        elif entry.kind is Kind.PIN:
            pin = entry
        elif entry.kind is Kind.LINE and pin and pin.value == entry.value:
            moved.setdefault(pin.device, set()).add(entry.offset)
        elif entry.kind is Kind.LINE:
            others.add(entry.offset)
            pin = None
        elif entry.kind is not Kind.DELIVER:
            pin = None
    return {
        device: {gsi for gsi in gsis if gsi >= _FIRST_LEVEL_GSI or gsi not in others} for device, gsis in moved.items()
    }


def _used(gsis: set[int], *by: set[int]) -> set[int]:
    """The members of ``gsis`` in the first set of ``by`` that has any of them; all of ``gsis`` if no set has."""
    return next((common for each in by if (common := gsis & each)), gsis)


def dropped_entries(log: Log) -> Verdict:
    """The log holds everything that happened. If it does not, every other judge refuses it."""
    dropped = log.header.dropped
    what = Finding(f"{dropped} entries did not fit into the log's {log.header.capacity}; enlarge it")
    return Verdict("the log is complete", log.header.head + dropped, (what,) if dropped else ())


def masked_before_eoi(log: Log, device: str, gsi: int) -> Verdict:
    """Every claim of the device left it masked before the line's interrupt could come again.

    A claim is a handling during which the kernel accessed the device while its pin was high (on the vCPU that sent the
    EOI, since others may be unmasking). A handling during which the pin was always high is also a claim, because a
    driver should have accessed the device. Between the claim and the handling's end (see ``Handling``) the device must
    become masked. An owner on another vCPU that is faster than the neighbours' handlers may unmask the device again
    before the end. The pin of a device that asserts only after its handler ran may be high at the EOI: the controller
    then delivers again. A handling that has not ended is not judged.
    """
    masks, claims = high(log, Kind.MASK, device), _claims(log, device, gsi)
    ends = [mask.last for mask in masks]

    def masked(claimed: int, end: int) -> bool:
        position = bisect.bisect_right(ends, claimed)
        return position < len(masks) and masks[position].first <= end

    findings = [
        Finding(f"line {gsi} was ended while {device} was claimed and never masked", proof)
        for proof, claimed, end in claims
        if not masked(claimed, end)
    ]
    return Verdict(f"{device} is masked before line {gsi} is ended", len(claims), tuple(findings))


def silent_before_eoi(log: Log, device: str, gsi: int) -> Verdict:
    """Every claim of the device made its pin fall before the line's interrupt could come again.

    This rule is for programs that acknowledge and do not mask. Claims are those of ``masked_before_eoi``.
    """
    pins, claims = high(log, Kind.PIN, device), _claims(log, device, gsi)
    findings = [
        Finding(f"line {gsi} was ended while {device} was claimed and still asserted", proof)
        for proof, claimed, end in claims
        if (pin := _at(pins, end)) and pin.holds(claimed)
    ]
    return Verdict(f"{device} is silent before line {gsi} is ended", len(claims), tuple(findings))


def line_low_at_end(log: Log, gsi: int) -> Verdict:
    """The line is low at the end of the log. Examines one case, or none if the line never moved."""
    intervals = high(log, Kind.LINE, gsi=gsi)
    moved = gsi in offsets(_everything(log), Kind.LINE)
    stuck = [Finding(f"line {gsi} is high at the end of the log", it.proof) for it in intervals if it.end is None]
    return Verdict(f"line {gsi} is low at the end", int(moved), tuple(stuck))


def no_line_high_longer_than(log: Log, bound_ns: int, gsi: int, until_ns: int | None = None) -> Verdict:
    """While the line is high, its interrupt is delivered or ended at least every ``bound_ns`` of virtual time.

    A line that is high and quiet for longer has been forgotten: a handler hangs, or the kernel has disabled the line. A
    line that is high at the log's end is taken to stay high until ``until_ns``, and at least until the last entry of
    any kind. Examines every interval in which the line was high.

    If the log does not follow the controller, the level alone proves the rule for a line that was low again within
    ``bound_ns`` each time; for any other line `CannotJudge` is raised.
    """
    intervals = high(log, Kind.LINE, gsi=gsi)
    if not is_followed(log):
        return _low_in_time(intervals, bound_ns, gsi)
    until = max(until_ns or 0, log.entries[-1].time_ns if log.entries else 0)
    kinds = (Kind.LINE, Kind.DELIVER, Kind.EOI)
    # If the line is high where the log was cut, its quiet time began with the last activity before the cut.
    before = last(log.past, *kinds, offset=gsi)
    begin = before.time_ns if before else 0
    activity = find(log.entries, *kinds[1:], offset=gsi)
    places = [index for index, _ in activity]
    findings = []
    for line in intervals:
        active = [
            entry for _, entry in activity[bisect.bisect(places, line.first) : bisect.bisect_left(places, line.last)]
        ]
        times = [
            line.start.time_ns if line.start else begin,
            *(entry.time_ns for entry in active),
            line.end.time_ns if line.end else max(until, begin),
        ]
        quiet, at = max((later - earlier, index) for index, (earlier, later) in enumerate(pairwise(times)))
        if quiet > bound_ns:
            around = (line.start, *active, line.end)[at : at + 2]
            what = (
                f"line {gsi} was high without a delivery or EOI for {duration(quiet)}, allowed are {duration(bound_ns)}"
            )
            findings.append(Finding(what, tuple(entry for entry in around if entry)))
    return Verdict(_forgotten(gsi), len(intervals), tuple(findings))


def _forgotten(gsi: int) -> str:
    return f"line {gsi} is never high and forgotten"


def _low_in_time(intervals: Sequence[Interval], bound_ns: int, gsi: int) -> Verdict:
    for it in intervals:
        if it.start is None or it.end is None or it.end.time_ns - it.start.time_ns > bound_ns:
            until = f"until {it.end.time_ns} ns" if it.end else "to the end of the log"
            raise CannotJudge(f"line {gsi} is high {until}, too long to be judged by its level alone. {_NOT_FOLLOWED}")
    return Verdict(_forgotten(gsi), len(intervals), note="by its level alone, the log does not follow the controller")


def line_never_masked(log: Log, gsi: int) -> Verdict:
    """The line is never masked for all its users. Examines every delivery of the line.

    Judge a part of the log (``log.since``) in which the line has users throughout: the first sharer unmasks it, the
    last one to leave masks it. Threaded handlers and moving interrupts between CPUs mask it for a moment, too.
    Raises `CannotJudge` if the line moved and its mask is not in the log.
    """
    require_followed(log, gsi)
    masked = [it for it in high(log, Kind.LINE_MASK, gsi=gsi) if it.start]
    findings = tuple(Finding(f"line {gsi} was masked for everyone", it.proof) for it in masked)
    return Verdict(f"line {gsi} is never masked for everyone", len(log.of(Kind.DELIVER, offset=gsi)), findings)


def neighbour_lost(
    log: Log, calls: Iterable[HandlerCall], fit: ClockFit, device: str, irq: int, name: str | None = None
) -> Verdict:
    """The neighbour lost no interrupt: each assertion of its pin was ended by a handled call of its own handler.

    ``irq`` is the kernel's number, ``name`` the handler's (None: any on that irq). The pin must fall during such a
    call, widened by the tolerance. Assertions that began before the first clock mark or ended after the last mark are
    not judged, so turn tracing on before the first mark and off after the last one. A pin that is still high when the
    log ends is a finding.
    """
    own = _calls(calls, fit, irq, name)
    handled = [(low, top) for low, top, call in own if call.handled]
    lows, tops = [low for low, _ in handled], list(accumulate((top for _, top in handled), max))
    begin, end = fit.window(fit.span_ns[0])[0], fit.window(fit.span_ns[1])[1]
    checked, findings = 0, []
    for it in assertions(log, device):
        if it.start is None or not begin <= it.start.time_ns <= end or (it.end and it.end.time_ns > end):
            continue
        checked += 1
        if it.end is None:
            findings.append(Finding(f"{device} is still asserting when the log ends", it.proof))
            continue
        fell = it.end.time_ns
        position = bisect.bisect_right(lows, fell) - 1
        if position < 0 or tops[position] < fell:
            latest = [call for low, _, call in own if low <= fell][-1:]
            what = f"{device} stopped asserting, but not during a call of its handler that returned handled"
            findings.append(Finding(what, it.proof, tuple(latest)))
    note = f"{len(handled)} calls handled, {len(own) - len(handled)} unhandled; {_tolerance(fit)}"
    return Verdict(f"{device} loses no interrupt", checked, tuple(findings), note)


def false_claims(
    log: Log, calls: Iterable[HandlerCall], fit: ClockFit, device: str, irq: int, name: str | None = None
) -> Verdict:
    """The device's handler claims only its own interrupts: no call returns handled while its pin is low throughout.

    The claim test reads the device during the call, so the pin must have been high at some moment between the call's
    entry and exit, each widened by the tolerance. Examines the calls that returned handled between the first and the
    last clock mark.
    """
    pins = high(log, Kind.PIN, device)
    starts = [it.start.time_ns if it.start else 0 for it in pins]
    begin, end = fit.span_ns
    checked, findings = 0, []
    for low, top, call in _calls(calls, fit, irq, name):
        if not call.handled or call.entry_s * 1e9 < begin or call.exit_s * 1e9 > end:
            continue
        checked += 1
        pin = pins[position] if (position := bisect.bisect_right(starts, top) - 1) >= 0 else None
        if pin is None or (pin.end and pin.end.time_ns < low):
            findings.append(Finding(f"{device} was claimed while its pin was low", pin.proof if pin else (), (call,)))
    return Verdict(f"{device} is claimed only when it asserts", checked, tuple(findings), _tolerance(fit))


def _require_judgeable(log: Log) -> None:
    log.require_complete()
    if find(_everything(log)[1:], *BEGINNINGS):
        raise BrokenRuleError(
            "the VM was started or restored, or its log switched on in the middle of this log: "
            "judge one of log.epochs()"
        )


def _at(intervals: Sequence[Interval], index: int) -> Interval | None:
    """The interval that holds this entry; the intervals are disjoint and in order."""
    position = bisect.bisect_right(intervals, index, key=lambda it: it.first) - 1
    return intervals[position] if position >= 0 and intervals[position].holds(index) else None


def _cause(log: Log, fall: int) -> Entry | None:
    """The entry that caused the pin's fall at this position. A device logs an access directly before its effects."""
    device, vcpu = log.entries[fall].device, log.entries[fall].vcpu
    for entry in (log.entries[index] for index in range(fall - 1, -1, -1)):
        if entry.device != device or entry.vcpu != vcpu:
            return None
        if entry.kind is not Kind.MASK:
            return entry if entry.kind in (Kind.READ, Kind.WRITE, Kind.LAND, Kind.LOWER, Kind.RESET) else None
    return None


def _claims(log: Log, device: str, gsi: int) -> list[tuple[tuple[Entry, ...], int, int]]:
    """For each claim (see ``masked_before_eoi``): the proof, and the positions of the claim and the handling's end."""
    require_followed(log, gsi)
    pins = high(log, Kind.PIN, device)
    accesses = find(log.entries, Kind.READ, Kind.WRITE, device=device)
    places = [index for index, _ in accesses]
    claims: list[tuple[tuple[Entry, ...], int, int]] = []
    for handling in handlings(log, gsi):
        if handling.end is None or handling.eoi is None:
            continue
        vcpus = {handling.eoi.vcpu} if handling.end is handling.eoi else range(256)
        during = accesses[bisect.bisect_left(places, handling.first) : bisect.bisect_left(places, handling.last)]
        touched = (
            (index, entry) for index, entry in during if entry.ring != 3 and entry.vcpu in vcpus and _at(pins, index)
        )
        if claimed := next(touched, None):
            claims.append(((handling.deliver, claimed[1], handling.end), claimed[0], handling.last))
        elif (pin := _at(pins, handling.first)) and pin.holds(handling.last):
            claims.append(((handling.deliver, handling.end), handling.first, handling.last))
    return claims


def _calls(
    calls: Iterable[HandlerCall], fit: ClockFit, irq: int, name: str | None
) -> list[tuple[float, float, HandlerCall]]:
    """The handler's calls with the earliest and latest virtual times in ns at which they can have run, in order."""
    return [
        (
            fit.window(call.entry_s * 1e9 - TRACE_ROUNDING_NS)[0],
            fit.window(call.exit_s * 1e9 + TRACE_ROUNDING_NS)[1],
            call,
        )
        for call in sorted(calls, key=lambda call: call.entry_s)
        if call.irq == irq and name in (None, call.name)
    ]


def _tolerance(fit: ClockFit) -> str:
    return f"times agree within {duration(2 * fit.error_ns + TRACE_ROUNDING_NS)}"
