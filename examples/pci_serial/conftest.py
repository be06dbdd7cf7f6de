# SPDX-License-Identifier: MIT
"""The guest fixture of this project's tests."""

from __future__ import annotations

import pytest

from serial_cards import MACHINE
from shirq_bench.plugin import Boot
from shirq_bench.vm.vm import Vm


@pytest.fixture
def vm(boot: Boot) -> Vm:
    """A fresh guest whose two cards are bound to the driver. Data sent through ``vm.wires`` raises interrupts."""
    return boot(MACHINE)
