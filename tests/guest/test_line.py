# SPDX-License-Identifier: MIT
"""A line that the kernel has given up: the owner is told, is served by the kernel's poll, and can revive the line.

Also what the programs of a set keep for each other, and the count of lost interrupts.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from guest.guest_python import finish, start
from guest.quiet import STORM_ENTRIES, STORM_PARAMETERS
from guest.scripts import line
from shirq_bench.campaigns.zoo.run import PRELUDE
from shirq_bench.channels.log import Kind
from shirq_bench.observe.scene import Scene
from shirq_bench.observe.triggers import PinFalls
from shirq_bench.plugin import Boot
from shirq_bench.vm.machine import ADDRESSES, LOAD_MODULE, NEIGHBOUR_UP, SHARED_LINE, Machine, bind, gsi_of, insmod

#: A module that makes a timer's function wait before it gets its lock.
_LATE = Path(__file__).parent / "late"


def may_storm(boot: Boot, machine: Machine = SHARED_LINE) -> Scene:
    """Boot a guest in which a storm may last until the kernel ends it."""
    scene = Scene(boot(machine.with_(log_entries=STORM_ENTRIES, parameters=STORM_PARAMETERS)))
    scene.vm.qmp.set("/machine/q35/ioapic", "storm-pause", False)
    return scene


def given_up(scene: Scene) -> None:
    """Wait until the kernel has disabled a line."""
    scene.run("until dmesg | grep -q 'Disabling IRQ'; do usleep 20000; done", deadline=120)


@pytest.fixture
def storming(boot: Boot) -> Scene:
    """A guest in which a storm may last until the kernel ends it. dev1 has no DisINTx, and nobody serves it."""
    return may_storm(boot)


def storm(scene: Scene, folder: Path, pin: str = "A", meanwhile: str = "") -> None:
    """Let dev1 assert, unserved, until the kernel has disabled the line to which that pin leads.

    ``meanwhile`` is done by dev0 soon after the storm's beginning.
    """
    vm, path, second = scene.vm, folder / "storm", folder / "meanwhile"
    with vm.frozen():
        vm.qmp.set("dev1", "intx-pin", pin)
        soon = vm.now_ns() + 1_000_000
        path.write_text(f"@{soon} unmask 1\n@{soon} raise 1\n")
        vm.qmp.set("dev1", "schedule", str(path))
        if meanwhile:
            second.write_text(f"@{soon + 20_000_000} {meanwhile}\n")
            vm.qmp.set("dev0", "schedule", str(second))
    given_up(scene)
    vm.qmp.set("dev1", "lower", 1)


def raise_often(scene: Scene, times: int) -> None:
    """Let dev0 raise an interrupt that often; its irq program acknowledges each."""
    with scene.record("dev0", settled=False) as recorded:
        for _number in range(times):
            scene.vm.qmp.set("dev0", "raise", 1)
            recorded.wait(PinFalls("dev0"))


@pytest.mark.splats_expected
def test_owner_is_told_that_the_kernel_gave_the_line_up(storming: Scene, tmp_path: Path) -> None:
    """The owner reads LINE_OFF; the kernel's poll loses and doubles nothing; arming again revives the line."""
    scene = storming
    script = start(scene, "dev0", line.given_up)
    script.expect("^armed on False$")
    storm(scene, tmp_path)
    script.expect("^LINE_OFF 0 armed off True 1$", deadline=120)
    script.expect("^True$")
    assert "off" in scene.run(f"cat /sys/class/shirq/{ADDRESSES['dev0']}/line")
    for number in range(1, 6):
        script.write("\n")
        scene.vm.qmp.set("dev0", "raise", 1 << number)
        script.expect(f"^IRQ {number} {1 << number:#x}$")
    script.expect("^silence$", deadline=120)
    script.expect("^disarmed disabled False$")
    script.expect("^armed on False$")
    scene.raise_("dev0", bits=8)
    script.expect("^IRQ 0x8 on False 1$")
    finish(script)
    # The neighbour lives again too.
    scene.network.ping(3)


@pytest.mark.splats_expected
def test_owner_that_unmasks_just_before_the_first_poll_is_told(boot: Boot, tmp_path: Path) -> None:
    """No handler call but those of the kernel's poll shows that the line is disabled.

    The guest counts instructions: a busy host cannot delay the unmask until after the poll.
    """
    scene = may_storm(boot, SHARED_LINE.with_(vcpus=1, deterministic=True))
    script = start(scene, "dev0", line.unmasked_at_the_end)
    script.expect("^masked$")
    storm(scene, tmp_path)
    script.expect("^LINE_OFF off True$", deadline=120)
    finish(script)


