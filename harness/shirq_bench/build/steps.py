"""Run a long command with a progress line on a terminal, plain lines elsewhere, and its whole output in a log.

Standard library only: it runs before the project's virtual environment exists.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from shirq_bench.errors import BenchError

#: ``[12/345]`` as ninja prints it.
_PROGRESS = re.compile(r"\[(\d+)/(\d+)\]")
#: Seconds between plain progress lines when standard error is not a terminal.
_PLAIN_INTERVAL = 20.0


class BuildError(BenchError):
    """A build step failed; the message names the step, shows the end of its output and where the rest is."""


def say(message: str) -> None:
    """One line of news about a build, on standard error."""
    print(f"shirq: {message}", file=sys.stderr, flush=True)


def run(
    what: str,
    argv: Sequence[str | Path],
    *,
    log: Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    deadline: float = 3600.0,
) -> None:
    """Run ``argv``, showing ``what`` and how far it is; append its output to ``log``.

    ``deadline`` is in seconds. Raises `BuildError` when the command fails or overruns.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    terminal = sys.stderr.isatty()
    width = shutil.get_terminal_size().columns - 1
    started = shown = time.monotonic()
    say(f"{what} ...") if not terminal else None
    with log.open("a") as sink:
        sink.write(f"\n$ {' '.join(str(a) for a in argv)}\n")
        sink.flush()
        process = subprocess.Popen(
            [str(a) for a in argv],
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        assert process.stdout is not None
        try:
            for line in process.stdout:
                sink.write(line)
                now = time.monotonic()
                if now - started > deadline:
                    process.kill()
                    raise BuildError(f"{what}: not finished after {deadline:.0f} s; output in {log}")
                step = _PROGRESS.search(line)
                note = f"{step[1]}/{step[2]}" if step else line.strip()
                if terminal:
                    text = f"shirq: {what} {now - started:4.0f} s  {note}"
                    print(f"\r\033[K{text[:width]}", end="", file=sys.stderr, flush=True)
                elif now - shown > _PLAIN_INTERVAL:
                    shown = now
                    say(f"{what} {now - started:.0f} s  {note[:100]}")
            status = process.wait()
        except BaseException:
            process.kill()
            process.wait()
            raise
        finally:
            if terminal:
                print("\r\033[K", end="", file=sys.stderr, flush=True)
    if status:
        tail = "".join(log.read_text(errors="replace").splitlines(keepends=True)[-25:])
        raise BuildError(f"{what} failed with status {status}; the end of {log}:\n{tail}")
    say(f"{what}: done in {time.monotonic() - started:.0f} s")
