# SPDX-License-Identifier: MIT
"""Fixtures: a guest with three functions on one line, and a guest that has a fourth function behind a port."""

from __future__ import annotations

import pytest

from guest.port import behind_a_port
from shirq_bench.observe.scene import Scene
from shirq_bench.plugin import Boot
from shirq_bench.vm.vm import Vm


@pytest.fixture
def scene(vm: Vm) -> Scene:
    """A guest of `SHARED_LINE`: the neighbour is up, and dev0 and dev1 are bound to shirq.ko."""
    return Scene(vm)


@pytest.fixture
def port(boot: Boot) -> Scene:
    """A guest of `SHARED_LINE` with dev2 on the same line, bound to shirq.ko and behind its own PCI Express port."""
    return Scene(boot(behind_a_port()))
