# SPDX-License-Identifier: MIT
"""Port BARs and accesses of 8 bytes, of a shirq-edu with ports and an nvme with a memory buffer; pins and lines."""

from __future__ import annotations

import pytest

from guest.guest_python import run
from shirq_bench.observe.scene import Scene
from shirq_bench.plugin import Boot
from shirq_bench.vm.machine import ADDRESSES, LOAD_MODULE, SHARED_LINE, bind_at

#: The ports are storage, of three widths; the nvme's BAR 2 is its memory buffer, 64 bits wide.
_PORTS = "bar0+0/32 status; bar1+16/32 scratch0; bar1+20/16 scratch1; bar1+24/8 scratch2"
_DEVICES = {
    "ports": (f"shirq-edu,id=ports,addr=7,bar1=port:32,registers={_PORTS}", "0000:00:07.0"),
    "buffer": ("nvme,id=buffer,serial=1,cmb_size_mb=1,legacy-cmb=on,addr=6", "0000:00:06.0"),
}


@pytest.fixture
def spaces(boot: Boot, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """A guest with both, bound."""
    machine = SHARED_LINE.with_(devices=(*SHARED_LINE.devices, *(device for device, _ in _DEVICES.values())))
    scene = Scene(boot(machine, cold=True))
    scene.run(LOAD_MODULE)
    for name, (_, address) in _DEVICES.items():
        monkeypatch.setitem(ADDRESSES, name, address)
        scene.bind(name)
    return scene


def test_eight_bytes_are_accessed_at_once_where_the_bar_is_wide(spaces: Scene) -> None:
    assert run(
        spaces,
        "buffer",
        """
        device = shirq.Device.open(ADDRESS)
        print(abi.BarFlag.WIDE in device.info.bars[2].flags, device.info.bars[2].length)
        device.pwrite(2, 8, 8, 0x0123456789abcdef)
        print(*(hex(device.pread(2, at, width)) for at, width in ((8, 8), (12, 4), (8, 2), (15, 1))))
        turn = shirq.assemble("read64 r0, bar2+8\\nwrite64 bar2+16, r0, big_endian\\nread64 r1, bar2+16")
        print(hex(device.exec(turn)[1]))
        print(fails(device.pread, 2, 12, 8), fails(device.pread, 2, 1 << 20, 8), hex(device.mmap(2).read(16, 8)))
        """,
    ) == [
        "True 1048576",
        "0x123456789abcdef 0x1234567 0xcdef 0x1",
        "0xefcdab8967452301",
        "EINVAL EINVAL 0xefcdab8967452301",
    ]


def test_port_bar_is_reached_by_io_and_programs_but_not_mapped(spaces: Scene) -> None:
    """A port BAR is reached by positional I/O and by programs, but is not mapped."""
    assert run(
        spaces,
        "ports",
        """
        device = shirq.Device.open(ADDRESS)
        print(abi.BarFlag.PORT in device.info.bars[1].flags, fails(mmap.mmap, device.fileno(), 4096, offset=1 << 40))
        for offset, width, value in ((16, 4, 0x01234567), (20, 2, 0x89ab), (24, 1, 0xcd)):
            device.pwrite(1, offset, width, value)
            print(hex(device.pread(1, offset, width)), hex(device.exec(shirq.assemble(
                f"read{8 * width} r0, bar1+{offset}"))[0]))
        device.exec(shirq.assemble("write32 bar1+16, r0"), [0x76543210])
        print(hex(device.pread(1, 16, 4)), fails(device.pread, 1, 16, 8))
        """,
    ) == ["True EINVAL", "0x1234567 0x1234567", "0x89ab 0x89ab", "0xcd 0xcd", "0x76543210 EINVAL"]


def test_a_function_without_an_interrupt_pin_is_not_bound(boot: Boot) -> None:
    """It has no interrupt line, so shirq refuses it; the kernel log gives the reason."""
    scene = Scene(boot(SHARED_LINE.with_(devices=(*SHARED_LINE.devices, "pci-testdev,addr=7")), cold=True))
    scene.run(LOAD_MODULE)
    address = "0000:00:07.0"
    scene.run(f"! {{ {bind_at(address, 'shirq')}; }} && test ! -e /dev/shirq/{address}")
    assert f"{address}: has no interrupt pin" in scene.run("dmesg")


@pytest.mark.parametrize("device", ["ports", "buffer"])
def test_info_says_what_sysfs_says(spaces: Scene, device: str) -> None:
    """Numbers and BARs of the function, as the PCI core has them; and the module's features."""
    assert run(
        spaces,
        device,
        """
        info = shirq.Device.open(ADDRESS).info
        sysfs = Path("/sys/bus/pci/devices", ADDRESS)
        names = ("vendor", "device", "subsystem_vendor", "subsystem_device", "revision", "irq")
        differs = [name for name in names if int((sysfs / name).read_text(), 0) != getattr(info, name)]
        print(differs, int((sysfs / "class").read_text(), 0) == info.class_code)
        print(info.config_size == (sysfs / "config").stat().st_size, info.sources, info.events)
        print(info.features == sum(abi.Feature))
        def bar(line):
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
        """,
    ) == ["[] True", "True 1 256", "True", "True True"]
