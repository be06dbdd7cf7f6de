# SPDX-License-Identifier: MIT
"""A device asserts when it is woken from D3hot, by open() or a reset: its line and its neighbours still work."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from guest.guest_python import finish, start
from guest.quiet import line_not_given_up
from guest.scripts import wake
from shirq_bench.channels.log import Kind
from shirq_bench.observe.judge import line_of
from shirq_bench.observe.scene import Scene
from shirq_bench.plugin import Boot
from shirq_bench.vm.machine import ADDRESSES, SHARED_LINE, Machine


def _machine(*properties: str, vcpus: int) -> Machine:
    """Return a machine whose dev0 has these properties; with one vCPU, a storming line takes all CPU time."""
    cards = tuple(",".join((card, *properties)) if "id=dev0" in card else card for card in SHARED_LINE.devices)
    return SHARED_LINE.with_(devices=cards, vcpus=vcpus, log_entries=1 << 22, deterministic=vcpus == 1)


@pytest.mark.long
@pytest.mark.parametrize("vcpus", [1, 2])
def test_open_of_a_device_that_a_wake_would_reset_storms_nothing(boot: Boot, vcpus: int) -> None:
    """Waking from D3hot would reset a device without No_Soft_Reset: shirq.ko parks it in D0, not in D3hot."""
    scene = Scene(boot(_machine("pm=on", vcpus=vcpus)))
    scene.vm.qmp.set("/machine/q35/ioapic", "storm-pause", False)
    scene.network.ping(1)
    scene.vm.qmp.set("dev0", "reset-unmasked", 1)
    scene.vm.qmp.set("dev0", "reset-status", 1)
    script = start(scene, "dev0", wake.opens)
    script.expect("^ready$", deadline=120)
    with scene.record("nic0") as recorded:
        script.write("\n")
        script.expect("^opened OK$", deadline=120)
        finish(script, deadline=120)
    assert len(recorded.of(Kind.DELIVER, offset=recorded.gsi)) < 100, "the line stormed"
    line_not_given_up(scene)
    scene.network.ping(3)


@pytest.mark.long
@pytest.mark.parametrize("vcpus", [1, 2])
def test_device_only_d3hot_silences_cannot_be_opened(boot: Boot, vcpus: int) -> None:
    """open() of a device that only D3hot silences fails, and causes no storm.

    The device asserts as soon as it is awake, before an owner could act, so that shirq.ko watches the line during
    open().
    """
    scene = Scene(boot(_machine("pm=on", "no-soft-reset=on", vcpus=vcpus)))
    scene.network.ping(1)
    scene.vm.qmp.set("dev0", "disintx", "no-op")
    script = start(scene, "dev0", wake.needs_d3hot)
    script.expect("^armed$", deadline=120)
    scene.raise_("dev0")
    script.expect("^closed 0x3$", deadline=120)
    script.expect("^opened EIO 0x3 parked$", deadline=120)
    log = scene.vm.log()
    gsi = line_of(log, ["nic0"])
    masked = log.of(Kind.LINE_MASK, offset=gsi)
    assert masked and not masked[-1].value, "the line is still masked"
    line_not_given_up(scene)
    scene.network.ping(3)
    script.write("\n")
    finish(script, deadline=120)
    assert ADDRESSES["dev0"] in scene.run("dmesg | grep 'nothing is left to try'")


def _is_asleep_again(boot: Boot, vcpus: int, what: Callable[[], None]) -> None:
    """Assert that dev0, which asserts when it is woken, is in D3hot after the script ``what``, and its line works."""
    scene = Scene(boot(_machine("pm=on", vcpus=vcpus)))
    scene.vm.qmp.set("/machine/q35/ioapic", "storm-pause", False)
    scene.network.ping(1)
    for name, value in {"disintx": "no-op", "reset-unmasked": 1, "reset-status": 1}.items():
        scene.vm.qmp.set("dev0", name, value)
    script = start(scene, "dev0", what)
    script.expect("^armed$", deadline=120)
    scene.raise_("dev0")
    script.expect("^closed 0x3$", deadline=120)
    with scene.record("dev0") as recorded:
        script.write("\n")
        script.expect("^after it 0x3 parked$", deadline=120)
        finish(script, deadline=120)
    assert recorded.assertions(), "the device did not assert"
    line_not_given_up(scene)
    scene.network.ping(3)


@pytest.mark.long
@pytest.mark.parametrize("vcpus", [1, 2])
def test_device_only_d3hot_silences_returns_to_d3hot_at_rebind(boot: Boot, vcpus: int) -> None:
    """When a device that only D3hot silences is bound again, shirq.ko puts it into D3hot again.

    The kernel wakes the device to enable it. That resets the device, which asserts while no driver has a handler.
    """
    _is_asleep_again(boot, vcpus, wake.bound_again)


@pytest.mark.parametrize("vcpus", [1, 2])
def test_device_only_d3hot_silences_is_quiet_at_foreign_resets(boot: Boot, vcpus: int) -> None:
    """If others reset a device that only D3hot silences, it causes no storm.

    The device is parked. The kernel wakes it for the administrator's reset.
    """
    _is_asleep_again(boot, vcpus, wake.reset_by_others)
