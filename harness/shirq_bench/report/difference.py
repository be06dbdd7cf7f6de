# SPDX-License-Identifier: MIT
"""Explains one run by another: where their events part, what each did there, and what followed.

Only the events of one line and its devices are compared, without their times: two runs of one story differ in times,
and other lines have nothing to do with it. The run that is explained is called ``one``, the other one is its reference.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, zip_longest

from shirq_bench import pages
from shirq_bench.channels.log import BEGINNINGS, NONE, OF_CONTROLLER, Entry, Kind, Log, find, joined
from shirq_bench.errors import CannotJudge
from shirq_bench.observe import judge, words
from shirq_bench.observe.judge import BrokenRuleError
from shirq_bench.observe.words import duration, phrase
from shirq_bench.report import html, model

#: Number of events of each run that are shown from the parting on, and of common events before it.
_SHOWN, _BEFORE = 14, 3
#: Maximum number of log entries in a picture: those before the parting, and those after it.
_PICTURED_BEFORE, _PICTURED_AFTER = 200, 1500
#: The kind of the entry that begins what an entry of the controller ends.
_BEGINS = {Kind.EOI: Kind.DELIVER}
#: Entries that say where something was or what the bench did, not what happened on the line.
_ASIDE = (*BEGINNINGS, Kind.OFF, Kind.WHERE, Kind.SCHEDULED)
_STATED = (Kind.PIN, Kind.LINE, Kind.LINE_MASK, Kind.MASK)


@dataclass(frozen=True)
class Run:
    """A run by its name in sentences and its log.

    ``title`` says more than the name. ``broken`` are the rules that it breaks, in words.
    """

    name: str
    log: Log
    title: str = ""
    broken: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        """The run's picture for notebooks; if no pin moved, the table of its log."""
        if not self.log.of(Kind.PIN):
            return self.log._repr_html_()
        return model.build(self.log, title=self.title or self.name)._repr_html_()


@dataclass(frozen=True)
class Moment:
    """An event of one run. ``index`` is its place in the log's entries; ``since_ns`` counts from the parting."""

    index: int
    entry: Entry
    since_ns: int


@dataclass(frozen=True)
class Difference:
    """Two runs, one above the other. ``common`` is the number of events before they part.

    ``before`` are the last common events, as ``one`` has them; ``moments`` are the events of each run from the parting
    on. Both are empty if the runs do not part. ``words`` are sentences.
    """

    runs: tuple[Run, Run]
    gsi: int | None
    common: int
    before: tuple[Moment, ...]
    moments: tuple[tuple[Moment, ...], tuple[Moment, ...]]
    words: tuple[str, ...]

    @property
    def parts(self) -> bool:
        """Whether the runs differ in any event."""
        return any(self.moments)

    def _repr_html_(self) -> str:
        """The explanation's page, in a frame of its own, for notebooks."""
        return html.frame(page(self), _title(self))


def explain(one: Run, other: Run, gsi: int | None = None, also: Sequence[str] = ()) -> Difference:
    """Compare a run with its reference on line ``gsi``, by default the line of their devices.

    ``also`` are sentences from elsewhere, for example about the function in which the runs part.
    """
    runs = (_last_epoch(one), _last_epoch(other))
    gsi = gsi if gsi is not None else _line(runs)
    devices = {device for run in runs for device in _devices(run.log)}
    stories = [list(_story(run.log, devices, gsi)) for run in runs]
    events = ((_event(entry) for _, entry in story) for story in stories)
    place = next((n for n, (a, b) in enumerate(zip_longest(*events)) if a != b), None)
    if place is None:
        said = [f"The runs have the same {len(stories[0])} events on this line, in the same order.", *also]
        return Difference(runs, gsi, len(stories[0]), (), ((), ()), tuple(said))
    starts = [story[place - 1][1].time_ns if place else story[0][1].time_ns if story else 0 for story in stories]
    moments = [
        tuple(Moment(index, entry, entry.time_ns - start) for index, entry in story[place:])
        for story, start in zip(stories, starts, strict=True)
    ]
    before = tuple(
        Moment(index, entry, entry.time_ns - starts[0]) for index, entry in stories[0][max(0, place - _BEFORE) : place]
    )
    told = _Teller(runs, gsi, place, before, moments)
    return Difference(runs, gsi, place, before, (moments[0], moments[1]), (*told.sentences(), *also))


def _last_epoch(run: Run) -> Run:
    """The run with the part of its log in which levels and time are continuous."""
    log = run.log.kept()
    return replace(run, log=log.epochs()[-1] if find(log.entries[1:], *BEGINNINGS) else log)


def _line(runs: Sequence[Run]) -> int | None:
    """The line of the first run whose log shows it."""
    for run in runs:
        try:
            moved = [device for device in _devices(run.log) if judge.lines_moved(run.log, device)]
            return judge.line_of(run.log, moved[:1])
        except (BrokenRuleError, CannotJudge):
            continue
    return None


