# SPDX-License-Identifier: MIT
"""The demo describes only moments that are in its log, and replaces only what it has made."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from logwriter import INT_ACK, Story
from shirq_bench.channels.log import Kind
from shirq_bench.cli import demo
from shirq_bench.cli.demo import moments
from shirq_bench.errors import BenchError


def _story() -> Story:
    """Return the start of a log: dev0 has interrupted and was served, and dev1 has been raised."""
    story = Story(("dev0", "dev1", "nic0"))
    story.claimed_interrupt("dev0").wait(1000)
    story.stimulus("dev1")
    return story


def test_each_moment_is_said_with_its_time() -> None:
    story = _story()
    story.mask("dev1").wait(500).neighbours_interrupt("nic0").wait(500)
    story.add(Kind.WRITE, "dev1", offset=INT_ACK, value=0xFFFFFFFF, ring=0).wait(500)
    story.claimed_interrupt("dev0")
    found = moments(story.log())
    assert [time for time, _ in found] == sorted(time for time, _ in found)
    said = "\n".join(what for _, what in found)
    assert "dev0 asserts; it is masked" in said and "before the EOI" in said
    assert "the neighbour interrupts while dev1 is pending and masked: the neighbour is served in" in said
    assert "dev1's driver was killed" in said
    assert "dev0 asserts again and is served in" in said


def test_devices_that_assert_at_once_are_named_together() -> None:
    story = Story(("dev0", "dev1", "nic0"))
    begin = story.now
    story.stimulus("dev0")
    story.now = begin
    story.stimulus("dev1").deliver().mask("dev0").mask("dev1").eoi()
    assert any("assert in the same instant: both are masked within" in what for _, what in moments(story.log()))


def test_what_did_not_happen_is_not_said() -> None:
    assert moments(Story(("dev0", "dev1", "nic0")).log()) == []
    said = "\n".join(what for _, what in moments(Story(("dev0", "dev1", "nic0")).claimed_interrupt("dev0").log()))
    assert "dev0 asserts; it is masked" in said
    for absent in ("same instant", "killed", "neighbour", "again"):
        assert absent not in said


def test_a_folder_with_other_files_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class NoGuest(Exception):
        pass

    def boot(*_: object, **__: object) -> None:
        raise NoGuest

    monkeypatch.setattr(demo, "Vm", boot)
    (tmp_path / "thesis").write_text("")
    with pytest.raises(BenchError, match="was not made by such a run, and would be replaced"):
        demo.run("6.1", tmp_path, Console())
    assert (tmp_path / "thesis").exists()
    (tmp_path / "demo/vm").mkdir(parents=True)
    (tmp_path / "demo/vm/events.shirqlog").touch()
    (tmp_path / "empty").mkdir()
    for name in ("demo", "empty", "new"):
        with pytest.raises(NoGuest):
            demo.run("6.1", tmp_path / name, Console())
