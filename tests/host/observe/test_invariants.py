# SPDX-License-Identifier: MIT
"""The invariants describe violations, report what they cannot judge, and allow for a host that delays the guest."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from logwriter import Story
from shirq_bench.channels.log import I8259, Kind, Log
from shirq_bench.errors import QmpFailed
from shirq_bench.observe import invariants
from shirq_bench.observe.invariants import Waiver
from shirq_bench.vm.vm import Vm

_VM = cast(Vm, SimpleNamespace(patience=1.0, busiest=1.0))


@pytest.mark.parametrize("competition, complains", [(1.0, True), (4.0, False)], ids=["idle host", "busy host"])
def test_a_forgotten_line_is_told_from_a_guest_that_waits(
    monkeypatch: pytest.MonkeyPatch, competition: float, complains: bool
) -> None:
    monkeypatch.setattr(invariants, "competition", lambda: competition)
    log = Story().stimulus("dev0").wait(11_500_000_000).deliver().read("dev0").mask("dev0").eoi().log()
    assert ("high without a delivery" in invariants.no_line_is_forgotten(_VM, log, (), None)) == complains


def broken(log: Log, *waivers: Waiver, status: int | None = None, now_ns: int = 0) -> str:
    """Return the broken invariants. ``now_ns`` is the guest's time; if it is below 0, the monitor is closed."""

    def now() -> int:
        if now_ns < 0:
            raise QmpFailed("the connection is closed")
        return now_ns

    guest = SimpleNamespace(status=lambda: status, log=lambda: log, patience=1.0, busiest=1.0, now_ns=now)
    return invariants.broken(cast(Vm, guest), waivers)


def test_a_run_in_which_everything_is_served_breaks_nothing() -> None:
    assert broken(Story().claimed_interrupt().log()) == ""


def test_a_run_without_interrupts_breaks_nothing() -> None:
    assert broken(Story().log()) == ""
    assert broken(Story().levels_only()) == ""


def test_dropped_entries_break_one_rule_and_leave_one_unjudged() -> None:
    """If a log has dropped entries, one invariant is broken and the other one cannot be judged."""
    said = broken(Story().claimed_interrupt().log(dropped=3))
    assert "3 entries did not fit into" in said
    assert "cannot judge: 3 entries did not fit" in said


ENDS, LINE = Waiver("it is killed", guest_ends=True), Waiver("it is left high", line_of="dev0")


def test_a_waiver_excuses_what_it_names_and_nothing_else() -> None:
    forgotten = Story().claimed_interrupt().stimulus("dev0").wait(100_000_000_000_000).add(Kind.MARK, "dev0")
    log = forgotten.log()
    assert "line 20 was high" in broken(log, ENDS)
    assert broken(log, LINE) == ""
    assert "line 20 was high" in broken(log, Waiver("another one is", line_of="dev1"))
    assert "QEMU ended with status -9" in broken(log, LINE, status=9)
    assert broken(log, LINE, ENDS, status=9) == ""


def test_nothing_waives_a_dropped_entry() -> None:
    said = broken(Story().claimed_interrupt().log(dropped=3), ENDS, LINE)
    assert "The event log holds everything that happened" in said
    assert "3 entries did not fit into" in said


@pytest.mark.parametrize(
    ("seconds", "complains"), [(600, True), (5, False), (-1, False)], ids=["idle", "soon after", "QEMU has ended"]
)
def test_a_line_is_forgotten_though_nothing_else_happens(
    monkeypatch: pytest.MonkeyPatch, seconds: int, complains: bool
) -> None:
    """An idle guest logs nothing, so that a line's high time is measured up to the end of the test."""
    monkeypatch.setattr(invariants, "competition", lambda: 1.0)
    log = Story().claimed_interrupt().stimulus("dev0").log()
    said = broken(log, now_ns=seconds * 1_000_000_000)
    assert ("line 20 was high without a delivery or EOI for 600.0 s" in said) == complains
    assert bool(said) == complains


def test_a_line_below_16_that_is_forgotten_is_found() -> None:
    forgotten = Story(gsi=10).stimulus("dev0").wait(100_000_000_000_000).add(Kind.MARK, "dev0")
    assert "line 10 was high without a delivery or EOI for 100000.0 s" in broken(forgotten.log())


def test_a_line_that_is_forgotten_at_the_8259_is_found() -> None:
    served = Story(gsi=11, controller=I8259).claimed_interrupt()
    assert broken(served.log()) == ""
    forgotten = served.stimulus("dev0").wait(100_000_000_000_000).add(Kind.MARK, "dev0")
    assert "line 11 was high without a delivery or EOI for 100000.0 s" in broken(forgotten.log())


def test_a_high_line_of_an_unfollowed_controller_is_not_passed() -> None:
    assert "cannot judge: line 20 is high to the end" in broken(Story().stimulus("dev0").levels_only())
    assert broken(Story().claimed_interrupt().levels_only()) == ""


def test_a_pin_whose_line_is_not_in_the_log_is_not_passed() -> None:
    story = Story()
    story.line = True  # so that no line is logged
    assert "cannot judge: a pin moved, and no line" in broken(story.stimulus("dev0").log())
