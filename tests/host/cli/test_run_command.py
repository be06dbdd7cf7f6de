# SPDX-License-Identifier: MIT
"""`shirq run`: which process gets the standard streams."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from shirq_bench.cli import guests
from shirq_bench.errors import BenchError, DeadlineExceeded
from shirq_bench.observe.splats import Splat
from shirq_bench.vm import template


class Command:
    """A fake command that ends when its standard input is closed.

    ``fed`` is the input that it got, and ``deadline`` the timeout of the last write.
    """

    def __init__(self) -> None:
        self.fed = b""
        self.deadline = 0.0
        self.refuses: Exception | None = None
        self.full = False
        self._closed = threading.Event()
        self._error: Exception | None = None

    def write(self, data: bytes, deadline: float) -> None:
        if self.refuses:
            raise self.refuses
        self.fed += data
        self.deadline = deadline

    def close_stdin(self) -> None:
        self._closed.set()

    def keep(self, directory: Path) -> None:
        """What the guest's `Vm.keep` does: its disk is full if ``full``."""
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        directory.mkdir()

    def fail(self, error: Exception) -> None:
        self._error = error
        self._closed.set()

    def wait(self, timeout: float) -> SimpleNamespace:
        assert self._closed.wait(20), "the command's standard input was not closed"
        if self._error:
            raise self._error
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
        agent = SimpleNamespace(start=start, succeed=lambda *_: "Linux version 6")
        described = SimpleNamespace(as_data=dict)
        yield SimpleNamespace(
            dir=tmp_path, machine=described, agent=agent, patience=1.0, boot=lambda: None, keep=made.keep
        )

    monkeypatch.setattr(template, "clone", clone)
    monkeypatch.setattr(guests, "splats_of", lambda *_: [])
    return made


def _fails(*_: object) -> bytes:
    raise OSError(errno.EIO, "Input/output error")


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
        assert _run("--timeout", "7", *(["--script", tmp_path / "script"] if how == "script" else ["cat"])) == 0
    assert (command.fed, command.deadline) == (b"for the command", 7)


@pytest.mark.parametrize("where", ["guest", "host"])
def test_standard_input_that_is_cut_short_fails_the_command(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """A command that got a part of its input may succeed, with a wrong result."""
    (tmp_path / "input").write_text("for the command")
    with (tmp_path / "input").open() as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        if where == "guest":
            command.refuses = DeadlineExceeded("it has not been taken")
        else:
            monkeypatch.setattr(os, "read", _fails)
        with pytest.raises((DeadlineExceeded, OSError), match=r"has not been taken|Input/output error"):
            guests.run.main(["cat"], standalone_mode=False)


def test_a_standard_input_that_is_no_file_is_empty(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that calls the command line may have replaced it."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("not read"))
    assert _run("cat") == 0
    assert command.fed == b""


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


@pytest.mark.parametrize("complains", [False, True])
def test_artefacts_that_cannot_be_kept_hide_no_complaint(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, complains: bool
) -> None:
    """They make the status 1, unless there is another error: that one counts."""
    monkeypatch.setattr(sys, "stdin", None)
    assert _run("--artefacts", tmp_path / "kept", "true") == 0
    assert (tmp_path / "kept/dmesg").read_text() == "Linux version 6"
    command.full = True
    if complains:
        monkeypatch.setattr(guests, "splats_of", lambda *_: [Splat("WARNING", "a reason")])
        with pytest.raises(BenchError, match="the guest's kernel complained:\nWARNING"):
            guests.run.main(["--artefacts", "kept", "true"], standalone_mode=False)
    else:
        assert _run("--artefacts", "kept", "true") == 1
    assert "the artefacts could not be kept in kept: [Errno 28] No space left on device" in capsys.readouterr().err
