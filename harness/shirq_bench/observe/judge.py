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

A line is named by its number at the interrupt controllers, on a PC the GSI. Several controllers may have a line as an
input: the 8259 and the I/O APIC share the lines below 16. The line is delivered by the one at which it is unmasked, and
its interrupt ends at the one that delivered it. A pin may also move several lines, of which the guest uses one.

A judge raises `CannotJudge`, which is no verdict, if evidence is missing: the log has dropped entries, or the
interrupts went through a controller that the log does not follow.
"""

from __future__ import annotations

import bisect
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, pairwise

from shirq_bench import pages
from shirq_bench.channels.log import (
    BEGINNINGS,
    BY_PIN,
    ClockFit,
    Entry,
    HandlerCall,
    Kind,
    Log,
    find,
    joined,
    last,
    offsets,
    sources,
)
from shirq_bench.errors import CannotJudge
from shirq_bench.observe.words import SETTINGS, duration, phrase

# The kernel prints trace times rounded to the nearest microsecond.
TRACE_ROUNDING_NS = 500
#: The number of violations that a verdict shows.
_SHOWN = 5
_INTX_PIN = SETTINGS.index("intx-pin")
_NOT_FOLLOWED = (
    "The log has no masks and no deliveries: the guest's interrupts go through a controller that the log does not "
    "follow, such as KVM's own (kernel-irqchip=on)"
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

    def _repr_html_(self) -> str:
        """The same as the text, for notebooks."""
        return pages.render(__package__, "verdict.html", verdict=self, shown=_SHOWN)

    def __str__(self) -> str:
        count = f"{len(self.findings)} of {self.checked} broke it" if self.findings else f"held in {self.checked}"
        shown = [f"  - {finding}" for finding in self.findings[:_SHOWN]]
        if len(self.findings) > _SHOWN:
            shown.append(f"  ... and {len(self.findings) - _SHOWN} more")
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


def high(log: Log, kind: Kind, device: str | None = None, gsi: int | None = None) -> list[Interval]:
    """The intervals in which a level was high: PIN or MASK of a device, LINE or LINE_MASK of a line.

    A line is high if it is high at one of its controllers, and masked if it is masked at all of them.
    """
    _require_judgeable(log)
    # Masks are set unless they are cleared, so the sources are counted that have cleared theirs.
    counted = kind not in (Kind.MASK, Kind.LINE_MASK)
    names = [device] if device else sources(log.past, kind)
    before = (last(log.past, kind, device=name, offset=gsi) for name in names)
    differ = {entry.device for entry in before if entry and bool(entry.value) == counted}
    intervals: list[Interval] = []
    start: tuple[int, Entry | None] | None = (0, None) if bool(differ) == counted else None
    for index, entry in find(log.entries, kind, device=device, offset=gsi):
        (differ.add if bool(entry.value) == counted else differ.discard)(entry.device)
        level = bool(differ) == counted
        if level and not start:
            start = (index, entry)
        elif not level and start:
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
    """Each delivery of the line with the EOI at the same controller.

    An EOI whose delivery is before the log's beginning is left out.
    """
    masked = high(log, Kind.LINE_MASK, gsi=gsi)  # raises CannotJudge
    found: list[Handling] = []
    delivered: dict[str, tuple[int, Entry]] = {}
    for index, entry in find(log.entries, Kind.DELIVER, Kind.EOI, offset=gsi):
        if entry.kind is Kind.DELIVER:
            delivered.setdefault(entry.device, (index, entry))
        elif entry.device in delivered:
            first, deliver = delivered.pop(entry.device)
            late = _at(masked, index)
            end, after = (late.end, late.last) if late else (entry, index)
            found.append(Handling(deliver, entry, end, first, after))
    found += [Handling(deliver, None, None, first, len(log.entries)) for first, deliver in delivered.values()]
    return sorted(found, key=lambda handling: handling.first)


def line_of(log: Log, devices: Sequence[str]) -> int:
    """The line that these devices share: of the lines that their pins move, the one that the guest uses.

    Raises BrokenRuleError if there is no such line, or several; `CannotJudge` if the line is unknown because the log
    does not follow its controller.
    """
    log.require_complete()
    moved = _moved(log)
    lines = {device: _used(log, _of(device, moved)) for device in devices}
    common = set.intersection(*lines.values()) if lines else set()
    if len(common) != 1:
        found = ", ".join(f"{device} moved {sorted(gsis)}" for device, gsis in lines.items())
        if not is_followed(log) and all(lines.values()):
            raise CannotJudge(f"cannot tell which line is in use: {found}. {_NOT_FOLLOWED}")
        raise BrokenRuleError(f"the devices do not share one line: {found}")
    return common.pop()


def lines_in_use(log: Log) -> list[int]:
    """The lines that were high and that are judged: those that a function's pin moved, and all level-triggered ones.

    Of several lines that one pin moves, only the one that the guest uses is included. Raises `CannotJudge` if pins
    moved, and no line.
    """
    log.require_complete()
    everything = _everything(log)
    high = find(everything, Kind.LINE, value=True)
    if not high and offsets(everything, Kind.PIN):
        raise CannotJudge(f"a pin moved, and no line of an interrupt controller did. {_NOT_FOLLOWED}")
    level = offsets(everything, Kind.TRIGGER, value=True)
    lines = {entry.offset for _, entry in high if entry.width or entry.offset in level}
    moved = _moved(log).values()
    return sorted(lines.union(*moved) - {gsi for gsis in moved for gsi in gsis - _used(log, gsis)})


def lines_moved(log: Log, device: str) -> set[int]:
    """All lines that the device's pin moved, whether the guest uses them or not."""
    log.require_complete()
    return _of(device, _moved(log))


