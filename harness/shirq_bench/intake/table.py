# SPDX-License-Identifier: MIT
"""Finds the rows of /proc/interrupts in damaged texts: wrapped, without their head, with collapsed spaces, cut.

shirq.interrupts reads whole tables by their columns. Here the columns may be gone, so a row needs a controller's name,
or the head of its table with as many counts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from shirq_bench.intake.facts import Facts, Row, Table
from shirq_bench.intake.text import TextLine

_HEAD = re.compile(r"(?:\S*\s+)??(?P<cpus>CPU\d{1,4}(?:\s+CPU\d{1,4})*)\s*$")
_ROW = re.compile(r"(?P<column>\s*(?P<irq>0|[1-9]\d{0,8})):(?P<rest>(?:\s.*)?)$")
_OTHER_ROW = re.compile(r"\s*[A-Z]{3}:(?:\s+\d+)+")
_COUNT = re.compile(r"\s+(\d{1,20})(?=\s|$)")
#: The names of interrupt controllers, as far as a row without its table is believed.
_CHIP = re.compile(
    r"(?:IR-)?(?:IO-APIC|PCI-MSIX?|PCI-HT|HPET|DMAR|AMDI-MSI)|XT-PIC|HPET[_-]MSI|dmar_msi|DMAR-MSI|i8259|GIC|MPIC|OpenPIC|"
    r"XICS|XIVE|Phys-irq|xen-pirq|ITS-|UIC|MIPS|LIOINTC|PCH PIC|RISC-V|SiFive",
    re.IGNORECASE,
)
_FLOW = r"(?:ioapic-)?(?:level|edge|fasteoi)"
_JOINED = re.compile(rf"(?P<chip>\S+?)-(?P<flow>{_FLOW})(?=\s|$)(?P<names>.*)")
_SPACED = re.compile(
    r"(?P<chip>[A-Za-z][\w.:-]*(?: [A-Z][A-Za-z]+)?)"
    rf"(?:\s+(?P<hwirq>\d{{1,10}})(?:-(?P<flow>{_FLOW})|\s+(?P<trigger>Level|Edge))|\s+-(?P<flow2>{_FLOW})|"
    r"\s+(?P<trigger2>Level|Edge))(?=\s|$)(?P<names>.*)"
)
#: The ends of old kernels' controllers that say how the line is triggered.
_OLD = re.compile(rf"(?P<chip>\S+?)-(?P<flow>{_FLOW})")
_PLAIN = re.compile(r"(?P<chip>XT-PIC(?:-XT-PIC)?|i8259|[A-Za-z][\w.-]*)(?P<names>(?:\s.*)?)$")
#: The width of the first column, if a mail has not taken its blanks.
_NARROWEST: Final = 3
_LEVEL: Final = ("level", "fasteoi")
#: A kernel's version in a sentence before a table.
_VERSION = re.compile(r"(?<![\w.])[2-7]\.\d{1,3}(?:\.\d{1,3}){0,2}(?:-[\w.-]*\w)?(?![\w.]*\.\d)")
_KERNEL_TEXT = re.compile(r"Disabling IRQ|handlers:|nobody cared|Call Trace|\[<")
_SENTENCES_BEFORE: Final = 8


def find(lines: Sequence[TextLine], facts: Facts) -> None:
    """Add the rows and tables of the lines to the facts."""
    cpus: int | None = None
    open_table: Table | None = None
    last = -10
    place = 0
    while place < len(lines):
        line = lines[place]
        if head := _HEAD.match(line.text):
            names = head["cpus"].split()
            if open_table and cpus and place == last + 1 and names[0] == f"CPU{cpus}":  # the head was wrapped
                cpus += len(names)
                facts.tables[-1] = open_table = replace(open_table, cpus=cpus)
                last = place
                place += 1
                continue
            cpus = len(names)
            open_table = _begin(lines, place, cpus, facts)
            last = place
            place += 1
            continue
        if not (match := _ROW.match(line.text)):
            if _OTHER_ROW.match(line.text):
                last = place
            place += 1
            continue
        if open_table and (place - last > 6 or lines[last].at.file != line.at.file):
            open_table, cpus = None, None
        text, used = _whole(lines, place, match["rest"], cpus)
        if found := _row(max(_NARROWEST, len(match["column"])), text, cpus):
            if not open_table:
                open_table = _begin(lines, place, None, facts)
            counts, chip, hwirq, trigger, names = found
            irq = int(match["irq"])
            facts.rows.append(Row(irq, counts, chip, names, line.at, open_table.number, place, hwirq, trigger))
            last = place + used - 1
            if used > 1 and "wrapped-row" not in facts.damage:
                facts.damage.append("wrapped-row")
        elif open_table:
            last = place
        place += used
    _count_cpus(facts)


def _begin(lines: Sequence[TextLine], place: int, cpus: int | None, facts: Facts) -> Table:
    table = Table(len(facts.tables), lines[place].at, place, cpus, _kernel_before(lines, place))
    facts.tables.append(table)
    return table


def _count_cpus(facts: Facts) -> None:
    """A table without a head has as many processors as its rows have counts."""
    for n, table in enumerate(facts.tables):
        widths = {len(row.counts) for row in facts.rows if row.table == table.number and row.counts}
        if table.cpus is None and len(widths) == 1:
            facts.tables[n] = replace(table, cpus=widths.pop())


def _kernel_before(lines: Sequence[TextLine], place: int) -> str | None:
    """The version that the sentences before a table name."""
    file, seen = lines[place].at.file, 0
    for line in reversed(lines[max(0, place - 20) : place]):
        if line.at.file != file or line.stamp or _KERNEL_TEXT.search(line.text) or seen >= _SENTENCES_BEFORE:
            return None
        if re.match(r"[-=]{3,}|#{2,}", line.text):
            return None
        if line.text.strip():
            seen += 1
        if found := _VERSION.findall(line.text):
            return str(found[0])
    return None


def _whole(lines: Sequence[TextLine], place: int, rest: str, cpus: int | None) -> tuple[str, int]:
    """A row with the lines into which it was wrapped, and how many lines these are."""
    text, used = rest, 1
    while place + used < len(lines) and used < 12:
        line = lines[place + used]
        if line.at.file != lines[place].at.file or line.depth != lines[place].depth or not line.text.strip():
            break
        if _ROW.match(line.text) or _HEAD.match(line.text) or _OTHER_ROW.match(line.text):
            break
        counts, behind = _counts(text)
        only_counts = bool(counts) and not behind.strip()
        more_counts = only_counts and (
            bool(re.match(r"\s*\d+(?:\s|$)", line.text)) or (bool(cpus) and _CHIP.match(line.text.strip()))
        )
        if not more_counts and not text.rstrip().endswith(","):
            break
        text = f"{text.rstrip()} {line.text.strip()}"
        used += 1
    return text, used


def _counts(text: str) -> tuple[tuple[int, ...], str]:
    counts, end = [], 0
    while match := _COUNT.match(text, end):
        counts.append(int(match[1]))
        end = match.end()
    return tuple(counts), text[end:]


_Parts = tuple[tuple[int, ...], str, int | None, str | None, tuple[str, ...]]


def _by_columns(width: int, behind: str) -> tuple[str, int | None, str | None, tuple[str, ...]] | None:
    """The parts of a row whose columns are whole, as shirq.interrupts reads them; `width` is the first column's."""
    match = re.fullmatch(
        rf"(?P<chip>\S+(?: \S+)*?)"
        rf"(?: {{1,{width}}}(?P<hwirq>[0-9]{{1,20}})| {{{width + 1}}}|)"
        r"(?: (?P<trigger>Level(?= {3}|$)|Edge(?= {4}|$))(?:(?<=Level) {3}|(?<=Edge) {4}|))?"
        r"(?:-(?P<flow>\S+) *)?"
        r"(?: {2,}(?P<names>\S.*))?",
        behind,
    )
    if match is None or (match["names"] is None and " " in match["chip"]):
        return None
    chip, flow = match["chip"], match["flow"] or ""
    if not flow and not match["hwirq"] and (old := _OLD.fullmatch(chip)):
        chip, flow = old["chip"], old["flow"]
    flow = flow.rpartition("-")[2]
    trigger = (match["trigger"] or "").lower() or ("level" if flow in _LEVEL else flow if flow == "edge" else None)
    return chip, int(match["hwirq"]) if match["hwirq"] else None, trigger, _names(match["names"] or "")


