# SPDX-License-Identifier: MIT
"""Fixtures of the host tests: the path of the binding, which is not installed on the host, and a browser."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from selenium.webdriver import Chrome

from browsing import headless
from installing import make_packages

sys.path.insert(0, str(Path(__file__).parents[2] / "guest"))

# Hypothesis has no deadline for examples, because the host may be busy. A normal run always uses the same examples, so
# that it is reproducible; `make fuzz-examples` uses other ones each time.
settings.register_profile("same", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
settings.register_profile("anew", settings.get_profile("same"), derandomize=False)
settings.load_profile("same")


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with headless(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of the packages that `make packages` builds."""
    return make_packages(tmp_path_factory)
