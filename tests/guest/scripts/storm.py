# SPDX-License-Identifier: MIT
"""Scripts of test_storm.py."""

from __future__ import annotations

import contextlib
import mmap
import os
import select
import time
from pathlib import Path

import shirq
from guest.scripts.inguest import (
    CLAIM,
    INT_ACK,
    INT_RAISE,
    SET,
    TIMEOUT,
    acknowledging,
    calls,
    child,
    command,
    fails,
    kept_mask,
    kind,
    loaded,
    low_irq,
    proceed,
    quarantined,
    reason,
    report,
    set_command,
    stat,
    state,
    useless,
    useless_mask,
    with_irq,
)
from shirq import abi


def _storm(programs: shirq.ProgramSet, max_rate: int = 0) -> tuple[shirq.Device, shirq.Registers, shirq.Event]:
    """Arm the device and wait until it is quarantined; returns the device, its BAR 0 and the event."""
    device = loaded(programs)
    if max_rate:
        device.set_quiesce(max_rate=max_rate)
    device.set_master(True)
    device.arm(auto_unmask=False)
    registers = device.mmap(0)
    report("armed")
    event = quarantined(device)
    report(kind(event), reason(event), hex(event.r[0]), state(), bool(command() & 4))
    return device, registers, event


def ineffective_mask() -> None:
    device, registers, event = _storm(useless())
    print("mapping:", child(lambda: registers.read32(0)))
    print(
        "refused:",
        fails(mmap.mmap, device.fileno(), 4096),
        fails(device.exec, SET.release),
        fails(device.pread, 0, 0, 4),
        fails(device.set_master, True),
        fails(device.unmask, event.seq),
        fails(device.mask),
        fails(os.read, device.fileno(), 64),
        abi.InfoFlag.QUARANTINED in device.info.flags,
    )
    report(state("quarantine"), stat("storms_masked"), stat("remasks"), stat("line_off"))
    proceed()
    device.load(SET)
    print("with another set:", state(), fails(device.pread, 0, 0, 4))
    device.arm()
    report("armed again", state(), state("quarantine"))
    event = device.read(timeout=TIMEOUT)
    report(hex(event.r[0]), hex(device.mmap(0).read32(0)))


def release_program(ended: int) -> None:
    """``ended``: the number of handler calls within which the storm must have ended."""
    _owner = _storm(useless_mask())
    report(state("quarantine"), stat("line_off"), calls() <= ended)
    proceed()


def unstoppable() -> None:
    _owner = _storm(useless())
    proceed()


def masked_again() -> None:
    device = loaded(
        shirq.ProgramSet.from_text(
            irq=CLAIM + "load r1, 4\nwrite8 config+5, r1",
            unmask="load r0, -1\nwrite32 bar0+0x6c, r0\nload r0, 0\nwrite8 config+5, r0",
            release="load r0, -1\nwrite32 bar0+0x68, r0",
        )
    )
    device.arm(auto_unmask=False)
    report("armed")
    assert device.read(timeout=TIMEOUT).seq == 1
    set_command(command() & ~0x400)
    event = device.read(timeout=TIMEOUT)
    report(kind(event), event.seq, hex(command() & 0x400), state(), state("quarantine"), stat("remasks"))
    proceed()
    # An unmask by the owner resets the count of earlier storms.
    device.unmask(event.seq)
    event = device.read(timeout=TIMEOUT)
    set_command(command() & ~0x400)
    event = device.read(timeout=TIMEOUT)
    report(kind(event), event.seq, state(), state("quarantine"), stat("remasks"))
    proceed()


def acknowledges() -> None:
    silent = stat("silent")  # A neighbour may have interrupted while the parked device was bound.
    device = loaded(acknowledging())
    device.arm()
    report("armed")
    proceed()
    seen = events = 0
    while seen != (1 << 20) - 1:
        seen |= device.read(timeout=TIMEOUT).r[0]
        events += 1
    print(stat("claims"), events, stat("unmasks"), stat("silent") - silent, state())


def rate() -> None:
    """The acknowledgement of the irq program has no effect."""
    _owner = _storm(with_irq(CLAIM + "write32 bar0+0x04, r0", acknowledging()), max_rate=500)
    report(state("quarantine"), stat("storms_rate"), stat("lost"))
    proceed()


def ungated() -> None:
    """The irq program does not look at a source that asserts, and the release program does not silence it."""
    _device, registers, event = _storm(with_irq(low_irq(masked=0xFFFFFFFF), useless()))
    report(state("quarantine"), stat("storms_declined"), stat("storms_masked"), stat("claims"), event.seq)
    print("mapping:", child(lambda: registers.read32(0)))
    proceed()


def ungated_while_masked() -> None:
    """A source that the irq program neither claims nor masks asserts while the device is masked for another one."""
    device = loaded(with_irq(low_irq()))
    device.arm(auto_unmask=False)
    registers = device.mmap(0)
    report("armed")
    event = device.read(timeout=TIMEOUT)
    report(kind(event), hex(event.r[0]))
    while not command() & 0x400:
        time.sleep(0.01)
    report(state(), state("quarantine"), stat("remasks"))
    proceed()
    registers.write32(INT_ACK, 0xFFFFFFFF)
    device.unmask(event.seq)
    report(state(), bool(command() & 0x400))
    proceed()


