# SPDX-License-Identifier: MIT
"""The oracle of a sweep's points, on artificial logs that each break one rule."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from shirq_bench.channels.log import Entry, Kind
from shirq_bench.replay.oracle import MENDED, Oracle

_BOUND_NS = 1000
_USER, _KERNEL, _NOBODY = 3, 0, 0xFF


def _entry(at: int, kind: Kind, value: int, ring: int = _NOBODY, offset: int = 0, device: str = "dev0") -> Entry:
    return Entry(at, kind, 0, 4, 0, device, ring, offset, value)


def _claimed(at: int, seq: int = 1, source: int = 1) -> list[Entry]:
    """Return a raise that is claimed, acknowledged, handled and unmasked."""
    return [
        _entry(at, Kind.RAISE, source),
        _entry(at, Kind.PIN, 1),
        _entry(at + 10, Kind.MASK, 1),
        _entry(at + 10, Kind.PIN, 0),
        _entry(at + 50, Kind.WRITE, source, _USER, 0x64),
        _entry(at + 51, Kind.MARK, seq << 16 | source, _USER, 0x70),
        _entry(at + 60, Kind.MASK, 0),
    ]


def _rules(*points: Iterable[Entry], spurious: int = 0) -> list[list[str]]:
    oracle = Oracle(["dev0"], _BOUND_NS, spurious)
    return [[violation.rule for violation in oracle.judge(list(point))] for point in points]


def test_a_raise_that_is_handled_is_in_order() -> None:
    assert _rules(_claimed(0), _claimed(1000, seq=2)) == [[], []]


@pytest.mark.parametrize(("deliveries", "broken", "rules"), [(40, (), []), (41, (), ["storm"]), (41, ("dev1",), [])])
def test_deliveries_without_raises_are_a_storm(deliveries: int, broken: tuple[str, ...], rules: list[str]) -> None:
    """A device that asserts while its handler declines makes the processor handle nothing else."""
    oracle = Oracle(["dev0"], _BOUND_NS, 0, broken, deliveries=40)
    told = [_entry(at, Kind.DELIVER, 0x25, device="ioapic") for at in range(deliveries)]
    assert [violation.rule for violation in oracle.judge([*_claimed(100), *told])] == rules


def test_unhandled_raise_is_lost_and_its_point_unfinished() -> None:
    """A raise that is never handled is lost, and its point is unfinished."""
    assert _rules(_claimed(0)[:4]) == [["lost", "unfinished"]]


def test_raise_between_ack_and_handling_is_kept_if_reasserted() -> None:
    """A raise between acknowledgement and handling is not lost if the device asserts again."""
    first = _claimed(0)
    again = [_entry(50, Kind.RAISE, 1), *first[5:], *_claimed(70, seq=2)[1:]]
    assert _rules([*first[:5], *again]) == [[]]


def test_raise_after_the_handling_that_stays_unhandled_is_lost() -> None:
    """A raise after the handling is lost if it is never handled."""
    assert _rules([*_claimed(0)[:6], _entry(55, Kind.RAISE, 1), _entry(60, Kind.MASK, 0)]) == [["lost", "unfinished"]]


def test_second_handling_is_a_duplicate_unless_allowed() -> None:
    """Two handlings of one raise are a duplicate unless the scenario allows them."""
    twice = [*_claimed(0), _entry(70, Kind.MARK, 2 << 16 | 1, _USER)]
    assert _rules(twice) == [["duplicate"]]
    assert _rules(twice, spurious=1) == [[]]


def test_an_event_about_no_source_is_a_duplicate() -> None:
    assert _rules(_claimed(0, source=1)[:5] + [_entry(51, Kind.MARK, 1 << 16), _entry(60, Kind.MASK, 0)]) == [
        ["duplicate"]
    ]


@pytest.mark.parametrize("seq", [1, 0x8000 + 2])
def test_a_sequence_number_that_does_not_grow_is_disorder(seq: int) -> None:
    assert _rules(_claimed(0, seq=1), _claimed(1000, seq)) == [[], ["disorder"]]


def test_sequence_numbers_may_wrap() -> None:
    assert _rules(_claimed(0, seq=0xFFFF), _claimed(1000, seq=0)) == [[], []]


def test_a_handling_beyond_the_bound_is_late() -> None:
    assert _rules([_entry(0, Kind.RAISE, 1), *_claimed(_BOUND_NS)[1:]]) == [["late"]]


def test_assertion_beyond_the_bound_is_late_even_if_withdrawn() -> None:
    """An assertion that is longer than the bound is late, even if it is withdrawn."""

    def asserted(ns: int) -> list[Entry]:
        levels = [_entry(0, Kind.PIN, 1), _entry(1, Kind.PIN, 1), _entry(ns, Kind.PIN, 0)]
        return [_entry(0, Kind.RAISE, 1), *levels, _entry(ns, Kind.LOWER, 1)]

    assert _rules(asserted(_BOUND_NS), asserted(_BOUND_NS + 1)) == [[], ["late"]]


def test_what_the_hardware_withdraws_need_not_be_handled() -> None:
    assert _rules([_entry(0, Kind.RAISE, 1), _entry(5, Kind.LOWER, 1)]) == [[]]


def test_released_raise_is_not_owed_and_next_owner_counts_anew() -> None:
    """A raise that the release program acknowledges need not be handled; the next owner's numbers start again."""
    released = [_entry(0, Kind.RAISE, 2), _entry(9, Kind.WRITE, 0xFFFFFFFF, _KERNEL, 0x64)]
    assert _rules(_claimed(0, seq=9), released, _claimed(2000, seq=1)) == [[], [], []]


