# SPDX-License-Identifier: MIT
"""Hypothesis uses the same examples in each normal run, and other ones in each run of `make fuzz-examples`."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st


def _tried(profile: str) -> list[int]:
    tried: list[int] = []

    @settings(settings.get_profile(profile))
    @given(st.integers())
    def test(number: int) -> None:
        tried.append(number)

    test()
    return tried


@pytest.mark.parametrize(("profile", "same"), [("same", True), ("anew", False)])
def test_examples_are_the_same_unless_searched_anew(profile: str, same: bool) -> None:
    first = _tried(profile)
    assert len(first) >= 100
    assert (_tried(profile) == first) == same


def test_a_plain_run_tries_the_same(pytestconfig: pytest.Config) -> None:
    chosen = pytestconfig.getoption("hypothesis_profile") or "same"
    assert settings.get_current_profile_name() == chosen
    assert settings().derandomize == (chosen == "same")
