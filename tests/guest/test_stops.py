# SPDX-License-Identifier: MIT
"""A device with an owner stops (sleep, reset, unplugging): the device is quiet, and read() notifies the owner."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from guest.guest_python import finish, start
from guest.port import behind_a_port
from guest.quiet import is_quiet, line_falls
from guest.scripts import stops
from shirq_bench.channels.agent import Command
from shirq_bench.channels.edu import Register
from shirq_bench.channels.log import CONFIG_SPACE, USER_RING, Kind, Log
from shirq_bench.deadline import Deadline
from shirq_bench.observe.record import Recording
from shirq_bench.observe.scene import Scene
from shirq_bench.observe.triggers import PinRises
from shirq_bench.plugin import Boot
from shirq_bench.vm.machine import ADDRESSES, GSI, LOAD_MODULE, SHARED_LINE, insmod


@contextlib.contextmanager
def _owner(scene: Scene, device: str) -> Iterator[tuple[Command, Recording]]:
    """Start an owner that waits in read() with its device masked and pending; record from before its interrupt."""
    command = start(scene, device, stops.told)
    command.expect("^armed$")
    with scene.record(device, settled=False) as recorded:
        scene.raise_(device)
        command.expect("^pending$")
        yield command, recorded


def _released(log: Log, device: str) -> bool:
    return any(entry.offset == Register.INT_ACK and entry.space == 0 for entry in log.of(Kind.WRITE, device=device))


def _masters(log: Log, device: str) -> bool:
    """Return whether the last write to Command, which must exist, left bus mastering on."""
    commands = [
        entry.value
        for entry in log.of(Kind.WRITE, device=device)
        if (entry.space, entry.offset, entry.width) == (CONFIG_SPACE, 4, 2)
    ]
    assert commands, "Command was not written"
    return bool(commands[-1] & 0x4)


def _comes_back(scene: Scene, device: str, owner: Command, recorded: Recording, news: str) -> None:
    """Assert that the owner reads the event ``news``, and that the device is silent until it is armed, then works."""
    owner.expect(r"^again\?$", deadline=60)
    assert owner.stdout.splitlines()[2:6] == [
        f"{news} 1 loaded False",
        "not armed: ENXIO ENXIO ENXIO",
        "old mapping: SIGBUS",
        "new mapping: 0x20000ed",
    ]
    scene.raise_(device, bits=0x10)
    scene.run("true")
    assert len(recorded.assertions()) == 1, "the device asserted before its owner armed it again"
    line_falls(scene, device)
    owner.write("\n")
    # The source that was raised while the device was silent is still pending.
    owner.expect("^0x10$")


# ---------------------------------------------------------------- system sleep


def _until(what: str, done: Callable[[], bool], deadline: float = 30.0) -> None:
    end = Deadline(deadline)
    while not done():
        assert not end.passed, f"not within {end}: {what}"
        time.sleep(0.05)


def s2idle(scene: Scene) -> Command:
    """Suspend the guest to idle and wake it by a key; returns the command that suspended it."""
    scene.run(
        "for f in /sys/devices/platform/i8042/serio*/power/wakeup; do echo enabled >$f; done"
        " && echo 1 >/sys/power/pm_debug_messages && echo N >/sys/module/printk/parameters/console_suspend"
        " && echo 8 >/proc/sys/kernel/printk"
    )
    sleeper = scene.vm.agent.start("sh", "-c", "echo freeze >/sys/power/state")
    _until("the guest sleeps", lambda: "suspend-to-idle" in scene.vm.console.tail())
    return sleeper


def wake_by_key(scene: Scene) -> None:
    scene.vm.qmp.execute("send-key", keys=[{"type": "qcode", "data": "a"}])


@pytest.mark.parametrize("device", ["dev0", "dev1"])
def test_suspend_to_idle_quiesces_and_the_owner_reads_resumed(scene: Scene, device: str) -> None:
    with _owner(scene, device) as (owner, recorded):
        sleeper = s2idle(scene)
        assert _released(recorded.log, device), "the device was not quiesced for sleep"
        assert not _masters(recorded.log, device), "the device may master the bus while the system sleeps"
        scene.raise_(device, bits=0x20)
        scene.vm.qmp.set(device, "lower", 0x20)
        assert len(recorded.assertions()) == 1, "the device asserted while the system slept"
        wake_by_key(scene)
        assert sleeper.wait(30).status == 0
        _comes_back(scene, device, owner, recorded, "RESUMED")


def test_device_asserting_at_wake_is_silent_before_line_opens(scene: Scene, tmp_path: Path) -> None:
    """If a device asserts when the system wakes, shirq.ko silences it before the kernel enables the line.

    The device acts as if the sleep had reset it. It has no DisINTx, so that only its release program silences it.
    """
    script = start(scene, "dev1", stops.resumed)
    script.expect("^armed$")
    sleeper = s2idle(scene)
    with scene.record("dev1") as recorded:
        with scene.vm.frozen():
            soon = scene.vm.now_ns() + 1_000_000
            path = tmp_path / "schedule"
            path.write_text(f"@{soon} unmask 1\n@{soon} raise 1\n")
            scene.vm.qmp.set("dev1", "schedule", str(path))
        recorded.wait(PinRises("dev1"))
        wake_by_key(scene)
        assert sleeper.wait(30).status == 0
        assert finish(script)[1:] == ["RESUMED"]
    until = []
    for entry in recorded.log.entries:
        if (entry.kind, entry.device, entry.space, entry.offset) == (Kind.WRITE, "dev1", 0, Register.INT_MASK_SET):
            break
        until.append(entry)
    else:
        pytest.fail("the release program did not run again")
    assert any(entry.kind is Kind.PIN and entry.device == "dev1" and entry.value for entry in until)
    # The kernel masks a disabled line lazily, at its next interrupt: allow one delivery.
    heard = [entry for entry in until if entry.kind is Kind.DELIVER and entry.offset == GSI]
    assert len(heard) <= 1, "the line was enabled while the device asserted"
    recorded.line_low_at_end()


@pytest.mark.invariants_broken("the guest's timers do not survive S3 under QEMU: the test ends it", guest_ends=True)
@pytest.mark.parametrize("device", ["dev0", "dev1"])
@pytest.mark.long
def test_suspend_to_ram_resets_device_and_owner_reads_resumed(boot: Boot, device: str) -> None:
    # Waking from S3 is unreliable in QEMU: clones and guests with e1000 seldom resume. Even this guest's timers may
    # stop, so that nothing after this may wait for a timer.
    """Suspend to RAM resets the device, and the owner reads RESUMED."""
    alone = SHARED_LINE.with_(devices=tuple(d for d in SHARED_LINE.devices if "e1000" not in d), networks=())
    scene = Scene(boot(alone, cold=True))
    scene.run(LOAD_MODULE)
    scene.bind(device)
    with _owner(scene, device) as (owner, recorded):
        sleeper = scene.vm.agent.start("sh", "-c", "echo deep >/sys/power/mem_sleep && echo mem >/sys/power/state")
        scene.vm.qmp.wait_event("SUSPEND", deadline=30)
        assert _released(recorded.log, device), "the device was not quiesced for sleep"
        scene.vm.qmp.execute("system_wakeup")
        assert sleeper.wait(30).status == 0
        assert recorded.of(Kind.RESET, device=device), "the device was not reset"
        _comes_back(scene, device, owner, recorded, "RESUMED")
    scene.vm.qmp.execute("quit")
    scene.vm.wait_end(20)


def test_a_device_without_an_owner_is_still_parked_after_sleep(scene: Scene) -> None:
    sleeper = s2idle(scene)
    wake_by_key(scene)
    assert sleeper.wait(30).status == 0
    script = start(scene, "dev0", stops.parked)
    script.expect("^parked 0x400$")
    script.expect("^armed$")
    scene.raise_("dev0", bits=2)
    assert finish(script)[-1] == "0x2"


# ------------------------------------------------- resets, unplugging: dev2 is alone behind its own port


def test_a_reset_from_outside_quiesces_and_the_owner_reads_reset(port: Scene) -> None:
    with _owner(port, "dev2") as (owner, recorded):
        port.run(f"echo 1 >/sys/bus/pci/devices/{ADDRESSES['dev2']}/reset")
        reset = recorded.of(Kind.RESET, device="dev2")
        assert reset, "the device was not reset"
        acks = [entry for entry in recorded.of(Kind.WRITE, device="dev2", offset=Register.INT_ACK) if entry.space == 0]
        assert acks and acks[0].time_ns < reset[0].time_ns, "the device was not quiesced before the reset"
        _comes_back(port, "dev2", owner, recorded, "RESET")


def test_unplugged_device_wakes_its_reader_and_voids_mappings(port: Scene) -> None:
    """Unplugging a device ends its owner's read() with an error, and makes the mappings invalid."""
    script = start(port, "dev2", stops.unplugged)
    script.expect("^armed$")
    port.raise_("dev1")  # Other devices must go on working.
    port.vm.qmp.execute("device_del", id="dev2")
    port.vm.qmp.wait_event("DEVICE_DELETED", deadline=60)
    assert finish(script)[1:] == ["ENODEV ENODEV SIGBUS", "False"]
    log = port.vm.log()
    assert _released(log, "dev2"), "the device was not quiesced before it was unplugged"
    port.network.ping(3)


