# SPDX-License-Identifier: MIT
"""The ring: events, unmasks and ends without a system call, and what a broken owner of one can do."""

from __future__ import annotations

from pathlib import Path

import pytest

from guest.guest_python import finish, run, start
from guest.port import behind_a_port
from guest.quiet import is_quiet, line_falls, line_not_given_up
from guest.scripts import ring
from guest.test_c_library import LIBRARY, compiled
from shirq_bench.channels.agent import Command
from shirq_bench.observe.scene import Scene
from shirq_bench.paths import GUEST
from shirq_bench.plugin import Boot
from shirq_bench.vm.machine import ADDRESSES, SHARED_LINE


def test_owner_takes_and_unmasks_events_without_a_call(scene: Scene) -> None:
    """The kernel learns of an unmask at the next interrupt, or when it is asked."""
    with scene.record("dev1") as recorded:
        assert run(scene, "dev1", ring.served) == [
            "True 0 ARMED 0 None",
            "IRQ 1 0 0x1 0xffffffff 0x0",
            "IRQ 2 0 0x2 0xffffffff 0x0",
            "IRQ 3 0 0x4 0xffffffff 0x0",
            "3 True 0 3 0",
            "False 3",
        ]
    assert len(recorded.assertions()) == 3
    is_quiet(scene, "dev1")


def _take_five(scene: Scene, script: Command) -> None:
    """Raise five interrupts, each when the last one was taken."""
    script.expect("^armed$")
    for number in range(1, 6):
        scene.raise_("dev1", bits=1 << number)
        script.expect(f"^{number} {1 << number:#x}$")
    assert finish(script)[-1] == "disarmed"


@pytest.mark.parametrize("spin", [0.0, 0.001])
def test_events_come_to_a_sleeper_and_to_a_spinner(scene: Scene, spin: float) -> None:
    _take_five(scene, start(scene, "dev1", ring.iterated, 5, spin))


def test_asyncio_awaits_events_of_a_ring(scene: Scene) -> None:
    _take_five(scene, start(scene, "dev1", ring.awaited, 5))


@pytest.mark.parametrize(("mode", "vcpus"), [("spin", 1), ("spin", 2), ("sleep", 2), ("epoll", 2), ("poll", 2)])
def test_example_driver_waits_in_each_way(boot: Boot, tmp_path: Path, mode: str, vcpus: int) -> None:
    """guest/drivers/edu-ring.c, the example of a driver with a ring, handles each interrupt that the test raises."""
    scene = Scene(boot(SHARED_LINE.with_(vcpus=vcpus)))
    program = compiled(tmp_path / "edu-ring", "-static", f"-I{GUEST}/lib", GUEST / "drivers/edu-ring.c", LIBRARY)
    scene.upload(program, "/tmp/edu-ring")
    driver = scene.vm.agent.start("/tmp/edu-ring", ADDRESSES["dev1"], mode, "4")
    driver.expect("^armed$")
    with scene.record("dev1") as recorded:
        for number in range(1, 5):
            scene.raise_("dev1", bits=1 << number)
            driver.expect(f"^{number} {1 << number:#x}$")
        assert int(finish(driver)[-1].removeprefix("waits: ")) <= 4
    assert len(recorded.assertions()) == 4
    is_quiet(scene, "dev1")


@pytest.mark.parametrize("vcpus", [1, 2])
def test_no_wake_up_is_lost(boot: Boot, vcpus: int) -> None:
    scene = Scene(boot(SHARED_LINE.with_(vcpus=vcpus)))
    assert run(scene, "dev1", ring.ping_pong, 300) == ["300 0 0"]


@pytest.mark.parametrize(
    ("how", "end"),
    [
        ("disarm", "ENXIO DISARMED none"),
        ("reset", "RESET ENXIO RESET none"),
        ("unbind", "ENODEV GONE none"),
        ("storm", "QUARANTINED ENXIO QUARANTINED MASKED"),
    ],
)
def test_end_wakes_the_sleeper_and_is_a_state(port: Scene, how: str, end: str) -> None:
    """Disarm, a reset, unbinding and a quarantine end a call that waits; the ring's state says which it was."""
    assert run(port, "dev2", ring.ends, how) == [end]
    line_not_given_up(port)


