# SPDX-License-Identifier: MIT
"""Scripts of test_lifecycle.py."""

from __future__ import annotations

import ctypes
import dataclasses
import mmap
import os
import select
import signal
import socket
import threading
import time
from pathlib import Path

import shirq
from guest.scripts.inguest import (
    ADDRESS,
    INT_ACK,
    SET,
    TIMEOUT,
    armed,
    attempt,
    child,
    command,
    fails,
    libc,
    libc_errno,
    loaded,
    pending,
    proceed,
    report,
    set_command,
    stat,
    state,
)
from shirq import abi


def opened() -> None:
    print(shirq.Device.open(ADDRESS).info.state.name)


def busy() -> None:
    print(fails(shirq.Device.open, ADDRESS))


def ends(how: str) -> None:
    device, _ = pending()
    match how:
        case "close":
            device.close()
        case "SIGKILL":
            os.kill(os.getpid(), signal.SIGKILL)
        case "exit":
            os._exit(3)
        case "exec":
            os.execv("/bin/true", ["true"])


def close() -> None:
    device, _registers = armed()
    device.close()
    print(state(), device.fileno())


def never_armed() -> None:
    device = loaded()
    attempt(device.load, dataclasses.replace(SET, release=shirq.assemble("read32 r0, bar0+0x1000")))
    registers = device.mmap(0)
    registers.write32(0x6C, 0xFFFFFFFF)
    print(hex(registers.read32(0x28)))
    device.close()


def next_owner() -> None:
    device, registers = armed()
    report("first")
    event = device.read()
    registers.write32(INT_ACK, event.r[0])
    device.close()
    device, registers = armed()
    report("second")
    assert select.select([device], [], [], TIMEOUT)[0]
    os.set_blocking(device.fileno(), False)
    before = stat("unmasks")
    event = device.read()
    report(event.seq, stat("unmasks") - before)


def forked_child() -> None:
    device, registers = pending()
    if not os.fork():
        proceed()
        registers.write32(INT_ACK, 1)
        device.unmask(1)
        report(hex(device.read(timeout=TIMEOUT).r[0]))
        proceed()
    os._exit(0)


def descriptor_in_flight() -> None:
    here, there = socket.socketpair()
    device, _ = armed()
    socket.send_fds(here, [b"x"], [device.fileno()])
    device.close()
    report(fails(shirq.Device.open, ADDRESS), state())
    proceed()
    _, (fd,), _, _ = socket.recv_fds(there, 1, 1)
    event = shirq.Event.from_bytes(os.read(fd, 64))
    report(hex(event.r[0]))
    socket.send_fds(here, [b"x"], [fd])
    os.close(fd)
    here.close()
    there.close()
    report(state(), fails(shirq.Device.open, ADDRESS))


def mapping_alone() -> None:
    fd = os.open("/dev/shirq/" + ADDRESS, os.O_RDWR)
    libc.mmap.restype = ctypes.c_void_p
    mapping = libc.mmap(None, 4096, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED, fd, 0)
    os.close(fd)
    print(fails(shirq.Device.open, ADDRESS))
    libc.munmap(ctypes.c_void_p(mapping), 4096)
    print(fails(shirq.Device.open, ADDRESS))


def bus_mastering() -> None:
    device = shirq.Device.open(ADDRESS)

    def master() -> None:
        device.set_master(True)
        assert command() & 4

    def said() -> bool:
        return abi.InfoFlag.MASTER in device.info.flags

    print(child(master), bool(command() & 4), said(), state())
    device.set_master(True)
    print(bool(command() & 4), said())
    # The end of a child does not switch off the bus mastering that its parent has enabled.
    print(child(lambda: None), bool(command() & 4))


