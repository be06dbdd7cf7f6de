# SPDX-License-Identifier: MIT
"""What the texts of a report do not say, and the commands that say it."""

from __future__ import annotations

from collections.abc import Iterator

from shirq_bench.intake.facts import By, Facts
from shirq_bench.intake.report import Missing, Report


def find(facts: Facts, report: Report) -> None:
    """Add what is missing."""
    report.missing += [*_table(facts, report), *_functions(facts, report), *_log(facts, report), *_state(report)]


def _table(facts: Facts, report: Report) -> Iterator[Missing]:
    command = "cat /proc/interrupts"
    died = [line for line in report.lines if line.died]
    if not facts.rows:
        yield Missing("the handlers and counts of the lines", command)
        return
    for line in died:
        if line.get("snapshot") or line.get("names") is None:
            which = "of the kernel" if line.get("snapshot") == "other-kernel" else "of the boot"
            yield Missing(
                f"the handlers of line {line.irq} in the boot in which it died",
                f"{command}   # {which} in which line {line.irq} died",
            )
    if not any(
        table.cpus and row.irq == 0 for table in facts.tables for row in facts.rows if row.table == table.number
    ):
        yield Missing("the table's other rows", f"{command}   # the whole table")


def _functions(facts: Facts, report: Report) -> Iterator[Missing]:
    lspci = {fact.address for fact in facts.devices if fact.by is By.LSPCI and fact.key == "control"}
    ids = {device.address for device in report.devices if device.get("vendor")}
    if not lspci or not lspci <= ids:
        yield Missing("the functions' ids, states and capabilities", "lspci -vvnn   # as root")
    if not any(fact.key == "secondary" or fact.by is By.TREE for fact in facts.devices):
        yield Missing("the bridges before the functions", "lspci -tv")


def _log(facts: Facts, report: Report) -> Iterator[Missing]:
    if not facts.cmdlines and not facts.kernels:
        yield Missing("the boot, and what happened before", "dmesg   # from its first line")
    if not facts.cmdlines:
        yield Missing("the kernel's parameters", "cat /proc/cmdline")
    for line in report.lines:
        if line.died and not any(death.handlers_listed for death in line.deaths):
            yield Missing(f"the handlers when line {line.irq} died", 'dmesg   # the lines below "handlers:"')


def _state(report: Report) -> Iterator[Missing]:
    for suspect in report.suspects:
        device = next((one for one in report.devices if one.address and one.address == suspect.who), None)
        if not device:
            continue
        if device.get("intx") is None:
            yield Missing(
                f"whether {suspect.who} asserts while line {suspect.irq} is dead",
                f"lspci -vv -s {suspect.who}   # INTx",
            )
        if device.get("disintx_capable") == "unknown":
            yield Missing(
                f"whether {suspect.who} has DisINTx, and whether the line goes quiet with it",
                f"setpci -s {suspect.who} COMMAND=0400:0400",
            )
