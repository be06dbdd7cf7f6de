# SPDX-License-Identifier: MIT
"""Scripts of test_programs.py."""

from __future__ import annotations

import dataclasses

import shirq
from guest.scripts.inguest import (
    INT_ACK,
    SET,
    TIMEOUT,
    armed,
    fails,
    loaded,
    proceed,
    refused,
    report,
    silence,
    state,
)
from shirq import Op, abi


def pending_source() -> None:
    device, registers = armed(auto_unmask=False)
    report("ready")
    first = device.read(timeout=TIMEOUT)
    report(hex(first.r[0]))
    device.unmask(first.seq)  # The source is still pending.
    again = device.read(timeout=TIMEOUT)
    report(hex(again.r[0]), again.seq - first.seq)
    device.unmask(first.seq)  # A stale number must not unmask.
    report(silence(device, 0.3))
    registers.write32(INT_ACK, again.r[0])
    device.unmask(again.seq)
    report(silence(device, 0.3))


def exclusive() -> None:
    device = loaded()
    report(fails(device.arm, shared=False))
    proceed()
    device.arm(shared=True)  # The refused call must keep the loaded set.
    report("armed")
    event = device.read(timeout=TIMEOUT)
    report(hex(event.r[0]))


def exclusive_owner(sharer: str) -> None:
    """``sharer`` is another device's address."""
    device, _ = armed(shared=False)
    later = shirq.Device.open(sharer)
    later.load(SET)
    report(fails(later.arm), fails(later.arm, shared=False))
    event = device.read(timeout=TIMEOUT)
    report(hex(event.r[0]))
    device.close()
    report(fails(later.arm))


def line_in_use() -> None:
    """Arm on a line that is in use. If that succeeds, serve three interrupts."""
    device = loaded()
    report(fails(device.arm), state())
    if state() == "armed":
        registers = device.mmap(0)
        for _ in range(3):
            event = device.read(timeout=TIMEOUT)
            registers.write32(INT_ACK, event.r[0])
            report(hex(event.r[0]))


#: The first and the last operation of every bad program.
_FIRST = Op(abi.Code.LOAD, dst=0, imm=1)
#: Bad programs by their defect: the index and the reason of the refusal, and the operations with the defect.
BAD: dict[str, tuple[int, str, shirq.Program]] = {
    "out of the BAR": (1, "BOUNDS", (Op(abi.Code.READ, dst=0, width=4, imm=0x1000),)),
    "across the end of the BAR": (1, "ALIGNMENT", (Op(abi.Code.READ, dst=0, width=4, imm=0xFFE),)),
    "offset that overflows": (1, "BOUNDS", (Op(abi.Code.READ, dst=0, width=4, imm=2**64 - 4),)),
    "misaligned": (1, "ALIGNMENT", (Op(abi.Code.WRITE, src=0, width=4, imm=0x2A),)),
    "backward jump": (1, "BACKWARD", (Op(abi.Code.SKIP_Z, src=0, skip=-1),)),
    "jump past the end": (1, "PAST_END", (Op(abi.Code.SKIP_Z, src=0, skip=2),)),
    "no such BAR": (1, "NO_BAR", (Op(abi.Code.READ, dst=0, width=4, space=3),)),
    "config space is written": (1, "CONFIG_WRITE", (Op(abi.Code.WRITE, src=0, width=2, space=6, imm=4),)),
    "undefined register": (1, "UNDEFINED", (Op(abi.Code.WRITE, src=3, width=4, imm=0x68),)),
    "unknown operation": (1, "CODE", (Op(99),)),
    "too long": (64, "TOO_LONG", (Op(abi.Code.LOAD, dst=0),) * 64),
}


def bad_programs() -> None:
    """Try every bad program in turn, arm, and then handle an interrupt."""
    device = loaded()
    for name, (_, _, bad) in BAD.items():
        program = (_FIRST, *bad, _FIRST)
        for kind, programs in (
            ("unmask", dataclasses.replace(SET, unmask=program)),
            ("release", dataclasses.replace(SET, release=program)),
        ):
            error = refused(device.load, programs)
            reason = shirq.Reason(error.reason).name
            report(name, error.kind.name.lower() == kind, error.index, reason, sep="; ")
        if name == "undefined register":
            continue  # In EXEC all registers are defined.
        error = refused(device.exec, program)
        report(name, error.kind.name == "EXEC", error.index, shirq.Reason(error.reason).name, sep="; ")
    device.arm()
    report("armed")
    event = device.read(timeout=TIMEOUT)
    report(hex(event.r[0]))
