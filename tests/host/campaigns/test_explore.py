# SPDX-License-Identifier: MIT
"""Pairs of actors are generated from data, points have the right stimuli, and the report says what was exhausted."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from logwriter import Story
from shirq_bench.campaigns import twins
from shirq_bench.campaigns.explore import actors, report, run
from shirq_bench.campaigns.explore.classes import divide
from shirq_bench.campaigns.explore.report import Row
from shirq_bench.campaigns.explore.run import Explored
from shirq_bench.campaigns.sweep import pairs
from shirq_bench.campaigns.sweep import run as sweep
from shirq_bench.campaigns.sweep.cells import Cell
from shirq_bench.campaigns.sweep.run import Shape, Tried
from shirq_bench.campaigns.sweep.scenario import Scenario
from shirq_bench.channels.log import Kind
from shirq_bench.cli import sweep as cli
from shirq_bench.cli.main import main
from shirq_bench.errors import BenchError
from shirq_bench.replay.case import Case, Outcome
from shirq_bench.replay.oracle import Violation
from shirq_bench.replay.play import Recording, Stimulus
from shirq_bench.vm import environment
from shirq_bench.vm.machine import Machine

#: The source that an actor raises itself when it begins: guest/sweep/actor.c.
_WARM_UP = 1 << 15


def _words(actor: str, option: str) -> list[list[str]]:
    """For each lane of an actor's command line, the arguments of an option."""
    found: list[list[str]] = []
    words = actor.split()
    for word, argument in pairwise(words):
        if word == "--control":
            found.append([])
        if word == option and found:
            found[-1].append(argument)
    return found


def test_every_pair_is_a_scenario_or_has_a_reason() -> None:
    every = actors.choose("ci")
    known = actors.load()
    assert {pair.name for pair in every} == {f"{one}~{two}" for one in pairs.load().operations for two in known.others}
    assert all((pair.scenario is None) == bool(pair.reason) for pair in every)
    assert sum(pair.scenario is not None for pair in every) > 300


def test_every_pair_can_be_played_by_its_guest() -> None:
    """The actor knows the deeds, each has a source of the lane's control device, and the lanes are on two vCPUs."""
    source = (Path(__file__).parents[3] / "guest/sweep/actor.c").read_text()
    for pair in actors.choose("full"):
        if not (item := pair.scenario):
            continue
        lanes = [deeds for actor in item.actors for deeds in _words(actor, "--deed")]
        readers = [actor for actor in item.actors if "--readers 1" in actor]
        assert len(lanes) + len(readers) + ("ctl2" not in str(item.second)) == 2, item.actors
        assert all(f'{{ "{deed}", ' in source for deeds in lanes for deed in deeds), item.actors
        assert all(1 << len(deeds) <= _WARM_UP for deeds in lanes), "a deed's source must not be the actor's own"
        cpus = [cpu for actor in item.actors for cpu in re.findall(r"(?:--cpu|--readers) (\d)", actor)]
        assert {"0", "1"} <= {*cpus}, item.actors
        stimuli = sweep.case_of(item, "6.1", [7], 10**9).stimuli
        assert [s for s in stimuli if s.at_ns == 7][-1].action == "turn 1"
        asked = [int(s.action.split()[1]) for s in stimuli if s.device.startswith("ctl") and "raise" in s.action]
        assert all(source < _WARM_UP for source in asked)
        assert item.machine("6.1").vcpus == 2
        assert sweep.case_of(item, "6.1", [7], 10**9).deliveries == 40


def test_a_guest_is_shared_by_pairs() -> None:
    scenarios = [pair.scenario for pair in actors.choose("full") if pair.scenario]
    assert len({item.machine("6.1") for item in scenarios}) < len(scenarios) / 10


_OTHERS = """
turn_ns = 1000
rest_ns = 7000
[sizes.full]
instruction = 0
process = 5
device = 1
guest = 1
[others.raise]
title = "a raise"
entries = ["dev0 raise 1"]
[others.new]
title = "a new one"
device = "dev1"
deed = "rearm"
cost = "process"
spurious = 2
bound_ns = 900000
[[left_out]]
operations = ["arm"]
others = ["raise"]
reason = "it is too loud"
"""


