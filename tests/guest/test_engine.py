# SPDX-License-Identifier: MIT
"""The costs of a fresh guest in time and memory."""

from __future__ import annotations

import re

import pytest

from shirq_bench.campaigns.bench import guests
from shirq_bench.observe.scene import Scene


@pytest.mark.alone
@pytest.mark.long
def test_clones_take_an_eighth_of_a_cold_boot_and_80_mib(kernel_name: str) -> None:
    clone, boot = (guests.first_commands(kernel_name, kind) for kind in ("clone", "cold boot"))
    assert boot["processor_ms"]["median"] >= 8 * clone["processor_ms"]["median"]
    assert clone["private_mib"] <= 80


def test_no_guest_compiles_what_its_programs_import(scene: Scene) -> None:
    """The image has byte code, because in an emulated guest compiling takes longer than a short program runs."""
    said = scene.run("python3 -v -c 'import shirq, shirq.aio, shirq.ctl' 2>&1")
    taken = re.findall(r"^# code object from (\S+)$", said, re.MULTILINE)
    assert len(taken) > 50
    assert [name for name in taken if not name.endswith(".pyc'")] == []
