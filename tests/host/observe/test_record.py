# SPDX-License-Identifier: MIT
"""A recording waits for events in the log with a timeout in guest time, and judges only its own part of the log."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from logwriter import GSI, Story, pack_entries, pack_header
from shirq_bench.channels.log import IOAPIC, Kind
from shirq_bench.errors import BenchError, CannotJudge, DeadlineExceeded
from shirq_bench.journal import Journal
from shirq_bench.observe import record as recording
from shirq_bench.observe.judge import BrokenRuleError, high
from shirq_bench.observe.record import record
from shirq_bench.observe.triggers import Delivered, Ended, LineFalls, Logged, Masked, PinFalls, PinRises, Unmasked

_CAPACITY = 4096
Write = Callable[[], None]


class Vm:
    """A fake VM for recordings: the log is a file, and the clock advances by ``step_ns`` at each query."""

    name = "trial"
    patience = 1.0
    threads_handlers = False
    busiest = 1.0

    def __init__(self, directory: Path) -> None:
        self.log_path = directory / "events.shirqlog"
        self.story = Story(("dev0", "dev1", "nic0"))
        self.step_ns = 1_000_000
        self.dropped = 0
        self.asks = 0
        self.journal = Journal(self.name)
        #: Called at each query of the VM's time, which a wait makes after some polls.
        self.meanwhile: Callable[[], Any] = lambda: None
        self.write()

    def write(self) -> None:
        head = pack_header(self.story.devices, capacity=_CAPACITY, head=len(self.story.entries), dropped=self.dropped)
        body = pack_entries(self.story.devices, self.story.entries)
        with self.log_path.open("r+b" if self.log_path.exists() else "w+b") as file:
            file.truncate(len(head) + 64 * _CAPACITY)
            file.write(head + body)

    def now_ns(self) -> int:
        self.asks += 1
        self.meanwhile()
        self.write()
        self.story.now += self.step_ns
        return self.story.now

    def situation(self) -> str:
        return "QEMU runs"


@pytest.fixture
def vm(tmp_path: Path) -> Any:
    return Vm(tmp_path)


def test_a_moment_that_is_over_is_found_and_each_but_once(vm: Any) -> None:
    with record(vm, "dev0") as run:
        vm.story.claimed_interrupt("dev0").wait(1000).claimed_interrupt("dev0")
        vm.write()
        rises = [run.wait(PinRises("dev0")) for _ in range(2)]
        assert rises[0].time_ns < rises[1].time_ns
        with pytest.raises(
            DeadlineExceeded, match=r"trial: dev0 asserts its pin: not within 0\.\d+ s of guest time\nQEMU runs"
        ):
            run.wait(PinRises("dev0"), within_s=0.001)


def test_the_first_of_several_ends_a_wait(vm: Any) -> None:
    with record(vm, "dev0") as run:
        vm.story.claimed_interrupt("dev1")
        vm.write()
        found = run.wait(PinRises("dev0"), Masked("dev1"))
        assert (found.kind, found.device) == (Kind.MASK, "dev1")


def test_what_happens_while_it_waits_ends_the_wait(vm: Any) -> None:
    with record(vm, "dev0") as run:
        vm.meanwhile = lambda: vm.asks == 3 and vm.story.claimed_interrupt("dev0")
        assert run.wait(PinFalls("dev0"), within_s=3600).device == "dev0"


def test_time_passes_in_the_guest_and_a_standstill_is_reported(vm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A timeout is in guest time; if the guest's time stands still, the error says so."""
    monkeypatch.setattr(recording, "_STANDSTILL", 0.2)
    with record(vm, "dev0") as run:
        vm.step_ns = 0
        with pytest.raises(DeadlineExceeded, match="and the VM stands still\nQEMU runs"):
            run.wait(PinRises("dev0"), within_s=1e-9)


def test_handlings_of_a_line_that_is_not_followed_are_refused(vm: Any) -> None:
    """Without deliveries in the log, no handling must not mean that the line was never delivered."""

    def write() -> None:
        vm.story.entries = list(vm.story.levels_only().entries)
        vm.write()

    write()
    with record(vm, "dev0") as run:
        vm.story.claimed_interrupt("dev0")
        write()
    with pytest.raises(CannotJudge, match="line 20 moved"):
        run.handlings()


