# SPDX-License-Identifier: MIT
"""An invariant allows for a host that lets the guest wait, and for nothing else."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from logwriter import Story
from shirq_bench import invariants
from shirq_bench.vm import Vm

_VM = cast(Vm, SimpleNamespace(patience=1.0))


@pytest.mark.parametrize("competition, complains", [(1.0, True), (4.0, False)], ids=["idle host", "busy host"])
def test_a_forgotten_line_is_told_from_a_guest_that_waits(
    monkeypatch: pytest.MonkeyPatch, competition: float, complains: bool
) -> None:
    monkeypatch.setattr(invariants, "competition", lambda: competition)
    log = Story().stimulus("dev0").wait(11_500_000_000).deliver().read("dev0").mask("dev0").eoi().log()
    assert ("high without a delivery" in invariants.no_line_is_forgotten(_VM, log)) == complains