def _devices(log: Log) -> list[str]:
    """The devices that are part of the story: those that are accessed or raised, or else those that move a pin."""
    active = {entry.device for entry in log.of(Kind.READ, Kind.WRITE, Kind.RAISE)}
    return [device for device in log.header.devices if device in active] or sorted(
        {entry.device for entry in log.of(Kind.PIN)}
    )


def _story(log: Log, devices: set[str], gsi: int | None) -> Iterator[tuple[int, Entry]]:
    """The events of the line and its devices with their places, without clock marks; repeated reads count once.

    What other devices alone do with the line is left out: a neighbour has its own story.
    """
    levels = _Levels()
    for entry in log.past:
        levels.see(entry, gsi)
    ours: dict[Kind, bool] = {}
    own: list[tuple[int, Entry]] = []
    began = None
    for index, entry in enumerate(log.entries):
        levels.see(entry, gsi)
        if entry.kind in BEGINNINGS:
            began = entry.time_ns
        # A log begins with entries that state the levels: nothing has happened yet.
        if entry.time_ns == began and entry.kind in _STATED:
            continue
        if entry.kind in _ASIDE or (entry.kind in (Kind.MARK, Kind.WRITE) and entry.width == 8):
            continue
        if entry.kind not in OF_CONTROLLER:
            counts = entry.device in devices
        elif entry.offset != gsi:
            counts = False
        elif entry.kind is Kind.DELIVER or (entry.kind is Kind.LINE and entry.value):
            counts = ours[entry.kind] = not levels.pins.isdisjoint(devices)
        else:
            counts = ours.get(_BEGINS.get(entry.kind, entry.kind), True)
        if counts:
            own.append((index, entry))
    for _, same in groupby(own, key=lambda each: _event(each[1]) if each[1].kind is Kind.READ else each[0]):
        yield next(same)


def _event(entry: Entry) -> object:
    """The event of an entry. The number of an event in a driver's mark is left out."""
    return (entry._replace(value=entry.value & 0xFFFF) if entry.kind is Kind.MARK else entry).event


@dataclass
class _Levels:
    """The levels of a run at one of its moments. ``lines`` and ``masks`` are those of the line's controllers."""

    lines: set[str] = field(default_factory=set)
    masks: dict[str, bool] = field(default_factory=dict)
    pins: set[str] = field(default_factory=set)
    masked: set[str] = field(default_factory=set)

    @property
    def line(self) -> bool:
        """Whether the line is high."""
        return bool(self.lines)

    @property
    def off(self) -> bool:
        """Whether the line is masked: at all controllers that are known to mask it or not."""
        return bool(self.masks) and all(self.masks.values())

    def see(self, entry: Entry, gsi: int | None) -> None:
        if entry.kind is Kind.LINE_MASK and entry.offset == gsi:
            self.masks[entry.device] = bool(entry.value)
        elif entry.kind in (Kind.PIN, Kind.MASK) or (entry.kind is Kind.LINE and entry.offset == gsi):
            held = {Kind.PIN: self.pins, Kind.MASK: self.masked, Kind.LINE: self.lines}[entry.kind]
            (held.add if entry.value else held.discard)(entry.device)


class _Teller:
    """Says in words where two runs part and what follows from it."""

    def __init__(
        self,
        runs: Sequence[Run],
        gsi: int | None,
        place: int,
        before: Sequence[Moment],
        moments: Sequence[Sequence[Moment]],
    ) -> None:
        self.one, self.other = runs
        self.gsi, self.place, self.before = gsi, place, before
        self.mine, self.theirs = moments

    def sentences(self) -> Iterator[str]:
        if self.before:
            last = self.before[-1].entry
            yield f"Both runs have the same {self.place} events until {phrase(last)}, at {last.time_ns / 1000:.3f} µs."
        else:
            yield "The runs differ from their first event on."
        yield self._instead()
        yield from self._followed()
        yield from self._ended()
        for rule in self.one.broken:
            yield f"So {self.one.name} breaks the rule: {rule.strip().partition(chr(10))[0]}"

    def _instead(self) -> str:
        """What each run does at the parting, and whether the other one does it later."""
        said = []
        for name, mine, others in ((self.other.name, self.theirs, self.mine), (self.one.name, self.mine, self.theirs)):
            if not mine:
                said.append(f"{name} has no further event")
                continue
            first = mine[0]
            late = next((each for each in others if _same(each, first)), None)
            word = f"{name}, {duration(first.since_ns)} later: {phrase(first.entry)}"
            other = self.one.name if mine is self.theirs else self.other.name
            if late is None:
                word += f" ({other} never does this after that)"
            elif late is not others[0] and (between := _telling(others, late)):
                word += f" ({other} does this only after {words.phrase(between.entry)})"
            said.append(word)
        return f"Then {'; but '.join(said)}."

    def _followed(self) -> Iterator[str]:
        """The consequence in the explained run: an end of interrupt while the line is high, and what it brings."""
        run, mine = self.one, self.mine
        if not mine or self.gsi is None:
            return
        levels = _Levels()
        for entry in (*run.log.past, *run.log.entries[: mine[0].index]):
            levels.see(entry, self.gsi)
        told = False
        for moment in mine:
            entry = moment.entry
            if entry.kind is Kind.EOI and levels.line and not told:
                told = True
                yield self._again(moment, levels)
            was_off = levels.off
            levels.see(entry, self.gsi)
            if levels.off and not was_off:
                yield f"{run.name} masks line {self.gsi} for everyone, {duration(moment.since_ns)} after the parting."

    def _again(self, end: Moment, levels: _Levels) -> str:
        holders = ", ".join(sorted(levels.pins)) or "a device"
        text = (
            f"{self.one.name} ends the interrupt {duration(end.since_ns)} after the parting while line {self.gsi} is"
            f" still high: {holders} asserts"
        )
        later = self.mine[self.mine.index(end) + 1 :]
        delivered = [moment for moment in later if moment.entry.kind is Kind.DELIVER]
        if not delivered:
            return f"{text}. It is not delivered again."
        again = delivered[0]
        text += f". So it is delivered again, {duration(again.since_ns - end.since_ns)} after this"
        lowered = next((m for m in later if m.entry.kind is Kind.LINE and not m.entry.value), None)
        count = sum(1 for moment in delivered if not lowered or moment.index < lowered.index)
        if count > 1:
            text += f", {count} times before the line is low" if lowered else f", {count} times until the run ends"
        return f"{text}."

    def _ended(self) -> Iterator[str]:
        """The levels at the end of the runs that differ."""
        ends = []
        for run in (self.one, self.other):
            levels = _Levels()
            for entry in joined(run.log.past, run.log.entries):
                levels.see(entry, self.gsi)
            left = [f"{device} asserts" for device in sorted(levels.pins)]
            left += [f"line {self.gsi} is high"] * levels.line + [
                f"line {self.gsi} is masked for everyone"
            ] * levels.off
            left += [f"{device} is masked" for device in sorted(levels.masked)]
            ends.append(left)
        for run, mine, others in ((self.one, ends[0], ends[1]), (self.other, ends[1], ends[0])):
            if only := [each for each in mine if each not in others]:
                yield f"At the end of {run.name} alone, {' and '.join(only)}."


