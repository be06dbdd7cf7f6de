# SPDX-License-Identifier: MIT
"""Messages, MSI of the emulated device, as IRQ sources of shirq.ko."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from guest.guest_python import finish, run, start
from guest.port import behind_a_port
from guest.quiet import line_falls, line_not_given_up
from guest.scripts import messages
from guest.test_stops import s2idle, wake_by_key
from shirq_bench.channels.log import Kind
from shirq_bench.observe.scene import Scene, handler_name
from shirq_bench.plugin import Boot
from shirq_bench.vm.machine import ADDRESSES

_MACHINE = behind_a_port("msi=on", "pm=on", "pcie=on")
_CONFIG = Path("/sys/bus/pci/devices", ADDRESSES["dev2"], "config")
_STATE = Path("/sys/class/shirq", ADDRESSES["dev2"], "state")
#: An event of source 1 without a set.
_EVENT = "IRQ source=1 seq={} lost={} r=['0x0', '0x0', '0x0', '0x0']"


@pytest.fixture
def card(boot: Boot) -> Scene:
    """A guest with dev2, a card with MSI that can be reset, on the line of the others."""
    return Scene(boot(_MACHINE))


def test_each_message_without_a_set_is_an_event(card: Scene) -> None:
    """A message needs no set; GET_INFO and /proc/interrupts tell its number; a disarmed source has no interrupt."""
    with card.record("dev2", settled=False) as recorded:
        assert run(card, "dev2", messages.without_set) == [
            "1 1 True EINVAL",
            "1 2 True 0x400",
            "ARMED OPEN armed True",
            _EVENT.format(1, 0),
            _EVENT.format(2, 0),
            "OPEN ENXIO {}",
            "silence",
            _EVENT.format(3, 0),
        ]
    assert not recorded.of(Kind.PIN, device="dev2"), "the device used its line"


def test_programs_of_a_message_claim_mask_and_decline(card: Scene) -> None:
    """With a set, the irq program runs at each message; one that it declines is an interrupt that nobody handled."""
    assert run(card, "dev2", messages.with_set) == [
        "LOADED OPEN",
        "0x12 1 True 0xffffffff",
        "0x4 2 EINVAL OK",
        "stale: 0xffffffff",
        "disarmed: 0xffffffff",
        "IRQ source=1 seq=3 lost=0 r=['0x1', '0x0', '0x0', '0x0'] 1",
        "unhandled: 1",
    ]


def test_line_and_messages_exclude_each_other(card: Scene) -> None:
    """Sources that do not exist, bad arguments, and calls in the wrong state are refused one by one."""
    assert run(card, "dev2", messages.refusals) == [
        "bad: EINVAL EINVAL EINVAL OK",
        "line armed: EBUSY EBUSY",
        "allocated: OK EBUSY EBUSY 2",
        "load: OK OK EINVAL EINVAL EINVAL EINVAL",
        "arm: EINVAL EINVAL EINVAL EINVAL OK EALREADY",
        "armed: EBUSY EBUSY EBUSY OK",
        "mask: EINVAL EINVAL EINVAL",
        "disarm: EINVAL EINVAL EINVAL",
        "info: EINVAL EINVAL EINVAL",
        "unmask: ENXIO OK EINVAL EINVAL",
        "eventfd: OK OK EINVAL EINVAL",
        "disarmed: ENXIO ENXIO ENXIO OK",
        "freed: EINVAL 0x400 OK armed",
        "nobody: EPERM EPERM",
    ]


def test_device_without_messages_has_only_its_line(card: Scene) -> None:
    assert run(card, "dev1", messages.no_messages) == ["0 ENXIO OK 1"]


def test_kernel_without_messages_says_enospc(boot: Boot) -> None:
    scene = Scene(boot(_MACHINE.with_(parameters="pci=nomsi")))
    assert run(scene, "dev2", messages.no_messages) == ["1 ENOSPC OK 1"]


def test_no_message_comes_while_bus_mastering_is_off(card: Scene) -> None:
    assert run(card, "dev2", messages.masters) == ["silence 0", _EVENT.format(1, 0)]


def test_messages_while_masked_become_one_event(card: Scene) -> None:
    """MASK with and without a mask program; only the last number unmasks, and what came meanwhile is handled then."""
    assert run(card, "dev2", messages.masking) == [
        "1 True 1",
        "silence EINVAL",
        f"{_EVENT.format(2, 0)} silence",
        "silence",
        _EVENT.format(5, 0),
        "0x1 0",
        "silence True",
        "0x4 7 0xffffffff silence",
        "0x0 0",
    ]


def test_held_message_is_lost_if_the_source_is_stopped(card: Scene) -> None:
    assert run(card, "dev2", messages.held_is_lost) == ["RESET source=0 seq=0 lost=0 r=['0x0', '0x0', '0x0', '0x0'] 1"]


def test_message_signals_its_eventfd_or_that_of_the_line(card: Scene) -> None:
    assert run(card, "dev2", messages.eventfds) == ["[2, 0]", "[0, 2]", "[2, 0]", "disarmed: True"]


def test_full_queue_of_a_message_counts_the_lost(card: Scene) -> None:
    assert run(card, "dev2", messages.overflow) == ["3 0 3", "1 256 {0}", _EVENT.format(260, 3)]


def test_disarming_the_last_source_ends_readers(card: Scene) -> None:
    assert run(card, "dev2", messages.waits) == ["ENXIO True", "[]", f"True {_EVENT.format(1, 0)}"]


def test_only_the_reader_of_a_message_unmasks_it(card: Scene) -> None:
    """A read() of another thread leaves the source masked, as long as the thread that got the event lives."""
    assert run(card, "dev2", messages.threads) == ["EAGAIN 0xffffffff", "EAGAIN 0x0"]


def test_programs_of_a_message_keep_registers(card: Scene) -> None:
    assert run(card, "dev2", messages.kept) == ["1", "2", "1"]


def test_asyncio_awaits_messages(card: Scene) -> None:
    assert run(card, "dev2", messages.awaited) == ["1", "1 0x3", "1 0x4"]


@pytest.mark.parametrize(("how", "captured"), [("acknowledged", "0x1"), ("declined", "0x0"), ("no set", "0x0")])
def test_messages_that_come_too_fast_end_in_quarantine(card: Scene, how: str, captured: str) -> None:
    """A device whose messages come faster than the rate is quarantined, whatever its program says of them."""
    script = start(card, "dev2", messages.too_fast, how)
    script.expect("^armed$")
    if how != "no set":
        card.vm.qmp.set("dev2", "storm-sources", 2 if how == "declined" else 1)
        card.vm.qmp.set("dev2", "storm-ns", 50_000)
    script.expect("^quarantined$", deadline=60)
    card.vm.qmp.set("dev2", "storm-ns", 0)
    card.vm.qmp.set("dev2", "lower", 0xFFFFFFFF)
    script.write("\n")
    assert finish(script)[1:] == [
        f"RATE 0 {captured} quarantined 0x400",
        "EIO EIO EIO",
        "ENXIO SIGBUS",
        "quarantined",
        "armed 0x0" if how == "no set" else "armed 0x1",
    ]
    line_not_given_up(card)


@pytest.mark.parametrize("how", ["reset", "sleep"])
def test_stop_disarms_messages_and_leaves_them_allocated(card: Scene, how: str) -> None:
    """After a reset from outside and after system sleep the owner reads a notice, arms the source and gets messages."""
    script = start(card, "dev2", messages.told, how)
    script.expect("^pending$")
    if how == "sleep":
        sleeper = s2idle(card)
        wake_by_key(card)
        assert sleeper.wait(30).status == 0
    script.expect(r"^again\?$", deadline=60)
    script.write("\n")
    assert finish(script)[1:] == [
        f"{'RESET' if how == 'reset' else 'RESUMED'} 0 loaded 0x400 SIGBUS",
        "ENXIO ENXIO ENXIO 2",
        "again?",
        "0x8 True",
    ]


@pytest.mark.parametrize("end", ["killed", "unbound", "closed"])
def test_end_of_the_owner_frees_messages_silently(card: Scene, end: str) -> None:
    """A device whose messages end is quiet; no interrupt of it is left, and the next owner has the line."""
    script = start(card, "dev2", messages.holds)
    script.expect("^pending$")
    with card.record("dev2", settled=False) as recorded:
        if end == "unbound":
            card.run(f"echo {ADDRESSES['dev2']} >/sys/bus/pci/drivers/shirq/unbind")
        if end == "killed":
            script.signal(signal.SIGKILL)
        else:
            script.write("\n")
        script.wait()
        assert card.vm.qmp.get("dev2", "mask") == 0xFFFFFFFF, "the release program did not run"
        command = int(card.run(f"hexdump -s 4 -n 2 -e '1/2 \"%u\"' {_CONFIG}"))
        assert command & 0x404 == 0x400, "the device masters the bus, or the interrupt-disable bit is clear"
        card.raise_("dev2", bits=0xF0)
        card.run("true")
    assert not recorded.of(Kind.PIN, device="dev2"), "the pin rose"
    assert not card.run(f"ls {_CONFIG.parent}/msi_irqs 2>/dev/null || true")
    assert card.vm.agent.run("grep", handler_name("dev2"), "/proc/interrupts").status == 1
    if end == "unbound":
        card.bind("dev2")
    assert run(card, "dev2", messages.again) == ["1 EINVAL OK"]


@pytest.mark.parametrize("disintx", ["ok", "read-only"])
def test_pin_that_rises_as_messages_end_is_silenced(boot: Boot, disintx: str) -> None:
    """A device with a pending cause asserts its pin as soon as its messages are freed, although its driver is dead.

    It has no release program that would silence it. The kernel clears the interrupt-disable bit when it frees messages;
    without such a bit, only D3hot silences the device.
    """
    scene = Scene(boot(behind_a_port("msi=on", "pm=on", "pcie=on", f"disintx={disintx}")))
    script = start(scene, "dev2", messages.holds, programs=False)
    script.expect("^pending$")
    with scene.record("dev2", settled=False) as recorded:
        script.signal(signal.SIGKILL)
        script.wait()
        assert scene.run(f"cat {_STATE}").strip() == "parked"
        line_falls(scene, "dev2")
    rises = [entry for entry in recorded.of(Kind.PIN, device="dev2") if entry.value]
    assert rises, "the pin did not rise: the test proves nothing"
    line_not_given_up(scene)


@pytest.mark.parametrize(
    ("release", "outcome"),
    [
        ("load r0, -1\nwrite32 bar0+0x68, r0", "open 1 0x400"),
        ("read32 r0, bar0", "quarantined QUARANTINED source=0 seq=0 lost=0 r=['0x0', '0x0', '0x0', '0x0'] 0x0"),
    ],
    ids=["silenced", "not silenced"],
)
def test_messages_freed_with_a_cause_pending_leave_the_line_low(boot: Boot, release: str, outcome: str) -> None:
    """Freeing messages runs the release programs of their sets; a device that asserts all the same is quarantined."""
    scene = Scene(boot(behind_a_port("msi=on", "pm=on", "pcie=on", "disintx=read-only")))
    script = start(scene, "dev2", messages.frees, release)
    script.expect("^pending$")
    script.write("\n")
    script.expect(outcome.split()[0], deadline=60)
    if release.startswith("load"):
        assert not scene.vm.qmp.get("dev2", "pin"), "the device asserts"
    else:
        line_falls(scene, "dev2")
    script.write("\n")
    assert finish(script)[1].startswith(outcome.rpartition(" ")[0])
    line_not_given_up(scene)


def test_device_that_is_gone_ends_its_messages(card: Scene) -> None:
    script = start(card, "dev2", messages.gone)
    script.expect("^armed$")
    card.vm.qmp.set("dev2", "dead", "bars")
    card.raise_("dev2")
    assert finish(script)[1:] == ["ENODEV gone ENODEV ENODEV"]


def test_line_works_after_messages_were_freed_unanswered(card: Scene) -> None:
    """A device that does not answer keeps its messages enabled when they are freed: it would not use its line."""
    script = start(card, "dev2", messages.left)
    script.expect("^allocated$")
    card.vm.qmp.set("dev2", "dead", "all")
    script.write("\n")
    script.expect("^freed 1$", deadline=60)
    card.vm.qmp.set("dev2", "dead", "off")
    script.write("\n")
    script.expect("^armed True False$")
    card.raise_("dev2", bits=2)
    assert finish(script)[-1] == "IRQ source=0 seq=1 lost=0 r=['0x2', '0x0', '0x0', '0x0']"


def test_messages_survive_resets_and_calls_of_several_threads(card: Scene) -> None:
    """Allocating, arming, masking and freeing race with resets by others; afterwards the source works."""
    assert finish(start(card, "dev2", messages.races, 20), deadline=120) == ["1 OK armed EBUSY", _EVENT.format(1, 0)]


def test_disarm_of_a_message_keeps_a_notice(card: Scene) -> None:
    """DISARM drops the events of its source alone."""
    assert run(card, "dev2", messages.disarmed_beside_a_notice) == [
        "RESET source=0 seq=0 lost=0 r=['0x0', '0x0', '0x0', '0x0'] ENXIO"
    ]


def test_quarantine_shows_nothing_of_the_owner_before(boot: Boot) -> None:
    scene = Scene(boot(behind_a_port("msi=on", "pm=on", "pcie=on", "disintx=read-only")))
    assert run(scene, "dev2", messages.claimed_by_the_line) == [
        "IRQ source=0 seq=1 lost=0 r=['0x40', '0x0', '0x0', '0x0']"
    ]
    script = start(scene, "dev2", messages.frees, "read32 r0, bar0")
    script.expect("^pending$")
    script.write("\n")
    script.expect("quarantined", deadline=60)
    script.write("\n")
    assert "r=['0x0', '0x0', '0x0', '0x0']" in finish(script)[1]
