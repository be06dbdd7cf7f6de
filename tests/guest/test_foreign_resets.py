# SPDX-License-Identifier: MIT
"""Resets by others while the module resets, silences or gives up the same device: both complete, in any order."""

from __future__ import annotations

import pytest

from guest.guest_python import finish, start
from guest.port import behind_a_port
from guest.test_ladder import stats_of
from guest.test_storm import USELESS_RELEASE
from shirq_bench.channels.log import CONFIG_SPACE, Kind
from shirq_bench.observe.scene import Scene
from shirq_bench.plugin import Boot

_MACHINE = behind_a_port("pm=on", "pcie=on")

#: In the guest: an owner that closes as an administrator's reset, of 100 ms, is under way. The PCI core holds the
#: config access lock from before it tells the driver until after it.
_CLOSER = """
device = shirq.Device.open(ADDRESS)
device.set_quiesce(release=RELEASE)
device.load(SET)
device.arm(auto_unmask=False)
report("armed")
proceed()
pid = os.fork()
if not pid:
    os.close(device.fileno())
    Path("/sys/bus/pci/devices", ADDRESS, "reset").write_text("1")
    os._exit(0)
while state() != "paused":
    pass
device.close()
report("closed", state())
os.waitpid(pid, 0)
report("reset over", state(), fails(shirq.Device.open, ADDRESS))
"""


@pytest.mark.parametrize("release", [0, 2], ids=["no reset at release", "FLR at release"])
def test_close_during_a_foreign_reset_ends_and_waits_for_it(boot: Boot, release: int) -> None:
    """The device is not accessed while it is being reset; and neither call waits for the other for ever."""
    port = Scene(boot(_MACHINE))
    script = start(port, "dev2", f"RELEASE = abi.Quiesce({release})\n" + _CLOSER)
    script.expect("^armed$", deadline=120)
    port.raise_("dev2")
    mark = port.vm.log().mark
    script.write("\n")
    assert finish(script, deadline=120)[1:] == ["closed parked", "reset over parked OK"]
    log = port.vm.log().since(mark)
    resets = log.of(Kind.RESET, device="dev2")
    assert len(resets) >= 1 + bool(release), "the device was not reset by both"
    entries = log.of(Kind.READ, Kind.WRITE, Kind.RESET, device="dev2")
    after = entries[entries.index(resets[0]) :]
    restored = next(n for n, entry in enumerate(after) if entry.kind is Kind.WRITE and entry.space == CONFIG_SPACE)
    touched = [entry for entry in after[:restored] if entry.kind is not Kind.RESET and entry.space == 0]
    assert not touched, "a register was accessed before the PCI core had restored the device"


#: In the guest: an owner whose device is quarantined again and again.
_STORMER = (
    USELESS_RELEASE
    + """
device = shirq.Device.open(ADDRESS)
device.set_quiesce(abi.Quiesce(3))
device.load(useless)
for _ in range(ROUNDS):
    while fails(device.arm, auto_unmask=False) != "OK":
        time.sleep(0.02)
    report("armed")
    proceed()
    while device.read().type is not shirq.EventType.QUARANTINED:
        pass
    report("told")
    proceed()
"""
)
_ROUNDS = 10
#: In the guest: an administrator who resets the device in D3hot, later by 1.6 ms each time.
_RESETTER = """
report("ready")
for number in range(ROUNDS):
    while stat("rung_d3hot") <= number:
        time.sleep(0.0005)
    time.sleep(number * 0.0016)
    Path("/sys/bus/pci/devices", ADDRESS, "reset").write_text("1")
    report("reset", number)
"""


def test_quarantines_among_foreign_resets_all_end(boot: Boot) -> None:
    """The worker wakes the device from D3hot for its next rung, 10 ms, and an administrator resets it then."""
    port = Scene(boot(_MACHINE))
    for name, value in {"disintx": "no-op", "pm-effective": "off"}.items():
        port.vm.qmp.set("dev2", name, value)
    resetter = start(port, "dev2", f"ROUNDS = {_ROUNDS}\n" + _RESETTER)
    resetter.expect("^ready$", deadline=120)
    script = start(port, "dev2", f"ROUNDS = {_ROUNDS}\n" + _STORMER)
    for number in range(_ROUNDS):
        script.expect("^armed$", deadline=120)
        script.write("\n")
        port.raise_("dev2")
        script.expect("^told$", deadline=120)
        resetter.expect(f"^reset {number}$", deadline=120)
        script.write("\n")
    finish(script, deadline=120)
    finish(resetter, deadline=120)
    assert stats_of(port, "dev2")["rung_d3hot"] == _ROUNDS


#: In the guest: an owner whose release program lets the device assert, and an administrator who resets it.
_RESET = """
wrong = dataclasses.replace(SET, release=shirq.assemble('''
    load r1, 0xffffffff
    write32 bar0+0x6c, r1
'''))
device = shirq.Device.open(ADDRESS)
device.load(wrong)
device.arm(auto_unmask=False)
report("armed")
assert device.read(timeout=TIMEOUT).type is shirq.EventType.IRQ
Path("/sys/bus/pci/devices", ADDRESS, "reset").write_text("1")
report(device.read(timeout=TIMEOUT).type.name, state())
proceed()
"""


def test_device_only_a_reset_silences_does_not_storm_before_it(boot: Boot) -> None:
    """A device that only a reset silences does not storm before that reset.

    The handler is freed after the reset, not before it. With one vCPU, a storming line leaves no CPU time.
    """
    port = Scene(boot(_MACHINE.with_(vcpus=1, deterministic=True, log_entries=1 << 22)))
    port.vm.qmp.set("/machine/q35/ioapic", "storm-pause", False)
    port.network.ping(1)
    port.vm.qmp.set("dev2", "disintx", "no-op")
    script = start(port, "dev2", _RESET)
    script.expect("^armed$", deadline=120)
    mark = port.vm.log().mark
    port.raise_("dev2")
    script.expect("^RESET loaded$", deadline=120)
    script.write("\n")
    finish(script, deadline=120)
    assert port.vm.log().since(mark).of(Kind.RESET, device="dev2"), "it was not reset"
    assert port.run("dmesg | grep -E 'nobody cared|Disabling IRQ' || true") == ""
    port.network.ping(3)
