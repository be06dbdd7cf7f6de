# SPDX-License-Identifier: MIT
"""What sysfs and procfs tell of PCI functions, their lines, and who shares them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_COMMAND: Final = 0x04
_STATUS: Final = 0x06
_PIN: Final = 0x3D
_DISINTX: Final = 1 << 10
_INTX_STATUS: Final = 1 << 3


@dataclass(frozen=True)
class Function:
    """One PCI function: its IDs as profiles name them, its driver, and its line.

    `pin` is A to D, or None if it has none; `irq` the kernel's number, 0 if there is none; `disintx` and `status` are
    the interrupt-disable bit of Command and the interrupt status bit of Status, None if config space cannot be read.
    A function in use by MSI has its MSI's number as `irq` and does not use its line: `msi`.
    """

    address: str
    ids: dict[str, int]
    driver: str | None
    irq: int
    pin: str | None
    msi: bool
    disintx: bool | None
    status: bool | None

    @property
    def on_line(self) -> bool:
        return self.pin is not None and self.irq > 0 and not self.msi


@dataclass(frozen=True)
class Line:
    """One interrupt of /proc/interrupts: how often it came, who handles it, and how often nobody did."""

    irq: int
    count: int
    chip: str
    handlers: tuple[str, ...]
    unhandled: int | None = None


@dataclass(frozen=True)
class System:
    """Where sysfs and procfs are: elsewhere in tests."""

    sysfs: Path = Path("/sys")
    procfs: Path = Path("/proc")
    _ids: tuple[str, ...] = field(default=("vendor", "device", "subsystem_vendor", "subsystem_device"), repr=False)

    def functions(self) -> list[Function]:
        """All PCI functions, by address."""
        return [self.function(path.name) for path in sorted((self.sysfs / "bus/pci/devices").iterdir())]

    def function(self, address: str) -> Function:
        """One function. Raises FileNotFoundError."""
        path = self.sysfs / "bus/pci/devices" / address
        ids = {name: int((path / name).read_text(), 16) for name in self._ids}
        ids["class_code"] = int((path / "class").read_text(), 16)
        driver = path / "driver"
        config = b""
        with contextlib.suppress(OSError):
            config = (path / "config").read_bytes()[:64]
        pin = config[_PIN] if len(config) > _PIN else 0
        command, status = (int.from_bytes(config[at : at + 2], "little") for at in (_COMMAND, _STATUS))
        vectors = path / "msi_irqs"
        return Function(
            address=address,
            ids=ids,
            driver=driver.readlink().name if driver.is_symlink() else None,
            irq=int((path / "irq").read_text()),
            pin="ABCD"[pin - 1] if 1 <= pin <= 4 else None,
            msi=vectors.is_dir() and any(vectors.iterdir()),
            disintx=bool(command & _DISINTX) if config else None,
            status=bool(status & _INTX_STATUS) if config else None,
        )

    def lines(self) -> dict[int, Line]:
        """The numbered interrupts of /proc/interrupts."""
        return {line.irq: line for line in self._lines()}

    def _lines(self) -> Iterator[Line]:
        head, *rows = (self.procfs / "interrupts").read_text().splitlines()
        cpus = len(head.split())
        for row in rows:
            match = re.match(r"\s*(\d+):\s", row)
            if not match:
                continue
            fields = row.split()
            counts, described = fields[1 : 1 + cpus], fields[1 + cpus :]
            # The chip and its input (IO-APIC 20-fasteoi) come before the handlers, which are parted by commas.
            handlers = re.split(r",\s*", " ".join(described[2:])) if len(described) > 2 else []
            number = int(match[1])
            chip = " ".join(described[:2])
            yield Line(number, sum(map(int, counts)), chip, tuple(handlers), self._unhandled(number))

    def _unhandled(self, irq: int) -> int | None:
        with contextlib.suppress(OSError):
            match = re.search(r"unhandled\s+(\d+)", (self.procfs / f"irq/{irq}/spurious").read_text())
            return int(match[1]) if match else None
        return None

    def stats(self, address: str) -> dict[str, int]:
        """The module's statistics of a function that is bound to it, by name; empty for any other."""
        folder = self.sysfs / "class/shirq" / address / "stats"
        if not folder.is_dir():
            return {}
        return {path.name: int(path.read_text()) for path in sorted(folder.iterdir())}
