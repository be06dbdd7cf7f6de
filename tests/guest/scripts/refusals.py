# SPDX-License-Identifier: MIT
"""Scripts of test_refusals.py."""

from __future__ import annotations

import os
import time

import shirq
from guest.scripts.inguest import (
    ADDRESS,
    CLAIM,
    SET,
    TIMEOUT,
    fails,
    loaded,
    proceed,
    quarantined,
    report,
    resetting,
    state,
    with_irq,
)
from shirq import abi


def without_a_line() -> None:
    device = shirq.Device.open(ADDRESS)
    print(device.info.sources, device.info.irq, abi.InfoFlag.SHARED in device.info.flags)
    print(fails(device.load, SET), fails(device.arm), hex(device.pread(0, 0, 4)), state())
    device.close()
    print(state())


def not_opened() -> None:
    print(fails(shirq.Device.open, ADDRESS), state())


def opened() -> None:
    print(shirq.Device.open(ADDRESS).info.state.name)


def died() -> None:
    device = loaded()
    device.arm()
    report("armed")
    proceed()
    gone = shirq.assemble("read32 r0, bar0, gone_if_ones")
    report(fails(device.exec, gone), fails(lambda: device.info), fails(device.mask), fails(device.unmask, 0))
    report(state())


def stays_open() -> None:
    device = shirq.Device.open(ADDRESS)
    report(device.info.state.name)
    proceed()


def gone_at_once() -> None:
    device = loaded(
        with_irq("""
            read32 r0, bar0+0x24, gone_if_ones
            skip_if_not_zero r0, ours
            decline
        ours:
            claim
        """)
    )
    print(fails(device.arm) in ("OK", "ENODEV"), fails(os.read, device.fileno(), 64), state())


def reset_at_release() -> None:
    device = loaded()
    device.set_quiesce(release=abi.Quiesce.FLR)
    device.arm()
    report("armed")
    device.read()


def under_reset() -> None:
    device = loaded()
    seen: set[str] = set()
    until = time.monotonic() + TIMEOUT
    with resetting():
        while seen != {"paused", "EIO"} and time.monotonic() < until:
            seen |= {state(), fails(device.arm)} & {"paused", "EIO"}
    print(*sorted(seen), fails(device.pread, 0, 0, 4))


def quarantine() -> None:
    device = loaded(with_irq(CLAIM))
    device.arm(auto_unmask=False)
    report("armed")
    quarantined(device)
