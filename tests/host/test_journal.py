# SPDX-License-Identifier: MIT
"""The journal reports each step of a guest once, with its end and outcome."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from shirq_bench import journal
from shirq_bench.journal import Journal, Kind, Step


@pytest.fixture
def told() -> Iterator[list[Step]]:
    """The steps reported to a subscriber."""
    steps: list[Step] = []
    end = journal.subscribe(steps.append)
    yield steps
    end()


def test_a_step_is_told_when_it_has_ended(told: list[Step], tmp_path: Path) -> None:
    head = iter(range(5, 100))
    guest = Journal("vm1", tmp_path / "steps", lambda: next(head))
    step = guest.begin(Kind.COMMAND, "sleep 1")
    assert (told, step.ended_s, step.first) == ([], None, 5)
    guest.end(step, "status 3")
    assert told == [step] and step.last == 6 and step.ended_s is not None and step.ended_s >= step.began_s
    guest.end(step, "again")
    assert told == [step] and step.outcome == "status 3"
    line = (tmp_path / "steps").read_text()
    assert re.fullmatch(r"vm1 +\d+\.\d{3} s +\d+\.\d{3} s  command sleep 1 -> status 3\n", line), line


def test_what_a_block_raises_is_its_steps_outcome(told: list[Step]) -> None:
    with pytest.raises(ValueError, match="no"), Journal("vm1").during(Kind.WAIT, "for it"):
        raise ValueError("no")
    assert [step.outcome for step in told] == ["ValueError: no"]


def test_a_look_that_is_repeated_is_one_step(told: list[Step]) -> None:
    guest = Journal("vm1")
    for what in ("pin", "pin", "pin", "mask", "pin"):
        with guest.during(Kind.QMP, f"qom-get {what}", look=True):
            pass
    for _ in range(2):
        with guest.during(Kind.QMP, "qom-set raise"):
            pass
    assert [(step.what, step.times) for step in guest.steps] == [
        ("qom-get pin", 3),
        ("qom-get mask", 1),
        ("qom-get pin", 1),
        ("qom-set raise", 1),
        ("qom-set raise", 1),
    ]


def test_a_look_that_failed_is_told_again(told: list[Step]) -> None:
    guest = Journal("vm1")
    for _ in range(2):
        with pytest.raises(OSError), guest.during(Kind.QMP, "query-status", look=True):
            raise OSError("gone")
    assert len(told) == 2


def test_a_repeated_look_that_fails_is_told(told: list[Step]) -> None:
    guest = Journal("vm1")
    with guest.during(Kind.QMP, "query-status", look=True):
        pass
    with pytest.raises(OSError), guest.during(Kind.QMP, "query-status", look=True):
        raise OSError("gone")
    with guest.during(Kind.QMP, "query-status", look=True):
        pass
    assert [(step.outcome, step.times) for step in told] == [("", 1), ("OSError: gone", 1), ("", 1)]


def test_step_under_way_at_a_guests_end_is_in_its_transcript(tmp_path: Path) -> None:
    """If a guest ends during a step, the transcript has that step as not over."""
    guest = Journal("vm1", tmp_path / "steps")
    guest.begin(Kind.COMMAND, "sleep 1000")
    guest.close()
    guest.close()
    assert (tmp_path / "steps").read_text().endswith("command sleep 1000 -> not over\n")


def test_a_long_script_is_one_short_line() -> None:
    guest = Journal("vm1")
    with guest.during(Kind.COMMAND, "echo a\n" * 500) as step:
        pass
    assert "\n" not in str(step) and len(str(step)) < 300


def test_a_journal_forgets_what_is_long_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "_MOST", 3)
    guest = Journal("vm1")
    for number in range(5):
        guest.end(guest.begin(Kind.COMMAND, str(number)))
    assert [step.what for step in guest.steps] == ["2", "3", "4"]
