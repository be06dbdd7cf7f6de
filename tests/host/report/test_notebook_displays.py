# SPDX-License-Identifier: MIT
"""What logs, verdicts, runs and pictures show in a notebook."""

from __future__ import annotations

import html

from logwriter import GSI, Story
from shirq_bench.observe import judge
from shirq_bench.report import difference
from shirq_bench.report.difference import Run
from shirq_bench.report.model import build


def _story(rounds: int = 2) -> Story:
    told = Story(("dev0", "<nic>"), now=10_000_000)
    for _ in range(rounds):
        told.claimed_interrupt("dev0").wait(100_000)
    return told


def test_log_is_a_table_of_its_devices_and_kinds() -> None:
    shown = _story(3).neighbours_interrupt("<nic>").log()._repr_html_()
    kinds, (dev0, nic) = shown.split("<tr>")[1], (shown.split(f"<tr><th>{name}")[1] for name in ("dev0", "&lt;nic&gt;"))
    column = kinds.split("</th><th>").index("RAISE")
    assert dev0.split("</th>")[1].split("</td><td>")[column - 1] == "3"
    assert nic.split("</th>")[1].split("</td><td>")[column - 1] == "1"


def test_table_of_a_log_mentions_lost_entries() -> None:
    assert ", 5 dropped" in _story().log(dropped=5)._repr_html_()
    assert "dropped" not in _story().log()._repr_html_()


def test_verdict_shows_its_rule_and_its_violations() -> None:
    held = judge.line_low_at_end(_story().log(), GSI)
    assert "✓" in held._repr_html_() and "held in" in held._repr_html_()
    broken = judge.line_low_at_end(_story().stimulus("dev0").log(), GSI)
    assert "✗" in broken._repr_html_()
    assert html.escape(broken.findings[0].what) in broken._repr_html_()


def test_picture_is_its_page_in_a_frame() -> None:
    """The page is an attribute of the frame, so nothing in it may end the attribute."""
    shown = build(_story().log(), title='A "run"', gsi=GSI)._repr_html_()
    page = html.unescape(shown.split('srcdoc="')[1].split('"')[0])
    assert page.startswith("<!DOCTYPE html>") and page.rstrip().endswith("</html>")
    assert shown.split('srcdoc="')[0] == '<iframe title="A &#34;run&#34;" '


def test_run_is_its_picture_or_else_the_table_of_its_log() -> None:
    assert "<iframe" in Run("one", _story().log())._repr_html_()
    assert "<table>" in Run("one", _story(0).log())._repr_html_()


def test_difference_is_its_page_in_a_frame() -> None:
    runs = Run("this run", _story(3).log()), Run("the reference", _story().log(), "a passing twin")
    shown = difference.explain(*runs, gsi=GSI)._repr_html_()
    assert 'title="this run and a passing twin"' in shown
    assert "The event is missing" in html.unescape(shown) or "part" in html.unescape(shown)