def test_it_judges_its_own_part_of_the_log(vm: Any) -> None:
    """Entries before and after a recording are not part of it."""
    vm.story.claimed_interrupt("dev0")
    vm.write()
    with record(vm, "dev0") as run:
        for _ in range(3):
            vm.story.wait(1000).claimed_interrupt("dev0")
        vm.write()
    vm.story.claimed_interrupt("dev0")
    vm.write()
    assert run.gsi == GSI
    assert len(run.assertions()) == len(run.handlings()) == 3
    assert run.masked_before_eoi(at_least=3).checked == 3
    assert run.line_never_masked(at_least=3).ok and run.line_low_at_end().ok
    with pytest.raises(BrokenRuleError, match="3"):
        run.masked_before_eoi(at_least=4)


def test_it_ends_when_the_line_is_low(vm: Any) -> None:
    with record(vm, "dev0") as run:
        vm.story.stimulus("dev0", 1)
        vm.write()
        vm.meanwhile = lambda: vm.asks == 2 and vm.story.claimed_interrupt("dev0")
    assert run.line_low_at_end().ok


@pytest.mark.parametrize("threads", [False, True])
def test_it_ends_when_threads_have_unmasked_the_line(vm: Any, threads: bool) -> None:
    """The kernel masks the line while threads handle its interrupt, and they end after the line has fallen."""
    vm.threads_handlers = threads
    with record(vm, "dev0") as run:
        vm.story.claimed_interrupt("dev0").add(Kind.LINE_MASK, offset=GSI, value=1, ring=0)
        vm.write()
        vm.meanwhile = lambda: vm.asks == 3 and vm.story.add(Kind.LINE_MASK, offset=GSI, value=0, ring=0)
    assert [bool(mask.end) for mask in high(run.log, Kind.LINE_MASK, gsi=GSI) if mask.start] == [threads]
    assert run.line_never_masked().ok if threads else run.line_low_at_end().ok


def test_a_line_that_threads_leave_masked_is_found(vm: Any) -> None:
    """Nothing is logged after the mask: the recording's own time shows that no thread needs so long."""
    vm.threads_handlers = True
    vm.step_ns = 2_000_000_000
    with record(vm, "dev0") as run:
        vm.story.claimed_interrupt("dev0").add(Kind.LINE_MASK, offset=GSI, value=1, ring=0)
        vm.write()
    with pytest.raises(BrokenRuleError, match="line 20 was masked for everyone, for"):
        run.line_never_masked()


