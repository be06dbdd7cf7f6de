# SPDX-License-Identifier: MIT
"""A device that is gone, or that was not recovered, cannot storm when it is back, and its owner is notified."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from guest.guest_python import finish, start
from guest.port import behind_a_port
from guest.quiet import line_not_given_up
from guest.scripts import gone
from guest.test_storm import CALLS
from shirq_bench.channels.log import Kind
from shirq_bench.observe.scene import Scene
from shirq_bench.plugin import Boot
from shirq_bench.vm.machine import ADDRESSES, SHARED_LINE, insmod


@dataclass(frozen=True)
class Case:
    """Which part of dev0 reads as all-ones for a while, and the fault of its DisINTx."""

    dead: str
    disintx: str


CASES = {
    "all of it": Case("all", "ok"),
    "all of it, DisINTx does nothing": Case("all", "no-op"),
    "its BARs, DisINTx works": Case("bars", "ok"),
    "its BARs, DisINTx does nothing": Case("bars", "no-op"),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_device_back_after_gone_cannot_storm(scene: Scene, case: Case) -> None:
    """When the device is back, the owner's mappings are invalid, bus mastering is off, and its line is watched."""
    vm = scene.vm
    vm.qmp.set("dev0", "disintx", case.disintx)
    script = start(scene, "dev0", gone.back_again)
    script.expect("^armed 0x4$", deadline=120)
    vm.qmp.set("dev0", "dead", case.dead)
    scene.network.ping(2)  # The neighbour's interrupts run dev0's irq program, which reads all-ones.
    script.write("\n")
    script.expect("^told ENODEV ENODEV$", deadline=120)
    vm.qmp.set("dev0", "dead", "off")
    with scene.record("nic0") as recorded:
        script.write("\n")
        script.expect("^bus mastering is off gone$", deadline=120)
        script.expect("^mapping SIGBUS$", deadline=120)
        vm.qmp.set("dev0", "raise", 1)
        script.write("\n")
        script.expect("^closed parked$", deadline=120)
        finish(script, deadline=120)
        vm.qmp.set("dev0", "lower", 1)
        scene.network.ping(3)
    line_not_given_up(scene)
    assert len(recorded.of(Kind.DELIVER, offset=recorded.gsi)) < CALLS, "the line stormed"


def test_a_device_back_after_its_owner_left_is_silenced(scene: Scene) -> None:
    """The owner closes while the device does not answer; the device comes back, without an owner, as a bus master."""
    script = start(scene, "dev0", gone.owner_left)
    script.expect("^armed 0x4$", deadline=120)
    scene.vm.qmp.set("dev0", "dead", "all")
    scene.network.ping(2)
    script.write("\n")
    script.expect("^closed$", deadline=120)
    scene.vm.qmp.set("dev0", "dead", "off")
    script.write("\n")
    script.expect("^silent$", deadline=120)
    finish(script, deadline=120)


def test_device_asserting_on_return_has_a_handler_at_its_line(scene: Scene) -> None:
    """If a device asserts as soon as it is back, shirq.ko already has a handler on its line.

    The owner closed while the device did not answer. shirq.ko polls the device only each second, and the device asserts
    earlier.
    """
    script = start(scene, "dev0", gone.asserts_on_return)
    script.expect("^armed$", deadline=120)
    scene.vm.qmp.set("dev0", "dead", "all")
    scene.network.ping(2)
    script.write("\n")
    script.expect("^closed parked$", deadline=120)
    with scene.record("nic0") as recorded:
        with scene.vm.frozen():
            scene.vm.qmp.set("dev0", "dead", "off")
            scene.vm.qmp.set("dev0", "raise", 1)
        script.write("\n")
        script.expect("^silent$", deadline=120)
        script.expect("^opened OK$", deadline=120)
        finish(script, deadline=120)
    assert recorded.assertions("dev0"), "the device did not assert"
    assert len(recorded.of(Kind.DELIVER, offset=recorded.gsi)) < CALLS, "the line stormed"
    line_not_given_up(scene)
    scene.network.ping(3)


def test_a_device_that_died_before_it_is_armed_is_gone(scene: Scene) -> None:
    """No program reads the device's registers: the module finds out by a read of config space."""
    script = start(scene, "dev0", gone.died_before_it_is_armed)
    script.expect("^loaded$", deadline=120)
    scene.vm.qmp.set("dev0", "dead", "all")
    script.write("\n")
    assert finish(script, deadline=120)[1:] == ["ENODEV gone ENODEV"]


def test_gone_device_stays_watched_after_a_reset_by_others(boot: Boot) -> None:
    """shirq.ko keeps watching a device that is gone after another party has reset it.

    After the reset the device is back and asserts at once. The owner still has it open, and all the owner's calls fail.
    """
    port = Scene(boot(behind_a_port("pm=on", "pcie=on")))
    vm = port.vm
    for name, value in {"disintx": "no-op", "reset-unmasked": 1, "reset-status": 1}.items():
        vm.qmp.set("dev2", name, value)
    script = start(port, "dev2", gone.reset_by_others)
    script.expect("^armed$", deadline=120)
    vm.qmp.set("dev2", "dead", "bars")
    port.network.ping(2)
    script.write("\n")
    script.expect("^ENODEV$", deadline=120)
    vm.qmp.set("dev2", "dead", "off")
    with port.record("dev2") as recorded:
        script.write("\n")
        script.expect("^reset gone$", deadline=120)
        port.network.ping(3)
        script.write("\n")
        finish(script, deadline=120)
    assert recorded.assertions(), "the device did not assert"
    line_not_given_up(port)


_GIVE_UP = Path(__file__).parent / "giveup"


@pytest.mark.long
def test_an_error_that_nobody_recovers_from_ends_in_enodev(boot: Boot) -> None:
    """Recovery fails if another driver on the bus does not support it, and no callback tells the module about that."""
    machine = SHARED_LINE.with_(modules=(str(_GIVE_UP),), deterministic=True, vcpus=1)
    scene = Scene(boot(machine))
    script = start(scene, "dev1", gone.not_recovered)
    script.expect("^armed$", deadline=120)
    scene.run(insmod("giveup", f"address={ADDRESSES['dev1']} error=1"), deadline=60)
    script.write("\n")
    assert finish(script, deadline=300)[1:] == ["paused EIO", "ENODEV gone", "armed again armed"]
