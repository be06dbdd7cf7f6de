# SPDX-License-Identifier: MIT
"""Scripts of test_share.py."""

from __future__ import annotations

import select
import time
from collections.abc import Callable

import shirq
from guest.scripts.inguest import (
    ADDRESS,
    SET,
    acknowledging,
    kind,
    proceed,
    report,
    state,
    useless,
    useless_mask,
    with_irq,
)
from shirq import abi


def _raw_status() -> shirq.ProgramSet:
    """Return a set whose claim test reads the raw status, which contains masked sources too."""
    return with_irq("""
        read32 r0, bar0+0x24
        skip_if_not_zero r0, ours
        decline
    ours:
        claim
        load r1, -1
        write32 bar0+0x68, r1
    """)


#: The program sets that `beside` can load.
PROGRAMS: dict[str, Callable[[], shirq.ProgramSet]] = {
    "right": lambda: SET,
    "useless mask": useless_mask,
    "useless": useless,
    "raw status": _raw_status,
}


def _bell(device: shirq.Device) -> Callable[[], None]:
    """Return a call that starts the device's schedule."""
    registers = device.mmap(0)
    return lambda: registers.write32(0x74, 1)


def beside(neighbour_address: str, programs: str, rungs: int, seconds: float) -> None:
    """Arm a neighbour and the device; then write the doorbell of each, which starts its schedule of interrupts."""
    neighbour = shirq.Device.open(neighbour_address)
    neighbour.set_quiesce(max_rate=1000000)
    neighbour.load(acknowledging())
    neighbour.arm()
    device = shirq.Device.open(ADDRESS)
    device.set_quiesce(abi.Quiesce(rungs))
    device.load(PROGRAMS[programs]())
    device.arm(auto_unmask=False)
    begin, storm = _bell(neighbour), _bell(device)
    report("armed")
    proceed()
    begin()
    storm()
    time.sleep(seconds)
    events: list[str] = []
    while "QUARANTINED" not in events and select.select([device], [], [], 0)[0]:
        events.append(kind(device.read()))
    report(*events, state())
