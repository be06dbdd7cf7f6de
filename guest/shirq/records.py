# SPDX-License-Identifier: MIT
"""The kernel's records about a device, as data: events and device information."""

from __future__ import annotations

from dataclasses import dataclass

from shirq import abi


@dataclass(frozen=True)
class Event:
    """One claimed interrupt, or, by its `type`, another event of the device.

    `source` is 0 for INTx, and for events of other types; from 1 on, it is the number of a message.
    `type` is an int if a newer kernel sends a type that is not known here: skip it. `time_ns` is CLOCK_MONOTONIC at
    the entry of the interrupt handler; `lost` counts events dropped since the device was armed; `r` are r0 to r3 at
    the claim.
    """

    type: abi.EventType | int
    source: int
    flags: int
    seq: int
    time_ns: int
    lost: int
    r: tuple[int, ...]

    @classmethod
    def from_bytes(cls, record: bytes) -> Event:
        raw = abi.EventStruct.from_buffer_copy(record)
        kind = abi.EventType(raw.type) if raw.type in set(abi.EventType) else int(raw.type)
        return cls(kind, raw.source, raw.flags, raw.seq, raw.time_ns, raw.lost, tuple(raw.r))


@dataclass(frozen=True)
class Bar:
    """One BAR: `length` in bytes, 0 if the device lacks it."""

    length: int
    flags: abi.BarFlag


@dataclass(frozen=True)
class Info:
    """The device, the kernel and the state, as in `struct shirq_info`."""

    features: abi.Feature
    vendor: int
    device: int
    subsystem_vendor: int
    subsystem_device: int
    class_code: int
    revision: int
    config_size: int
    sources: int
    irq: int
    state: abi.State
    flags: abi.InfoFlag
    events: int
    bars: tuple[Bar, ...]
    lost: int
    messages: int
