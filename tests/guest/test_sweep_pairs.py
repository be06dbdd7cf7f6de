# SPDX-License-Identifier: MIT
"""Sweeps of pairs (an operation and a stimulus) in guests: they pass, and they find a bug of the module."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from shirq_bench.campaigns.mutants import mutant
from shirq_bench.campaigns.mutants.trial import apply
from shirq_bench.campaigns.sweep import pairs, run
from shirq_bench.campaigns.sweep.scenario import Scenario
from shirq_bench.paths import need_checkout
from shirq_bench.vm.machine import Machine

# Bounds are in instructions; an instrumented kernel needs a hundred times as many.
pytestmark = [pytest.mark.needs_kernel("6.1", "6.12"), pytest.mark.long]


@pytest.mark.parametrize("name", ["close+raise", "exec+dead", "disarm+storm", "unmask+neighbour-storm", "reset+raise"])
def test_a_pair_is_played_without_a_violation(kernel_name: str, name: str) -> None:
    """The pairs differ in the operation, in the device that gets the stimulus, and in the cost of a point."""
    item = pairs.get(name, "ci")
    result = run.sweep(item, kernel_name)
    assert [str(v.what) for failure in result.failures for v in failure.outcome.all()] == []
    assert result.points == item.points
    assert result.places


def test_a_bug_of_the_module_is_found_by_a_pair(
    kernel_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bug is a mutant that no other test than a sweep detects."""
    top = need_checkout("putting a bug into the module")
    shutil.copytree(top / "kmod", tmp_path / "kmod")
    (one,) = (known for known in mutant.load(top) if known.name == "asserts-before-handler")
    assert apply(one.diff, tmp_path) == ""
    machine = Scenario.machine

    def broken(self: Scenario, kernel: str) -> Machine:
        return machine(self, kernel).with_(modules=(str(tmp_path / "kmod"),))

    monkeypatch.setattr(Scenario, "machine", broken)
    result = run.sweep(pairs.get("rearm+raise", "full"), kernel_name, points=300, most=1)
    (failure,) = result.failures
    assert failure.outcome.first() is not None
