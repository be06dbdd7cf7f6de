# SPDX-License-Identifier: MIT
"""Guarantees that no QEMU process, no build and no run directory outlives the process that asked for it.

A small process in a separate session, the supervisor, starts every VM. It holds one end of a socket; only the runner
holds the other end. When the runner ends, even by Ctrl-C or SIGKILL, the kernel closes the runner's end. The supervisor
notices this, kills all processes that it started or that were registered with it, and deletes the registered
directories. If the supervisor itself is killed, the kernel kills its children: PDEATHSIG is reliable because the
supervisor has one thread.

The runner calls `spawn`, `adopt` and `own`. Run as a script, this file is the supervisor; it imports nothing of the
package, so that it starts quickly.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

#: The descriptor number of a spawned process's first channel; the other channels follow.
FIRST_FD = 10
_MESSAGE = 1 << 18
#: Linux passes at most this many descriptors with a message.
_MOST_FDS = 253


class SupervisorGone(RuntimeError):
    """The supervisor process has died; this process cannot start VMs any more."""


class Supervisor:
    """The runner's handle on its supervisor process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (self._socket, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * _MESSAGE)
        self._owner = os.getpid()
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-E", __file__, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
        theirs.close()
        atexit.register(self.close)

    @property
    def pid(self) -> int:
        """The supervisor's process id."""
        return self._process.pid

    def _ask(self, request: Mapping[str, object], fds: Sequence[int] = ()) -> dict[str, Any]:
        with self._lock:
            number = next(self._numbers)
            try:
                socket.send_fds(self._socket, [json.dumps({**request, "number": number}).encode()], list(fds))
                answer = self._receive(number)
            except (BrokenPipeError, ConnectionResetError):
                answer = None
        if answer is None:
            raise SupervisorGone("the supervisor process has died, and its VMs with it")
        if error := answer.get("error"):
            raise OSError(str(error))
        return answer

    def _receive(self, number: int) -> dict[str, Any] | None:
        """The answer to the request ``number``; None if the supervisor has died.

        An answer to an earlier request belongs to a caller that an exception, such as Ctrl-C, has ended: it is dropped,
        and a process that was started for it is killed.
        """
        while message := self._socket.recv(_MESSAGE):
            answer: dict[str, Any] = json.loads(message)
            if answer["number"] == number:
                return answer
            if "pid" in answer:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(answer["pid"], signal.SIGKILL)
        return None

    def spawn(self, argv: Sequence[str], fds: Sequence[int], output: Path) -> tuple[int, int]:
        """Start ``argv`` with ``fds`` at descriptors 10, 11, ... and its output in ``output``.

        Returns the process id, and a descriptor from which the wait status can be read as text when the process has
        ended.
        """
        ended, tell = os.pipe()
        try:
            answer = self._ask({"op": "spawn", "argv": list(argv), "output": str(output)}, [tell, *fds])
        except BaseException:
            os.close(ended)
            raise
        finally:
            os.close(tell)
        pid = answer["pid"]
        assert isinstance(pid, int)
        return pid, ended

    def adopt(self, group: int) -> None:
        """Kill the process group when the runner ends, unless `release` was called before."""
        self._ask({"op": "adopt", "group": group})

    def release(self, group: int) -> None:
        """Undo `adopt`."""
        self._ask({"op": "release", "group": group})

    def own(self, directory: Path) -> None:
        """Delete ``directory`` when the runner ends, unless `disown` was called before."""
        self._ask({"op": "own", "path": str(directory)})

    def disown(self, directory: Path) -> None:
        """Undo `own`."""
        self._ask({"op": "disown", "path": str(directory)})

    def close(self) -> None:
        """End the supervisor, and with it all its processes. In a forked child of the runner this does nothing."""
        if os.getpid() == self._owner:
            self._socket.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=10)


_instance: Supervisor | None = None
_instance_lock = threading.Lock()


def instance() -> Supervisor:
    """This process's supervisor, started on first use."""
    global _instance
    with _instance_lock:
        if _instance is None or _instance._owner != os.getpid():
            _instance = Supervisor()
        return _instance