def _same(one: Moment, other: Moment) -> bool:
    return _event(one.entry) == _event(other.entry)


def _telling(moments: Sequence[Moment], until: Moment) -> Moment | None:
    """The event before ``until`` that says most: an end of interrupt, a delivery, or else the first one."""
    between = [moment for moment in moments if moment.index < until.index]
    for kind in (Kind.EOI, Kind.DELIVER, Kind.PIN):
        if found := next((moment for moment in between if moment.entry.kind is kind), None):
            return found
    return between[0] if between else None


# ------------------------------------------------------------------- show


def text(difference: Difference) -> str:
    """The explanation as plain text: the sentences, then the runs, one above the other."""
    lines = [f"{run.name}: {run.title}" for run in difference.runs if run.title]
    lines += [*difference.words, ""]
    if difference.parts:
        lines += ["the last common events:", *map(_row, difference.before)]
        for run, moments in zip(difference.runs, difference.moments, strict=True):
            lines += ["", f"{run.name}:", *map(_row, moments[:_SHOWN])]
            if len(moments) > _SHOWN:
                lines.append(f"{'':14}  ... and {len(moments) - _SHOWN} more events")
    return "\n".join(lines).rstrip() + "\n"


def _row(moment: Moment) -> str:
    entry = moment.entry
    cpu = "" if entry.vcpu == NONE else f" (vCPU {entry.vcpu})"
    return f"{moment.since_ns / 1000:+11.3f} µs  {words.who(entry) + cpu:20}  {words.what(entry)}"


def page(difference: Difference) -> str:
    """The explanation as a self-contained web page, with a picture of each run around the parting."""
    runs = [
        {
            "name": run.name,
            "rows": [(f"{moment.since_ns / 1000:+.3f}", phrase(moment.entry)) for moment in moments[:_SHOWN]],
            "more": max(0, len(moments) - _SHOWN),
            "picture": _picture(difference, number),
        }
        for number, (run, moments) in enumerate(zip(difference.runs, difference.moments, strict=True))
    ]
    before = [(f"{moment.since_ns / 1000:+.3f}", phrase(moment.entry)) for moment in difference.before]
    return pages.render(
        __package__, "difference.html", title=_title(difference), words=difference.words, before=before, runs=runs
    )


def _title(difference: Difference) -> str:
    return " and ".join(run.title or run.name for run in difference.runs)


def _picture(difference: Difference, number: int) -> str | None:
    """The picture of a run from before the parting on; None if no pin moved there."""
    run, moments = difference.runs[number], difference.moments[number]
    at = moments[0].index if moments else len(run.log.entries)
    start = max(0, at - _PICTURED_BEFORE)
    shown = Log(
        run.log.header,
        run.log.entries[start : at + _PICTURED_AFTER],
        joined(run.log.past, run.log.entries[:start]),
    )
    if difference.gsi is None or not shown.of(Kind.PIN):
        return None
    roles = dict.fromkeys(_devices(run.log), "")
    return html.render(model.build(shown, title=run.name, gsi=difference.gsi, roles=roles))
