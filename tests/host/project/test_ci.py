# SPDX-License-Identifier: MIT
"""The checks of `.ci/run` stay quick and reliable, and the cost of each make verb is documented."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TOP = Path(__file__).parents[3]
_PIECE = re.compile(r"^piece (\d+) (.*?)\s*(?:#.*)?$", re.MULTILINE)
#: Verbs that `.ci/run` must not use: their result is statistical, or they run until they find something.
_NEVER = {"bench", "check", "coverage", "fuzz-device", "fuzz-examples", "fuzz-program", "long", "mutants", "sweep"}
_NEVER |= {"torture", "zoo"}


def _pieces() -> list[tuple[int, list[str]]]:
    """Return the pieces of `.ci/run`: seconds, and the words of the command."""
    return [(int(budget), command.split()) for budget, command in _PIECE.findall((TOP / ".ci/run").read_text())]


def _help() -> dict[str, str]:
    """Return the text of `make help` for each verb."""
    found: dict[str, str] = {}
    verb = ""
    for line in (TOP / "Makefile").read_text().splitlines():
        if match := re.match(r"([a-z-]+):.*?## (.*)", line):
            verb = match[1]
            found[verb] = match[2]
        elif line.startswith("## "):
            found[verb] += line.removeprefix("##")
    return found


def test_the_pieces_take_25_minutes_together_at_most() -> None:
    assert len(_pieces()) > 3
    assert sum(budget for budget, _ in _pieces()) <= 1500


def test_every_piece_is_a_verb_whose_verdict_is_certain() -> None:
    verbs = _help().keys()
    assert verbs > _NEVER, "a verb was renamed"
    for _, command in _pieces():
        assert command[0] == "make" and command[1] in verbs - _NEVER, command


@pytest.mark.parametrize("verb", ["test", "test-device", "test-rest"])
def test_what_is_marked_long_is_run_by_make_long_alone(verb: str) -> None:
    makefile = (TOP / "Makefile").read_text()
    (recipe,) = re.findall(rf"^{verb}:.*\n(?:## .*\n)*((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert '-m "not long"' in recipe
    assert "$(PYTEST) tests -m long" in makefile


def test_files_of_tests_have_names_of_their_own() -> None:
    """pytest imports test files by their names, and cannot collect two files with the same name in one run."""
    names = [path.name for path in (TOP / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))


def _costs(text: str) -> set[str]:
    return set(re.findall(r"\d[\d.]*(?: to \d+)? (?:minutes|GiB)", text))


@pytest.mark.parametrize("verb", ["demo", "vm-test", "check"])
def test_minutes_and_gibibytes_are_the_same_in_readme_and_help(verb: str) -> None:
    readme = " ".join((TOP / "README.md").read_text().split("```", 2)[2].split())
    told = re.split(r"`make ([a-z-]+)`", readme)
    said = " ".join(text for name, text in zip(told[1::2], told[2::2], strict=True) if name == verb)
    costs = _costs(_help()[verb])
    assert {cost.split()[-1] for cost in costs} == {"minutes", "GiB"}
    assert _costs(said) == costs