def test_wait_ends_in_time_and_by_signals(scene: Scene) -> None:
    assert run(scene, "dev1", ring.timeouts) == ["ETIMEDOUT ETIMEDOUT", "ETIMEDOUT", "-1 EINTR"]


def test_signal_with_a_handler_does_not_end_a_wait(scene: Scene) -> None:
    assert run(scene, "dev1", ring.interrupted) == ["handled", "1"]


@pytest.mark.parametrize("unmask", ["", "load r0, -1\nload r1, 0\nwrite32 bar0+0x6c, r0"])
def test_stop_while_an_event_is_served_ends_the_events(port: Scene, unmask: str) -> None:
    """The event may be one that is unmasked by a store or by a call; that of the stop itself is yielded."""
    assert run(port, "dev2", ring.stopped_while_served, unmask) == ["0xffffffff", "['IRQ', 'RESET']"]
    line_not_given_up(port)


def test_what_a_ring_does_not_allow_is_refused(scene: Scene) -> None:
    """The kernel's part is never writable; read() fails; a ring is for source 0 and without auto-unmask."""
    assert run(scene, "dev1", ring.refusals) == [
        "unarmed: ENXIO",
        "read: ENXIO ENXIO",
        "arm: EINVAL",
        "arm: EINVAL",
        "arm: OK",
        "armed: EBUSY ETIMEDOUT EINVAL EINVAL",
        "map: OK",
        "map: EINVAL",
        "map: EINVAL",
        "map: EINVAL",
        "map: OK",
        "map: EINVAL",
        "map: EINVAL",
        "inside: EINVAL",
        "mprotect: -1 EACCES",
    ]


def test_messages_have_no_ring(boot: Boot) -> None:
    scene = Scene(boot(behind_a_port("msi=on", "pm=on", "pcie=on")))
    assert run(scene, "dev2", ring.for_messages) == ["EINVAL OK"]


def test_full_ring_counts_the_lost_and_keeps_its_events(port: Scene) -> None:
    """A notice that finds no room is a state alone; an event that was not taken is not overwritten."""
    assert run(port, "dev2", ring.full) == [
        "256 4 4 260",
        "1 256 256 261 0 4",
        "256 4 RESET",
        "{'IRQ'}",
        "ARMED 0",
        "['RESET'] RESET",
    ]


def test_late_or_wrong_number_unmasks_nothing(scene: Scene) -> None:
    """An interrupt that comes before the number is left unhandled, and comes again."""
    assert run(scene, "dev1", ring.stale) == ["2 0", "True", "True", "True", "True", "True", "False"]
    line_not_given_up(scene)


def test_claims_of_a_masking_device_with_a_ring_are_rated(scene: Scene) -> None:
    """The same rate of a device without a ring is no storm, because each unmask is a call."""
    assert run(scene, "dev1", ring.rate, True) == ["1501 QUARANTINED RATE QUARANTINED RATE"]
    assert run(scene, "dev1", ring.rate, False) == ["1600"]


@pytest.mark.parametrize(("device", "mask"), [("dev0", ""), ("dev1", "load r0, -1\nwrite32 bar0+0x68, r0")])
def test_store_does_not_undo_an_explicit_mask(scene: Scene, device: str, mask: str) -> None:
    assert run(scene, device, ring.masked_by_call, mask) == ["True ETIMEDOUT", "1"]


@pytest.mark.parametrize(
    "unmask",
    [
        "load r0, -1\nload r1, 0\nwrite32 bar0+0x6c, r0",
        "read32 r0, bar0+0x28\nwrite32 bar0+0x6c, r0",
        "load r0, 0xffff0000\nload r0, 0xffffffff\nwrite32 bar0+0x6c, r0",
        "load r4, -1\nwrite32 bar0+0x6c, r4\nread32 r5, bar0+0x28",
    ],
)
def test_other_unmask_programs_need_the_call(scene: Scene, unmask: str) -> None:
    """Only one store of a constant is left to the owner."""
    assert run(scene, "dev1", ring.without_store, unmask) == ["False True", "False 0x0"]


def test_poll_and_eventfd_work_with_a_ring(port: Scene) -> None:
    """poll() compares the ring's head with the owner's tail, and ignores a tail that cannot be right."""
    assert run(port, "dev2", ring.polled) == ["[]", "True 1", "[]", "[]", "[]", "[]", "True 1", "RESET True"]


