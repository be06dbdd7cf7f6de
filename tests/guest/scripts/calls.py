# SPDX-License-Identifier: MIT
"""Scripts of test_calls.py."""

from __future__ import annotations

import ctypes
import dataclasses
import fcntl
import mmap
import os
import select
import struct
import sys
import threading
import time
from collections.abc import Callable

import shirq
from guest.scripts.inguest import (
    ADDRESS,
    INT_ACK,
    SET,
    TIMEOUT,
    armed,
    command,
    fails,
    libc,
    libc_errno,
    loaded,
    refused,
    report,
    stat,
    state,
)
from shirq import abi


def in_every_state() -> None:
    device = shirq.Device.open(ADDRESS)

    def read(size: int = 64) -> bytes:
        return os.read(device.fileno(), size)

    print(
        "open:",
        fails(shirq.Device.open, ADDRESS),
        device.info.state.name,
        fails(device.arm),
        fails(device.disarm),
        fails(read),
        fails(device.unmask, 0),
        fails(device.mask),
    )
    device.load(SET)
    print("loaded:", device.info.state.name, fails(read), fails(device.arm, shared=False), fails(device.unmask, 0))
    device.arm()
    print(
        "armed:",
        device.info.state.name,
        fails(device.arm),
        fails(device.load, SET),
        fails(read, 63),
        fails(device.unmask, 1),
        fails(device.unmask, 0),
    )
    os.set_blocking(device.fileno(), False)
    print("non-blocking:", fails(read))
    os.set_blocking(device.fileno(), True)
    timer = threading.Timer(0.3, device.disarm)
    timer.start()
    print("disarmed while it is read:", fails(read), device.info.state.name)
    timer.join()  # A call in progress keeps the file open.
    device.arm()
    device.disarm()
    device.load(SET)
    device.close()
    device = shirq.Device.open(ADDRESS)
    print("open again:", device.info.state.name)


def _raw(device: shirq.Device) -> Callable[[int, bytes], bytes]:
    """Return a function that makes an ioctl and returns the struct as the kernel has left it."""

    def raw(request: int, data: bytes) -> bytes:
        buffer = bytearray(data)
        fcntl.ioctl(device.fileno(), request, buffer)
        return bytes(buffer)

    return raw


def _size(answer: bytes) -> int:
    return int.from_bytes(answer[:4], sys.byteorder)


def sizes() -> None:
    device = shirq.Device.open(ADDRESS)
    raw = _raw(device)

    def info(size: int, tail: bytes = b"") -> bytes:
        return raw(abi.GET_INFO, (struct.pack("I", size) + bytes(148) + tail)[: max(size, 4)])

    print(_size(info(152)))
    longer = info(176, bytes(24))
    print(_size(longer), longer[168:] == bytes(8))
    print(fails(info, 176, bytes(23) + b"x"), fails(info, 151), fails(info, 0), fails(info, 5000, bytes(5000)))
    arrays = [shirq.program.to_array(program) for program in (SET.irq, SET.unmask, SET.release)]

    def filled(size: int, **fields: int) -> bytes:
        load = abi.LoadStruct(size=size, mode=1, **fields)
        for name, array in zip(("irq", "unmask", "release"), arrays, strict=True):
            setattr(load, name, ctypes.addressof(array))
            setattr(load, f"{name}_count", len(array))
        return (bytes(load) + bytes(16))[:size]

    def load(size: int, **fields: int) -> bytes:
        return raw(abi.LOAD, filled(size, **fields))

    # The first version of the struct, of 64 bytes, ended before the mask program. The kernel writes the size that it
    # supports into the struct, but no data after the end of the caller's struct.
    print(_size(load(64)), _size(load(80)), _size(load(96)))
    memory = ctypes.create_string_buffer(filled(64) + b"x" * 32, 96)
    print(libc.ioctl(device.fileno(), ctypes.c_ulong(abi.LOAD), memory), memory[0], memory.raw[64:] == b"x" * 32)
    print(fails(load, 63), fails(load, 80, reserved=1), fails(load, 80, mask_count=65))


def bad_arguments() -> None:
    device = shirq.Device.open(ADDRESS)
    raw = _raw(device)

    def arm(source: int, flags: int, reserved: int) -> str:
        return fails(raw, abi.ARM, struct.pack("IIII", 16, source, flags, reserved))

    print("arm:", arm(0, 1, 1), arm(1, 1, 0), arm(0, 3, 0), arm(0, 0, 0), arm(0, 0x11, 0))
    print("unknown:", fails(raw, abi.WAIT + 1, bytes(24)), fails(raw, 0xE6FF, bytes(16)))
    libc.ioctl(device.fileno(), ctypes.c_ulong(abi.ARM), ctypes.c_void_p(8))

    def call(request: int, struct: ctypes.Structure) -> str:
        return fails(fcntl.ioctl, device.fileno(), request, struct)

    bad = abi.LoadStruct(size=64, mode=1, irq=8, irq_count=1, unmask_count=1, release_count=1)
    print("pointers:", libc_errno(), call(abi.LOAD, bad))

    def mask(**fields: int) -> str:
        return call(abi.MASK, abi.MaskStruct(size=24, **fields))

    print("mask:", mask(source=1), mask(flags=1), mask(reserved=1), mask())

    def eventfd(fd: int, **fields: int) -> str:
        return call(abi.SET_EVENTFD, abi.EventfdStruct(size=16, fd=fd, **fields))

    print("eventfd:", eventfd(-2), eventfd(0), eventfd(99), eventfd(-1, flags=1), eventfd(-1))

    def quiesce(**fields: int) -> str:
        return call(abi.SET_QUIESCE, abi.QuiesceStruct(size=16, **fields))

    print("quiesce:", quiesce(rungs=8), quiesce(release=1), quiesce(release=4), quiesce(rungs=7, release=2), quiesce())


