# SPDX-License-Identifier: MIT
"""QMP for synchronous callers: the client of ``qemu.qmp`` on a loop in a thread, plus deadlines and a transcript."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from qemu.qmp import ExecuteError, Message, QMPClient
from qemu.qmp.error import QMPError
from qemu.qmp.protocol import Runstate, StateError

from shirq_bench.deadline import Deadline
from shirq_bench.errors import DeadlineExceeded, QmpClosed, QmpFailed
from shirq_bench.journal import Journal, Kind
from shirq_bench.transcript import Transcript

_T = TypeVar("_T")
#: The beginnings of the names of commands that change nothing.
_LOOKS = ("qom-get", "query-")


class Monitor:
    """The QMP monitor of one VM over the connected socket ``channel``.

    Its messages are appended to ``transcript``, and ``journal`` records each call as a step. Every timeout is
    multiplied by ``patience``, and extended further on a busy host. ``situation`` returns the state of the VM and the
    end of its console, for the messages of a timeout and of a lost connection.
    """

    def __init__(
        self,
        name: str,
        channel: socket.socket,
        transcript: Path,
        deadline: float = 20.0,
        patience: float = 1.0,
        journal: Journal | None = None,
        situation: Callable[[], str] = str,
    ) -> None:
        self.name = name
        self._patience = patience
        self._journal = journal or Journal(name)
        self._situation = situation
        self.transcript = Transcript(transcript)
        self._started = time.monotonic()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"qmp-{name}", daemon=True)
        self._thread.start()
        self._client = QMPClient(name)
        self._events: list[dict[str, Any]] = []
        self._event_arrived = asyncio.Condition()
        self._tasks: list[asyncio.Task[None]] = []
        self._closed = False
        #: Earlier events belong to a past from which the guest was rewound; in seconds since 1970.
        self._since = 0.0
        try:
            self._call(self._connect(channel), deadline, "the greeting")
        except BaseException:
            self.close()
            raise

    async def _connect(self, channel: socket.socket) -> None:
        try:
            await self._client.connect(channel)
        except AssertionError as error:
            # An assertion of the library fails if QEMU closes the connection during connect().
            raise EOFError("QEMU has closed the connection") from error
        self._tasks = [asyncio.create_task(self._collect()), asyncio.create_task(self._watch())]

    async def _watch(self) -> None:
        """Wake the calls of `wait_event` when the connection has ended: no further event can come."""
        while self._client.runstate is Runstate.RUNNING:
            await self._client.runstate_changed()
        async with self._event_arrived:
            self._event_arrived.notify_all()

    async def _collect(self) -> None:
        async for event in self._client.events:
            self._note("event", event)
            if _time_of(event) < self._since:
                continue
            async with self._event_arrived:
                self._events.append(dict(event))
                self._event_arrived.notify_all()

    def _note(self, what: str, message: object) -> None:
        body = dict(message) if isinstance(message, Message) else message
        if not self._closed:
            line = f"{time.monotonic() - self._started:10.6f} {what} {json.dumps(body)}\n"
            self.transcript.write(line.encode())

    def _call(self, work: Coroutine[Any, Any, _T], deadline: float, what: str) -> _T:
        if self._closed:
            work.close()
            raise QmpClosed(f"{self.name}: QMP: {what}: the connection is closed")
        end = Deadline(deadline * self._patience)
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            while not concurrent.futures.wait([future], end.step).done:
                if end.passed:
                    future.cancel()
                    late = f"{self.name}: QMP: {what}: nothing received within {end}\n{self._situation()}"
                    raise DeadlineExceeded(late.rstrip())
            return future.result()
        except ExecuteError as error:
            self._note("error", error.received["error"])
            raise QmpFailed(f"{self.name}: QMP: {what}: {error}") from error
        except (QMPError, StateError, OSError, EOFError) as error:
            closed = f"{self.name}: QMP: {what}: the connection is closed ({error})\n{self._situation()}"
            raise QmpClosed(closed.rstrip()) from error

    def execute(self, command: str, deadline: float = 20.0, **arguments: Any) -> Any:
        """Execute a QMP command and return its result. Underscores in argument names become dashes.

        Raises `QmpFailed` with QEMU's reason if QEMU refuses, `QmpClosed` if it has closed the connection, and
        `DeadlineExceeded` after ``deadline`` seconds.
        """
        args = {key.replace("_", "-"): value for key, value in arguments.items()}
        self._note("execute", {command: args})
        words = " ".join([command, *(f"{key}={value}" for key, value in args.items())])
        with self._journal.during(Kind.QMP, words, look=command.startswith(_LOOKS)):
            answer = self._call(self._client.execute(command, args), deadline, command)
        self._note("return", answer)
        return answer

    def wait_event(self, name: str, deadline: float = 20.0) -> dict[str, Any]:
        """Return the next event ``name`` that was or will be received. Removes this event and all events before it."""

        async def arrive() -> dict[str, Any]:
            async with self._event_arrived:
                while True:
                    for index, event in enumerate(self._events):
                        if event["event"] == name:
                            del self._events[: index + 1]
                            return event
                    if self._client.runstate is not Runstate.RUNNING:
                        raise EOFError("QEMU has closed the connection")
                    await self._event_arrived.wait()

        with self._journal.during(Kind.WAIT, f"QMP event {name}"):
            return self._call(arrive(), deadline, f"event {name}")

    def events(self) -> list[dict[str, Any]]:
        """The received events that no `wait_event` has removed."""
        return list(self._events)

    def place(self) -> tuple[int, list[dict[str, Any]]]:
        """What a savepoint keeps: the size of the transcript, and the events that nobody has waited for."""
        return self.transcript.size, self.events()

    def rewound(self, place: tuple[int, list[dict[str, Any]]]) -> None:
        """Return to a savepoint's `place`, to which the guest was rewound; it still stands still."""

        async def forget() -> None:
            async with self._event_arrived:
                self._since = time.time()
                self._events[:] = place[1]

        self._call(forget(), 20.0, "forgetting events")
        self.transcript.cut(place[0])

    def get(self, path: str, name: str) -> Any:
        """A QOM property; ``path`` is a qdev id or an absolute QOM path."""
        return self.execute("qom-get", path=_absolute(path), property=name)

    def set(self, path: str, name: str, value: object) -> None:
        """Set a QOM property; ``path`` is a qdev id or an absolute QOM path."""
        self.execute("qom-set", path=_absolute(path), property=name, value=value)

    def close(self) -> None:
        """Drop the connection and end the thread."""

        async def disconnect() -> None:
            for task in self._tasks:
                task.cancel()
            with contextlib.suppress(Exception):
                await self._client.disconnect()

        if self._closed:
            return
        with contextlib.suppress(Exception):
            self._call(disconnect(), 5.0, "disconnect")
        self._closed = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)
        if not self._loop.is_running():
            self._loop.close()
        self.transcript.close()


def _time_of(event: Message) -> float:
    """When QEMU has sent an event, in seconds since 1970."""
    stamp: Any = event["timestamp"]
    return float(stamp["seconds"] + stamp["microseconds"] / 1e6)


def _absolute(path: str) -> str:
    return path if path.startswith("/") else f"/machine/peripheral/{path}"
