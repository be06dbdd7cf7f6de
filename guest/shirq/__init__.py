# SPDX-License-Identifier: MIT
"""User-space drivers for PCI functions on shared interrupt lines, on Linux with the module shirq.ko.

    import shirq

    SET = shirq.ProgramSet.from_text(irq="...", unmask="...", release="...")
    shirq.bind("0000:00:04.0")
    with shirq.Device.open("0000:00:04.0") as device:
        device.load(SET)
        device.arm(shared=True)
        for event in shirq.serve(device):
            ...

`shirq.asm` describes the language of programs, and `shirq.profile` the files that describe cards. `shirq.lint` and
`shirq.simulate` try programs without a device, `shirq.aio` awaits events, and `shirq.ctl` is the command shirqctl.
"""

from __future__ import annotations

from shirq.abi import BarFlag, EventType, Mode, ProgramKind, Reason, State
from shirq.asm import assemble, disassemble
from shirq.binding import bind, bound_driver, unbind
from shirq.device import Device, Registers
from shirq.errors import AssemblyError, ProgramRefused, ShirqError
from shirq.loop import serve
from shirq.program import Op, Program
from shirq.programset import ProgramSet
from shirq.records import Bar, Event, Info
from shirq.ring import Ring

#: The distribution's version; guest/pyproject.toml reads it here.
__version__ = "0.1.0"

__all__ = [
    "AssemblyError",
    "Bar",
    "BarFlag",
    "Device",
    "Event",
    "EventType",
    "Info",
    "Mode",
    "Op",
    "Program",
    "ProgramKind",
    "ProgramRefused",
    "ProgramSet",
    "Reason",
    "Registers",
    "Ring",
    "ShirqError",
    "State",
    "__version__",
    "assemble",
    "bind",
    "bound_driver",
    "disassemble",
    "serve",
    "unbind",
]
