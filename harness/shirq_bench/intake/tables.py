# SPDX-License-Identifier: MIT
"""The data of tables.toml: what drivers call their handlers and lines, cards' names, and names of capabilities."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shirq_bench import toml


@dataclass(frozen=True, kw_only=True)
class Driver:
    """A driver, as a report names it."""

    #: Its name in lspci and in the log, the key of its table.
    name: str
    #: Other names of it, or of the same driver's modules.
    aliases: toml.Texts = ()
    #: Its handlers' symbols below "handlers:".
    symbols: toml.Texts = ()
    #: Expressions for its names in /proc/interrupts. The group `unit` is the part that names the device; several names
    #: with the same part are one device.
    rows: toml.Texts = ()
    #: The names in /proc/interrupts do not tell this driver from another one.
    rows_ambiguous: bool = False
    #: Its lines have the names of network interfaces.
    network: bool = False
    #: Its cards are of conventional PCI only: on a machine with PCI Express there is a bridge before them.
    conventional: bool = False
    #: QEMU's model of such a device as an argument of -device, and the pin of the model. Empty: there is none.
    model: str = ""
    pin: str = "A"
    #: The model's driver uses MSI, unless the kernel is told not to.
    nomsi: bool = False
    #: What a user must know of the model.
    remark: str = ""


@dataclass(frozen=True, kw_only=True)
class Card:
    """Cards that sentences name: an expression for the names, and their driver."""

    pattern: toml.Text
    driver: toml.Text


@dataclass(frozen=True, kw_only=True)
class Banner:
    """A line that a driver prints as it is loaded."""

    pattern: toml.Text
    driver: toml.Text


@dataclass(frozen=True, kw_only=True)
class Tables:
    """The whole file."""

    #: Names in /proc/interrupts that are no PCI function of their own.
    no_devices: toml.Texts
    #: Handler names in /proc/interrupts that, with an 8259, belong to ISA's edge-triggered lines.
    isa: toml.Texts
    #: Symbols of core code that many drivers use: one of them does not name its driver.
    shared_symbols: toml.Texts
    #: The words that begin a capability in lspci, and its short name.
    capabilities: Mapping[str, str]
    #: Short names of capabilities by their number, hexadecimal.
    capability_ids: Mapping[str, str]
    driver: Mapping[str, Driver]
    card: tuple[Card, ...] = ()
    banner: tuple[Banner, ...] = ()

    def capability(self, text: str) -> str:
        """The short name of the capability that lspci describes so."""
        for words, name in self.capabilities.items():
            if text.startswith(words):
                return name
        words = re.split(r"[:(<]|\s(?=\d)", text)[0].strip().lower()
        return re.sub(r"[^a-z0-9]+", "-", words).strip("-") or "unknown"

    def capability_id(self, kind: int) -> str:
        """The short name of the capability with this number."""
        return self.capability_ids.get(f"{kind:02x}", f"id-{kind:02x}")

    def named(self, name: str) -> Driver | None:
        """The driver with this name or alias."""
        key = plain(name)
        return next((one for one in self.driver.values() if key in {plain(n) for n in (one.name, *one.aliases)}), None)

    def of_symbol(self, symbol: str, module: str | None = None) -> list[Driver]:
        """The drivers whose handler has this symbol; a module in brackets decides."""
        found = [one for one in self.driver.values() if symbol in one.symbols]
        if module:
            own = [one for one in found if plain(module) in {plain(n) for n in (one.name, *one.aliases)}]
            # A module that is no driver is a library of drivers: the symbol decides.
            return own or ([] if self.named(module) else found)
        return found

    def of_row(self, name: str) -> tuple[Driver, str] | None:
        """The driver that calls its line so in /proc/interrupts, and the name of the device."""
        for driver in self.driver.values():
            for pattern in driver.rows:
                if match := _compiled(pattern).fullmatch(name):
                    return driver, (match.groupdict().get("unit") or name)
        return None

    def is_device(self, name: str) -> bool:
        """Return false for names in /proc/interrupts that are no function of their own."""
        return not any(_compiled(pattern).fullmatch(name) for pattern in self.no_devices)

    def is_isa(self, name: str) -> bool:
        """Return true for names that an 8259 has on ISA's lines."""
        return any(_compiled(pattern).fullmatch(name) for pattern in self.isa)


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


def plain(name: str) -> str:
    """A driver's or module's name for comparison: - and _ are the same."""
    return name.lower().replace("_", "-")


TABLES: Final = toml.read(Tables, Path(__file__).with_name("tables.toml"))
