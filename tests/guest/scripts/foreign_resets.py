# SPDX-License-Identifier: MIT
"""Scripts of test_foreign_resets.py."""

from __future__ import annotations

import os
import time

import shirq
from guest.scripts.inguest import (
    ADDRESS,
    SET,
    TIMEOUT,
    fails,
    kind,
    loaded,
    proceed,
    report,
    reset,
    stat,
    state,
    useless,
    wrong_release,
)
from shirq import abi


def closes_meanwhile(release: int) -> None:
    """Run an owner that closes during a reset by the administrator, which takes 100 ms.

    The PCI core holds the config access lock during the reset, and during the driver's callbacks before and after it.
    """
    device = shirq.Device.open(ADDRESS)
    device.set_quiesce(release=abi.Quiesce(release))
    device.load(SET)
    device.arm(auto_unmask=False)
    report("armed")
    proceed()
    pid = os.fork()
    if not pid:
        os.close(device.fileno())
        reset()
        os._exit(0)
    while state() != "paused":
        pass
    device.close()
    report("closed", state())
    os.waitpid(pid, 0)
    report("reset over", state(), fails(shirq.Device.open, ADDRESS))


def storms(rounds: int) -> None:
    """Run an owner whose device is quarantined in each of ``rounds``."""
    device = shirq.Device.open(ADDRESS)
    device.set_quiesce(abi.Quiesce.D3HOT | abi.Quiesce.FLR)
    device.load(useless())
    for _ in range(rounds):
        while fails(device.arm, auto_unmask=False) != "OK":
            time.sleep(0.02)
        report("armed")
        proceed()
        # The administrator's reset may queue an event before the quarantine does.
        while device.read().type is not shirq.EventType.QUARANTINED:
            pass
        report("told")
        proceed()


def resets(rounds: int) -> None:
    """Reset the device, as an administrator, after it has entered D3hot: in each round 1.6 ms later than before."""
    report("ready")
    for number in range(rounds):
        while stat("rung_d3hot") <= number:
            time.sleep(0.0005)
        time.sleep(number * 0.0016)
        reset()
        report("reset", number)


def reset_silences() -> None:
    """Run an owner whose release program lets the device assert, and reset the device as an administrator does."""
    device = loaded(wrong_release())
    device.arm(auto_unmask=False)
    report("armed")
    assert device.read(timeout=TIMEOUT).type is shirq.EventType.IRQ
    reset()
    report(kind(device.read(timeout=TIMEOUT)), state())
    proceed()
