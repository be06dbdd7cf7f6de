# SPDX-License-Identifier: MIT
"""The result of every ioctl in every state of the device, and for every size of its struct."""

from __future__ import annotations

from itertools import groupby

from guest.guest_python import finish, run, start
from guest.scripts import calls
from shirq_bench.channels.log import Kind
from shirq_bench.observe.scene import Scene


def test_every_call_answers_in_every_state_as_the_header_says(scene: Scene) -> None:
    assert run(scene, "dev1", calls.in_every_state) == [
        "open: EBUSY OPEN ENOEXEC ENXIO ENXIO ENXIO ENXIO",
        "loaded: LOADED ENXIO EBUSY ENXIO",
        "armed: ARMED EALREADY EBUSY EINVAL EINVAL OK",
        "non-blocking: EAGAIN",
        "disarmed while it is read: ENXIO LOADED",
        "open again: OPEN",
    ]


def test_a_newer_and_an_older_user_space_are_both_understood(scene: Scene) -> None:
    """A longer struct is accepted if its tail is zero; a shorter one, down to the first version, gets its fields."""
    assert run(scene, "dev1", calls.sizes) == [
        "168",
        "168 True",
        "E2BIG EINVAL EINVAL E2BIG",
        "80 80 80",
        "0 b'P' True",
        "EINVAL EINVAL EINVAL",
    ]


def test_bad_arguments_are_refused_one_by_one(scene: Scene) -> None:
    assert run(scene, "dev1", calls.bad_arguments) == [
        "arm: EINVAL EINVAL EINVAL EINVAL EINVAL",
        "unknown: ENOTTY ENOTTY",
        "pointers: EFAULT EFAULT",
        "mask: EINVAL EINVAL EINVAL ENXIO",
        "eventfd: EINVAL EINVAL EBADF EINVAL OK",
        "quiesce: EINVAL EINVAL EINVAL OK OK",
    ]


def test_refused_set_keeps_the_old_one_and_exec_serves_config(scene: Scene) -> None:
    """A refused set leaves the loaded one in place, and exec serves config space.

    Programs can change only DisINTx in config space, bus mastering has its own ioctl, and close() undoes both.
    """
    assert run(scene, "dev0", calls.refused_set) == [
        "RELEASE 0 BOUNDS",
        "MASK 1 BOUNDS",
        "EXEC 0 WIDE",
        "0x20000ed 0x11e91234",
        "0x400",
        "0x404 True",
        "0x4",
        "0x404",
        "0x400",
        "0x400",
    ]


def test_mappings_are_of_whole_pages_within_a_bar_and_shared(scene: Scene) -> None:
    assert run(scene, "dev1", calls.mappings) == ["EINVAL EINVAL EINVAL EINVAL EINVAL"]


def test_positional_io_is_one_aligned_access_of_a_register(scene: Scene) -> None:
    assert run(scene, "dev1", calls.positional_io) == [
        "0x20000ed 0xedcba987",
        "widths: EINVAL OK OK EINVAL OK EINVAL EINVAL EINVAL",
        "offsets: EINVAL OK EINVAL EINVAL EINVAL EINVAL EINVAL",
        "writes: EINVAL EINVAL EINVAL EINVAL OK",
        "-1 EFAULT",
        "stream: EINVAL ESPIPE ENXIO",
    ]


def test_vectored_io_goes_on_with_the_next_register(scene: Scene) -> None:
    """Each buffer of preadv() and pwritev() accesses the next register once; no register is accessed twice."""
    with scene.record("dev1") as recorded:
        assert run(scene, "dev1", calls.vectored_io) == [
            "8",
            "12 0x20000ed 0xffffedcb 0x78",
            "4 EINVAL",
            "ENOTSUP ENOTSUP ENXIO",
            "EINVAL ENXIO",
        ]
    entries = recorded.of(Kind.READ, Kind.WRITE, device="dev1")
    accesses = [(entry.kind, entry.offset) for entry in entries if entry.space == 0]
    assert accesses == [
        *((Kind.WRITE, offset) for offset in (4, 8)),
        *((Kind.READ, offset) for offset in (0, 4, 8, 0xFFC)),
    ]


def test_positional_io_waits_for_the_program_that_runs(scene: Scene) -> None:
    """A long mask program on one processor and pread() on another take turns: neither interrupts the other."""
    with scene.record("dev1") as recorded:
        run(scene, "dev1", calls.io_beside_programs)
    reads = [entry.offset for entry in recorded.of(Kind.READ, device="dev1") if entry.space == 0]
    programs = [len(list(group)) for offset, group in groupby(reads) if offset == 0]
    assert len(programs) > 20, "the programs and pread() hardly alternated: the test proves nothing"
    assert not [length for length in programs if length % 60], "a pread() came between two reads of a program"


def test_read_into_bad_memory_keeps_its_event_and_counts_add_up(scene: Scene) -> None:
    """A read() into an invalid buffer keeps its event in the queue, and the statistics add up."""
    script = start(scene, "dev1", calls.read_into_bad_memory)
    script.expect("^ready$")
    scene.raise_("dev1", bits=3)
    assert finish(script)[1:] == ["EFAULT masked", "1 3 True", "claims=1 events=1 lost=0 unmasks=1 armed", "True"]
