# SPDX-License-Identifier: MIT
"""All splats are found, without false positives; a log that cannot be judged never passes."""

from __future__ import annotations

import re
import shutil
import tomllib
from pathlib import Path

import pytest

from shirq_bench.observe import splats

CASES = sorted((Path(__file__).parent / "splats").iterdir())
RULES = Path(splats.__file__).parent


def test_there_is_a_case_for_most_rules() -> None:
    expected = [tomllib.loads((case / "expected.toml").read_text())["splat"] for case in CASES]
    seen = {splat["rule"] for case in expected for splat in case}
    assert len([rule for rule in splats.rules(RULES / "splats-deny") if rule.pattern.pattern in seen]) >= 25


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_log_has_exactly_the_splats_that_are_expected_of_it(case: Path) -> None:
    expected = tomllib.loads((case / "expected.toml").read_text())["splat"]
    lines = (case / "log").read_text(errors="replace").splitlines()
    found = splats.scan_file(case / "log")
    assert [splat.rule for splat in found] == [wanted["rule"] for wanted in expected], "\n".join(map(str, found))
    for splat, wanted in zip(found, expected, strict=True):
        assert splat.why
        if splat.line:
            assert wanted["at"] in lines[splat.line - 1]
        if splat.excerpt:
            assert lines[splat.line - 1] in splat.excerpt
            assert wanted["last"] in splat.excerpt.splitlines()[-1]
            assert splat.excerpt in "\n".join(lines)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_excerpt_holds_the_whole_call_trace(case: Path) -> None:
    lines = (case / "log").read_text(errors="replace").splitlines()
    shown = "\n".join(splat.excerpt for splat in splats.scan_file(case / "log")).splitlines()
    if splats.scan_file(case / "log"):
        assert [line for line in lines if re.search(r"\] +(\? )?\w\S*\+0x", line) and line not in shown] == []


def test_a_report_without_an_end_is_cut_at_a_bound() -> None:
    endless = ["Linux version 6.1", "BUG: soft lockup - CPU#1", *[f" frame{n}+0x1/0x2" for n in range(500)], "</TASK>"]
    (found,) = splats.scan("\n".join(endless))
    assert 5 < len(found.excerpt.splitlines()) <= 100


def test_complaints_of_one_line_are_each_a_finding() -> None:
    lines = ["Linux version 6.1", "unexpected IRQ trap at vector 22", "irq 20: nobody cared", "Disabling IRQ #20", "x"]
    found = splats.scan("\n".join(lines))
    assert [splat.excerpt.splitlines() for splat in found] == [[lines[1]], [lines[2]], lines[3:]]


def test_a_log_that_cannot_be_read_is_a_finding(tmp_path: Path) -> None:
    (found,) = splats.scan_file(tmp_path / "none")
    assert found.rule == "the log"
    assert "cannot be read" in found.why


INNOCENT = "[    0.000000] Linux version 6.1.0\n"


def broken_rules(directory: Path, name: str, content: bytes | None) -> list[splats.Splat]:
    """Return the findings in a log without a splat, with one rule file replaced (None: deleted)."""
    assert splats.scan(INNOCENT) == []
    for file in ("splats-deny", "splats-allow"):
        shutil.copy(RULES / file, directory)
    (directory / name).unlink()
    if content is not None:
        (directory / name).write_bytes(content)
    return splats.scan(INNOCENT, directory)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("splats-deny", None, "splats-deny cannot be read"),
        ("splats-allow", None, "splats-allow cannot be read"),
        ("splats-deny", b"# why\n\xff\xfe", "splats-deny cannot be read"),
        ("splats-deny", b"", "holds no rule"),
        ("splats-deny", b"# only a comment\n", "holds no rule"),
        ("splats-deny", b"# an open group\nirq (\n", "splats-deny:2: 'irq (' is not a regular expression"),
        ("splats-deny", b"# why\nfirst\nsecond\n", "splats-deny:3: 'second' has no comment above it"),
        ("splats-allow", b"# a heading\n\nanything\n", "splats-allow:3: 'anything' has no comment above it"),
    ],
)
def test_rules_that_are_unusable_are_a_finding(tmp_path: Path, name: str, content: bytes | None, said: str) -> None:
    (found,) = broken_rules(tmp_path, name, content)
    assert found.rule == "the rules"
    assert said in found.why
