# SPDX-License-Identifier: MIT
"""Scripts of test_reader.py."""

from __future__ import annotations

import ctypes
import dataclasses
import errno
import mmap
import os
import queue
import select
import threading
import time
from pathlib import Path

import shirq
from guest.scripts.inguest import (
    ADDRESS,
    INT_ACK,
    SET,
    TIMEOUT,
    acknowledging,
    armed,
    asleep_in_read,
    command,
    fails,
    kind,
    libc,
    libc_errno,
    loaded,
    proceed,
    report,
    silence,
    stat,
    state,
)

#: A mask program.
_MASK = "load r0, -1\nwrite32 bar0+0x68, r0"


def nonblocking() -> None:
    device, registers = armed()
    os.set_blocking(device.fileno(), False)
    poll = select.epoll()
    poll.register(device.fileno(), select.EPOLLIN)
    report("armed", poll.poll(0))
    assert poll.poll(TIMEOUT)[0][1] & select.EPOLLIN
    assert poll.poll(TIMEOUT)[0][1] & select.EPOLLIN
    report(stat("unmasks"), state())
    event = device.read()
    registers.write32(INT_ACK, event.r[0])
    report(poll.poll(0.1), stat("unmasks"), state())
    report(fails(os.read, device.fileno(), 64), stat("unmasks"), state())
    device.disarm()
    report(poll.poll(TIMEOUT)[0][1] & select.EPOLLERR == select.EPOLLERR)


def eventfd() -> None:
    device, registers = armed(auto_unmask=False)
    fd = os.eventfd(0)

    def value() -> int:
        return int.from_bytes(os.read(fd, 8), "little")

    device.set_eventfd(fd)
    for _ in range(3):
        report("ready")
        counted = value()
        event = device.read()
        registers.write32(INT_ACK, event.r[0])
        device.unmask(event.seq)
        report(counted, event.seq)
    os.set_blocking(fd, False)
    device.disarm()
    report("disarmed", value() > 0)
    device.set_eventfd(None)
    device.arm()
    report("ready")
    device.read(timeout=TIMEOUT)
    report(fails(value))


def explicit_mask(mask: str) -> None:
    device = loaded(SET, shirq.assemble(mask))
    device.arm()
    first, second = device.mask(), device.mask()
    report("masked", first, second, state(), stat("masks"))
    print(hex(command() & 0x400), hex(device.pread(0, 0x28, 4)))
    proceed()
    device.unmask(first)
    os.set_blocking(device.fileno(), False)
    report(fails(os.read, device.fileno(), 64), state())
    os.set_blocking(device.fileno(), True)
    device.unmask(second)
    event = device.read()
    report(event.seq, hex(event.r[0]), hex(command() & 0x400))


def no_mask() -> None:
    device, _ = armed()
    print(fails(device.mask), state())


def _flood(registers: shirq.Registers, count: int) -> None:
    """Raise ``count`` interrupts and wait until each is claimed; read none of them."""
    for _ in range(count):
        claims = stat("claims")
        registers.write32(0x60, 1)
        while stat("claims") == claims:
            pass


def full_queue() -> None:
    device = loaded(acknowledging())
    device.arm()
    registers = device.mmap(0)
    _flood(registers, 300)
    events = [device.read() for _ in range(256)]
    _flood(registers, 1)
    last = device.read()
    print(events[0].seq, events[-1].seq, last.seq, last.lost, stat("lost"), stat("events"))
    device.disarm()
    device.arm()
    _flood(registers, 1)
    print(device.read().lost, stat("lost"))


def nothing_stale() -> None:
    programs = acknowledging()
    more = shirq.assemble("load r1, -1\nload r3, 7")
    device = loaded(dataclasses.replace(programs, irq=(*programs.irq, *more)))
    device.set_quiesce(max_rate=1)
    device.arm()
    _flood(device.mmap(0), 1501)
    last = [device.read() for _ in range(256)][-1]
    print(kind(last), last.flags, last.lost)
    device.arm()
    _flood(device.mmap(0), 256)
    events = [device.read() for _ in range(256)]
    print(*{(kind(event), event.source, event.flags, event.lost, *event.r) for event in events})


