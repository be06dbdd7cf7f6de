# SPDX-License-Identifier: MIT
"""Files of scenarios, cases and findings: errors in them are reported, and findings are read back as written."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from logwriter import Story, write_log
from shirq_bench import toml
from shirq_bench.campaigns.sweep import findings, scenario
from shirq_bench.campaigns.sweep.run import calibrate, case_of
from shirq_bench.channels.log import NONE, Entry, Kind
from shirq_bench.cli import sweep as cli
from shirq_bench.errors import BenchError
from shirq_bench.replay import case as cases
from shirq_bench.replay.case import Case, Finding, Outcome, shrink
from shirq_bench.replay.oracle import Oracle, Violation
from shirq_bench.replay.play import Recording, Stimulus
from shirq_bench.replay.symbols import Symbols, instruction
from shirq_bench.vm.machine import Machine

_LEAST = {"title": "t", "actors": ["dev0"], "first": ["dev0 raise 1"], "second": ["dev0 raise 2"], "until": "x"}


def _parse(table: dict[str, Any]) -> scenario.Scenario:
    return toml.convert(dict[str, scenario.Scenario], {"s": table}, "scenarios.toml")["s"]


def test_every_scenario_of_the_file_is_one() -> None:
    known = scenario.load()
    assert len(known) >= 12
    for item in known.values():
        case = case_of(item, "6.1", [7], 1000)
        assert {stimulus.device for stimulus in case.stimuli} <= {"dev0", "dev1", "ctl"}, item.name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"wrong": 1}, "scenarios.toml: s: unknown key wrong; known keys: actors, "),
        ({"name": "t"}, "scenarios.toml: s: unknown key name; known keys: actors, "),
        ({"actors": "dev0"}, "scenarios.toml: s.actors must be a list, not 'dev0'"),
        ({"actors": ["dev0", 1]}, "scenarios.toml: s.actors[1] must be str, not 1"),
        ({"first": []}, "scenarios.toml: s.first must not be empty"),
        ({"step": "2"}, "scenarios.toml: s.step must be int, not '2'"),
        ({"halts": 1}, "scenarios.toml: s.halts must be bool, not 1"),
    ],
)
def test_a_key_that_is_wrong_is_refused_by_its_name(change: dict[str, object], message: str) -> None:
    with pytest.raises(BenchError) as refused:
        _parse(_LEAST | change)
    assert message in str(refused.value)


def test_a_scenario_that_lacks_a_key_is_refused() -> None:
    with pytest.raises(BenchError, match=r"s\.until is missing"):
        _parse({key: value for key, value in _LEAST.items() if key != "until"})


def test_unknown_scenario_is_refused_with_the_known_ones() -> None:
    """The error for an unknown scenario lists the known ones."""
    with pytest.raises(BenchError, match="'nothing'; known scenarios: reassert, "):
        scenario.get("nothing")


def test_each_point_has_its_period_and_offset_second_stimulus() -> None:
    """Each point has its own period, and its second stimulus at the point's offset."""
    case = case_of(_parse(_LEAST), "6.1", [0, 7, None], 1000)
    assert case.cuts == (1000, 2000, 3000)
    assert [stimulus for stimulus in case.stimuli if stimulus.action == "raise 2"] == [
        Stimulus(0, "dev0", "raise 2"),
        Stimulus(1007, "dev0", "raise 2"),
    ]
    assert [stimulus.at_ns for stimulus in case.stimuli if stimulus.action == "raise 1"] == [0, 1000, 2000]


def test_an_entry_may_come_later_than_the_others_of_its_stimulus() -> None:
    item = _parse(_LEAST | {"second": ["dev0 set dead all", "+30 dev1 raise 1"]})
    assert case_of(item, "6.1", [7], 1000).stimuli[-2:] == (
        Stimulus(7, "dev0", "set dead all"),
        Stimulus(37, "dev1", "raise 1"),
    )


