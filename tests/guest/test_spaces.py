# SPDX-License-Identifier: MIT
"""Port BARs and accesses of 8 bytes, on QEMU devices that have them: pci-testdev and ivshmem-plain, without a line."""

from __future__ import annotations

import pytest

from guest.guest_python import run
from shirq_bench.machine import ADDRESSES, LOAD_MODULE, SHARED_LINE
from shirq_bench.plugin import Boot
from shirq_bench.scene import Scene

#: pci-testdev has a port BAR 1; BAR 2 of ivshmem-plain is memory, 64 bits wide.
_DEVICES = {
    "testdev": ("pci-testdev,addr=7", "0000:00:07.0"),
    "shm": ("ivshmem-plain,memdev=shm,master=on,addr=6", "0000:00:06.0"),
}


@pytest.fixture
def spaces(boot: Boot, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """A guest with both, bound."""
    machine = SHARED_LINE.with_(
        devices=(*SHARED_LINE.devices, *(device for device, _ in _DEVICES.values())),
        extra=("-object", "memory-backend-ram,id=shm,size=1M"),
    )
    scene = Scene(boot(machine, cold=True))
    scene.run(LOAD_MODULE)
    for name, (_, address) in _DEVICES.items():
        monkeypatch.setitem(ADDRESSES, name, address)
        scene.bind(name)
    return scene


def test_eight_bytes_are_accessed_at_once_where_the_bar_is_wide(spaces: Scene) -> None:
    assert run(
        spaces,
        "shm",
        """
        device = shirq.Device.open(ADDRESS)
        print(abi.BarFlag.WIDE in device.info.bars[2].flags, device.info.bars[2].length, device.info.bars[0].length)
        device.pwrite(2, 8, 8, 0x0123456789abcdef)
        print(*(hex(device.pread(2, at, width)) for at, width in ((8, 8), (12, 4), (8, 2), (15, 1))))
        turn = shirq.assemble("read64 r0, bar2+8\\nwrite64 bar2+16, r0, big_endian\\nread64 r1, bar2+16")
        print(hex(device.exec(turn)[1]))
        print(fails(device.pread, 2, 12, 8), fails(device.pread, 0, 0, 8), hex(device.mmap(2).read(16, 8)))
        """,
    ) == [
        "True 1048576 256",
        "0x123456789abcdef 0x1234567 0xcdef 0x1",
        "0xefcdab8967452301",
        "EINVAL EINVAL 0xefcdab8967452301",
    ]


def test_a_port_bar_is_reached_by_positional_io_and_programs_but_not_mapped(spaces: Scene) -> None:
    """Writing a number at 0 selects a test of the device, whose name stands at 16."""
    assert run(
        spaces,
        "testdev",
        """
        device = shirq.Device.open(ADDRESS)
        print(abi.BarFlag.PORT in device.info.bars[1].flags, fails(mmap.mmap, device.fileno(), 4096, offset=1 << 40))
        device.pwrite(1, 0, 1, 0)
        print(bytes(device.pread(1, 16 + at, 1) for at in range(6)).decode())
        print(hex(device.exec(shirq.assemble("read32 r0, bar1+16"))[0]) == hex(int.from_bytes(b"port", "little")))
        print(device.pread(1, 16, 4) == int.from_bytes(b"port", "little"), fails(device.pread, 1, 16, 8))
        """,
    ) == ["True EINVAL", "portio", "True", "True EINVAL"]


def test_a_device_without_a_line_cannot_be_loaded_or_armed(spaces: Scene) -> None:
    assert run(
        spaces,
        "testdev",
        """
        device = shirq.Device.open(ADDRESS)
        print(fails(device.load, SET), fails(device.arm), device.info.irq)
        """,
    ) == ["ENXIO ENXIO 0"]