def rate_of_zero() -> None:
    device = loaded(acknowledging())
    device.set_quiesce(max_rate=0)
    device.arm()
    _flood(device.mmap(0), 1501)
    print(state(), stat("claims"), stat("storms_rate"))


def room_for_events() -> None:
    programs = acknowledging()
    device = loaded(dataclasses.replace(programs, irq=(*shirq.assemble("load r3, 9"), *programs.irq)))
    device.arm()
    _flood(device.mmap(0), 5)
    page = mmap.PAGESIZE
    memory = mmap.mmap(-1, 2 * page)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    assert libc.mprotect(ctypes.c_void_p(start + page), ctypes.c_size_t(page), 0) == 0

    def take(at: int, size: int) -> str | list[int]:
        got = libc.read(device.fileno(), ctypes.c_void_p(start + at), ctypes.c_size_t(size))
        if got < 0:
            return libc_errno()
        events = [shirq.Event.from_bytes(memory[begin : begin + 64]) for begin in range(at, at + got, 64)]
        assert all(event.r == (1, 0, 0, 9) for event in events), events
        return [event.seq for event in events]

    print(take(page - 96, 128), take(page - 32, 64), take(0, 200), take(0, 64))


def two_readers() -> None:
    device, registers = armed(auto_unmask=False)
    results: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    readers = [threading.Thread(target=lambda: results.put(os.read(device.fileno(), 64))) for _ in range(2)]
    for reader in readers:
        reader.start()
    for reader in readers:
        asleep_in_read(reader, device)
    for _ in readers:
        report("ready")
        event = results.get(timeout=TIMEOUT)
        report(len(event), event and shirq.Event.from_bytes(event).seq)
        registers.write32(INT_ACK, 1)
        device.unmask(1)


def readers_on_two_processors() -> None:
    device, registers = armed(auto_unmask=False)
    results: queue.SimpleQueue[int] = queue.SimpleQueue()
    huge = 2 << 20
    buffers = [mmap.mmap(-1, 2 * huge) for _ in range(2)]

    def reader(cpu: int) -> None:
        os.sched_setaffinity(0, {cpu})
        # The first access to a huge page clears it. read() waits for that, and the other reader must run meanwhile. A
        # kernel without huge pages refuses this madvise() and clears a small page, which takes long enough on the
        # instrumented kernel.
        fails(buffers[cpu].madvise, mmap.MADV_HUGEPAGE)
        start = ctypes.addressof(ctypes.c_char.from_buffer(buffers[cpu]))
        to = ctypes.c_void_p(start + -start % huge)
        while True:
            results.put(libc.read(device.fileno(), to, 64))

    readers = [threading.Thread(target=reader, args=(cpu,), daemon=True) for cpu in range(2)]
    for thread in readers:
        thread.start()
    lengths = set()
    for seq in range(1, 101):
        for thread in readers:
            asleep_in_read(thread, device)
        for buffer in buffers:
            buffer.madvise(mmap.MADV_DONTNEED)
        registers.write32(0x60, 1)
        lengths.add(results.get(timeout=TIMEOUT))
        registers.write32(INT_ACK, 1)
        device.unmask(seq)
    report(lengths, results.qsize())
    os._exit(0)


def second_reader() -> None:
    device, registers = armed()
    claims, unmasks = stat("claims"), stat("unmasks")
    report("armed")
    event = device.read()

    def second() -> None:
        event = shirq.Event.from_bytes(os.read(device.fileno(), 64))
        report("the second reader has", event.seq, hex(event.r[0]))

    thread = threading.Thread(target=second, daemon=True)
    thread.start()
    asleep_in_read(thread, device)
    report("it waits", state(), stat("unmasks") - unmasks)
    registers.write32(INT_ACK, event.r[0])
    os.set_blocking(device.fileno(), False)
    report(fails(os.read, device.fileno(), 64), state(), stat("unmasks") - unmasks)
    report("handled")
    thread.join(TIMEOUT)
    report(stat("claims") - claims)


