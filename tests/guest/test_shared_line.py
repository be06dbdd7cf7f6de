# SPDX-License-Identifier: MIT
"""The guarantees on a shared line, judged by the line, the pins and the kernel's handlers."""

from __future__ import annotations

import signal

import pytest

from shirq_bench.channels.log import Kind
from shirq_bench.observe.invariants import forgotten_ns
from shirq_bench.observe.scene import Driver, Scene, handler_name
from shirq_bench.observe.triggers import PinFalls


@pytest.mark.parametrize("device", ["dev0", "dev1"])
@pytest.mark.parametrize("language", ["c", "python"])
def test_claimed_interrupt_masks_the_device_before_the_eoi(scene: Scene, device: str, language: str) -> None:
    """A claimed interrupt masks the device before the line's EOI."""
    driver = scene.drive(device, language)
    with scene.record(device) as run:
        for _ in range(20):
            scene.raise_(device)
            driver.next_event()
    run.masked_before_eoi(at_least=20)
    run.line_low_at_end()
    run.line_never_masked(at_least=20)


@pytest.mark.fast
@pytest.mark.smoke
def test_user_space_reads_one_event_an_assertion_with_its_status(scene: Scene) -> None:
    """User space reads one event per assertion, with the captured status."""
    driver = scene.drive("dev1")
    sent = [1 << (n % 32) for n in range(40)]
    with scene.record("dev1") as run:
        for bits in sent:
            scene.raise_("dev1", bits=bits)
            driver.next_event()
    events = driver.events()
    assert [event.status for event in events] == sent
    assert [event.seq for event in events] == list(range(events[0].seq, events[0].seq + len(sent)))
    assert {event.lost for event in events} == {0}
    assert len(run.assertions()) == len(sent)


@pytest.mark.smoke
def test_neighbours_interrupts_are_neither_claimed_nor_lost(scene: Scene) -> None:
    """The neighbour's interrupts are never claimed, and none is lost."""
    drivers = {device: scene.drive(device) for device in ("dev0", "dev1")}
    with scene.tracing() as handlers:
        for number in range(30):
            scene.network.ping(3)
            device = ("dev0", "dev1")[number % 2]
            scene.raise_(device)
            drivers[device].next_event()
    irq = scene.irq("eth0")
    assert irq == scene.irq(handler_name("dev0")) == scene.irq(handler_name("dev1")), "the devices do not share a line"
    handlers.neighbour_lost("nic0", irq, "eth0").require(at_least=30)
    for device in drivers:
        handlers.false_claims(device, irq).require(at_least=15)
        own = [call for call in handlers.calls if call.name == handler_name(device)]
        assert any(not call.handled for call in own), "no interrupt of another device ran the device's handler"


@pytest.mark.smoke
def test_two_devices_raised_in_the_same_instant_are_both_served(scene: Scene) -> None:
    drivers = [scene.drive("dev0"), scene.drive("dev1", "python")]
    with scene.record("dev0", "dev1") as run:
        for _ in range(15):
            scene.raise_("dev0", "dev1")
            for driver in drivers:
                driver.next_event()
            scene.wait_unmasked("dev0", "dev1")
    rises = {d: [a.start.time_ns for a in run.assertions(d) if a.start] for d in ("dev0", "dev1")}
    assert rises["dev0"] == rises["dev1"], "the stimuli were not simultaneous"
    assert len(rises["dev0"]) == 15
    for device in ("dev0", "dev1"):
        run.masked_before_eoi(device, at_least=15)
    run.line_low_at_end()
    assert all(len(driver.events()) == 15 for driver in drivers)


@pytest.mark.fast
def test_masked_pending_device_does_not_disturb_busy_neighbour(scene: Scene) -> None:
    """A masked and still pending device does not disturb a busy neighbour."""
    driver = scene.drive("dev1")
    driver.stop()
    with scene.record("dev1", settled=False) as run:
        scene.raise_("dev1")
        run.wait(PinFalls("dev1"))
    assert scene.vm.qmp.get("dev1", "status") == 1, "the device is not pending any more"
    with scene.tracing() as handlers:
        scene.network.ping(200, deadline=60)
    assert handlers.log is not None
    irq = scene.irq("eth0")
    handlers.neighbour_lost("nic0", irq, "eth0").require(at_least=100)
    own = [call for call in handlers.calls if call.name == handler_name("dev1")]
    assert own, "the masked device's handler never ran"
    assert not any(call.handled for call in own), "a masked device claimed an interrupt of its neighbour"
    assert not [e for e in handlers.log.of(Kind.READ, Kind.WRITE, device="dev1")], "a masked device was accessed"
    handlers.line_never_masked("nic0").require(at_least=100)
    driver.resume()
    assert driver.next_event().status == 1


@pytest.mark.fast
@pytest.mark.smoke
@pytest.mark.parametrize("how", ["kill", "exit"])
def test_driver_ending_with_pending_interrupt_leaves_line_low(scene: Scene, how: str) -> None:
    """A driver that ends with an interrupt pending leaves the line low and the device quiet.

    After SIGKILL and after a normal exit, the module runs the release program: it acknowledges and masks all sources.
    """
    driver = scene.drive("dev1")
    driver.stop()
    with scene.record("dev1") as run:
        scene.raise_("dev1")
        run.wait(PinFalls("dev1"))
        if how == "exit":
            driver.command.signal(signal.SIGTERM)
            driver.resume()
            driver.command.wait()
        else:
            assert driver.end(signal.SIGKILL) == -signal.SIGKILL
        assert scene.vm.qmp.get("dev1", "status") == 0, "the release program did not acknowledge"
        assert scene.vm.qmp.get("dev1", "mask") == 0xFFFFFFFF, "the release program did not mask"
        # The device has no driver now: its sources must not reach the line.
        scene.raise_("dev1", bits=0xFF)
        scene.network.ping(5)
    run.line_low_at_end()
    assert len(run.assertions()) == 1
    assert scene.vm.agent.run("grep", handler_name("dev1"), "/proc/interrupts").status == 1


@pytest.mark.parametrize("language", ["c", "python"])
def test_source_raised_during_handling_is_an_event_of_its_own(scene: Scene, language: str) -> None:
    """If a source is raised while user space handles another one, it gives a separate event."""
    driver = scene.drive("dev1", language)
    driver.stop()
    with scene.record("dev1", settled=False) as run:
        scene.raise_("dev1", bits=1)
        run.wait(PinFalls("dev1"))
    scene.raise_("dev1", bits=2)
    driver.resume()
    assert [driver.next_event().status for _ in range(2)] == [1, 2]


def test_a_killed_drivers_successor_takes_over(scene: Scene) -> None:
    first = scene.drive("dev0")
    scene.raise_("dev0")
    first.next_event()
    first.end(signal.SIGKILL)
    second = scene.drive("dev0", "python")
    scene.raise_("dev0", bits=4)
    assert second.next_event().status == 4


@pytest.mark.fast
def test_the_line_is_never_high_and_forgotten_under_mixed_load(scene: Scene) -> None:
    drivers: dict[str, Driver] = {device: scene.drive(device) for device in ("dev0", "dev1")}
    with scene.record("dev0", "dev1") as run:
        for number in range(40):
            scene.network.ask()
            devices = (("dev0",), ("dev1",), ("dev0", "dev1"))[number % 3]
            scene.raise_(*devices)
            for device in devices:
                drivers[device].next_event()
        scene.network.ping()
    run.no_line_high_longer_than(forgotten_ns(scene.vm), at_least=40)
    run.line_low_at_end()
