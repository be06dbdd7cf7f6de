# SPDX-License-Identifier: MIT
"""Runs no other test while a test that measures time runs, however many workers pytest-xdist has.

Every test of a worker holds a lock that the workers share; a test marked ``alone`` holds it exclusively. A session
without such a test takes no lock.
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

MARKER = "alone"
_ANY = pytest.StashKey[bool]()


@contextlib.contextmanager
def turn(directory: Path, alone: bool) -> Iterator[None]:
    """Hold the lock of the processes that share ``directory`` during a test; exclusively if the test is ``alone``."""
    with (directory / "queue").open("w") as queue, (directory / "running").open("w") as running:
        # A test that waits for the exclusive lock holds the queue's lock, so that no other test can take the shared
        # lock before it. Otherwise it could wait for ever.
        fcntl.flock(queue, fcntl.LOCK_EX)
        fcntl.flock(running, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(queue, fcntl.LOCK_UN)
        yield


def pytest_collection_finish(session: pytest.Session) -> None:
    """Note whether any test is marked ``alone``. Every worker collects all tests, so all workers agree."""
    session.config.stash[_ANY] = any(item.get_closest_marker(MARKER) for item in session.items)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Hold the lock while the test runs. The lock's files are in the parent of the workers' temporary directories."""
    if not hasattr(item.config, "workerinput") or not item.config.stash[_ANY]:
        return (yield)
    shared = Path(str(item.config.getoption("basetemp"))).parent
    with turn(shared, item.get_closest_marker(MARKER) is not None):
        return (yield)
