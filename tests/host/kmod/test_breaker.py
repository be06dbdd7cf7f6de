# SPDX-License-Identifier: MIT
"""Compares the storm breaker's code, compiled for the host, with models of its decisions and of the core's counts."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from program_model import compile_library

_U32, _U64 = ctypes.c_uint32, ctypes.c_uint64

#: The limits from kmod/storm.c, in handler calls and in claims, and those of the count in kernel/irq/spurious.c.
WINDOW, RATE_WINDOW, CORE_WINDOW, CORE_LIMIT = 900, 1500, 100_000, 99_900


class _Window(ctypes.Structure):
    _fields_ = [("last", _U32), ("entries", _U32), ("unhandled", _U32)]


class _Rate(ctypes.Structure):
    _fields_ = [("claims", _U32), ("since_ns", _U64)]


class Breaker:
    """The kernel's functions, called through ctypes, with one window and one rate."""

    def __init__(self, path: Path) -> None:
        library = ctypes.CDLL(str(path))
        self._window, self._rate, self._looked = _Window(), _Rate(), _U32()
        self._call, self._claim, self._near = library.window_call, library.rate_claim, library.shutdown_is_near
        self._call.argtypes = [ctypes.POINTER(_Window), _U32]
        self._claim.argtypes = [ctypes.POINTER(_Rate), _U64, _U32]
        self._near.argtypes = [_U32, _U32]
        self._look = library.look_due
        self._look.argtypes = [ctypes.POINTER(_U32), _U32]
        for function in (self._call, self._claim, self._near, self._look):
            function.restype = ctypes.c_bool

    def call(self, unhandled: int) -> bool:
        return bool(self._call(self._window, unhandled))

    def look(self, unhandled: int) -> bool:
        return bool(self._look(self._looked, unhandled))

    def claim(self, time_ns: int, max_rate: int) -> bool:
        return bool(self._claim(self._rate, time_ns, max_rate))

    def near(self, unhandled: int, count: int) -> bool:
        return bool(self._near(unhandled, count))


@pytest.fixture(scope="module")
def breaker(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Breaker]:
    """Return a function that makes a new breaker."""
    path = compile_library(tmp_path_factory.mktemp("breaker"), Path(__file__).parent / "breaker.c")
    return lambda: Breaker(path)


#: Sequences of interrupts: their number, and N if every N-th interrupt is handled (0: none is).
RUNS = st.lists(st.tuples(st.integers(1, 2 * WINDOW), st.integers(0, 8)), max_size=12)


def _handled(runs: Iterable[tuple[int, int]]) -> list[bool]:
    return [bool(one_of and not number % one_of) for length, one_of in runs for number in range(length)]


@given(first=st.integers(0, CORE_LIMIT), runs=RUNS)
def test_window_is_a_storm_if_over_three_quarters_are_unhandled(
    breaker: Callable[[], Breaker], first: int, runs: list[tuple[int, int]]
) -> None:
    """A window is a storm if more than three quarters of its interrupts are unhandled.

    The core counts an interrupt after its handlers ran, so that each call sees whether the previous one was handled.
    """
    under_test, handled = breaker(), _handled(runs)
    under_test.call(first)
    verdicts, count = [], first
    for was_handled in handled:
        count += not was_handled
        verdicts.append(under_test.call(count))
    # The first call counts as unhandled, unless the count is 0.
    moved = [first != 0, *(not was_handled for was_handled in handled)]
    expected = [
        number % WINDOW == WINDOW - 1 and sum(moved[number - WINDOW + 1 : number + 1]) > WINDOW * 3 // 4
        for number in range(len(moved))
    ]
    assert verdicts == expected[1:]


@given(before=RUNS)
def test_a_storm_is_found_within_two_windows_of_its_beginning(
    breaker: Callable[[], Breaker], before: list[tuple[int, int]]
) -> None:
    under_test, count = breaker(), 0
    for was_handled in _handled(before):
        count += not was_handled
        under_test.call(count)
    assert any(under_test.call(count + number) for number in range(1, 2 * WINDOW + 1))


