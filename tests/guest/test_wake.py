# SPDX-License-Identifier: MIT
"""open() of a device that asserts when it is woken from D3hot: the line lives, and the neighbours with it."""

from __future__ import annotations

import pytest

from guest.guest_python import finish, start
from guest.test_storm import USELESS_RELEASE
from shirq_bench.channels.log import Kind
from shirq_bench.observe.judge import assertions, line_of
from shirq_bench.observe.scene import Scene
from shirq_bench.plugin import Boot
from shirq_bench.vm.machine import ADDRESSES, SHARED_LINE, Machine

_OPEN = """
report("ready")
proceed()
report("opened", fails(shirq.Device.open, ADDRESS))
"""


def _machine(*properties: str, vcpus: int) -> Machine:
    """dev0 with these properties; on one vCPU a line that storms leaves no time to anybody."""
    cards = tuple(",".join((card, *properties)) if "id=dev0" in card else card for card in SHARED_LINE.devices)
    return SHARED_LINE.with_(devices=cards, vcpus=vcpus, log_entries=1 << 22, deterministic=vcpus == 1)


def _no_storm(scene: Scene, mark: int, at_most: int) -> None:
    log = scene.vm.log()
    calls = log.since(mark).of(Kind.DELIVER, offset=line_of(log, ["nic0"]))
    assert len(calls) < at_most, "the line stormed"
    assert scene.run("dmesg | grep -E 'nobody cared|Disabling IRQ' || true") == ""
    scene.network.ping(3)


@pytest.mark.parametrize("vcpus", [1, 2])
def test_open_of_a_device_that_a_wake_would_reset_storms_nothing(boot: Boot, vcpus: int) -> None:
    """Without No_Soft_Reset, waking is a reset, after which this device asserts at once: it is parked in D0 instead."""
    scene = Scene(boot(_machine("pm=on", vcpus=vcpus)))
    scene.vm.qmp.set("/machine/q35/ioapic", "storm-pause", False)
    scene.network.ping(1)
    scene.vm.qmp.set("dev0", "reset-unmasked", 1)
    scene.vm.qmp.set("dev0", "reset-status", 1)
    script = start(scene, "dev0", _OPEN)
    script.expect("^ready$", deadline=120)
    mark = scene.vm.log().mark
    script.write("\n")
    script.expect("^opened OK$", deadline=120)
    finish(script, deadline=120)
    _no_storm(scene, mark, 100)


#: In the guest: an owner whose device only D3hot silences when it has left, and which is opened again.
_NEEDS_D3HOT = (
    USELESS_RELEASE
    + """
device = shirq.Device.open(ADDRESS)
device.load(useless)
device.arm(auto_unmask=False)
report("armed")
assert device.read(timeout=TIMEOUT).type is shirq.EventType.IRQ
device.close()
report("closed", hex(power() & 3))
report("opened", fails(shirq.Device.open, ADDRESS), hex(power() & 3), state())
proceed()
"""
)
#: In the guest: PMCSR of the device.
_POWER = """
def power():
    config = (Path("/sys/bus/pci/devices") / ADDRESS / "config").read_bytes()
    at = config[0x34]
    while config[at] != 1:
        at = config[at + 1]
    return int.from_bytes(config[at + 4:at + 6], "little")
"""


@pytest.mark.parametrize("vcpus", [1, 2])
def test_device_only_d3hot_silences_cannot_be_opened(boot: Boot, vcpus: int) -> None:
    """A device that only D3hot silences cannot be opened and causes no storm.

    It asserts as soon as it is awake, before an owner could do anything: the line is watched meanwhile.
    """
    scene = Scene(boot(_machine("pm=on", "no-soft-reset=on", vcpus=vcpus)))
    scene.network.ping(1)
    scene.vm.qmp.set("dev0", "disintx", "no-op")
    script = start(scene, "dev0", _POWER + _NEEDS_D3HOT)
    script.expect("^armed$", deadline=120)
    scene.raise_("dev0")
    script.expect("^closed 0x3$", deadline=120)
    script.expect("^opened EIO 0x3 parked$", deadline=120)
    log = scene.vm.log()
    gsi = line_of(log, ["nic0"])
    masked = log.of(Kind.LINE_MASK, offset=gsi)
    assert masked and not masked[-1].value, "the line is still masked"
    assert scene.run("dmesg | grep -E 'nobody cared|Disabling IRQ' || true") == ""
    scene.network.ping(3)
    script.write("\n")
    finish(script, deadline=120)
    assert ADDRESSES["dev0"] in scene.run("dmesg | grep 'nothing is left to try'")


#: In the guest: an owner whose device only D3hot silences after close(); and an administrator's actions then.
_LEAVES_IT_ASLEEP = (
    _POWER
    + USELESS_RELEASE
    + """
device = shirq.Device.open(ADDRESS)
device.load(useless)
device.arm(auto_unmask=False)
report("armed")
assert device.read(timeout=TIMEOUT).type is shirq.EventType.IRQ
device.close()
report("closed", hex(power() & 3))
proceed()
"""
)


def _is_asleep_again(boot: Boot, vcpus: int, administrator: str) -> None:
    """dev0, which asserts whenever it is woken, sleeps after the administrator's actions, and the line still works."""
    scene = Scene(boot(_machine("pm=on", vcpus=vcpus)))
    scene.vm.qmp.set("/machine/q35/ioapic", "storm-pause", False)
    scene.network.ping(1)
    for name, value in {"disintx": "no-op", "reset-unmasked": 1, "reset-status": 1}.items():
        scene.vm.qmp.set("dev0", name, value)
    script = start(
        scene, "dev0", f'{_LEAVES_IT_ASLEEP}{administrator}\nreport("after it", hex(power() & 3), state())\n'
    )
    script.expect("^armed$", deadline=120)
    scene.raise_("dev0")
    script.expect("^closed 0x3$", deadline=120)
    mark = scene.vm.log().mark
    script.write("\n")
    script.expect("^after it 0x3 parked$", deadline=120)
    finish(script, deadline=120)
    assert assertions(scene.vm.log().since(mark), "dev0"), "it did not assert"
    assert scene.run("dmesg | grep -E 'nobody cared|Disabling IRQ' || true") == ""
    scene.network.ping(3)


@pytest.mark.parametrize("vcpus", [1, 2])
def test_device_only_d3hot_silences_returns_to_d3hot_at_rebind(boot: Boot, vcpus: int) -> None:
    """A device that only D3hot silences is put into D3hot again when it is bound again.

    The kernel wakes it to enable it, which resets it, and it asserts, with no driver's handler at its line.
    """
    _is_asleep_again(
        boot,
        vcpus,
        'Path("/sys/bus/pci/drivers/shirq/unbind").write_text(ADDRESS)\n'
        'Path("/sys/bus/pci/drivers_probe").write_text(ADDRESS)',
    )


@pytest.mark.parametrize("vcpus", [1, 2])
def test_device_only_d3hot_silences_is_quiet_at_foreign_resets(boot: Boot, vcpus: int) -> None:
    """A device that only D3hot silences causes no storm when others reset it.

    It is parked, without an owner, and the kernel wakes it for an administrator's reset.
    """
    _is_asleep_again(boot, vcpus, 'Path("/sys/bus/pci/devices", ADDRESS, "reset").write_text("1")')