def refused_set() -> None:
    device = loaded()

    def what(error: shirq.ProgramRefused) -> str:
        return f"{error.kind.name} {error.index} {shirq.Reason(error.reason).name}"

    too_far = dataclasses.replace(SET, release=shirq.assemble("read32 r0, bar0+0x1000"))
    print(what(refused(device.load, too_far)))
    print(what(refused(device.load, SET, shirq.assemble("load r0, 1\nread32 r0, bar0+0x1000"))))
    device.arm()
    device.disarm()
    print(what(refused(device.exec, shirq.assemble("read64 r0, bar0"))))
    print(*(hex(device.exec(shirq.assemble(f"read32 r0, {where}"))[0]) for where in ("bar0", "config+0")))
    disintx = shirq.assemble("write8 config+5, r0")
    print(hex(command() & 0x404))
    device.set_master(True)
    print(hex(command() & 0x404), abi.InfoFlag.MASTER in device.info.flags)
    for value in (0, 0xFF):
        device.exec(disintx, [value])
        print(hex(command() & 0x404))
    device.set_master(False)
    print(hex(command() & 0x404))
    device.set_master(True)
    device.close()
    print(hex(command() & 0x404))


def mappings() -> None:
    fd = shirq.Device.open(ADDRESS).fileno()
    print(
        fails(mmap.mmap, fd, 4096, mmap.MAP_PRIVATE),
        fails(mmap.mmap, fd, 8192),
        fails(mmap.mmap, fd, 4096, offset=1 << 40),
        fails(mmap.mmap, fd, 4096, offset=8 << 40),
        fails(mmap.mmap, fd, 4096, offset=4096),
    )


def positional_io() -> None:
    device = shirq.Device.open(ADDRESS)
    fd = device.fileno()
    device.pwrite(0, 4, 4, 0x12345678)
    print(hex(device.pread(0, 0, 4)), hex(device.pread(0, 4, 4)))
    print("widths:", *(fails(os.pread, fd, width, 0) for width in (0, 1, 2, 3, 4, 5, 8, 64)))
    offsets = (2, 4092, 4096, (1 << 40) - 4, 1 << 40, 6 << 40, 7 << 40)
    print("offsets:", *(fails(os.pread, fd, 4, at) for at in offsets))
    print("writes:", *(fails(os.pwrite, fd, bytes(width), 4) for width in (0, 3, 8, 9, 4)))
    libc.pread.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_long]
    print(libc.pread(fd, 8, 4, 0), libc_errno())
    print("stream:", fails(os.write, fd, b"1234"), fails(os.lseek, fd, 0, 0), fails(os.read, fd, 64))


def vectored_io() -> None:
    fd = shirq.Device.open(ADDRESS).fileno()
    print(os.pwritev(fd, [value.to_bytes(4, sys.byteorder) for value in (0x1234, 5)], 4))
    buffers = [bytearray(4) for _ in range(3)]
    print(os.preadv(fd, buffers, 0), *(hex(int.from_bytes(buffer, sys.byteorder)) for buffer in buffers))
    print(os.preadv(fd, buffers, 0xFFC), fails(os.preadv, fd, [bytearray(4), bytearray(4)], 0x1000))
    # An access of a register may wait; reading events need not.
    print(*(fails(os.preadv, fd, [bytearray(64)], at, os.RWF_NOWAIT) for at in (0, 4, -1)))
    print(fails(os.readv, fd, [bytearray(4)]), fails(os.readv, fd, [bytearray(64)]))


def io_beside_programs() -> None:
    device = loaded(SET, shirq.assemble("read32 r0, bar0\n" * 60 + "load r0, -1\nwrite32 bar0+0x68, r0"))
    device.arm(auto_unmask=False)

    # Use a process: Python runs only one thread at a time.
    over = mmap.mmap(-1, 1)
    pid = os.fork()
    while not pid and not over[0]:
        device.mask()
    if not pid:
        os._exit(0)
    turns, masks = 0, stat("masks")
    while turns < 50:
        device.pread(0, 4, 4)
        before, masks = masks, stat("masks")
        turns += masks != before
    over[0] = 1
    os.waitpid(pid, 0)


def read_into_bad_memory() -> None:
    device, registers = armed()
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    report("ready")
    poll = select.poll()
    poll.register(device.fileno(), select.POLLIN)
    poll.poll(TIMEOUT * 1000)
    libc.read(device.fileno(), ctypes.c_void_p(8), ctypes.c_size_t(64))
    print(libc_errno(), state())
    event = device.read()
    print(event.seq, event.r[0], abi.InfoFlag.MASKED in device.info.flags)
    registers.write32(INT_ACK, event.r[0])
    device.unmask(event.seq)
    print(*(f"{name}={stat(name)}" for name in ("claims", "events", "lost", "unmasks")), state())
    print(before < event.time_ns < time.clock_gettime_ns(time.CLOCK_MONOTONIC))
