# SPDX-License-Identifier: MIT
"""Scripts of test_uio.py: programs that use /dev/uioN and sysfs alone, as any UIO program does; and its owners."""

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
    INT_MASK,
    INT_RAISE,
    SET,
    asleep_in,
    become_nobody,
    begun_late,
    child,
    fails,
    go_on,
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
INT_ACTIVE = 0x2C
UNMASK, MASK = b"\1\0\0\0", bytes(4)


def _name() -> str:
    """The name of the function's UIO device, such as uio0; StopIteration if it has none."""
    return next((Path("/sys/bus/pci/devices") / ADDRESS / "uio").iterdir()).name


def _attribute(path: str) -> str:
    return (_UIO / _name() / path).read_text().strip()


def _add(programs: shirq.ProgramSet = SET, mask: shirq.Program = (), *, by_read: bool = False) -> int:
    """Give the device a face, by an owner that does nothing else; returns N of /dev/uioN."""
    with loaded(programs, mask) as device:
        return device.add_uio("edu", "7", unmask_by_read=by_read)


def _node(flags: int = 0) -> int:
    return os.open(f"/dev/{_name()}", os.O_RDWR | os.O_CLOEXEC | flags)


def _mapped(fd: int, bar: int = 0) -> shirq.Registers:
    return shirq.Registers(mmap.mmap(fd, 0x1000, mmap.MAP_SHARED, offset=bar * mmap.PAGESIZE))


def _count(fd: int) -> int:
    """Wait in read()."""
    return int(struct.unpack("=I", os.read(fd, 4))[0])


