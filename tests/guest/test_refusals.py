# SPDX-License-Identifier: MIT
"""Calls that the module refuses because of the device's properties or state."""

from __future__ import annotations

from pathlib import Path

import pytest

from guest.guest_python import finish, run, start
from guest.quiet import is_quiet
from guest.scripts import refusals
from shirq_bench.observe.scene import Scene
from shirq_bench.plugin import Boot
from shirq_bench.vm.machine import ADDRESSES, SHARED_LINE, bind, insmod

_PORT = "0000:00:10.0"


def test_a_bridge_is_not_bound(port: Scene) -> None:
    function = f"/sys/bus/pci/devices/{_PORT}"
    port.run(f"echo {_PORT} >{function}/driver/unbind && echo shirq >{function}/driver_override")
    assert "Invalid argument" in port.vm.agent.fail(f"echo {_PORT} >/sys/bus/pci/drivers/shirq/bind")
    port.run(f"test ! -e {function}/driver && test ! -e /dev/shirq/{_PORT}")


@pytest.mark.long
def test_function_with_an_unrouted_pin_has_registers_and_no_irq(boot: Boot) -> None:
    """A function whose pin is not connected has registers and no interrupt."""
    scene = Scene(boot(SHARED_LINE.with_(modules=(str(Path(__file__).with_name("noline")),))))
    address = ADDRESSES["dev1"]
    scene.run(f"echo {address} >/sys/bus/pci/drivers/shirq/unbind")
    scene.run(f"{insmod('noline', f'address={address}')} && {bind('dev1')}")
    assert run(scene, "dev1", refusals.without_a_line) == ["0 0 False", "ENXIO ENXIO 0x20000ed open", "parked"]


def test_device_is_not_opened_until_it_answers(scene: Scene) -> None:
    """open() fails while the device does not answer."""
    scene.vm.qmp.set("dev1", "dead", "all")
    assert run(scene, "dev1", refusals.not_opened) == ["ENODEV parked"]
    scene.vm.qmp.set("dev1", "dead", "off")
    assert run(scene, "dev1", refusals.opened) == ["OPEN"]


def test_device_that_died_under_its_owner_reopens_silent(scene: Scene) -> None:
    """If a device stopped answering while it was owned, it is silent after the next open().

    The release program could not run while the device did not answer; open() runs it at the latest.
    """
    script = start(scene, "dev0", refusals.died)
    script.expect("^armed$")
    scene.vm.qmp.set("dev0", "dead", "all")
    script.write("\n")
    assert finish(script)[1:] == ["ENODEV ENODEV ENODEV ENODEV", "gone"]
    scene.vm.qmp.set("dev0", "dead", "off")
    again = start(scene, "dev0", refusals.stays_open)
    again.expect("^OPEN$")
    scene.raise_("dev0")
    assert scene.vm.qmp.get("dev0", "mask") == 0xFFFFFFFF, "the release program of the last owner has not run"
    assert not scene.vm.qmp.get("dev0", "pin"), "the device asserts"
    again.write("\n")
    finish(again)


def test_device_gone_at_its_first_interrupt_is_not_armed(scene: Scene) -> None:
    """Arming fails if the device is gone at its first interrupt.

    The kernel may call the handler from request_irq(): then ARM fails. It may also call it right after that.
    """
    scene.vm.qmp.set("dev1", "raise", 0xFFFFFFFF)
    assert run(scene, "dev1", refusals.gone_at_once) == ["True ENODEV gone"]
    scene.vm.qmp.set("dev1", "lower", 0xFFFFFFFF)


def test_a_reset_at_release_that_the_device_cannot_do_is_told(scene: Scene) -> None:
    script = start(scene, "dev1", refusals.reset_at_release)
    script.expect("^armed$")
    scene.raise_("dev1")
    finish(script)
    assert f"{ADDRESSES['dev1']}: not reset at release" in scene.run("dmesg")
    is_quiet(scene, "dev1")


def test_device_under_reset_is_paused_and_cannot_be_armed(port: Scene) -> None:
    """While it is being reset, a device is paused and cannot be armed.

    Function-level resets of 100 ms are made repeatedly, so that the owner's calls meet one.
    """
    assert run(port, "dev2", refusals.under_reset) == ["EIO paused OK"]


def test_a_quarantine_has_its_tracepoint(scene: Scene) -> None:
    tracing = "/sys/kernel/tracing"
    scene.run(f"echo 1 >{tracing}/events/shirq/shirq_quarantine/enable && echo 1 >{tracing}/tracing_on")
    script = start(scene, "dev0", refusals.quarantine)
    script.expect("^armed$")
    scene.raise_("dev0")
    finish(script)
    assert f"shirq_quarantine: {ADDRESSES['dev0']} reason=1 rung=1" in scene.run(f"cat {tracing}/trace")
