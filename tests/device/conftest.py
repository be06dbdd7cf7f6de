# SPDX-License-Identifier: MIT
"""Machines without a guest, for tests that act as the processor."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from device.scene import Start
from shirq_bench.vm.board import Board


@pytest.fixture
def start() -> Iterator[Start]:
    """Return a function that starts a `Board` with its arguments. The boards end with the test."""
    with contextlib.ExitStack() as boards:
        yield lambda *devices, **options: boards.enter_context(Board(*devices, **options))
