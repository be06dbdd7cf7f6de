# SPDX-License-Identifier: MIT
"""The catalogue as a campaign of shards: a shard plays one case with one driver."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from shirq_bench.campaigns.items import Kind, Tell
from shirq_bench.campaigns.zoo import case as cases
from shirq_bench.campaigns.zoo.case import DRIVERS, Case
from shirq_bench.campaigns.zoo.run import play
from shirq_bench.campaigns.zoo.suite import kernel_for

_BETWEEN: Final = "/"


def items(chosen: Sequence[Case]) -> list[str]:
    """Each case with each driver."""
    return [f"{case.id}{_BETWEEN}{driver}" for case in chosen for driver in DRIVERS]


def _kernel_of(top: Path, item: str, kernel: str) -> str:
    return kernel_for(cases.get(item.partition(_BETWEEN)[0]), kernel)


def _play(top: Path, item: str, kernel: str, tell: Tell) -> Mapping[str, Any]:
    name, _, driver = item.partition(_BETWEEN)
    case = cases.get(name)
    played = play(case, driver, kernel)
    return {
        "good": played.expected,
        "outcome": played.result.outcome,
        "wanted": case.expected[driver],
        "unmet": list(played.unmet),
    }


KIND: Final = Kind("zoo", "cases with a driver", _play, _kernel_of)
