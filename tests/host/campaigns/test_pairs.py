# SPDX-License-Identifier: MIT
"""The matrix of operations and stimuli is generated from data: it is complete, and a new entry adds its pairs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from shirq_bench.campaigns.sweep import pairs, run
from shirq_bench.campaigns.sweep.run import Result, Shape
from shirq_bench.campaigns.sweep.scenario import Scenario
from shirq_bench.cli.main import main
from shirq_bench.errors import BenchError

_SMALL = """
[sizes.ci]
instruction = 2
process = 1
[sizes.full]
instruction = 0
process = 9
[operations.open]
title = "an open"
how = "alone"
deed = "reopen"
since = "step 2"
until = "step 3"
[operations.kill]
title = "a kill"
options = ["--mortal"]
first = ["ctl raise 1"]
until = "unmasked dev0"
drivers = ["ctl neighbour"]
cost = "process"
[stimuli.raise]
title = "a raise"
entries = ["dev0 raise 1"]
[stimuli.dead]
title = "a death"
options = ["--mortal"]
entries = ["dev0 set dead all"]
broken = ["dev0"]
bound_ns = 5000000
[[left_out]]
operations = ["kill"]
stimuli = ["dead"]
reason = "it is dead twice"
"""


def _matrix(tmp_path: Path, text: str = _SMALL) -> pairs.Matrix:
    (tmp_path / "pairs.toml").write_text(text)
    return pairs.load(tmp_path / "pairs.toml")


def _scenarios(matrix: pairs.Matrix, size: str = "full") -> dict[str, Scenario]:
    return {cell.name: cell.scenario for cell in matrix.cells(size) if cell.scenario}


def test_every_pair_of_the_file_is_a_scenario_or_has_a_reason() -> None:
    matrix = pairs.load()
    cells = {(cell.first, cell.second): cell for cell in matrix.cells("ci")}
    assert cells.keys() == {(o, s) for o in matrix.operations for s in matrix.stimuli}
    for cell in cells.values():
        assert (cell.scenario is None) == bool(cell.reason), cell.name
    assert len(matrix.operations) >= 20 and len(matrix.stimuli) >= 7


def test_every_scenario_can_be_played_by_its_guest() -> None:
    """The actor knows each scenario's deed, and each deed has a source of ctl that requests it."""
    actor = (Path(__file__).parents[3] / "guest/sweep/actor.c").read_text()
    for item in _scenarios(pairs.load()).values():
        owner = item.actors[0].split()
        deeds = [owner[n + 1] for n, word in enumerate(owner) if word == "--deed"]
        assert all(f'{{ "{deed}", ' in actor for deed in deeds), item.actors
        assert len(deeds) <= 32, "ctl has only 32 sources, one for each deed"
        for stimulus in run.case_of(item, "6.1", [5], 10**9).stimuli:
            assert stimulus.device in {"dev0", "dev1", "ctl"}
            assert stimulus.device != "ctl" or item.drivers or int(stimulus.action.split()[1], 0) < 1 << len(deeds)


def test_a_deed_is_asked_for_by_its_source(tmp_path: Path) -> None:
    more = """
[operations.close]
title = "a close"
how = "alone"
deed = "another"
until = "step 1"
"""
    known = _scenarios(_matrix(tmp_path, more + _SMALL))
    assert known["close+raise"].actors == known["open+raise"].actors
    assert known["close+raise"].actors[0] == "--how alone --control ctl --deed another --deed reopen dev0"
    assert known["close+raise"].first == ("ctl raise 1",)
    assert known["open+raise"].first == ("ctl raise 2",)


def test_a_new_operation_or_stimulus_joins_by_data_alone(tmp_path: Path) -> None:
    before = _scenarios(_matrix(tmp_path))
    assert list(before) == ["open+raise", "open+dead", "kill+raise"]
    more = """
[operations.read]
title = "a read"
first = ["dev0 raise 1"]
until = "unmasked dev0"
[stimuli.neighbour]
title = "a neighbour"
entries = ["dev1 raise 1"]
"""
    after = _scenarios(_matrix(tmp_path, _SMALL + more))
    assert after.keys() - before.keys() == {
        "open+neighbour",
        "kill+neighbour",
        "read+raise",
        "read+dead",
        "read+neighbour",
    }
    assert all(after[name] == scenario for name, scenario in before.items())


def test_a_pair_has_what_its_operation_and_its_stimulus_say(tmp_path: Path) -> None:
    matrix = _matrix(tmp_path)
    dead, kill = _scenarios(matrix)["open+dead"], _scenarios(matrix)["kill+raise"]
    assert dead.actors == ("--how alone --mortal --control ctl --deed reopen dev0", "dev1")
    assert (dead.since, dead.until, dead.second) == ("step 2", "step 3", ("dev0 set dead all",))
    assert (dead.broken, dead.bound_ns) == (("dev0",), 5_000_000)
    assert kill.drivers == ("ctl neighbour",) and not kill.broken and kill.bound_ns == 200_000
    assert kill.actors[0] == "--how read --mortal dev0"


def test_a_pair_costs_what_the_dearer_of_the_two_costs(tmp_path: Path) -> None:
    for size, cheap, dear in (("ci", 2, 1), ("full", 0, 9)):
        known = _scenarios(_matrix(tmp_path), size)
        assert (known["open+raise"].points, known["kill+raise"].points) == (cheap, dear)


