# SPDX-License-Identifier: MIT
"""Makes directory trees like /sys and /proc of a machine with PCI functions."""

from __future__ import annotations

from pathlib import Path

from shirq.system import System

EDU, NIC, MSI, OLD = "0000:00:04.0", "0000:00:0c.0", "0000:00:1f.2", "0000:00:05.0"
#: No driver has enabled LOST: its file `irq` has the firmware's number. PINLESS has MSI-X and no pin.
LOST, PINLESS, BRIDGE = "0000:00:08.0", "0000:00:0e.0", "0000:00:00.0"

INTERRUPTS = """\
           CPU0       CPU1
  1:          9          0   IO-APIC   1-edge      i8042
 20:        {count}         50   IO-APIC  20-fasteoi   eth0, shirq:0000:00:04.0
 27:         11          0   PCI-MSI 512000-edge      ahci[0000:00:1f.2]
NMI:          0          0   Non-maskable interrupts
"""


class Tree:
    """A shirq device and a neighbour on line 20, a function with MSI, one on a line without handlers, and others."""

    def __init__(self, root: Path) -> None:
        self.system = System(root / "sys", root / "proc")
        self.root = root
        for address, ids, driver, irq, enabled, pin in (
            (EDU, (0x1234, 0x11E9, 0x00FF00), "shirq", 20, 1, 1),
            (NIC, (0x8086, 0x100E, 0x020000), "e1000", 20, 1, 1),
            (MSI, (0x8086, 0x2922, 0x010601), "ahci", 27, 1, 1),
            (OLD, (0x1, 0x2, 0x020000), None, 21, 1, 1),
            (LOST, (0x1234, 0x11E9, 0x00FF00), None, 10, 0, 1),
            (PINLESS, (0x1, 0x3, 0x018000), None, 0, 0, 0),
            (BRIDGE, (0x8086, 0x29C0, 0x060000), None, 0, 0, 0),
        ):
            path = self.function(address)
            path.mkdir(parents=True)
            (path / "enable").write_text(f"{enabled}\n")
            for name, value in zip(("vendor", "device", "class"), ids, strict=True):
                (path / name).write_text(f"{value:#x}\n")
            for name in ("subsystem_vendor", "subsystem_device"):
                (path / name).write_text("0x0\n")
            (path / "irq").write_text(f"{irq}\n")
            self.config(address, pin=pin)
            if driver:
                (root / "sys/bus/pci/drivers" / driver).mkdir(parents=True)
                (path / "driver").symlink_to(root / "sys/bus/pci/drivers" / driver)
        (self.function(MSI) / "msi_irqs/27").mkdir(parents=True)
        self.stats(claims=1, declines=2)
        (root / "proc/irq/20").mkdir(parents=True)
        self.interrupts(100, unhandled=0)

    def function(self, address: str) -> Path:
        return self.root / "sys/bus/pci/devices" / address

    def config(self, address: str, command: int = 0, status: int = 0x10, pin: int = 1) -> None:
        config = bytearray(64)
        config[4:6], config[6:8] = command.to_bytes(2, "little"), status.to_bytes(2, "little")
        config[0x3D] = pin
        (self.function(address) / "config").write_bytes(config)

    def stats(self, **values: int) -> None:
        folder = self.root / "sys/class/shirq" / EDU / "stats"
        folder.mkdir(parents=True, exist_ok=True)
        for name, value in values.items():
            (folder / name).write_text(f"{value}\n")

    def line(self, state: str) -> None:
        """Set what the module reports about the line of its function."""
        (self.root / "sys/class/shirq" / EDU / "line").write_text(f"{state}\n")

    def interrupts(self, count: int, unhandled: int) -> None:
        (self.root / "proc/interrupts").write_text(INTERRUPTS.format(count=count))
        (self.root / "proc/irq/20/spurious").write_text(f"count 5\nunhandled {unhandled}\nlast_unhandled 0 ms\n")
