# SPDX-License-Identifier: MIT
"""Scripts of test_allocation_failures.py."""

from __future__ import annotations

import ctypes
import errno
import itertools
import mmap
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import shirq
from guest.scripts.inguest import ADDRESS, SET, command, libc, libc_errno, state

_T = TypeVar("_T")

_DRIVER = Path("/sys/bus/pci/drivers/shirq")


class _Injection:
    """Lets allocations of this thread fail, and searches for leaks."""

    def __init__(self) -> None:
        debug = Path("/sys/kernel/debug")
        if not debug.joinpath("failslab").exists():
            os.system("mount -t debugfs debugfs /sys/kernel/debug")
        for fault in ("failslab", "fail_page_alloc"):
            (debug / fault / "ignore-gfp-wait").write_text("N")
            (debug / fault / "verbose").write_text("0")
        (debug / "fail_page_alloc/min-order").write_text("0")
        self._kmemleak = debug / "kmemleak"
        self._nth = os.open("/proc/thread-self/fail-nth", os.O_RDWR)
        self._kmemleak.write_text("scan")
        self._kmemleak.write_text("clear")

    def fail(self, nth: int) -> None:
        """Make the ``nth`` allocation from now on fail; 0: none fails."""
        os.pwrite(self._nth, str(nth).encode(), 0)

    @property
    def left(self) -> int:
        """The number of allocations left until the one that fails."""
        return int(os.pread(self._nth, 16, 0))

    def each(
        self,
        call: Callable[[], _T],
        undo: Callable[[_T], object],
        untouched: Callable[[], bool] = lambda: True,
        first: int = 1,
    ) -> tuple[object, ...]:
        """Repeat a call until none of its allocations is left to fail; returns the number of calls and their errors.

        In the n-th call the n-th allocation fails. After a failed call, ``untouched`` must return true. If
        ``untouched`` does not detect a remnant of the failed call, the next call fails with an errno that the test does
        not expect.
        """
        answers: set[str] = set()
        for n in itertools.count(first):
            self.fail(n)
            try:
                result, answer = [call()], "OK"
            except OSError as error:
                result, answer = [], errno.errorcode[error.errno or 0]
            left = self.left
            self.fail(0)
            if result:
                undo(result[0])
            else:
                assert untouched(), f"the call that failed at its allocation {n} has left something behind"
            if left:
                assert answer == "OK", f"the call failed with {answer}, but no allocation failed"
                return n, *sorted(answers)
            answers.add(answer)
        raise AssertionError("not reached")

    def leaks(self) -> str:
        # kmemleak does not report allocations younger than 5 s.
        self._kmemleak.write_text("scan")
        time.sleep(6)
        self._kmemleak.write_text("scan")
        return self._kmemleak.read_text() or "no leak"


def bind() -> None:
    injection = _Injection()
    bind, unbind = (os.open(_DRIVER / name, os.O_WRONLY) for name in ("bind", "unbind"))
    address = ADDRESS.encode()
    os.pwrite(unbind, address, 0)
    # Keep the device enabled: when a device is enabled, ACPI looks up the device's line, and ACPI does not survive
    # allocation failures.
    Path("/sys/bus/pci/devices", ADDRESS, "enable").write_text("1")

    def unbound() -> bool:
        # The driver does not have the device, the class and the node are gone, and bus mastering is off.
        paths = (_DRIVER / ADDRESS, Path("/sys/class/shirq", ADDRESS), Path("/dev/shirq", ADDRESS))
        return not any(path.exists() for path in paths) and not command() & 4

    print(*injection.each(lambda: os.pwrite(bind, address, 0), lambda _: os.pwrite(unbind, address, 0), unbound))
    os.pwrite(bind, address, 0)
    print(shirq.Device.open(ADDRESS).info.state.name)
    print(injection.leaks())


def calls() -> None:
    injection = _Injection()
    each = injection.each
    path = "/dev/shirq/" + ADDRESS
    uio = Path("/sys/bus/pci/devices", ADDRESS, "uio")
    print("open", *each(lambda: os.open(path, os.O_RDWR), os.close, lambda: state() == "parked"))
    device = shirq.Device.open(ADDRESS)

    def nothing(_: object) -> None:
        pass

    def is_loaded() -> bool:
        return state() == "loaded"

    print("load", *each(lambda: device.load(SET), nothing))
    print("exec", *each(lambda: device.exec(SET.release), nothing, is_loaded))
    print("arm", *each(device.arm, lambda _: device.disarm(), is_loaded))
    print(
        "master", *each(lambda: device.set_master(True), lambda _: device.set_master(False), lambda: not command() & 4)
    )
    print("mmap", *each(lambda: mmap.mmap(device.fileno(), 4096), lambda mapping: mapping.close()))
    print("fault", *each(lambda: device.mmap(0), lambda registers: registers.read32(0)))
    eventfd = os.eventfd(0)
    print("eventfd", *each(lambda: device.set_eventfd(eventfd), lambda _: device.set_eventfd(None)))
    print("quiesce", *each(device.set_quiesce, nothing))
    print("info", *each(lambda: device.info, nothing))
    print("uio", *each(lambda: device.add_uio("edu", "7"), lambda _: device.remove_uio(), lambda: not uio.exists()))
    number = device.add_uio("edu", "7")
    device.close()
    face = f"/dev/uio{number}"
    print("face", *each(lambda: os.open(face, os.O_RDWR), os.close, lambda: state() == "parked"))
    device = shirq.Device.open(ADDRESS)
    device.load(SET)
    device.arm()
    print("state", state())
    device.close()
    print(injection.leaks())


def messages() -> None:
    injection = _Injection()
    device = shirq.Device.open(ADDRESS)

    def free(_: object) -> None:
        device.set_messages(0)

    print("messages", *injection.each(lambda: device.set_messages(1), free, lambda: device.info.sources == 1))
    device.set_messages(1)
    arm = injection.each(lambda: device.arm(source=1), lambda _: device.disarm(1), lambda: state() == "open")
    print("arm", *arm)
    device.arm(source=1)
    print("state", state())
    device.close()
    print(injection.leaks())


def module_load() -> None:
    injection = _Injection()
    for function in sorted(_DRIVER.glob("0000:*")):
        (function / "driver_override").write_text("\n")
        (_DRIVER / "unbind").write_text(function.name)
    image = Path("/lib/modules", os.uname().release, "extra/shirq.ko").read_bytes()
    init_module, delete_module = 175, 176

    def call(number: int, *arguments: object) -> None:
        if libc.syscall(number, *arguments):
            raise OSError(ctypes.get_errno(), f"a module's system call: {libc_errno()}")

    def insert() -> None:
        call(init_module, image, ctypes.c_ulong(len(image)), b"")

    def remove(_: object = None) -> None:
        call(delete_module, b"shirq", os.O_NONBLOCK)

    def absent() -> bool:
        return not any(Path("/sys", path).exists() for path in ("class/shirq", "bus/pci/drivers/shirq"))

    remove()
    injection.fail(1000000)
    insert()
    allocations = 1000000 - injection.left
    injection.fail(0)
    remove()
    print(*injection.each(insert, remove, absent, first=allocations - 150))
    insert()
    print(Path("/sys/class/shirq").exists(), injection.leaks())
