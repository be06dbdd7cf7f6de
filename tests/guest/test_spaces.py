# SPDX-License-Identifier: MIT
"""Port BARs of a shirq-edu, accesses of 8 bytes to the memory buffer of an nvme; functions without a pin; the info."""

from __future__ import annotations

import pytest

from guest.guest_python import run
from guest.scripts import spaces
from shirq_bench.observe.scene import Scene
from shirq_bench.plugin import Boot
from shirq_bench.vm.machine import ADDRESSES, LOAD_MODULE, SHARED_LINE, bind_at

#: The registers at bar1+16 and above are scratch registers of three widths. The nvme's BAR 2, a 64-bit BAR, is its
#: memory buffer.
_PORTS = "bar0+0/32 status; bar1+16/32 scratch0; bar1+20/16 scratch1; bar1+24/8 scratch2"
_DEVICES = {
    "ports": (f"shirq-edu,id=ports,addr=7,bar1=port:32,registers={_PORTS}", "0000:00:07.0"),
    "buffer": ("nvme,id=buffer,serial=1,cmb_size_mb=1,legacy-cmb=on,addr=6", "0000:00:06.0"),
}


@pytest.fixture
def functions(boot: Boot, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """A guest with both functions, bound to shirq."""
    machine = SHARED_LINE.with_(devices=(*SHARED_LINE.devices, *(device for device, _ in _DEVICES.values())))
    scene = Scene(boot(machine, cold=True))
    scene.run(LOAD_MODULE)
    for name, (_, address) in _DEVICES.items():
        monkeypatch.setitem(ADDRESSES, name, address)
        scene.bind(name)
    return scene


def test_eight_bytes_are_accessed_at_once_where_the_bar_is_wide(functions: Scene) -> None:
    assert run(functions, "buffer", spaces.wide) == [
        "True 1048576",
        "0x123456789abcdef 0x1234567 0xcdef 0x1",
        "0xefcdab8967452301",
        "EINVAL EINVAL 0xefcdab8967452301",
    ]


def test_port_bar_is_reached_by_io_and_programs_but_not_mapped(functions: Scene) -> None:
    """A port BAR is reached by positional I/O and by programs, but is not mapped."""
    assert run(functions, "ports", spaces.ports) == [
        "True EINVAL",
        "0x1234567 0x1234567",
        "0x89ab 0x89ab",
        "0xcd 0xcd",
        "0x76543210 EINVAL",
    ]


def test_a_function_without_an_interrupt_pin_is_not_bound(boot: Boot) -> None:
    """shirq refuses a function without an interrupt line, and the kernel log gives the reason."""
    scene = Scene(boot(SHARED_LINE.with_(devices=(*SHARED_LINE.devices, "shirq-edu,addr=7,intx-pin=none")), cold=True))
    scene.run(LOAD_MODULE)
    address = "0000:00:07.0"
    scene.run(f"! {{ {bind_at(address, 'shirq')}; }} && test ! -e /dev/shirq/{address}")
    assert f"{address}: has no interrupt pin" in scene.run("dmesg")


@pytest.mark.parametrize("device", ["ports", "buffer"])
def test_info_says_what_sysfs_says(functions: Scene, device: str) -> None:
    """GET_INFO returns the same IDs and BARs as sysfs, and the features of the module."""
    assert run(functions, device, spaces.info) == ["[] True", "True 1 256", "True", "True True"]
