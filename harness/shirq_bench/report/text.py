# SPDX-License-Identifier: MIT
"""A picture as a timeline for the terminal: one line for each event, with its origin; repetitions are collapsed."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from itertools import groupby

from rich.console import Console
from rich.text import Text

from shirq_bench.observe import words
from shirq_bench.report.model import Event, Picture

# A repetition is recognised only if its round has at most this many bursts.
LONGEST_ROUND = 8

STYLES = {
    words.KERNEL: "blue",
    words.USER: "green",
    words.GUEST: "green",
    words.DEVICE: "yellow",
    words.BENCH: "magenta",
    words.CONTROLLER: "bold",
}


def show(picture: Picture, console: Console | None = None) -> None:
    """Print the timeline; without colours if the console is not a terminal."""
    console = console or Console()
    for line in _lines(picture):
        console.print(line, soft_wrap=True, highlight=False)


def show_verdicts(picture: Picture, console: Console) -> None:
    """Print only the head of the timeline: the rules and their verdicts."""
    for line in _head(picture):
        console.print(line, soft_wrap=True, highlight=False)


def render(picture: Picture) -> str:
    """The timeline as plain text."""
    console = Console(file=io.StringIO(), color_system=None, force_terminal=False)
    show(picture, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def _head(picture: Picture) -> Iterator[Text]:
    span = words.duration(picture.end_ns - picture.start_ns)
    yield Text(f"{picture.title}: line {picture.gsi}, {len(picture.events)} events in {span}", style="bold")
    if picture.dropped:
        yield Text(f"INCOMPLETE: the log dropped {picture.dropped} entries", style="bold red")
    for verdict in picture.verdicts:
        first, *rest = str(verdict).splitlines()
        word, style = ("ok", "green") if verdict.ok and verdict.checked else ("BROKEN", "bold red")
        if verdict.ok and not verdict.checked:
            word, style = "nothing to judge", "yellow"
        yield Text.assemble((f"  {word:7}", style), f" {first}")
        yield from (Text(f"          {line}") for line in rest)


def _lines(picture: Picture) -> Iterator[Text]:
    yield from _head(picture)
    yield Text(f"{'time':>14}  {'since':>9}  {'who':10}  what", style="dim")
    before = picture.start_ns
    for bursts, count, last in _collapse(_bursts(picture.events, picture.pause_ns)):
        for burst in bursts:
            if (idle := burst[0].time_ns - before) > picture.pause_ns:
                yield Text(f"{'':14}  ... {words.duration(idle)} ...", style="dim")
                before = burst[0].time_ns
            for same in _repeats(burst):
                event, times = same[0], len(same)
                more = f" (x {times}, over {words.duration(same[-1].time_ns - event.time_ns)})" if times > 1 else ""
                yield Text.assemble(
                    f"{(event.time_ns - picture.start_ns) / 1000:11.3f} µs  ",
                    (f"{(event.time_ns - before) / 1000:+9.3f}", "dim"),
                    "  ",
                    (f"{event.who:10}", STYLES.get(event.who, "")),
                    f"  {event.what}{more}",
                )
                before = same[-1].time_ns
        if count > 1:
            until, events = (last.time_ns - picture.start_ns) / 1000, sum(map(len, bursts))
            line = f"... the last {events} events repeat x {count - 1}, until {until:.3f} µs ..."
            yield Text(f"{'':14}  {line}", style="bold dim")
            before = last.time_ns


def _bursts(events: Sequence[Event], pause_ns: int) -> list[list[Event]]:
    bursts: list[list[Event]] = []
    for event in events:
        if not bursts or event.time_ns - bursts[-1][-1].time_ns > pause_ns:
            bursts.append([])
        bursts[-1].append(event)
    return bursts


def _collapse(bursts: Sequence[list[Event]]) -> Iterator[tuple[Sequence[list[Event]], int, Event]]:
    """Each round of up to ``LONGEST_ROUND`` bursts, how often it occurs in a row, and its very last event."""
    said = [[(event.who, event.what) for event in burst] for burst in bursts]
    start = 0
    while start < len(bursts):
        period, count = 1, 1
        for tried in range(1, LONGEST_ROUND + 1):
            rounds, first = 1, said[start : start + tried]
            while said[start + rounds * tried : start + (rounds + 1) * tried] == first:
                rounds += 1
            if rounds > 1 and rounds * tried > period * count:
                period, count = tried, rounds
        yield bursts[start : start + period], count, bursts[start + period * count - 1][-1]
        start += period * count


def _repeats(events: Sequence[Event]) -> Iterator[list[Event]]:
    """Successive events with the same text."""
    return (list(same) for _, same in groupby(events, key=lambda event: (event.who, event.what)))
