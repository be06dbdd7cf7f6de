# SPDX-License-Identifier: MIT
"""Fixtures of the host tests: the binding, which is not installed on the host, and a browser."""

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

# Examples have no deadline: other load on the host is no fault of the code. A plain run always uses the same examples,
# so that it is reproducible; `make fuzz-examples` tries others each time.
settings.register_profile("same", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
settings.register_profile("anew", settings.get_profile("same"), derandomize=False)
settings.load_profile("same")


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with headless(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory with everything that `make packages` builds."""
    return make_packages(tmp_path_factory)
