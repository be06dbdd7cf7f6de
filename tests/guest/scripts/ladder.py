# SPDX-License-Identifier: MIT
"""Scripts of test_ladder.py."""

from __future__ import annotations

import dataclasses
import os
import select
import signal
import time
from pathlib import Path

import shirq
from guest.scripts.inguest import (
    ADDRESS,
    SET,
    TIMEOUT,
    child,
    command,
    fails,
    kind,
    loaded,
    proceed,
    quarantined,
    reason,
    report,
    set_command,
    stat,
    state,
    useless,
)
from shirq import abi


def storm(rungs: int) -> None:
    device = shirq.Device.open(ADDRESS)
    device.set_quiesce(abi.Quiesce(rungs))
    device.load(useless())
    device.set_master(True)
    device.arm(auto_unmask=False)
    registers = device.mmap(0)
    report("armed")
    event = quarantined(device)
    report(kind(event), reason(event), hex(event.r[0]))
    proceed()
    report(child(lambda: registers.read32(0)), fails(device.pread, 0, 0, 4), state())
    device.load(SET)
    device.arm()
    report("armed again", state(), state("quarantine"))
    report(hex(device.read(timeout=TIMEOUT).r[0]), hex(device.mmap(0).read32(0)))


def with_profile(path: str) -> None:
    from shirq import profile

    device = shirq.Device.open(ADDRESS)
    device.load_profile(profile.load(Path(path)))
    device.arm(auto_unmask=False)
    report("armed")
    report(kind(quarantined(device)))
    proceed()


def _unmasked_by_its_release() -> shirq.Device:
    """Return an armed device whose release program unmasks, after one of its interrupts was read."""
    device = loaded(dataclasses.replace(SET, release=SET.unmask))
    device.arm(auto_unmask=False)
    report("armed")
    report("masked", hex(device.read(timeout=TIMEOUT).r[0]))
    return device


def asserts_after_its_release(end: str) -> None:
    device = _unmasked_by_its_release()
    match end:
        case "close":
            device.close()
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "unbind":
            Path("/sys/bus/pci/drivers/shirq/unbind").write_text(ADDRESS)


def asserts_when_disarmed() -> None:
    """Disarm a device that then asserts and is quarantined; its owner tries to arm exclusively, and arms again."""
    device = _unmasked_by_its_release()
    proceed()
    device.disarm()
    event = device.read(timeout=TIMEOUT)
    report(kind(event), reason(event), hex(event.r[0]), state())
    proceed()
    report(fails(device.arm, shared=False), state(), state("quarantine"))
    proceed()
    device.load(SET)
    device.arm()
    report("armed again", state())
    report(hex(device.read(timeout=TIMEOUT).r[0]))


def _clear_disintx() -> None:
    """Clear DisINTx, as any process with access to config space can; returns when the module has set it again."""
    set_command(command() & ~0x400)
    while not command() & 0x400:
        time.sleep(0.01)


def disintx_cleared_in_quarantine() -> None:
    device = loaded(useless())
    device.arm(auto_unmask=False)
    report("armed")
    quarantined(device)
    report("quarantined")
    proceed()
    _clear_disintx()
    report(state("quarantine"), stat("line_off"))
    proceed()


def disintx_cleared_under_its_owner() -> None:
    device = loaded()
    device.arm()
    seq = device.mask()
    report("masked", hex(command() & 0x400))
    proceed()
    _clear_disintx()
    report(state(), stat("remasks"), stat("claims"), select.select([device], [], [], 0)[0])
    device.unmask(seq)
    report(kind(device.read(timeout=TIMEOUT)))