@pytest.mark.splats_expected
def test_owner_is_told_that_another_driver_revived_the_line(storming: Scene, tmp_path: Path) -> None:
    """Another driver registers a handler, which revives the line: the owner reads LINE_ON."""
    scene = storming
    script = start(scene, "dev0", line.revived, ADDRESSES["dev1"])
    script.expect("^armed$")
    storm(scene, tmp_path)
    script.expect("^LINE_OFF off True$", deadline=120)
    script.write("\n")
    script.expect("^LINE_ON 0 armed on False$", deadline=120)
    finish(script)
    scene.network.ping(3)


@pytest.mark.splats_expected
def test_device_behind_a_forgetful_bridge_is_not_blamed(storming: Scene) -> None:
    """The line stays high after the device was served: the owner is told, and can revive the line once it is low."""
    scene = storming
    with scene.vm.frozen():
        scene.vm.qmp.set("dev0", "intx-status", "zero")
        # Threads need longer for as many interrupts.
        scene.vm.qmp.set("dev0", "deassert-delay-ns", 10_000_000_000 if scene.vm.threads_handlers else 3_000_000_000)
    script = start(scene, "dev0", line.behind_a_bridge)
    script.expect("^armed$")
    with scene.record("dev0", settled=False) as recorded:
        scene.vm.qmp.set("dev0", "raise", 2)
        script.expect("^IRQ$")
        script.expect("^LINE_OFF armed off True$", deadline=120)
        recorded.wait(PinFalls("dev0"))
    scene.vm.qmp.set("dev0", "deassert-delay-ns", 0)
    script.write("\n")
    script.expect("^armed on False$")
    scene.raise_("dev0", bits=4)
    script.expect("^IRQ on False$")
    finish(script)
    scene.network.ping(3)


@pytest.mark.splats_expected
def test_binding_silences_what_asserts_after_msi_was_stopped(boot: Boot) -> None:
    """A driver has stopped MSI with a cause pending: the pin rises on a line where nobody serves it, and kills it.

    Binding silences the device, and arming revives the line.
    """
    devices = (f"{SHARED_LINE.devices[0]},msi=on", *SHARED_LINE.devices[1:])
    scene = may_storm(boot, SHARED_LINE.with_(devices=devices, prepare=(NEIGHBOUR_UP, LOAD_MODULE)))
    address = ADDRESSES["dev0"]
    on, off = (f"config {address} $(($(capability {address} 05) + 2)) 00{bit} 1" for bit in (1, 0))
    scene.run(f"{PRELUDE}echo 1 >$PCI/{address}/enable; register {address} 0x6c 1; {on}; config {address} 5 004")
    with scene.record("dev0", settled=False) as recorded:
        scene.vm.qmp.set("dev0", "raise", 1)
        scene.run(f"{PRELUDE}{off}; config {address} 5 000 4")
        given_up(scene)
        assert scene.vm.qmp.get("dev0", "pin")
        scene.run(bind("dev0"))
        recorded.wait(PinFalls("dev0"))
    script = start(scene, "dev0", line.after_msi)
    script.expect("^armed on False$")
    scene.raise_("dev0", bits=4)
    script.expect("^IRQ on False$")
    finish(script)
    scene.network.ping(3)


@pytest.mark.splats_expected
def test_arming_after_a_quarantine_revives_the_line(storming: Scene, tmp_path: Path) -> None:
    """A quarantined device keeps its handler, which is registered anew if the kernel has given the line up."""
    scene = storming
    script = start(scene, "dev0", line.quarantined_on_a_dead_line)
    script.expect("^armed$")
    scene.raise_("dev0", bits=1)
    script.expect("^QUARANTINED quarantined$", deadline=120)
    storm(scene, tmp_path)
    script.expect("^off True$", deadline=120)
    scene.vm.qmp.set("dev0", "lower", 1)
    script.write("\n")
    script.expect("^armed on False$")
    scene.raise_("dev0", bits=2)
    script.expect("^IRQ 0x2$")
    finish(script)


@pytest.mark.splats_expected
def test_reading_that_the_line_is_off_unmasks_nothing(storming: Scene, tmp_path: Path) -> None:
    """LINE_OFF has the number of the last event or mask, but its reader does not unmask that one."""
    scene = storming
    script = start(scene, "dev0", line.told_while_masked)
    script.expect("^masked$")
    storm(scene, tmp_path)
    script.expect("^LINE_OFF True$", deadline=120)
    assert finish(script)[-2:] == ["EAGAIN EAGAIN masked 0", "armed 1"]


@pytest.mark.splats_expected
def test_full_queue_has_no_room_for_line_off(storming: Scene, tmp_path: Path) -> None:
    """In a full queue, LINE_OFF replaces no interrupt: GET_INFO says that the line is off."""
    scene = storming
    script = start(scene, "dev0", line.full)
    script.expect("^armed$")
    raise_often(scene, 256)
    script.write("\n")
    storm(scene, tmp_path)
    assert finish(script, deadline=120)[-1] == "IRQ 0 silence"


