# SPDX-License-Identifier: MIT
"""`shirq run`: which process gets the standard streams."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from shirq_bench.cli import guests
from shirq_bench.vm import template


class Command:
    """A fake command that ends when its standard input is closed. ``fed`` is the input that it got."""

    def __init__(self) -> None:
        self.fed = b""
        self._closed = threading.Event()

    def write(self, data: bytes) -> None:
        self.fed += data

    def close_stdin(self) -> None:
        self._closed.set()

    def wait(self, timeout: float) -> SimpleNamespace:
        assert self._closed.wait(60), "the command's standard input was not closed"
        return SimpleNamespace(status=0)


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command that `shirq run` runs, without a guest. It writes a line to each output stream."""
    made = Command()

    def start(*words: str, sink: Any, error_sink: Any) -> Command:
        sink(b"said\n")
        error_sink(b"complained\n")
        return made

    @contextlib.contextmanager
    def clone(machine: object, name: str) -> Iterator[Any]:
        agent = SimpleNamespace(start=start, succeed=lambda *_: "")
        described = SimpleNamespace(as_data=dict)
        yield SimpleNamespace(dir=tmp_path, machine=described, agent=agent, patience=1.0, boot=lambda: None)

    monkeypatch.setattr(template, "clone", clone)
    monkeypatch.setattr(guests, "splats_of", lambda *_: [])
    return made


def _run(*arguments: str | Path) -> object:
    with pytest.raises(SystemExit) as ended:
        guests.run.main([str(argument) for argument in arguments], standalone_mode=False)
    return ended.value.code


@pytest.mark.parametrize("how", ["command", "script"])
def test_standard_input_is_the_commands(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    (tmp_path / "script").write_text("cat")
    (tmp_path / "input").write_text("for the command")
    with (tmp_path / "input").open() as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        assert _run(*(["--script", tmp_path / "script"] if how == "script" else ["cat"])) == 0
    assert command.fed == b"for the command"


def test_a_script_from_standard_input_leaves_nothing_of_it(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "script").write_text("cat")
    with (tmp_path / "script").open() as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        assert _run("--script", "-") == 0
    assert command.fed == b""


@pytest.mark.parametrize("stream", ["stdin", "stdout", "stderr"])
def test_a_stream_that_is_closed_is_not_missed(
    command: Command, monkeypatch: pytest.MonkeyPatch, stream: str, tmp_path: Path
) -> None:
    """Python has no stream object for a descriptor that was closed when Python started, as by `<&-`."""
    with (tmp_path / "input").open("w+") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        monkeypatch.setattr(sys, stream, None)
        assert _run("true") == 0
