# SPDX-License-Identifier: MIT
"""The user API of the module, as in kmod/shirq.h: numbers and structs, nothing else.

kmod/shirq.h describes every field and errno; the names here are its names without the prefix.
"""

from __future__ import annotations

import ctypes
import enum
from typing import Final

REGS: Final = 8
MAX_OPS: Final = 64
MAX_IRQ_ACCESSES: Final = 24
EVENT_REGS: Final = 4
KEPT: Final = 4
BARS: Final = 6
CONFIG_SPACE: Final = 6
MAX_MESSAGES: Final = 32
MMAP_SHIFT: Final = 40
MMAP_RING: Final = 6
MMAP_CONSUMER: Final = 7
RING_EVENTS: Final = 256
CONFIG_DISINTX_OFFSET: Final = 5
CONFIG_DISINTX_BIT: Final = 0x04
UIO_NAME: Final = 64

_IOCTL: Final = 0xE7 << 8
GET_INFO: Final = _IOCTL | 0
LOAD: Final = _IOCTL | 1
ARM: Final = _IOCTL | 2
DISARM: Final = _IOCTL | 3
UNMASK: Final = _IOCTL | 4
EXEC: Final = _IOCTL | 5
SET_MASTER: Final = _IOCTL | 6
MASK: Final = _IOCTL | 7
SET_EVENTFD: Final = _IOCTL | 8
SET_QUIESCE: Final = _IOCTL | 9
SET_MESSAGES: Final = _IOCTL | 10
SET_UIO: Final = _IOCTL | 11
WAIT: Final = _IOCTL | 12
DEFAULT_RATE: Final = 50000


class Code(enum.IntEnum):
    READ = 1
    WRITE = 2
    LOAD = 3
    AND = 4
    OR = 5
    XOR = 6
    ADD = 7
    SHL = 8
    SHR = 9
    SKIP_Z = 10
    SKIP_NZ = 11
    CLAIM = 12
    DECLINE = 13


class OpFlag(enum.IntFlag):
    BIG_ENDIAN = 0x01
    SRC_REG = 0x02
    GONE_IF_ONES = 0x04


class ProgramKind(enum.IntEnum):
    IRQ = 0
    UNMASK = 1
    RELEASE = 2
    EXEC = 3
    MASK = 4


class Mode(enum.IntEnum):
    """How the irq program ends the assertion."""

    MASKS = 1
    ACKNOWLEDGES = 2


class Reason(enum.IntEnum):
    """Why a program is refused; `text` says it in words."""

    OK = 0
    EMPTY = 1
    TOO_LONG = 2
    CODE = 3
    FLAGS = 4
    UNUSED = 5
    REGISTER = 6
    WIDTH = 7
    SPACE = 8
    NO_BAR = 9
    ALIGNMENT = 10
    BOUNDS = 11
    WIDE = 12
    CONFIG_WRITE = 13
    UNDEFINED = 14
    BACKWARD = 15
    PAST_END = 16
    UNREACHABLE = 17
    NOT_IRQ = 18
    SECOND_CLAIM = 19
    DECLINE_CLAIMED = 20
    GONE_CLAIMED = 21
    NO_CLAIM = 22
    ACCESSES = 23

    @property
    def text(self) -> str:
        return _REASONS[self]


_REASONS: Final[dict[Reason, str]] = {
    Reason.OK: "the program is accepted",
    Reason.EMPTY: "the program is empty: it needs at least one operation",
    Reason.TOO_LONG: f"a program has at most {MAX_OPS} operations",
    Reason.CODE: "there is no such operation",
    Reason.FLAGS: "the operation does not take this flag",
    Reason.UNUSED: "a field that the operation does not use must be zero",
    Reason.REGISTER: f"the registers are r0 to r{REGS - 1}",
    Reason.WIDTH: "an access is 1, 2, 4 or 8 bytes wide",
    Reason.SPACE: "the spaces are bar0 to bar5 and config",
    Reason.NO_BAR: "the device has no such BAR, or it is not assigned",
    Reason.ALIGNMENT: "the offset must be a multiple of the width",
    Reason.BOUNDS: "the access ends past the end of the space",
    Reason.WIDE: "8 bytes at once work in 64-bit memory BARs only",
    Reason.CONFIG_WRITE: "in config space only the interrupt-disable bit may be written: 1 byte at offset 5, bit 2",
    Reason.UNDEFINED: f"on some path the register is read before it is written; only r{KEPT} to r{REGS - 1} are kept",
    Reason.BACKWARD: "jumps go forward: a skip passes over at least 1 operation",
    Reason.PAST_END: "the skip leads past the end of the program",
    Reason.UNREACHABLE: "no path leads to this operation",
    Reason.NOT_IRQ: "claim and decline belong to the irq program alone",
    Reason.SECOND_CLAIM: "a path to this claim has another claim already",
    Reason.DECLINE_CLAIMED: "a path to this decline has a claim already",
    Reason.GONE_CLAIMED: "a path to this gone_if_ones has a claim already",
    Reason.NO_CLAIM: "the irq program never claims",
    Reason.ACCESSES: f"an irq program reads and writes at most {MAX_IRQ_ACCESSES} registers on any path",
}


