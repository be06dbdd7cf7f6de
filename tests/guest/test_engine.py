# SPDX-License-Identifier: MIT
"""What a fresh guest costs: the figures go to build/reports/bench-engine.json, the ratios are asserted."""

from __future__ import annotations

import pytest

from shirq_bench import engine


@pytest.mark.alone
def test_200_clones_each_run_a_command_15_times_sooner_than_a_cold_boot_in_80_mib(kernel_name: str) -> None:
    cost = engine.measure(kernel_name, clones=200)
    engine.write(cost)
    assert cost.clones == 200
    assert cost.cold_boot_ms >= 15 * cost.clone_ms_p50
    assert cost.private_mib <= 80