def unbound() -> None:
    device, registers = pending()
    results: list[str] = []
    eventfd = os.eventfd(0)
    device.set_eventfd(eventfd)
    threads = [threading.Thread(target=lambda: results.append(fails(os.read, device.fileno(), 64))) for _ in range(3)]
    for thread in threads:
        thread.start()
    poll = select.epoll()
    poll.register(device.fileno(), select.EPOLLIN)

    def sleeping() -> int:
        return sum((task / "stat").read_text().split()[2] == "S" for task in Path("/proc/self/task").iterdir())

    while sleeping() < 3:
        time.sleep(0.01)
    shirq.unbind(ADDRESS)
    for thread in threads:
        thread.join(TIMEOUT)
    print(*results, os.read(eventfd, 8)[0] > 0)
    print(poll.poll(TIMEOUT)[0][1] & select.EPOLLERR == select.EPOLLERR)
    print(
        fails(lambda: device.info),
        fails(device.load, SET),
        fails(device.arm),
        fails(device.disarm),
        fails(device.unmask, 0),
        fails(device.mask),
        fails(device.exec, SET.release),
        fails(device.set_master, True),
        fails(device.set_eventfd, None),
        fails(device.set_quiesce),
        fails(os.read, device.fileno(), 64),
        fails(device.pread, 0, 0, 4),
        fails(device.pwrite, 0, 4, 4, 0),
        fails(mmap.mmap, device.fileno(), 4096),
    )
    print(child(lambda: registers.read32(0)), Path("/dev/shirq", ADDRESS).exists())
    shirq.bind(ADDRESS)
    with shirq.Device.open(ADDRESS) as successor:
        successor.load(SET)
        successor.arm()
        print(successor.info.state.name, fails(lambda: device.info))
    device.close()
    print(fails(shirq.Device.open, ADDRESS))


def stays_open() -> None:
    _device = shirq.Device.open(ADDRESS)
    report("open")
    proceed()


def silenced_by_bind() -> None:
    driver = Path("/sys/bus/pci/drivers/shirq")
    (driver / "unbind").write_text(ADDRESS)
    set_command(command() & ~0x400 | 4)
    report(hex(command() & 0x404))
    (driver / "bind").write_text(ADDRESS)
    report(hex(command() & 0x404), state())


def settings() -> None:
    config = os.open(f"/sys/bus/pci/devices/{ADDRESS}/config", os.O_RDWR)
    line_size = 0x0C

    def size() -> str:
        return hex(os.pread(config, 1, line_size)[0])

    os.pwrite(config, bytes([0x10]), line_size)
    with shirq.Device.open(ADDRESS):
        report(size())
        os.pwrite(config, bytes([0x20]), line_size)
    with shirq.Device.open(ADDRESS):
        report(size(), hex(command() & 0x406))
    # Write the values that a reset leaves.
    os.pwrite(config, bytes([0]), line_size)
    set_command(0)
    with shirq.Device.open(ADDRESS) as device:
        report(size(), hex(command() & 0x406), hex(device.pread(0, 0, 4)))


def twenty_binds() -> None:
    for _ in range(20):
        shirq.unbind(ADDRESS)
        shirq.bind(ADDRESS)
        with shirq.Device.open(ADDRESS) as device:
            device.load(SET)
            device.arm()
    device, _registers = armed()
    report("armed")
    print(hex(device.read(timeout=TIMEOUT).r[0]))


def all_ones() -> None:
    device, _ = armed()
    report("armed")
    print(fails(os.read, device.fileno(), 64), fails(lambda: device.info), state())
    device.close()
    print(shirq.Device.open(ADDRESS).info.state.name)


def shut_down() -> None:
    _owner = pending()
    proceed()


def kexec() -> None:
    line = b"console=ttyS0 panic=-1 loglevel=8\0"
    no_initramfs, restart = 4, 0x45584543
    image = os.open("/tmp/vmlinuz", os.O_RDONLY)
    assert not libc.syscall(320, image, -1, ctypes.c_ulong(len(line)), line, ctypes.c_ulong(no_initramfs)), libc_errno()
    report("loaded")
    libc.reboot(restart)
