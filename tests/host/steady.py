# SPDX-License-Identifier: MIT
"""A campaign whose shards compute instead of running guests, for tests in which workers and schedulers die.

Description: ``numbers`` shards, each the square of its number; ``first`` shards that later ones depend on. A shard of
``deadly`` kills its worker, one of ``failing`` fails; those of ``slow_s`` wait so many seconds. ``trace`` is a folder
in which each run leaves a file.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from shirq_bench.campaigns.shards import OtherInputs, Results, Shard
from shirq_bench.errors import BenchError

NAME: Final = "steady:Steady"
#: Another machine's versions, for workers.
OTHER: Final = "STEADY_INPUTS"


def spec(numbers: int, **more: Any) -> dict[str, Any]:
    return {"campaign": NAME, "numbers": numbers, "inputs": "one", **more}


class Steady:
    def __init__(self, spec: Mapping[str, Any]) -> None:
        self.spec = spec

    def shards(self, results: Results) -> Iterator[Shard]:
        begin = Shard(self._task("begin", 0), first=True)
        yield begin
        if begin.key in results:
            for number in range(self.spec["numbers"]):
                yield Shard(self._task("square", number))

    def _task(self, do: str, number: int) -> dict[str, Any]:
        own = {key: value for key, value in self.spec.items() if key not in ("numbers", "trace", "slow_s")}
        return {**own, "do": do, "number": number}

    def run(self, task: Mapping[str, Any], tell: Callable[[str], None] = lambda _: None) -> int:
        number = task["number"]
        if task["inputs"] != os.environ.get(OTHER, task["inputs"]):
            raise OtherInputs("the campaign is of inputs one, not two, which this machine has")
        if trace := self.spec.get("trace"):
            (Path(trace) / f"{number}-{os.getpid()}-{time.monotonic_ns()}").touch()
        if task["do"] == "square":
            if number in self.spec.get("deadly", ()):
                os.kill(os.getpid(), signal.SIGKILL)
            if number in self.spec.get("failing", ()):
                raise BenchError(f"number {number} fails")
            time.sleep(self.spec.get("slow_s", 0))
        return int(number * number)

    def report(self, results: Results) -> dict[str, Any]:
        known = [results[shard.key] for shard in self.shards(results) if shard.key in results]
        return {
            "points": len(known),
            "sum": sum(known),
            "squares": known,
            "summary": f"{len(known)} points",
            "failed": 0,
        }
