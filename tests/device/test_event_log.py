# SPDX-License-Identifier: MIT
"""The event log as an object of QEMU: its file, its limits, the vCPU of an entry, and the beginning of a history."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from device.scene import Start
from shirq_bench.channels.log import CONFIG_SPACE, HEADER_SIZE, NONE, VM, Kind, Log
from shirq_bench.errors import BenchError, QmpFailed, VmDied
from shirq_bench.provision import qemu
from shirq_bench.vm.board import Board, IoApic


def refusal(*argv: str) -> str:
    """QEMU's message when it refuses to start with ``argv``."""
    emulator = qemu.build()
    machine = ["-machine", "q35", "-accel", "qtest", "-display", "none", "-nodefaults"]
    done = subprocess.run(
        [str(emulator), "-L", str(emulator.parent / "firmware"), *machine, *argv],
        stderr=subprocess.PIPE,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1
    return done.stderr


def names_of(board: Board) -> set[str]:
    """The names of the devices in the log's table, without the interrupt controllers."""
    return {*board.log().header.devices} - {"ioapic", "i8259"}


def stated(log: Log, *devices: str) -> set[tuple[Kind, str, int, int]]:
    """The state of these devices and controllers at the log's beginning: kind, device, offset and value."""
    entries = (entry for entry in log.entries[1:] if entry.device in devices)
    return {(entry.kind, entry.device, entry.offset, entry.value) for entry in entries}


def test_a_fresh_vms_log_begins_with_start(start: Start) -> None:
    log = start("shirq-edu,id=dev0,addr=4").log()
    first = log.entries[0]
    assert first.kind is Kind.START
    assert (first.time_ns, first.device) == (0, VM)
    assert log.header.epoch == 0
    assert log.header.dropped == 0


def test_the_log_is_open_before_the_first_device_is_reset(start: Start) -> None:
    log = start("shirq-edu,id=dev0,addr=4").log()
    assert [entry.device for entry in log.of(Kind.RESET)] == ["dev0"]


def test_no_interrupt_is_sent_while_the_machine_is_built(start: Start) -> None:
    assert start("shirq-edu,addr=4").log().of(Kind.DELIVER) == []


def test_log_file_is_sparse_and_has_the_requested_capacity(start: Start) -> None:
    """The log file is sparse and has room for the requested number of entries."""
    board = start("shirq-edu,id=dev0,addr=4", log="entries=5000000")
    status = board.log_path.stat()
    assert status.st_size == HEADER_SIZE + 5_000_000 * 32
    assert status.st_blocks * 512 < 1 << 20
    assert board.log().header.capacity == 5_000_000


def test_a_million_entries_fit_by_default(start: Start) -> None:
    assert start().log().header.capacity == 1048576


def test_a_full_log_keeps_its_beginning_and_counts_what_it_drops(start: Start) -> None:
    board = start("shirq-edu,id=dev0,addr=4", log="entries=40")
    bar = board.function(4).enable()
    before = board.log()
    for value in range(50):
        bar.write(0x04, value)
    log = board.log()
    assert log.header.head == log.header.capacity == len(log.entries) == 40
    assert log.header.dropped == len(before.entries) + 50 - 40
    assert list(log.entries[: len(before.entries)]) == list(before.entries)
    assert [entry.value for entry in log.of(Kind.WRITE, offset=4)][-1] == 40 - len(before.entries) - 1


#: A library that is preloaded into QEMU: a file can then have at most ROOM bytes.
SMALL_DISK = """
#include <errno.h>
#include <sys/types.h>
int posix_fallocate64(int fd, off_t offset, off_t length) { return offset + length > ROOM ? ENOSPC : 0; }
"""


def emulator_on_small_disk(directory: Path, room: int) -> Path:
    """The bench's QEMU, on a file system where a file can have at most ``room`` bytes."""
    (directory / "disk.c").write_text(SMALL_DISK)
    library = directory / "disk.so"
    command = ["cc", "-shared", "-fPIC", f"-DROOM={room}", "-o", str(library), str(directory / "disk.c")]
    subprocess.run(command, check=True)
    (directory / "firmware").symlink_to(qemu.build().parent / "firmware")
    emulator = directory / "qemu"
    emulator.write_text(f'#!/bin/sh\nexec env LD_PRELOAD={library} {qemu.build()} "$@"\n')
    emulator.chmod(0o755)
    return emulator


def test_a_full_disk_ends_the_log_and_not_the_vm(start: Start, tmp_path: Path) -> None:
    room = 8192
    board = start("shirq-edu,id=dev0,addr=4", emulator=emulator_on_small_disk(tmp_path, HEADER_SIZE + room * 32))
    bar = board.function(4).enable()
    for _ in range(90):
        board.qtest.batch([f"writel {bar.base + 4:#x} 1"] * 100)
    assert bar.read(4) == 0xFFFFFFFE, "the VM does not go on"
    header = board.log().header
    assert header.head == header.capacity == room
    assert header.dropped > 9000 - room
    said = (board.dir / "qemu.log").read_text()
    assert f"shirq-log: '{board.log_path}': no room for more than {room} entries: No space left on device" in said


def test_a_disk_without_room_for_a_log_is_refused(start: Start, tmp_path: Path) -> None:
    with pytest.raises(VmDied, match=r"property 'path': no room for '.*event.log': No space left on device"):
        start(emulator=emulator_on_small_disk(tmp_path, HEADER_SIZE - 1))


def test_time_is_virtual_time(start: Start) -> None:
    board = start("shirq-edu,id=dev0,addr=4")
    bar = board.function(4).enable()
    bar.read(0)
    now = board.qtest.clock_step(1_234_567)
    bar.read(0)
    assert [entry.time_ns for entry in board.log().of(Kind.READ, offset=0)] == [0, now]


def test_the_log_tells_the_present_virtual_time(start: Start) -> None:
    """The log's `now` is exact even if the last entry is old; schedules are built relative to it."""
    board = start("shirq-edu,id=dev0,addr=4")
    now = board.qtest.clock_step(7_654_321)
    assert board.qmp.get("/objects/log", "now") == now
    assert board.log().entries[-1].time_ns < now
    with pytest.raises(QmpFailed, match="now"):
        board.qmp.set("/objects/log", "now", 1)


def test_no_vcpu_is_blamed_when_none_runs(start: Start) -> None:
    board = start("shirq-edu,id=dev0,addr=4")
    board.function(4).enable().read(0)
    assert {(entry.vcpu, entry.ring) for entry in board.log().entries} == {(NONE, NONE)}


def test_a_vcpu_is_named_with_its_privilege_level(start: Start, tmp_path: Path) -> None:
    rom = bytearray(b"\xf4" * 0x10000)
    # mov dx,0cf8h; mov eax,80002004h (00:04.0, Command); out dx,eax; mov dx,0cfch; in ax,dx
    code = b"\xba\xf8\x0c\x66\xb8\x04\x20\x00\x80\x66\xef\xba\xfc\x0c\xed"
    code += b"\xb0\xfe\xe6\x64\xf4"  # mov al,0feh; out 64h,al (the machine's reset); hlt
    rom[0 : len(code)] = code
    rom[0xFFF0:0xFFF5] = b"\xea" + struct.pack("<HH", 0, 0xF000)  # where a processor starts: jmp f000:0
    (tmp_path / "rom").write_bytes(rom)
    board = start(
        "shirq-edu,id=dev0,addr=4",
        accel="tcg",
        extra=["-bios", str(tmp_path / "rom"), "-action", "reboot=shutdown,shutdown=pause", "-S"],
    )
    board.qmp.execute("cont")
    board.qmp.wait_event("SHUTDOWN")
    reads = board.log().of(Kind.READ, device="dev0")
    assert [(read.space, read.offset, read.width, read.vcpu, read.ring) for read in reads] == [
        (CONFIG_SPACE, 4, 2, 0, 0)
    ]
    board.qmp.set("dev0", "raise", 1)
    assert [(entry.vcpu, entry.ring) for entry in board.log().of(Kind.RAISE)] == [(NONE, NONE)]


def test_a_device_without_id_is_named_by_its_path(start: Start) -> None:
    board = start("shirq-edu,addr=4")
    board.function(4).enable()
    assert names_of(board) == {"/machine/peripheral-anon/device[0]"}


def test_long_names_do_not_collide(start: Start) -> None:
    """Names are cut to 63 bytes; the cut names of two devices still differ."""
    stem = 62 * "x"
    names = [f"{stem}y", *(f"{stem}{end}" for end in ("zab", "zba"))]
    board = start(*(f"shirq-edu,id={name},addr={slot}" for slot, name in enumerate(names, 4)))
    for slot in (4, 5, 6):
        board.function(slot).enable()
    logged = names_of(board)
    assert names[0] in logged, "a name of 63 bytes was cut"
    assert len(logged) == 3
    assert {name[:55] for name in logged - {names[0]}} == {f"{stem[:54]}~"}


def test_a_vm_without_a_log_works(start: Start) -> None:
    board = start("shirq-edu,id=dev0,addr=4", log=None)
    bar = board.function(4).enable()
    bar.write(0x6C, 1)
    bar.write(0x60, 1)
    assert board.qmp.get("dev0", "pin") is True
    assert not board.log_path.exists()


def test_log_added_later_begins_with_state_unlike_reset(start: Start) -> None:
    """A log that is added later begins with all state that differs from the reset state."""
    board = start("shirq-edu,id=dev0,addr=4", "shirq-edu,id=dev1,addr=5", log=None)
    bar = board.function(4).enable()
    bar.write(0x6C, 1)
    bar.write(0x60, 1)
    board.qmp.execute("object-add", qom_type="shirq-log", id="late", path=str(board.log_path))
    log = board.log()
    assert log.entries[0].kind is Kind.START
    assert stated(log, "i8259") == {(Kind.LINE_MASK, "i8259", line, 0) for line in range(1, 16)}
    assert stated(log, "dev0", "dev1", "ioapic") == {
        (Kind.MASK, "dev0", 0, 0),
        (Kind.PIN, "dev0", 0, 1),
        (Kind.LINE, "ioapic", 20, 1),
    }


# -- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entries", [0, 1073741825])
def test_a_senseless_size_is_refused_with_what_is_allowed(tmp_path: Path, entries: int) -> None:
    message = refusal("-object", f"shirq-log,id=log,path={tmp_path}/log,entries={entries}")
    assert f"'entries' must be 1 to 1073741824, not {entries}" in message


def test_a_log_without_path_is_refused() -> None:
    assert "'path' is missing" in refusal("-object", "shirq-log,id=log")
    assert "'path' must name a file" in refusal("-object", "shirq-log,id=log,path=")


@pytest.mark.parametrize(
    ("path", "why"),
    [("/nowhere/log", "No such file or directory"), ("/", "Is a directory"), ("/dev/null", "Invalid argument")],
)
def test_a_path_that_cannot_be_a_log_is_refused_with_the_reason(path: str, why: str) -> None:
    message = refusal("-object", f"shirq-log,id=log,path={path}")
    assert "property 'path'" in message
    assert path in message
    assert why in message


def test_the_log_of_another_vm_is_refused_and_stays_as_it_is(start: Start) -> None:
    board = start("shirq-edu,id=dev0,addr=4")
    before = board.log()
    assert "is the log of another VM" in refusal("-object", f"shirq-log,id=log,path={board.log_path}")
    assert board.log() == before


def test_a_second_log_is_refused(start: Start, tmp_path: Path) -> None:
    with pytest.raises(QmpFailed, match="has one already, 'log'"):
        start().qmp.execute("object-add", qom_type="shirq-log", id="second", path=str(tmp_path / "log"))


def test_an_open_log_cannot_be_changed_or_deleted(start: Start) -> None:
    board = start()
    with pytest.raises(QmpFailed, match="'path' is fixed"):
        board.qmp.set("/objects/log", "path", "/elsewhere")
    with pytest.raises(QmpFailed, match="'entries' is fixed"):
        board.qmp.set("/objects/log", "entries", 7)
    with pytest.raises(QmpFailed, match="in use"):
        board.qmp.execute("object-del", id="log")


# -- histories ------------------------------------------------------------------------------------------------------


def test_clones_log_begins_with_restored_and_state_unlike_reset(start: Start, tmp_path: Path) -> None:
    """A clone's log begins with RESTORED and all state that differs from the reset state."""
    devices = ("shirq-edu,id=dev0,addr=4", "shirq-edu,id=dev1,addr=8", "shirq-edu,id=dev2,addr=5")
    template = start(*devices)
    for slot in (4, 8):
        bar = template.function(slot).enable()
        bar.write(0x6C, 0xF)
        bar.write(0x60, 0x5)
    template.function(8).set_intx_disable(True)
    template.save(tmp_path / "state")

    clone = start(*devices, incoming=True)
    assert clone.log().entries == []
    clone.load(tmp_path / "state")
    log = clone.log()
    assert (log.entries[0].kind, log.entries[0].value) == (Kind.RESTORED, 1)
    assert log.header.epoch == 1
    assert stated(log, "dev0", "dev1", "dev2") == {
        (Kind.MASK, "dev0", 0, 0),
        (Kind.MASK, "dev1", 0, 0),
        (Kind.PIN, "dev0", 0, 1),
    }
    # The timer's output, on line 2, may be high.
    assert stated(log, "ioapic") - {(Kind.LINE, "ioapic", 2, 1)} == {(Kind.LINE, "ioapic", 20, 1)}
    assert {kind for kind, *_ in stated(log, "i8259")} <= {Kind.LINE, Kind.LINE_MASK}
    assert len(log.entries) == len({entry[1:] for entry in log.entries})


def test_a_clone_states_the_entries_that_are_unmasked(start: Start, tmp_path: Path) -> None:
    template = start()
    IoApic(template.qtest).program(21, 0x41)
    template.save(tmp_path / "state")
    clone = start(incoming=True)
    clone.load(tmp_path / "state")
    assert stated(clone.log(), "ioapic") - {(Kind.LINE, "ioapic", 2, 1)} == {
        (Kind.LINE_MASK, "ioapic", 21, 0),
        (Kind.TRIGGER, "ioapic", 21, 1),
    }


def test_a_clone_knows_a_line_that_was_high(start: Start, tmp_path: Path) -> None:
    template = start("shirq-edu,id=dev0,addr=4")
    template.function(4).enable().write(0x6C, 1)
    template.qmp.set("dev0", "raise", 1)
    template.save(tmp_path / "state")
    clone = start("shirq-edu,id=dev0,addr=4", incoming=True)
    clone.load(tmp_path / "state")
    mark = clone.log().mark
    clone.qmp.set("dev0", "lower", 1)
    after = clone.log().since(mark)
    assert [(entry.offset, entry.value) for entry in after.of(Kind.LINE)] == [(20, 0)]


def test_the_template_goes_on_in_its_own_log(start: Start, tmp_path: Path) -> None:
    template = start("shirq-edu,id=dev0,addr=4")
    template.function(4).enable().write(0x6C, 1)
    template.save(tmp_path / "state")
    clone = start("shirq-edu,id=dev0,addr=4", incoming=True)
    clone.load(tmp_path / "state")
    mark = clone.log().mark
    template.qmp.execute("cont")
    template.qmp.set("dev0", "raise", 1)
    assert template.log().of(Kind.PIN)
    assert not template.log().of(Kind.RESTORED)
    assert clone.log().mark == mark


def test_loading_a_snapshot_begins_an_epoch_in_the_same_log(start: Start, tmp_path: Path) -> None:
    """Loading a snapshot begins a new epoch in the same log."""
    image = tmp_path / "disk"
    board = start("shirq-edu,id=dev0,addr=4")

    def job(command: str, **arguments: Any) -> None:
        board.qmp.execute(command, job_id="job", **arguments)
        while board.qmp.wait_event("JOB_STATUS_CHANGE")["data"]["status"] != "concluded":
            pass
        (result,) = board.qmp.execute("query-jobs")
        assert "error" not in result, result
        board.qmp.execute("job-dismiss", id="job")

    job("blockdev-create", options={"driver": "file", "filename": str(image), "size": 0})
    board.qmp.execute("blockdev-add", driver="file", node_name="file", filename=str(image))
    job("blockdev-create", options={"driver": "qcow2", "file": "file", "size": 1 << 20})
    board.qmp.execute("blockdev-add", driver="qcow2", node_name="disk", file="file")

    bar = board.function(4).enable()
    bar.write(0x6C, 1)
    bar.write(0x60, 2)
    job("snapshot-save", tag="tag", vmstate="disk", devices=["disk"])
    bar.write(0x60, 1)
    assert board.qmp.get("dev0", "pin") is True
    mark = board.log().mark
    job("snapshot-load", tag="tag", vmstate="disk", devices=["disk"])

    log = board.log().since(mark)
    assert (log.entries[0].kind, log.entries[0].value) == (Kind.RESTORED, 1)
    assert not log.of(Kind.PIN, Kind.RESET)
    assert board.log().header.epoch == 1
    assert board.qmp.get("dev0", "pin") is False
    assert board.qmp.get("dev0", "status") == 2


@pytest.mark.parametrize("pin", [5, 255])
def test_state_with_an_impossible_pin_is_refused(start: Start, tmp_path: Path, pin: int) -> None:
    template = start("shirq-edu,id=dev0,addr=4")
    template.save(tmp_path / "state")
    state = bytearray((tmp_path / "state").read_bytes())
    config = state.index(bytes.fromhex("3412e911"))
    assert state[config + 0x3D] == 1
    state[config + 0x3D] = pin
    (tmp_path / "state").write_bytes(state)
    clone = start("shirq-edu,id=dev0,addr=4", incoming=True)
    with pytest.raises(BenchError, match="the state is damaged"):
        clone.load(tmp_path / "state")


def test_a_state_that_the_machine_cannot_have_is_refused(start: Start, tmp_path: Path) -> None:
    template = start("shirq-edu,id=dev0,addr=4")
    template.function(4).set_intx_disable(True)
    template.save(tmp_path / "state")
    clone = start("shirq-edu,id=dev0,addr=4,disintx=read-only", incoming=True)
    with pytest.raises(BenchError, match="set the property when the state is loaded"):
        clone.load(tmp_path / "state")
