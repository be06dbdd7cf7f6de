# SPDX-License-Identifier: MIT
"""The host's end of the agent channel: run commands in a guest and talk to them.

``guest/agent/agent.c`` is the other end and describes the frames.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import re
import shlex
import signal
import socket
import struct
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from shirq_bench.channels.receiver import Receiver
from shirq_bench.channels.sending import Sender
from shirq_bench.deadline import Deadline
from shirq_bench.errors import AgentGone, CommandFailed, DeadlineExceeded
from shirq_bench.journal import Journal, Kind

_HEADER = struct.Struct("<IHHI")
_STDIN_CHUNK = 1 << 16


class _Frame(IntEnum):
    PING = 1
    EXEC = 2
    STDIN = 3
    SIGNAL = 4
    HELLO = 64
    PONG = 65
    STARTED = 66
    STDOUT = 67
    STDERR = 68
    EXIT = 69
    ERROR = 70


@dataclass(frozen=True)
class Result:
    """How a guest command ended. ``status`` is its exit status, or minus the signal that killed it."""

    argv: tuple[str, ...]
    status: int
    stdout: str
    stderr: str


class Command:
    """A command that is running, or has run, in the guest."""

    def __init__(
        self,
        agent: Agent,
        number: int,
        argv: Sequence[str],
        sink: Callable[[bytes], None] | None = None,
        error_sink: Callable[[bytes], None] | None = None,
    ) -> None:
        self.argv = tuple(argv)
        self._sink = sink
        self._error_sink = error_sink
        self._agent = agent
        self._id = number
        self._step = agent.journal.begin(Kind.COMMAND, shlex.join(argv))
        self._changed = threading.Condition()
        self._stdout = bytearray()
        self._stderr = bytearray()
        self._taken = 0
        self._status: int | None = None
        self._error: Exception | None = None
        #: The process id in the guest; 0 until the agent has reported the start.
        self.pid = 0

    def _feed(self, kind: int, payload: bytes) -> None:
        with self._changed:
            if self._error:
                return
            if kind == _Frame.STARTED:
                (self.pid,) = struct.unpack("<I", payload)
            elif kind == _Frame.STDOUT:
                self._sink(payload) if self._sink else self._stdout.extend(payload)
            elif kind == _Frame.STDERR:
                self._error_sink(payload) if self._error_sink else self._stderr.extend(payload)
            elif kind == _Frame.EXIT:
                (raw,) = struct.unpack("<I", payload)
                status = os.waitstatus_to_exitcode(raw)
                self._agent.journal.end(self._step, f"status {status}" if status else "")
                self._status = status
            elif kind == _Frame.ERROR:
                reason = payload.decode(errors="replace")
                self._error = CommandFailed(f"{self._agent.name}: {' '.join(self.argv)}: {reason}")
                self._agent.journal.end(self._step, str(self._error))
            self._changed.notify_all()

    def fail(self, error: Exception) -> None:
        """Make ``error`` the error of the command, unless the command has ended."""
        with self._changed:
            if self._status is None and self._error is None:
                self._error = error
                with contextlib.suppress(Exception):  # an exception of a subscriber must not replace this error
                    self._agent.journal.end(self._step, str(error).partition("\n")[0])
            self._changed.notify_all()

    def place(self) -> CommandPlace:
        """What a savepoint keeps of the command."""
        return CommandPlace(self, len(self._stdout), len(self._stderr), self._taken, self.pid)

    def rewound(self, place: CommandPlace) -> None:
        """Run again as at the savepoint, whatever has become of the command since."""
        with self._changed:
            del self._stdout[place.stdout :], self._stderr[place.stderr :]
            self._taken, self.pid = place.taken, place.pid
            self._status = self._error = None

    def _wait_for(self, done: Callable[[], bool], deadline: float, what: str) -> None:
        """Wait until ``done()``; the caller holds the lock. Raises if the command has failed or the time is over."""
        end = Deadline(deadline * self._agent.patience)
        while not done():
            if self._error:
                raise self._error
            if end.passed:
                raise DeadlineExceeded(
                    f"{self._agent.name}: {' '.join(self.argv)}: {what} did not come within {end}; "
                    f"the command's output so far:\n{self.stdout}{self.stderr}\n{self._agent.situation()}"
                )
            self._changed.wait(end.step)

    @property
    def stdout(self) -> str:
        """The command's standard output so far; empty if it goes to a sink."""
        return self._stdout.decode(errors="replace")

    @property
    def stderr(self) -> str:
        """The command's standard error so far; empty if it goes to a sink."""
        return self._stderr.decode(errors="replace")

    @property
    def running(self) -> bool:
        return self._status is None and self._error is None

    @property
    def error(self) -> Exception | None:
        """The error with which the command failed; None while it runs, and if it has ended with a status."""
        return self._error

    def write(self, data: str | bytes, deadline: float | None = None) -> None:
        """Send ``data`` to the command's standard input.

        `DeadlineExceeded` if the guest does not take each 64 KiB within ``deadline`` seconds; by default 30. A guest
        takes no input while it waits for this process to take its output.
        """
        raw = data.encode() if isinstance(data, str) else data
        for start in range(0, len(raw), _STDIN_CHUNK):
            self._agent._send(_Frame.STDIN, self._id, raw[start : start + _STDIN_CHUNK], deadline)

    def close_stdin(self) -> None:
        self._agent._send(_Frame.STDIN, self._id, b"")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the command's process group."""
        self._agent._send(_Frame.SIGNAL, self._id, struct.pack("<I", number))

    def expect(self, pattern: str, deadline: float = 30.0) -> re.Match[str]:
        """Wait for a whole line of standard output in which ``pattern`` is found; earlier lines are skipped.

        Every call continues after the line that the previous call found. ``deadline`` is in seconds.
        """
        wanted = re.compile(pattern)
        found: list[re.Match[str]] = []

        def look() -> bool:
            while (end := self._stdout.find(b"\n", self._taken)) >= 0:
                line = self._stdout[self._taken : end].decode(errors="replace")
                self._taken = end + 1
                if match := wanted.search(line):
                    found.append(match)
                    return True
            if self._status is not None:
                raise CommandFailed(
                    f"{self._agent.name}: {' '.join(self.argv)} ended with status {self._status} before a line like "
                    f"{pattern!r}:\n{self.stdout}{self.stderr}"
                )
            return False

        what = f"a line like {pattern!r}"
        with self._agent.journal.during(Kind.WAIT, f"{what} from {shlex.join(self.argv)}"), self._changed:
            self._wait_for(look, deadline, what)
        return found[0]

    def wait(self, deadline: float = 30.0) -> Result:
        """Wait until the command has ended. ``deadline`` is in seconds."""
        with self._changed:
            self._wait_for(lambda: self._status is not None, deadline, "its end")
        assert self._status is not None
        return Result(self.argv, self._status, self.stdout, self.stderr)


