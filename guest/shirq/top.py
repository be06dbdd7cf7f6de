# SPDX-License-Identifier: MIT
"""Activity on interrupt lines between two samples, and the functions that assert them: for shirqctl top."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from shirq.interrupts import Line
from shirq.system import Function, System


@dataclass(frozen=True)
class Look:
    """The machine at one moment; `stats` has the module's counters of its own functions, by address."""

    functions: Sequence[Function]
    lines: Mapping[int, Line]
    stats: Mapping[str, Mapping[str, int]]
    off: Mapping[int, float | None]

    @property
    def lost(self) -> list[Function]:
        """The functions whose line is not known."""
        return [each for each in self.functions if each.may_be_on_any_line]


def look(system: System) -> Look:
    functions = system.functions()
    stats = {each.address: system.stats(each.address) for each in functions if each.driver == "shirq"}
    return Look(functions, system.lines(), stats, system.lines_off(functions))


@dataclass(frozen=True)
class Change:
    """One line between two samples: its functions at the second sample, and the module's counters of its devices.

    The counters are per second. `suspects` are functions that assert, but whose line is not known: it may be this line.
    `off` says that the line is disabled, if it is.
    """

    before: Line
    after: Line
    seconds: float
    functions: Sequence[Function]
    counters: Mapping[str, Mapping[str, float]]
    suspects: Sequence[Function]
    off: str | None = None

    @property
    def rate(self) -> float:
        return self.after.interrupts_since(self.before) / self.seconds

    @property
    def unhandled(self) -> int:
        """The interrupts that no handler wanted."""
        return self.after.unhandled_since(self.before)

    @property
    def asserting(self) -> list[str]:
        return [each.address for each in self.functions if each.asserts]

    def as_data(self) -> dict[str, object]:
        return {
            "line": self.after.irq,
            "controller": self.after.controller,
            "handlers": self.after.handlers,
            "interrupts_per_second": self.rate,
            "unhandled": self.unhandled,
            "off": self.off,
            "functions": [
                each.as_data() | {"counters_per_second": self.counters.get(each.address)} for each in self.functions
            ],
            "asserting": self.asserting,
            "may_assert": [each.address for each in self.suspects],
        }

    def text(self) -> Iterator[str]:
        after = self.after
        what = "message" if any(after.irq in each.messages for each in self.functions) else "line"
        yield (
            f"{what} {after.irq} ({after.controller}): {self.rate:.0f} interrupts/s,"
            f" handlers: {', '.join(after.handlers) or 'none'}"
        )
        if self.off:
            yield f"  {self.off}"
        for function in self.functions:
            yield _state(function)
            if counters := self.counters.get(function.address):
                yield f"  {'':12}  {', '.join(f'{name} {rate:.0f}/s' for name, rate in counters.items())}"
        for function in self.suspects:
            yield f"{_state(function)}, and its line is not known ({function.unknown}): it may be this one"
        if self.asserting:
            yield f"  asserting: {', '.join(self.asserting)}"
        elif self.rate and not self.suspects:
            yield "  asserting: no function says so now; functions from before PCI 2.3 cannot say it"
        if self.unhandled:
            yield f"  {self.unhandled} interrupts that no handler wanted: a function asserts, but no driver serves it"


def _state(function: Function) -> str:
    """The present state of a function's pin, from config space."""
    if function.status is None:
        says = "config space cannot be read"
    elif function.msi:
        says = "uses messages, not its pin"
    elif function.status:
        says = "pending, but its interrupt is disabled" if function.disintx else "ASSERTS"
    else:
        says = "does not assert, as far as it says"
    return f"  {function.address}  {function.driver or 'no driver':12} {says}"


@dataclass(frozen=True)
class Changes:
    """All requested lines, and the functions whose line is unknown if all lines were requested."""

    lines: Sequence[Change]
    lost: Sequence[Function]

    def as_data(self) -> dict[str, object]:
        return {
            "lines": [each.as_data() for each in self.lines],
            "line_unknown": [each.as_data() for each in self.lost],
        }

    def text(self) -> str:
        rows = [row for line in self.lines for row in line.text()]
        if self.lost:
            rows.append("line not known: these may be on any of those above")
        return "\n".join(rows + [f"{_state(each)} ({each.unknown})" for each in self.lost])


def off_text(since: float | None) -> str:
    """Describe a disabled line; `since` as in `System.lines_off`."""
    if since is None:
        return (
            "DISABLED by the kernel or a driver; SHIRQ_ARM of a function on it revives a line that the kernel gave up"
        )
    ago = max(0.0, time.monotonic() - since)
    return (
        f"GIVEN UP by the kernel {ago:.0f} s ago, because nobody handled its interrupts: they come up to 100 ms late."
        " SHIRQ_DISARM and SHIRQ_ARM of a function on it revive the line"
    )


def _change(irq: int, old: Look, new: Look, seconds: float) -> Change:
    here = [each for each in new.functions if irq in (each.irq, *each.messages)]
    counters = {
        each.address: {
            name: (value - old.stats.get(each.address, {}).get(name, 0)) / seconds
            for name, value in new.stats[each.address].items()
        }
        for each in here
        if each.address in new.stats
    }
    after = new.lines.get(irq, Line(irq, 0, "no handler", ()))
    return Change(
        old.lines.get(irq, after),
        after,
        seconds,
        here,
        counters,
        [each for each in new.lost if each.asserts],
        off_text(new.off[irq]) if irq in new.off else None,
    )


def compare(old: Look, new: Look, seconds: float, only: int | None = None) -> Changes:
    """The activity between two samples that are `seconds` apart: on the line `only`, or on all relevant lines.

    A line is relevant if a function is known to be on it, or if it stormed. So is a message of the module's functions.
    Functions that assert an unknown line are suspects if a single line was requested, or if a line stormed.
    """
    if only is not None:
        return Changes([_change(only, old, new, seconds)], [])
    known = {each.irq for each in new.functions if each.irq is not None}
    known.update(irq for each in new.functions if each.driver == "shirq" for irq in each.messages)
    changes = [_change(irq, old, new, seconds) for irq in sorted(known | set(new.lines))]
    return Changes(
        [
            each if each.unhandled else replace(each, suspects=[])
            for each in changes
            if each.after.irq in known or each.unhandled or each.off
        ],
        new.lost,
    )
