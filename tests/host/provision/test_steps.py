# SPDX-License-Identifier: MIT
"""A build step's output is logged, its progress is shown on a terminal, and it ends at its deadline."""

from __future__ import annotations

import os
import pty
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from shirq_bench.provision import steps
from shirq_bench.provision.steps import BuildError, run

SAYS = 'import sys, time\nfor n in 1, 2, 3:\n    print(f"[{n}/3] part [{n}]", flush=True)\n    time.sleep(0.2)\n'


@pytest.mark.parametrize("interval", [0.0, 1000.0])
def test_step_output_is_in_its_log_and_reported_now_and_then(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, interval: float
) -> None:
    """A step's output is in its log; without a terminal, plain lines report the progress at intervals."""
    monkeypatch.setattr(steps, "_PLAIN_INTERVAL", interval)
    run("counting", [sys.executable, "-c", SAYS], log=tmp_path / "log")
    assert "[1/3] part [1]\n[2/3] part [2]\n[3/3] part [3]\n" in (tmp_path / "log").read_text()
    said = capfd.readouterr().err
    assert said.startswith("shirq: counting ...\n")
    assert ("s  [2/3] part [2]\n" in said) == (interval == 0)
    assert re.search(r"\nshirq: counting: done in \d+ s\n$", said)
    assert "\x1b" not in said


def _read_all(terminal: int, awaited: bytes, gate: Path) -> str:
    """Read a terminal until no process has it open; remove the file ``gate`` when ``awaited`` was shown."""
    shown = b""
    with suppress(OSError), os.fdopen(terminal, "rb", buffering=0) as stream:
        while data := stream.read(65536):
            shown += data
            if awaited in shown and gate.exists():
                gate.unlink()
    return shown.decode()


def test_terminal_bar_shows_progress_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal, a bar shows the progress and is removed at the end."""
    ours, theirs = pty.openpty()
    monkeypatch.setenv("TERM", "xterm")
    with ThreadPoolExecutor() as pool:
        (gate := tmp_path / "gate").touch()
        reading = pool.submit(_read_all, ours, b"2/3", gate)
        # The bar is drawn at intervals: the program must wait until the bar has shown the text.
        waits = f"import os, time\nwhile os.path.exists({str(gate)!r}): time.sleep(0.01)\n"
        says = f"print('[1/3] a\\n[2/3] b', flush=True)\n{waits}print('[3/3] c')"
        with os.fdopen(theirs, "w") as terminal, monkeypatch.context() as patched:
            patched.setattr(sys, "stderr", terminal)
            run("counting [sic]", [sys.executable, "-c", says], log=tmp_path / "log", deadline=100)
        shown = reading.result(120)
    assert "counting [sic]" in shown
    assert "2/3" in shown
    assert "━" in shown
    assert shown.count("\n") < 40
    assert re.search(r"shirq: counting \[sic\]: done in \d+ s\r\n$", shown)


def test_failed_step_shows_its_last_output_and_where_the_rest_is(tmp_path: Path) -> None:
    """The error of a failed step contains the end of its output and the path of the log."""
    with pytest.raises(BuildError, match=r"(?s)failing failed with status 3; the end of .*/log:.*out of luck"):
        run("failing", ["sh", "-c", "echo out of luck; exit 3"], log=tmp_path / "log")


def test_step_without_output_ends_by_its_deadline_with_children(tmp_path: Path) -> None:
    """A step that prints nothing ends at its deadline, with all processes that it started."""
    late = "sleep 60 && touch ended"
    with pytest.raises(BuildError, match=r"hanging: not finished after 0.3 s"):
        run("hanging", ["sh", "-c", f"({late}) & {late}"], log=tmp_path / "log", cwd=tmp_path, deadline=0.3)
    assert not (tmp_path / "ended").exists()
