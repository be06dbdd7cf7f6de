# SPDX-License-Identifier: MIT
"""The registers of shirq-edu in BAR 0. tests/host/channels/test_edu_registers.py compares other lists with this one."""

from __future__ import annotations

import enum


class Register(enum.IntEnum):
    """Offsets of the registers, which qemu-device/SPEC.md describes."""

    ID = 0x00
    LIVENESS = 0x04
    FACTORIAL = 0x08
    INT_STATUS = 0x24
    INT_MASK = 0x28
    INT_ACTIVE = 0x2C
    INT_RAISE = 0x60
    INT_ACK = 0x64
    INT_MASK_SET = 0x68
    INT_MASK_CLEAR = 0x6C
    MARK = 0x70
    DOORBELL = 0x74
