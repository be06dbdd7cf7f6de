# SPDX-License-Identifier: MIT
"""`shirq campaign` and `shirq merge`: what they print, write and exit with. No guest is run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import steady
from shirq_bench.campaigns import shards
from shirq_bench.campaigns.shards import Store
from shirq_bench.campaigns.sweep import run
from shirq_bench.campaigns.sweep import shards as sweeps
from shirq_bench.campaigns.sweep.run import Shape, Tried
from shirq_bench.cli.main import main
from steady import Steady


def shirq(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)))


@pytest.fixture(autouse=True)
def no_guests(monkeypatch: pytest.MonkeyPatch) -> None:
    def try_points(item: object, kernel: str, points: range, *_: Any) -> Tried:
        return Tried(points=len(points), places=set(points), digests=["a log"])

    monkeypatch.setattr(run, "calibrate", lambda item, kernel: Shape(0, 9000, 1000))
    monkeypatch.setattr(run, "try_points", try_points)
    monkeypatch.setattr(sweeps, "_inputs", lambda item, kernel: {"template": item.name, "bench": "b"})


def test_parts_and_the_whole_have_the_same_report(tmp_path: Path) -> None:
    done = shirq("campaign", "sweep", "reassert", "--out", tmp_path / "whole")
    assert done.exit_code == 0, done.output
    assert f"9000 points, 0 violations, 0 errors, 0 missing; {tmp_path / 'whole/report.json'}\n" in done.output
    for number in (1, 2):
        part = shirq("campaign", "sweep", "reassert", "--out", tmp_path / str(number), "--shard", f"{number}/2")
        assert part.exit_code == 0, part.output
    lacking = shirq("merge", tmp_path / "1", "--out", tmp_path / "half")
    assert lacking.exit_code == 1 and " 0 missing" not in lacking.output
    assert shirq("merge", tmp_path / "1", tmp_path / "2", "--out", tmp_path / "merged").exit_code == 0
    wanted = (tmp_path / "whole/report.json").read_bytes()
    assert (tmp_path / "merged/report.json").read_bytes() == wanted
    content = json.loads(wanted)
    assert (content["kernel"], content["scenarios"][0]["name"]) == ("6.1", "reassert")


def test_points_limit_a_window_and_pairs_join_the_scenarios(tmp_path: Path) -> None:
    done = shirq("campaign", "sweep", "reassert", "close+raise", "--points", "90", "--out", tmp_path)
    assert done.exit_code == 0, done.output
    rows = json.loads((tmp_path / "report.json").read_bytes())["scenarios"]
    assert [(row["name"], row["points"]) for row in rows] == [("reassert", 90), ("close+raise", 90)]


def test_a_shard_that_was_set_apart_is_named_and_fails_the_campaign(tmp_path: Path) -> None:
    spec = steady.spec(3, failing=[1])
    store = Store(tmp_path / "out")
    store.begin(spec)
    shards.run_here(Steady(spec), store)
    done = shirq("merge", tmp_path / "out", "--out", tmp_path / "merged")
    assert done.exit_code == 1
    assert "was set apart: it failed 3 times: number 1 fails\n" in done.output


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--shard", "3/2"], "'3/2' is no part: write I/N with I from 1 to N, such as 2/8"),
        (["--shard", "1/2", "--local", "2"], "give one of them"),
        (["--local", "1", "--on", "tcp://h:1"], "give one of them"),
        (["--tls", "a", "b", "c"], "--tls needs --on"),
    ],
)
def test_wrong_options_say_what_is_right(tmp_path: Path, options: list[str], text: str) -> None:
    done = shirq("campaign", "sweep", "reassert", "--out", tmp_path / "out", *options)
    assert done.exit_code == 2 and text in done.output
    assert not (tmp_path / "out").exists()


def test_the_folder_of_another_campaign_is_refused(tmp_path: Path) -> None:
    assert shirq("campaign", "sweep", "reassert", "--out", tmp_path).exit_code == 0
    done = shirq("campaign", "sweep", "reassert", "--points", "5", "--out", tmp_path)
    assert done.exit_code == 1
    assert "has results of another campaign: points. Give another --out, or delete it" in done.output
