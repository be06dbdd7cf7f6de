# SPDX-License-Identifier: MIT
"""A sweep in shards gives the same report whether it is divided or not, with real guests."""

from __future__ import annotations

from pathlib import Path

import pytest

from shirq_bench.campaigns import fleet, shards
from shirq_bench.campaigns.shards import Store
from shirq_bench.campaigns.sweep import pairs, run
from shirq_bench.campaigns.sweep import shards as sweeps


def report(store: Store, campaign: sweeps.Sweeps) -> bytes:
    content = store.report(campaign)
    assert (content["points"], content["violations"], content["missing"]) == (100, 0, 0)
    return (store.directory / "report.json").read_bytes()


def test_a_divided_sweep_has_the_report_of_the_whole(
    tmp_path: Path, kernel_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logs are part of the report by their digests. Two parts here, then two workers."""
    monkeypatch.setattr(run, "CHUNK", 20)
    spec = sweeps.describe([pairs.find("reassert", "ci")], kernel_name, 100)
    campaign = sweeps.Sweeps(spec)
    stores = [Store(tmp_path / name) for name in ("whole", "first", "second", "fleet")]
    for store in stores:
        store.begin(spec)
    whole, first, second, distributed = stores
    shards.run_here(campaign, whole)
    wanted = report(whole, campaign)
    for number, store in enumerate((first, second), 1):
        shards.run_here(campaign, store, number, 2)
        assert 1 < len(store.results()) < 6
    merged = shards.merge([first.directory, second.directory], tmp_path / "merged")
    assert report(merged, campaign) == wanted
    with fleet.local(2) as cluster:
        fleet.run(campaign, distributed, cluster)
    assert report(distributed, campaign) == wanted
