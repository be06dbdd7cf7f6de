# SPDX-License-Identifier: MIT
"""The complaints that a run reports about its guest."""

from __future__ import annotations

from typing import Any

from shirq_bench.replay import play


def test_an_empty_kernel_log_is_a_complaint_and_none_is_not() -> None:
    vm: Any = None
    assert "it is empty" in play._complaints(vm, "")[0]
    assert play._complaints(vm, None) == []
    assert play._complaints(vm, "Linux version 6.1\n") == []
