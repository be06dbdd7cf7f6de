# SPDX-License-Identifier: MIT
"""The outcome of a case is derived from the line, the registers, the neighbour and the kernel's log."""

from __future__ import annotations

from typing import Any

import pytest

from logwriter import GSI, Story
from shirq_bench.campaigns.zoo.outcome import STORM, Evidence, Ledger, Outcome, classify
from shirq_bench.channels.log import Kind
from shirq_bench.errors import CannotJudge

_QUIET = "[    0.000000] Linux version 6.1.0\n[    1.000000] nothing to see\n"
_CARED = _QUIET + '[    2.000000] irq 20: nobody cared (try booting with the "irqpoll" option)\n'
_FLAGS = _QUIET + "[    2.000000] genirq: Flags mismatch irq 20. 00000000 (naive) vs. 00000080 (eth0)\n"
_BUG = _QUIET + "[    2.000000] BUG: kernel NULL pointer dereference, address: 0000000000000000\n"


def good() -> Story:
    """Return a log with four claimed and served interrupts of dev0, and two of the neighbour."""
    story = Story(("dev0", "nic0"))
    for _ in range(4):
        story.claimed_interrupt("dev0").wait(1_000_000)
    return story.neighbours_interrupt("nic0").wait(500_000).neighbours_interrupt("nic0")


def outcome(story: Story, kernel_log: str = _QUIET, **more: Any) -> Outcome:
    return classify(Evidence(story.log(), kernel_log, GSI, **more)).outcome


def storm(story: Story, deliveries: int) -> Story:
    for _ in range(deliveries):
        story.deliver().eoi()
    return story


def test_a_log_with_dropped_entries_gives_no_outcome() -> None:
    with pytest.raises(CannotJudge, match=r"7 entries did not fit .*log_entries in \[machine\] of a case"):
        classify(Evidence(good().log(dropped=7), _QUIET, GSI))


def test_a_line_that_another_controller_serves_gives_no_outcome() -> None:
    with pytest.raises(CannotJudge, match="a controller that the log does not follow"):
        classify(Evidence(good().levels_only(), _QUIET, GSI))
    with pytest.raises(CannotJudge, match="line 19 never moved, but 20 did"):
        classify(Evidence(good().log(), _QUIET, 19))


def test_past_before_the_judgement_is_excluded_but_still_owed() -> None:
    """Events before the judged part of the log are not judged, but interrupts raised there must still be served."""
    story = storm(good(), STORM + 1).stimulus("dev0", 8)
    mark = len(story.entries)
    log = story.claimed_interrupt("dev0").log().since(mark)
    result = classify(Evidence(log, _QUIET, GSI))
    assert result.outcome is Outcome.SURVIVES
    assert result.figures["raised"] == result.figures["served"] == 2
    assert outcome(story) is Outcome.STORM


def test_complaints_before_the_judgement_are_not_the_drivers() -> None:
    """Kernel complaints from before the judged part do not count against the driver."""
    assert outcome(good(), _CARED, judged_line=_CARED.count("\n")) is Outcome.SURVIVES
    assert outcome(good(), _CARED, judged_line=_CARED.count("\n") - 1) is Outcome.DISABLED
    banner, _, rest = _CARED.partition("\n")
    early = f"{banner}\n[    1.0] BUG: workqueue lockup\n[    1.0]  </TASK>\n[    1.1] shirq: judged from here\n"
    late = early + rest
    assert outcome(good(), late, judged_line=early.count("\n")) is Outcome.DISABLED
    assert outcome(good(), early, judged_line=early.count("\n")) is Outcome.SURVIVES
    assert outcome(good(), "", judged_line=5) is Outcome.SPLAT, "a log that cannot be scanned must never pass"


def test_the_longest_waits_are_told() -> None:
    story = Story(("dev0", "nic0")).stimulus("dev0").deliver().read("dev0").mask("dev0").eoi().wait(70_000)
    story.acknowledge("dev0").mask("dev0", False).neighbours_interrupt("nic0")
    figures = classify(Evidence(story.log(), _QUIET, GSI)).figures
    assert 70 <= int(figures["slowest_us"]) < 80
    assert figures["neighbour_slowest_us"] == 2


def test_a_run_in_which_everything_is_served_once_survives() -> None:
    result = classify(Evidence(good().log(), _QUIET, GSI))
    assert result.outcome is Outcome.SURVIVES
    assert result.figures["raised"] == result.figures["served"] == 4
    assert result.figures["spurious"] == result.figures["lost"] == 0


def test_a_complaint_that_the_case_forgives_is_no_splat() -> None:
    log = _QUIET + "[    2.000000] __common_interrupt: 1.36 No irq handler for vector\n"
    assert outcome(good(), log) is Outcome.SPLAT
    assert outcome(good(), log, forgiven=("No irq handler for vector",)) is Outcome.SURVIVES
    behind = log + _CARED.partition("\n")[2]
    assert outcome(good(), behind, forgiven=("No irq handler for vector",)) is Outcome.DISABLED
    assert outcome(good(), log, forgiven=("unexpected IRQ trap",)) is Outcome.SPLAT