@pytest.mark.splats_expected
def test_owner_of_an_exclusive_line_is_told_that_it_is_off(storming: Scene, tmp_path: Path) -> None:
    """The kernel does not poll a line that is not shared; the owner reads LINE_OFF all the same, and can revive it."""
    scene = storming
    scene.run(bind("clock"))
    script = start(scene, "clock", line.exclusive)
    script.expect("^armed \\d+$")
    storm(scene, tmp_path, pin="B")
    script.expect("^LINE_OFF 0 armed off True 1$", deadline=120)
    script.write("\n")
    script.expect("^armed on False$")
    scene.vm.qmp.set("clock", "raise", 4)
    assert finish(script)[-1] == "IRQ 0x4"


@pytest.mark.splats_expected
def test_device_that_a_storm_keeps_from_its_line_is_not_blamed(storming: Scene, tmp_path: Path) -> None:
    """An interrupt is on its way on the device's own line, while another line storms: the line is not silent."""
    scene = storming
    scene.run(bind("clock"))
    there = start(scene, "clock", line.bystander)
    number = there.expect("^armed (\\d+)$")[1]
    own = scene.run(f"cat /sys/bus/pci/devices/{ADDRESSES['dev0']}/irq").strip()
    script = start(scene, "dev0", line.kept_from_its_line, int(own), int(number))
    script.expect(f"^armed {own}$")
    scene.network.ping(1)  # The line moves at its next interrupt.
    scene.run("ip link set eth0 down")
    script.write("\n")
    script.expect("^ready$")
    storm(scene, tmp_path, pin="B", meanwhile="raise 4")
    script.expect("^IRQ 0x4 0$", deadline=120)
    finish(script)
    there.write("\n")
    finish(there)


def test_device_that_asserts_another_line_is_quarantined(storming: Scene) -> None:
    """A device whose pin leads to another line than the platform says is silenced before the kernel disables that line.

    The owner gets the number of the line, and the innocent device there is not blamed. The storm leaves no time to
    anything else on the processor on which the device was armed.
    """
    scene = storming
    # The neighbour's interrupts would call the handler, which would then claim.
    scene.run("ip link set eth0 down")
    scene.run(bind("clock"))
    there = start(scene, "clock", line.bystander)
    number = there.expect("^armed (\\d+)$")[1]
    script = start(scene, "dev0", line.other_line, int(number))
    assert script.expect("^armed (\\d+)$")[1] != number
    with scene.vm.frozen():
        scene.vm.qmp.set("dev0", "intx-pin", "B")
    scene.vm.qmp.set("dev0", "raise", 4)
    script.expect(f"^QUARANTINED OTHER_LINE {number} \\(0, 0, 0\\) quarantined other-line released 1$", deadline=120)
    there.write("\n")
    assert finish(there)[-1] == "armed on 0 0 True"
    assert scene.run("dmesg | grep 'Disabling IRQ' || true") == ""
    with scene.vm.frozen():
        scene.vm.qmp.set("dev0", "intx-pin", "A")
    script.write("\n")
    script.expect("^armed$")
    scene.raise_("dev0", bits=8)
    script.expect("^IRQ 0x8$")
    finish(script)


@pytest.mark.splats_expected
def test_device_whose_status_lies_is_not_blamed(storming: Scene, tmp_path: Path) -> None:
    """Interrupt Status says that the device asserts, and another line storms, also while the device is silent."""
    scene = storming
    scene.run("ip link set eth0 down")
    scene.run(bind("clock"))
    there = start(scene, "clock", line.bystander)
    there.expect("^armed (\\d+)$")
    scene.vm.qmp.set("dev0", "intx-status", "one")
    script = start(scene, "dev0", line.unblamed)
    script.expect("^armed (\\d+)$")
    storm(scene, tmp_path, pin="B")
    script.write("\n")
    script.expect("^armed 0$")
    scene.vm.qmp.set("dev0", "raise", 4)
    assert finish(script)[-1] == "IRQ 0x4"
    there.write("\n")
    finish(there)