@contextlib.contextmanager
def owned_directory(prefix: str, place: Path | None = None) -> Iterator[Path]:
    """A temporary directory, in ``place`` if given. It is deleted when the block or this process ends in any way."""
    directory = Path(tempfile.mkdtemp(prefix=prefix, dir=place))
    try:
        instance().own(directory)
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        with contextlib.suppress(SupervisorGone):
            instance().disown(directory)


@contextlib.contextmanager
def child(argv: Sequence[str | Path], orphans: bool = False, **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """Start a child in its own process group; the whole group is killed when the block, or this process, ends.

    ``options`` are those of `subprocess.Popen`. With ``orphans``, the group is not killed if the child has ended by
    itself: processes that it started may go on.
    """
    process = subprocess.Popen([str(word) for word in argv], start_new_session=True, **options)
    try:
        instance().adopt(process.pid)
        yield process
    finally:
        if not orphans or process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        with contextlib.suppress(SupervisorGone):
            instance().release(process.pid)


def _serve(channel: socket.socket) -> None:
    """Run the supervisor until the runner's end of ``channel`` closes."""
    import ctypes

    prctl = ctypes.CDLL(None).prctl
    children: dict[int, int] = {}
    adopted: set[int] = set()
    owned: set[str] = set()
    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(ignored, signal.SIG_IGN)

    def start(request: dict[str, object], fds: list[int]) -> int:
        argv = request["argv"]
        assert isinstance(argv, list)
        with contextlib.ExitStack() as opened:
            output = os.open(str(request["output"]), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            opened.callback(os.close, output)
            # Make copies with high numbers first, so that placing one descriptor cannot overwrite another.
            high: list[int] = []
            for fd in fds[1:]:
                high.append(os.dup(fd))
                opened.callback(os.close, high[-1])
            pid = os.fork()
            if pid == 0:
                try:
                    prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
                    os.setsid()
                    for caught in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGCHLD):
                        signal.signal(caught, signal.SIG_DFL)
                    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                    os.dup2(output, 1)
                    os.dup2(output, 2)
                    moved = [_above(fd, FIRST_FD + len(high)) for fd in high]
                    for number, fd in enumerate(moved):
                        os.dup2(fd, FIRST_FD + number)
                    os.execvp(argv[0], argv)
                except BaseException as error:
                    os.write(2, f"cannot start {argv[0]}: {error}\n".encode())
                finally:
                    os._exit(127)
        children[pid] = fds[0]
        return pid

    def reap() -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(woken, 512):
                pass
        while children:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            tell = children.pop(pid)
            with contextlib.suppress(BrokenPipeError):
                os.write(tell, str(status).encode())
            os.close(tell)

    try:
        while True:
            ready = select.select([channel.fileno(), woken], [], [])[0]
            if woken in ready:
                reap()
            if channel.fileno() not in ready:
                continue
            message, fds, flags, _ = socket.recv_fds(channel, _MESSAGE, _MOST_FDS)
            if not message:
                return
            request = json.loads(message)
            answer: dict[str, object] = {"number": request["number"]}
            try:
                if flags & socket.MSG_CTRUNC:
                    raise OSError(f"of the descriptors of the request only {len(fds)} have arrived")
                if request["op"] == "spawn":
                    answer["pid"] = start(request, fds)
                    fds = fds[1:]
                elif request["op"] == "adopt":
                    adopted.add(request["group"])
                elif request["op"] == "release":
                    adopted.discard(request["group"])
                elif request["op"] == "own":
                    owned.add(request["path"])
                else:
                    owned.discard(request["path"])
            except OSError as error:
                answer["error"] = str(error)
            for fd in fds:
                os.close(fd)
            channel.send(json.dumps(answer).encode())
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)
        for group in adopted:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        for pid in children:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
        for path in owned:
            shutil.rmtree(path, ignore_errors=True)


def _above(fd: int, limit: int) -> int:
    """A copy of ``fd`` whose number is at least ``limit``."""
    import fcntl

    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, limit)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