class EventType(enum.IntEnum):
    IRQ = 1
    RESUMED = 2
    QUARANTINED = 3
    RESET = 4
    GONE = 5
    LINE_OFF = 6
    LINE_ON = 7


class Quarantine(enum.IntFlag):
    """Why a device was quarantined: the flags of that event."""

    MASKED = 0x01
    RATE = 0x02
    DECLINED = 0x04
    OTHER_LINE = 0x08


class Quiesce(enum.IntFlag):
    """Means to silence a device, besides its release program and the interrupt-disable bit."""

    D3HOT = 0x01
    FLR = 0x02
    BUS = 0x04


class Feature(enum.IntFlag):
    INTX = 0x01
    NOTICES = 0x02
    POSITIONAL = 0x04
    MASK = 0x08
    EVENTFD = 0x10
    BREAKER = 0x20
    IOMMU = 0x40
    LINE = 0x80
    KEPT = 0x100
    URING = 0x200
    MESSAGES = 0x400
    UIO = 0x800
    RING = 0x1000


class BarFlag(enum.IntFlag):
    MEMORY = 0x01
    PORT = 0x02
    WIDE = 0x04
    PREFETCH = 0x08
    MMAP = 0x10


class InfoFlag(enum.IntFlag):
    DISINTX = 0x01
    SHARED = 0x02
    MASTER = 0x04
    MASKED = 0x08
    QUARANTINED = 0x10
    IOMMU = 0x20
    PASSTHROUGH = 0x40
    LINE_OFF = 0x80


class State(enum.IntEnum):
    OPEN = 0
    LOADED = 1
    ARMED = 2


class ArmFlag(enum.IntFlag):
    SHARED = 0x01
    EXCLUSIVE = 0x02
    AUTO_UNMASK = 0x04
    RING = 0x08


class RingState(enum.IntEnum):
    """Whether events may still come into a ring."""

    DISARMED = 0
    ARMED = 1
    RESUMED = 2
    QUARANTINED = 3
    RESET = 4
    GONE = 5


class ExecFlag(enum.IntFlag):
    KEPT = 0x01


class UioFlag(enum.IntFlag):
    OFF = 0x01
    UNMASK_BY_READ = 0x02


# `NameStruct` is `struct shirq_name`.


class OpStruct(ctypes.Structure):
    _fields_ = [
        ("code", ctypes.c_uint8),
        ("dst", ctypes.c_uint8),
        ("src", ctypes.c_uint8),
        ("width", ctypes.c_uint8),
        ("space", ctypes.c_uint8),
        ("flags", ctypes.c_uint8),
        ("skip", ctypes.c_int16),
        ("imm", ctypes.c_uint64),
    ]


class EventStruct(ctypes.Structure):
    _fields_ = [
        ("size", ctypes.c_uint16),
        ("type", ctypes.c_uint16),
        ("source", ctypes.c_uint16),
        ("flags", ctypes.c_uint16),
        ("seq", ctypes.c_uint64),
        ("time_ns", ctypes.c_uint64),
        ("lost", ctypes.c_uint64),
        ("r", ctypes.c_uint64 * EVENT_REGS),
    ]


