# SPDX-License-Identifier: MIT
"""Scripts of test_presets.py."""

from __future__ import annotations

import dataclasses

import shirq
from guest.scripts.inguest import ADDRESS, SET, TIMEOUT, loaded, report, silence, state


def drive(irq: str, unmask: str, release: str, setup: str, handle: str, rounds: int) -> None:
    """Drive a card by these programs for ``rounds`` events."""
    with shirq.Device.open(ADDRESS) as device:
        if setup:
            device.exec(shirq.assemble(setup))
        handling = shirq.assemble(handle)
        device.load(shirq.ProgramSet.from_text(irq=irq, unmask=unmask, release=release))
        device.arm()
        report("armed")
        for _ in range(rounds):
            event = device.read(timeout=TIMEOUT)
            device.exec(handling, [event.r[0]])
            report("event", hex(event.r[0]), event.lost)
        report(silence(device, 0.2))


def ports() -> None:
    device = loaded(
        dataclasses.replace(SET, release=(*SET.release, *shirq.assemble("read32 r0, bar1+8\nwrite32 bar1+12, r0")))
    )
    device.arm()
    device.close()
    print(state())
