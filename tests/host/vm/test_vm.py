# SPDX-License-Identifier: MIT
"""A VM before it starts and when it ends: what it leaves, and what it knows of its host."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from shirq_bench.journal import Kind
from shirq_bench.observe import invariants
from shirq_bench.vm import vm as module
from shirq_bench.vm.machine import Machine
from shirq_bench.vm.vm import Vm


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The place of the run directories. No part of a guest is built."""
    known: Any = SimpleNamespace(kernel=SimpleNamespace(patience=1.0))
    monkeypatch.setattr(module, "parts", lambda *_: known)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_line_may_wait_as_long_as_the_busiest_host_lets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that was busy at any step of the guest and is idle at the test's end."""
    loads = [20.0, 1.0]
    monkeypatch.setattr(module, "competition", lambda: loads.pop(0) if len(loads) > 1 else loads[0])
    monkeypatch.setattr(invariants, "competition", lambda: 1.0)
    with Vm(Machine()) as vm:
        assert invariants.forgotten_ns(vm) == 10_000_000_000
        for _ in range(2):
            with vm.journal.during(Kind.WAIT, "nothing"):
                pass
        assert invariants.forgotten_ns(vm) == 200_000_000_000
