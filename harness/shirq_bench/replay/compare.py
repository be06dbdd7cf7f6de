# SPDX-License-Identifier: MIT
"""Compares the event logs of two runs that should be the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from shirq_bench.channels.log import Entry, Log
from shirq_bench.observe.words import phrase
from shirq_bench.replay.play import end_of


@dataclass(frozen=True)
class Comparison:
    """``identical`` means the same bytes. ``place`` is the first entry at which the events differ, times apart.

    ``place`` is None if the same events happened in the same order. ``words`` says all of this.
    """

    identical: bool
    place: int | None
    words: str


def logs(one: Log, other: Log) -> Comparison:
    """Compare two logs, each up to the end of its run, as far as it was played from a schedule."""
    first, second = (_of_the_run(log.entries) for log in (one, other))
    if one.header.devices == other.header.devices and first == second:
        return Comparison(True, None, f"the log is identical to the byte: {len(first)} entries")
    pairs = zip_longest(*((entry.event for entry in run) for run in (first, second)))
    place = next((place for place, (a, b) in enumerate(pairs) if a != b), None)
    if place is None:
        return Comparison(False, None, f"the log has the same {len(first)} events, at other times")
    here, there = (_said(entries, place) for entries in (first, second))
    return Comparison(False, place, f"the log differs first at entry {place}: {here}; in the other run: {there}")


def _said(entries: Sequence[Entry], place: int) -> str:
    if place >= len(entries):
        return "the log ends"
    return f"{phrase(entries[place])}, at {entries[place].time_ns} ns"


def _of_the_run(entries: Sequence[Entry]) -> Sequence[Entry]:
    """The entries up to the note that ends a played run; all, if there is none."""
    end = end_of(entries)
    return entries if end is None else entries[: end + 1]
