# SPDX-License-Identifier: MIT
"""Scripts of test_line.py."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path

import shirq
from guest.scripts.inguest import (
    ADDRESS,
    INT_ACK,
    SET,
    TIMEOUT,
    acknowledging,
    armed,
    begun_late,
    fails,
    go_on,
    kept_mask,
    kind,
    loaded,
    proceed,
    reason,
    report,
    silence,
    stat,
    state,
)
from shirq import abi


def _line(device: shirq.Device) -> str:
    """What sysfs and GET_INFO say about the line."""
    return f"{state('line').split()[0]} {abi.InfoFlag.LINE_OFF in device.info.flags}"


def _to_second_cpu(line: int) -> None:
    """Lead a line to the second processor, from its next interrupt on, and run there too."""
    Path(f"/proc/irq/{line}/smp_affinity_list").write_text("1")
    os.sched_setaffinity(0, {1})


def given_up() -> None:
    """The kernel gives the line up; its poll serves the device until the owner arms it again."""
    device, registers = armed()
    report("armed", _line(device))
    event = device.read(timeout=TIMEOUT)
    report(kind(event), event.seq, state(), _line(device), stat("line_given_up"))
    since = float(state("line").split()[1])
    report(0 < since <= event.time_ns / 1e9 <= time.monotonic())
    for number in range(1, 6):
        proceed()
        event = device.read(timeout=TIMEOUT)
        report(kind(event), event.seq, hex(event.r[0]))
        registers.write32(INT_ACK, event.r[0])
        assert event.seq == number and event.lost == 0, event
    report(silence(device, 0.5))
    device.disarm()
    report("disarmed", _line(device))
    device.arm()
    report("armed", _line(device))
    event = device.read(timeout=TIMEOUT)
    report(kind(event), hex(event.r[0]), _line(device), stat("line_given_up"))


def revived(other: str) -> None:
    """The kernel gives the line up; another driver, which registers a handler, revives it."""
    device, _ = armed()
    report("armed")
    report(kind(device.read(timeout=TIMEOUT)), _line(device))
    proceed()
    with shirq.Device.open(other) as second:
        second.load(SET)
        second.arm()
        event = device.read(timeout=TIMEOUT)
        report(kind(event), event.seq, state(), _line(device))


def behind_a_bridge() -> None:
    """The pin stays high after the device was served; the line dies, and arming revives it when the pin is low."""
    device, registers = armed()
    report("armed")
    event = device.read(timeout=TIMEOUT)
    registers.write32(INT_ACK, event.r[0])
    report(kind(event))
    report(kind(device.read(timeout=TIMEOUT)), state(), _line(device))
    proceed()
    device.disarm()
    device.arm()
    report("armed", _line(device))
    report(kind(device.read(timeout=TIMEOUT)), _line(device))


def after_msi() -> None:
    """The first owner of a device whose line has died before it was bound."""
    device, _ = armed()
    report("armed", _line(device))
    report(kind(device.read(timeout=TIMEOUT)), _line(device))


def quarantined_on_a_dead_line() -> None:
    """Arming ends a quarantine and revives the line, although the handler was registered all the time."""
    device = loaded(
        dataclasses.replace(SET, irq=shirq.assemble("read32 r0, bar0+0x2c\nskip_if_not_zero r0, +1\ndecline\nclaim"))
    )
    device.arm(auto_unmask=False)
    report("armed")
    while (event := device.read(timeout=TIMEOUT)).type is shirq.EventType.IRQ:
        pass
    report(kind(event), state())
    while state("line") == "on":
        time.sleep(0.01)
    report(_line(device))
    proceed()
    device.load(SET)
    device.arm()
    report(state(), _line(device))
    event = device.read(timeout=TIMEOUT)
    report(kind(event), hex(event.r[0]))


#: Beginnings of irq programs: with the claim test alone, and with changes that are lost again if the program declines.
_TESTS = {
    True: """
                read32 r0, bar0+0x2c
                skip_if_zero r0, end
    """,
    False: """
                read32 r0, bar0+0x2c
                or r5, 1
                skip_if_not_zero r0, ours
                load r4, 0x55
                decline
            ours:
    """,
}


def kept(other: str, tests_first: bool) -> None:
    """The irq program saves the mask in r4, and unmask restores it; a declined interrupt changes nothing."""
    device = loaded(
        shirq.ProgramSet.from_text(
            irq=_TESTS[tests_first]
            + """
                claim
                read32 r4, bar0+0x28            # INT_MASK
                add r6, 1
                load r1, 0xffffffff
                write32 bar0+0x68, r1           # INT_MASK_SET
            """,
            unmask="""
                xor r4, 0xffffffff
                write32 bar0+0x6c, r4           # INT_MASK_CLEAR
                write32 bar0+0x04, r6           # LIVENESS: shows the number of claims
                xor r4, 0xffffffff
            """,
            release="load r0, -1\nwrite32 bar0+0x68, r0\nwrite32 bar0+0x64, r0",
        )
    )
    for _round in range(2):
        device.arm(auto_unmask=False)
        registers = device.mmap(0)
        registers.write32(0x68, 0xFFFFFF00)  # The owner enables eight sources alone.
        report("armed", hex(registers.read32(0x28)), registers.read32(0x04) ^ 0xFFFFFFFF)
        for _number in range(3):
            event = device.read(timeout=TIMEOUT)
            report(kind(event), hex(event.r[0]), hex(registers.read32(0x28)))
            proceed()
            registers.write32(INT_ACK, event.r[0])
            device.unmask(event.seq)
            report("unmasked", hex(registers.read32(0x28)), registers.read32(0x04) ^ 0xFFFFFFFF)
        device.disarm()
    change = shirq.assemble("load r0, r4\nload r4, 0xfffffff0")
    with shirq.Device.open(other) as nothing_loaded:
        report(fails(nothing_loaded.exec, change, kept=True))
    device.arm(auto_unmask=False)
    registers = device.mmap(0)
    registers.write32(0x68, 0xFFFFFF00)
    report("armed again")
    event = device.read(timeout=TIMEOUT)
    registers.write32(INT_ACK, event.r[0])
    # Without the flag, the set's registers are neither read nor changed.
    report(hex(device.exec(change)[0]), hex(device.exec(change, kept=True)[0]))
    device.unmask(event.seq)
    report("changed", hex(registers.read32(0x28)))


def kept_over_a_storm() -> None:
    """The device asserts while it is masked: the irq program masks it again, and unmask restores the first mask."""
    device = loaded(kept_mask())
    device.arm(auto_unmask=False)
    registers = device.mmap(0)
    registers.write32(0x68, 0xFFFFFF00)  # Eight sources are enabled.
    report("armed")
    device.read(timeout=TIMEOUT)
    registers.write32(0x6C, 0xFFFFFFFF)  # A driver's error: it unmasks behind the kernel's back.
    event = device.read(timeout=TIMEOUT)
    report(kind(event), event.seq, stat("remasks"), hex(registers.read32(0x28)))
    registers.write32(INT_ACK, 0xFFFFFFFF)
    device.unmask(event.seq)
    report("unmasked", hex(registers.read32(0x28)))


def lost() -> None:
    """GET_INFO counts the interrupts for which the queue had no room, before another event is queued."""
    device = loaded(acknowledging())
    device.arm()
    report("armed", device.info.lost)
    proceed()
    while stat("claims") < 260:
        time.sleep(0.01)
    report(stat("claims"), device.info.lost, stat("lost"))
    device.close()
    device = loaded()
    report("next owner", device.info.lost)


def full() -> None:
    """The kernel gives the line up while the queue is full: no event makes room for LINE_OFF."""
    device = loaded(acknowledging())
    device.arm(auto_unmask=False)
    report("armed")
    proceed()
    while abi.InfoFlag.LINE_OFF not in device.info.flags:
        time.sleep(0.01)
    kinds = {kind(device.read(timeout=TIMEOUT)) for _number in range(256)}
    report(*kinds, device.info.lost, silence(device, 0.2))


def _prefer_timers() -> None:
    """With PREEMPT_RT, let the threads of timers preempt those of interrupts, which a storm keeps busy."""
    for task in Path("/proc").glob("[0-9]*"):
        if (task / "comm").read_text().startswith("ktimers/"):
            os.sched_setscheduler(int(task.name), os.SCHED_FIFO, os.sched_param(60))


def other_line(there: int) -> None:
    """The device asserts a line that the platform does not know to be its own.

    That line's storm occupies the processor on which the device was armed.
    """
    _prefer_timers()
    _to_second_cpu(there)
    device = loaded()
    device.arm(auto_unmask=False)
    report("armed", device.info.irq)
    event = device.read(timeout=TIMEOUT)
    report(kind(event), reason(event), event.r[0], event.r[1:], state(), state("quarantine"), stat("storms_elsewhere"))
    report(stat("claims"), stat("declines"))
    proceed()
    # The owner may try again, as after any quarantine.
    device.arm()
    report(state())
    event = device.read(timeout=TIMEOUT)
    report(kind(event), hex(event.r[0]))


def unblamed() -> None:
    """The device asserts another line, which nobody can prove."""
    device = loaded()
    device.arm(auto_unmask=False)
    report("armed", device.info.irq)
    proceed()
    report(state(), stat("storms_elsewhere"))
    event = device.read(timeout=TIMEOUT)
    report(kind(event), hex(event.r[0]))


def kept_from_its_line(own: int, there: int) -> None:
    """The device asserts its own line, but another line's storm occupies the processor that takes both."""
    device = loaded()
    device.arm(auto_unmask=False)
    _to_second_cpu(own)
    report("armed", device.info.irq)
    # The last line that comes to a processor has the highest priority there.
    proceed()
    _to_second_cpu(there)
    report("ready")
    event = device.read(timeout=TIMEOUT)
    report(kind(event), hex(event.r[0]), stat("storms_elsewhere"))


