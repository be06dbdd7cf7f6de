# SPDX-License-Identifier: MIT
"""The campaigns that can be divided into shards, by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from shirq_bench.campaigns import guest_tests
from shirq_bench.campaigns.explore import shards as explorations
from shirq_bench.campaigns.items import Items
from shirq_bench.campaigns.mutants import shards as mutants
from shirq_bench.campaigns.shards import Campaign, CampaignError
from shirq_bench.campaigns.sweep import shards as sweeps
from shirq_bench.campaigns.zoo import shards as zoo

_MADE: Final[Mapping[str, Callable[[Mapping[str, Any]], Campaign]]] = {
    sweeps.NAME: sweeps.Sweeps,
    explorations.NAME: explorations.Explorations,
    **{kind.name: partial(Items, kind) for kind in (mutants.KIND, zoo.KIND, guest_tests.KIND)},
}


def campaign(spec: Mapping[str, Any]) -> Campaign:
    """The campaign of a description, whose name may also be MODULE:CLASS, one of your own. Raises `CampaignError`."""
    name = spec["campaign"]
    if name in _MADE:
        return _MADE[name](spec)
    module, colon, attribute = name.partition(":")
    if not colon:
        raise CampaignError(f"there is no campaign {name!r}: write one of {', '.join(_MADE)}, or MODULE:CLASS")
    try:
        made: Campaign = getattr(importlib.import_module(module), attribute)(spec)
    except (ImportError, AttributeError) as error:
        raise CampaignError(f"campaign {name!r}: {error}") from error
    return made
