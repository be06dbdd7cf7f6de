# SPDX-License-Identifier: MIT
"""What the host's tests need: the binding, which is not installed on the host, and a browser."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from selenium.webdriver import Chrome

from browsing import headless

sys.path.insert(0, str(Path(__file__).parents[2] / "guest"))

# An example takes as long as the host needs: what else runs there is no fault of the code.
settings.register_profile("any-host", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-host")


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with headless(tmp_path_factory.mktemp("profile")) as driver:
        yield driver
