# SPDX-License-Identifier: MIT
"""The kernel's interrupt lines: the handlers and counts of each, and its interrupt controller and input.

/sys/kernel/irq has a file for each property. /proc/interrupts is parsed only on kernels without that folder: its
columns depend on the controller, and a handler's name may look like a column.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final


@dataclass(frozen=True)
class Line:
    """One numbered interrupt: its count, its handlers, and how often none of them handled it.

    `chip` is the controller's name, `hwirq` its input, `flow` the kernel's flow handler, such as fasteoi, `trigger`
    level or edge; None if the kernel does not say. In old kernels' tables `chip` ends with the flow.
    """

    irq: int
    count: int
    chip: str
    handlers: tuple[str, ...]
    hwirq: int | None = None
    flow: str | None = None
    trigger: str | None = None
    unhandled: int | None = None

    def interrupts_since(self, before: Line | None) -> int:
        """The interrupts since an earlier sample of the line; None is a line that was not there."""
        return self.count - (before.count if before else 0)

    def unhandled_since(self, before: Line | None) -> int:
        """The unhandled interrupts since an earlier sample; at least, if the kernel has begun a new count meanwhile."""
        now, earlier = self.unhandled or 0, (before.unhandled or 0) if before else 0
        return now - earlier if now >= earlier else now

    @property
    def controller(self) -> str:
        """The controller and its input, as /proc/interrupts shows them: IO-APIC 20-fasteoi."""
        how = f"-{self.flow}" if self.flow else ""
        return self.chip + (f" {self.hwirq}" if self.hwirq is not None else "") + how


# ------------------------------------------------------------------ the table

#: The trigger implied by a flow handler's name, or by the end of an old kernel's chip name. On some controllers fasteoi
#: is used for edges too; these have a column for the trigger.
_TRIGGERS: Final = {"edge": "edge", "level": "level", "fasteoi": "level"}


def parse(table: str) -> dict[int, Line]:
    """The lines of a /proc/interrupts, by number. Rows without a number, and rows that are damaged, are left out."""
    return {line.irq: line for line in _rows(table)}


def _rows(table: str) -> Iterator[Line]:
    # Text after the last newline is a truncated row.
    head, *rows = table.split("\n")[:-1] or [""]
    cpus = head.split()
    if not cpus or not all(re.fullmatch(r"CPU[0-9]+", cpu) for cpu in cpus):
        return
    counts = rf"(?: +[0-9]{{1,20}}){{{len(cpus)}}}"
    for row in rows:
        # A first word of digits is an extra count: a CPU came or went while the table was read.
        if match := re.fullmatch(rf"( *[0-9]{{1,9}}):({counts}) +(?![0-9]+(?: |$))(\S.*)", row):
            yield _described(int(match[1]), sum(map(int, match[2].split())), match[3], len(match[1]))


def _described(irq: int, count: int, text: str, width: int) -> Line:
    """Parse the part of a row after the counts; `width` is the width of the column of numbers.

    The kernel prints, in this order: the chip; a space and the input, aligned to the right in `width` places, which are
    blank on a controller without inputs (old kernels leave them out); on some architectures a space and the trigger;
    if the flow has a name, a dash and the name; two spaces and the handlers. Trigger and flow are padded to 8 places.
    """
    match = re.fullmatch(
        rf"(?P<chip>\S+(?: \S+)*?)"
        rf"(?: {{1,{width}}}(?P<hwirq>[0-9]{{1,20}})| {{{width + 1}}}|)"
        r"(?: (?P<trigger>Level(?= {3}|$)|Edge(?= {4}|$))(?:(?<=Level) {3}|(?<=Edge) {4}|))?"
        r"(?:-(?P<flow>\S+) *)?"
        r"(?: {2,}(?P<handlers>\S.*))?",
        text.rstrip(),
    )
    if match is None:  # damaged: its columns cannot be separated
        return Line(irq, count, text.strip(), ())
    chip, flow = match["chip"], match["flow"]
    trigger = (match["trigger"] or "").lower() or _TRIGGERS.get((flow or chip).rpartition("-")[2])
    hwirq = int(match["hwirq"]) if match["hwirq"] else None
    return Line(irq, count, chip, _names(match["handlers"] or ""), hwirq, flow, trigger)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for part in text.split(",") if (name := part.strip()))


# -------------------------------------------------------------------- sysfs


def from_sysfs(folder: Path) -> dict[int, Line]:
    """The lines that a /sys/kernel/irq has, by number."""
    return {int(path.name): _from_files(path) for path in folder.iterdir() if path.name.isdecimal()}


def _from_files(path: Path) -> Line:
    def say(name: str) -> str:
        with contextlib.suppress(OSError):
            return (path / name).read_text(errors="replace").strip()
        return ""

    hwirq = say("hwirq")
    return Line(
        irq=int(path.name),
        count=sum(int(count) for count in say("per_cpu_count").split(",") if count),
        chip=say("chip_name") or "None",
        handlers=_names(say("actions")),
        hwirq=int(hwirq) if hwirq else None,
        flow=say("name") or None,
        trigger=say("type") or None,
    )
