# SPDX-License-Identifier: MIT
"""Scripts of test_promises.py."""

from __future__ import annotations

import ctypes
import dataclasses
import fcntl
import os
import select
import signal
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import shirq
from guest.scripts.inguest import (
    ADDRESS,
    CLAIM,
    INT_ACK,
    SET,
    TIMEOUT,
    acknowledging,
    armed,
    command,
    fails,
    kind,
    libc,
    libc_errno,
    loaded,
    proceed,
    quarantined,
    reason,
    report,
    reset,
    resetting,
    set_command,
    stat,
    state,
    useless,
    with_irq,
)
from shirq import abi


def event_time(tests_first: bool) -> None:
    """Print when an interrupt came; the irq program is long, and begins with its claim test or not."""
    test, reads = "read32 r0, bar0+0x2c\nskip_if_zero r0, end\n", "read16 r3, config+4\n" * 20
    rest = "claim\nload r1, 0xffffffff\nwrite32 bar0+0x68, r1\nread32 r1, bar0+0x28"
    program = test + reads + rest if tests_first else reads + test + rest
    device = loaded(dataclasses.replace(SET, irq=shirq.assemble(program)))
    device.arm()
    registers = device.mmap(0)
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    registers.write32(0x60, 1)
    event = device.read(timeout=TIMEOUT)
    print(event.time_ns - before, event.time_ns)


def command_bits() -> None:
    set_command(command() | 0x100)
    device = shirq.Device.open(ADDRESS)
    words = [command()]
    device.load(SET)
    words.append(command())
    device.arm()
    words.append(command())
    seq = device.mask()
    words.append(command())
    device.set_master(True)
    words.append(command())
    device.unmask(seq)
    words.append(command())
    device.disarm()
    words.append(command())
    device.set_master(False)
    words.append(command())
    device.close()
    words.append(command())
    print(hex(words[0] & 0x504), *(hex(word ^ words[0]) for word in words[1:]))


def statistics() -> None:
    names = ("claims", "events", "unmasks", "lost", "masks", "remasks")
    before = [stat(name) for name in names]
    device, registers = armed()
    numbers = []
    for _ in range(20):
        registers.write32(0x60, 1)
        event = device.read(timeout=TIMEOUT)
        numbers.append((event.seq, event.lost, event.source, event.flags))
        registers.write32(INT_ACK, event.r[0])
    os.set_blocking(device.fileno(), False)
    print(fails(os.read, device.fileno(), 64), numbers == [(seq, 0, 0, 0) for seq in range(1, 21)])
    print(*(stat(name) - count for name, count in zip(names, before, strict=True)))


# ---------------------------------------------------------------- events


def event_record() -> None:
    device, registers = armed()
    registers.write32(0x60, 3)
    record = os.read(device.fileno(), 640)
    print(len(record), *struct.unpack("=4HQ", record[:16]), *struct.unpack("=Q", record[32:40]))


def interrupted_read() -> None:
    device, registers = armed()
    registers.write32(0x60, 1)
    event = device.read()
    registers.write32(INT_ACK, event.r[0])
    before = state()
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)
    got = libc.read(device.fileno(), ctypes.create_string_buffer(64), ctypes.c_size_t(64))
    number = libc_errno()
    signal.setitimer(signal.ITIMER_REAL, 0)
    print(before, got, number, state())


def gone_with_an_event() -> None:
    device, registers = armed()
    registers.write32(0x60, 1)
    assert select.select([device], [], [], TIMEOUT)[0]
    registers.write32(0x04, 0)  # LIVENESS reads as all-ones after 0 was written.
    gone = fails(device.exec, shirq.assemble("read32 r0, bar0+4, gone_if_ones"))
    poll = select.poll()
    poll.register(device, select.POLLIN)
    print(gone, fails(os.read, device.fileno(), 64), poll.poll(0)[0][1] == select.POLLERR, state())


def notice() -> None:
    device, registers = armed()
    registers.write32(0x60, 5)
    assert select.select([device], [], [], TIMEOUT)[0]
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    reset()
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    event, notice = device.read(), device.read()
    print(kind(event), event.seq, hex(event.r[0]))
    print(kind(notice), notice.seq, notice.source, notice.flags, notice.lost, *notice.r)
    print(before < notice.time_ns < after)


# ---------------------------------------------------------------- calls


