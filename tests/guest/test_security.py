# SPDX-License-Identifier: MIT
"""Who may do what: kmod/SECURITY.md names these tests."""

from __future__ import annotations

import pytest

from guest.guest_python import finish, start
from shirq_bench.scene import Scene


def test_only_root_opens_the_node_and_whoever_is_handed_it_uses_it_and_no_more(scene: Scene) -> None:
    script = start(
        scene,
        "dev0",
        """
        device, registers = armed()
        os.setgroups([]); os.setgid(65534); os.setuid(65534)
        report(fails(os.open, "/dev/shirq/" + ADDRESS, os.O_RDWR))
        report(fails(device.exec, SET.release), fails(device.set_master, True), fails(device.set_quiesce, max_rate=9))
        event = device.read(timeout=20)
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
