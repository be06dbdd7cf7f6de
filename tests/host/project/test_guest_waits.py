# SPDX-License-Identifier: MIT
"""Scripts in a guest wait for events with the timeout `TIMEOUT`, never with a shorter timeout."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

GUEST = Path(__file__).parents[2] / "guest"
#: Matches a wait with a number of 1 or more in a script of a guest. A fraction of a second is allowed, because such a
#: wait checks that no event comes.
_WAIT = re.compile(
    r"(?:\.(?:read|get)\(timeout=|\bpoll\.poll\(|\.join\(|\[device\], \[\], \[\], |monotonic\(\) \+ )[1-9][0-9]*\b"
)


@pytest.mark.parametrize(
    "line",
    [
        "device.read(timeout=20)",
        "event = results.get(timeout=60)",
        "poll.poll(20000)",
        "thread.join(10)",
        "select.select([device], [], [], 20)",
        "until = time.monotonic() + 60",
    ],
)
def test_a_wait_with_a_number_is_recognised(line: str) -> None:
    assert _WAIT.search(line)


@pytest.mark.parametrize("path", sorted([*GUEST.glob("*.py"), *GUEST.glob("scripts/*.py")]), ids=lambda path: path.stem)
def test_no_wait_in_a_guest_has_a_number_of_its_own(path: Path) -> None:
    assert _WAIT.findall(path.read_text()) == []