@pytest.mark.splats_expected
def test_no_device_is_blamed_for_another_line_on_the_8259(boot: Boot) -> None:
    """The 8259 does not tell whether an interrupt is on its way: the device's own line may only seem silent."""
    # The firmware leads INTA and INTB of slot 4 to one input of the 8259, INTC and INTD to another.
    devices = tuple(f"{each},intx-pin=C" if "id=clock" in each else each for each in SHARED_LINE.devices)
    # The kernel masks and unmasks the line in each interrupt of the storm, which takes room in the log.
    machine = SHARED_LINE.with_(parameters=f"noapic {STORM_PARAMETERS}", devices=devices, log_entries=1 << 22)
    scene = Scene(boot(machine))
    scene.run("ip link set eth0 down")
    scene.run(bind("clock"))
    there = start(scene, "clock", line.bystander)
    number = there.expect("^armed (\\d+)$")[1]
    script = start(scene, "dev0", line.unblamed)
    assert script.expect("^armed (\\d+)$")[1] != number
    with scene.vm.frozen():
        scene.vm.qmp.set("dev0", "intx-pin", "D")
    scene.vm.qmp.set("dev0", "raise", 4)
    given_up(scene)
    script.write("\n")
    script.expect("^armed 0$")
    with scene.vm.frozen():
        scene.vm.qmp.set("dev0", "intx-pin", "A")
    assert finish(script)[-1] == "IRQ 0x4"


@pytest.mark.parametrize("tests_first", [True, False])
def test_programs_of_a_set_keep_registers_for_each_other(scene: Scene, tests_first: bool) -> None:
    """The irq program saves the owner's mask and unmask restores it; a neighbour's interrupt changes neither."""
    script = start(scene, "dev0", line.kept, ADDRESSES["dev1"], tests_first)
    for _round in range(2):
        script.expect("^armed 0xffffff00 0$")
        for number in range(1, 4):
            scene.raise_("dev0", bits=1 << number)
            script.expect(f"^IRQ {1 << number:#x} 0xffffffff$")
            # The program runs, and declines, for the neighbour's interrupts before the next event.
            script.write("\n")
            script.expect(f"^unmasked 0xffffff00 {number}$")
            scene.network.ping(3)
    script.expect("^ENOEXEC$")
    script.expect("^armed again$")
    scene.raise_("dev0", bits=1)
    assert finish(script)[-2:] == ["0x0 0xffffff00", "changed 0xfffffff0"]


def test_kept_registers_outlive_a_storm(scene: Scene) -> None:
    """If the breaker masks the device again, the state that the first claim has saved is not overwritten."""
    script = start(scene, "dev0", line.kept_over_a_storm)
    script.expect("^armed$")
    scene.vm.qmp.set("dev0", "raise", 1)
    script.expect("^IRQ 2 1 0xffffffff$", deadline=60)
    assert finish(script)[-1] == "unmasked 0xffffff00"


def test_lost_interrupts_are_counted_before_the_next_event(scene: Scene) -> None:
    """GET_INFO counts interrupts that were lost because the queue was full, before a later event reports them."""
    script = start(scene, "dev0", line.lost)
    script.expect("^armed 0$")
    raise_often(scene, 260)
    script.write("\n")
    script.expect("^260 4 4$")
    assert finish(script)[-1] == "next owner 0"


@pytest.mark.long
@pytest.mark.splats_expected
def test_a_boot_interrupt_kills_a_line_that_nobody_drives(boot: Boot, tmp_path: Path) -> None:
    """Once the kernel has masked the line that storms, the storm goes on at a line whose drivers know nothing of it.

    The kernel gives that line up, too, although the pin of its only device has never risen.
    """
    scene = may_storm(boot, SHARED_LINE.with_(prepare=(*SHARED_LINE.prepare, bind("clock"))))
    scene.drive("clock")
    lines = {"dev1": gsi_of(8), "clock": gsi_of(5)}
    scene.vm.qmp.set("/machine/q35/ioapic", "boot-interrupt", lines["clock"])
    with scene.vm.frozen():
        soon = scene.vm.now_ns() + 1_000_000
        (tmp_path / "storm").write_text(f"@{soon} unmask 1\n@{soon} raise 1\n")
        scene.vm.qmp.set("dev1", "schedule", str(tmp_path / "storm"))
    scene.run("until [ $(dmesg | grep -c 'Disabling IRQ') = 2 ]; do usleep 20000; done", deadline=120)
    log = scene.vm.log()
    off = {name: log.of(Kind.LINE_MASK, device="ioapic", offset=gsi)[-1] for name, gsi in lines.items()}
    assert all(entry.value == 1 for entry in off.values())
    assert off["dev1"].time_ns < off["clock"].time_ns
    assert not log.of(Kind.PIN, device="clock")
    beyond = log.of(Kind.DELIVER, device="ioapic", offset=lines["clock"])
    assert len(beyond) > 90_000 and beyond[0].time_ns >= off["dev1"].time_ns


def test_a_look_that_is_late_leaves_the_next_watch_alone(boot: Boot) -> None:
    """The timer of the watch begins its function; before that gets the lock, the device is disarmed and armed anew."""
    scene = Scene(boot(SHARED_LINE.with_(modules=(str(_LATE),))))
    scene.run(insmod("late", "function=shirq:shirq_watch"))
    assert finish(start(scene, "dev0", line.armed_anew_while_a_look_is_late)) == ["armed"]
    assert scene.run("dmesg | grep WARNING || true") == ""
