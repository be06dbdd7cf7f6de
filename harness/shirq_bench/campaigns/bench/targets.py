# SPDX-License-Identifier: MIT
"""The performance targets of shirq.ko against the other drivers, and whether they are met."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from shirq_bench.campaigns.bench.contender import POLLING, SPINNING


@dataclass(frozen=True)
class Target:
    """A target: ``value`` should be at most ``limit``."""

    what: str
    value: float
    limit: float

    @property
    def met(self) -> bool:
        """Whether the value is within the limit."""
        return self.value <= self.limit


def judge(kernel: Mapping[str, Any]) -> list[Target]:
    """The targets of what was measured on one kernel: ``cost`` with ``profile`` and ``spin``, ``rate``, or all."""
    return [*(_of_cost(kernel) if "cost" in kernel else ()), *(_of_rate(kernel["rate"]) if "rate" in kernel else ())]


def _of_cost(kernel: Mapping[str, Any]) -> Iterator[Target]:
    costs, profiles, spin = kernel["cost"], kernel["profile"], kernel["spin"]
    drivers = {name: figures["regular"] for name, figures in costs["drivers"].items()}
    rounds = {name: figures["enabled"]["median"] for name, figures in drivers.items()}
    beside = costs["neighbour"]["beside"]
    ours, uio, floor = drivers["shirq"], "uio_pci_generic", "wake"
    accesses = ours["registers"] + ours["config"] - drivers[floor]["registers"]
    path = {until: spin["handler"] + spin[until]["median"] for until in ("store", "enabled")}
    yield Target("round trip, relative to uio_pci_generic", rounds["shirq"] / rounds[uio], 0.53)
    yield Target("round trip, relative to the floor that wakes a reader", rounds["shirq"] / rounds[floor], 1.03)
    yield Target("system calls per interrupt", profiles["shirq"]["calls"], 1)
    yield Target("device accesses in addition to those of the floor", accesses, 0)
    yield Target("instructions added to a neighbour's interrupt", beside["shirq"]["added"], 80)
    yield Target(
        "instructions added to a neighbour's interrupt, relative to uio_pci_generic",
        beside["shirq"]["added"] / beside[uio]["added"],
        1.0,
    )
    yield Target("round trip with a ring, relative to the one without", rounds["shirq-ring"] / rounds["shirq"], 1.01)
    yield Target(
        "spinning: to the first store, relative to uio_pci_generic",
        path["store"] / drivers[uio]["awake"]["median"],
        0.2,
    )
    yield Target("spinning: round trip, relative to uio_pci_generic", path["enabled"] / rounds[uio], 0.42)
    yield Target("spinning: system calls per interrupt", spin["calls"], 0)
    yield Target("spinning: reads of the device per interrupt", spin["reads"], 2)


def _of_rate(rates: Mapping[str, Any]) -> Iterator[Target]:
    yield Target(
        "CPU time used at 100,000/s by a driver that polls under load", 1 - rates[POLLING.name]["left"]["100000"], 0.4
    )
    highest = {name: figures["highest"]["median"] for name, figures in rates.items() if figures["highest"]}
    yield Target(
        "highest rate of uio_pci_generic, relative to a driver that spins",
        highest["uio_pci_generic"] / highest[SPINNING.name],
        1 / 3,
    )
