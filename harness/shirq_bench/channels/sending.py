# SPDX-License-Identifier: MIT
"""Send to a guest under a deadline: a guest that hangs takes nothing, and the buffers before it are soon full."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

from shirq_bench.deadline import Deadline
from shirq_bench.errors import BenchError, DeadlineExceeded, VmDied

#: Seconds within which a message must be taken.
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
        #: The end of a message of which a part has been taken: it comes before the next message.
        self._rest = b""

    def send(self, message: bytes, what: str, deadline: float | None = None) -> None:
        """Send ``message`` within ``deadline`` seconds, by default `TAKEN`.

        Raises `DeadlineExceeded` or ``gone``, whose text says ``what`` it is.
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
