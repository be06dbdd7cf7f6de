# SPDX-License-Identifier: MIT
"""PCI functions, their interrupt lines and the sharers of each, from sysfs and procfs."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Final

from shirq import interrupts
from shirq.interrupts import Line

_COMMAND: Final = 0x04
_STATUS: Final = 0x06
_PIN: Final = 0x3D
_DISINTX: Final = 1 << 10
_INTX_STATUS: Final = 1 << 3

#: Why the line of a function is not known.
NO_PIN: Final = "it has no interrupt pin (at most MSI)"
USES_MSI: Final = "it uses MSI, not its pin"
NOT_ENABLED: Final = "no driver has enabled it"
NO_ROUTE: Final = "the kernel found no route for its pin"


@dataclass(frozen=True)
class Function:
    """One PCI function: its IDs as profiles name them, its driver, and its line.

    `pin` is A to D, or None if it has none. `irq` is the line that the pin leads to, by its number in /proc/interrupts;
    None if there is no line, or if it is unknown for the reason in `unknown`. `messages` are the numbers of its MSI or
    MSI-X in /proc/interrupts. `disintx` and `status` are the interrupt-disable bit of Command and the interrupt status
    bit of Status, None if config space cannot be read. `uio` is the name of its UIO device, such as uio0, or None.
    """

    address: str
    ids: dict[str, int]
    driver: str | None
    irq: int | None
    unknown: str | None
    pin: str | None
    messages: tuple[int, ...]
    disintx: bool | None
    status: bool | None
    uio: str | None

    @property
    def asserts(self) -> bool:
        """Whether the function asserts its pin, according to config space."""
        return bool(self.status and not self.disintx)

    def as_data(self) -> dict[str, object]:
        """The data for JSON: `line` is null if the line is not known or there is none, and `line_unknown` says why."""
        data = asdict(self) | {"msi": self.msi, "messages": list(self.messages)}
        return {"line": data.pop("irq"), "line_unknown": data.pop("unknown"), **data}

    @property
    def msi(self) -> bool:
        """Whether the function uses messages, MSI or MSI-X."""
        return bool(self.messages)

    @property
    def is_bridge(self) -> bool:
        return self.ids["class_code"] >> 16 == 0x06

    @property
    def may_be_on_any_line(self) -> bool:
        """Whether the function's pin is in use and leads to a line that is not known."""
        return self.irq is None and self.pin is not None and not self.msi


