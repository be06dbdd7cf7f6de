# SPDX-License-Identifier: MIT
"""A QEMU process with its channels and its run directory; neither outlives the process that started it."""

from __future__ import annotations

import contextlib
import os
import select
import shlex
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from shirq_bench import supervisor
from shirq_bench.deadline import Deadline
from shirq_bench.errors import DeadlineExceeded

#: Seconds within which a killed process must end.
_KILLED = 10.0

Arguments = Callable[[Mapping[str, int]], Sequence[str]]


class Emulator:
    """One QEMU called ``name``. `start` it, `kill` it, `close` it.

    ``dir`` is its run directory, ``dir/command`` its command line, ``dir/qemu.log`` its output.
    """

    def __init__(self, name: str, prefix: str = "shirq-") -> None:
        self.name = name
        self.pid = 0
        self._status: int | None = None
        self._lock = threading.Lock()
        self._ended = -1
        self.dir = Path(tempfile.mkdtemp(prefix=prefix))
        try:
            supervisor.instance().own(self.dir)
        except BaseException:
            self.dir.rmdir()
            raise

    def start(self, binary: Path, arguments: Arguments, channels: Sequence[str]) -> dict[str, socket.socket]:
        """Start ``binary`` with its firmware and these arguments; returns our ends of its channels.

        ``arguments`` is called with QEMU's descriptor for the other end of each channel.
        """
        pairs = {name: socket.socketpair() for name in channels}
        theirs = [other for _, other in pairs.values()]
        descriptors = {name: supervisor.FIRST_FD + number for number, name in enumerate(channels)}
        argv = [str(binary), "-L", str(binary.parent / "firmware"), "-name", self.name]
        argv += ["-nodefaults", "-no-user-config", "-display", "none", *arguments(descriptors)]
        (self.dir / "command").write_text(shlex.join(argv) + "\n")
        try:
            self.pid, self._ended = supervisor.instance().spawn(
                argv, [end.fileno() for end in theirs], self.dir / "qemu.log"
            )
        except BaseException:
            for ours, _ in pairs.values():
                ours.close()
            raise
        finally:
            for end in theirs:
                end.close()
        return {name: ours for name, (ours, _) in pairs.items()}

    def wait(self, seconds: float) -> int | None:
        """QEMU's wait status, or None if QEMU has not ended after this many seconds. Any thread may call this."""
        with self._lock:
            if self._status is None and self._ended >= 0 and select.select([self._ended], [], [], seconds)[0]:
                # An empty read means that the supervisor was killed; the kernel then killed QEMU, its child, with
                # SIGKILL.
                self._status = int(os.read(self._ended, 32) or int(signal.SIGKILL))
            return self._status

    def said(self) -> str:
        """QEMU's output so far."""
        path = self.dir / "qemu.log"
        return path.read_text(errors="replace").strip() if path.exists() else ""

    def kill(self) -> None:
        """Kill QEMU, if it runs, and wait for its end; `DeadlineExceeded` if that takes too long."""
        if self._ended < 0:
            return
        if self.wait(0.0) is None:
            # QEMU may have ended although the notification has not arrived yet.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            end = Deadline(_KILLED)
            while self.wait(end.step) is None:
                if end.passed:
                    raise DeadlineExceeded(f"{self.name}: QEMU, process {self.pid}, still exists {end} after SIGKILL")
        with self._lock:
            os.close(self._ended)
            self._ended = -1

    def close(self) -> None:
        """Kill QEMU, and delete its run directory."""
        try:
            self.kill()
        finally:
            shutil.rmtree(self.dir, ignore_errors=True)
            with contextlib.suppress(supervisor.SupervisorGone):
                supervisor.instance().disown(self.dir)