def test_one_whose_line_stays_high_says_so(vm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    vm.step_ns = 2_000_000_000
    with record(vm, "dev0") as run:
        vm.story.stimulus("dev0", 1)
        vm.write()
    with pytest.raises(BrokenRuleError, match="high at the end"):
        run.line_low_at_end()


def test_falls_of_a_neighbour_do_not_prolong_a_recording(vm: Any) -> None:
    """The wait for the line to fall lasts at most 10 s in all: a neighbour's interrupts do not restart it."""

    def neighbour() -> None:
        assert vm.asks < 100, "the wait goes on"
        vm.story.neighbours_interrupt("nic0")

    vm.step_ns = 2_000_000_000
    with record(vm, "dev0") as run:
        vm.story.stimulus("dev0", 1)
        vm.write()
        vm.meanwhile = neighbour
    with pytest.raises(BrokenRuleError, match="high at the end"):
        run.line_low_at_end()


def test_a_settled_recording_ends_at_the_moment_of_a_low_line(vm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a neighbour asserts between the last check of the line and the end, the recording does not contain that."""
    settle = recording.Recording.settle

    def settle_and_go_on(run: recording.Recording) -> Any:
        settled = settle(run)
        vm.story.stimulus("nic0", 1)
        vm.write()
        return settled

    monkeypatch.setattr(recording.Recording, "settle", settle_and_go_on)
    with record(vm, "dev0") as run:
        vm.story.claimed_interrupt("dev0")
        vm.write()
    run.line_low_at_end()


def test_a_full_log_is_not_judged(vm: Any) -> None:
    with pytest.raises(CannotJudge, match="7 entries did not fit"), record(vm, "dev0", settled=False) as run:
        vm.story.claimed_interrupt("dev0")
        vm.dropped = 7
        vm.write()
        run.masked_before_eoi()


def test_an_error_of_the_block_is_not_replaced(vm: Any) -> None:
    """A log that is full as well does not hide it; what is asked of the recording later cannot be judged."""
    with pytest.raises(ZeroDivisionError), record(vm, "dev0") as run:
        vm.story.claimed_interrupt("dev0")
        vm.dropped = 7
        vm.write()
        raise ZeroDivisionError
    with pytest.raises(ValueError, match="closed"):
        run._reader.header()
    with pytest.raises(CannotJudge, match="7 entries did not fit"):
        run.masked_before_eoi()


def test_an_unsettled_recording_of_a_full_log_is_refused(vm: Any) -> None:
    with pytest.raises(CannotJudge, match="7 entries did not fit"), record(vm, "dev0", settled=False) as run:
        vm.dropped = 7
        vm.write()
    with pytest.raises(ValueError, match="closed"):
        run._reader.header()


def test_a_wait_in_a_full_log_ends_at_once(vm: Any) -> None:
    """An event that was dropped can never be found, so the wait ends at once; an event in the log is still found."""
    run = recording.Recording(vm, ("dev0",))
    vm.story.claimed_interrupt("dev0")
    vm.dropped = 7
    vm.write()
    assert run.wait(PinRises("dev0")).device == "dev0"
    vm.step_ns = 50_000_000
    with pytest.raises(CannotJudge, match="7 entries did not fit"):
        run.wait(PinRises("dev0"), within_s=1)


def test_a_recording_without_devices_is_refused(vm: Any) -> None:
    with pytest.raises(BenchError, match="name at least one"), record(vm):
        pass


def test_a_block_that_fails_is_not_waited_for(vm: Any) -> None:
    with pytest.raises(ZeroDivisionError), record(vm, "dev0"):
        vm.story.stimulus("dev0", 1)
        vm.write()
        raise ZeroDivisionError
    assert not vm.asks


@pytest.mark.parametrize(
    ("trigger", "kind", "device", "offset", "value", "words"),
    [
        (PinRises("dev0"), Kind.PIN, "dev0", 0, 1, "dev0 asserts its pin"),
        (PinFalls("dev0"), Kind.PIN, "dev0", 0, 0, "dev0 lowers its pin"),
        (Masked("dev0"), Kind.MASK, "dev0", 0, 1, "dev0 is masked"),
        (Unmasked("dev0"), Kind.MASK, "dev0", 0, 0, "dev0 is unmasked"),
        (LineFalls(GSI), Kind.LINE, IOAPIC, GSI, 0, f"line {GSI} falls"),
        (Delivered(GSI), Kind.DELIVER, IOAPIC, GSI, 0x22, f"line {GSI} is delivered"),
        (Ended(GSI), Kind.EOI, IOAPIC, GSI, 0, f"line {GSI} is ended"),
        (Logged(Kind.RAISE, "dev0", value=4), Kind.RAISE, "dev0", 0, 4, "RAISE device=dev0 value=4"),
    ],
    ids=str,
)
def test_a_trigger_knows_its_moment_and_no_other(
    trigger: Any, kind: Kind, device: str, offset: int, value: int, words: str
) -> None:
    story = Story(("dev0", "dev1"))
    story.add(kind, device, offset=offset, value=value)
    entry = story.entries[-1]
    assert trigger.matches(entry)
    assert str(trigger) == words
    other_kind = Kind.RAISE if kind is not Kind.RAISE else Kind.LOWER
    assert not trigger.matches(entry._replace(kind=other_kind))
    if device == IOAPIC:
        assert not trigger.matches(entry._replace(offset=GSI + 1))
    else:
        assert not trigger.matches(entry._replace(device="dev1"))
    if kind not in (Kind.DELIVER, Kind.EOI):
        assert not trigger.matches(entry._replace(value=int(not value)))