def test_a_pair_may_have_a_bound_of_its_own(tmp_path: Path) -> None:
    more = """
[[bounds]]
operations = ["open"]
stimuli = ["raise"]
bound_ns = 7000000
reason = "it waits"
"""
    known = _scenarios(_matrix(tmp_path, _SMALL + more))
    assert [known[name].bound_ns for name in ("open+raise", "open+dead", "kill+raise")] == [
        7_000_000,
        5_000_000,
        200_000,
    ]
    with pytest.raises(BenchError, match=r"bounds\[0\].reason must not be empty"):
        _matrix(tmp_path, _SMALL + more.replace("it waits", ""))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            'stimuli = ["dead"]\nreason',
            'stimuli = ["death"]\nreason',
            "left_out[0]: unknown operation or stimulus death",
        ),
        ('reason = "it is dead twice"', 'reason = ""', "left_out[0].reason must not be empty"),
        (
            'cost = "process"',
            'cost = "planet"',
            "kill: size ci has no cost 'planet'; known costs: instruction, process",
        ),
        ('deed = "reopen"', 'did = "reopen"', "operations.open: unknown key did; known keys: bound_ns, "),
        ('deed = "reopen"\n', "", "operations.open: needs exactly one of the keys `deed` and `first`"),
        ("[stimuli.raise]", "[wrong.raise]", "pairs.toml: unknown key wrong"),
    ],
)
def test_a_file_that_is_wrong_is_refused_by_name(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in _SMALL
    with pytest.raises(BenchError) as refused:
        _matrix(tmp_path, _SMALL.replace(old, new))
    assert message in str(refused.value)


def test_names_choose_rows_columns_or_one_pair(tmp_path: Path) -> None:
    matrix = _matrix(tmp_path)

    def names(*chosen: str) -> list[str]:
        return [cell.name for cell in pairs.choose(matrix, "ci", chosen)]

    assert names("open") == ["open+raise", "open+dead"]
    assert names("dead") == ["open+dead", "kill+dead"]
    assert names("open", "dead") == ["open+dead"]
    with pytest.raises(BenchError, match="there is no operation or stimulus deed; operations: open, kill;"):
        names("open", "deed")


def test_pair_is_a_scenario_and_one_left_out_says_why() -> None:
    """A pair can be used as a scenario; the error for an omitted pair gives the reason."""
    assert pairs.get("close+raise", "full").name == "close+raise"
    with pytest.raises(BenchError, match=r"vanish\+dead is left out: the operation is the stimulus"):
        pairs.get("vanish+dead", "full")


def _swept(matrix: pairs.Matrix) -> list[pairs.Swept]:
    shape = Shape(0, 1234, 9999)
    found = []
    for cell in matrix.cells("full"):
        if cell.scenario is None:
            found.append(pairs.Swept(cell))
        elif cell.name == "kill+raise":
            found.append(pairs.Swept(cell, error="no point reached 'unmasked dev0'"))
        else:
            found.append(pairs.Swept(cell, Result(cell.name, "6.1", shape, False, points=1000, places={1, 2, 3})))
    return found


def test_the_table_has_no_empty_cell(tmp_path: Path) -> None:
    matrix = _matrix(tmp_path)
    content = pairs.report(_swept(matrix), "6.1", [])
    assert pairs.rows(content) == [
        ["operation", "window", "raise", "dead"],
        ["open", "1,234", "1,000", "1,000"],
        ["kill", "-", "error", "- (1)"],
    ]
    assert (content["played"], content["left_out"], content["errors"], content["points"]) == (2, 1, 1, 2000)
    text = pairs.document(content, matrix)
    assert "| `open` | 1,234 | 1,000 | 1,000 |" in text
    assert "1. it is dead twice" in text
    assert "- `kill+raise`: no point reached 'unmasked dev0'" in text
    assert "- `open`: an open" in text and "- `dead`: a death" in text


def test_a_pair_that_was_not_played_says_so(tmp_path: Path) -> None:
    content = pairs.report([pairs.Swept(cell) for cell in _matrix(tmp_path).cells("ci")], "6.1", [])
    assert pairs.rows(content)[1:] == [
        ["open", "-", "not played", "not played"],
        ["kill", "-", "not played", "- (1)"],
    ]


@pytest.mark.parametrize("error", [BenchError("it is not quiet"), OSError("it is not quiet")], ids=["bench", "host"])
def test_command_sweeps_chosen_pairs_and_reports_failed_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """The command sweeps every chosen pair, and reports the pairs that it could not sweep."""
    matrix = _matrix(tmp_path)
    asked = []

    def sweep(item: Scenario, kernel: str, points: int, tell: object, most: int) -> Result:
        asked.append(item.name)
        if item.name == "open+dead":
            raise error
        return Result(item.name, kernel, Shape(0, 10, 20), False, points=2)

    monkeypatch.setattr(run, "sweep", sweep)
    monkeypatch.setattr(pairs, "load", lambda: matrix)
    monkeypatch.setattr(pairs, "REPORT", tmp_path / "pairs.json")
    said = CliRunner().invoke(main, ["sweep", "--pairs", "open"])
    assert asked == ["open+raise", "open+dead"]
    assert said.exit_code == 1
    assert "1 pairs with 2 points: 0 violations; 0 pairs left out, 1 that could not be swept" in said.output
    report = json.loads((tmp_path / "pairs.json").read_text())
    assert [cell["error"] for cell in report["cells"]] == ["", "it is not quiet"]
    assert CliRunner().invoke(main, ["sweep", "--pairs", "open", "raise"]).exit_code == 0


def test_a_choice_of_pairs_that_are_left_out_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "REPORT", tmp_path / "pairs.json")
    said = CliRunner().invoke(main, ["sweep", "--pairs", "vanish", "dead"])
    assert said.exit_code == 1
    assert "shirq: all of these pairs are left out: the operation is the stimulus" in said.stderr
    assert not pairs.REPORT.exists()


def test_the_document_needs_the_matrix() -> None:
    said = CliRunner().invoke(main, ["sweep", "--document"])
    assert said.exit_code == 2
    assert "--document writes the table of --pairs" in said.output
