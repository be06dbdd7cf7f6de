# SPDX-License-Identifier: MIT
"""Explorations with one preemption as a campaign of shards: as sweeps, but only one point of each class is tried."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from shirq_bench.campaigns.explore.run import choose
from shirq_bench.campaigns.shards import Results
from shirq_bench.campaigns.sweep import run, shards
from shirq_bench.campaigns.sweep.run import Shape
from shirq_bench.campaigns.sweep.scenario import Scenario

NAME: Final = "explore"


def describe(scenarios: Sequence[Scenario], kernel: str, points: int) -> dict[str, Any]:
    """A campaign's description: see `shirq_bench.campaigns.sweep.shards.describe`."""
    return shards.describe(scenarios, kernel, points, NAME)


class Explorations(shards.Sweeps):
    """See `shirq_bench.campaigns.shards.Campaign`; made from what `describe` returned."""

    def _measure(self, scenario: Scenario, kernel: str) -> dict[str, Any]:
        shape = run.calibrate(scenario, kernel)
        offsets, equivalent = choose(scenario, kernel, shape, self.spec["points"])
        return {"shape": dataclasses.asdict(shape), "offsets": list(offsets), "equivalent": equivalent}

    def _parts(self, scenario: Scenario, shape: Shape, measured: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        for chunk in run.chunks(scenario, measured["offsets"], shape.period_ns):
            yield {"offsets": chunk}

    def _points(self, task: Mapping[str, Any]) -> Sequence[int]:
        points: Sequence[int] = task["offsets"]
        return points

    def _row(self, scenario: Mapping[str, Any], results: Results) -> dict[str, Any]:
        row = super()._row(scenario, results)
        equivalent = results.get(self._measuring(scenario).key, {}).get("equivalent", 0)
        exhausted = bool(row["window_ns"]) and row["points"] + equivalent == row["window_ns"]
        return {**row, "equivalent": equivalent, "exhausted": exhausted}
