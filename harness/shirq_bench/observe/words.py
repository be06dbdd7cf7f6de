# SPDX-License-Identifier: MIT
"""Describes a log entry and its cause in words."""

from __future__ import annotations

from shirq_bench.channels.edu import Register
from shirq_bench.channels.log import (
    CONFIG_SPACE,
    KERNEL_RING,
    NONE,
    OF_CONTROLLER,
    USER_RING,
    Entry,
    Kind,
    TurnReason,
)

CONFIG_REGISTERS = {0x04: "Command", 0x05: "Command (high byte)", 0x06: "Status"}

#: The fault properties of shirq-edu, by their number in a SETTING entry.
SETTINGS = (
    *("disintx", "intx-status", "intx-pin", "dead", "posted", "posted-ns", "deassert-delay-ns", "status-lag-ns"),
    *("storm-ns", "storm-sources", "reassert", "reset-disintx", "reset-status", "reset-unmasked", "pm-effective"),
    *("flr-effective", "pin-stuck", "intx-with-msi", "payload-lag-ns"),
)

KERNEL, USER, GUEST, DEVICE, BENCH, CONTROLLER = "kernel", "user space", "guest", "device", "bench", "controller"


def register(entry: Entry) -> str:
    """The name of the register that a READ, WRITE or LAND accessed."""
    if entry.space == CONFIG_SPACE:
        return CONFIG_REGISTERS.get(entry.offset, f"config {entry.offset:#04x}")
    if entry.space == 0 and entry.offset in set(Register):
        return Register(entry.offset).name
    return f"BAR{entry.space}+{entry.offset:#x}"


def setting(entry: Entry) -> str:
    """The name of the property that a SETTING changed."""
    return SETTINGS[entry.offset] if entry.offset < len(SETTINGS) else f"property {entry.offset}"


def who(entry: Entry) -> str:
    """The origin of the entry: the hardware, the bench on the host, or the guest's kernel or user space.

    Under KVM the privilege level is unknown; then the origin of both is ``guest``.
    """
    if entry.kind <= Kind.TURN:
        return CONTROLLER
    # A processor ends an interrupt, and its controller does everything else.
    if entry.kind in OF_CONTROLLER and entry.kind is not Kind.EOI:
        return CONTROLLER
    if entry.kind in (Kind.PIN, Kind.MASK, Kind.RESET, Kind.LAND, Kind.MESSAGE, Kind.DOORBELL):
        return DEVICE
    if entry.vcpu == NONE or entry.kind is Kind.WHERE:
        return BENCH
    return {KERNEL_RING: KERNEL, USER_RING: USER}.get(entry.ring, GUEST)


def what(entry: Entry) -> str:
    """The event as text that continues the sentence after ``who``, and names the device or the line."""
    value, device, line = entry.value, entry.device, entry.offset
    match entry.kind:
        case Kind.START:
            return "a fresh VM starts"
        case Kind.RESTORED:
            return f"the VM's state is restored (epoch {value})"
        case Kind.OFF:
            return "the log is switched off"
        case Kind.ON:
            return "the log is switched on"
        case Kind.TURN:
            return f"vCPU {value} has the turn ({TurnReason(entry.offset).name.lower()})"
        case Kind.RESET:
            return f"{device} is reset"
        case Kind.READ:
            return f"reads {device} {register(entry)} = {value:#x}"
        case Kind.WRITE:
            return f"writes {device} {register(entry)} = {value:#x}"
        case Kind.PIN:
            return f"{device} {'asserts' if value else 'deasserts'} INT{chr(ord('A') + entry.offset % 4)}"
        case Kind.RAISE:
            return f"raises sources {value:#x} of {device}"
        case Kind.LOWER:
            return f"withdraws sources {value:#x} of {device}"
        case Kind.MARK:
            return f"marks {value} through {device}"
        case Kind.MASK:
            return f"{device} is {'masked' if value else 'unmasked'}"
        case Kind.DOORBELL:
            return f"the doorbell of {device} rings ({value:#x})"
        case Kind.SCHEDULED:
            return f"executes line {entry.offset} of the schedule of {device}"
        case Kind.SETTING:
            return f"sets {setting(entry)} of {device} to {value}"
        case Kind.LAND:
            return f"{value:#x} arrives in {device} {register(entry)}"
        case Kind.MESSAGE:
            return f"{device} sends a message ({value:#x})"
        case Kind.WHERE:
            return f"vCPU {entry.vcpu} is at {value:#x}"
        case Kind.LINE:
            return f"line {line} goes {'high' if value else 'low'} at {device}"
        case Kind.LINE_MASK:
            return f"line {line} is {'masked' if value else 'unmasked'} for everyone at {device}"
        case Kind.DELIVER:
            return f"line {line} is delivered by {device} as vector {value:#x}"
        case Kind.EOI:
            return f"ends line {line} at {device} (EOI of vector {value:#x})"
        case Kind.TRIGGER:
            return f"line {line} is {'level' if value else 'edge'}-triggered at {device}"


def phrase(entry: Entry) -> str:
    """The whole sentence, without the time."""
    cpu = "" if entry.vcpu == NONE else f" (vCPU {entry.vcpu})"
    return f"{who(entry)}{cpu}: {what(entry)}"


def duration(ns: float) -> str:
    """A length of time with three digits and a fitting unit."""
    for limit, unit, name in ((1e3, 1, "ns"), (1e6, 1e3, "µs"), (1e9, 1e6, "ms")):
        if abs(ns) < limit * 0.9995:
            return f"{ns / unit:.3g} {name}"
    return f"{ns / 1e9:.3f} s" if abs(ns) < 1e10 else f"{ns / 1e9:.1f} s"
