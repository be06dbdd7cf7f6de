# SPDX-License-Identifier: MIT
"""A few cases of the bug catalogue for the regular tests, and one that takes longer; `make zoo` runs all cases."""

from __future__ import annotations

import pytest

from shirq_bench.campaigns.zoo import case as cases
from shirq_bench.campaigns.zoo.case import DRIVERS
from shirq_bench.campaigns.zoo.run import play
from shirq_bench.campaigns.zoo.suite import kernel_for

_CI = [name for name in cases.ids() if cases.get(name).ci]


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("name", [*_CI, pytest.param("msi-back-to-intx", marks=pytest.mark.long)])
def test_a_driver_comes_out_of_a_case_as_the_case_says(name: str, driver: str, kernel_name: str) -> None:
    case = cases.get(name)
    played = play(case, driver, kernel_for(case, kernel_name))
    assert played.expected, f"{played.result}\n{played.unmet}"
