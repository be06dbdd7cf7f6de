"""A picture as a timeline for the terminal: one line an event, with who did it, repeats collapsed."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from itertools import groupby

from rich.console import Console
from rich.text import Text

from shirq_bench.report import words
from shirq_bench.report.model import Event, Picture

# A pause that is longer is said on a line of its own, and what is between two of them can be collapsed as one.
IDLE_NS = 20_000

STYLES = {
    words.KERNEL: "blue",
    words.USER: "green",
    words.GUEST: "green",
    words.DEVICE: "yellow",
    words.BENCH: "magenta",
    words.CONTROLLER: "bold",
}


def show(picture: Picture, console: Console | None = None) -> None:
    """Print the timeline; without colours where the console is no terminal."""
    console = console or Console()
    for line in _lines(picture):
        console.print(line, soft_wrap=True, highlight=False)


def render(picture: Picture) -> str:
    """The timeline as plain text."""
    console = Console(file=io.StringIO(), color_system=None, force_terminal=False)
    show(picture, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def _lines(picture: Picture) -> Iterator[Text]:
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
    yield Text(f"{'time':>14}  {'since':>9}  {'who':10}  what", style="dim")
    before = picture.start_ns
    for rounds in _collapse(_bursts(picture.events)):
        first_round, last_round = rounds[0], rounds[-1]
        if (idle := first_round[0].time_ns - before) > IDLE_NS:
            yield Text(f"{'':14}  ... {words.duration(idle)} ...", style="dim")
            before = first_round[0].time_ns
        for same in _repeats(first_round):
            event, count = same[0], len(same)
            times = f" (x {count}, over {words.duration(same[-1].time_ns - event.time_ns)})" if count > 1 else ""
            time, since = (event.time_ns - picture.start_ns) / 1000, (event.time_ns - before) / 1000
            style = STYLES.get(event.who, "")
            yield Text.assemble(
                f"{time:11.3f} µs  ",
                (f"{since:+9.3f}", "dim"),
                "  ",
                (f"{event.who:10}", style),
                f"  {event.what}{times}",
            )
            before = same[-1].time_ns
        if len(rounds) > 1:
            until = (last_round[-1].time_ns - picture.start_ns) / 1000
            lines = (
                f"the last {len(first_round)} events repeat x {len(rounds) - 1}" if len(first_round) > 1 else "repeats"
            )
            yield Text(f"{'':14}  ... {lines}, until {until:.3f} µs ...", style="dim")
            before = last_round[-1].time_ns


def _bursts(events: Sequence[Event]) -> list[list[Event]]:
    bursts: list[list[Event]] = []
    for event in events:
        if not bursts or event.time_ns - bursts[-1][-1].time_ns > IDLE_NS:
            bursts.append([])
        bursts[-1].append(event)
    return bursts


def _said(events: Sequence[Event]) -> tuple[tuple[str, str], ...]:
    return tuple((event.who, event.what) for event in events)


def _collapse(bursts: Sequence[list[Event]]) -> Iterator[list[list[Event]]]:
    """Successive bursts in which the same was said."""
    return (list(same) for _, same in groupby(bursts, key=_said))


def _repeats(events: Sequence[Event]) -> Iterator[list[Event]]:
    """Successive events that say the same."""
    return (list(same) for _, same in groupby(events, key=lambda event: (event.who, event.what)))
