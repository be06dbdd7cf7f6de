# SPDX-License-Identifier: MIT
"""Two vCPUs preempt each other at chosen instructions: the module stands it, and races are found."""

from __future__ import annotations

import functools
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from shirq_bench.campaigns.explore import actors, run
from shirq_bench.campaigns.explore.classes import classes
from shirq_bench.campaigns.mutants import mutant
from shirq_bench.campaigns.mutants.trial import apply
from shirq_bench.campaigns.sweep import findings
from shirq_bench.campaigns.sweep import run as sweep
from shirq_bench.campaigns.sweep.scenario import Scenario
from shirq_bench.channels.log import USER_RING, Kind, TurnReason
from shirq_bench.cli.main import main
from shirq_bench.paths import need_checkout
from shirq_bench.replay.case import Finding
from shirq_bench.replay.play import Recording
from shirq_bench.vm.machine import Machine

# Bounds are in instructions; an instrumented kernel needs a hundred times as many.
pytestmark = pytest.mark.needs_kernel("6.1", "6.12")


def _played(pair: str, kernel: str, step: int) -> tuple[Recording, range, int]:
    """Play points of a pair that are ``step`` instructions apart, without a violation.

    Returns the recording, the offsets of the points, and the length of a point in ns.
    """
    item = actors.get(pair)
    shape = sweep.calibrate(item, kernel)
    offsets = range(shape.begin_ns, shape.begin_ns + shape.window_ns, step)
    outcome = sweep.case_of(item, kernel, offsets, shape.period_ns).run()
    assert [violation.what for violation in outcome.all()] == []
    return outcome.recording, offsets, shape.period_ns


def test_second_actor_begins_at_its_instruction_and_has_the_turn_until_it_blocks(kernel_name: str) -> None:
    recording, offsets, period_ns = _played("mask~exec", kernel_name, 100)
    entries = recording.entries
    times = [slot * period_ns + offset + recording.base_ns for slot, offset in enumerate(offsets)]
    given = [entry for entry in entries if entry.kind is Kind.TURN and entry.offset == 0]
    assert [(entry.time_ns, entry.vcpu, entry.value) for entry in given] == [(time, 0, 1) for time in times]
    whole = 0
    for time in times:
        after = [entry for entry in entries if entry.time_ns > time]
        end = next(n for n, entry in enumerate(after) if entry.kind is Kind.TURN)
        assert after[end].offset in (1, 2), "it halts, or waits with PAUSE for a lock of the first actor"
        assert {entry.vcpu for entry in after[:end]} <= {1, 255}
        marks = [entry.value for entry in after[:end] if entry.kind is Kind.MARK and entry.device == "ctl2"]
        whole += marks[-1:] == [2]
    assert whole > len(times) / 2, "mostly it does the whole deed in its turn"


def _events(item: Scenario, kernel: str, offset: int, period_ns: int) -> list[tuple[object, ...]]:
    """What happens in a guest's only point, without times."""
    recording = sweep.case_of(item, kernel, [offset], period_ns).run().recording
    events: list[tuple[object, ...]] = [
        (e.kind, e.device, e.offset, e.width, e.vcpu, e.ring, e.value)
        for e in recording.entries
        if e.kind not in (Kind.WHERE, Kind.SCHEDULED)
    ]
    # At the end both vCPUs are idle but for their clocks. Of two points whose times differ, the recording of one may
    # end before a tick, and that of the other after it.
    while events and events[-1][0] is Kind.TURN:
        events.pop()
    return events


