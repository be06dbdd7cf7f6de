# SPDX-License-Identifier: MIT
"""Who may assert a line that died without having a handler there, strongest first."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from shirq_bench.intake.facts import Death, Handler
from shirq_bench.intake.report import Device, Line, Report, Strength, Suspect, family
from shirq_bench.intake.tables import TABLES, plain


@dataclass(frozen=True)
class _Finding:
    strength: Strength
    device: Device
    reason: str


def find(report: Report) -> None:
    """Add the suspects of all lines that died."""
    for line in report.lines:
        if not line.died:
            continue
        found = _of_line(line, report)
        found.sort(key=lambda one: one.strength)
        report.suspects += [Suspect(line.irq, one.device.who, one.reason, one.strength) for one in found]


def _of_line(line: Line, report: Report) -> list[_Finding]:
    listed = [death for death in line.deaths if death.handlers_listed]
    here = report.on_line(line.irq)
    # In the order of the table, which is the order in which handlers were requested.
    names = line.get("names") or []
    here.sort(key=lambda one: names.index(one.rows[line.irq]) if one.rows.get(line.irq) in names else len(names))
    if not listed:
        return [
            _Finding(Strength.ASSERTS, one, _reason(one, line, "Status shows INTx+"))
            for one in here
            if one.asserts and one.get("driver") is None
        ]
    last = listed[-1]
    uncovered, few = _uncovered(last, here)
    found = [one for device in uncovered if (one := _judge(device, line, last))]
    found += [_Finding(Strength.FEWER_HANDLERS, device, reason) for device, reason in few]
    accused = {id(one.device) for one in found}
    for death in listed[:-1]:
        for device in _uncovered(death, here)[0]:
            if id(device) not in accused and _has_pin(device):
                accused.add(id(device))
                when = f" ({death.stamp.up} s)" if death.stamp and death.stamp.up else ""
                reason = f"no handler at an earlier death{when} ({death.at}); it had one at the last"
                found.append(_Finding(Strength.LATE_HANDLER, device, reason))
    return found


def _has_pin(device: Device) -> bool:
    return device.get("msix") != "on" or device.asserts


def _judge(device: Device, line: Line, death: Death) -> _Finding | None:
    if device.asserts:
        return _Finding(Strength.ASSERTS, device, _reason(device, line, "Status shows INTx+"))
    if not _has_pin(device):
        return None
    if device.get("intx") is False:
        return _Finding(Strength.QUIET, device, _reason(device, line, "Status shows INTx-: weak"))
    return _Finding(Strength.NO_HANDLER, device, _reason(device, line, ""))


def _reason(device: Device, line: Line, state: str) -> str:
    parts = []
    if line.irq in device.irqs and device.address:
        pin = f"pin {device.get('pin')} " if device.get("pin") else ""
        parts.append(f"{pin}routed to IRQ {line.irq}")
    elif device.rows.get(line.irq):
        other = {"other-kernel": " of another kernel", "other-boot": " of another boot"}.get(line.get("snapshot"), "")
        parts.append(f"{device.rows[line.irq]} is on the line in the table{other}")
    parts.append(state)
    parts += [f"although {name} is on" for key, name in (("msi", "MSI"), ("msix", "MSI-X")) if device.get(key) == "on"]
    driver = device.get("driver")
    parts.append(f"driver {driver}" if driver else "no driver is known")
    parts.append("no handler of its own when the line died")
    return ", ".join(part for part in parts if part)


def _uncovered(death: Death, here: Sequence[Device]) -> tuple[list[Device], list[tuple[Device, str]]]:
    """The functions without a handler at a death, and those that share too few handlers, with the reason."""
    groups: dict[tuple[str, str | None], int] = {}
    for handler in death.handlers:
        key = (handler.symbol, handler.module)
        groups[key] = groups.get(key, 0) + 1
    left = [*here]
    few: list[tuple[Device, str]] = []
    stray = 0
    for (symbol, module), number in groups.items():
        able = [device for device in left if belongs(Handler(symbol, module), device)]
        if module is None and not TABLES.of_symbol(symbol):
            stray += max(0, number - len(able))
        covered = able
        if number < len(able):
            reason = (
                f"one of {len(able)} functions on IRQ {death.irq} whose handler is {symbol};"
                f" {number} of them had a handler when the line died"
            )
            if len({family(device.get("driver")) for device in able}) == 1:
                few += [(device, reason) for device in able]
            else:
                # Different drivers request their handlers in the order of the table.
                few += [(device, reason) for device in able[number:]]
        gone = {id(device) for device in covered}
        left = [device for device in left if id(device) not in gone]
    # A handler that nobody is known for may be of a function whose handlers' names are not known.
    unknown = [device for device in left if not device.asserts and not _known_symbols(device)]
    if stray >= len(unknown):
        gone = {id(device) for device in unknown}
        left = [device for device in left if id(device) not in gone]
    return left, few


def _known_symbols(device: Device) -> bool:
    """Return true if the names of the driver's handlers are known, or it has no driver."""
    driver = device.get("driver")
    if driver is None:
        return bool(device.get("control"))
    known = device.known
    return bool(known and known.symbols) or driver == "pcieport"


def belongs(handler: Handler, device: Device) -> bool:
    """Return true if the handler can be the function's."""
    driver = device.get("driver")
    own = {family(name) for name in (driver, *(device.get("kernel_modules") or ())) if name}
    if handler.module and family(handler.module) in own and handler.symbol not in TABLES.shared_symbols:
        return True
    of = TABLES.of_symbol(handler.symbol, handler.module)
    if of:
        return family(driver) in {one.name for one in of}
    words = {plain(handler.symbol), plain(handler.thread or "")}
    return bool(driver) and any(re.match(rf"{re.escape(plain(driver))}(?:-|$)", word) for word in words)