@dataclass(frozen=True)
class CommandPlace:
    """What a savepoint keeps of a running command: the bytes of its output, and those that `Command.expect` took."""

    command: Command
    stdout: int
    stderr: int
    taken: int
    pid: int


@dataclass(frozen=True)
class AgentPlace:
    """What a savepoint keeps of the agent: the beginning of a frame, and the running commands by their numbers."""

    rest: bytes
    commands: dict[int, CommandPlace]


class Agent:
    """The agent of the guest ``name`` over the connected socket ``channel``.

    ``situation`` returns the state of the VM and the end of its console, for error messages. Every timeout, also of the
    agent's commands, is multiplied by ``patience``, because some kernels are slow, and extended further on a busy host.
    ``journal`` records each command as a step.
    """

    def __init__(
        self,
        name: str,
        channel: socket.socket,
        situation: Callable[[], str],
        patience: float = 1.0,
        journal: Journal | None = None,
    ) -> None:
        self.name = name
        self.journal = journal or Journal(name)
        self.situation = situation
        self.patience = patience
        self._ids = itertools.count(1)
        self._commands: dict[int, Command] = {}
        self._pongs: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._sender = Sender(name, channel, situation, patience, AgentGone)
        self._gone: Exception | None = None
        self._hello = threading.Event()
        #: What was received and is not a whole frame yet.
        self._rest = bytearray()
        self._receiver = Receiver(f"agent-{name}", channel, self._feed, self._ended)

    def _send(self, kind: _Frame, number: int, payload: bytes, deadline: float | None = None) -> None:
        if self._gone:
            raise self._gone
        frame = _HEADER.pack(len(payload), kind, 0, number) + payload
        self._sender.send(frame, f"the agent's frame {kind.name}", deadline)

    def _feed(self, data: bytes) -> None:
        """Hand every frame to the command that it belongs to; called in the receiver's thread."""
        self._rest += data
        while len(self._rest) >= _HEADER.size:
            length, kind, _, number = _HEADER.unpack_from(self._rest)
            if len(self._rest) < _HEADER.size + length:
                return
            payload = bytes(self._rest[_HEADER.size : _HEADER.size + length])
            del self._rest[: _HEADER.size + length]
            self._take(kind, number, payload)

    def _take(self, kind: int, number: int, payload: bytes) -> None:
        if kind == _Frame.HELLO:
            self._restarted()
        elif kind == _Frame.PONG:
            self._pongs.put(number)
        elif command := self._commands.get(number):
            try:
                command._feed(kind, payload)
            except Exception as error:  # raised by a sink or a subscriber; the channel itself works
                command.fail(error)
            if kind in (_Frame.EXIT, _Frame.ERROR):
                del self._commands[number]

    def _ended(self, error: Exception | None) -> None:
        reason = f"the agent channel broke: {error}" if error else "the agent channel was closed"
        self._gone = AgentGone(f"{self.name}: {reason}\n{self.situation()}")
        self._hello.set()
        self._drop_commands(self._gone)

    @property
    def alive(self) -> bool:
        """Whether more can arrive."""
        return self._receiver.alive

    def place(self) -> AgentPlace:
        """What a savepoint keeps. The guest stands still."""
        with self._receiver.halted():
            commands = {number: command.place() for number, command in self._commands.items()}
            return AgentPlace(bytes(self._rest), commands)

    def rewound(self, place: AgentPlace) -> None:
        """Return to a savepoint's `place`, to which the guest was rewound; it still stands still.

        Commands that ran then run again. Those that were started later fail.
        """
        with self._receiver.halted(discard=True):
            self._rest[:] = place.rest
            self._sender.forget()
            for number in place.commands:
                self._commands.pop(number, None)
            self._drop_commands(AgentGone(f"{self.name}: the guest was rewound to before the command"))
            for number, kept in place.commands.items():
                kept.command.rewound(kept)
                self._commands[number] = kept.command
            self._pongs = queue.SimpleQueue()

    def _restarted(self) -> None:
        self._drop_commands(AgentGone(f"{self.name}: the guest's agent died and was started again"))
        self._hello.set()

    def _drop_commands(self, error: Exception) -> None:
        for command in list(self._commands.values()):
            command.fail(error)
        self._commands.clear()

    def wait_ready(self, deadline: float) -> None:
        """Wait until the agent has reported its start. ``deadline`` is in seconds."""
        end = Deadline(deadline * self.patience)
        while not self._hello.wait(end.step):
            if end.passed:
                raise DeadlineExceeded(f"{self.name}: the guest was not up within {end}\n{self.situation()}")
        if self._gone:
            raise self._gone

    def ping(self, deadline: float = 10.0) -> None:
        """Make sure that the agent answers within ``deadline`` seconds."""
        number = next(self._ids)
        self._send(_Frame.PING, number, b"")
        end = Deadline(deadline * self.patience)
        while True:
            with contextlib.suppress(queue.Empty):
                if self._pongs.get(timeout=min(0.2, end.left)) == number:
                    return
            if self._gone:
                raise self._gone
            if end.passed:
                raise DeadlineExceeded(f"{self.name}: the agent did not answer within {end}\n{self.situation()}")

    def start(
        self,
        *argv: str,
        sink: Callable[[bytes], None] | None = None,
        error_sink: Callable[[bytes], None] | None = None,
    ) -> Command:
        """Start a command in the guest and return at once.

        If a ``sink`` is given, the reader thread passes the standard output to it piece by piece, and the output is not
        kept. ``error_sink`` is the same for the standard error. An exception of a sink is the command's error; the sink
        then gets no further output.
        """
        number = next(self._ids)
        command = Command(self, number, argv, sink, error_sink)
        self._commands[number] = command
        self._send(_Frame.EXEC, number, b"".join(os.fsencode(a) + b"\0" for a in argv))
        return command

    def run(self, *argv: str, stdin: str | bytes = "", deadline: float = 30.0) -> Result:
        """Run a command to its end, whatever its status. ``deadline`` is in seconds."""
        command = self.start(*argv)
        if stdin:
            command.write(stdin)
        command.close_stdin()
        return command.wait(deadline)

    def succeed(self, script: str, deadline: float = 30.0) -> str:
        """Run a shell script that must exit 0; returns its standard output. `CommandFailed` otherwise."""
        result = self.run("sh", "-c", script, deadline=deadline)
        if result.status:
            raise CommandFailed(
                f"{self.name}: status {result.status} from: {script}\n{result.stdout}{result.stderr}".rstrip()
            )
        return result.stdout

    def fail(self, script: str, deadline: float = 30.0) -> str:
        """Run a shell script that must not exit 0; returns its output. `CommandFailed` if it does."""
        result = self.run("sh", "-c", script, deadline=deadline)
        if not result.status:
            raise CommandFailed(f"{self.name}: status 0, though it should fail, from: {script}\n{result.stdout}")
        return result.stdout + result.stderr

    def close(self) -> None:
        self._receiver.close()
