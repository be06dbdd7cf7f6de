# SPDX-License-Identifier: MIT
"""Tests that measure run with no other test beside them, however many workers pytest-xdist has.

Every test of a worker holds a lock that the workers share; one marked ``alone`` holds it exclusively.
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

MARKER = "alone"


@contextlib.contextmanager
def turn(directory: Path, alone: bool) -> Iterator[None]:
    """A test's turn among the processes that share ``directory``."""
    with (directory / "queue").open("w") as queue, (directory / "running").open("w") as running:
        # Who waits to be alone keeps the queue, or the others would go on past it for ever.
        fcntl.flock(queue, fcntl.LOCK_EX)
        fcntl.flock(running, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(queue, fcntl.LOCK_UN)
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """A worker's temporary directory lies in one that it shares with the others."""
    if not hasattr(item.config, "workerinput"):
        return (yield)
    shared = Path(str(item.config.getoption("basetemp"))).parent
    with turn(shared, item.get_closest_marker(MARKER) is not None):
        return (yield)
