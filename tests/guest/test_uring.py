# SPDX-License-Identifier: MIT
"""A driver that uses io_uring: READ gets events, URING_CMD makes calls."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from guest.guest_python import finish, start
from guest.scripts import reader
from guest.test_c_library import LIBRARY, compiled
from shirq_bench.observe.scene import Scene
from shirq_bench.paths import GUEST
from shirq_bench.vm.machine import ADDRESSES


@pytest.fixture
def uring(scene: Scene, tmp_path: Path) -> Callable[[str], str]:
    """Return a function that runs one scene of uring.c in the guest, and returns what it has printed."""
    source = Path(__file__).with_name("uring.c")
    program = compiled(tmp_path / "uring", "-static", "-pthread", f"-I{GUEST}/lib", source, LIBRARY)
    scene.upload(program, "/tmp/uring")

    def run(name: str) -> str:
        result = scene.vm.agent.run("/tmp/uring", ADDRESSES["dev1"], name)
        assert result.status == 0, result.stderr
        return result.stdout

    return run


def test_each_read_unmasks_the_event_of_the_last(uring: Callable[[str], str]) -> None:
    """On a blocking descriptor, READ unmasks the last event before it waits, and occupies no thread while it does."""
    assert uring("serve") == "served\n"


def test_read_waits_on_any_descriptor_unless_it_must_not(uring: Callable[[str], str]) -> None:
    """READ waits on an O_NONBLOCK descriptor too. With RWF_NOWAIT it ends with EAGAIN, but has unmasked."""
    assert uring("nonblocking") == "nonblocking\n"


def test_second_read_in_flight_unmasks_the_event_of_the_first(uring: Callable[[str], str]) -> None:
    """With SHIRQ_ARM_AUTO_UNMASK, a READ that is in flight begins as soon as another has got its event."""
    assert uring("second") == "second\n"


def test_commands_make_the_calls(uring: Callable[[str], str]) -> None:
    """URING_CMD unmasks, runs a program, and fails as ioctl() does; two READs in flight get one event each."""
    assert uring("commands") == "commands\n"


def test_what_cannot_be_read_or_written_is_refused(uring: Callable[[str], str]) -> None:
    """A READ into bad memory leaves its event queued; io_uring writes nothing; a disarm ends a READ that waits."""
    assert uring("refusals") == "refused\n"


def test_a_multishot_read_gets_every_event(uring: Callable[[str], str], kernel_name: str) -> None:
    """Where the kernel has multishot READs, one READ gets all events, each in a buffer of its own."""
    assert uring("multishot") == ("no multishot\n" if kernel_name == "6.1" else "multishot\n")


def test_a_ring_that_holds_the_device_ends_after_its_process(uring: Callable[[str], str], scene: Scene) -> None:
    """The device is released, and can be owned again, although the ring ends a moment after its process."""
    assert uring("registered") == "registered\n"
    script = start(scene, "dev1", reader.opened_in_the_end)
    assert finish(script, deadline=120) == ["open"]


def test_event_of_an_io_uring_worker_is_the_first_threads(uring: Callable[[str], str]) -> None:
    """An event that an io_uring worker got belongs to the first thread of its process."""
    assert uring("worker") == "worker\n"


def test_wait_and_poll_complete_with_events_of_a_ring(uring: Callable[[str], str]) -> None:
    """SHIRQ_WAIT by URING_CMD, and POLL_ADD, complete when the ring has an event."""
    assert uring("ring") == "ring\n"
