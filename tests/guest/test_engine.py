# SPDX-License-Identifier: MIT
"""What a fresh guest costs: the figures go to build/reports/bench-engine.json, the ratios are asserted."""

from __future__ import annotations

import pytest

from shirq_bench import engine


@pytest.mark.alone
def test_200_clones_each_take_an_eighth_of_a_cold_boot_and_80_mib(kernel_name: str) -> None:
    cost = engine.measure(kernel_name, clones=200)
    engine.write(cost)
    assert cost.clones == 200
    assert cost.cold_boot_cpu_ms >= 8 * cost.clone_cpu_ms
    assert cost.private_mib <= 80