@pytest.mark.parametrize("pair", ["mask~exec", "unmask~raise", "arm~mask"])
def test_points_of_one_class_have_the_same_events(kernel_name: str, pair: str) -> None:
    """With turns that no quantum ends: its end is a matter of the clock, by which the points of a class differ."""
    item = replace(actors.get(pair), turn_ns=20_000_000)
    shape = sweep.calibrate(item, kernel_name)
    every = classes(item, kernel_name, shape)
    offsets = [offset for same in every for offset in same]
    assert offsets == list(range(shape.begin_ns, shape.begin_ns + shape.window_ns))
    several = [same for same in every if len(same) > 2]
    told = []
    for same in several[:: len(several) // 12]:
        one, other = (_events(item, kernel_name, offset, shape.period_ns) for offset in (same[0], same[-1]))
        assert one == other, same
        told.append(tuple(one))
    assert len(told) >= 12 and len({*told}) > 1, "not all classes are alike"


def test_reader_that_is_woken_runs_while_the_handler_goes_on(kernel_name: str) -> None:
    """vCPU 0 handles the interrupt; the reader, on vCPU 1, has its event before the handler's EOI at some points."""
    recording, offsets, _ = _played("read~reader", kernel_name, 20)
    entries = recording.entries
    marks = [n for n, entry in enumerate(entries) if entry.kind is Kind.MARK and entry.device == "dev0"]
    assert len(marks) == len(offsets) and {entries[n].vcpu for n in marks} == {1}
    ends = (next(entry.kind for entry in entries[n:] if entry.kind in (Kind.EOI, Kind.DELIVER)) for n in marks)
    assert Kind.EOI in ends


def test_program_that_waits_for_another_processor_gives_way_to_it(kernel_name: str) -> None:
    """The reader of a device that is disarmed tries again until it is armed: not for the rest of its turn."""
    entries = _played("rearm~reader", kernel_name, 500)[0].entries
    turns = [entry for entry in entries if entry.kind is Kind.TURN and (entry.vcpu, entry.ring) == (1, USER_RING)]
    assert {entry.offset for entry in turns} == {TurnReason.YIELD}


@pytest.mark.parametrize("pair", ["arm~mask", "close~visit", "rearm~raise", "mask~neighbour-rearm"])
def test_a_pair_is_explored_without_a_violation(kernel_name: str, pair: str) -> None:
    """The pairs differ in what preempts: a call, another program, the device, the neighbour's owner."""
    result = run.explore(actors.get(pair, "ci"), kernel_name)
    assert [str(v.what) for failure in result.failures for v in failure.outcome.all()] == []
    assert result.points >= 10 and len(result.places) > 10


def test_random_preemptions_find_nothing_and_change_the_runs(kernel_name: str) -> None:
    item = actors.get("mask~rearm", "ci")
    result = run.explore(item, kernel_name, points=30, preemptions=3)
    assert [str(v.what) for failure in result.failures for v in failure.outcome.all()] == []
    assert result.points == 30 and result.reach_ns > 1000


#: A mutant, and the pair and number of points by which it is found; 0: every instruction.
_RACES = {
    "armed-before-handler": ("arm-first~mask", 0),
    "disowned-before-detached": ("close~visit", 0),
    "any-reader-unmasks": ("poll~take", 1000),
    "reset-lock-inside": ("reset~reopen", 20),
}


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> functools.partial[None]:
    """Return a function that puts a mutant into the module of all guests of scenarios."""

    def put(name: str) -> None:
        top = need_checkout("putting a bug into the module")
        shutil.copytree(top / "kmod", tmp_path / "kmod")
        (one,) = (known for known in mutant.load(top) if known.name == name)
        assert apply(one.diff, tmp_path) == ""
        machine = Scenario.machine

        def made(self: Scenario, kernel: str) -> Machine:
            return machine(self, kernel).with_(modules=(str(tmp_path / "kmod"),))

        monkeypatch.setattr(Scenario, "machine", made)

    return functools.partial(put)


@pytest.mark.long
@pytest.mark.parametrize("race", _RACES)
def test_a_race_of_two_processors_is_found(kernel_name: str, broken: functools.partial[None], race: str) -> None:
    pair, points = _RACES[race]
    broken(race)
    (failure,) = run.explore(actors.get(pair), kernel_name, points, most=1).failures
    assert failure.outcome.all()


@pytest.mark.long
def test_violation_names_the_position_of_each_vcpu_and_replays_identically(
    kernel_name: str, broken: functools.partial[None], tmp_path: Path
) -> None:
    broken("any-reader-unmasks")
    (failure,) = run.explore(actors.get("poll~take"), kernel_name, 1000, most=1).failures
    found = findings.explain(failure)
    assert found.rules == ("duplicate",)
    switches = [stimulus for stimulus in found.case.stimuli if "turn" in stimulus.action]
    assert len(switches) <= 1, "a single preemption is enough"
    assert found.where["function"] and "before `" in found.where["vCPU 1"]
    file = findings.keep(found, "found", tmp_path)
    said = CliRunner().invoke(main, ["replay", str(file.parent)])
    assert said.exit_code == 0, said.output
    assert "identical to the byte" in said.output
    assert Finding.load(file).where == found.where
