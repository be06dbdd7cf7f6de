# SPDX-License-Identifier: MIT
"""The judge of torture tests, on artificial logs that each break one rule; and the file of torture tests."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from shirq_bench import toml
from shirq_bench.campaigns.torture import case as cases
from shirq_bench.campaigns.torture import guests, report
from shirq_bench.campaigns.torture.deeds import BY
from shirq_bench.campaigns.torture.guests import Round, Tormented
from shirq_bench.campaigns.torture.oracle import Verdict, judge
from shirq_bench.campaigns.torture.outside import OUTSIDE
from shirq_bench.campaigns.torture.run import Result, seed_of
from shirq_bench.channels.agent import Command
from shirq_bench.channels.log import KERNEL_RING, USER_RING, Entry, Header, Kind, Log
from shirq_bench.errors import BenchError, CannotJudge
from shirq_bench.observe import invariants
from shirq_bench.vm.vm import Vm

_BOUND_NS, _END_NS = 1000, 100
_OWN, _END, _GONE = 1 << 24, 2 << 24, 3 << 24
_LEAST = {"title": "t", "by": "guest", "full": 10, "ci": 3}


def _parse(table: Mapping[str, object]) -> cases.Case:
    return toml.convert(dict[str, cases.Case], {"t": table}, "tests.toml")["t"]


def _entry(at: int, kind: Kind, value: int, device: str = "dev0", ring: int = 0xFF, offset: int = 0) -> Entry:
    return Entry(at, kind, 0, 4, 0, device, ring, offset, value)


def _mark(at: int, value: int, width: int = 4) -> Entry:
    return _entry(at, Kind.MARK, value, "clock")._replace(width=width)


def _pin(at: int, level: int) -> Entry:
    return _entry(at, Kind.PIN, level)


def _raise(at: int) -> Entry:
    return _entry(at, Kind.RAISE, 1, "nb0")


def _ack(at: int, ring: int = KERNEL_RING) -> Entry:
    return _entry(at, Kind.WRITE, 1, "nb0", ring, 0x64)


def _judge(
    *entries: Entry, ring: int = KERNEL_RING, silent: bool = True, withdrawn: bool = False, dropped: int = 0
) -> Verdict:
    return judge(
        Log(Header(len(entries), 0, len(entries), dropped, ()), entries),
        "dev0",
        "clock",
        {"nb0": ring},
        frozenset({"dev1"}),
        bound_ns=_BOUND_NS,
        end_ns=_END_NS,
        silent=silent,
        withdrawn=withdrawn,
    )


def test_pin_falling_before_the_end_is_over_is_fine_and_timed() -> None:
    """A pin that falls before the owner's end is complete is no finding; the verdict has the time that it took."""
    verdict = _judge(_mark(0, _OWN), _pin(5, 1), _mark(10, _END), _pin(40, 0), _mark(50, _GONE))
    assert (verdict.loud, verdict.ends, verdict.worst_ns) == ([], 1, 30)


def test_a_log_with_dropped_entries_is_not_judged() -> None:
    with pytest.raises(CannotJudge, match="7 entries did not fit"):
        _judge(_mark(0, _OWN), dropped=7)


def test_owners_with_assertions_and_ends_during_one_are_counted() -> None:
    """The judge counts owners whose device asserted, and ends during an assertion."""
    quiet = _mark(0, _OWN), _mark(1, _END), _mark(2, _GONE)
    served = _mark(3, _OWN), _pin(4, 1), _pin(5, 0), _pin(6, 1), _pin(7, 0), _mark(8, _END), _mark(9, _GONE)
    cut = _mark(10, _OWN), _pin(11, 1), _mark(12, _END), _pin(13, 0), _mark(14, _GONE)
    verdict = _judge(*quiet, *served, *cut)
    assert (verdict.ends, verdict.asserted, verdict.asserting, verdict.assertions) == (3, 2, 1, 3)


def test_a_pin_that_is_high_when_the_end_is_over_is_found() -> None:
    verdict = _judge(_mark(0, _OWN), _pin(5, 1), _mark(10, _END), _mark(50, _GONE | 7), _pin(51, 0))
    assert verdict.loud == ["dev0 still asserts after attempt 7, at 50 ns"]


def test_a_pin_that_falls_too_late_is_found() -> None:
    in_time = _mark(0, _OWN), _pin(5, 1), _mark(10, _END | 7), _pin(110, 0), _mark(150, _GONE | 7)
    too_late = _mark(0, _OWN), _pin(5, 1), _mark(10, _END | 7), _pin(111, 0), _mark(150, _GONE | 7)
    assert _judge(*in_time).loud == []
    (loud,) = _judge(*too_late).loud
    assert loud == "dev0 fell silent 101 ns after attempt 7 began to end, allowed are 100 ns"
    assert _judge(*too_late, silent=False).loud == []


