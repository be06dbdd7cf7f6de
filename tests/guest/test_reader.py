# SPDX-License-Identifier: MIT
"""How an owner can wait and mask: read(), poll(), eventfd, SHIRQ_MASK; also with forced interrupt threads."""

from __future__ import annotations

import pytest

from guest.guest_python import finish, run, start
from guest.quiet import line_falls
from guest.scripts import reader
from shirq_bench.observe.judge import assertions
from shirq_bench.observe.scene import Scene
from shirq_bench.plugin import Boot
from shirq_bench.vm.machine import SHARED_LINE


def test_nonblocking_read_unmasks_with_eagain_and_epoll_never(scene: Scene) -> None:
    """A non-blocking read() unmasks and returns EAGAIN, and epoll never unmasks."""
    script = start(scene, "dev1", reader.nonblocking)
    script.expect(r"^armed \[\]$")
    scene.raise_("dev1")
    assert finish(script)[1:] == ["0 masked", "[] 0 masked", "EAGAIN 1 armed", "True"]


def test_eventfd_counts_events_and_other_answers_of_read(scene: Scene) -> None:
    """The module increments the eventfd for each event, and when the result of read() changes otherwise."""
    script = start(scene, "dev1", reader.eventfd)
    for _ in range(4):
        script.expect("^ready$")
        scene.raise_("dev1")
    assert [line for line in finish(script) if line != "ready"] == ["1 1", "1 2", "1 3", "disarmed True", "EAGAIN"]


@pytest.mark.parametrize(
    ("device", "mask"),
    [("dev0", ""), ("dev0", "load r0, -1; write32 bar0+0x68, r0"), ("dev1", "load r0, -1; write32 bar0+0x68, r0")],
)
def test_an_explicit_mask_holds_until_its_own_number_is_unmasked(scene: Scene, device: str, mask: str) -> None:
    """SHIRQ_MASK runs the mask program, or sets DisINTx if the set has none. A read() does not unmask."""
    script = start(scene, device, reader.explicit_mask, mask.replace("; ", "\n"))
    with scene.record(device) as recorded:
        script.expect("^masked 1 2 masked 2$")
        scene.raise_(device, bits=8)
        scene.run("true")
    assert not recorded.assertions(), "the device asserted although it was masked"
    script.write("\n")
    by = "0x0 0xffffffff" if mask else "0x400 0x0"
    assert finish(script)[1:] == [by, "EAGAIN masked", "3 0x8 0x0"]


def test_a_device_without_means_to_mask_says_so(scene: Scene) -> None:
    assert run(scene, "dev1", reader.no_mask) == ["ENOTSUP armed"]


def test_full_queue_counts_drops_and_the_next_event_tells_them(scene: Scene) -> None:
    """The module counts the events that a full queue drops; the next event contains that count.

    While the owner of an acknowledging device does not read, 256 events stay queued. The next ARM resets the count of
    lost events.
    """
    assert run(scene, "dev1", reader.full_queue) == ["1 256 301 44 44 257", "0 44"]


def test_event_holds_nothing_stale_of_its_slot_or_registers(scene: Scene) -> None:
    """An event contains no stale data of its slot or of the registers.

    A quarantine's event has flags; 256 events later, an interrupt's event gets the same slot of the queue.
    """
    assert run(scene, "dev1", reader.nothing_stale) == ["QUARANTINED 2 1246", "('IRQ', 0, 0, 0, 1, 0, 0, 0)"]


def test_a_rate_of_zero_is_the_default_one(scene: Scene) -> None:
    """The test waits for each claim, so that the rate over a window is far below the default limit."""
    assert run(scene, "dev1", reader.rate_of_zero) == ["armed 1501 0"]


def test_read_takes_only_the_events_that_its_memory_can_hold(scene: Scene) -> None:
    """A read() removes only the events from the queue for which its buffer has room.

    The buffer's page was never accessed, and the page after it is inaccessible.
    """
    assert run(scene, "dev1", reader.room_for_events) == ["[1] EFAULT [2, 3, 4] [5]"]


def test_one_of_two_readers_gets_the_event_and_the_other_waits(scene: Scene) -> None:
    """Of two readers, one gets the event and the other keeps waiting."""
    script = start(scene, "dev1", reader.two_readers)
    for _ in range(2):
        script.expect("^ready$")
        scene.raise_("dev1")
    assert [line for line in finish(script) if line != "ready"] == ["64 1", "64 2"]


def test_readers_on_two_processors_never_return_without_an_event(scene: Scene) -> None:
    """With two readers on two processors, no read() returns without an event.

    Both readers wake up, and while the first one waits for a huge page to be cleared, the other one may take the event.
    """
    lines = run(scene, "dev1", reader.readers_on_two_processors)
    assert lines == ["{64} 0"]


def test_a_second_reader_leaves_the_events_of_the_first_masked(scene: Scene) -> None:
    """read() unmasks only the last event of the same thread, because another thread may still handle its own event."""
    script = start(scene, "dev1", reader.second_reader)
    script.expect("^armed$")
    scene.raise_("dev1")
    script.expect("^handled$")
    scene.raise_("dev1", bits=2)
    assert finish(script)[1:] == ["it waits masked 0", "EAGAIN armed 1", "handled", "the second reader has 2 0x2", "2"]


