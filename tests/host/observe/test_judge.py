# SPDX-License-Identifier: MIT
"""Each judge passes a correct run and describes the error in a wrong one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from logwriter import GSI, INT_ACK, INT_ACTIVE, INT_MASK_SET, Story
from shirq_bench.channels.log import I8259, IOAPIC, ClockFit, HandlerCall, Kind, Log
from shirq_bench.errors import CannotJudge
from shirq_bench.observe.judge import (
    BrokenRuleError,
    Verdict,
    assertions,
    dropped_entries,
    false_claims,
    handlings,
    high,
    line_low_at_end,
    line_never_masked,
    line_of,
    lines_in_use,
    lines_moved,
    masked_before_eoi,
    neighbour_lost,
    no_line_high_longer_than,
    require_followed,
    silent_before_eoi,
)
from shirq_bench.observe.words import SETTINGS

HANDLERS = {"dev0": "shirq:0000:00:04.0", "dev1": "shirq:0000:00:08.0", "nic": "enp0s5"}
SHIRQ, NIC = HANDLERS["dev0"], HANDLERS["nic"]
# The guest's clock is 5 s behind virtual time.
OFFSET = -5_000_000_000


def run() -> Story:
    """Return a log with three claimed interrupts of dev0, one of dev1 and two of the neighbour."""
    story = Story(now=6_000_000_000)
    for device in ("dev0", "dev1", "dev0", "dev0"):
        story.claimed_interrupt(device).wait(1_000_000)
    return story.neighbours_interrupt().wait(500_000).neighbours_interrupt()


def call(begin_ns: float, end_ns: float, name: str, handled: bool, cpu: int = 0) -> HandlerCall:
    """Return a handler call at these virtual times, in the format of the kernel's trace."""
    return HandlerCall(cpu, round((begin_ns + OFFSET) / 1e9, 6), round((end_ns + OFFSET) / 1e9, 6), GSI, name, handled)


