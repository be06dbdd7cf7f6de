# SPDX-License-Identifier: MIT
"""Guests with three functions on one line, and with one more behind a port."""

from __future__ import annotations

import pytest

from guest.port import behind_a_port
from shirq_bench.observe.scene import Scene
from shirq_bench.plugin import Boot
from shirq_bench.vm.vm import Vm


@pytest.fixture
def scene(vm: Vm) -> Scene:
    """A guest whose neighbour is up and whose two devices are bound to shirq.ko."""
    return Scene(vm)


@pytest.fixture
def port(boot: Boot) -> Scene:
    """A guest with dev2, bound, on the same line, alone in a PCI Express port."""
    return Scene(boot(behind_a_port()))
