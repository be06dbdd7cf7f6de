# SPDX-License-Identifier: MIT
"""Scripts of test_security.py."""

from __future__ import annotations

import mmap
import os
import time
from pathlib import Path

import shirq
from guest.scripts.inguest import (
    ADDRESS,
    CLAIM,
    INT_ACK,
    SET,
    TIMEOUT,
    armed,
    become_nobody,
    calls,
    fails,
    loaded,
    quarantined,
    report,
    stat,
    state,
    with_irq,
)
from shirq import abi


def handed_over() -> None:
    device, registers = armed()
    become_nobody()
    report(fails(os.open, "/dev/shirq/" + ADDRESS, os.O_RDWR))
    report(fails(device.exec, SET.release), fails(device.set_master, True), fails(device.set_quiesce, max_rate=9))
    event = device.read(timeout=TIMEOUT)
    registers.write32(INT_ACK, 1)
    report(event.seq, hex(device.pread(0, 0, 4)), device.info.state.name)
    device.disarm()
    report(fails(device.load, SET), fails(device.arm))


def locked_down() -> None:
    os.system("mount -t securityfs securityfs /sys/kernel/security")
    report(fails(lambda: shirq.Device.open(ADDRESS).close()))
    Path("/sys/kernel/security/lockdown").write_text("integrity")
    report(fails(shirq.Device.open, ADDRESS), state())


def sysfs_mappings(unbound: str) -> None:
    """``unbound`` is the address of a function that is not bound."""

    def through_sysfs(address: str) -> str:
        with Path(f"/sys/bus/pci/devices/{address}/resource0").open("r+b") as file:
            return fails(mmap.mmap, file.fileno(), 4096)

    print(through_sysfs(ADDRESS), through_sysfs(unbound))


def taint() -> None:
    device = shirq.Device.open(ADDRESS)

    def user() -> bool:
        return bool(int(Path("/proc/sys/kernel/tainted").read_text()) & 1 << 6)

    flags = device.info.flags & (abi.InfoFlag.IOMMU | abi.InfoFlag.PASSTHROUGH)
    before = user()
    device.set_master(False)
    off = user()
    device.set_master(True)
    print(flags.name or "", before, off, user())


def dma() -> None:
    """The device is QEMU's edu."""
    source, destination, count, command = 0x80, 0x88, 0x90, 0x98
    buffer, writes = 0x40000, 3
    device = shirq.Device.open(ADDRESS)
    registers = device.mmap(0)
    device.set_master(True)
    for register, value in ((source, buffer), (destination, 0x100000), (count, 16), (command, writes)):
        registers.write32(register, value)
    while registers.read32(command) & 1:
        time.sleep(0.01)
    print("done")


def forty_storms() -> None:
    device = loaded(with_irq(CLAIM))
    become_nobody()
    storms, began = stat("storms_masked"), time.monotonic()
    most = 0
    for _ in range(40):
        before = calls()
        device.arm(auto_unmask=False)
        device.pwrite(0, 0x60, 4, 1)
        quarantined(device)
        most = max(most, calls() - before)
    print(stat("storms_masked") - storms, 10 * (1 + (time.monotonic() - began) // 60), most)
