# SPDX-License-Identifier: MIT
"""The device's files are parts of one job each: a part uses only the parts below it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from shirq_bench.paths import QEMU_DEVICE

SOURCES = QEMU_DEVICE / "overlay/hw/misc"
HEADERS = QEMU_DEVICE / "overlay/include/hw/misc"
#: The parts of the device from the bottom up. Parts of one row do not know each other.
ROWS = (
    ("presets", "regs", "settings"),
    ("card", "schedule"),
    ("view", "pin"),
    ("config",),
    ("access",),
)
#: The files that make the device of its parts; shirq-edu.h declares their functions.
WHOLE = ("actions", "change", "properties", "state", "edu")
#: What any part may use: the log, and savepoints.
SERVICES = ("log", "probe", "rewind")
#: Its source is that of the accelerator.
ELSEWHERE = ("turns",)


def included(path: Path) -> set[str]:
    return set(re.findall(r'(?m)^#include "hw/misc/shirq-(\w+)\.h"$', path.read_text())) if path.exists() else set()


def uses(part: str) -> set[str]:
    return included(SOURCES / f"shirq-{part}.c") | included(HEADERS / f"shirq-{part}.h")


PARTS = [part for row in ROWS for part in row]


def test_every_file_of_the_device_is_a_part() -> None:
    files = {path.stem.removeprefix("shirq-") for path in SOURCES.glob("*.c")}
    assert files == {*PARTS, *WHOLE, *SERVICES}
    headers = {path.stem.removeprefix("shirq-") for path in HEADERS.glob("*.h")}
    assert headers == {*PARTS, "edu", *SERVICES, *ELSEWHERE}


@pytest.mark.parametrize("part", PARTS)
def test_a_part_uses_only_those_below_it(part: str) -> None:
    row = next(number for number, parts in enumerate(ROWS) if part in parts)
    below = {other for parts in ROWS[:row] for other in parts}
    assert part in uses(part)
    assert uses(part) - {part, *SERVICES, *ELSEWHERE} <= below


@pytest.mark.parametrize("part", ["regs", "settings", "card", "view", "presets", "schedule"])
def test_the_card_knows_nothing_of_pci(part: str) -> None:
    for path in (SOURCES / f"shirq-{part}.c", HEADERS / f"shirq-{part}.h"):
        assert "hw/pci/" not in path.read_text(), path.name


@pytest.mark.parametrize("function", ["pci_set_irq", "msi_notify"])
def test_only_the_pin_asserts(function: str) -> None:
    callers = [path.name for path in SOURCES.glob("*.c") if re.search(rf"(?m)^ .*\b{function}\(", path.read_text())]
    assert callers == ["shirq-pin.c"]


def test_nothing_is_declared_in_a_c_file() -> None:
    """If a C file itself declared a function of another part, no include would reveal the call."""
    for path in SOURCES.glob("*.c"):
        assert re.findall(r"(?m)^extern ", path.read_text()) == [], path.name
