# SPDX-License-Identifier: MIT
"""Scripts of test_uio.py: programs that use /dev/uioN and sysfs alone, as any UIO program does, and those that add it."""

from __future__ import annotations

import mmap
import os
import select
import struct
import threading
from pathlib import Path

import shirq
from guest.scripts.inguest import (
    ADDRESS,
    INT_ACK,
    SET,
    asleep_in,
    become_nobody,
    child,
    fails,
    loaded,
    proceed,
    report,
    reset,
    stat,
    state,
    useless,
)
from shirq import abi

_UIO = Path("/sys/class/uio")
_MASK_ALL = shirq.assemble("load r0, 0xffffffff\nwrite32 bar0+0x68, r0\nread32 r0, bar0+0x28")
INT_MASK = 0x28
INT_ACTIVE = 0x2C
UNMASK, MASK = b"\1\0\0\0", bytes(4)


def name() -> str:
    """The name of the function's UIO device, such as uio0; StopIteration if it has none."""
    return next((Path("/sys/bus/pci/devices") / ADDRESS / "uio").iterdir()).name


def attribute(path: str) -> str:
    return (_UIO / name() / path).read_text().strip()


def add(programs: shirq.ProgramSet = SET, mask: shirq.Program = (), *, by_read: bool = False) -> int:
    """Give the device a face, by an owner that does nothing else; returns N of /dev/uioN."""
    with loaded(programs, mask) as device:
        return device.add_uio("edu", "7", unmask_by_read=by_read)


def node(flags: int = 0) -> int:
    return os.open(f"/dev/{name()}", os.O_RDWR | os.O_CLOEXEC | flags)


def mapped(fd: int, bar: int = 0) -> shirq.Registers:
    return shirq.Registers(mmap.mmap(fd, 0x1000, mmap.MAP_SHARED, offset=bar * mmap.PAGESIZE))


def count(fd: int) -> int:
    """Wait in read()."""
    return int(struct.unpack("=I", os.read(fd, 4))[0])