def test_operation_measured_alone_omits_what_comes_before() -> None:
    """At a point without the second stimulus, which measures the operation alone, the steps before it are omitted."""
    item = _parse(_LEAST | {"before": ["dev0 set dead all"]})
    case = case_of(item, "6.1", [None, 7], 1000)
    assert [s for s in case.stimuli if "dead" in s.action] == [Stimulus(1000, "dev0", "set dead all")]


def test_a_finding_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    case = case_of(scenario.get("neighbour"), "6.1", range(3), 1000)
    found = Finding(case, ("lost",), ("it was lost",), "template", "digest", {"function": "f"})
    found.save(tmp_path / "finding.json")
    assert Finding.load(tmp_path / "finding.json") == found


def test_a_finding_whose_device_moved_no_pin_is_drawn(tmp_path: Path) -> None:
    case = case_of(scenario.get("neighbour"), "6.1", range(3), 1000)
    story = Story(("dev0", "dev1"))
    story.add(Kind.SCHEDULED, "dev0", offset=1).claimed_interrupt("dev1")
    write_log(tmp_path / "events.shirqlog", ("dev0", "dev1"), story.entries)
    findings.draw(case, tmp_path)
    assert (tmp_path / "page.html").exists()


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", '"x"', "7", '{"format": 99}', "[" * 100_000),
        *('{"format": 1, "case": {"machine": {"vcpus": "x"}}}', '{"format": 1, "case": {"machine": 7}}'),
    ],
    ids=range(9),
)
def test_a_file_that_is_no_finding_is_refused_with_its_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "f").write_text(text)
    with pytest.raises(BenchError, match=f"^{tmp_path}/f is not a finding"):
        Finding.load(tmp_path / "f")


def _masks(*moments: tuple[int, str]) -> list[Entry]:
    return [Entry(at, Kind.MASK, 0, 0, NONE, device, NONE, 0, 1) for at, device in moments]


def test_a_run_is_cut_at_times_from_its_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry at a cut belongs to the next part; an entry after the last cut belongs to no part."""
    entries = _masks(*((5000 + at, "dev0") for at in (0, 999, 1000, 1999, 2000, 3000)))
    monkeypatch.setattr(cases, "play", lambda *_, **__: Recording(5000, entries, "", "alive", []))
    judged: list[list[int]] = []

    def judge(oracle: Oracle, part: list[Entry]) -> list[Violation]:
        judged.append([entry.time_ns - 5000 for entry in part])
        return []

    monkeypatch.setattr(Oracle, "judge", judge)
    assert case_of(_parse(_LEAST), "6.1", [0, 7, None], 1000).run().all() == []
    assert judged == [[0, 999], [1000, 1999], [2000]]


def test_a_window_ends_where_its_own_device_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """The window is as long as the longest of the measured points; entries of other devices do not end it."""
    period = 50_000_000
    own = [(period * slot + at, "dev0") for slot, at in enumerate((300, 400, 350, 320))]
    entries = _masks(*own, (3 * period + 9000, "dev1"))
    monkeypatch.setattr(cases.Case, "run", lambda _: Outcome(Recording(0, entries, "", "", []), [], []))
    shape = calibrate(_parse(_LEAST | {"until": "masked dev0", "extra_ns": 10}), "6.1")
    assert (shape.begin_ns, shape.window_ns) == (0, 410)


@pytest.mark.parametrize(("since", "extra_ns", "window"), [("masked dev1", 10, -90), ("", 9, 309)])
def test_window_shorter_than_a_step_is_refused(
    monkeypatch: pytest.MonkeyPatch, since: str, extra_ns: int, window: int
) -> None:
    """In such a window there would be no point, so that the sweep would pass without a test."""
    entries = _masks((300, "dev0"), (400, "dev1"))
    monkeypatch.setattr(cases.Case, "run", lambda _: Outcome(Recording(0, entries, "", "", []), [], []))
    made = replace(_parse(_LEAST | {"until": "masked dev0", "extra_ns": extra_ns, "step": 310}), since=since)
    with pytest.raises(BenchError, match=f"scenario s: its window, of {window} ns, is shorter than its step, 310 ns"):
        calibrate(made, "6.1")


class _Fake:
    """Fakes runs of cases without a guest: ``fails`` returns true for a case that shows the violation."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fails: object) -> None:
        self.runs = 0

        def run(case: Case, keep: Path | None = None) -> Outcome:
            self.runs += 1
            found = [Violation("lost", "")] if fails(case) else []  # type: ignore[operator]
            return Outcome(Recording(0, [], "", "", []), [found], [])

        monkeypatch.setattr(cases.Case, "run", run)