# ------------------------------------------------------------- errors of the link

#: A reset of the bus waits until the link is up again; only native hot plug of the port shows that.
_NATIVE = behind_a_port("pcie=on").with_(extra=("-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off"))
#: Uncorrectable errors of the port, by their default severity.
_ERRORS = {"non-fatal": "COMP_ABORT", "fatal": "FCP"}


@pytest.mark.parametrize("error", _ERRORS)
def test_link_error_reads_as_reset_and_frozen_link_is_unused(boot: Boot, error: str) -> None:
    """After an error of its link the owner reads RESET; while the link is frozen, the device is not accessed."""
    port = Scene(boot(_NATIVE))
    with _owner(port, "dev2") as (owner, recorded):
        before = len(recorded.of(device="dev2"))
        port.vm.qmp.execute("human-monitor-command", command_line=f"pcie_aer_inject_error rp0 {_ERRORS[error]}")
        _comes_back(port, "dev2", owner, recorded, "RESET")
    entries = recorded.of(device="dev2")[before:]
    reset = next((n for n, entry in enumerate(entries) if entry.kind is Kind.RESET), None)
    if error == "fatal":
        assert reset is not None, "the link was not reset"
        touched = [entry for entry in entries[:reset] if entry.kind in (Kind.READ, Kind.WRITE)]
        assert not touched, "the device behind a frozen link was accessed"
    else:
        first = next(entry for entry in entries if (entry.kind, entry.space) == (Kind.WRITE, 0))
        assert first.offset == Register.INT_MASK_SET, "the first access was not a write by the release program"