@dataclass(frozen=True)
class System:
    """The machine, read from sysfs and procfs; tests give other paths."""

    sysfs: Path = Path("/sys")
    procfs: Path = Path("/proc")
    _ids: tuple[str, ...] = field(default=("vendor", "device", "subsystem_vendor", "subsystem_device"), repr=False)

    def functions(self) -> list[Function]:
        """All PCI functions, by address."""
        functions = [self.function(path.name) for path in sorted((self.sysfs / "bus/pci/devices").iterdir())]
        # A slot has one wire for each pin, so all functions of a slot that use the same pin are on the same line.
        wires = {(_slot(each), each.pin): each.irq for each in functions if each.irq is not None}
        return [
            replace(each, irq=irq, unknown=None)
            if each.may_be_on_any_line and (irq := wires.get((_slot(each), each.pin))) is not None
            else each
            for each in functions
        ]

    def function(self, address: str) -> Function:
        """A single function. Raises FileNotFoundError."""
        path = self.sysfs / "bus/pci/devices" / address
        ids = {name: int((path / name).read_text(), 16) for name in self._ids}
        ids["class_code"] = int((path / "class").read_text(), 16)
        driver = path / "driver"
        config = b""
        with contextlib.suppress(OSError):
            config = (path / "config").read_bytes()[:64]
        pin = pin_of(config)
        command, status = (int.from_bytes(config[at : at + 2], "little") for at in (_COMMAND, _STATUS))
        vectors = path / "msi_irqs"
        messages = sorted(int(each.name) for each in vectors.iterdir()) if vectors.is_dir() else []
        irq, unknown = self._route(path, pin, bool(messages))
        return Function(
            address=address,
            ids=ids,
            driver=driver.readlink().name if driver.is_symlink() else None,
            irq=irq,
            unknown=unknown,
            pin=pin,
            messages=tuple(messages),
            disintx=bool(command & _DISINTX) if config else None,
            status=bool(status & _INTX_STATUS) if config else None,
            uio=next((each.name for each in (path / "uio").glob("uio*")), None),
        )

    def _route(self, path: Path, pin: str | None, msi: bool) -> tuple[int | None, str | None]:
        """The line of a function, or why it is not known.

        The file `irq` holds the firmware's value of the Interrupt Line register, often for another interrupt
        controller, until pci_enable_device() looks up the routing of the pin. While a function uses MSI, the file holds
        the number of its MSI.
        """
        if pin is None:
            return None, NO_PIN
        if msi:
            return None, USES_MSI
        if not self._enabled(path):
            return None, NOT_ENABLED
        irq = int((path / "irq").read_text())
        if irq <= 0 or (self._interrupts.is_dir() and not (self._interrupts / str(irq)).is_dir()):
            return None, NO_ROUTE
        return irq, None

    @staticmethod
    def _enabled(path: Path) -> bool:
        with contextlib.suppress(OSError):
            return int((path / "enable").read_text()) > 0
        return False

    @property
    def _interrupts(self) -> Path:
        return self.sysfs / "kernel/irq"

    def lines(self) -> dict[int, Line]:
        """All of the kernel's interrupts, by number."""
        if self._interrupts.is_dir():
            lines = interrupts.from_sysfs(self._interrupts)
        else:
            lines = interrupts.parse((self.procfs / "interrupts").read_text(errors="replace"))
        return {irq: replace(line, unhandled=self._unhandled(irq)) for irq, line in lines.items()}

    def _unhandled(self, irq: int) -> int | None:
        with contextlib.suppress(OSError):
            match = re.search(r"unhandled\s+(\d+)", (self.procfs / f"irq/{irq}/spurious").read_text())
            return int(match[1]) if match else None
        return None

    def lines_off(self, functions: Iterable[Function]) -> dict[int, float | None]:
        """The lines of the module's functions that are disabled, by number.

        The value is the time since which the kernel has given the line up, in seconds of CLOCK_MONOTONIC. It is None if
        the line is disabled and no device of the module is armed there, so that the module does not know by whom.
        """
        off: dict[int, float | None] = {}
        for function in functions:
            if function.driver != "shirq" or function.irq is None:
                continue
            with contextlib.suppress(OSError):
                state, *since = (self.sysfs / "class/shirq" / function.address / "line").read_text().split()
                if state == "off":
                    off[function.irq] = float(since[0])
                elif state == "disabled":
                    off.setdefault(function.irq, None)
        return off

    def uio_maps(self, number: int) -> dict[int, str]:
        """The names of the maps of /dev/uio`number`, by their numbers; the one of a BAR is bar0 to bar4."""
        folder = self.sysfs / f"class/uio/uio{number}/maps"
        return {int(path.name.removeprefix("map")): (path / "name").read_text().strip() for path in folder.glob("map*")}

    def stats(self, address: str) -> dict[str, int]:
        """The module's statistics of a function that is bound to it, by name; empty for any other."""
        folder = self.sysfs / "class/shirq" / address / "stats"
        if not folder.is_dir():
            return {}
        return {path.name: int(path.read_text()) for path in sorted(folder.iterdir())}


def pin_of(config: bytes) -> str | None:
    """The interrupt pin, A to D, of a function with this config space; None if it has none."""
    number = config[_PIN] if len(config) > _PIN else 0
    return "ABCD"[number - 1] if 1 <= number <= 4 else None


def _slot(function: Function) -> str:
    return function.address.rpartition(".")[0]