def test_pin_rise_is_found_only_without_an_owner() -> None:
    """A pin that rises while there is no owner is a finding; a rise after the next owner has begun is not."""
    entries = _mark(10, _END), _mark(50, _GONE), _pin(60, 1), _pin(61, 0), _mark(70, _OWN), _pin(80, 1)
    assert _judge(*entries).loud == ["dev0 asserts without an owner, at 60 ns"]


def test_where_nobody_ends_no_end_is_judged() -> None:
    assert _judge(_mark(10, _END), _pin(11, 1), _mark(50, _GONE), silent=False).loud == []


def test_a_mark_of_another_width_is_a_clock_and_none_of_ours() -> None:
    assert _judge(_mark(10, _GONE, width=8), _pin(11, 1)).ends == 0


def test_a_neighbour_that_is_served_in_time_has_lost_nothing() -> None:
    verdict = _judge(_raise(0), _ack(300), _raise(400), _ack(1400))
    neighbour = verdict.neighbours["nb0"]
    assert (verdict.lost, neighbour.raised, neighbour.served, neighbour.worst_ns) == ([], 2, 2, 1000)


def test_a_raise_that_is_never_served_is_lost() -> None:
    assert _judge(_raise(0), _ack(300), _raise(400)).lost == ["nb0: raised at 400 ns and never served"]


def test_a_raise_that_is_served_too_late_is_lost() -> None:
    (lost,) = _judge(_raise(0), _ack(1001)).lost
    assert lost.startswith("nb0: raised at 0 ns and served 1 µs later")


def test_foreign_acknowledgement_is_a_loss_unless_withdrawable() -> None:
    """An interrupt that another party than the driver acknowledged is lost, unless the case allows to withdraw it."""
    verdict = _judge(_raise(0), _ack(300), ring=USER_RING)
    neighbour = verdict.neighbours["nb0"]
    assert (neighbour.served, neighbour.withdrawn) == (0, 1)
    assert verdict.lost == ["nb0: raised at 0 ns and acknowledged in ring 0, but its driver runs in ring 3"]
    assert _judge(_raise(0), _ack(300), ring=USER_RING, withdrawn=True).lost == []


def test_a_bystander_that_is_touched_is_found() -> None:
    touch = _entry(60, Kind.READ, 0, "dev1", KERNEL_RING, 0x24)
    assert _judge(touch, _mark(70, _OWN)).strayed == [], (
        "an access to the bystander before the torture begins is no finding"
    )
    assert _judge(_mark(10, _OWN), touch).strayed == ["forbidden access to dev1: READ of 0x24 in space 0 at 60 ns"]


def test_a_clock_that_is_read_or_written_but_for_marks_is_found() -> None:
    reading = _entry(60, Kind.READ, 0, "clock", USER_RING, 0x24)
    assert len(_judge(_mark(10, _OWN), reading, _mark(70, _GONE)).strayed) == 1


def test_a_process_that_touches_the_kernels_neighbour_is_found() -> None:
    assert len(_judge(_mark(10, _OWN), _raise(20), _ack(30), _entry(60, Kind.WRITE, 1, "nb0", USER_RING)).strayed) == 1
    assert _judge(_mark(10, _OWN), _raise(20), _ack(30)).strayed == []


# ---------------------------------------------------------------------- output of the guest's program


class _Said:
    """A fake command with these lines as its output."""

    def __init__(self, *lines: str) -> None:
        self._lines = iter(lines)

    def expect(self, pattern: str, deadline: float) -> re.Match[str]:
        return next(match for line in self._lines if (match := re.search(pattern, line)))


def _followed(*lines: str) -> Round:
    guest = Tormented(cast(Vm, None), cases.get("unplug"), 1, 1)
    said = cast(Command, _Said(*lines))
    guest.follow(said, "armed 0")
    guest.follow(said, "gone 0")
    guest.follow(said, "done ")
    return guest.round