@given(count=st.integers(0, CORE_LIMIT), calls=st.integers(0, 5 * WINDOW))
def test_a_neighbour_that_handles_its_own_is_never_a_storm(
    breaker: Callable[[], Breaker], count: int, calls: int
) -> None:
    under_test = breaker()
    assert not any(under_test.call(count) for _ in range(calls))


@given(counts=st.lists(st.integers(0, CORE_LIMIT), max_size=50))
def test_look_is_due_after_900_unhandled(breaker: Callable[[], Breaker], counts: list[int]) -> None:
    """A declining device is looked at after every 900 unhandled interrupts; a new count of the core starts anew."""
    under_test, looked = breaker(), 0
    for count in counts:
        due = count - looked >= WINDOW
        assert under_test.look(count) is due
        if due or count < looked:
            looked = count


@given(
    start=st.integers(0, 1 << 62),
    max_rate=st.integers(1, 10_000_000),
    gaps=st.lists(st.tuples(st.integers(0, 2 * RATE_WINDOW), st.integers(0, 2_000_000)), max_size=5),
)
def test_rate_is_judged_by_each_1500_claims_and_their_time(
    breaker: Callable[[], Breaker], start: int, max_rate: int, gaps: list[tuple[int, int]]
) -> None:
    """The breaker computes a rate from 1,500 claims and the time between the first and the last of them.

    A window begins with the first claim after the previous window and has 1,501 claims, which are 1,500 intervals.
    """
    under_test, times = breaker(), [start]
    for claims, gap_ns in gaps:
        times += [times[-1] + gap_ns * number for number in range(1, claims + 1)]
    verdicts = [under_test.claim(time_ns, max_rate) for time_ns in times]
    least_ns = RATE_WINDOW * 10**9 // max_rate
    expected = [
        number % (RATE_WINDOW + 1) == RATE_WINDOW and times[number] - times[number - RATE_WINDOW] < least_ns
        for number in range(len(times))
    ]
    assert verdicts == expected


class Core:
    """The kernel's counts for a line (kernel/irq/spurious.c)."""

    def __init__(self, unhandled: int, count: int) -> None:
        self.unhandled, self.count = unhandled, count
        self.shut = False

    def note(self, handled: bool, paused: bool) -> None:
        """Count an interrupt; ``paused`` if no interrupt was unhandled in the last 100 ms."""
        if not handled:
            self.unhandled = 1 if paused else self.unhandled + 1
        self.count += 1
        if self.count == CORE_WINDOW:
            self.shut |= self.unhandled > CORE_LIMIT
            self.count = self.unhandled = 0


def _play(under_test: Breaker, core: Core, handled: Iterable[bool]) -> int:
    """Play interrupts of a line that has a quarantined device; returns the number of pauses of more than 100 ms."""
    paused, pauses = False, 0
    for was_handled in handled:
        ends = under_test.call(core.unhandled)
        core.note(was_handled, paused)
        if not was_handled:
            paused = False
        if ends and under_test.near(core.unhandled, core.count):
            paused = True
            pauses += 1
    return pauses


def test_endless_storm_pauses_once_in_the_cores_window(breaker: Callable[[], Breaker]) -> None:
    """In an endless storm, the breaker makes about one pause in each window of the kernel's interrupt core."""
    core = Core(0, 0)
    pauses = _play(breaker(), core, [False] * (4 * CORE_WINDOW))
    assert not core.shut
    assert 1 <= pauses <= 5


@settings(max_examples=200)
@given(
    unhandled=st.integers(CORE_LIMIT - 4 * WINDOW, CORE_LIMIT - 1000),
    handled_before=st.integers(0, 300),
    runs=RUNS,
    storm=st.integers(0, 5 * WINDOW),
)
@example(unhandled=CORE_LIMIT - 1000, handled_before=0, runs=[], storm=2 * WINDOW)
def test_the_core_never_shuts_a_line_that_the_breaker_watches(
    breaker: Callable[[], Breaker], unhandled: int, handled_before: int, runs: list[tuple[int, int]], storm: int
) -> None:
    """This holds for any handled interrupts in between, and for any place of the breaker's windows in the core's."""
    core = Core(unhandled, min(unhandled + handled_before, CORE_WINDOW - 1))
    _play(breaker(), core, _handled(runs) + [False] * storm)
    assert not core.shut
