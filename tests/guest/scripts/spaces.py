# SPDX-License-Identifier: MIT
"""Scripts of test_spaces.py."""

from __future__ import annotations

import mmap
from pathlib import Path

import shirq
from guest.scripts.inguest import ADDRESS, fails
from shirq import abi


def wide() -> None:
    device = shirq.Device.open(ADDRESS)
    print(abi.BarFlag.WIDE in device.info.bars[2].flags, device.info.bars[2].length)
    device.pwrite(2, 8, 8, 0x0123456789ABCDEF)
    print(*(hex(device.pread(2, at, width)) for at, width in ((8, 8), (12, 4), (8, 2), (15, 1))))
    turn = shirq.assemble("read64 r0, bar2+8\nwrite64 bar2+16, r0, big_endian\nread64 r1, bar2+16")
    print(hex(device.exec(turn)[1]))
    print(fails(device.pread, 2, 12, 8), fails(device.pread, 2, 1 << 20, 8), hex(device.mmap(2).read(16, 8)))


def ports() -> None:
    device = shirq.Device.open(ADDRESS)
    print(abi.BarFlag.PORT in device.info.bars[1].flags, fails(mmap.mmap, device.fileno(), 4096, offset=1 << 40))
    for offset, width, value in ((16, 4, 0x01234567), (20, 2, 0x89AB), (24, 1, 0xCD)):
        device.pwrite(1, offset, width, value)
        read = shirq.assemble(f"read{8 * width} r0, bar1+{offset}")
        print(hex(device.pread(1, offset, width)), hex(device.exec(read)[0]))
    device.exec(shirq.assemble("write32 bar1+16, r0"), [0x76543210])
    print(hex(device.pread(1, 16, 4)), fails(device.pread, 1, 16, 8))


def info() -> None:
    info = shirq.Device.open(ADDRESS).info
    sysfs = Path("/sys/bus/pci/devices", ADDRESS)
    names = ("vendor", "device", "subsystem_vendor", "subsystem_device", "revision", "irq")
    differs = [name for name in names if int((sysfs / name).read_text(), 0) != getattr(info, name)]
    print(differs, int((sysfs / "class").read_text(), 0) == info.class_code)
    print(info.config_size == (sysfs / "config").stat().st_size, info.sources, info.events)
    print(info.features == sum(abi.Feature))

    def bar(line: str) -> tuple[int, int]:
        first, last, resource = (int(word, 16) for word in line.split())
        if not last:
            return 0, 0
        size, memory = last - first + 1, resource & 0x200
        flags = abi.BarFlag.MEMORY if memory else abi.BarFlag.PORT
        flags |= abi.BarFlag.WIDE if resource & 0x100000 else 0
        flags |= abi.BarFlag.PREFETCH if resource & 0x2000 else 0
        flags |= abi.BarFlag.MMAP if memory and not first % 4096 and size >= 4096 else 0
        return size, flags

    bars = [bar(line) for line in (sysfs / "resource").read_text().splitlines()[:6]]
    print(bars == [(bar.length, bar.flags) for bar in info.bars], len({flags for _, flags in bars}) > 1)