class BarStruct(ctypes.Structure):
    _fields_ = [
        ("length", ctypes.c_uint64),
        ("flags", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
    ]


class InfoStruct(ctypes.Structure):
    _fields_ = [
        ("size", ctypes.c_uint32),
        ("source", ctypes.c_uint32),
        ("features", ctypes.c_uint64),
        ("vendor", ctypes.c_uint16),
        ("device", ctypes.c_uint16),
        ("subsystem_vendor", ctypes.c_uint16),
        ("subsystem_device", ctypes.c_uint16),
        ("class", ctypes.c_uint32),
        ("revision", ctypes.c_uint32),
        ("config_size", ctypes.c_uint32),
        ("sources", ctypes.c_uint32),
        ("irq", ctypes.c_uint32),
        ("state", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("events", ctypes.c_uint32),
        ("bar", BarStruct * BARS),
        ("lost", ctypes.c_uint64),
        ("messages", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
    ]


class LoadStruct(ctypes.Structure):
    _fields_ = [
        ("size", ctypes.c_uint32),
        ("source", ctypes.c_uint32),
        ("mode", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("irq", ctypes.c_uint64),
        ("unmask", ctypes.c_uint64),
        ("release", ctypes.c_uint64),
        ("irq_count", ctypes.c_uint32),
        ("unmask_count", ctypes.c_uint32),
        ("release_count", ctypes.c_uint32),
        ("error_program", ctypes.c_uint32),
        ("error_index", ctypes.c_uint32),
        ("error_reason", ctypes.c_uint32),
        ("mask", ctypes.c_uint64),
        ("mask_count", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
    ]


class ArmStruct(ctypes.Structure):
    _fields_ = [
        ("size", ctypes.c_uint32),
        ("source", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
    ]


class DisarmStruct(ctypes.Structure):
    _fields_ = ArmStruct._fields_


class UnmaskStruct(ctypes.Structure):
    _fields_ = [
        ("size", ctypes.c_uint32),
        ("source", ctypes.c_uint32),
        ("seq", ctypes.c_uint64),
        ("flags", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
    ]


class ExecStruct(ctypes.Structure):
    _fields_ = [
        ("size", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("ops", ctypes.c_uint64),
        ("count", ctypes.c_uint32),
        ("error_index", ctypes.c_uint32),
        ("error_reason", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
        ("regs", ctypes.c_uint64 * REGS),
    ]


class MasterStruct(ctypes.Structure):
    _fields_ = [
        ("size", ctypes.c_uint32),
        ("on", ctypes.c_uint32),
    ]


class MaskStruct(ctypes.Structure):
    _fields_ = UnmaskStruct._fields_


class EventfdStruct(ctypes.Structure):
    _fields_ = [
        ("size", ctypes.c_uint32),
        ("source", ctypes.c_uint32),
        ("fd", ctypes.c_int32),
        ("flags", ctypes.c_uint32),
    ]


class QuiesceStruct(ctypes.Structure):
    _fields_ = [
        ("size", ctypes.c_uint32),
        ("rungs", ctypes.c_uint32),
        ("release", ctypes.c_uint32),
        ("max_rate", ctypes.c_uint32),
    ]


class MessagesStruct(ctypes.Structure):
    _fields_ = [
        ("size", ctypes.c_uint32),
        ("count", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
    ]


class UioStruct(ctypes.Structure):
    _fields_ = [
        ("size", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("number", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
        ("name", ctypes.c_char * UIO_NAME),
        ("version", ctypes.c_char * UIO_NAME),
    ]


class RingStruct(ctypes.Structure):
    _fields_ = [
        ("version", ctypes.c_uint32),
        ("events", ctypes.c_uint32),
        ("store_bar", ctypes.c_uint32),
        ("store_width", ctypes.c_uint32),
        ("store_offset", ctypes.c_uint64),
        ("store_value", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
        ("reserved1", ctypes.c_uint32 * 8),
        ("head", ctypes.c_uint32),
        ("state", ctypes.c_uint32),
        ("reason", ctypes.c_uint32),
        ("reserved2", ctypes.c_uint32),
        ("seq", ctypes.c_uint64),
        ("lost", ctypes.c_uint64),
        ("reserved3", ctypes.c_uint8 * 4000),
        ("event", EventStruct * RING_EVENTS),
    ]


class ConsumerStruct(ctypes.Structure):
    _fields_ = [
        ("tail", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
        ("unmasked", ctypes.c_uint64),
    ]


class WaitStruct(ctypes.Structure):
    _fields_ = [
        ("size", ctypes.c_uint32),
        ("source", ctypes.c_uint32),
        ("timeout_ns", ctypes.c_uint64),
        ("tail", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
    ]