def is_followed(log: Log) -> bool:
    """Whether the log has the masks, deliveries and EOIs of the guest's interrupt controllers, or only the levels."""
    everything = _everything(log)
    return bool(offsets(everything, Kind.LINE_MASK, value=False) or offsets(everything, Kind.DELIVER))


def require_followed(log: Log, gsi: int) -> None:
    """Raise `CannotJudge` unless the log follows line ``gsi``.

    The log follows the line if it follows the controllers, and the guest uses this line of those that the pins move. A
    line that never moved is accepted, unless another line did.
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


#: A function and its pin: the number of the value of `intx-pin` if that was ever changed, or else -1.
_Pin = tuple[str, int]


def _moved(log: Log) -> dict[_Pin, set[int]]:
    """The lines that each pin moved: the log says of a line's change whether the last pin caused it."""
    moved: dict[_Pin, set[int]] = {}
    chosen: dict[str, int] = {}
    device = ""
    for _, entry in find(_everything(log), Kind.PIN, Kind.LINE, Kind.SETTING):
        if entry.kind is Kind.PIN:
            device = entry.device
        elif entry.kind is Kind.LINE and entry.width == BY_PIN:
            moved.setdefault((device, chosen.get(device, -1)), set()).add(entry.offset)
        elif entry.kind is Kind.SETTING and entry.offset == _INTX_PIN:
            chosen[entry.device] = entry.value
    return moved


def _of(device: str, moved: Mapping[_Pin, set[int]]) -> set[int]:
    """The lines that the pins of a function moved."""
    return set().union(*(gsis for (mover, _), gsis in moved.items() if mover == device))


def _used(log: Log, gsis: set[int]) -> set[int]:
    """Those of a pin's lines that the guest uses.

    Firmware may route a pin to another line than the kernel, and chipsets move several lines with one pin. So lines
    that were delivered are preferred. Of several such lines, or if there is none, those that were unmasked last are in
    use; all of them if none ever was unmasked.
    """
    among = gsis & offsets(log.entries, Kind.DELIVER) or gsis
    if len(among) < 2:
        return among
    unmasked: set[tuple[str, int]] = set()
    latest: set[int] = set()
    for _, entry in find(_everything(log), *BEGINNINGS, Kind.LINE_MASK):
        if entry.kind in BEGINNINGS:
            unmasked.clear()
        elif entry.offset in among:
            (unmasked.discard if entry.value else unmasked.add)((entry.device, entry.offset))
            latest = {gsi for _, gsi in unmasked} or latest
    return latest or among


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

    If the log does not follow the controllers, the level alone proves the rule for a line that was low again within
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
    return Verdict(_forgotten(gsi), len(intervals), note="by its level alone, the log does not follow the controllers")


def line_never_masked(log: Log, gsi: int, threads_ns: int | None = None, until_ns: int | None = None) -> Verdict:
    """The line is never masked for all its users. Examines every delivery of the line.

    If handlers are threads, the kernel masks the line while they run: such a mask may last ``threads_ns``. A line that
    is masked at the log's end is taken to stay so until ``until_ns``, and at least until the last entry of any kind.

    Judge a part of the log (``log.since``) in which the line has users throughout: the first sharer unmasks it, the
    last one to leave masks it. Moving interrupts between CPUs masks it for a moment, too. Raises `CannotJudge` if the
    line moved and its mask is not in the log, or if the kernel masks the line in every interrupt, as it does at the
    8259 and with threaded handlers: the log does not tell such a mask from another one.
    """
    require_followed(log, gsi)
    late = [handling.end is not handling.eoi for handling in handlings(log, gsi) if handling.end]
    if threads_ns is None and len(late) > 1 and all(late):
        raise CannotJudge(
            f"line {gsi} is masked at the end of each of its {len(late)} interrupts: the kernel handles it so, and the "
            "log does not tell other masks from these. Use no_line_high_longer_than"
        )
    end_ns = max(until_ns or 0, log.entries[-1].time_ns if log.entries else 0)
    masked = [
        (it, (it.end.time_ns if it.end else end_ns) - it.start.time_ns)
        for it in high(log, Kind.LINE_MASK, gsi=gsi)
        if it.start
    ]
    findings = tuple(
        Finding(f"line {gsi} was masked for everyone, for {duration(length)}", it.proof)
        for it, length in masked
        if threads_ns is None or length > threads_ns
    )
    note = "" if threads_ns is None else f"while threads handle an interrupt it may be, for {duration(threads_ns)}"
    what = f"line {gsi} is never masked for everyone"
    return Verdict(what, len(log.of(Kind.DELIVER, offset=gsi)), findings, note)


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
