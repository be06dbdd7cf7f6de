# SPDX-License-Identifier: MIT
"""The script of test_preempted_calls.py."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

import shirq
from guest.scripts.inguest import SET, asleep_in_read, loaded, report

#: The offset of the register MARK of shirq-edu: a value that is written to it is put into the event log.
_MARK = 0x70

#: The call of the first thread, the call that the second thread makes meanwhile, and the last call of the first thread.
Calls = tuple[Callable[[], object], Callable[[], object], Callable[[], object]]


def _nothing() -> None:
    pass


def _arm_and_mask(mark: Callable[[int], None]) -> Calls:
    device = loaded()
    return device.arm, device.mask, _nothing


def _close_and_reopen(mark: Callable[[int], None]) -> Calls:
    """The second thread opens the device when it has no owner any more; the first one then waits by eventfd."""
    device = loaded()
    successors: list[tuple[shirq.Device, int]] = []

    def reopen() -> None:
        successor = loaded()
        eventfd = os.eventfd(0)
        successor.set_eventfd(eventfd)
        successor.set_master(True)
        successors.append((successor, eventfd))
        successor.arm()

    def wait() -> None:
        for _, eventfd in successors:
            os.read(eventfd, 8)
            mark(0x333)

    return device.close, reopen, wait


def _set_master_and_mask(mark: Callable[[int], None]) -> Calls:
    device = loaded()
    device.arm()
    return lambda: device.set_master(True), device.mask, _nothing


_CASES = {
    "arm and mask": _arm_and_mask,
    "close and reopen": _close_and_reopen,
    "set_master and mask": _set_master_and_mask,
}


def _own(address: str) -> tuple[shirq.Device, Callable[[int], None]]:
    """Open and arm a device; returns it and a function that writes its MARK register."""
    device = shirq.Device.open(address)
    device.load(SET)
    device.arm()
    registers = device.mmap(0)
    return device, lambda value: registers.write32(_MARK, value)


def interrupted(case: str, ctl: str, trigger: str, begin: int, end: int, ok: int) -> None:
    """Make the first call at an interrupt of ``trigger``, between two marks, and the second at one of ``ctl``."""
    control, answer = _own(ctl)
    start, mark = _own(trigger)
    first, second, afterwards = _CASES[case](mark)

    def interrupts() -> None:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
        control.read()
        try:
            second()
            number = ok
        except shirq.ShirqError as error:
            number = error.errno or 0
        answer(number)

    thread = threading.Thread(target=interrupts)
    thread.start()
    asleep_in_read(thread, control)
    report("ready")
    start.read()
    mark(begin)
    first()
    mark(end)
    afterwards()
    time.sleep(100000)
