# SPDX-License-Identifier: MIT
"""Scripts of test_gone.py."""

from __future__ import annotations

import os
import time

import shirq
from guest.scripts.inguest import (
    ADDRESS,
    SET,
    armed,
    child,
    command,
    fails,
    loaded,
    proceed,
    report,
    reset,
    state,
    wrong_release,
)


def back_again() -> None:
    """Run an owner that writes through its old mapping after its device was gone and is back."""
    device, registers = armed(master=True, auto_unmask=False)
    registers.read32(0)  # Fault the page in.
    report("armed", hex(command() & 4))
    proceed()
    report("told", fails(os.read, device.fileno(), 64), fails(device.pread, 0, 0, 4))
    proceed()
    while command() & 4:
        time.sleep(0.05)
    report("bus mastering is off", state())
    report("mapping", child(lambda: registers.write32(0x6C, 0xFFFFFFFF)))
    proceed()
    device.close()
    report("closed", state())


def owner_left() -> None:
    device, _registers = armed(master=True, auto_unmask=False)
    report("armed", hex(command() & 4))
    proceed()
    report(fails(os.read, device.fileno(), 64))
    device.close()
    report("closed")
    proceed()
    while command() & 4 or not command() & 0x400:
        time.sleep(0.05)
    report("silent")


def asserts_on_return() -> None:
    device, _registers = armed()
    report("armed")
    proceed()
    report(fails(os.read, device.fileno(), 64))
    device.close()
    report("closed", state())
    proceed()
    while not command() & 0x400:
        time.sleep(0.05)
    report("silent")
    report("opened", fails(shirq.Device.open, ADDRESS))


def died_before_it_is_armed() -> None:
    device = loaded()
    report("loaded")
    proceed()
    report(fails(device.arm), state(), fails(os.read, device.fileno(), 64))


def reset_by_others() -> None:
    device = loaded(wrong_release())
    device.arm(auto_unmask=False)
    report("armed")
    proceed()
    report(fails(os.read, device.fileno(), 64))
    proceed()
    reset()
    report("reset", state())
    proceed()


def not_recovered() -> None:
    device, _registers = armed()
    report("armed")
    proceed()
    report(state(), fails(device.pread, 0, 0, 4))
    report(fails(os.read, device.fileno(), 64), state())
    device.close()
    with shirq.Device.open(ADDRESS) as successor:
        successor.load(SET)
        successor.arm()
        report("armed again", state())