def test_ring_and_read_take_turns(port: Scene) -> None:
    """A disarm drops no event of a ring; read() gets none of them; a ring goes on with those that were not read."""
    assert run(port, "dev2", ring.switched) == [
        "3 DISARMED OK [1, 2, 3]",
        "EINVAL",
        "6",
        "[('IRQ', 7), ('RESET', 7)] ARMED",
    ]


def test_ring_outlives_the_mappings_of_registers(port: Scene) -> None:
    assert run(port, "dev2", ring.revoked) == ["SIGBUS OK RESET RESET", "IRQ True"]


def test_garbage_in_the_owners_words_harms_only_its_events(scene: Scene) -> None:
    """Four writers scribble over the words that the kernel compares. Afterwards the ring works, and the line is low."""
    with scene.record("dev1"):
        assert run(scene, "dev1", ring.hostile, 4, 600) == ["ARMED", "True True", "8 0"]
    is_quiet(scene, "dev1")
    line_not_given_up(scene)


def test_owner_that_always_unmasks_cannot_hold_the_line(scene: Scene) -> None:
    """A device that storms is quarantined although its owner says each time that it has unmasked."""
    assert run(scene, "dev1", ring.hostile_storm) == ["QUARANTINED EIO"]
    line_falls(scene, "dev1")
    line_not_given_up(scene)


def test_store_undoes_the_mask_of_a_storm(scene: Scene) -> None:
    """The kernel has set the interrupt-disable bit of a masked device: the owner's store ends that as a call does."""
    script = start(scene, "dev0", ring.masked_in_a_storm)
    script.expect("^armed$")
    scene.raise_("dev0", bits=0x101)
    assert finish(script)[1:] == ["0x1 True", "OK", "0x2"]
    line_not_given_up(scene)


def test_messages_are_read_after_a_ring(boot: Boot) -> None:
    """A ring ends when messages are allocated: read() has their events, and the notices."""
    scene = Scene(boot(behind_a_port("msi=on", "pm=on", "pcie=on")))
    assert run(scene, "dev2", ring.then_messages) == ["IRQ 1 1 ENXIO", "RESET", "[('IRQ', 3)]"]


def test_wait_tells_the_notice_of_a_stop(boot: Boot) -> None:
    """A call in the moment in which the device is stopped does not end before the notice is queued."""
    scene = Scene(boot(behind_a_port("pm=on", "pcie=on", of=SHARED_LINE.with_(vcpus=2))))
    assert run(scene, "dev2", ring.stopped_while_asked, 40) == ["OK"]


def test_ring_of_a_device_that_is_gone_stays_gone(boot: Boot) -> None:
    """A reset of a device that is gone is no news for the owner of the ring, whose calls fail."""
    scene = Scene(boot(behind_a_port("pm=on", "pcie=on")))
    script = start(scene, "dev2", ring.reset_when_gone)
    script.expect("^armed$")
    scene.vm.qmp.set("dev2", "dead", "bars")
    scene.raise_("dev2")
    assert finish(script)[1:] == ["ENODEV GONE", "GONE ENODEV"]


def test_a_new_owner_is_not_told_that_the_device_was_gone(scene: Scene) -> None:
    """The device is back, and opened before the kernel has seen that."""
    script = start(scene, "dev0", ring.opened_on_return)
    script.expect("^armed$")
    scene.vm.qmp.set("dev0", "dead", "all")
    scene.network.ping(2)
    script.write("\n")
    script.expect("^closed$")
    scene.vm.qmp.set("dev0", "dead", "off")
    script.write("\n")
    assert finish(script)[-1] == "DISARMED"


def test_file_opened_for_reading_is_mapped_for_reading(port: Scene) -> None:
    assert run(port, "dev2", ring.read_only) == [
        *("0 OK", "0 EINVAL", "0 EACCES", "6 OK", "6 EINVAL", "6 EACCES", "7 OK", "7 EINVAL", "7 EACCES"),
        "0x20000ed",
        "SIGBUS",
    ]


def test_ring_tells_a_held_interrupt_that_was_lost(scene: Scene) -> None:
    scene.vm.qmp.set("dev0", "disintx", "no-op")
    script = start(scene, "dev0", ring.held_is_lost)
    script.expect("^masked$")
    scene.raise_("dev0")
    assert finish(script)[1:] == ["1 1"]
    line_falls(scene, "dev0")
