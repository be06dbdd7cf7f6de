# SPDX-License-Identifier: MIT
"""The moments at which lines died: while the machine or a driver started, while it resumed, or later."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from shirq_bench.intake.facts import Death, Event, EventKind, Facts, Moment
from shirq_bench.intake.tables import TABLES
from shirq_bench.intake.text import Stamp, TextLine

#: A line that dies so many seconds after the boot, or after a driver's first message, died because something started.
_BOOTING_S: Final = 30.0
_STARTING_S: Final = 5.0
#: A line that dies so many seconds after a resume died because of it: drivers go on resuming after the message.
_RESUMING_S: Final = 5.0
_BOOT = re.compile(r"Linux version [2-9]\.|(?:Kernel c|C)ommand line: ")
_SLEEP = re.compile(r"PM: suspend entry|(?:ACPI: )?PM: (?:Preparing to enter system sleep|Waking up from system sleep)")
_AWAKE = re.compile(r"PM: suspend exit")
#: The first message of a driver about a function tells that it was loaded.
_DRIVER = re.compile(
    r"(?P<driver>[A-Za-z0-9][\w-]*) (?P<function>(?:[0-9a-f]{4}:)?[0-9a-f]{2}:[01][0-9a-f]\.[0-7])\b.*?: \S"
)
_NO_DRIVER: Final = ("pci", "pcieport", "acpi", "iommu", "DMAR")
_MODULE = re.compile(r"[\w-]+: loading out-of-tree module")


def find(lines: Sequence[TextLine], facts: Facts) -> None:
    """Add the events that tell the moment of a death."""
    known: set[tuple[str, str, str]] = set()
    for place, line in enumerate(lines):
        text = line.text.strip()
        if _BOOT.match(text):
            # Another boot loads all drivers again.
            known.clear()
            kind = EventKind.BOOT
        elif _SLEEP.match(text):
            kind = EventKind.SLEEP
        elif _AWAKE.match(text):
            kind = EventKind.AWAKE
        elif line.stamp and _starts(text, line.at.file, known):
            kind = EventKind.DRIVER
        else:
            continue
        facts.events.append(Event(kind, place, line.stamp))


def _starts(text: str, file: str, known: set[tuple[str, str, str]]) -> bool:
    """Whether a driver begins to work with this message; ``known`` are the drivers and functions that did before."""
    if _MODULE.match(text) or any(re.match(rf"(?:\w+: )?{banner.pattern}", text) for banner in TABLES.banner):
        return True
    match = _DRIVER.match(text)
    if not match or match["driver"] in _NO_DRIVER:
        return False
    key = (file, match["driver"], match["function"])
    if key in known:
        return False
    known.add(key)
    return True


def settle(deaths: Sequence[Death], facts: Facts, boot_of: Callable[[int], tuple[str, int]]) -> None:
    """Tell each death its moment. ``boot_of`` gives the boot of a place."""
    for death in deaths:
        mine = boot_of(death.place)
        death.moment = _moment(death, [one for one in facts.events if boot_of(one.place) == mine])


def _moment(death: Death, events: Sequence[Event]) -> Moment | None:
    before = [one for one in events if one.place < death.place]
    slept = [one for one in before if one.kind in (EventKind.SLEEP, EventKind.AWAKE)]
    if slept and (slept[-1].kind is EventKind.SLEEP or _within(slept[-1], death, _RESUMING_S)):
        return Moment.RESUME
    if any(_within(one, death, _STARTING_S) for one in before if one.kind is EventKind.DRIVER):
        return Moment.START
    ages = [*_ages(death, [one for one in before if one.kind is EventKind.BOOT])]
    if not ages:
        return None
    return Moment.START if min(ages) < _BOOTING_S else Moment.LATE


def _ages(death: Death, boots: Sequence[Event]) -> Iterator[float]:
    """The seconds from the boot to a death, by the log's own clock or by the clock on the wall."""
    if death.stamp and death.stamp.seconds is not None:
        yield death.stamp.seconds
    for boot in boots:
        if (seconds := _between(boot.stamp, death.stamp)) is not None:
            yield seconds


def _within(event: Event, death: Death, seconds: float) -> bool:
    apart = _between(event.stamp, death.stamp)
    return apart is not None and 0 <= apart <= seconds


def _between(first: Stamp | None, second: Stamp | None) -> float | None:
    """Seconds from one stamp to another; None if they have no clock in common, or a new year is between them."""
    if not first or not second:
        return None
    if first.seconds is not None and second.seconds is not None:
        return second.seconds - first.seconds
    if first.wall is None or second.wall is None:
        return None
    apart = (_time(second.wall) - _time(first.wall)).total_seconds()
    return apart if apart >= 0 else None


def _time(wall: tuple[int, int, int, int, int]) -> datetime.datetime:
    # A leap year has every day that a log can name.
    month, day, hour, minute, second = wall
    return datetime.datetime(2000, month, day, hour, minute, min(second, 59))
