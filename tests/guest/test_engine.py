# SPDX-License-Identifier: MIT
"""What a fresh guest costs: the figures go to build/reports/bench-engine.json, the ratios are asserted."""

from __future__ import annotations

import re

import pytest

from shirq_bench import engine
from shirq_bench.scene import Scene


@pytest.mark.alone
@pytest.mark.long
def test_200_clones_each_take_an_eighth_of_a_cold_boot_and_80_mib(kernel_name: str) -> None:
    cost = engine.measure(kernel_name, clones=200)
    engine.write(cost)
    assert cost.clones == 200
    assert cost.cold_boot_cpu_ms >= 8 * cost.clone_cpu_ms
    assert cost.private_mib <= 80


def test_no_guest_compiles_what_its_programs_import(scene: Scene) -> None:
    """Byte code is in the image: compiling takes an emulated guest longer than all else that a short program does."""
    said = scene.run("python3 -v -c 'import shirq, shirq.aio, shirq.ctl' 2>&1")
    taken = re.findall(r"^# code object from (\S+)$", said, re.MULTILINE)
    assert len(taken) > 50
    assert [name for name in taken if not name.endswith(".pyc'")] == []
