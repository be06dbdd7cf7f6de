# SPDX-License-Identifier: MIT
"""Progress of long steps: a bar on a terminal, plain lines elsewhere; a command's output goes to a log."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Column

from shirq_bench import supervisor
from shirq_bench.errors import BenchError

#: The progress that ninja prints, such as ``[12/345]``.
_PROGRESS = re.compile(r"\[(\d+)/(\d+)\]")
#: Seconds between plain progress lines when standard error is not a terminal.
_PLAIN_INTERVAL = 20.0


class BuildError(BenchError):
    """A build step failed; the message names the step, shows the end of its output and names the log."""


def say(message: str) -> None:
    """Print one line of progress on standard error."""
    print(f"shirq: {message}", file=sys.stderr, flush=True)


@contextmanager
def shown(what: str) -> Iterator[Callable[[str], None]]:
    """Show ``what`` as the running step. Pass each line of output to the yielded function; ``[2/3]`` is progress."""
    console = Console(stderr=True)
    if not console.is_terminal:
        started = shown = time.monotonic()
        say(f"{what} ...")

        def tell(line: str) -> None:
            nonlocal shown
            if (now := time.monotonic()) - shown > _PLAIN_INTERVAL:
                shown = now
                say(f"{what} {now - started:.0f} s  {line.strip()[:100]}")

        yield tell
        return
    note = TextColumn("{task.fields[note]}", style="dim", table_column=Column(no_wrap=True, overflow="ellipsis"))
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(20), TimeElapsedColumn(), note)
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(escape(what), total=None, note="")

        def show(line: str) -> None:
            if step := _PROGRESS.search(line):
                progress.update(task, completed=int(step[1]), total=int(step[2]), note=f"{step[1]}/{step[2]}")
            else:
                progress.update(task, note=escape(line.strip()))

        yield show


def run(
    what: str,
    argv: Sequence[str | Path],
    *,
    log: Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    deadline: float = 3600.0,
    check: bool = True,
) -> int:
    """Run ``argv``, showing ``what`` and its progress; append its output to ``log``. Returns the exit status.

    ``deadline`` is in seconds. Raises `BuildError` if the command exceeds the deadline or, with ``check``, fails.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with log.open("a", buffering=1) as sink, shown(what) as show:
        sink.write(f"\n$ {' '.join(str(a) for a in argv)}\n")
        with supervisor.child(
            argv,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            assert process.stdout is not None
            overran = threading.Event()

            def end() -> None:
                overran.set()
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

            late = threading.Timer(deadline, end)
            late.start()
            try:
                for line in process.stdout:
                    sink.write(line)
                    show(line)
                status = process.wait()
            finally:
                late.cancel()
    if overran.is_set():
        raise BuildError(f"{what}: not finished after {deadline:g} s; output in {log}")
    if status and check:
        tail = "".join(log.read_text(errors="replace").splitlines(keepends=True)[-25:])
        raise BuildError(f"{what} failed with status {status}; the end of {log}:\n{tail}")
    say(f"{what}: done in {time.monotonic() - started:.0f} s")
    return status