def test_a_new_actor_joins_by_data_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "actors.toml").write_text(_OTHERS)
    known = actors.load(tmp_path / "actors.toml")
    monkeypatch.setattr(actors, "load", lambda: known)
    assert [pair.reason for pair in actors.choose("full", ["arm~raise"])] == ["it is too loud"]
    item = actors.get("mask~new")
    assert item.actors[1] == "--control ctl2 --cpu 1 --deed rearm dev1"
    assert item.second == ("ctl2 raise 1", "ctl2 turn 1")
    assert (item.points, item.spurious, item.bound_ns, item.turn_ns) == (5, 3, 1_810_000, 1000)
    assert {pair.first for pair in actors.choose("full", ["~new"]) if pair.scenario} > {"arm", "mask", "close"}
    with pytest.raises(BenchError, match="arm~raise is left out: it is too loud"):
        actors.get("arm~raise")
    with pytest.raises(BenchError, match=r"no actor or pair 'mask~none'; first actors: read.*second actors: ~raise"):
        actors.choose("full", ["mask~none"])


@pytest.mark.parametrize("keys", ['deed = "mask"\nentries = ["dev0 raise 1"]', ""])
def test_an_actor_has_a_deed_or_entries(tmp_path: Path, keys: str) -> None:
    file = tmp_path / "actors.toml"
    file.write_text(f'turn_ns = 1\nrest_ns = 1\n[sizes.full]\ninstruction = 0\n[others.x]\ntitle = "x"\n{keys}\n')
    with pytest.raises(BenchError, match="exactly one of the keys `deed` and `entries`, or only `readers = 1`"):
        actors.load(file)


# ------------------------------------------------------------------ points

_SHAPE = Shape(begin_ns=100, window_ns=50, period_ns=10_000)


def _turned() -> Recording:
    """A recording in which the second actor has the turn for 800 ns, then for 1000 ns, then because of a quantum."""
    told = Story(("dev0",))
    for length in (700, 900):
        told.add(Kind.TURN, "vm", offset=0, value=1).wait(length).add(Kind.TURN, "vm", offset=1, value=0).wait(5000)
    told.add(Kind.TURN, "vm", offset=3, value=1).wait(90_000).add(Kind.TURN, "vm", offset=3, value=0)
    return Recording(0, told.log().entries, "digest", "", [])


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Stands in for the runs in guests; holds what `try_points` got."""
    got: dict[str, Any] = {}

    def try_points(
        scenario: Scenario,
        kernel: str,
        points: Any,
        period: int,
        tell: Any,
        most: int,
        result: Tried,
        further: Any = (),
    ) -> Tried:
        got.update(points=list(points), period=period, further=further)
        result.points = len(points)
        return result

    monkeypatch.setattr(sweep, "calibrate", lambda *_: _SHAPE)
    monkeypatch.setattr(sweep, "try_points", try_points)
    monkeypatch.setattr(Case, "run", lambda *_: Outcome(_turned(), [], []))
    return got


def test_one_preemption_is_tried_at_an_instruction_of_each_class(
    tried: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [range(100, 101), range(101, 120), range(120, 150)]
    monkeypatch.setattr(run, "classes", lambda *_: found)
    result = run.explore(actors.get("mask~exec"), "6.1")
    assert tried["points"] == [100, 119, 149]
    assert result.exhausted and result.instructions == 50 and result.bound is None and result.equivalent == 47
    assert run.explore(actors.get("mask~exec"), "6.1", points=25).exhausted
    assert tried["points"] == [100, 119, 149]
    found[:] = [range(offset, offset + 2) for offset in range(100, 150, 2)]
    assert not run.explore(actors.get("mask~exec"), "6.1", points=20).exhausted
    assert len(tried["points"]) == 17, "every third instruction"
    result.points = 2
    assert not result.exhausted


#: mov %rax,%rbx; mov (%rax),%rbx; jmp; add $1,%ecx; mov %rax,%cr3; rdtsc; push %rax; lea 8(%rax),%rbx; cli
_CODE = [b"\x48\x89\xc3", b"\x48\x8b\x18", b"\xeb\x10", b"\x83\xc1\x01", b"\x0f\x22\xd8", b"\x0f\x31", b"\x50"]
_CODE += [b"\x48\x8d\x58\x08", b"\xfa"]


@pytest.mark.parametrize(("number", "counts"), [(n, n in (1, 4, 5, 6, 8)) for n in range(9)])
def test_instruction_that_changes_only_registers_begins_no_class(number: int, counts: bool) -> None:
    """The instruction is followed by others like it, then by a read of memory."""
    text, move = _CODE[number], _CODE[0]
    places = [0x1000, 0x1000 + len(text), 0x1003 + len(text), 0x1006 + len(text)]
    code = dict(zip(places, [text, move, move, _CODE[1]], strict=True))
    found = list(divide(range(50, 54), places, code))
    assert found == ([range(50, 51), range(51, 54)] if counts else [range(50, 54)])


def test_interrupt_and_unknown_code_begin_a_class() -> None:
    move = _CODE[0]
    places = [0x1000, 0x1003, 0x5000, 0x5003, 0x7000, 0x7003]
    code = dict.fromkeys(places[:4] + places[5:], move)
    assert list(divide(range(6), places, code)) == [range(2), range(2, 4), range(4, 5), range(5, 6)]


@pytest.mark.parametrize(("after", "whole"), [(0x1012, True), (0x1002, True), (0x5000, False)])
def test_jump_to_elsewhere_is_an_interrupt(after: int, whole: bool) -> None:
    """An interrupt that comes before a jump is delivered by writes to memory, in the jump's place."""
    jump, move = b"\x74\x10", _CODE[0]
    found = list(divide(range(3), [0x1000, after, after + 3], {0x1000: jump, after: move, after + 3: move}))
    assert found == ([range(3)] if whole else [range(1), range(1, 3)])


