# SPDX-License-Identifier: MIT
"""A run is explained by another one: where they part, what each did, and what followed from it."""

from __future__ import annotations

import pytest

from logwriter import GSI, VECTOR, Story
from shirq_bench.channels.log import I8259, IOAPIC, Kind
from shirq_bench.report import difference
from shirq_bench.report.difference import Difference, Run


def _story(controller: str = IOAPIC, line: int = GSI) -> Story:
    return Story(("dev0", "nic"), now=10_000_000, gsi=line, controller=controller)


def _explain(one: Story, other: Story, *broken: str) -> Difference:
    runs = [Run(name, told.log()) for name, told in (("this run", one), ("the reference", other))]
    return difference.explain(Run("this run", runs[0].log, "mine", broken), runs[1], GSI)


def _well(begun: Story | None = None) -> Story:
    return (begun or _story()).claimed_interrupt().wait(5000).claimed_interrupt()


def _masks_late(begun: Story | None = None) -> Story:
    """Return a run whose second interrupt is ended before the device is masked."""
    told = (begun or _story()).claimed_interrupt().wait(5000)
    told.stimulus("dev0").deliver().wait(1500).read("dev0").eoi()
    told.deliver().wait(300).mask("dev0").eoi()
    return told.read("dev0", 0x20, ring=3).acknowledge("dev0").mask("dev0", False)


def test_run_that_masks_after_its_eoi_is_delivered_again() -> None:
    found = _explain(_masks_late(), _well(), "every claim is masked before its EOI: broken\nwith details")
    first, instead, again, *rest = found.words
    assert first.startswith(
        f"Both runs have the same {found.common} events until kernel (vCPU 0): reads dev0 INT_ACTIVE"
    )
    assert "the reference, 100 ns later: kernel (vCPU 0): writes dev0 INT_MASK_SET" in instead
    assert "(this run does this only after kernel (vCPU 0): ends line 20 at ioapic (EOI of vector 0x22))" in instead
    assert "this run, 500 ns later: kernel (vCPU 0): ends line 20" in instead
    assert again == (
        "this run ends the interrupt 500 ns after the parting while line 20 is still high: dev0 asserts. So it is"
        " delivered again, 100 ns after this."
    )
    assert rest == ["So this run breaks the rule: every claim is masked before its EOI: broken"]


def test_storm_says_how_often_and_that_the_line_is_masked() -> None:
    told = _story().stimulus("dev0")
    for _ in range(5):
        told.deliver().wait(1500).eoi()
    told.add(Kind.LINE_MASK, offset=GSI, value=1, ring=0)
    words = _explain(told, _well()).words
    assert any(text.endswith("delivered again, 100 ns after this, 4 times until the run ends.") for text in words)
    assert any(text.startswith("this run masks line 20 for everyone, ") for text in words)
    assert "At the end of this run alone, dev0 asserts and line 20 is high and line 20 is masked for everyone." in words


def test_runs_with_the_same_events_do_not_part() -> None:
    """Neither times nor the processors count."""
    slow = _story().wait(777).claimed_interrupt().wait(50_000).claimed_interrupt()
    slow.entries[:] = [entry._replace(vcpu=1) if entry.vcpu == 0 else entry for entry in slow.entries]
    found = _explain(slow, _well())
    assert not found.parts
    assert found.words == (f"The runs have the same {found.common} events on this line, in the same order.",)
    assert difference.text(found) == f"this run: mine\n{found.words[0]}\n"


def test_what_the_neighbour_does_alone_is_left_out() -> None:
    with_neighbour = _story().neighbours_interrupt().wait(3000).claimed_interrupt().wait(100).neighbours_interrupt()
    with_neighbour.wait(5000).claimed_interrupt()
    # QEMU logs nothing of a stock card but its pin.
    with_neighbour.entries[:] = [e for e in with_neighbour.entries if (e.device, e.kind) != ("nic", Kind.RAISE)]
    assert not _explain(with_neighbour, _well()).parts


def test_polling_counts_once() -> None:
    polled = _story()
    polled.read("dev0", ring=3).read("dev0", ring=3).read("dev0", ring=3).claimed_interrupt()
    once = _story().read("dev0", ring=3).claimed_interrupt()
    assert not _explain(polled, once).parts


def test_interrupt_that_nobody_handles_is_told_at_the_end() -> None:
    lost = _story().claimed_interrupt().wait(5000)
    lost.stimulus("dev0").deliver().wait(1500).read("dev0").mask("dev0").eoi()
    found = _explain(lost, _well())
    assert "this run has no further event" in found.words[1]
    assert "this run never does this after that" in found.words[1]
    assert "At the end of this run alone, dev0 is masked." in found.words


def test_other_line_of_the_guest_is_not_compared() -> None:
    busy = _well()
    busy.add(Kind.LINE, offset=9, value=1).add(Kind.DELIVER, offset=9, value=VECTOR).add(Kind.LINE, offset=9, value=0)
    assert not _explain(busy, _well()).parts


def test_text_and_page_show_both_runs_from_the_last_common_event() -> None:
    found = _explain(_masks_late(), _well())
    text = difference.text(found)
    assert text.index("the last common events:") < text.index("\nthis run:\n") < text.index("\nthe reference:\n")
    assert "     +0.000 µs  kernel (vCPU 0)       reads dev0 INT_ACTIVE = 0x1" in text
    page = difference.page(found)
    assert page.count("<iframe") == 2
    assert "<h2>this run</h2>" in page and "<h2>the reference</h2>" in page
    assert "So it is delivered again" in page.replace("&#39;", "'")


def test_names_are_escaped_in_the_page() -> None:
    odd = "<script>alert(1)</script>"
    found = difference.explain(Run(odd, _masks_late().log()), Run("b", _well().log()), GSI)
    assert odd not in difference.page(found)


@pytest.mark.parametrize("empty", [0, 1])
def test_run_without_an_event_is_told(empty: int) -> None:
    runs = [_well(), _well()]
    runs[empty] = _story()
    found = _explain(runs[0], runs[1])
    assert found.words[0] == "The runs differ from their first event on."
    assert f"{('this run', 'the reference')[empty]} has no further event" in found.words[1]
    assert difference.page(found).count("<iframe") == 1


def test_runs_at_another_controller_are_explained_alike() -> None:
    """An explanation of a line of the 8259 has the words of one of the I/O APIC."""
    line = 11
    ioapic, i8259 = (
        difference.explain(
            Run("this run", _masks_late(_story(controller, line)).log()),
            Run("the reference", _well(_story(controller, line)).log()),
            line,
        ).words
        for controller in (IOAPIC, I8259)
    )
    assert [word.replace(I8259, IOAPIC) for word in i8259] == list(ioapic)
    assert any("delivered again" in word for word in i8259)


@pytest.mark.parametrize("controllers", [[I8259], [I8259, IOAPIC]])
def test_a_line_is_masked_if_every_controller_masks_it(controllers: list[str]) -> None:
    """A kernel masks the input of the controller that it does not use: this is not the end of a line."""

    def story() -> Story:
        return _story(IOAPIC, 11).add(Kind.LINE_MASK, IOAPIC, offset=11, value=0).claimed_interrupt()

    one = story()
    for controller in controllers:
        one.add(Kind.LINE_MASK, controller, offset=11, value=1)
    words = difference.explain(Run("this run", one.log()), Run("the reference", story().log()), 11).words
    assert any("masks line 11 for everyone" in word for word in words) == (len(controllers) == 2)