def _row(width: int, text: str, cpus: int | None) -> _Parts | None:
    """Counts, controller, input, trigger and names of a row; None if it is none, or is cut."""
    counts, behind = _counts(text)
    behind = behind.strip()
    if not behind or (cpus and counts and not cpus <= len(counts) <= cpus + 1):
        return None
    known = bool(_CHIP.match(behind))
    in_table = cpus is not None and len(counts) >= cpus
    if not (known or in_table):
        return None
    if whole := _by_columns(width, behind):
        return counts, *whole
    if match := _JOINED.match(behind) or _SPACED.match(behind):
        group = match.groupdict()
        flow = (group.get("flow") or group.get("flow2") or "").rpartition("-")[2]
        trigger = (group.get("trigger") or group.get("trigger2") or "").lower() or (
            "level" if flow in _LEVEL else flow or None
        )
        hwirq = int(group["hwirq"]) if group.get("hwirq") else None
        return counts, group["chip"], hwirq, trigger, _names(group["names"])
    if match := _PLAIN.match(behind):
        return counts, match["chip"], None, None, _names(match["names"])
    return None


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for part in text.split(",") if (name := part.strip()))


def is_message_signalled(chip: str) -> bool:
    """Return true if the controller's name says that its interrupts are messages."""
    return "MSI" in chip.upper() or chip.upper().startswith(("ITS", "PCI-HT"))
