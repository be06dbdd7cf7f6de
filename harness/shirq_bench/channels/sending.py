# SPDX-License-Identifier: MIT
"""Sends to a guest with a timeout: a hung guest reads nothing, so the buffers fill and a plain send would block."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

from shirq_bench.deadline import Deadline
from shirq_bench.errors import DeadlineExceeded

#: Seconds within which the guest must take a message.
TAKEN = 30.0


class Sender:
    """Sends messages to the guest ``name`` over the connected socket ``channel``. Any thread may use it.

    ``situation`` returns text that is added to the error if a message is not taken in time, such as the state of the VM
    and the end of its console.
    """

    def __init__(self, name: str, channel: socket.socket, situation: Callable[[], str], patience: float = 1.0) -> None:
        self._name = name
        self._channel = channel
        self._situation = situation
        self._patience = patience
        self._lock = threading.Lock()
        #: The unsent end of a message of which a part was sent. It must be sent before the next message.
        self._rest = b""

    def send(self, message: bytes, what: str) -> None:
        """Send ``message``. Raises OSError, and `DeadlineExceeded`, whose text names the message as ``what``."""
        end = Deadline(TAKEN * self._patience)
        with self._lock:
            data, old, sent = self._rest + message, len(self._rest), 0
            while sent < len(data):
                try:
                    sent += self._channel.send(memoryview(data)[sent:], socket.MSG_DONTWAIT)
                except BlockingIOError:
                    if not end.writable(self._channel.fileno()):
                        break
            self._rest = data[sent:] if sent > old else data[sent:old]
        if sent < len(data):
            raise DeadlineExceeded(f"{self._name}: {what} has not been taken within {end}\n{self._situation()}")
