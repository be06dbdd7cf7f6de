# SPDX-License-Identifier: MIT
"""Reads the configuration space of a function from lspci's hexadecimal dump (-x, -xxx, -xxxx)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from shirq_bench.intake.tables import TABLES

ROW = re.compile(r"\s*(?P<offset>[0-9a-f]{2,3}):(?P<bytes>(?: [0-9a-f]{2}){16})\s*$")

_COMMAND: Final = {"io": 0, "mem": 1, "busmaster": 2, "disintx": 10}
_STATUS: Final = {"intx": 3, "cap": 4}
#: Capabilities by their id: MSI, PCI Express, MSI-X, Advanced Features.
_MSI, _PCIE, _MSIX, _AF = 0x05, 0x10, 0x11, 0x13


def row(text: str) -> tuple[int, list[int]] | None:
    """Offset and bytes of a line of a dump; None if it is no whole line of one."""
    match = ROW.match(text)
    if not match or int(match["offset"], 16) % 16:
        return None
    return int(match["offset"], 16), [int(one, 16) for one in match["bytes"].split()]


def facts(space: Mapping[int, int]) -> dict[str, Any]:
    """The properties that the bytes state, by the keys of a device. Bytes that are missing are unknown."""
    if all(space.get(n, 0xFF) == 0xFF for n in range(4)):
        return {}
    found: dict[str, Any] = {}
    word = _reader(space, 2)
    for key, offset in (("vendor", 0x00), ("device", 0x02), ("class", 0x0A)):
        if (value := word(offset)) is not None:
            found[key] = f"{value:04x}"
    if space.get(0x08):
        found["rev"] = f"{space[0x08]:02x}"
    for offset, bits in ((0x04, _COMMAND), (0x06, _STATUS)):
        if (value := word(offset)) is not None:
            found |= {key: bool(value >> bit & 1) for key, bit in bits.items()}
    header = space.get(0x0E, 0) & 0x7F
    if header == 0 and (word(0x2C) or word(0x2E)):
        found["subsystem"] = f"{word(0x2C) or 0:04x}:{word(0x2E) or 0:04x}"
    if header == 1 and space.get(0x19):
        found["secondary"] = space[0x19]
    if bars := _bars(space, 6 if header == 0 else 2 if header == 1 else 0):
        found["bars"] = bars
    if 0x3C in space and 0x3D in space:
        found["raw_pin"] = space[0x3D]
        if 1 <= space[0x3D] <= 4:
            found["pin"] = "ABCD"[space[0x3D] - 1]
            found["interrupt_line"] = space[0x3C]
    return found | _capabilities(space, header)


def _reader(space: Mapping[int, int], width: int) -> Any:
    def read(offset: int) -> int | None:
        parts = [space.get(offset + n) for n in range(width)]
        return None if None in parts else sum(part << 8 * n for n, part in enumerate(parts) if part is not None)

    return read


def _bars(space: Mapping[int, int], number: int) -> list[dict[str, Any]]:
    """The BARs that are not 0. Their sizes are not in the bytes."""
    double, bars, index = _reader(space, 4), [], 0
    while index < number:
        value = double(0x10 + 4 * index)
        wide = bool(value) and value & 7 == 4
        if value and value & 1:
            bars.append({"index": index, "kind": "io"})
        elif value:
            bars.append({"index": index, "kind": "mem", "bits": 64 if wide else 32})
            if value & 8:
                bars[-1]["prefetch"] = True
        index += 2 if wide else 1
    return bars


def _capabilities(space: Mapping[int, int], header: int) -> dict[str, Any]:
    if header > 1 or not (space.get(0x06, 0) & 0x10):
        return {}
    found: dict[str, Any] = {}
    names: list[str] = []
    offset, double, word = space.get(0x34, 0) & 0xFC, _reader(space, 4), _reader(space, 2)
    seen: set[int] = set()
    while offset >= 0x40 and offset not in seen and offset in space and offset + 1 in space:
        seen.add(offset)
        kind = space[offset]
        names.append(f"{TABLES.capability_id(kind)}@{offset:02x}")
        control = word(offset + 2)
        if kind == _MSI and control is not None:
            found["msi"] = "on" if control & 1 else "off"
        elif kind == _MSIX and control is not None:
            found["msix"] = "on" if control & 0x8000 else "off"
        elif kind == _PCIE and (able := double(offset + 4)) is not None and (control or 0) >> 4 & 15 in (0, 1, 9):
            found["flr"] = bool(able >> 28 & 1)
        elif kind == _AF and offset + 3 in space:
            found["flr"] = bool(space[offset + 3] & 2)
        offset = space[offset + 1] & 0xFC
    return found | ({"capabilities": names} if names else {})