def test_raise_acknowledged_by_user_space_but_unhandled_is_lost() -> None:
    """A raise that user space acknowledges without handling it is lost."""
    assert _rules([_entry(0, Kind.RAISE, 1), _entry(5, Kind.WRITE, 1, _USER, 0x64)]) == [["lost"]]


@pytest.mark.parametrize(("kind", "word"), [(Kind.MASK, "masked"), (Kind.PIN, "asserting")])
def test_a_device_that_is_not_at_rest_at_the_end_is_unfinished(kind: Kind, word: str) -> None:
    oracle = Oracle(["dev0"], _BOUND_NS, 0)
    (violation,) = oracle.judge([*_claimed(0), _entry(80, kind, 1)])
    assert (violation.rule, word in violation.what) == ("unfinished", True)


def test_a_line_that_stays_high_is_unfinished() -> None:
    assert _rules([_entry(0, Kind.LINE, 1, offset=20, device="ioapic")]) == [["unfinished"]]
    assert _rules([_entry(0, Kind.LINE, 1, device="ioapic"), _entry(5, Kind.LINE, 0, device="ioapic")]) == [[]]
    both = [_entry(0, Kind.LINE, 1, offset=11, device=name) for name in ("i8259", "ioapic")]
    assert _rules([*both, _entry(5, Kind.LINE, 0, offset=11, device="i8259")]) == [["unfinished"]]


def test_a_device_that_is_not_judged_is_not_looked_at() -> None:
    assert _rules([_entry(0, Kind.RAISE, 1, device="dev1")]) == [[]]


def test_a_line_that_the_kernel_has_masked_is_unfinished() -> None:
    """A line that is masked at the end is unfinished; free_irq() may mask a line until it is requested again."""
    masked, unmasked = (_entry(at, Kind.LINE_MASK, value, offset=20, device="ioapic") for at, value in ((0, 1), (5, 0)))
    assert _rules([masked]) == [["unfinished"]]
    assert _rules([masked, unmasked]) == [[]]


def test_a_step_of_a_deed_is_no_handling() -> None:
    step = _entry(5, Kind.MARK, 1, _USER)._replace(width=8)
    assert _rules([*_claimed(0), step._replace(time_ns=70)]) == [[]]


def test_what_a_reset_withdraws_need_not_be_handled() -> None:
    assert _rules([_entry(0, Kind.RAISE, 1), _entry(5, Kind.RESET, 0)]) == [[]]


def test_a_guest_that_halts_leaves_its_devices_masked_and_silent() -> None:
    def rules(*entries: Entry) -> list[str]:
        return [v.rule for v in Oracle(["dev0"], _BOUND_NS, 0, halts=True).judge(list(entries))]

    silent = [
        _entry(0, Kind.RAISE, 1),
        _entry(1, Kind.MASK, 1),
        _entry(2, Kind.LINE_MASK, 1, offset=20, device="ioapic"),
    ]
    assert rules(*silent) == []
    assert rules(*silent, _entry(3, Kind.PIN, 1)) == ["unfinished"]
    assert rules(*silent, _entry(3, Kind.LINE, 1, offset=20, device="ioapic")) == ["unfinished"]


class TestBroken:
    """The stimulus breaks the device dev0; another device is not broken."""

    def _rules(self, *points: Iterable[Entry]) -> list[list[str]]:
        oracle = Oracle(["dev0", "dev1"], _BOUND_NS, 0, broken=["dev0"])
        return [[violation.rule for violation in oracle.judge(list(point))] for point in points]

    def _mended(self, at: int) -> Entry:
        return _entry(at, Kind.SCHEDULED, MENDED)._replace(width=6)

    def test_what_is_raised_while_it_is_broken_may_be_lost(self) -> None:
        lost = [
            _entry(0, Kind.RAISE, 1),
            _entry(0, Kind.PIN, 1),
            _entry(9000, Kind.PIN, 0),
            _entry(9000, Kind.LOWER, 1),
        ]
        acknowledged = [_entry(0, Kind.RAISE, 1), _entry(5, Kind.WRITE, 1, _USER, 0x64)]
        assert self._rules(lost, acknowledged) == [[], []]

    def test_it_is_at_rest_at_the_end(self) -> None:
        assert self._rules([_entry(0, Kind.MASK, 1)]) == [["unfinished"]]
        assert self._rules([_entry(0, Kind.RAISE, 1)]) == [["unfinished"]]

    def test_when_it_is_mended_its_interrupts_are_handled_again(self) -> None:
        broken = [_entry(0, Kind.RAISE, 1), _entry(5, Kind.WRITE, 1, _USER, 0x64), self._mended(100)]
        assert self._rules([*broken, *_claimed(100)]) == [[]]
        assert self._rules([*broken, _entry(100, Kind.RAISE, 1), _entry(105, Kind.WRITE, 1, _USER, 0x64)]) == [["lost"]]

    def test_each_point_begins_with_a_device_that_is_broken(self) -> None:
        unhandled = [_entry(0, Kind.RAISE, 1), _entry(5, Kind.WRITE, 1, _USER, 0x64)]
        assert self._rules([self._mended(0), *unhandled], unhandled) == [["lost"], []]

    def test_its_neighbour_is_judged_all_the_time(self) -> None:
        unhandled = [
            _entry(0, Kind.RAISE, 1, device="dev1"),
            _entry(5, Kind.WRITE, 1, _USER, 0x64, device="dev1"),
        ]
        assert self._rules(unhandled) == [["lost"]]