def _readable(fd: int) -> int:
    """What poll() says at once."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return sum(events for _, events in poll.poll(0))


def _acknowledge(registers: shirq.Registers) -> None:
    registers.write32(INT_ACK, 0xFFFFFFFF)


def _parked() -> str:
    """Wait until the last reference to a file is gone, which a killed process drops a moment after it has ended."""
    while state() != "parked":
        os.sched_yield()
    return state()


# ---------------------------------------------------------------- counting, masking


def counts() -> None:
    number = _add()
    fd = _node()
    registers = _mapped(fd)
    report("ready", number, _attribute("name"), _attribute("version"), _attribute("event"), state())
    print(_count(fd), _attribute("event"), state(), hex(registers.read32(INT_MASK)))
    _acknowledge(registers)
    print("a read leaves it masked:", fails(os.read, _node(os.O_NONBLOCK), 4), state())
    os.write(fd, b"\0\0\0\1")
    print(state(), hex(registers.read32(INT_MASK)))
    for written in (UNMASK, b"\0\0\1\0", b"\xff" * 4):
        report("ready")
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        print(poll.poll(), _count(fd), _attribute("event"), _readable(fd))
        _acknowledge(registers)
        os.write(fd, written)
    os.write(fd, UNMASK)
    print("other sizes:", fails(os.read, fd, 8), fails(os.write, fd, b"\1"), stat("claims"), stat("unmasks"))


def masks(program: bool) -> None:
    """Write zero, with the device idle, then pending; `program`: the set has a mask program."""
    _add(mask=_MASK_ALL if program else ())
    fd = _node()
    registers = _mapped(fd)
    report(fails(os.write, fd, MASK), state(), hex(registers.read32(INT_MASK)))
    proceed()
    print(_readable(fd))
    if not _readable(fd):
        os.write(fd, UNMASK)
    print(_count(fd), state(), fails(os.write, fd, MASK), state())
    _acknowledge(registers)
    os.write(fd, UNMASK)
    print(state(), stat("masks"))


def only_reads(by_read: bool) -> None:
    """A program that never writes. It works until the test lets it read again."""
    _add(by_read=by_read)
    fd = _node()
    registers = _mapped(fd)
    for _ in range(3):
        report("reads")
        print(_count(fd), end=" ")
        _acknowledge(registers)
        report("works", state())
        proceed()


def reads_and_masks(program: bool) -> None:
    """A read() that waits ends the mask of an interrupt only, not that of a write of zero."""
    _add(mask=_MASK_ALL if program else (), by_read=True)
    fd = _node()
    report("reads")
    _count(fd)
    os.write(fd, MASK)
    _acknowledge(_mapped(fd))
    thread = threading.Thread(target=_count, args=(fd,))
    thread.start()
    asleep_in(thread, f"0 {fd:#x}")
    claimed = stat("claims")
    # The timer of the face looks every 10 ms at most.
    threading.Event().wait(0.1)
    report("waits", state(), stat("claims") - claimed)
    os.write(fd, UNMASK)
    thread.join()
    print(_attribute("event"), state())


def only_polls() -> None:
    """poll() and a read() that need not wait unmask nothing."""
    _add(by_read=True)
    fd = _node(os.O_NONBLOCK)
    report("ready")
    select.select([fd], [], [])
    _count(fd)
    _acknowledge(_mapped(fd))
    select.select([fd], [], [], 0.1)
    print(fails(os.read, fd, 4), state())
    os.write(fd, UNMASK)
    print(state())


def interrupted_while_a_look_is_late() -> None:
    """The timer of the face looks on one processor; on the other, the program unmasks, and the next interrupt comes."""
    number = (Path("/sys/bus/pci/devices") / ADDRESS / "irq").read_text().strip()
    # A timer stays on the processor that starts it.
    Path("/proc/sys/kernel/timer_migration").write_text("0")
    _add(by_read=True)
    fd = _node()
    registers = _mapped(fd)
    first = int(Path(f"/proc/irq/{number}/effective_affinity_list").read_text())
    os.sched_setaffinity(0, {1 - first})
    # From the interrupt after the next one on.
    Path(f"/proc/irq/{number}/smp_affinity_list").write_text(str(1 - first))
    registers.write32(INT_RAISE, 1)
    begun_late()
    _acknowledge(registers)
    registers.write32(INT_RAISE, 1)
    os.write(fd, UNMASK)
    # Until the next look is due.
    threading.Event().wait(0.1)
    go_on()
    threading.Event().wait(0.1)
    print(_count(fd), state())


# ---------------------------------------------------------------- faces and owners


def refused() -> None:
    def nobody_adds() -> None:
        become_nobody()
        print(fails(device.add_uio, "edu", "7"), end=" ", flush=True)

    with shirq.Device.open(ADDRESS) as device:
        print(fails(device.add_uio, "edu", "7"), fails(device.remove_uio))
        device.load(SET)
        report(fails(device.add_uio, "edu", "7"))
        proceed()
        for bad in ({"flags": 4}, {"flags": 3}, {"reserved": 1}, {"name": b""}, {"version": b""}, {"name": b"n" * 64}):
            raw = abi.UioStruct(**({"name": b"n", "version": b"v"} | bad))
            print(fails(device._call, abi.SET_UIO, raw, "", {}), end=" ", flush=True)
        print(child(nobody_adds))
        print(device.add_uio("edu", "7"), fails(device.add_uio, "edu", "7"), _attribute("name"), fails(_node))
        device.remove_uio()
        print((Path("/sys/bus/pci/devices") / ADDRESS / "uio").exists(), device.add_uio("edu", "8"))
        device.arm(shared=True)
    Path(f"/dev/{_name()}").chmod(0o666)
    become_nobody()
    fd = _node()
    print(_attribute("version"), state(), hex(_mapped(fd).read32(0)))


def one_face_at_a_time() -> None:
    """Two files of the UIO face; the programs are those that were loaded when the face was added."""
    number = _add()
    device = loaded(useless())
    device.set_quiesce(abi.Quiesce(0))
    print(fails(_node), end=" ")
    device.close()
    fd, second = _node(), _node()
    print(fails(shirq.Device.open, ADDRESS), state())
    os.mknod("/tmp/another", 0o600 | 0o020000, Path(f"/dev/uio{number}").stat().st_rdev)
    print(fails(os.open, "/tmp/another", os.O_RDWR))
    report("ready")
    print(_count(fd), _count(second), hex(_mapped(second).read32(INT_MASK)))
    os.close(fd)
    print(state(), end=" ")
    registers = _mapped(second)
    os.close(second)
    print(state(), end=" ")
    _acknowledge(registers)
    registers.close()
    print(state(), fails(os.open, "/tmp/another", os.O_RDWR))


def settings() -> None:
    """The face keeps the settings of SHIRQ_SET_QUIESCE: a function-level reset at the last close."""
    with loaded() as device:
        device.set_quiesce(abi.Quiesce(0), release=abi.Quiesce.FLR)
        device.add_uio("edu", "7")
    fd = _node()
    registers = _mapped(fd)
    registers.write32(0x04, 0x1234)
    before = registers.read32(0x04)
    registers.close()
    os.close(fd)
    fd = _node()
    print(hex(before), hex(_mapped(fd).read32(0x04)))


def killed() -> None:
    """An owner that the test kills while its device is pending."""
    fd = _node()
    _mapped(fd)
    report("ready")
    _count(fd)
    report("pending")
    proceed()


def add_and_end() -> None:
    _add()


def _sleeper(fd: int, results: list[str]) -> threading.Thread:
    """A thread that sleeps in read()."""
    thread = threading.Thread(target=lambda: results.append(fails(_count, fd)))
    thread.start()
    asleep_in(thread, f"0 {fd:#x}")
    return thread


def stopped(how: str) -> None:
    """The device stops while a program waits in read(): by a storm, a reset, or because it is gone."""
    _add(useless() if how == "storm" else SET)
    fd = _node()
    registers = _mapped(fd)
    if how == "storm":
        report("ready")
        while fails(os.write, fd, UNMASK) == "OK":
            pass
        results = ["EIO"]
    else:
        results = []
        thread = _sleeper(fd, results)
        report("ready")
        if how == "reset":
            reset()
        thread.join()
    print(results, _attribute("event") != "0", _readable(fd) & select.POLLERR != 0, fails(os.read, fd, 4), end=" ")
    print(fails(os.write, fd, UNMASK), fails(_mapped, fd), fails(_node), child(lambda: registers.read32(0)))
    registers.close()
    os.close(fd)
    report(_parked())
    proceed()
    before = int(_attribute("event"))
    fd = _node()
    report("again")
    # With the programs of the storm, the device may have been stopped again by now.
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    poll.poll()
    print(int(_attribute("event")) > before)


def unbound() -> None:
    """The function is unbound while a program waits in read()."""
    _add()
    fd = _node()
    registers = _mapped(fd)
    results: list[str] = []
    thread = _sleeper(fd, results)
    report("ready")
    thread.join()
    proceed()
    print(results, fails(os.read, fd, 4), fails(os.write, fd, UNMASK), fails(_mapped, fd), end=" ")
    print(child(lambda: registers.read32(0)), Path("/sys/bus/pci/devices", ADDRESS, "uio").exists())
    registers.close()
    os.close(fd)
    report("closed")


# ---------------------------------------------------------------- maps


def maps() -> None:
    _add()
    folder = _UIO / _name()
    for kind in ("maps", "portio"):
        for path in sorted((folder / kind).iterdir()):
            values = [(path / key).read_text().strip() for key in ("name", "size")]
            start = int((path / ("start" if kind == "portio" else "addr")).read_text(), 0)
            bars = Path("/sys/bus/pci/devices", ADDRESS, "resource").read_text().splitlines()
            starts = [int(line.split()[0], 16) for line in bars[:6]]
            print(path.name, *values, starts.index(start) if start else "-")
    fd = _node()
    for bar in range(6):
        print(bar, fails(_mapped, fd, bar), end=" ")
    print(fails(mmap.mmap, fd, 0x2000, mmap.MAP_SHARED), fails(mmap.mmap, fd, 0x1000, mmap.MAP_PRIVATE))


def value(bar: int, offset: int, written: int) -> None:
    """Write a register through a map, and read it by the other face, once the map is gone."""
    fd = _node()
    registers = _mapped(fd, bar)
    registers.write32(offset, written)
    print(hex(registers.read32(offset)))
    registers.close()
    os.close(fd)
    with shirq.Device.open(ADDRESS) as device:
        print(hex(device.pread(bar, offset, 4)))


# ---------------------------------------------------------------- the kernel


def locked_down() -> None:
    _add()
    os.system("mount -t securityfs securityfs /sys/kernel/security")
    Path("/sys/kernel/security/lockdown").write_text("integrity")
    print(fails(_node), state())


def sleeps() -> None:
    """The system goes to sleep up to the drivers, and wakes at once, while a program waits in read()."""
    _add()
    fd = _node()
    results: list[str] = []
    thread = _sleeper(fd, results)
    Path("/sys/module/suspend/parameters/pm_test_delay").write_text("0")
    Path("/sys/power/pm_test").write_text("devices")
    Path("/sys/power/state").write_text("freeze")
    thread.join()
    print(results, fails(os.write, fd, UNMASK))
    os.close(fd)
    before = int(_attribute("event"))
    fd = _node()
    report("again")
    print(_count(fd) > before)


def reads_on(interrupts: int) -> None:
    """A program that only reads, and lets the device raise each next interrupt while it is masked."""
    _add(by_read=True)
    fd = _node()
    registers = _mapped(fd)
    report("ready")
    proceed()
    registers.write32(INT_RAISE, 1)
    for number in range(1, interrupts + 1):
        assert _count(fd) == number
        _acknowledge(registers)
        if number < interrupts:
            registers.write32(INT_RAISE, 1)


# ---------------------------------------------------------------- cards


def card(enable: tuple[tuple[int, int, int], ...], again: tuple[int, int, int] | None, rounds: int) -> None:
    """Wait for the interrupts of any card, which the test serves.

    ``enable`` are registers to write first, in mappings of BARs. ``again`` is one to write after each interrupt; if it
    is None, the node is written.
    """
    fd = _node()
    mappings: dict[int, shirq.Registers] = {}

    def put(bar: int, offset: int, value: int) -> None:
        ports = [path for path in (_UIO / _name()).glob("portio/*") if (path / "name").read_text() == f"bar{bar}\n"]
        if ports:
            with Path("/dev/port").open("r+b", buffering=0) as port:
                port.seek(int((ports[0] / "start").read_text(), 0) + offset)
                port.write(bytes([value]))
            return
        if bar not in mappings:
            size = int(_attribute(f"maps/map{bar}/size"), 0)
            memory = mmap.mmap(fd, size, mmap.MAP_SHARED, offset=bar * mmap.PAGESIZE)
            mappings[bar] = shirq.Registers(memory)
        mappings[bar].write(offset, 1 if value < 0x100 and offset == 0x4C else 4, value)

    for each in enable:
        put(*each)
    report("armed")
    for _ in range(rounds):
        report(_count(fd), state())
        proceed()
        if again:
            put(*again)
        else:
            os.write(fd, UNMASK)
        report("again")
    report(_count(fd), state())
    proceed()


def read_only() -> None:
    """A program that opens the node for reading alone."""
    _add()
    fd = os.open(f"/dev/{_name()}", os.O_RDONLY)
    print(fails(mmap.mmap, fd, 0x1000, mmap.MAP_PRIVATE, mmap.PROT_READ), fails(_mapped, fd), end=" ")
    registers = mmap.mmap(fd, 0x1000, mmap.MAP_SHARED, mmap.PROT_READ)
    print(hex(int.from_bytes(registers[:4], "little")))
