# SPDX-License-Identifier: MIT
"""The tutorial is correct: its files form a project whose tests end as the page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import tutorial
from guest import suites


@pytest.fixture(scope="module")
def outcome(kernel_name: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Run the tutorial's project with pytest; returns the project and pytest's output."""
    project = tmp_path_factory.mktemp("tutorial")
    names = tutorial.write(project)
    assert names == ["pyproject.toml", "conftest.py", "test_cards.py", "test_sharing.py", "test_failing.py"]
    status, said = suites.run(project, "-p", "no:cacheprovider", "--shirq-kernel", kernel_name)
    assert status == 1, said
    return project, said


@pytest.mark.long
def test_tutorial_ends_as_it_says(outcome: tuple[Path, str]) -> None:
    _, said = outcome
    assert re.search("1 failed, 2 passed", said), said
    assert "FAILED test_failing.py::test_the_line_stays_open" in said


def test_tutorial_shows_the_message_of_its_failure(outcome: tuple[Path, str]) -> None:
    """The tutorial shows the failure as pytest prints it; `...` stands for the number of examined cases."""
    _, said = outcome
    shown = tutorial.PAGE.read_text().partition("```text\n")[2].partition("```")[0]
    for line in shown.splitlines():
        for piece in line.split("..."):
            assert piece.strip() in said, said


def test_tutorial_failure_leaves_what_the_page_lists(outcome: tuple[Path, str]) -> None:
    project, _ = outcome
    (folder,) = (project / "build/artefacts").glob("test_failing.py_test_the_line_stays_open*")
    assert (folder / "reproduce").exists()
    (guest,) = [path for path in folder.iterdir() if path.is_dir()]
    assert {"page.html", "console.log", "dmesg", "events.shirqlog"} <= {path.name for path in guest.iterdir()}
