# SPDX-License-Identifier: MIT
"""The self-test of a card tells apart every place where an interrupt can be lost; its device is a stand-in here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pci_tree import EDU, LOST, NIC, PINLESS, Tree
from shirq import ctl, profile, selftest
from shirq.abi import EventType, Feature, InfoFlag, Quarantine, State
from shirq.profile import Profile, ProfileError
from shirq.program import Program
from shirq.records import Event, Info


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


@pytest.fixture
def card() -> Profile:
    return profile.load(profile.folder() / "shirq-edu.toml")


NO_FLAG = InfoFlag(0)


def irq(seq: int = 1) -> Event:
    return Event(EventType.IRQ, 0, 0, seq, 1000, 0, (1, 0, 0, 0))


def notice(kind: EventType) -> Event:
    return Event(kind, 0, 0, 0, 1000, 0, (0,) * 4)


def quarantined(reason: Quarantine, r0: int = 0) -> Event:
    return Event(EventType.QUARANTINED, 0, int(reason), 0, 1000, 0, (r0, 0, 0, 0))


@dataclass
class Stand:
    """A device whose events are given: None is a read that times out. `fired` is called by the program that fires."""

    events: list[Event | None]
    fired: Callable[[], object] = lambda: None
    flags: InfoFlag = NO_FLAG
    done: list[str] = field(default_factory=list)

    @property
    def info(self) -> Info:
        return Info(Feature(0), 0, 0, 0, 0, 0, 0, 256, 1, 20, State.ARMED, self.flags, 256, (), 0, 0)

    def load_profile(self, card: Profile) -> None:
        self.done.append("load")

    def arm(self, *, shared: bool = True, auto_unmask: bool = True) -> None:
        assert shared and not auto_unmask
        self.done.append("arm")

    def exec(self, program: Program, regs: Sequence[int] = ()) -> tuple[int, ...]:
        self.done.append("serve" if regs else "fire")
        if not regs:
            self.fired()
        return ()

    def unmask(self, seq: int) -> None:
        self.done.append(f"unmask {seq}")

    def read(self, timeout: float | None = None) -> Event:
        assert timeout
        event = self.events.pop(0)
        if event is None:
            raise TimeoutError
        return event

    def close(self) -> None:
        self.done.append("close")


def test_a_working_card_is_served_unmasked_and_closed(tree: Tree, card: Profile) -> None:
    device = Stand([irq(), None], lambda: tree.interrupts(101, unhandled=0))
    report = selftest.run(tree.system, EDU, card, open_device=lambda address: device)
    assert report.works and "line 20 interrupts, and the program claims" in report.verdict
    assert "line 20 counted 1 interrupts, 0 unhandled" in report.seen
    assert device.done == ["load", "arm", "fire", "serve", "unmask 1", "close"]


def _pending(tree: Tree, disintx: bool = False) -> None:
    tree.config(EDU, command=0x400 if disintx else 0, status=0x18)


def _own_line(tree: Tree) -> None:
    _pending(tree)
    tree.interrupts(5000, unhandled=4900)


def _other_line(tree: Tree) -> None:
    _pending(tree)
    (tree.root / "proc/irq/27").mkdir(parents=True)
    (tree.root / "proc/irq/27/spurious").write_text("count 5\nunhandled 700\nlast_unhandled 0 ms\n")


@pytest.mark.parametrize(
    ("events", "fired", "verdict"),
    [
        ([None, None], lambda tree: None, "the card says that none is pending: fire has no effect"),
        ([None], _pending, "line 20 is silent, and no other line counts"),
        ([None], lambda tree: _pending(tree, disintx=True), "its interrupt-disable bit is set"),
        ([None], _own_line, "the irq program declines: it does not look at this source"),
        ([None], _other_line, "line 20 is silent while line 27 counts unhandled interrupts: its pin leads there"),
        ([quarantined(Quarantine.OTHER_LINE, 27)], _pending, "asserts line 27, but the platform says line 20"),
        ([quarantined(Quarantine.DECLINED)], _pending, "the irq program declines"),
        ([quarantined(Quarantine.MASKED)], _pending, "the mask has no effect"),
        ([quarantined(Quarantine.RATE)], _pending, "the acknowledgement in the irq program has no effect"),
        ([irq(), irq(2)], lambda tree: None, "serve does not end the cause"),
        ([notice(EventType.RESET)], lambda tree: None, "another event came instead: RESET"),
        ([notice(EventType.LINE_OFF)], lambda tree: None, "has given line 20 up"),
        ([irq(), notice(EventType.LINE_OFF)], lambda tree: None, "has given line 20 up"),
        ([irq(), quarantined(Quarantine.DECLINED)], lambda tree: None, "the irq program declines"),
        ([irq(), notice(EventType.RESET)], lambda tree: None, "another event came instead: RESET"),
    ],
    ids=[
        *("pin never rises", "no line", "DisINTx left set", "program declines", "other line", "other line, told"),
        *("declines, told", "mask without effect", "acknowledgement without effect", "not served", "reset"),
        *("line off", "line off after service", "declines after service", "reset after service"),
    ],
)
def test_each_way_to_lose_an_interrupt_has_its_verdict(
    tree: Tree, card: Profile, events: list[Event | None], fired: Callable[[Tree], object], verdict: str
) -> None:
    device = Stand(list(events), lambda: fired(tree))
    report = selftest.run(tree.system, EDU, card, open_device=lambda address: device)
    assert not report.works and verdict in report.verdict, report.text()
    assert device.done[-1] == "close" and not device.events
    assert report.text().splitlines()[-1].startswith("FAILS: ")


def test_a_line_that_the_kernel_only_polls_does_not_work(tree: Tree, card: Profile) -> None:
    tree.line("off 1.5")
    device = Stand([irq(), None], flags=InfoFlag.LINE_OFF)
    report = selftest.run(tree.system, EDU, card, open_device=lambda address: device)
    assert not report.works and "has given line 20 up" in report.verdict
    assert any("disabled before the test" in each for each in report.seen)


def test_a_line_that_works_again_while_the_card_is_served_is_no_failure(tree: Tree, card: Profile) -> None:
    device = Stand([irq(), notice(EventType.LINE_ON)], lambda: tree.interrupts(101, unhandled=0))
    assert selftest.run(tree.system, EDU, card, open_device=lambda address: device).works


@pytest.mark.parametrize(
    ("address", "verdict"),
    [(PINLESS, "no interrupt pin"), (LOST, "the pin leads to no line: no driver has enabled it")],
)
def test_function_without_a_pin_or_a_route_is_not_opened(tree: Tree, card: Profile, address: str, verdict: str) -> None:
    def refuse(address: str) -> Stand:
        raise AssertionError(f"{address} was opened")

    report = selftest.run(tree.system, address, card, open_device=refuse)
    assert not report.works and verdict in report.verdict


def test_the_command_prints_one_screen_and_has_a_status(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    device = Stand([irq(), None])
    monkeypatch.setattr(selftest.run, "__defaults__", (2.0, lambda address: device))
    assert ctl.main(["selftest", EDU], tree.system) == ctl.DONE
    out = capsys.readouterr().out.splitlines()
    assert out[0] == f"{EDU}: shirq-edu" and out[-1].startswith("works: ") and len(out) < 12
    device.events = [None, None]
    assert ctl.main(["selftest", EDU], tree.system) == ctl.FAILED
    assert capsys.readouterr().out.splitlines()[-1].startswith("FAILS: no interrupt came within 2 s")


def test_profile_without_a_selftest_is_refused_in_words(tree: Tree, capsys: pytest.CaptureFixture[str]) -> None:
    assert ctl.main(["selftest", NIC, "--profile", "ahci"], tree.system) == ctl.USAGE
    assert "ahci has no [selftest]: its profile needs the programs fire and serve" in capsys.readouterr().err


def test_selftest_of_a_profile_is_verified_as_it_is_read(card: Profile) -> None:
    text = Path(card.path).read_text()
    with pytest.raises(ProfileError, match="fire program, operation 1: the access ends past the end of the space"):
        profile.parse(text.replace('at = "bar0+0x60"', 'at = "bar0+0x1000"'), card.path)
    with pytest.raises(ProfileError, match=r"\[selftest\] lacks 'serve'"):
        profile.parse(text.replace('serve = "write INT_ACK, r0"', ""), card.path)
    with pytest.raises(ProfileError, match=r"\[selftest\] has no key 'colour'"):
        profile.parse(text + "colour = 1\n", card.path)