# ------------------------------------------------------------- surprise removal

#: The result of each of four ways to wait when the device is removed.
_ANSWERS = {"read": "ENODEV", "poll": "POLLERR", "masked": "ENODEV", "mapping": "SIGBUS"}


@pytest.mark.parametrize("how", _ANSWERS)
def test_torn_out_device_is_not_touched_and_waiters_are_told(port: Scene, how: str) -> None:
    """After a surprise removal the module does not access the device, and every waiter wakes up with an error."""
    script = start(port, "dev2", stops.torn_out, how)
    script.expect("^armed$", deadline=120)
    if how == "masked":
        port.raise_("dev2")
    script.expect("^waiting$", deadline=120)
    with ExitStack() as stack:
        with port.vm.frozen():
            port.vm.qmp.set("dev2", "dead", "all")
            recorded = stack.enter_context(port.record("dev2", settled=False))
        handlers = stack.enter_context(port.tracing())
        port.network.ping(20)
        port.vm.qmp.execute("device_del", id="dev2")
        port.vm.qmp.wait_event("DEVICE_DELETED", deadline=120)
        assert finish(script, deadline=120)[2:] == [f"{_ANSWERS[how]} ENODEV ENODEV ENODEV", "SIGBUS"]
        port.network.ping(20)
    touched = [entry for entry in recorded.of(Kind.READ, Kind.WRITE, device="dev2") if entry.ring != USER_RING]
    # The irq program may read the removed device once: it gets all-ones.
    assert [entry for entry in touched if entry.space == 0][1:] == [], "the module has accessed a gone device again"
    assert not [entry for entry in touched if entry.kind is Kind.WRITE and entry.space == 0]
    irq = port.irq("eth0")
    handlers.neighbour_lost("nic0", irq, "eth0").require(at_least=20)
    assert not [call for call in handlers.calls if call.name.startswith("shirq:0000:01") and call.handled]


# ------------------------------------------------------------- permanent failure

_GIVE_UP = Path(__file__).parent / "giveup"


def test_given_up_device_wakes_waiters_and_next_owner_retries(boot: Boot) -> None:
    """If the kernel reports a permanent failure of a device, its waiters get an error; the next open() succeeds."""
    scene = Scene(boot(SHARED_LINE.with_(modules=(str(_GIVE_UP),))))
    script = start(scene, "dev1", stops.given_up)
    script.expect("^waiting$")
    with scene.record("dev1") as recorded:
        scene.run(insmod("giveup", f"address={ADDRESSES['dev1']}"))
    assert _released(recorded.log, "dev1"), "the device was not quiesced"
    script.write("\n")
    script.expect("^armed again$")
    scene.raise_("dev1")
    assert finish(script)[1:] == [
        "ENODEV POLLERR",
        "ENODEV ENODEV ENODEV",
        "SIGBUS",
        "armed again",
        "IRQ",
    ]
    is_quiet(scene, "dev1")
