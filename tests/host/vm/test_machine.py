# SPDX-License-Identifier: MIT
"""`gsi_of`: the line to which a slot's pin is wired. tests/device/test_line_probe.py compares it with QEMU."""

from __future__ import annotations

import re

import pytest

from shirq_bench.vm.machine import GSI, SHARED_LINE, gsi_of


@pytest.mark.parametrize(
    ("slot", "pin", "gsi"), [(4, "A", 20), (24, "A", 20), (25, "A", 16), (28, "A", 16), (30, "A", 20), (7, "B", 20)]
)
def test_the_rule_changes_after_slot_24(slot: int, pin: str, gsi: int) -> None:
    """Slots 4 and 28 do not share a line, although they are equal modulo 4."""
    assert gsi_of(slot, pin) == gsi


@pytest.mark.parametrize(("slot", "pin"), [(32, "A"), (-1, "A"), (4, "E"), (4, "a"), (4, "")])
def test_a_pin_that_no_slot_has_is_refused(slot: int, pin: str) -> None:
    with pytest.raises(ValueError, match="slots are 0 to 0x1f, pins A to D"):
        gsi_of(slot, pin)


def test_the_shared_line_is_shared() -> None:
    """All devices are on the line, except the clock, which is only used for marks."""
    slots = {
        match[1]: int(match[2], 16)
        for each in SHARED_LINE.devices
        if (match := re.search(r"id=(\w+),addr=(\w+)", each))
    }
    assert (
        {name for name, slot in slots.items() if gsi_of(slot) == GSI}
        == {"dev0", "dev1", "nic0"}
        == set(slots) - {"clock"}
    )
