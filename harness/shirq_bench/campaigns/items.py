# SPDX-License-Identifier: MIT
"""Campaigns of items that do not depend on each other: a shard is one mutant, one file of tests, or one played case.

Their results depend on the whole checkout: a campaign is of one state of its files, and so are all its workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shirq_bench.campaigns.shards import Results, Shard, require_same
from shirq_bench.paths import need_checkout
from shirq_bench.provision import cache, checkout, kernel

#: Folders of the checkout on which no result depends.
_NOT_RUN = ("docs",)
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Kind:
    """The campaign's name, what its items are called, and how to do one.

    ``do`` is called with the checkout, an item, a kernel's name and a function that is told the progress. It returns
    JSON that is the same each time; ``good`` in it says whether the result is as it should be. It raises `BenchError`
    if there is no result.
    """

    name: str
    noun: str
    do: Callable[[Path, str, str, Tell], Mapping[str, Any]]


def _inputs(kernel_name: str) -> dict[str, str]:
    top = need_checkout("a campaign of its tests")
    files = [name for name in checkout.files(top) if name.parts[0] not in _NOT_RUN]
    contents = [(str(name), cache.digest(top / name)) for name in files]
    return {"checkout": cache.digest(contents), "kernel": kernel.get(kernel_name).version}


def describe(kind: Kind, items: Sequence[str], kernel_name: str) -> dict[str, Any]:
    """A campaign's description. `BenchError` outside of a checkout."""
    return {"campaign": kind.name, "kernel": kernel_name, "items": list(items), "inputs": _inputs(kernel_name)}


class Items:
    """See `shirq_bench.campaigns.shards.Campaign`; made from what `describe` returned."""

    def __init__(self, kind: Kind, spec: Mapping[str, Any]) -> None:
        self._kind = kind
        self.spec = spec

    def _shard(self, item: str) -> Shard:
        return Shard({"item": item} | {key: self.spec[key] for key in ("campaign", "kernel", "inputs")})

    def shards(self, results: Results) -> Iterator[Shard]:
        """A shard for each item."""
        return map(self._shard, self.spec["items"])

    def run(self, task: Mapping[str, Any], tell: Tell = lambda _: None) -> Mapping[str, Any]:
        """Do an item. `OtherInputs` also if the checkout changes meanwhile."""
        require_same(task["inputs"], _inputs(task["kernel"]))
        tell(task["item"])
        result = self._kind.do(
            need_checkout("a campaign of its tests"),
            task["item"],
            task["kernel"],
            lambda said: tell(f"{task['item']}: {said}"),
        )
        require_same(task["inputs"], _inputs(task["kernel"]))
        return result

    def report(self, results: Results) -> dict[str, Any]:
        """Each item's result, and how many are not as they should be."""
        found = {item: results.get(self._shard(item).key) for item in self.spec["items"]}
        done = {item: result for item, result in found.items() if result is not None}
        bad = [item for item, result in done.items() if not result["good"]]
        return {
            **{key: self.spec[key] for key in ("campaign", "kernel", "inputs")},
            "items": done,
            "bad": bad,
            "summary": f"{len(done)} {self._kind.noun}, {len(bad)} bad",
            "failed": len(bad),
        }
