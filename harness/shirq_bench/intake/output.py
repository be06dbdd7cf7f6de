# SPDX-License-Identifier: MIT
"""Prints a report: as data with the keys of a report's expected.toml, and as a text with the place of each fact."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from shirq_bench.intake.report import Device, Line, Report, Told

FORMAT: Final = 1
_LINE_KEYS: Final = (
    "hwirq", "gsi", "controller", "trigger", "given_up", "given_up_at_most", "handlers", "modules", "names", "total",
    "snapshot",
)  # fmt: skip
_DEVICE_KEYS: Final = (
    "name", "vendor", "device", "subsystem", "class", "rev", "irq", "pin", "driver", "kernel_modules",
    "io", "mem", "busmaster", "disintx", "intx", "cap", "disintx_capable", "capabilities", "msi", "msix", "flr", "bars",
    "behind", "iommu_group",
)  # fmt: skip


def data(report: Report) -> dict[str, Any]:
    """The report as data that JSON and TOML can hold. A key that is absent is unknown."""
    found: dict[str, Any] = {"format": FORMAT, "source": ", ".join(report.files)}
    for key, told in (("kernel", report.kernel), ("cpus", report.cpus)):
        if told:
            found[key] = told.value
    found["not_level"] = report.not_level
    if report.cmdline:
        found["cmdline"] = report.cmdline.value
    if report.no_line:
        found["no_line"] = report.no_line
    found["damage"] = report.damage
    found["line"] = [{"irq": line.irq} | _chosen(line.facts, _LINE_KEYS) for line in report.lines]
    found["device"] = [_device(device) for device in report.devices]
    found["suspects"] = [{"irq": one.irq, "who": one.who, "reason": one.reason} for one in report.suspects]
    found["missing"] = {"commands": list(dict.fromkeys(one.command for one in report.missing))}
    if report.conflicts:
        found["conflicts"] = [
            {"what": one.what, "values": [{"value": told.value, "at": str(told.at)} for told in one.values]}
            for one in report.conflicts
        ]
    return found


def _chosen(facts: dict[str, Told], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: facts[key].value for key in keys if key in facts}


def _device(device: Device) -> dict[str, Any]:
    found = {"address": device.address} if device.address else {}
    found |= _chosen(device.facts, _DEVICE_KEYS)
    if device.known_by == "ids":
        found.pop("name", None)
    return found | {"known_by": device.known_by}


# ------------------------------------------------------------------ text


def text(report: Report) -> Iterator[str]:
    """The lines of the summary."""
    yield f"report: {', '.join(report.files)}"
    for name, told in (("kernel", report.kernel), ("processors", report.cpus), ("parameters", report.cmdline)):
        if told:
            yield f"{name}: {told.value}  ({told.at})"
    if report.damage:
        yield f"undone in the texts: {', '.join(report.damage)}"
    if not report.lines and not report.devices:
        yield "No interrupt line and no PCI function is in these texts."
    for line in report.lines:
        yield ""
        yield from _line(line, report)
    placed = {id(one) for line in report.lines for one in report.on_line(line.irq)}
    if others := [one for one in report.devices if id(one) not in placed]:
        yield ""
        yield "functions on no known line:"
        yield from (f"  {_function(one)}" for one in others)
    if report.not_level:
        yield ""
        yield f"edge-triggered or MSI: {', '.join(map(str, report.not_level))}"
    yield from _ends(report)


def _line(line: Line, report: Report) -> Iterator[str]:
    words = [f"IRQ {line.irq}:"]
    for key, name in (("trigger", ""), ("controller", ""), ("hwirq", "input "), ("gsi", "GSI ")):
        if told := line.facts.get(key):
            words.append(f"{name}{told.value} ({told.at})")
    yield " ".join(words)
    if line.deaths:
        times = ", ".join(str(death.at) for death in line.deaths)
        yield f"  the kernel gave it up, {len(line.deaths)} time{'s' * (len(line.deaths) > 1)} ({times})"
    if told := line.facts.get("given_up_at_most"):
        yield f"  its count allows at most {told.value} such times ({told.at})"
    if told := line.facts.get("handlers"):
        modules = line.get("modules") or [""] * len(told.value)
        named = [
            f"{symbol} [{module}]" if module else symbol for symbol, module in zip(told.value, modules, strict=True)
        ]
        yield f"  handlers then: {', '.join(named) or 'none'} ({told.at})"
    if told := line.facts.get("names"):
        snapshot = {"other-boot": ", of another boot", "other-kernel": ", of another kernel"}.get(
            line.get("snapshot"), ""
        )
        count = f", {line.get('total')} interrupts" if line.get("total") is not None else ""
        yield f"  in the table: {', '.join(told.value)}{count}{snapshot} ({told.at})"
    for device in report.on_line(line.irq):
        yield f"  {_function(device)}"


def _function(device: Device) -> str:
    words = [device.who]
    if (name := device.get("name")) and name != device.who:
        words.append(str(name))
    if device.get("vendor"):
        words.append(f"[{device.get('vendor')}:{device.get('device')}]")
    for key, prefix in (("pin", "pin "), ("driver", "driver "), ("behind", "behind ")):
        if device.get(key):
            words.append(f"{prefix}{device.get(key)}")
    if device.get("intx") is not None:
        words.append("INTx+" if device.get("intx") else "INTx-")
    for key, name in (("msi", "MSI"), ("msix", "MSI-X")):
        if device.get(key):
            words.append(f"{name} {device.get(key)}")
    places = [told.at for key in ("irq", "driver", "vendor", "name") if (told := device.facts.get(key))]
    places = places or [told.at for told in device.facts.values()]
    return f"{' '.join(words)} ({places[0]})" if places else " ".join(words)


def _ends(report: Report) -> Iterator[str]:
    if report.suspects:
        yield ""
        yield "may assert without a handler, strongest first:"
        yield from (f"  IRQ {one.irq}: {one.who}: {one.reason}" for one in report.suspects)
    if report.conflicts:
        yield ""
        yield "contradictions:"
        for conflict in report.conflicts:
            yield f"  {conflict.what}: " + "; ".join(f"{told.value} ({told.at})" for told in conflict.values)
    if report.notes:
        yield ""
        yield "notes:"
        yield from (f"  {note.text} ({note.at})" for note in report.notes)
    if report.missing:
        yield ""
        yield "not in these texts:"
        yield from (f"  {one.what}: {one.command}" for one in report.missing)
