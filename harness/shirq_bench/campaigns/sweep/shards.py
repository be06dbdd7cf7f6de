# SPDX-License-Identifier: MIT
"""Sweeps as a campaign of shards: the window of each scenario is measured, then divided into runs of some points."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import cattrs

import shirq_bench
from shirq_bench.campaigns.shards import Results, Shard, require_same
from shirq_bench.campaigns.sweep import run
from shirq_bench.campaigns.sweep.run import Failure, Shape
from shirq_bench.campaigns.sweep.scenario import Scenario
from shirq_bench.provision import cache
from shirq_bench.vm import template

NAME: Final = "sweep"


def describe(scenarios: Sequence[Scenario], kernel: str, points: int, name: str = NAME) -> dict[str, Any]:
    """The description of a campaign called ``name``; ``points`` of each window, evenly spread, or with 0 all.

    What the guests are made of is built if the cache lacks it: the versions are hashes of QEMU, kernel and image.
    """
    return {
        "campaign": name,
        "kernel": kernel,
        "points": points,
        "scenarios": [dataclasses.asdict(one) for one in scenarios],
        "inputs": {one.name: _inputs(one, kernel) for one in scenarios},
    }


def _inputs(scenario: Scenario, kernel: str) -> dict[str, str]:
    """The versions that a result depends on, by their hashes."""
    return {"template": template.path(scenario.machine(kernel)).name, "bench": _code()}


@functools.cache
def _code() -> str:
    """The hash of what plays and judges a point."""
    top = Path(shirq_bench.__file__).parent
    return cache.digest(
        *(top / name for name in ("channels", "vm", "observe", "replay", "campaigns/sweep", "campaigns/explore"))
    )


class Sweeps:
    """See `shirq_bench.campaigns.shards.Campaign`; made from what `describe` returned."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        # As the folder of the campaign has it: with lists, not tuples.
        self.spec: Mapping[str, Any] = json.loads(json.dumps(spec))

    def shards(self, results: Results) -> Iterator[Shard]:
        """A shard that measures the window of each scenario, and those of its points once it is measured."""
        for scenario in self.spec["scenarios"]:
            first = self._measuring(scenario)
            yield first
            yield from self._trying(scenario, results.get(first.key, {}))

    def _task(self, do: str, scenario: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        inputs = self.spec["inputs"][scenario["name"]]
        return {
            "campaign": self.spec["campaign"],
            "do": do,
            "scenario": scenario,
            "kernel": self.spec["kernel"],
            "inputs": inputs,
            **more,
        }

    def _measuring(self, scenario: Mapping[str, Any]) -> Shard:
        return Shard(self._task("measure", scenario), first=True)

    def _trying(self, scenario: Mapping[str, Any], measured: Mapping[str, Any]) -> Iterator[Shard]:
        if shape := measured.get("shape"):
            for part in self._parts(_scenario(scenario), Shape(**shape), measured):
                yield Shard(self._task("try", scenario, period_ns=shape["period_ns"], **part))

    def _parts(self, scenario: Scenario, shape: Shape, measured: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """The points of each shard, as part of its task."""
        offsets = run.offsets(scenario, shape, self.spec["points"])
        for chunk in run.chunks(scenario, offsets, shape.period_ns):
            yield {"begin": chunk.start, "end": chunk.stop, "step": chunk.step}

    def _points(self, task: Mapping[str, Any]) -> Sequence[int]:
        return range(task["begin"], task["end"], task["step"])

    def _measure(self, scenario: Scenario, kernel: str) -> dict[str, Any]:
        return {"shape": dataclasses.asdict(run.calibrate(scenario, kernel))}

    def run(self, task: Mapping[str, Any], tell: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
        """Run a shard."""
        scenario, kernel = _scenario(task["scenario"]), task["kernel"]
        require_same(task["inputs"], _inputs(scenario, kernel))
        if task["do"] == "measure":
            try:
                return self._measure(scenario, kernel)
            except run.FailsAlone as error:
                return {"error": str(error)}
        tried = run.try_points(scenario, kernel, self._points(task), task["period_ns"], tell)
        return {
            "points": tried.points,
            "places": sorted(tried.places),
            "logs": tried.digests,
            "violations": [_violation(failure) for failure in tried.failures],
        }

    def report(self, results: Results) -> dict[str, Any]:
        """The figures of all scenarios, and every violation."""
        rows = [self._row(scenario, results) for scenario in self.spec["scenarios"]]
        count = {
            "points": sum(row["points"] for row in rows),
            "violations": sum(len(row["violations"]) for row in rows),
            "errors": sum(bool(row["error"]) for row in rows),
        }
        return {
            **{key: self.spec[key] for key in ("campaign", "kernel", "inputs")},
            "scenarios": rows,
            **count,
            "summary": ", ".join(f"{number} {name}" for name, number in count.items()),
            "failed": count["violations"] + count["errors"],
        }

    def _row(self, scenario: Mapping[str, Any], results: Results) -> dict[str, Any]:
        measured = results.get(self._measuring(scenario).key, {})
        shape = measured.get("shape")
        tried = [results[shard.key] for shard in self._trying(scenario, measured) if shard.key in results]
        return {
            "name": scenario["name"],
            "window_ns": shape["window_ns"] if shape else 0,
            "error": measured.get("error", ""),
            "points": sum(one["points"] for one in tried),
            "instructions": len({place for one in tried for place in one["places"]}),
            "violations": [violation for one in tried for violation in one["violations"]],
            "logs": cache.digest([one["logs"] for one in tried]),
        }


def _scenario(data: Mapping[str, Any]) -> Scenario:
    return cattrs.structure(data, Scenario)


def _violation(failure: Failure) -> dict[str, Any]:
    found = failure.outcome.violations[failure.index] or failure.outcome.health
    return {
        "offset_ns": failure.offset_ns,
        "rules": sorted({violation.rule for violation in found}),
        "what": [violation.what for violation in found],
    }
