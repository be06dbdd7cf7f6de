# SPDX-License-Identifier: MIT
"""Compares what the importer printed with a report's expected.toml, by the rules of reports/README.md."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REPORTS = Path(__file__).parent / "host" / "intake" / "reports"
#: What a line may have that is known from routing messages or `routed to` only.
_ROUTED = {"irq", "given_up", "gsi", "hwirq", "trigger"}
#: Keys of a report that say where it is from, what is wrong with its text, and what was found out later.
_NOT_FACTS = {"format", "made_up", "source", "damage", "cause", "missing"}
#: The commands that the importer must ask for where a report's list has them, and how it asks.
_COMMANDS = {
    "cat /proc/interrupts": "cat /proc/interrupts",
    "the whole of /proc/interrupts": "cat /proc/interrupts",
    "lspci -vvnn": "lspci -vvnn",
    "lspci -nn": "lspci -vvnn",
    "lspci -tv": "lspci -tv",
    "dmesg": "dmesg",
    "dmesg from its first line": "dmesg",
    "cat /proc/cmdline": "cat /proc/cmdline",
}

Data = dict[str, Any]


def names() -> list[str]:
    return sorted(path.parent.name for path in REPORTS.glob("*/expected.toml"))


def expected(name: str) -> Data:
    return tomllib.loads((REPORTS / name / "expected.toml").read_text())


def facts(data: Data) -> int:
    """The number of values below the keys that are facts."""
    return sum(_count(value) for key, value in data.items() if key not in _NOT_FACTS)


def _count(value: Any) -> int:
    if isinstance(value, dict):
        return sum(_count(one) for key, one in value.items() if key not in ("in_prose", "reason"))
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return sum(map(_count, value))
    return 1


def differences(want: Data, got: Data) -> list[str]:
    """The differences in words; empty if the import is right and complete and nothing was invented."""
    return [*_top(want, got), *_lines(want, got), *_devices(want, got), *_suspects(want, got), *_missing(want, got)]


def _top(want: Data, got: Data) -> Iterator[str]:
    for key in ("kernel", "cpus", "not_level", "cmdline", "no_line", "conflicts"):
        if want.get(key) != got.get(key):
            yield f"{key}: {got.get(key)!r}, expected {want.get(key)!r}"
    if unknown := got.keys() - want.keys() - {"format", "source", "damage", "suspects"}:
        yield f"unknown keys: {sorted(unknown)}"


def _lines(want: Data, got: Data) -> Iterator[str]:
    found = {line["irq"]: line for line in got["line"]}
    if len(found) != len(got["line"]):
        yield "a line is listed twice"
    for line in want.get("line", ()):
        yield from _table(f"line {line['irq']}", line, found.pop(line["irq"], {}), {})
    for irq, line in found.items():
        if line.keys() - _ROUTED or line["given_up"]:
            yield f"line {irq} is not expected: {line}"


def _devices(want: Data, got: Data) -> Iterator[str]:
    left = list(got["device"])
    for device in want.get("device", ()):
        what = device.get("address") or f"{device.get('name')} driver {device.get('driver')} on {device.get('irq')}"
        match = next((one for one in left if _is_same(device, one)), None)
        if match is None:
            yield f"no device {what}"
            continue
        left.remove(match)
        prose = {*device.get("in_prose", ())}
        missed = {key for key in prose if key not in match}
        wanted = {key: value for key, value in device.items() if key not in missed and key != "in_prose"}
        if "name" in missed:  # it is known by something else, then
            wanted["known_by"] = match["known_by"]
        allowed = {"name"} if device["known_by"] == "driver" and "name" not in device else set()
        if "name" in missed:
            allowed = {"name"}
        yield from _table(f"device {what}", wanted, match, {key: match[key] for key in allowed if key in match})
    for device in left:
        yield f"device is not expected: {device}"


def _is_same(want: Data, got: Data) -> bool:
    if "address" in want or "address" in got:
        return want.get("address") == got.get("address")
    if want["known_by"] == "driver" and "name" in want and want["name"] != got.get("name"):
        return False
    return want.get("irq") == got.get("irq") and _driver(want.get("driver")) == _driver(got.get("driver"))


def _driver(name: str | None) -> str | None:
    families = {"ehci-pci": "ehci_hcd", "uhci-pci": "uhci_hcd", "ohci-pci": "ohci_hcd", "xhci-pci": "xhci_hcd"}
    return families.get(name, name) if name else None


def _table(what: str, want: Data, got: Data, allowed: Data) -> Iterator[str]:
    if not got:
        yield f"no {what}"
        return
    for key in sorted(want.keys() | got.keys()):
        one, other = want.get(key), got.get(key)
        if key in allowed:
            continue
        if key == "driver":
            one, other = _driver(one), _driver(other)
        if key == "name" and one and other and (one.lower() in other.lower() or other.lower() in one.lower()):
            continue
        if one != other:
            yield f"{what}: {key}: {other!r}, expected {one!r}"


def _suspects(want: Data, got: Data) -> Iterator[str]:
    one, other = ([(each["irq"], each["who"]) for each in data.get("suspects", ())] for data in (want, got))
    # Lines in their order, and within a line the strongest first.
    if sorted(one, key=lambda each: each[0]) != sorted(other, key=lambda each: each[0]):
        yield f"suspects: {other}, expected {one}"


def _missing(want: Data, got: Data) -> Iterator[str]:
    asked = {_bare(command) for command in got["missing"]["commands"]}
    for command in want.get("missing", {}).get("commands", ()):
        note = command.partition("   # ")[2]
        if note and not note.startswith(("of the", "as root")):
            continue  # an experiment
        if (needed := _COMMANDS.get(_bare(command))) and needed not in asked:
            yield f"missing: {command!r} is not asked for"


def _bare(command: str) -> str:
    return command.partition("   #")[0].strip()
