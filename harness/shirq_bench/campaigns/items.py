# SPDX-License-Identifier: MIT
"""Campaigns of items that do not depend on each other: a shard is one mutant, one file of tests, or one played case.

Their results depend on the whole checkout: a campaign is of one state of its files, and so are all its workers.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shirq_bench.campaigns.shards import Results, Shard, require_same
from shirq_bench.paths import need_checkout
from shirq_bench.provision import cache, checkout
from shirq_bench.vm import template
from shirq_bench.vm.machine import SHARED_LINE

#: Folders of the checkout on which no result depends.
_NOT_RUN = ("docs",)
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Kind:
    """The campaign's name, what its items are called, and how to do one.

    ``do`` is called with the checkout, an item, a kernel's name and a function that is told the progress. It returns
    JSON that is the same each time; ``good`` in it says whether the result is as it should be. It raises `BenchError`
    if there is no result. ``kernel_of`` returns the kernel on which an item is done, if it needs another one.
    """

    name: str
    noun: str
    do: Callable[[Path, str, str, Tell], Mapping[str, Any]]
    kernel_of: Callable[[Path, str, str], str] = lambda top, item, kernel: kernel


def _top() -> Path:
    return need_checkout("a campaign of its tests")


def _checkout() -> str:
    """The hash of the checkout's files."""
    files = [name for name in checkout.files(_top()) if name.parts[0] not in _NOT_RUN]
    return cache.digest([(str(name), cache.digest(_top() / name)) for name in files])


@functools.cache
def _guest(kernel: str) -> str:
    """The hash of QEMU, kernel and image. They are built if the cache lacks them."""
    return template.path(SHARED_LINE.with_(kernel=kernel)).name


def describe(kind: Kind, items: Sequence[str], kernel: str) -> dict[str, Any]:
    """A campaign's description. `BenchError` outside of a checkout."""
    kernels = {item: kind.kernel_of(_top(), item, kernel) for item in items}
    return {
        "campaign": kind.name,
        "kernel": kernel,
        "items": kernels,
        "inputs": {"checkout": _checkout(), **{name: _guest(name) for name in kernels.values()}},
    }


def _require_here(task: Mapping[str, Any]) -> None:
    """Raise `OtherInputs` if the checkout or the guest of a task is not the one that this machine has now."""
    require_same(task["inputs"], {"checkout": _checkout(), "guest": _guest(task["kernel"])})


class Items:
    """See `shirq_bench.campaigns.shards.Campaign`; made from what `describe` returned."""

    def __init__(self, kind: Kind, spec: Mapping[str, Any]) -> None:
        self._kind = kind
        self.spec = spec

    def _shard(self, item: str) -> Shard:
        kernel, inputs = self.spec["items"][item], self.spec["inputs"]
        return Shard(
            {
                "campaign": self.spec["campaign"],
                "item": item,
                "kernel": kernel,
                "inputs": {"checkout": inputs["checkout"], "guest": inputs[kernel]},
            }
        )

    def shards(self, results: Results) -> Iterator[Shard]:
        """A shard for each item."""
        return map(self._shard, self.spec["items"])

    def run(self, task: Mapping[str, Any], tell: Tell = lambda _: None) -> Mapping[str, Any]:
        """Do an item. `OtherInputs` also if the checkout changes meanwhile."""
        item, kernel = task["item"], task["kernel"]
        _require_here(task)
        tell(item)
        result = self._kind.do(_top(), item, kernel, lambda said: tell(f"{item}: {said}"))
        _require_here(task)
        return result

    def report(self, results: Results) -> dict[str, Any]:
        """Each item's result, and how many are not as they should be."""
        found = {item: results.get(self._shard(item).key) for item in self.spec["items"]}
        done = {item: result for item, result in found.items() if result is not None}
        bad = sorted(item for item, result in done.items() if not result["good"])
        return {
            **{key: self.spec[key] for key in ("campaign", "kernel", "inputs")},
            "items": done,
            "bad": bad,
            "summary": f"{len(done)} {self._kind.noun}, {len(bad)} bad",
            "failed": len(bad),
        }