def _at_once(device: shirq.Device) -> shirq.Event:
    """Return the next event without sleeping: on a busy host, 900 interrupts come before a sleeper is awake."""
    end = time.monotonic() + TIMEOUT
    while time.monotonic() < end:
        with contextlib.suppress(TimeoutError):
            return device.read(timeout=0)
    raise TimeoutError(f"no event within {TIMEOUT} s")


def ungated_beside_served() -> None:
    """A source that the irq program neither claims nor masks asserts, while another one is raised and served."""
    device = loaded(with_irq(low_irq()))
    # A storm leaves no time to anything else on its processor: serve on the other one, faster than 900 interrupts come.
    Path(f"/proc/irq/{device.info.irq}/smp_affinity_list").write_text("0")
    os.sched_setaffinity(0, {1})
    device.arm(auto_unmask=False)
    report("armed")
    events = 0
    while (event := _at_once(device)).type is shirq.EventType.IRQ:
        events += 1
        with contextlib.suppress(shirq.ShirqError):  # The quarantine may come meanwhile.
            device.pwrite(0, INT_ACK, 4, 1)
            device.unmask(event.seq)
            device.pwrite(0, INT_RAISE, 4, 1)
    report(kind(event), reason(event), events > 0)


def mask_keeps() -> None:
    """MASK by DisINTx while a source is pending; in a neighbour's storm the irq program runs, and saves the mask."""
    device = loaded(kept_mask())
    device.arm(auto_unmask=False)
    registers = device.mmap(0)
    registers.write32(0x68, 0xFFFFFF00)  # Eight sources are enabled.
    seq = device.mask()
    report("masked", seq)
    proceed()
    while not stat("remasks"):
        time.sleep(0.01)
    device.unmask(seq)
    event = device.read(timeout=TIMEOUT)
    report(kind(event), event.seq, hex(event.r[0]), hex(registers.read32(0x28)))
    registers.write32(INT_ACK, event.r[0])
    device.unmask(event.seq)
    report("unmasked", hex(registers.read32(0x28)))


def innocent() -> None:
    """The device is armed, and does not assert, while a function that nobody serves storms."""
    device = loaded()
    device.arm(auto_unmask=False)
    report("armed")
    proceed()
    report(stat("declines") > 5000, state(), state("quarantine"), stat("claims"))
    event = device.read(timeout=TIMEOUT)
    report(kind(event), hex(event.r[0]), event.seq)


def raw_status() -> None:
    device = loaded(
        with_irq("""
            read32 r0, bar0+0x24
            skip_if_not_zero r0, ours
            decline
        ours:
            claim
            load r1, -1
            write32 bar0+0x68, r1
        """)
    )
    device.arm(auto_unmask=False)
    report("armed")
    assert device.read(timeout=TIMEOUT).seq == 1
    report("masked")
    proceed()
    print(stat("silent") >= 3000, stat("remasks"), state(), state("quarantine"))


def mask_holds(auto: bool) -> None:
    """Mask by MASK while a source is pending and a broken neighbour storms; then unmask."""
    device = loaded()
    device.arm(auto_unmask=auto)
    seq = device.mask()
    report("masked", seq)
    proceed()
    while not stat("remasks"):
        time.sleep(0.01)
    report(select.select([device], [], [], 0.2)[0], state(), stat("claims"), stat("unmasks"))
    if auto:
        os.set_blocking(device.fileno(), False)
        report(fails(os.read, device.fileno(), 64), fails(os.read, device.fileno(), 64), state(), stat("unmasks"))
        os.set_blocking(device.fileno(), True)
    device.unmask(seq)
    event = device.read(timeout=TIMEOUT)
    report(kind(event), event.seq, hex(event.r[0]), event.lost, state())
    device.mmap(0).write32(INT_ACK, event.r[0])
    device.unmask(event.seq)
    report("unmasked", state(), stat("unmasks"), stat("claims"), stat("storms_masked"))
    proceed()
    report(device.read(timeout=TIMEOUT).seq)


def mask_by_call() -> None:
    device = loaded(useless_mask())
    device.arm(auto_unmask=False)
    device.mask()
    report("masked")
    event = device.read(timeout=TIMEOUT)
    report(kind(event), reason(event), hex(event.r[0]), state(), event.lost, stat("lost"))
    proceed()


def over_at_once() -> None:
    device = loaded(useless_mask())
    device.arm(auto_unmask=False)
    registers = device.mmap(0)
    registers.read32(0)  # Fault the page in.
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
    report("armed")
    quarantined(device)
    device.load(SET)
    device.arm(auto_unmask=False)
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    report(state(), child(lambda: registers.write32(0x6C, 0xFFFFFFFF)))
    proceed()