def test_bounds_allow_for_the_load_that_the_guest_met(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds allow for load that was measured during the run, even if it has ended before the log is judged."""
    load = 1.0
    for module in (guests, invariants):
        monkeypatch.setattr(module, "competition", lambda: load)
    entries = [_mark(0, _OWN), _raise(10), _ack(9_000_000_010)]
    log = Log(Header(len(entries), 0, len(entries), 0, ()), entries)
    guest = Tormented(cast(Vm, SimpleNamespace(patience=1.0, log=lambda: log)), cases.get("kill"), 1, 1)
    assert "served 9.000 s later, allowed are 3.000 s" in guest.verdict().lost[0]
    load = 4.0
    guest.follow(cast(Command, _Said("done attempts=0 failures=0 choices=0123456789abcdef")), "done ")
    load = 1.0
    assert guest.verdict().lost == []


_DONE = "done attempts=1 failures={} choices=0123456789abcdef exited=1"


def test_a_complaint_between_what_the_host_waits_for_is_taken_in() -> None:
    round_ = _followed("armed 0", "FAIL 0: the owner ended with status 0x900", "gone 0", _DONE.format(1))
    assert round_.failures == ["FAIL 0: the owner ended with status 0x900"]
    assert (round_.attempts, round_.choices, round_.figures) == (1, "0123456789abcdef", {"exited": 1})


def test_complaints_counted_but_not_heard_are_a_failure() -> None:
    """It is a failure if the guest's program counted more failures than it printed."""
    round_ = _followed("armed 0", "gone 0", _DONE.format(2))
    assert round_.failures == ["the guest's program counted 2 failures, but printed 0"]


# ---------------------------------------------------------------------- data


def test_every_test_of_the_file_is_one_that_somebody_does() -> None:
    known = cases.load()
    assert len(known) >= 14
    assert {case.by for case in known.values()} <= BY.keys() | OUTSIDE.keys()
    for case in known.values():
        assert case.ci <= case.full
        assert case.attempts("full", "debug") in (case.debug, case.full)
        assert sum(case.rounds(case.full)) == case.full


def test_the_instrumented_kernel_has_a_size_of_its_own() -> None:
    sized = _parse(_LEAST | {"debug": 5})
    sizes = ("full", "6.1"), ("full", "debug"), ("tenth", "6.1"), ("tenth", "debug"), ("ci", "6.1"), ("ci", "debug")
    assert [sized.attempts(*size) for size in sizes] == [10, 5, 1, 1, 3, 3]
    assert _parse(_LEAST).attempts("full", "debug") == 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"wrong": 1}, "tests.toml: t: unknown key wrong; known keys: by, ci, "),
        ({"devices": "dev0"}, "tests.toml: t.devices must be a list, not 'dev0'"),
        ({"full": "1"}, "tests.toml: t.full must be int, not '1'"),
        ({"full": 0}, "tests.toml: t.full must be at least 1, not 0"),
        ({"leaks": 1}, "tests.toml: t.leaks must be bool, not 1"),
    ],
)
def test_a_key_that_is_wrong_is_refused_by_its_name(change: dict[str, object], message: str) -> None:
    with pytest.raises(BenchError, match="^" + re.escape(message)):
        _parse(_LEAST | change)


def test_an_unknown_test_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(BenchError, match="no torture test 'kil'; known tests: kill, "):
        cases.get("kil")


def test_guests_share_the_attempts_and_the_last_one_has_the_rest() -> None:
    assert _parse(_LEAST | {"round": 4}).rounds(10) == [4, 4, 2]
    assert _parse(_LEAST).rounds(10) == [10]


def test_a_seed_gives_each_guest_another_one_and_always_the_same() -> None:
    seeds = [seed_of(1, "kill", 0), seed_of(1, "kill", 1), seed_of(2, "kill", 0), seed_of(1, "close", 0)]
    assert len(set(seeds)) == 4
    assert seeds == [seed_of(1, "kill", 0), seed_of(1, "kill", 1), seed_of(2, "kill", 0), seed_of(1, "close", 0)]


def test_result_is_whole_only_with_all_attempts_and_no_error() -> None:
    """A result is ok only if all attempts were made and no failure occurred."""
    result = Result("kill", "6.1", 1, wanted=4)
    result.add(Round(1, attempts=3, choices="a", figures={"ends": 3, "slowest_end_us": 9}))
    assert not result.ok
    result.add(Round(2, attempts=1, choices="b", figures={"ends": 1, "slowest_end_us": 4}))
    assert result.ok
    assert result.figures == {"ends": 4, "slowest_end_us": 9}
    result.add(Round(3, lost=["one"]))
    assert not result.ok


def test_report_replaces_results_of_the_same_seed_and_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new result replaces the earlier result with the same seed and size in the report."""
    monkeypatch.setattr(report, "FILE", tmp_path / "torture.json")
    report.add(Result("kill", "6.1", 1, wanted=4, attempts=2, failures=["a", "b"]))
    report.add(Result("kill", "6.1", 2, wanted=4, attempts=4))
    report.add(Result("kill", "6.1", 1, wanted=4, attempts=4))
    report.add(Result("kill", "6.1", 1, wanted=2, attempts=2))
    tests = json.loads(report.FILE.read_text())["tests"]
    assert [(test["seed"], test["attempts"], test["failures"]) for test in tests] == [(2, 4, 0), (1, 4, 0), (1, 2, 0)]
    for key in ("test", "kernel", "splats", "lost_interrupts", "choices"):
        assert key in tests[0]