def test_jump_through_a_register_counts_as_an_access() -> None:
    places = [0x1000, 0x2000, 0x2003]
    assert next(divide(range(3), places, {0x1000: b"\xff\xe0", 0x2000: _CODE[0]})) == range(1)


def test_further_preemptions_come_at_random_instants(tried: dict[str, Any]) -> None:
    item = actors.get("mask~exec")
    result = run.explore(item, "6.1", points=200, preemptions=3)
    first = dict(tried)
    assert result.reach_ns == 1000 and result.instructions == 1050 and not result.exhausted
    assert result.bound == 1 / (2 * 1050**3)
    assert all(100 <= point < 150 for point in first["points"])
    for one, two in first["further"]:
        times = []
        for words, vcpu in ((one, "0"), (two, "1")):
            delay, device, *action = words.split()
            assert [device, *action] == ["ctl", "turn", vcpu]
            times.append(int(delay))
        assert 1 <= times[0] <= 1000 and 1 <= times[1] - times[0] <= 1000
    assert len(set(first["further"])) > 150
    assert first["period"] >= _SHAPE.period_ns + 3 * 1000
    run.explore(item, "6.1", points=200, preemptions=3)
    assert tried == first
    run.explore(item, "6.1", points=200, preemptions=3, seed=2)
    assert tried != first


