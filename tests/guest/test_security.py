# SPDX-License-Identifier: MIT
"""Privileges: kmod/SECURITY.md refers to these tests."""

from __future__ import annotations

import pytest

from guest.guest_python import finish, run, start
from guest.scripts import security
from guest.test_storm import CALLS
from shirq_bench.observe.scene import Scene
from shirq_bench.plugin import Boot
from shirq_bench.vm.machine import ADDRESSES, LOAD_MODULE, SHARED_LINE


def test_only_root_opens_the_node_and_others_only_use_it(scene: Scene) -> None:
    """Only root can open the node; another process that receives the descriptor can only use the device."""
    script = start(scene, "dev0", security.handed_over)
    script.expect("^EACCES$", deadline=300)
    script.expect("^EPERM EPERM EPERM$", deadline=300)
    scene.raise_("dev0")
    assert finish(script, deadline=300)[2:] == ["1 0x20000ed ARMED", "EPERM OK"]


@pytest.mark.needs_kernel("6.1", "6.12")
def test_a_kernel_that_is_locked_down_opens_no_device(scene: Scene) -> None:
    script = start(scene, "dev0", security.locked_down)
    assert finish(script, deadline=300) == ["OK", "EPERM parked"]


@pytest.mark.needs_kernel("6.1", "6.12")
def test_a_bound_devices_memory_is_not_mapped_by_sysfs(scene: Scene) -> None:
    """sysfs does not map the BARs of a bound device, because shirq.ko could not revoke the mapping.

    The BARs of an unbound function can be mapped.
    """
    assert run(scene, "dev0", security.sysfs_mappings, "0000:00:05.0") == ["EINVAL OK"]


@pytest.mark.parametrize(
    ("iommu", "flags", "tainted"),
    [
        ("off", "", True),
        ("on", "IOMMU", False),
        ("on iommu=pt", "PASSTHROUGH", True),
    ],
)
@pytest.mark.long
def test_info_says_what_keeps_the_device_from_memory(boot: Boot, iommu: str, flags: str, tainted: bool) -> None:
    """The kernel is tainted when an owner enables bus mastering and no IOMMU restricts the device's DMA."""
    machine = SHARED_LINE.with_(
        devices=("intel-iommu,intremap=off", *SHARED_LINE.devices), parameters=f"intel_iommu={iommu}"
    )
    scene = Scene(boot(machine, cold=True))
    scene.run(LOAD_MODULE)
    scene.bind("dev0")
    assert run(scene, "dev0", security.taint) == [f"{flags} False False {tainted}"]


def test_dma_behind_an_iommu_faults(boot: Boot, monkeypatch: pytest.MonkeyPatch) -> None:
    """QEMU's edu writes to memory. No memory is mapped for it, so that the IOMMU reports a fault."""
    monkeypatch.setitem(ADDRESSES, "writer", "0000:00:07.0")
    devices = ("intel-iommu,intremap=off", *SHARED_LINE.devices, "edu,addr=7")
    scene = Scene(boot(SHARED_LINE.with_(devices=devices, parameters="intel_iommu=on"), cold=True))
    scene.run(LOAD_MODULE)
    scene.bind("writer")
    assert run(scene, "writer", security.dma) == ["done"]
    fault = r"DMA Write.*Request device \[00:07.0\] fault addr 0x100000"
    scene.run(f"until dmesg | grep -q '{fault}'; do usleep 20000; done", deadline=30)


def test_a_user_cannot_flood_the_log_with_quarantines(scene: Scene) -> None:
    """A process that received a descriptor may cause storms again and again: at most ten messages a minute are logged.

    Each of the storms ends as quickly as the first one.
    """
    script = start(scene, "dev0", security.forty_storms)
    storms, allowed, most = finish(script, deadline=300)[0].split()
    messages = scene.run("dmesg").count(f"{ADDRESSES['dev0']}: quarantined")
    assert int(storms) == 40
    assert 0 < messages <= float(allowed)
    assert int(most) < CALLS