class _Calls:
    """All ioctls with their structs, and with the fields that make each valid on an open device."""

    def __init__(self) -> None:
        self.device = shirq.Device.open(ADDRESS)
        self._arrays = {
            "ops": shirq.program.to_array(shirq.assemble("read32 r0, bar0")),
            "irq": shirq.program.to_array(SET.irq),
            "unmask": shirq.program.to_array(SET.unmask),
            "release": shirq.program.to_array(SET.release),
        }
        at = {name: ctypes.addressof(array) for name, array in self._arrays.items()}
        ops = at.pop("ops")
        counts = {f"{name}_count": len(self._arrays[name]) for name in at}
        self.structs: dict[str, tuple[type[ctypes.Structure], dict[str, int]]] = {
            "GET_INFO": (abi.InfoStruct, {}),
            "ARM": (abi.ArmStruct, {"flags": 1}),
            "DISARM": (abi.DisarmStruct, {}),
            "UNMASK": (abi.UnmaskStruct, {}),
            "MASK": (abi.MaskStruct, {}),
            "EXEC": (abi.ExecStruct, {"ops": ops, "count": 1}),
            "SET_MASTER": (abi.MasterStruct, {}),
            "SET_EVENTFD": (abi.EventfdStruct, {"fd": -1}),
            "SET_QUIESCE": (abi.QuiesceStruct, {}),
            "LOAD": (abi.LoadStruct, {"mode": 1, **at, **counts}),
            "SET_MESSAGES": (abi.MessagesStruct, {}),
        }

    def made(self, name: str, **fields: object) -> Any:
        struct, good = self.structs[name]
        return struct(**{"size": ctypes.sizeof(struct), **good, **fields})

    def call(self, name: str, argument: ctypes.Structure | bytearray) -> str:
        return fails(fcntl.ioctl, self.device.fileno(), getattr(abi, name), argument)

    def answer(self, name: str, tail: bytes = b"", /, **fields: int) -> str:
        return self.call(name, bytearray(bytes(self.made(name, **fields)) + tail))


def structs() -> None:
    calls = _Calls()
    first = {"LOAD": 64, "GET_INFO": 152}
    gives = {
        "GET_INFO": [field[0] for field in abi.InfoStruct._fields_ if field[0] not in ("size", "source", "bar")],
        "MASK": ["seq"],
        "EXEC": ["error_index", "error_reason"],
        "LOAD": ["error_program", "error_index", "error_reason"],
    }
    wrong = {"source": 1, "flags": 0x80, "reserved": 1, "on": 2}
    for name, (call, _) in calls.structs.items():
        size = ctypes.sizeof(call)
        asked = {field[0] for field in call._fields_} - set(gives.get(name, []))
        bad = {field: calls.answer(name, **{field: value}) for field, value in wrong.items() if field in asked}
        bad["shorter"] = calls.answer(name, size=first.get(name, size) - 1)
        libc.ioctl(calls.device.fileno(), ctypes.c_ulong(getattr(abi, name)), ctypes.c_void_p(8))
        bad_pointer = libc_errno()
        good = calls.answer(name)
        same = [
            calls.answer(name, bytes(8), size=size + 8),
            calls.answer(name, **{field: -1 for field in gives.get(name, [])}),
        ]
        longer = calls.answer(name, bytes(7) + b"x", size=size + 8)
        print(name, good, same == [good] * 2, *sorted({*bad.values()}), longer, bad_pointer)


def modes_of_load() -> None:
    calls = _Calls()

    def load(**fields: int) -> tuple[object, ...]:
        load = calls.made("LOAD", error_program=9, error_index=9, error_reason=9, **fields)
        return calls.call("LOAD", load), load.error_program, load.error_index, load.error_reason

    print(*load(mode=2, unmask=0, unmask_count=0))
    print(*load(mode=1, unmask=0, unmask_count=0))
    print(*load(mode=0), *load(mode=3))
    print(*load())


def refused_exec() -> None:
    calls = _Calls()

    def execute(text: str) -> tuple[object, ...]:
        ops = shirq.program.to_array(shirq.assemble(text))
        call = calls.made("EXEC", ops=ctypes.addressof(ops), count=len(ops), regs=(1, 2, 3, 4, 5, 6, 7, 8))
        answer = calls.call("EXEC", call)
        return answer, call.error_index, call.error_reason, *call.regs

    print(*execute("add r0, r7\nload r6, 0"))
    print(*execute("add r0, r7\nread32 r1, bar0+0x1000"))


