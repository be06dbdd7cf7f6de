# SPDX-License-Identifier: MIT
"""Scripts of test_stops.py."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable
from pathlib import Path

import shirq
from guest.scripts.inguest import (
    ADDRESS,
    SET,
    TIMEOUT,
    armed,
    asleep_in,
    asleep_in_read,
    child,
    command,
    fails,
    kind,
    loaded,
    pending,
    proceed,
    report,
    state,
)


def told() -> None:
    """Wait in read() with the device masked and pending; report the event of the stop, try all calls and arm again."""
    device, registers = pending()
    notice = device.read()
    report(kind(notice), notice.seq, state(), bool(command() & 4))
    print("not armed:", fails(os.read, device.fileno(), 64), fails(device.unmask, 1), fails(device.mask))
    print("old mapping:", child(lambda: registers.read32(0)))
    print("new mapping:", hex(device.mmap(0).read32(0)))
    report("again?")
    proceed()
    device.arm()
    report("armed again")
    report(hex(device.read().r[0]))


def resumed() -> None:
    device, _registers = armed()
    report("armed")
    report(kind(device.read()))


def parked() -> None:
    report(state(), hex(command() & 0x404))
    device, _registers = armed()
    report("armed")
    print(hex(device.read(timeout=TIMEOUT).r[0]))


def unplugged() -> None:
    device, registers = armed(master=True)
    report("armed")
    print(fails(os.read, device.fileno(), 64), fails(lambda: device.info), child(lambda: registers.read32(0)))
    print(Path("/dev/shirq", ADDRESS).exists())


def _poll(device: shirq.Device) -> str:
    """Wait in poll(); returns the name of its result."""
    poll = select.poll()
    poll.register(device, select.POLLIN)
    events = poll.poll(TIMEOUT * 1000)[0][1]
    return "POLLERR" if events & select.POLLERR else hex(events)


def torn_out(how: str) -> None:
    """Wait in one of four ways until the device is unplugged by surprise."""
    device, registers = armed(master=True, auto_unmask=False)
    report("armed")

    def read() -> str:
        return fails(os.read, device.fileno(), 64)

    def spin() -> None:
        while True:
            registers.read32(0)
            time.sleep(0.01)

    waits: dict[str, Callable[[], str]] = {
        "read": read,
        "poll": lambda: _poll(device),
        "masked": read,
        "mapping": lambda: child(spin),
    }
    if how == "masked":
        assert device.read(timeout=TIMEOUT).r[0] == 1
    if how == "mapping":
        registers.read32(0)
    report("waiting")
    print(waits[how](), fails(os.read, device.fileno(), 64), fails(device.pread, 0, 0, 4), fails(device.mask))
    print(child(lambda: registers.read32(0)))


def given_up() -> None:
    device = loaded()
    device.arm()
    registers = device.mmap(0)
    told: dict[str, str] = {}

    def read() -> None:
        told["read"] = fails(os.read, device.fileno(), 64)

    def poll() -> None:
        told["poll"] = _poll(device)

    threads = [threading.Thread(target=wait, daemon=True) for wait in (read, poll)]
    for thread in threads:
        thread.start()
    asleep_in_read(threads[0], device)
    asleep_in(threads[1], "7")  # poll()
    report("waiting")
    proceed()
    for thread in threads:
        thread.join(TIMEOUT)
    print(told.get("read"), told.get("poll"))
    print(fails(os.read, device.fileno(), 64), fails(device.pread, 0, 0, 4), fails(device.mask))
    print(child(lambda: registers.read32(0)))
    device.close()
    with shirq.Device.open(ADDRESS) as successor:
        successor.load(SET)
        successor.arm()
        report("armed again")
        print(kind(successor.read()))