def readable(fd: int) -> int:
    """What poll() says at once."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return sum(events for _, events in poll.poll(0))


def acknowledge(registers: shirq.Registers) -> None:
    registers.write32(INT_ACK, 0xFFFFFFFF)


def parked() -> str:
    """Wait until the last reference to a file is gone, which a killed process drops a moment after it has ended."""
    while state() != "parked":
        os.sched_yield()
    return state()


# ---------------------------------------------------------------- counting, masking


def counts() -> None:
    number = add()
    fd = node()
    registers = mapped(fd)
    report("ready", number, attribute("name"), attribute("version"), attribute("event"), state())
    print(count(fd), attribute("event"), state(), hex(registers.read32(INT_MASK)))
    acknowledge(registers)
    print("a read leaves it masked:", fails(os.read, node(os.O_NONBLOCK), 4), state())
    os.write(fd, b"\0\0\0\1")
    print(state(), hex(registers.read32(INT_MASK)))
    for written in (UNMASK, b"\0\0\1\0", b"\xff" * 4):
        report("ready")
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        print(poll.poll(), count(fd), attribute("event"), readable(fd))
        acknowledge(registers)
        os.write(fd, written)
    print("other sizes:", fails(os.read, fd, 8), fails(os.write, fd, b"\1"), stat("claims"), stat("unmasks"))


def masks(program: bool) -> None:
    """Write zero, with the device idle, then pending; `program`: the set has a mask program."""
    add(mask=_MASK_ALL if program else ())
    fd = node()
    registers = mapped(fd)
    report(fails(os.write, fd, MASK), state(), hex(registers.read32(INT_MASK)))
    proceed()
    print(readable(fd))
    if not readable(fd):
        os.write(fd, UNMASK)
    print(count(fd), state(), fails(os.write, fd, MASK), state())
    acknowledge(registers)
    os.write(fd, UNMASK)
    print(state(), stat("masks"))


def only_reads(by_read: bool) -> None:
    """A program that never writes. It works until the test lets it read again."""
    add(by_read=by_read)
    fd = node()
    registers = mapped(fd)
    for _ in range(3):
        report("reads")
        print(count(fd), end=" ")
        acknowledge(registers)
        report("works", state())
        proceed()


def reads_and_masks() -> None:
    """A read() that waits ends the mask of an interrupt only, not that of a write of zero."""
    add(mask=_MASK_ALL, by_read=True)
    fd = node()
    report("reads")
    count(fd)
    os.write(fd, MASK)
    acknowledge(mapped(fd))
    thread = threading.Thread(target=count, args=(fd,))
    thread.start()
    asleep_in(thread, f"0 {fd:#x}")
    claimed = stat("claims")
    # The timer of the face looks every 10 ms at most.
    threading.Event().wait(0.1)
    report("waits", state(), stat("claims") - claimed)
    os.write(fd, UNMASK)
    thread.join()
    print(attribute("event"), state())


def only_polls() -> None:
    """poll() and a read() that need not wait unmask nothing."""
    add(by_read=True)
    fd = node(os.O_NONBLOCK)
    report("ready")
    select.select([fd], [], [])
    count(fd)
    acknowledge(mapped(fd))
    select.select([fd], [], [], 0.1)
    print(fails(os.read, fd, 4), state())
    os.write(fd, UNMASK)
    print(state())


# ---------------------------------------------------------------- faces and owners


def refused() -> None:
    with shirq.Device.open(ADDRESS) as device:
        print(fails(device.add_uio, "edu", "7"), fails(device.remove_uio))
        device.load(SET)
        report(fails(device.add_uio, "edu", "7"))
        proceed()
        for bad in ({"flags": 4}, {"flags": 3}, {"reserved": 1}, {"name": b""}, {"version": b""}, {"name": b"n" * 64}):
            raw = abi.UioStruct(**({"name": b"n", "version": b"v"} | bad))
            print(fails(device._call, abi.SET_UIO, raw, "", {}), end=" ", flush=True)
        print(child(lambda: (become_nobody(), print(fails(device.add_uio, "edu", "7"), end=" ", flush=True))))
        print(device.add_uio("edu", "7"), fails(device.add_uio, "edu", "7"), attribute("name"), fails(node))
        device.remove_uio()
        print((Path("/sys/bus/pci/devices") / ADDRESS / "uio").exists(), device.add_uio("edu", "8"))
        device.arm(shared=True)
    os.chmod(f"/dev/{name()}", 0o666)
    become_nobody()
    fd = node()
    print(attribute("version"), state(), hex(mapped(fd).read32(0)))


def one_face_at_a_time() -> None:
    """Two files of the UIO face; the programs are those that were loaded when the face was added."""
    number = add()
    device = loaded(useless())
    device.set_quiesce(abi.Quiesce(0))
    print(fails(node), end=" ")
    device.close()
    fd, second = node(), node()
    print(fails(shirq.Device.open, ADDRESS), state())
    os.mknod("/tmp/another", 0o600 | 0o020000, os.stat(f"/dev/uio{number}").st_rdev)
    print(fails(os.open, "/tmp/another", os.O_RDWR))
    report("ready")
    print(count(fd), count(second), hex(mapped(second).read32(INT_MASK)))
    os.close(fd)
    print(state(), end=" ")
    registers = mapped(second)
    os.close(second)
    print(state(), end=" ")
    acknowledge(registers)
    registers.close()
    print(state(), fails(os.open, "/tmp/another", os.O_RDWR))


def settings() -> None:
    """The face keeps the settings of SHIRQ_SET_QUIESCE: a function-level reset at the last close."""
    with loaded() as device:
        device.set_quiesce(abi.Quiesce(0), release=abi.Quiesce.FLR)
        device.add_uio("edu", "7")
    fd = node()
    registers = mapped(fd)
    registers.write32(0x04, 0x1234)
    before = registers.read32(0x04)
    registers.close()
    os.close(fd)
    fd = node()
    print(hex(before), hex(mapped(fd).read32(0x04)))


def killed() -> None:
    """An owner that the test kills while its device is pending."""
    fd = node()
    mapped(fd)
    report("ready")
    count(fd)
    report("pending")
    proceed()


def add_and_end() -> None:
    add()


def sleeper(fd: int, results: list[str]) -> threading.Thread:
    """A thread that sleeps in read()."""
    thread = threading.Thread(target=lambda: results.append(fails(count, fd)))
    thread.start()
    asleep_in(thread, f"0 {fd:#x}")
    return thread


def stopped(how: str) -> None:
    """The device stops while a program waits in read(): by a storm, a reset, or because it is gone."""
    add(useless() if how == "storm" else SET)
    fd = node()
    registers = mapped(fd)
    if how == "storm":
        report("ready")
        while fails(os.write, fd, UNMASK) == "OK":
            pass
        results = ["EIO"]
    else:
        results = []
        thread = sleeper(fd, results)
        report("ready")
        if how == "reset":
            reset()
        thread.join()
    print(results, attribute("event") != "0", readable(fd) & select.POLLERR != 0, fails(os.read, fd, 4), end=" ")
    print(fails(os.write, fd, UNMASK), fails(mapped, fd), fails(node), child(lambda: registers.read32(0)))
    registers.close()
    os.close(fd)
    report(parked())
    proceed()
    before = int(attribute("event"))
    fd = node()
    report("again")
    print(count(fd) > before)


def unbound() -> None:
    """The function is unbound while a program waits in read()."""
    add()
    fd = node()
    registers = mapped(fd)
    results: list[str] = []
    thread = sleeper(fd, results)
    report("ready")
    thread.join()
    proceed()
    print(results, fails(os.read, fd, 4), fails(os.write, fd, UNMASK), fails(mapped, fd), end=" ")
    print(child(lambda: registers.read32(0)), Path("/sys/bus/pci/devices", ADDRESS, "uio").exists())
    registers.close()
    os.close(fd)
    report("closed")


# ---------------------------------------------------------------- maps


def maps() -> None:
    add()
    folder = _UIO / name()
    for kind in ("maps", "portio"):
        for path in sorted((folder / kind).iterdir()):
            values = [(path / key).read_text().strip() for key in ("name", "size")]
            start = int((path / ("start" if kind == "portio" else "addr")).read_text(), 0)
            bars = Path("/sys/bus/pci/devices", ADDRESS, "resource").read_text().splitlines()
            starts = [int(line.split()[0], 16) for line in bars[:6]]
            print(path.name, *values, starts.index(start) if start else "-")
    fd = node()
    for bar in range(6):
        print(bar, fails(mapped, fd, bar), end=" ")
    print(fails(mmap.mmap, fd, 0x2000, mmap.MAP_SHARED), fails(mmap.mmap, fd, 0x1000, mmap.MAP_PRIVATE))


def value(bar: int, offset: int, written: int) -> None:
    """Write a register through a map, and read it by the other face's programs, once the map is gone."""
    add()
    fd = node()
    registers = mapped(fd, bar)
    registers.write32(offset, written)
    print(hex(registers.read32(offset)))
    registers.close()
    os.close(fd)
    with shirq.Device.open(ADDRESS) as device:
        print(hex(device.pread(bar, offset, 4)))


# ---------------------------------------------------------------- the kernel


def locked_down() -> None:
    add()
    os.system("mount -t securityfs securityfs /sys/kernel/security")
    Path("/sys/kernel/security/lockdown").write_text("integrity")
    print(fails(node), state())


def sleeps() -> None:
    """The system goes to sleep up to the drivers, and wakes at once, while a program waits in read()."""
    add()
    fd = node()
    results: list[str] = []
    thread = sleeper(fd, results)
    Path("/sys/module/suspend/parameters/pm_test_delay").write_text("0")
    Path("/sys/power/pm_test").write_text("devices")
    Path("/sys/power/state").write_text("freeze")
    thread.join()
    print(results, fails(os.write, fd, UNMASK))
    os.close(fd)
    before = int(attribute("event"))
    fd = node()
    report("again")
    print(count(fd) > before)