def ended_reader() -> None:
    device, registers = armed()
    report("armed")

    def first() -> None:
        registers.write32(INT_ACK, device.read().r[0])

    thread = threading.Thread(target=first)
    thread.start()
    thread.join(TIMEOUT)
    # The kernel may remove the thread's entry in /proc only after join() has returned.
    while Path(f"/proc/self/task/{thread.native_id}").exists():
        pass
    os.set_blocking(device.fileno(), False)
    report(state(), fails(os.read, device.fileno(), 64), state())


def timed_read() -> None:
    device, registers = armed()
    report("armed")
    device.read(timeout=TIMEOUT)
    results: list[str] = []
    thread = threading.Thread(target=lambda: results.append(silence(device, 0.2)))
    thread.start()
    thread.join(TIMEOUT)
    report(*results, state())
    registers.write32(INT_ACK, 1)
    report(silence(device, 0.2), state())


def mask_takes_over() -> None:
    device = loaded(SET, shirq.assemble(_MASK))
    device.arm(auto_unmask=False)
    report("armed")
    event = device.read()
    thread = threading.Thread(target=lambda: device.unmask(device.mask()))
    thread.start()
    thread.join(TIMEOUT)
    again = device.read()
    device.unmask(event.seq)
    report(event.seq, again.seq, hex(again.r[0]), state())


def poll() -> None:
    device = shirq.Device.open(ADDRESS)
    os.set_blocking(device.fileno(), False)
    poll = select.poll()
    poll.register(device.fileno(), select.POLLIN)
    words: list[str] = []

    def look() -> None:
        answer = sum(mask for _, mask in poll.poll(0))
        words.append({0: "wait", select.POLLIN: "read", select.POLLERR: "error"}[answer])

    look()
    device.load(SET)
    look()
    device.arm()
    look()
    seq = device.mask()
    look()
    device.unmask(seq)
    look()
    report("armed")
    while state() != "masked":
        pass
    look()
    event = device.read()
    look()
    device.mask()
    look()
    device.pwrite(0, INT_ACK, 4, event.r[0])
    device.disarm()
    look()
    device.arm()
    look()
    report(*words)


def mask_set_meanwhile() -> None:
    device = loaded(SET, shirq.assemble(_MASK))
    device.arm()
    report("armed")
    assert select.select([device], [], [], TIMEOUT)[0]
    mask = device.mask()
    os.set_blocking(device.fileno(), False)
    report(device.read().seq, mask, fails(os.read, device.fileno(), 64), state(), stat("unmasks"))


def disarm_drops() -> None:
    device, _ = armed()
    report("armed")
    assert select.select([device], [], [], TIMEOUT)[0]
    device.disarm()
    device.arm()
    os.set_blocking(device.fileno(), False)
    report(state(), fails(os.read, device.fileno(), 64), stat("events"))


def disarm_ends_a_read() -> None:
    device, _ = armed()
    ended: list[str] = []

    def reader() -> None:
        os.sched_setaffinity(0, {0})
        ended.append(fails(os.read, device.fileno(), 64))

    thread = threading.Thread(target=reader, daemon=True)
    thread.start()
    asleep_in_read(thread, device)
    os.sched_setaffinity(0, {0})
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
    device.disarm()
    device.arm()
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    thread.join(TIMEOUT)
    print(ended, state())


def opened_in_the_end() -> None:
    """Open the device as soon as the kernel has put away what its former owner has left."""
    while True:
        try:
            device = shirq.Device.open(ADDRESS)
            break
        except shirq.ShirqError as error:
            assert error.errno == errno.EBUSY, error
            time.sleep(0.01)
    report(state())
    device.close()
