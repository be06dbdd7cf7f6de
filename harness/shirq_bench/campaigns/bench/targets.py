# SPDX-License-Identifier: MIT
"""The performance targets of shirq.ko against the other drivers, and whether they are met."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


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


def judge(costs: Mapping[str, Any], profiles: Mapping[str, Any]) -> list[Target]:
    """The targets, from the result of `cost.measure` for one kernel and the profiles of its drivers."""
    rounds = {name: figures["regular"]["enabled"]["median"] for name, figures in costs["drivers"].items()}
    beside = costs["neighbour"]["beside"]
    accesses = {name: figures["regular"]["registers"] for name, figures in costs["drivers"].items()}
    config = costs["drivers"]["shirq"]["regular"]["config"]
    return [
        Target("round trip, relative to uio_pci_generic", rounds["shirq"] / rounds["uio_pci_generic"], 0.50),
        Target("round trip, relative to the floor that wakes a reader", rounds["shirq"] / rounds["wake"], 1.10),
        Target("system calls per interrupt", profiles["shirq"]["calls"], 1),
        Target("device accesses in addition to those of the floor", accesses["shirq"] + config - accesses["wake"], 0),
        Target(
            "instructions added to a neighbour's interrupt, relative to uio_pci_generic",
            beside["shirq"]["added"] / beside["uio_pci_generic"]["added"],
            1.0,
        ),
    ]