def test_event_of_an_ended_reader_is_unmasked_by_the_next(scene: Scene) -> None:
    """If a reader's thread ends, the next reader unmasks its event."""
    script = start(scene, "dev1", reader.ended_reader)
    script.expect("^armed$")
    scene.raise_("dev1")
    assert finish(script)[1:] == ["masked EAGAIN armed"]


def test_a_timed_read_leaves_the_events_of_another_thread_masked(scene: Scene) -> None:
    """The binding's read() with a timeout unmasks, before it waits, only the event of its own thread."""
    script = start(scene, "dev1", reader.timed_read)
    script.expect("^armed$")
    scene.raise_("dev1")
    assert finish(script)[1:] == ["silence masked", "silence armed"]


def test_a_mask_takes_over_the_event_that_another_thread_has(scene: Scene) -> None:
    """SHIRQ_MASK replaces the mask of another thread's event, because a device has only one mask.

    If one thread calls SHIRQ_MASK and unmasks the number that the call returned, the device can assert again although
    another thread still handles its event.
    """
    script = start(scene, "dev1", reader.mask_takes_over)
    script.expect("^armed$")
    scene.raise_("dev1")
    assert finish(script)[1:] == ["1 3 0x1 masked"]


def test_poll_says_in_every_state_what_read_would_say(scene: Scene) -> None:
    """poll() reports readable only if an event is queued, an error only if read() would fail, and nothing otherwise."""
    script = start(scene, "dev0", reader.poll)
    script.expect("^armed$")
    scene.raise_("dev0")
    assert finish(script)[1] == "error error wait wait wait read wait wait error wait"


def test_read_unmasks_its_event_and_no_mask_set_meanwhile(scene: Scene) -> None:
    """A read() unmasks only the event that it delivered, not a mask that was set meanwhile."""
    script = start(scene, "dev1", reader.mask_set_meanwhile)
    script.expect("^armed$")
    scene.raise_("dev1")
    assert finish(script)[1:] == ["1 2 EAGAIN masked 0"]


def test_disarm_drops_what_is_queued_and_the_mask_it_left(scene: Scene) -> None:
    """Disarming drops the queued event and the mask of its claim."""
    script = start(scene, "dev1", reader.disarm_drops)
    script.expect("^armed$")
    scene.raise_("dev1")
    assert finish(script)[1:] == ["armed EAGAIN 1"]


def test_disarm_ends_a_read_even_if_arming_follows_at_once(scene: Scene) -> None:
    """Disarming ends a read() even if the device is armed again before the reader runs.

    Both threads run on one processor. The owner has the higher priority, so that it arms again before the reader runs.
    """
    assert run(scene, "dev1", reader.disarm_ends_a_read) == ["['ENXIO'] armed"]


def test_forced_interrupt_threads_change_nothing(boot: Boot) -> None:
    scene = Scene(boot(SHARED_LINE.with_(parameters="threadirqs"), cold=True))
    scene.prepare()
    drivers = {device: scene.drive(device) for device in ("dev0", "dev1")}
    assert scene.run("ps | grep -c '[i]rq/.*shirq'").strip() == "2", "the handlers do not run in threads"
    with scene.tracing() as handlers:
        for _ in range(10):
            scene.network.ping(2)
            for device, driver in drivers.items():
                scene.raise_(device, bits=0x21)
                assert driver.next_event().status == 0x21
    assert handlers.log is not None
    for device, driver in drivers.items():
        assert len(assertions(handlers.log, device)) == 10
        line_falls(scene, device)
        driver.end()
        assert scene.vm.qmp.get(device, "mask") == 0xFFFFFFFF


@pytest.mark.fast
def test_every_step_of_an_interrupt_has_its_tracepoint_in_order(scene: Scene) -> None:
    tracing = "/sys/kernel/tracing"
    scene.run(f"echo 1 >{tracing}/events/shirq/enable && echo 1 >{tracing}/tracing_on")
    driver = scene.drive("dev1")
    scene.raise_("dev1")
    driver.next_event()
    scene.wait_unmasked("dev1")
    driver.end()
    lines = [
        line.split(": ", 2)[1:] for line in scene.run(f"cat {tracing}/trace").splitlines() if "0000:00:08.0" in line
    ]
    names = [name.strip().removeprefix("shirq_") for name, _ in lines]
    # Skip interrupts of the neighbour, which may come at any time.
    while "decline" in names:
        call = names.index("decline") - 1
        assert names[call] == "irq"
        del names[call : call + 2], lines[call : call + 2]
    claim = names.index("claim")
    assert names[claim - 1 : claim + 5] == ["irq", "claim", "mask", "event", "deliver", "unmask"]
    assert lines[claim][1] == "0000:00:08.0 seq=1 masked=0"
    assert lines[claim + 2][1] == "0000:00:08.0 type=1 seq=1 lost=0"
    assert names[0] == "unmask", "arming did not unmask"