def unmasked_at_the_end() -> None:
    """The owner unmasks when the kernel has given the line up, and before it polls."""
    device, _ = armed()
    seq = device.mask()
    messages = os.open("/dev/kmsg", os.O_RDONLY)
    os.lseek(messages, 0, os.SEEK_END)
    report("masked")
    while b"Disabling IRQ" not in os.read(messages, 8192):
        pass
    device.unmask(seq)
    report(kind(device.read(timeout=TIMEOUT)), _line(device))


def told_while_masked() -> None:
    """Reading LINE_OFF does not end the owner's mask, although a read unmasks the last event."""
    device, _ = armed()
    seq = device.mask()
    report("masked")
    event = device.read(timeout=TIMEOUT)
    report(kind(event), event.seq == seq)
    os.set_blocking(device.fileno(), False)
    report(fails(os.read, device.fileno(), 64), fails(os.read, device.fileno(), 64), state(), stat("unmasks"))
    device.unmask(seq)
    report(state(), stat("unmasks"))


def exclusive() -> None:
    """The kernel gives up a line that is not shared, which it does not poll."""
    device, registers = armed(shared=False)
    report("armed", device.info.irq)
    event = device.read(timeout=TIMEOUT)
    report(kind(event), event.seq, state(), _line(device), stat("line_given_up"))
    proceed()
    device.disarm()
    device.arm(shared=False)
    report("armed", _line(device))
    event = device.read(timeout=TIMEOUT)
    registers.write32(INT_ACK, event.r[0])
    report(kind(event), hex(event.r[0]))


def bystander() -> None:
    """Another device, armed on the line that the first one asserts."""
    device = loaded()
    device.arm()
    report("armed", device.info.irq)
    proceed()
    report(state(), state("line"), stat("storms_declined"), stat("storms_elsewhere"), stat("declines") > 900)


def armed_anew_while_a_look_is_late() -> None:
    """The watch looks on one processor, and the owner disarms and arms on the one that the line interrupts."""
    number = (Path("/sys/bus/pci/devices") / ADDRESS / "irq").read_text().strip()
    with loaded() as device:
        device.arm(shared=True)
        mine = int(Path(f"/proc/irq/{number}/effective_affinity_list").read_text())
        device.disarm()
        os.sched_setaffinity(0, {1 - mine})
        device.arm(shared=True)
        os.sched_setaffinity(0, {mine})
        begun_late()
        device.disarm()
        device.arm(shared=True)
        # Until the next look is due.
        time.sleep(0.2)
        go_on()
        time.sleep(0.2)
        print(state())
