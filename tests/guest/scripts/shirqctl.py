# SPDX-License-Identifier: MIT
"""Scripts of test_shirqctl_in_guest.py."""

from __future__ import annotations

import mmap
from pathlib import Path

import shirq
from guest.scripts.inguest import ADDRESS, TIMEOUT, proceed, report


def masked_by_profile() -> None:
    """Mask a device by its profile's mask program, and unmask it by the number that MASK returned."""
    from shirq import profile

    with shirq.Device.open(ADDRESS) as device:
        device.load_profile(profile.load(profile.folder() / "shirq-edu.toml"))
        device.arm()
        number = device.mask()
        report(hex(device.pread(0, 0x28, 4)))
        proceed()
        device.unmask(number)
        print(hex(device.read(timeout=TIMEOUT).r[0]), hex(device.pread(0, 0x28, 4)))


def compare_tables() -> None:
    """Print the lines that sysfs and the table describe differently, and the number of lines in the table."""
    from shirq import interrupts

    table = interrupts.parse(Path("/proc/interrupts").read_text())
    files = interrupts.from_sysfs(Path("/sys/kernel/irq"))
    for irq, line in table.items():
        other = files[irq]
        if (line.chip, line.hwirq, line.flow, line.handlers) != (other.chip, other.hwirq, other.flow, other.handlers):
            print(line, other)
    print(len(table), *sorted({line.chip for line in table.values()}), sep="|")


def unmask_unbound() -> None:
    """Unmask a function that no driver is bound to."""
    with Path("/sys/bus/pci/devices", ADDRESS, "resource0").open("r+b") as file:
        memoryview(mmap.mmap(file.fileno(), 4096)).cast("I")[0x6C // 4] = 0xFFFFFFFF  # INT_MASK_CLEAR
