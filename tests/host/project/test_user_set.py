# SPDX-License-Identifier: MIT
"""tests/vm-test, the list of `make vm-test`, names tests that exist and are quick."""

from __future__ import annotations

from pathlib import Path

import pytest

TOP = Path(__file__).parents[3]
_SET = [line for line in (TOP / "tests/vm-test").read_text().splitlines() if not line.startswith("#")]


@pytest.mark.parametrize("entry", _SET)
def test_every_entry_is_a_file_of_tests_or_one_of_its_tests(entry: str) -> None:
    file, _, name = entry.partition("::")
    source = (TOP / file).read_text()
    assert f"\ndef {name or 'test_'}" in source
    assert f"@pytest.mark.long\ndef {name}(" not in source


def test_lines_that_make_skips_are_headings_in_its_help() -> None:
    """In tests/vm-test, `make help` shows every line that is no test, as a heading."""
    shown = [line for line in (TOP / "tests/vm-test").read_text().splitlines() if line.startswith("#")]
    assert all(line.startswith("# ") for line in shown)
    assert len(shown) > 5
