# SPDX-License-Identifier: MIT
"""Sends to a guest with a timeout: a hung guest reads nothing, so the buffers fill and a plain send would block."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

from shirq_bench.deadline import Deadline
from shirq_bench.errors import BenchError, DeadlineExceeded, VmDied

#: Seconds within which the guest must take a message.
TAKEN = 30.0


class Sender:
    """Sends messages to the guest ``name`` over the connected socket ``channel``. Any thread may use it.

    ``situation`` returns text that is added to the error if a message is not taken, such as the state of the VM and the
    end of its console. The error is ``gone`` if the channel is closed.
    """

    def __init__(
        self,
        name: str,
        channel: socket.socket,
        situation: Callable[[], str],
        patience: float = 1.0,
        gone: type[BenchError] = VmDied,
    ) -> None:
        self._name = name
        self._channel = channel
        self._situation = situation
        self._patience = patience
        self._gone = gone
        self._lock = threading.Lock()
        #: The unsent end of a message of which a part was sent. It must be sent before the next message.
        self._rest = b""

    def forget(self) -> None:
        """Forget the unsent end of a message: the guest was rewound, and its emulator has dropped the beginning."""
        with self._lock:
            self._rest = b""

    def send(self, message: bytes, what: str, deadline: float | None = None) -> None:
        """Send ``message`` within ``deadline`` seconds, by default `TAKEN`.

        Raises `DeadlineExceeded`, or ``gone`` if the channel is closed. The error's text names the message as ``what``.
        """
        end = Deadline((TAKEN if deadline is None else deadline) * self._patience)
        with self._lock:
            data, old, sent = self._rest + message, len(self._rest), 0
            while sent < len(data):
                try:
                    sent += self._channel.send(memoryview(data)[sent:], socket.MSG_DONTWAIT)
                except BlockingIOError:
                    if not end.writable(self._channel.fileno()):
                        break
                except OSError as error:
                    closed = f"{self._name}: {what} has not been taken, the channel is closed ({error})"
                    raise self._gone(f"{closed}\n{self._situation()}") from error
            self._rest = data[sent:] if sent > old else data[sent:old]
        if sent < len(data):
            raise DeadlineExceeded(f"{self._name}: {what} has not been taken within {end}\n{self._situation()}")