def _long_case() -> Case:
    stimuli = tuple(Stimulus(1000 * slot + at, "dev0", f"raise {at + 1}") for slot in range(20) for at in (0, 1, 3))
    return Case("t", Machine(), stimuli, tuple(1000 * (slot + 1) for slot in range(20)), ("dev0",), 1, 10)


def test_a_failure_that_needs_one_stimulus_is_shrunk_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = _Fake(monkeypatch, lambda case: any(s.action == "raise 4" for s in case.stimuli))
    small = shrink(_long_case(), 12, {"lost"})
    assert small.stimuli == (Stimulus(3, "dev0", "raise 4"),)
    assert small.cuts == (1000,)
    assert fake.runs < 6


def test_a_failure_that_needs_its_past_keeps_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = {(10_000, "raise 1"), (12_003, "raise 4")}
    _Fake(monkeypatch, lambda case: needed <= {(s.at_ns, s.action) for s in case.stimuli})
    small = shrink(_long_case(), 12, {"lost"})
    assert {(s.at_ns, s.action) for s in small.stimuli} == needed


def test_a_failure_of_another_rule_does_not_count_when_shrinking(monkeypatch: pytest.MonkeyPatch) -> None:
    _Fake(monkeypatch, lambda case: len(case.stimuli) < 60)
    case = _long_case()
    assert shrink(case, 19, {"late"}).stimuli == case.stimuli


def test_differing_replays_are_kept_with_where_they_part(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """If replays differ, their logs are kept and the first different entries are printed."""
    late = iter([0, 0, 7, 0])

    def run(case: Case, keep: Path) -> Outcome:
        keep.mkdir(parents=True)
        times = (100, 200 + next(late), 300)
        entries = [Entry(at, Kind.PIN, 0, 0, NONE, "dev0", NONE, 0, 1) for at in times]
        write_log(keep / "events.shirqlog", ["dev0"], entries)
        return Outcome(Recording(0, [], str(times), "", []), [], [])

    monkeypatch.setattr(cases.Case, "run", run)
    monkeypatch.setattr(findings, "FINDINGS", tmp_path)
    assert not cli.replays_agree([scenario.get("reassert")], "6.1", 3)
    said = capsys.readouterr().out
    assert "3 replays gave 2 different logs" in said
    assert re.search(r"the first entries that differ:\n +Entry\(time_ns=200,.*\n +Entry\(time_ns=207,", said)
    kept = tmp_path / "replays-reassert-6.1"
    assert {path.name for path in kept.iterdir()} == {"1", "3"}
    assert str(kept / "3") in said
    assert cli.replays_agree([scenario.get("reassert")], "6.1", 1)
    assert not kept.exists()


def test_an_address_is_named_by_the_function_that_it_is_in() -> None:
    names = Symbols([(0x1000, "first"), (0x2000, "second [shirq]")], [])
    assert names.name(0x1010) == "first+0x10"
    assert names.name(0x2000) == "second+0x0 [shirq]"
    assert names.name(0x10) == "0x10"
    assert names.name(0x90000000) == "0x90000000"


def test_an_instruction_is_written_as_a_disassembler_does() -> None:
    assert instruction(bytes.fromhex("0fae f0") + b"\x90" * 12, 0xFFFFFFFF81000000) == "mfence"
