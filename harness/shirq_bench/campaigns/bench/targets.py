# SPDX-License-Identifier: MIT
"""The performance targets of shirq.ko against the other drivers, and whether they are met."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Target:
    """``value`` should be ``limit`` at most."""

    what: str
    value: float
    limit: float

    @property
    def met(self) -> bool:
        """Whether it is."""
        return self.value <= self.limit


def judge(costs: Mapping[str, Any], profiles: Mapping[str, Any]) -> list[Target]:
    """The targets, from the result of `cost.measure` for one kernel and the profiles of its drivers."""
    rounds = {name: figures["regular"]["enabled"]["median"] for name, figures in costs["drivers"].items()}
    beside = costs["neighbour"]["beside"]
    accesses = {name: figures["regular"]["registers"] for name, figures in costs["drivers"].items()}
    config = costs["drivers"]["shirq"]["regular"]["config"]
    return [
        Target("whole round, of uio_pci_generic's", rounds["shirq"] / rounds["uio_pci_generic"], 0.50),
        Target("whole round, of the wake-a-reader floor's", rounds["shirq"] / rounds["wake"], 1.10),
        Target("system calls an interrupt", profiles["shirq"]["calls"], 1),
        Target("device accesses beyond the floor's", accesses["shirq"] + config - accesses["wake"], 0),
        Target(
            "what the neighbour's interrupt gains, of uio_pci_generic's",
            beside["shirq"]["added"] / beside["uio_pci_generic"]["added"],
            1.0,
        ),
    ]
