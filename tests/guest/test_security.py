# SPDX-License-Identifier: MIT
"""Privileges: kmod/SECURITY.md names these tests."""

from __future__ import annotations

import pytest

from guest.guest_python import finish, run, start
from guest.test_storm import CALLS
from shirq_bench.observe.scene import Scene
from shirq_bench.plugin import Boot
from shirq_bench.vm.machine import ADDRESSES, LOAD_MODULE, SHARED_LINE


def test_only_root_opens_the_node_and_others_only_use_it(scene: Scene) -> None:
    """Only root opens the node, and a process that is handed it uses it and can do no more."""
    script = start(
        scene,
        "dev0",
        """
        device, registers = armed()
        os.setgroups([]); os.setgid(65534); os.setuid(65534)
        report(fails(os.open, "/dev/shirq/" + ADDRESS, os.O_RDWR))
        report(fails(device.exec, SET.release), fails(device.set_master, True), fails(device.set_quiesce, max_rate=9))
        event = device.read(timeout=TIMEOUT)
        registers.write32(edu["INT_ACK"], 1)
        report(event.seq, hex(device.pread(0, 0, 4)), device.info.state.name)
        device.disarm()
        report(fails(device.load, SET), fails(device.arm))
        """,
    )
    script.expect("^EACCES$", deadline=300)
    script.expect("^EPERM EPERM EPERM$", deadline=300)
    scene.raise_("dev0")
    assert finish(script, deadline=300)[2:] == ["1 0x20000ed ARMED", "EPERM OK"]


@pytest.mark.needs_kernel("6.1", "6.12")
def test_a_kernel_that_is_locked_down_opens_no_device(scene: Scene) -> None:
    script = start(
        scene,
        "dev0",
        """
        os.system("mount -t securityfs securityfs /sys/kernel/security")
        report(fails(lambda: shirq.Device.open(ADDRESS).close()))
        Path("/sys/kernel/security/lockdown").write_text("integrity")
        report(fails(shirq.Device.open, ADDRESS), state())
        """,
    )
    assert finish(script, deadline=300) == ["OK", "EPERM parked"]


@pytest.mark.needs_kernel("6.1", "6.12")
def test_a_bound_devices_memory_is_not_mapped_by_sysfs(scene: Scene) -> None:
    """Such a mapping could not be revoked. The BARs of an unbound function can be mapped."""
    assert run(
        scene,
        "dev0",
        """
        def through_sysfs(address):
            with open(f"/sys/bus/pci/devices/{address}/resource0", "r+b") as file:
                return fails(mmap.mmap, file.fileno(), 4096)
        print(through_sysfs(ADDRESS), through_sysfs("0000:00:05.0"))
        """,
    ) == ["EINVAL OK"]


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
    """The kernel is also tainted as soon as an owner enables DMA to all of memory."""
    machine = SHARED_LINE.with_(
        devices=("intel-iommu,intremap=off", *SHARED_LINE.devices), parameters=f"intel_iommu={iommu}"
    )
    scene = Scene(boot(machine, cold=True))
    scene.run(LOAD_MODULE)
    scene.bind("dev0")
    assert run(
        scene,
        "dev0",
        """
        device = shirq.Device.open(ADDRESS)
        user = lambda: bool(int(Path("/proc/sys/kernel/tainted").read_text()) & 1 << 6)
        flags = device.info.flags & (abi.InfoFlag.IOMMU | abi.InfoFlag.PASSTHROUGH)
        before = user()
        device.set_master(False)
        off = user()
        device.set_master(True)
        print(flags.name or "", before, off, user())
        """,
    ) == [f"{flags} False False {tainted}"]


def test_dma_behind_an_iommu_faults(boot: Boot, monkeypatch: pytest.MonkeyPatch) -> None:
    """QEMU's own edu writes to memory: nothing is mapped for it, so that the IOMMU reports a fault."""
    monkeypatch.setitem(ADDRESSES, "writer", "0000:00:07.0")
    devices = ("intel-iommu,intremap=off", *SHARED_LINE.devices, "edu,addr=7")
    scene = Scene(boot(SHARED_LINE.with_(devices=devices, parameters="intel_iommu=on"), cold=True))
    scene.run(LOAD_MODULE)
    scene.bind("writer")
    assert run(
        scene,
        "writer",
        """
        SOURCE, DESTINATION, COUNT, COMMAND, BUFFER, WRITES = 0x80, 0x88, 0x90, 0x98, 0x40000, 3
        device = shirq.Device.open(ADDRESS)
        registers = device.mmap(0)
        device.set_master(True)
        for register, value in ((SOURCE, BUFFER), (DESTINATION, 0x100000), (COUNT, 16), (COMMAND, WRITES)):
            registers.write32(register, value)
        while registers.read32(COMMAND) & 1:
            time.sleep(0.01)
        print("done")
        """,
    ) == ["done"]
    fault = r"DMA Write.*Request device \[00:07.0\] fault addr 0x100000"
    scene.run(f"until dmesg | grep -q '{fault}'; do usleep 20000; done", deadline=30)


def test_a_user_cannot_flood_the_log_with_quarantines(scene: Scene) -> None:
    """A process with a received descriptor may arm a storming device repeatedly: ten messages a minute are logged.

    Each of its storms is ended as soon as the first.
    """
    script = start(
        scene,
        "dev0",
        """
        device = shirq.Device.open(ADDRESS)
        device.load(dataclasses.replace(SET, irq=shirq.assemble(
            "read32 r0, bar0+0x2c\\nskip_if_not_zero r0, ours\\ndecline\\nours:\\nclaim")))
        os.setgroups([]); os.setgid(65534); os.setuid(65534)
        storms, began = stat("storms_masked"), time.monotonic()
        calls = lambda: sum(map(stat, ("claims", "declines", "silent")))
        most = 0
        for _ in range(40):
            before = calls()
            device.arm(auto_unmask=False)
            device.pwrite(0, 0x60, 4, 1)
            while device.read(timeout=TIMEOUT).type is not shirq.EventType.QUARANTINED:
                pass
            most = max(most, calls() - before)
        print(stat("storms_masked") - storms, 10 * (1 + (time.monotonic() - began) // 60), most)
        """,
    )
    storms, allowed, most = finish(script, deadline=300)[0].split()
    messages = scene.run("dmesg").count(f"{ADDRESSES['dev0']}: quarantined")
    assert int(storms) == 40
    assert 0 < messages <= float(allowed)
    assert int(most) < CALLS