def test_what_was_raised_and_never_acknowledged_is_lost() -> None:
    story = good().stimulus("dev0", 8).deliver().mask("dev0").eoi()
    assert outcome(story) is Outcome.LOSES


def test_what_was_raised_after_the_driver_was_killed_is_not_lost() -> None:
    story = good().stimulus("dev0", 8).deliver().mask("dev0").eoi()
    assert outcome(story, owes=False) is Outcome.SURVIVES


def test_an_acknowledgement_of_nothing_is_a_duplicate() -> None:
    story = good()
    for _ in range(3):
        story.add(Kind.WRITE, "dev0", offset=0x64, value=1, ring=3, width=4)
    assert outcome(story) is Outcome.DUPLICATES


def test_one_spurious_interrupt_for_each_real_one_is_a_duplicate() -> None:
    assert outcome(storm(good(), 4)) is Outcome.DUPLICATES
    assert outcome(storm(good(), 1)) is Outcome.SURVIVES


@pytest.mark.parametrize(("deliveries", "expected"), [(STORM + 1, Outcome.STORM), (STORM - 1, Outcome.DUPLICATES)])
def test_a_storm_is_more_deliveries_than_the_breaker_needs(deliveries: int, expected: Outcome) -> None:
    assert outcome(storm(good(), deliveries)) is expected


def test_storm_ended_by_silencing_in_time_is_survived() -> None:
    """A storm that ends in time because the device is silenced counts as survived."""
    story = storm(good().stimulus("dev0", 8), STORM - 100)
    story.add(Kind.WRITE, "dev0", offset=0x64, value=0xFFFFFFFF, ring=0, width=4)
    assert outcome(story) is Outcome.SURVIVES


def test_spurious_interrupts_after_silencing_are_not_excused() -> None:
    """Spurious interrupts that come after the device was silenced count against the driver."""
    story = good().stimulus("dev0", 8)
    story.add(Kind.WRITE, "dev0", offset=0x64, value=0xFFFFFFFF, ring=0, width=4)
    assert outcome(storm(story, 100)) is Outcome.DUPLICATES


def test_a_neighbour_that_is_handled_late_starves() -> None:
    story = good().stimulus("nic0").wait(30_000_000).deliver()
    story.pending["nic0"] = 0
    assert outcome(story._settle(0).eoi()) is Outcome.STARVES


def test_a_neighbour_that_does_not_answer_starves() -> None:
    assert outcome(good(), asked=10, answered=2) is Outcome.STARVES
    assert outcome(good(), asked=10, answered=10) is Outcome.SURVIVES


def test_a_line_that_the_kernel_disables_is_worse_than_a_storm() -> None:
    assert outcome(storm(good(), STORM + 1), _CARED) is Outcome.DISABLED


def test_driver_refuses_a_device_cleanly_or_with_a_complaint() -> None:
    """A driver refuses a device cleanly, or with a kernel complaint."""
    assert outcome(good(), refused="EBUSY") is Outcome.REFUSES
    assert outcome(good(), _FLAGS, refused="EBUSY") is Outcome.GRUMBLES


def test_a_refusal_that_harms_the_neighbour_is_no_refusal() -> None:
    assert outcome(good(), refused="EBUSY", asked=10, answered=2) is Outcome.STARVES


def test_kernel_complaint_is_always_a_splat() -> None:
    """A kernel bug report or a panic gives the outcome "splat", whatever else happened."""
    assert outcome(good(), _BUG) is Outcome.SPLAT
    assert outcome(good(), "", panicked="Kernel panic - not syncing") is Outcome.SPLAT


def test_a_guest_that_does_not_answer_hangs() -> None:
    assert outcome(good(), hung="it does not answer") is Outcome.HANG


def test_interrupts_are_served_in_turn_source_by_source() -> None:
    """A source can be raised twice before it is served; the ledger counts both, as a read may clear the status."""
    story = Story(("dev0",)).stimulus("dev0", 5).stimulus("dev0", 1)
    ledger = Ledger()
    ledger.take(story.log().entries)
    assert (ledger.raised, ledger.outstanding) == (3, 3)
    ledger.take(Story(("dev0",)).add(Kind.WRITE, "dev0", offset=0x64, value=1).log().entries)
    assert (ledger.served, ledger.outstanding, ledger.duplicates) == (1, 2, 0)


def test_a_reset_or_an_acknowledgement_of_everything_silences() -> None:
    for kind, fields in ((Kind.RESET, {}), (Kind.WRITE, {"offset": 0x64, "value": 0xFFFFFFFF})):
        ledger = Ledger()
        ledger.take(Story(("dev0",)).stimulus("dev0", 3).add(kind, "dev0", **fields).log().entries)
        assert (ledger.silenced, ledger.outstanding, ledger.served) == (2, 0, 0)
