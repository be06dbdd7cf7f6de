# SPDX-License-Identifier: MIT
"""Campaigns in shards: the same report to the byte however a campaign is divided, and whatever is damaged or lost."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import steady
from shirq_bench.campaigns import registry, shards
from shirq_bench.campaigns.explore import run as explore
from shirq_bench.campaigns.explore import shards as explorations
from shirq_bench.campaigns.shards import CampaignError, OtherInputs, Shard, Store
from shirq_bench.campaigns.sweep import run, scenario
from shirq_bench.campaigns.sweep import shards as sweeps
from shirq_bench.campaigns.sweep.run import FailsAlone, Shape, Tried
from shirq_bench.campaigns.sweep.scenario import Scenario
from steady import Steady


def whole(directory: Path, spec: dict[str, Any]) -> bytes:
    """Run a campaign here, undivided; returns its report."""
    store = Store(directory)
    store.begin(spec)
    campaign = registry.campaign(spec)
    shards.run_here(campaign, store)
    store.report(campaign)
    return (directory / "report.json").read_bytes()


@settings(max_examples=20)
@given(parts=st.integers(1, 7), order=st.randoms(), numbers=st.integers(0, 30))
def test_the_report_is_the_same_however_it_was_divided(
    tmp_path_factory: pytest.TempPathFactory, parts: int, order: Any, numbers: int
) -> None:
    top = tmp_path_factory.mktemp("campaign")
    spec = steady.spec(numbers)
    wanted = whole(top / "whole", spec)
    folders = [top / f"part{number}" for number in range(1, parts + 1)]
    for number, folder in enumerate(folders, 1):
        store = Store(folder)
        store.begin(spec)
        shards.run_here(Steady(spec), store, number, parts)
    order.shuffle(folders)
    merged = shards.merge(folders, top / "merged")
    content = merged.report(Steady(spec))
    assert (content["missing"], content["apart"]) == (0, {})
    assert (top / "merged/report.json").read_bytes() == wanted
    counts = [len(list((folder / "results").iterdir())) for folder in folders]
    assert sum(counts) == numbers + parts, "only the shard that others depend on runs in each part"


def test_a_campaign_goes_on_with_what_it_has(tmp_path: Path) -> None:
    """A lost or damaged result runs again, no other one."""
    trace = tmp_path / "trace"
    trace.mkdir()
    spec = steady.spec(5, trace=str(trace))
    wanted = whole(tmp_path / "out", spec)
    files = sorted((tmp_path / "out/results").iterdir())
    files[0].unlink()
    files[1].write_bytes(files[1].read_bytes()[:-9])
    files[2].write_bytes(files[3].read_bytes())
    for file in trace.iterdir():
        file.unlink()
    told: list[str] = []
    store = Store(tmp_path / "out")
    shards.run_here(Steady(spec), store, tell=told.append)
    store.report(Steady(spec))
    assert (tmp_path / "out/report.json").read_bytes() == wanted
    assert len(list(trace.iterdir())) == 3
    damaged = [line for line in told if "is damaged" in line]
    assert len(damaged) == 2 and str(files[1]) in damaged[0] and "of another shard" in damaged[1]


def test_a_shard_that_always_fails_is_set_apart_and_tried_no_more(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    trace.mkdir()
    spec = steady.spec(3, failing=[1], trace=str(trace))
    store = Store(tmp_path / "out")
    store.begin(spec)
    for _ in range(2):
        shards.run_here(Steady(spec), store)
    content = store.report(Steady(spec))
    assert list(content["apart"].values()) == ["it failed 3 times: number 1 fails"]
    assert (content["points"], content["missing"]) == (3, 0)
    assert len(list(trace.glob("1-*"))) == shards.ATTEMPTS
    merged = shards.merge([tmp_path / "out"], tmp_path / "merged")
    assert merged.report(Steady(spec)) == content


def test_a_machine_with_other_versions_takes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(steady.OTHER, "two")
    store = Store(tmp_path)
    store.begin(steady.spec(3))
    with pytest.raises(OtherInputs, match="inputs one, not two"):
        shards.run_here(Steady(steady.spec(3)), store)
    assert store.results() == {} and store.apart() == {}


def test_a_folder_belongs_to_one_campaign(tmp_path: Path) -> None:
    whole(tmp_path / "out", steady.spec(2))
    with pytest.raises(CampaignError, match=r"another campaign: inputs, numbers\. Give another --out"):
        Store(tmp_path / "out").begin(steady.spec(3) | {"inputs": "two"})
    with pytest.raises(CampaignError, match="no description of a campaign"):
        Store(tmp_path / "nothing").spec()
    whole(tmp_path / "other", steady.spec(3))
    with pytest.raises(CampaignError, match="another campaign: numbers"):
        shards.merge([tmp_path / "out", tmp_path / "other"], tmp_path / "merged")


def test_two_results_of_one_shard_are_an_error_that_keeps_both(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.begin(steady.spec(1))
    shard = Shard({"number": 1})
    store.add(shard, 1)
    store.add(shard, 1)
    with pytest.raises(CampaignError, match=r"two different results: .*not deterministic"):
        store.add(shard, 2)
    kept = [json.loads(file.read_bytes())["result"] for file in sorted((tmp_path / "results").iterdir())]
    assert kept == [1, 2]


def test_a_merge_names_a_damaged_part(tmp_path: Path) -> None:
    whole(tmp_path / "out", steady.spec(2))
    file = sorted((tmp_path / "out/results").iterdir())[0]
    file.write_bytes(b"{}")
    with pytest.raises(CampaignError, match=rf"{file.name} is damaged: .*run its shard again there"):
        shards.merge([tmp_path / "out"], tmp_path / "merged")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("swep", "there is no campaign 'swep': write one of sweep"),
        ("nobody:Here", "No module"),
        ("steady:X", "no attrib"),
    ],
)
def test_an_unknown_campaign_is_named(name: str, text: str) -> None:
    with pytest.raises(CampaignError, match=text):
        registry.campaign({"campaign": name})


# ---------------------------------------------------------------- sweeps


@pytest.fixture
def window(monkeypatch: pytest.MonkeyPatch) -> list[range]:
    """Sweeps without guests: a window of 25 ns, chunks of 10, a scenario that fails alone; returns what was tried."""
    tried: list[range] = []

    def calibrate(item: Scenario, kernel: str) -> Shape:
        if item.title == "fails":
            raise FailsAlone("it fails alone")
        return Shape(100, 25, 1000)

    def try_points(item: Scenario, kernel: str, points: range, period_ns: int, *_: Any) -> Tried:
        tried.append(points)
        assert (kernel, period_ns) == ("6.1", 1000)
        return Tried(points=len(points), places={point // 2 for point in points}, digests=[f"log {points.start}"])

    monkeypatch.setattr(run, "calibrate", calibrate)
    monkeypatch.setattr(run, "try_points", try_points)
    monkeypatch.setattr(run, "CHUNK", 10)
    monkeypatch.setattr(sweeps, "_inputs", lambda item, kernel: {"template": item.name, "bench": "b"})
    return tried


def two() -> list[Scenario]:
    one = next(iter(scenario.load().values()))
    return [dataclasses.replace(one, name="good", title="good"), dataclasses.replace(one, name="bad", title="fails")]


def test_a_sweep_is_measured_then_divided(tmp_path: Path, window: list[range]) -> None:
    spec = sweeps.describe(two(), "6.1", 0)
    whole(tmp_path / "out", spec)
    assert window == [range(100, 110), range(110, 120), range(120, 125)]
    content = json.loads((tmp_path / "out/report.json").read_bytes())
    good, bad = content["scenarios"]
    assert (good["points"], good["window_ns"], good["instructions"], good["error"]) == (25, 25, 13, "")
    assert (bad["points"], bad["error"]) == (0, "it fails alone")
    assert (content["points"], content["violations"], content["errors"], content["missing"]) == (25, 0, 1, 0)


def test_parts_of_a_sweep_join(tmp_path: Path, window: list[range]) -> None:
    spec = sweeps.describe(two(), "6.1", 0)
    wanted = whole(tmp_path / "out", spec)
    window.clear()
    folders = [tmp_path / name for name in "abc"]
    for number, folder in enumerate(folders, 1):
        store = Store(folder)
        store.begin(spec)
        shards.run_here(registry.campaign(spec), store, number, 3)
    assert sorted(window, key=lambda one: one.start) == [range(100, 110), range(110, 120), range(120, 125)]
    shards.merge(folders, tmp_path / "merged").report(registry.campaign(spec))
    assert (tmp_path / "merged/report.json").read_bytes() == wanted


@pytest.mark.parametrize("change", ["template", "bench", "kernel", "points", "scenario"])
def test_a_shards_key_has_all_that_its_result_depends_on(
    window: list[range], monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    def keys(made: Sequence[Scenario], kernel: str = "6.1", points: int = 0) -> list[str]:
        spec = sweeps.describe(made, kernel, points)
        campaign = sweeps.Sweeps(spec)
        (first,) = campaign.shards({})
        found = campaign.shards({first.key: {"shape": {"begin_ns": 1, "window_ns": 9, "period_ns": 99}}})
        return [shard.key for shard in found]

    before = keys(two()[:1])
    if change == "kernel":
        after = keys(two()[:1], kernel="6.12")
    elif change == "points":
        after = [before[0] + "x", *keys(two()[:1], points=3)[1:]]
    elif change == "scenario":
        after = keys([dataclasses.replace(two()[0], bound_ns=1)])
    else:
        other = {"template": "good", "bench": "b"} | {change: "other"}
        monkeypatch.setattr(sweeps, "_inputs", lambda item, kernel: other)
        after = keys(two()[:1])
    assert not {*before} & {*after}


def test_a_sweeps_shard_refuses_other_inputs(window: list[range], monkeypatch: pytest.MonkeyPatch) -> None:
    campaign = sweeps.Sweeps(sweeps.describe(two(), "6.1", 0))
    first = next(iter(campaign.shards({})))
    monkeypatch.setattr(sweeps, "_inputs", lambda item, kernel: {"template": item.name, "bench": "c"})
    with pytest.raises(OtherInputs, match="the campaign is of bench b, not c, which this machine has"):
        campaign.run(first.task)
    assert window == []


@pytest.mark.parametrize(("points", "exhausted"), [(0, True), (3, False)])
def test_an_exploration_tries_a_point_of_each_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, window: list[range], points: int, exhausted: bool
) -> None:
    """If fewer points are wanted than there are classes, they are spread over the window, which is not exhausted."""
    tried: list[int] = []

    def try_points(item: Scenario, kernel: str, points: list[int], *_: Any) -> Tried:
        tried.extend(points)
        return Tried(points=len(points), places=set(points), digests=[f"log {points}"])

    monkeypatch.setattr(run, "try_points", try_points)
    classes = [range(begin, begin + 2) for begin in range(100, 124, 2)] + [range(124, 125)]
    monkeypatch.setattr(explore, "classes", lambda item, kernel, shape: classes)
    spec = explorations.describe(two(), "6.1", points)
    content = json.loads(whole(tmp_path / "out", spec))
    good, bad = content["scenarios"]
    assert tried == ([*range(101, 125, 2), 124] if exhausted else [100, 109, 118])
    assert (good["points"], good["equivalent"], good["exhausted"]) == ((13, 12, True) if exhausted else (3, 0, False))
    assert (bad["error"], bad["exhausted"], content["failed"]) == ("it fails alone", False, 1)
    assert content["summary"] == f"{len(tried)} points, 0 violations, 1 errors"
