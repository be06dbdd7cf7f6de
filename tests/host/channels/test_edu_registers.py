# SPDX-License-Identifier: MIT
"""All lists of shirq-edu's registers agree: those in C, the device, its specification and the profiles."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from shirq_bench.channels.edu import Register
from shirq_bench.paths import GUEST, QEMU_DEVICE

_NAMES = {register.name: register.value for register in Register}
#: Registers that exist only in cases of the bug catalogue.
_OF_THE_ZOO = {"INT_ENABLE": 0x20, "INT_LATCH": 0x78}


def _defined(path: Path) -> dict[str, int]:
    """Return a C file's definitions that have a register's name or the prefix INT_."""
    found = re.findall(r"^#define ((?:INT_)?[A-Z_]+)\s+(0x[0-9a-f]+)\b", path.read_text(), re.MULTILINE)
    return {name: int(value, 16) for name, value in found if name in _NAMES or name.startswith("INT_")}


def _listing() -> Iterator[Path]:
    """Yield the C files that define registers of the device."""
    for path in sorted(GUEST.rglob("*.[ch]")):
        if _defined(path):
            yield path


@pytest.mark.parametrize("path", list(_listing()), ids=lambda path: path.name)
def test_c_has_them_right(path: Path) -> None:
    assert _defined(path).items() <= (_NAMES | _OF_THE_ZOO).items()


def test_the_library_header_has_all_that_drivers_use() -> None:
    lacking = _NAMES.keys() - _defined(GUEST / "drivers/edu.h").keys()
    assert lacking == {"FACTORIAL", "DOORBELL"}


def test_the_document_lists_each() -> None:
    text = (QEMU_DEVICE / "SPEC.md").read_text()
    table = text.partition("### `edu`")[2].partition("A driver that shares")[0]
    rows = re.findall(r"^\| ([0-9a-f]{3})h \| (\w+) \|", table, re.MULTILINE)
    assert {name: int(offset, 16) for offset, name in rows} == _NAMES


def test_the_device_has_each_and_no_other() -> None:
    source = (QEMU_DEVICE / "overlay/hw/misc/shirq-presets.c").read_text()
    preset = source.partition('{ "edu",')[2].partition("},")[0]
    bench = source.partition("#define BENCH")[2].partition("\n\n")[0]
    offsets = {int(offset, 16) for offset in re.findall(r"bar0\+(0x[0-9a-f]+)/", preset + bench)}
    assert offsets == set(_NAMES.values())


def test_the_profile_names_them_so() -> None:
    profile = tomllib.loads((GUEST / "profiles/shirq-edu.toml").read_text())
    found = {name: int(register["at"].removeprefix("bar0+"), 16) for name, register in profile["registers"].items()}
    assert found and found.items() <= _NAMES.items()


def test_the_reference_programs_access_what_their_comments_name() -> None:
    text = (GUEST / "drivers/edu.py").read_text()
    found = re.findall(r"bar0\+(0x[0-9a-f]+),?[^#\n]*# (INT_\w+)", text)
    assert len(found) >= 6
    assert {(name, int(offset, 16)) for offset, name in found} <= _NAMES.items()