def test_actor_that_never_has_the_turn_is_told(tried: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    quiet = Recording(0, Story(("dev0",)).claimed_interrupt().log().entries, "", "", [])
    monkeypatch.setattr(Case, "run", lambda *_: Outcome(quiet, [], []))
    with pytest.raises(BenchError, match="scenario mask~exec: the second actor never had the turn"):
        run.explore(actors.get("mask~exec"), "6.1", points=1, preemptions=2)


def test_entries_of_one_point_follow_its_second_stimulus() -> None:
    case = sweep.case_of(actors.get("mask~exec"), "6.1", [5, 6], 1000, [("+10 ctl turn 0",), ()])
    late = [(s.at_ns, s.device, s.action) for s in case.stimuli if s.at_ns > 0 and "turn" in s.action]
    assert late == [(5, "ctl2", "turn 1"), (15, "ctl", "turn 0"), (1006, "ctl2", "turn 1")]


def test_stimuli_of_one_instant_are_moved_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """A raise without its switch of the turn would be another kind of run."""
    stimuli = (Stimulus(0, "ctl", "raise 4"), Stimulus(50, "ctl2", "raise 2"), Stimulus(50, "ctl2", "turn 1"))
    case = Case("trial", Machine(), stimuli, (1000,), ("dev0",), 0, 100)
    played: list[list[int]] = []

    def play(self: Case, *_: object) -> Outcome:
        times = [stimulus.at_ns for stimulus in self.stimuli]
        played.append(times)
        return Outcome(_turned(), [[Violation("lost", "x")] if times != [0, 52, 52] else []], [])

    monkeypatch.setattr(Case, "run", play)
    found = twins.passing(case)
    assert found and "2 ns later" in found[1]
    assert played == [[0, 49, 49], [0, 51, 51], [0, 48, 48], [0, 52, 52]]


# ------------------------------------------------------------------ report


def _row(name: str, points: int, preemptions: int = 1) -> Row:
    (pair,) = actors.choose("full", [name])
    result = Explored(name, "6.1", _SHAPE, False, points=points, wanted=points, seconds=2.0, preemptions=preemptions)
    return Row(pair, result)


def test_report_says_what_was_exhausted_and_what_not() -> None:
    rows = [
        _row("mask~exec", 50),
        _row("mask~rearm", 20),
        Row(Cell("kill", "~", "exec", reason="no call")),
        Row(Cell("arm", "~", "exec"), error="the guest has ended"),
    ]
    content = report.report(rows, "6.1", [])
    assert (content["points"], content["exhausted"], content["explored"]) == (70, 1, 2)
    assert (content["left_out"], content["errors"], content["points_per_minute"]) == (1, 1, 1050)
    head, *body = report.table(content)
    assert head == ["first actor", "exec", "rearm"]
    assert body == [["mask", "50", "20 of 50"], ["kill", "- (1)", ""], ["arm", "error", ""]]
    page = report.document(content, actors.load(), pairs.load().operations)
    assert "1. no call" in page and "- `arm~exec`: the guest has ended" in page
    assert "- `mask`: SHIRQ_MASK" in page and "- `~visit`: another program" in page


@pytest.mark.parametrize(("violations", "status"), [(0, 0), (1, 1)])
def test_command_reports_each_pair_and_fails_by_a_violation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, violations: int, status: int
) -> None:
    monkeypatch.chdir(tmp_path)

    def sweep_one(how: Any, item: Scenario, *_: object) -> tuple[Explored, list[Path]]:
        result = _row(item.name, 50).result
        assert result
        result.failures = [None] * violations if item.name.startswith("mask") else []  # type: ignore[list-item]
        return result, []

    monkeypatch.setattr(cli, "sweep_one", sweep_one)
    monkeypatch.setattr(environment, "head", lambda kernels: {"kernels": kernels})
    done = CliRunner().invoke(main, ["explore", "mask~exec", "arm~exec", "kill~exec"])
    assert done.exit_code == status, done.output
    content = json.loads((tmp_path / report.REPORT).read_text())
    assert [pair["violations"] for pair in content["scenarios"]] == [violations, 0, 0]
    assert content["scenarios"][2]["reason"] and content["replays_identical"] is None
    assert f"{violations} violations; 2 windows exhausted" in done.output


def test_command_without_a_pair_to_play_says_why() -> None:
    done = CliRunner().invoke(main, ["explore", "kill~exec"])
    assert done.exit_code == 1
    assert "all of these pairs are left out: the first actor is not a call of the owner" in done.output


def test_list_has_the_actors_that_are_played() -> None:
    said = CliRunner().invoke(main, ["explore", "--list"]).output
    assert "~visit" in said and "SHIRQ_MASK" in said and "vanish" not in said


@pytest.mark.parametrize(("period_ns", "size"), [(250_000, 4000), (5_000_000, 600), (10**10, 1)])
def test_points_of_a_guest_are_few_if_they_are_long(period_ns: int, size: int) -> None:
    """A guest that hangs in a loop must reach the end of its run: its virtual time does not jump."""
    assert len(next(sweep.chunks(actors.get("mask~exec"), range(9000), period_ns))) == size