def clock(story: Story, error_ns: int = 2000) -> ClockFit:
    """Return a clock fit over the whole story, from marks at this distance."""
    last = story.now + 1_000_000
    times = [at + error_ns * step for at in (5_999_000_000, last) for step in range(4)]
    return ClockFit.from_marks([(at + OFFSET, at + error_ns // 2) for at in times])


def handled_calls(story: Story) -> list[HandlerCall]:
    """Return a trace: in each interrupt all handlers are called, and the one whose device asserts returns handled."""
    log = story.log()
    pins = {device: assertions(log, device) for device in HANDLERS}
    calls = []
    for handling in handlings(log, GSI):
        assert handling.eoi
        begin, end = handling.deliver.time_ns, handling.eoi.time_ns
        for device, name in HANDLERS.items():
            ours = any(it.holds(handling.first) for it in pins[device])
            calls.append(call(begin + 200, end - 100 if ours else begin + 300, name, ours))
    return calls


def only(verdict: Verdict) -> str:
    """Return the text of a verdict's only finding."""
    with pytest.raises(BrokenRuleError) as broken:
        verdict.require()
    (finding,) = verdict.findings
    assert finding.what in str(broken.value)
    return str(finding)


# Verdicts


def test_a_rule_about_nothing_is_not_proven() -> None:
    verdict = masked_before_eoi(Story().log(), "dev0", GSI)
    assert verdict.ok
    assert verdict.checked == 0
    with pytest.raises(BrokenRuleError, match="dev0 is masked before line 20 is ended: held in 0"):
        verdict.require()
    assert verdict.require(at_least=0) is verdict


def test_a_verdict_shows_the_first_findings_and_counts_the_rest() -> None:
    story = Story()
    for _ in range(7):
        story.stimulus("dev0").deliver().read("dev0").eoi().mask("dev0").acknowledge("dev0").mask("dev0", False)
    text = str(masked_before_eoi(story.log(), "dev0", GSI))
    assert "7 of 7 broke it" in text
    assert text.count("was claimed and never masked") == 5
    assert text.endswith("... and 2 more")
    assert "kernel (vCPU 0): reads dev0 INT_ACTIVE = 0x1" in text


def test_a_restored_vm_in_the_middle_is_refused() -> None:
    story = Story().claimed_interrupt().add(Kind.RESTORED, value=2)
    with pytest.raises(BrokenRuleError, match=r"judge one of log.epochs\(\)"):
        line_low_at_end(story.log(), GSI)
    line_low_at_end(story.log().epochs()[0], GSI).require()


# Levels


def test_an_assertion_names_the_access_that_ended_it() -> None:
    story = Story().claimed_interrupt("dev0")
    story.stimulus("dev1").acknowledge("dev1")
    story.stimulus("dev1").add(Kind.LOWER, "dev1", value=1)
    story.pending["dev1"] = 0
    story._settle()
    log = story.log()
    (masked,) = assertions(log, "dev0")
    assert masked.start and masked.end and masked.ended_by
    assert (masked.ended_by.kind, masked.ended_by.offset, masked.ended_by.ring) == (Kind.WRITE, INT_MASK_SET, 0)
    acknowledged, withdrawn = assertions(log, "dev1")
    assert acknowledged.ended_by and withdrawn.ended_by
    assert (acknowledged.ended_by.offset, acknowledged.ended_by.ring) == (INT_ACK, 3)
    assert withdrawn.ended_by.kind is Kind.LOWER


def test_pin_falling_by_itself_is_not_blamed_on_an_access() -> None:
    """If a pin falls by itself, the judge does not attribute that to an earlier access."""
    story = Story().stimulus("nic").read("dev0")
    story.pending["nic"] = 0
    assert [it.ended_by for it in assertions(story._settle(0).log(), "nic")] == [None]


def test_a_pin_that_is_high_at_a_cut_is_known_to_be() -> None:
    story = Story().stimulus("dev0").deliver()
    mark = story.log().mark
    story.read("dev0").mask("dev0").eoi()
    (it,) = assertions(story.log().since(mark), "dev0")
    assert it.start is None
    assert it.end
    (it,) = assertions(Story().stimulus("dev0").log(), "dev0")
    assert it.end is None


def test_a_device_is_masked_until_the_log_says_that_it_is_not() -> None:
    story = Story()
    (masked,) = high(story.log(), Kind.MASK, "dev0")
    assert masked.start is None
    assert masked.end and masked.end.kind is Kind.MASK
    assert high(story.log(), Kind.PIN, "dev0") == []


def test_the_line_of_devices_is_the_one_that_their_pins_move() -> None:
    story = Story()
    for _ in range(2):
        story.add(Kind.LINE, offset=4, value=1).claimed_interrupt("dev0").add(Kind.LINE, offset=4, value=0)
        story.claimed_interrupt("dev1")
    assert line_of(story.log(), ["dev0", "dev1"]) == GSI


def test_line_that_only_firmware_routed_is_not_the_devices() -> None:
    """A line to which only the firmware routed the pin is not the device's line."""
    story = Story()
    for device in ("dev0", "dev1"):
        story.stimulus(device).deliver().mask(device).eoi()
    assert line_of(routed_twice(story, 11).log(), ["dev0", "dev1"]) == GSI


def test_devices_on_different_lines_are_refused() -> None:
    story = Story().claimed_interrupt("dev0")
    story.gsi = 21
    story.claimed_interrupt("dev1")
    with pytest.raises(BrokenRuleError, match=r"do not share one line: dev0 moved \[20\], dev1 moved \[21\]"):
        line_of(story.log(), ["dev0", "dev1"])


# Dropped entries


def test_dropped_entries_are_found() -> None:
    dropped_entries(run().log()).require()
    assert "42 entries did not fit" in only(dropped_entries(run().log(dropped=42)))


@pytest.mark.parametrize(
    "judge",
    [
        lambda log: masked_before_eoi(log, "dev0", GSI),
        lambda log: silent_before_eoi(log, "dev0", GSI),
        lambda log: line_low_at_end(log, GSI),
        lambda log: no_line_high_longer_than(log, 1_000_000, GSI),
        lambda log: line_never_masked(log, GSI),
        lambda log: neighbour_lost(log, [], clock(run()), "nic", GSI),
        lambda log: false_claims(log, [], clock(run()), "dev0", GSI),
        lambda log: line_of(log, ["dev0"]),
        lambda log: assertions(log, "dev0"),
        lambda log: handlings(log, GSI),
    ],
)
def test_no_judge_takes_a_log_with_dropped_entries(judge: Callable[[Log], object]) -> None:
    judge(run().log())
    with pytest.raises(CannotJudge, match=r"42 entries did not fit into the event log, which holds .* Enlarge the log"):
        judge(run().log(dropped=42))


def test_cut_of_a_log_with_dropped_entries_is_not_judged() -> None:
    """A part of a log with dropped entries is not judged either."""
    log = run().log(dropped=42)
    for part in (log.since(10), log.epochs()[0]):
        with pytest.raises(CannotJudge):
            line_low_at_end(part, GSI)


# The choice of the line and of its controller


def routed_twice(story: Story, gsi: int) -> Story:
    """Return the story with all changes of the line also on the input ``gsi``, to which firmware routes it too."""
    entries = []
    for entry in story.entries:
        entries.append(entry)
        if entry.kind is Kind.LINE:
            entries.append(entry._replace(offset=gsi))
    story.entries = entries
    return story


def test_line_of_an_unfollowed_controller_is_not_judged() -> None:
    log = run().levels_only()
    for judge in (line_never_masked, lambda log, gsi: masked_before_eoi(log, "dev0", gsi)):
        with pytest.raises(CannotJudge, match=r"line 20 moved\. The log has no masks and no deliveries: .* KVM"):
            judge(log, GSI)
    line_low_at_end(log, GSI).require()


def test_level_alone_proves_only_that_a_line_was_not_forgotten() -> None:
    """From levels alone, a judge can conclude that a line was not forgotten, but never that it was."""
    verdict = no_line_high_longer_than(run().levels_only(), 1_000_000, GSI).require()
    assert "by its level alone" in verdict.note
    with pytest.raises(CannotJudge, match="too long to be judged by its level alone"):
        no_line_high_longer_than(run().levels_only(), 1000, GSI)
    with pytest.raises(CannotJudge, match="is high to the end of the log"):
        no_line_high_longer_than(run().stimulus("dev0").levels_only(), 1_000_000, GSI)


def test_no_line_is_chosen_from_two_unused_inputs() -> None:
    """If the device moved two inputs and the guest uses neither of them, the judge chooses no line."""
    with pytest.raises(CannotJudge, match=r"cannot tell which line is in use: dev0 moved \[10, 20\]\. "):
        line_of(routed_twice(run(), 10).levels_only(), ["dev0"])
    assert line_of(routed_twice(run(), 10).log(), ["dev0"]) == GSI


def test_the_line_in_use_is_the_one_that_is_delivered() -> None:
    assert lines_in_use(routed_twice(run(), 10).log()) == [GSI]
    low = Story(gsi=10).claimed_interrupt("dev0")
    assert lines_in_use(routed_twice(low, GSI).log()) == [10]
    require_followed(low.log(), 10)
    with pytest.raises(CannotJudge, match="line 20 moved, but the guest uses 10 instead"):
        require_followed(low.log(), GSI)


def test_the_line_in_use_is_the_one_that_was_unmasked_last() -> None:
    """Firmware unmasks a pin's other line before the kernel takes over; nothing has been delivered."""
    story = Story().add(Kind.LINE_MASK, I8259, offset=11).add(Kind.LINE_MASK, I8259, offset=11, value=1)
    story.add(Kind.LINE_MASK, offset=GSI, value=1).add(Kind.LINE_MASK, offset=GSI)
    routed_twice(story.stimulus("dev0"), 11)
    assert lines_in_use(story.log()) == [GSI]
    story.add(Kind.LINE_MASK, offset=GSI, value=1)
    assert lines_in_use(story.log()) == [GSI]
    story.add(Kind.LINE_MASK, I8259, offset=11)
    assert lines_in_use(story.log()) == [11]
    assert line_of(story.log(), ["dev0"]) == 11


def test_a_pin_that_is_connected_elsewhere_moves_another_line() -> None:
    """After a change of the property `intx-pin`, the lines of the old pin are still followed, and used."""
    story = Story().claimed_interrupt("dev0")
    story.add(Kind.SETTING, "dev0", offset=SETTINGS.index("intx-pin"), value=1)
    story.gsi = 21
    story.add(Kind.LINE_MASK, offset=GSI, value=1).add(Kind.LINE_MASK, offset=21).claimed_interrupt("dev0")
    assert lines_in_use(story.log()) == [GSI, 21]
    assert lines_moved(story.log(), "dev0") == {GSI, 21}
    require_followed(story.log(), GSI)
    assert line_of(story.log(), ["dev0"]) == 21


def test_two_lines_in_use_by_one_pin_are_refused() -> None:
    story = Story().add(Kind.LINE_MASK, I8259, offset=11)
    routed_twice(story.stimulus("dev0"), 11)
    with pytest.raises(BrokenRuleError, match=r"do not share one line: dev0 moved \[11, 20\]"):
        line_of(story.log(), ["dev0"])


def test_an_input_that_moves_by_itself_is_no_line_of_a_pin() -> None:
    """A timer's tick between the change of a pin and the handler's first access must not be attributed to the pin."""
    story = Story(gsi=10)
    for level in (1, 0):
        story.add(Kind.LINE_MASK, offset=2).add(Kind.LINE, offset=2, value=level)
    story.stimulus("dev0").deliver().add(Kind.LINE, offset=2, value=1).add(Kind.DELIVER, offset=2)
    story.read("dev0").mask("dev0").eoi()
    assert line_of(story.log(), ["dev0"]) == 10
    assert lines_in_use(story.log()) == [10]


def test_an_edge_triggered_input_that_no_pin_moves_is_not_judged() -> None:
    timer = Story().add(Kind.LINE, offset=2, value=1).add(Kind.LINE, offset=2, value=0)
    assert lines_in_use(timer.log()) == []
    require_followed(timer.log(), GSI)


def test_a_line_that_was_high_when_the_log_began_is_judged() -> None:
    """Such a line is known by its trigger mode, or because a pin moved it before; its pin need not move again."""
    assert lines_in_use(Story().add(Kind.TRIGGER, offset=9, value=1).add(Kind.LINE, offset=9, value=1).log()) == [9]
    before = Story().add(Kind.PIN, "dev1", value=1).add(Kind.PIN, "dev0", value=1)
    log = before.add(Kind.LINE, offset=11, value=1, width=2).log()
    assert lines_in_use(log) == [11]
    assert lines_moved(log, "dev0") == set()


def test_a_pin_that_moves_no_line_is_not_passed() -> None:
    """The machine has an interrupt controller that the log does not know."""
    story = Story()
    story.line = True  # so that no line is logged
    with pytest.raises(CannotJudge, match="a pin moved, and no line of an interrupt controller did"):
        lines_in_use(story.stimulus("dev0").log())
    assert lines_in_use(Story().log()) == []


# Two controllers that have the same line


def both(story: Story) -> Story:
    """Return the story of a line that is also an input of the other controller, which masks it."""
    other = I8259 if story.controller == IOAPIC else IOAPIC
    entries = []
    for entry in story.entries:
        if entry.kind is Kind.LINE:
            entries.append(entry._replace(device=other))
        entries.append(entry)
    story.entries = entries
    return story


@pytest.mark.parametrize("controller", [IOAPIC, I8259])
def test_a_line_of_two_controllers_is_delivered_by_the_one_that_unmasks_it(controller: str) -> None:
    story = Story(gsi=11, controller=controller)
    for device in ("dev0", "dev1", "dev0"):
        story.claimed_interrupt(device)
    log = both(story).log()
    assert line_of(log, ["dev0", "dev1"]) == 11
    assert lines_in_use(log) == [11]
    assert {handling.deliver.device for handling in handlings(log, 11)} == {controller}
    assert len(high(log, Kind.LINE, gsi=11)) == 3
    assert masked_before_eoi(log, "dev0", 11).require().checked == 2
    assert no_line_high_longer_than(log, 1_000_000, 11).require().checked == 3
    line_never_masked(log, 11).require(at_least=3)
    line_low_at_end(log, 11).require()


def test_a_line_is_masked_if_all_its_controllers_mask_it() -> None:
    story = Story(gsi=11, controller=I8259).add(Kind.LINE_MASK, IOAPIC, offset=11)
    assert [it.start for it in high(story.log(), Kind.LINE_MASK, gsi=11)] == [None]
    story.add(Kind.LINE_MASK, I8259, offset=11, value=1)
    mark = len(story.entries)
    assert len(high(story.log(), Kind.LINE_MASK, gsi=11)) == 1
    story.add(Kind.LINE_MASK, IOAPIC, offset=11, value=1)
    (late,) = (it for it in high(story.log(), Kind.LINE_MASK, gsi=11) if it.start)
    assert late.start is story.entries[-1]
    cut = story.add(Kind.LINE_MASK, I8259, offset=11).log().since(mark)
    assert [(it.start, it.end) for it in high(cut, Kind.LINE_MASK, gsi=11)] == [(story.entries[-2], story.entries[-1])]


def test_an_eoi_at_another_controller_ends_nothing() -> None:
    story = Story(gsi=11).stimulus("dev0").deliver().add(Kind.EOI, I8259, offset=11)
    (open_,) = handlings(story.log(), 11)
    assert open_.eoi is None
    (ended,) = handlings(story.eoi().log(), 11)
    assert ended.eoi is story.entries[-1]


def masked_in_its_flow(story: Story, late: bool = False) -> Story:
    """Add an interrupt as Linux handles it at the 8259: it masks the line, ends the interrupt, and calls handlers."""
    story.stimulus("dev0").deliver().add(Kind.LINE_MASK, offset=story.gsi, value=1, ring=0).eoi().read("dev0")
    if not late:
        story.mask("dev0")
    story.add(Kind.LINE_MASK, offset=story.gsi, value=0, ring=0)
    return story.mask("dev0").acknowledge("dev0").mask("dev0", False)


def test_a_mask_after_the_line_is_unmasked_is_found_at_the_8259() -> None:
    story = Story(gsi=11, controller=I8259)
    masked_before_eoi(masked_in_its_flow(masked_in_its_flow(story)).log(), "dev0", 11).require(at_least=2)
    text = only(masked_before_eoi(masked_in_its_flow(story, late=True).log(), "dev0", 11))
    assert "dev0 was claimed and never masked" in text
    assert "line 11 is unmasked for everyone at i8259" in text


def test_masks_of_every_interrupt_are_not_judged_as_other_masks() -> None:
    story = masked_in_its_flow(masked_in_its_flow(Story(gsi=11, controller=I8259)))
    with pytest.raises(CannotJudge, match="line 11 is masked at the end of each of its 2 interrupts"):
        line_never_masked(story.log(), 11)
    assert line_never_masked(masked_in_its_flow(run()).log(), GSI).findings


def test_masks_while_threads_handle_an_interrupt_are_judged_by_their_length() -> None:
    story = masked_in_its_flow(masked_in_its_flow(Story(gsi=11, controller=I8259)))
    log = story.log()
    longest = max(it.end.time_ns - it.start.time_ns for it in high(log, Kind.LINE_MASK, gsi=11) if it.start and it.end)
    line_never_masked(log, 11, longest).require(at_least=2)
    assert len(line_never_masked(log, 11, longest - 1).findings) == 2
    for_good = story.add(Kind.LINE_MASK, offset=11, value=1, ring=0).wait(longest).add(Kind.MARK, "dev0", ring=0).log()
    assert "was masked for everyone, for" in only(line_never_masked(for_good, 11, longest))


def test_a_mask_at_the_logs_end_lasts_until_the_log_was_read() -> None:
    """An idle guest logs nothing: the last entry does not show for how long its line was masked."""
    log = run().add(Kind.LINE_MASK, offset=GSI, value=1, ring=0).log()
    masked_ns = log.entries[-1].time_ns
    assert line_never_masked(log, GSI, 50_000_000, masked_ns + 50_000_000).ok
    assert "for 60 ms" in only(line_never_masked(log, GSI, 50_000_000, masked_ns + 60_000_000))


# Masking


def test_a_claim_that_masks_before_eoi_passes() -> None:
    assert masked_before_eoi(run().log(), "dev0", GSI).require().checked == 3
    assert masked_before_eoi(run().log(), "dev1", GSI).require().checked == 1
    assert silent_before_eoi(run().log(), "dev0", GSI).require().checked == 3


def test_a_mask_after_eoi_is_found() -> None:
    story = run().stimulus("dev0").deliver().read("dev0").eoi().mask("dev0").acknowledge("dev0")
    text = only(masked_before_eoi(story.log(), "dev0", GSI))
    assert "line 20 was ended while dev0 was claimed and never masked" in text
    assert "reads dev0 INT_ACTIVE" in text
    assert "ends line 20" in text
    assert masked_before_eoi(story.log(), "dev1", GSI).ok


def test_owner_unmasking_on_another_vcpu_before_eoi_is_fine() -> None:
    """An owner may unmask on another vCPU before the EOI."""
    story = Story().stimulus("dev0").deliver().read("dev0").mask("dev0").acknowledge("dev0").mask("dev0", False).eoi()
    assert masked_before_eoi(story.log(), "dev0", GSI).require().checked == 1


def test_a_device_that_nobody_asked_is_found() -> None:
    story = Story().stimulus("dev0").deliver().read("dev1").eoi()
    assert "dev0 was claimed and never masked" in only(masked_before_eoi(story.log(), "dev0", GSI))


def test_an_acknowledged_claim_is_silent_but_not_masked() -> None:
    story = Story().stimulus("dev0").deliver().read("dev0").acknowledge("dev0", ring=0).eoi()
    silent_before_eoi(story.log(), "dev0", GSI).require()
    only(masked_before_eoi(story.log(), "dev0", GSI))


def test_a_claim_that_leaves_the_pin_high_is_not_silent() -> None:
    story = Story().stimulus("dev0").deliver().read("dev0").add(Kind.MASK, "dev0", value=1, ring=0).eoi()
    masked_before_eoi(story.log(), "dev0", GSI).require()
    assert "dev0 was claimed and still asserted" in only(silent_before_eoi(story.log(), "dev0", GSI))


def test_device_asserting_after_its_handler_may_outlast_the_eoi() -> None:
    """A device that asserts after its handler ran may stay high across the EOI."""
    story = Story().stimulus("nic").deliver().read("dev0").stimulus("dev0")
    story.pending["nic"] = 0
    story._settle(0).eoi().deliver().read("dev0").mask("dev0").eoi()
    for judge in (masked_before_eoi, silent_before_eoi):
        assert judge(story.log(), "dev0", GSI).require().checked == 1


def test_device_silenced_before_its_handler_runs_needs_no_mask() -> None:
    """If the owner silences a device before the handler runs, the handler need not mask it."""
    story = Story().stimulus("dev0").deliver().acknowledge("dev0").read("dev0").eoi()
    assert masked_before_eoi(story.log(), "dev0", GSI).checked == 0


def test_an_unmask_on_another_vcpu_during_a_handling_is_no_claim() -> None:
    story = Story().claimed_interrupt("dev0").mask("dev0").stimulus("dev0").stimulus("nic").deliver().read("dev0")
    story.masked["dev0"] = False
    story.add(Kind.MASK, "dev0", ring=0, vcpu=1)._settle(0)
    story.add(Kind.READ, "dev0", offset=INT_ACTIVE, value=1, ring=0, width=4, vcpu=1)
    story.pending["nic"] = 0
    story._settle(0).eoi()
    assert masked_before_eoi(story.log(), "dev0", GSI).require().checked == 1


def test_a_threaded_handler_masks_before_the_line_is_unmasked() -> None:
    def story(late: bool) -> Story:
        story = Story().stimulus("dev0").deliver().add(Kind.LINE_MASK, offset=GSI, value=1, ring=0).eoi().read("dev0")
        if not late:
            story.mask("dev0")
        return story.add(Kind.LINE_MASK, offset=GSI, value=0, ring=0).mask("dev0")

    masked_before_eoi(story(late=False).log(), "dev0", GSI).require()
    assert "line 20 is unmasked for everyone" in only(masked_before_eoi(story(late=True).log(), "dev0", GSI))


# The line


def test_a_line_that_stays_high_is_found_at_the_end() -> None:
    line_low_at_end(run().log(), GSI).require()
    assert "line 20 is high at the end" in only(line_low_at_end(run().stimulus("dev0").log(), GSI))
    assert line_low_at_end(run().log(), 21).checked == 0


def test_a_line_that_is_high_and_forgotten_is_found() -> None:
    story = run()
    assert no_line_high_longer_than(story.log(), 10_000, GSI).require().checked == 6
    story.stimulus("dev0").wait(50_000).deliver().read("dev0").mask("dev0").eoi()
    text = only(no_line_high_longer_than(story.log(), 10_000, GSI))
    assert "high without a delivery or EOI for 50.1 µs, allowed are 10 µs" in text
    assert "is delivered" in text


def test_a_storm_that_is_still_delivered_is_not_forgotten() -> None:
    story = Story().stimulus("dev0")
    for _ in range(100):
        story.deliver().eoi()
    no_line_high_longer_than(story.log(), 1000, GSI).require()
    disabled = story.log()
    only(no_line_high_longer_than(disabled, 1000, GSI, until_ns=story.now + 2000))


def test_masking_the_line_for_everyone_is_found() -> None:
    line_never_masked(run().log(), GSI).require()
    story = run().add(Kind.LINE_MASK, offset=GSI, value=1, ring=0)
    assert "line 20 was masked for everyone" in only(line_never_masked(story.log(), GSI))


# Handler calls


def test_a_served_neighbour_and_honest_claims_pass() -> None:
    story = run()
    log, calls, fit = story.log(), handled_calls(story), clock(story)
    lost = neighbour_lost(log, calls, fit, "nic", GSI, NIC).require()
    assert (lost.checked, lost.note.split(";")[0]) == (2, "2 calls handled, 4 unhandled")
    assert false_claims(log, calls, fit, "dev0", GSI, SHIRQ).require().checked == 3


def test_neighbours_interrupt_that_its_handler_refused_is_found() -> None:
    """The judge finds a neighbour's interrupt that the neighbour's own handler did not handle."""
    story = run()
    calls = handled_calls(story)
    assert calls[-1].name == NIC
    calls[-1] = calls[-1]._replace(handled=False)
    text = only(neighbour_lost(story.log(), calls, clock(story), "nic", GSI, NIC))
    assert "nic stopped asserting, but not during a call of its handler that returned handled" in text
    assert f"{NIC} (irq 20) returned unhandled" in text


def test_neighbours_interrupt_served_by_another_is_found() -> None:
    """The judge finds a neighbour's interrupt that another handler served."""
    story = run()
    calls = [c._replace(name="other") if c.name == NIC and c.handled else c for c in handled_calls(story)]
    assert len(neighbour_lost(story.log(), calls, clock(story), "nic", GSI, NIC).findings) == 2
    assert neighbour_lost(story.log(), calls, clock(story), "nic", GSI + 1).findings


def test_a_neighbour_that_still_asserts_at_the_end_is_found() -> None:
    story = run()
    calls = handled_calls(story)
    story.stimulus("nic")
    text = only(neighbour_lost(story.log(), calls, clock(story), "nic", GSI, NIC))
    assert "nic is still asserting when the log ends" in text


def test_what_happened_outside_of_the_clock_marks_is_not_judged() -> None:
    story = run()
    fit = clock(story)
    story.wait(10_000_000).stimulus("nic").wait(1000)
    story.pending["nic"] = 0
    assert neighbour_lost(story._settle(0).log(), handled_calls(run()), fit, "nic", GSI, NIC).require().checked == 2


def test_an_assertion_over_the_last_clock_mark_is_not_judged() -> None:
    story = run().stimulus("nic")
    calls, fit = handled_calls(run()), clock(story)
    story.wait(10_000_000)
    story.pending["nic"] = 0
    assert neighbour_lost(story._settle(0).log(), calls, fit, "nic", GSI, NIC).require().checked == 2


def test_a_call_is_widened_by_the_clocks_error_and_no_more() -> None:
    story = Story(now=6_000_000_000).neighbours_interrupt().wait(1_000_000).stimulus("dev0").mask("dev0")
    (it,) = assertions(story.log(), "nic")
    assert it.end
    fell = it.end.time_ns

    def verdict(ended_before: float, error_ns: int) -> Verdict:
        calls = [call(fell - 50_000, fell - ended_before, NIC, True)]
        return neighbour_lost(story.log(), calls, clock(story, error_ns), "nic", GSI, NIC)

    assert verdict(2000, error_ns=4000).ok
    assert not verdict(10_000, error_ns=4000).ok
    assert not verdict(4000, error_ns=1000).ok


def test_a_claim_while_the_pin_is_low_is_found() -> None:
    story = run()
    log, fit = story.log(), clock(story)
    calls = handled_calls(story)
    stolen = [c._replace(handled=True) if c.name == SHIRQ and c.entry_s > calls[-4].entry_s else c for c in calls]
    text = only(false_claims(log, stolen, fit, "dev0", GSI, SHIRQ))
    assert "dev0 was claimed while its pin was low" in text
    assert f"{SHIRQ} (irq 20) returned handled" in text


def test_a_claim_before_the_first_assertion_is_found() -> None:
    story = run()
    begin = story.entries[0].time_ns - 100_000
    only(false_claims(story.log(), [call(begin, begin + 1000, SHIRQ, True)], clock(story), "dev0", GSI))


def test_a_cut_is_judged_with_what_came_before() -> None:
    story = Story().stimulus("dev0").deliver()
    mark = story.log().mark
    story.wait(5000).read("dev0").mask("dev0").eoi()
    text = only(no_line_high_longer_than(story.log().since(mark), 1000, GSI))
    assert "line 20 goes low" in text
    no_line_high_longer_than(story.log().since(mark), 10_000, GSI).require()
