# SPDX-License-Identifier: MIT
"""Guests with three functions on one line."""

from __future__ import annotations

import pytest

from shirq_bench.observe.scene import Scene
from shirq_bench.vm.vm import Vm


@pytest.fixture
def scene(vm: Vm) -> Scene:
    """A guest whose neighbour is up and whose two devices are bound to shirq.ko."""
    return Scene(vm)