def during_a_reset() -> None:
    device = loaded()
    os.set_blocking(device.fileno(), False)
    calls: dict[str, Callable[[], object]] = {
        "exec": lambda: device.exec(SET.release),
        "master": lambda: device.set_master(False),
        "mmap": lambda: device.mmap(0).close(),
        "pread": lambda: device.pread(0, 0, 4),
        "pwrite": lambda: device.pwrite(0, 4, 4, 0),
        "read": lambda: os.read(device.fileno(), 64),
    }
    met: set[str] = set()
    until = time.monotonic() + TIMEOUT
    with resetting():
        while len(met) < len(calls) and time.monotonic() < until:
            met |= {name for name, call in calls.items() if fails(call) == ("EAGAIN" if name == "read" else "EIO")}
    print(*sorted(met))


def who_shares() -> None:
    device = shirq.Device.open(ADDRESS)

    def shared() -> bool:
        return abi.InfoFlag.SHARED in device.info.flags

    device.load(SET)
    before = shared()
    device.arm()
    print(before, shared(), abi.InfoFlag.DISINTX in device.info.flags)


def disarm() -> None:
    def requested() -> bool:
        return f"shirq:{ADDRESS}" in Path("/proc/interrupts").read_text()

    device, registers = armed()
    print(requested(), hex(registers.read32(0x28)), hex(command() & 0x400))
    device.disarm()
    print(requested(), hex(registers.read32(0x28)), hex(command() & 0x400), device.info.state.name)
    device.arm()
    print(requested(), hex(registers.read32(0x28)), state())


def counters() -> None:
    silent = stat("silent")  # A neighbour may have interrupted while the parked device was bound.
    device, registers = armed(auto_unmask=False)
    report("armed")
    proceed()
    print(stat("declines") > 0, stat("silent") - silent, stat("claims"))
    registers.write32(0x60, 1)
    device.read(timeout=TIMEOUT)
    declines = stat("declines")
    report("masked")
    proceed()
    print(stat("silent") > silent, stat("declines") - declines, stat("claims"))


# ---------------------------------------------------------------- binding


def stale_node() -> None:
    os.mknod("/tmp/node", 0o020600, Path("/dev/shirq", ADDRESS).stat().st_rdev)

    def opened() -> None:
        os.close(os.open("/tmp/node", os.O_RDWR))

    print(fails(opened))
    shirq.unbind(ADDRESS)
    print(fails(opened))


def armed_once() -> None:
    device, _ = armed()
    device.close()


# ---------------------------------------------------------------- storms


def close_ends_a_quarantine() -> None:
    device = loaded(with_irq(CLAIM))
    device.arm(auto_unmask=False)
    device.pwrite(0, 0x60, 4, 1)
    quarantined(device)
    states = [state()]
    device.close()
    states.append(state())
    device = shirq.Device.open(ADDRESS)
    print(*states, state(), abi.InfoFlag.QUARANTINED in device.info.flags, hex(device.pread(0, 0, 4)))


def beside_a_storm(storming: str) -> None:
    """``storming`` is the address of another device."""
    device, registers = armed(auto_unmask=False)
    neighbour = shirq.Device.open(storming)
    registers.write32(0x60, 1)
    device.read(timeout=TIMEOUT)
    neighbour.pwrite(0, 0x6C, 4, 0xFFFFFFFF)
    neighbour.pwrite(0, 0x60, 4, 1)
    while stat("silent") < 3000:
        pass
    neighbour.pwrite(0, 0x64, 4, 1)
    print(stat("claims"), stat("remasks"), stat("storms_masked"), state())


def rate() -> None:
    """The irq program claims, and does not acknowledge."""
    programs = acknowledging()
    device = loaded(dataclasses.replace(programs, irq=programs.irq[:-1]))
    device.set_quiesce(max_rate=500)
    device.arm()
    device.pwrite(0, 0x60, 4, 1)
    event = quarantined(device)
    print(kind(event), reason(event), state())


def first_owner() -> None:
    device = shirq.Device.open(ADDRESS)
    device.set_quiesce(abi.Quiesce.FLR, release=abi.Quiesce.FLR, max_rate=1)


def storms(rungs: int | None) -> None:
    """Storm until the device is quarantined. ``rungs`` are the means that the owner allows; None: the default."""
    device = shirq.Device.open(ADDRESS)
    if rungs is not None:
        device.set_quiesce(abi.Quiesce(rungs))
    device.load(useless())
    device.arm(auto_unmask=False)
    report("armed")
    quarantined(device)
    report("quarantined")
    proceed()
