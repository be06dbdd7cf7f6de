# SPDX-License-Identifier: MIT
"""Entries of the event log in words."""

from __future__ import annotations

import pytest

from shirq_bench.channels.log import IOAPIC, NONE, Entry, Kind, TurnReason
from shirq_bench.observe import words


@pytest.mark.parametrize(
    ("before", "reason", "said"),
    [
        (0, TurnReason.YIELD, "controller (vCPU 0): vCPU 1 has the turn (yield)"),
        (3, TurnReason.SCHEDULE, "controller (vCPU 3): vCPU 1 has the turn (schedule)"),
        (NONE, TurnReason.STATE, "controller: vCPU 1 has the turn (state)"),
    ],
)
def test_turn_names_its_vcpu_and_the_reason(before: int, reason: TurnReason, said: str) -> None:
    entry = Entry(0, Kind.TURN, 0, 0, before, IOAPIC, 0, reason, 1)
    assert words.phrase(entry) == said
