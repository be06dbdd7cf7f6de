# SPDX-License-Identifier: MIT
"""Receives from a guest's socket in a thread, and can be brought to a halt while the guest stands still."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Callable, Iterator

#: Bytes that are received at once.
_CHUNK = 1 << 16


class Receiver:
    """Passes what arrives on the connected socket ``channel`` to ``feed``, in a thread called ``name``.

    When the channel ends, ``ended`` is called with the error that broke it, if any, and the thread ends.
    """

    def __init__(
        self,
        name: str,
        channel: socket.socket,
        feed: Callable[[bytes], None],
        ended: Callable[[OSError | ValueError | None], None] = lambda error: None,
    ) -> None:
        self._channel = channel
        self._feed = feed
        self._ended = ended
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether more can arrive."""
        return self._thread.is_alive()

    def _run(self) -> None:
        broken: OSError | ValueError | None = None
        try:
            arrived = select.poll()
            arrived.register(self._channel, select.POLLIN)
            while True:
                arrived.poll()
                with self._lock:
                    try:
                        data = self._channel.recv(_CHUNK, socket.MSG_DONTWAIT)
                    except BlockingIOError:
                        continue
                    if not data:
                        break
                    self._feed(data)
        except (OSError, ValueError) as error:
            broken = error
        self._ended(broken)

    @contextlib.contextmanager
    def halted(self, discard: bool = False) -> Iterator[None]:
        """Receive what has arrived so far, or ``discard`` it; nothing more is received during the block.

        The guest must stand still, and its emulator must have sent everything.
        """
        with self._lock:
            with contextlib.suppress(OSError):
                while data := self._channel.recv(_CHUNK, socket.MSG_DONTWAIT):
                    if not discard:
                        self._feed(data)
            yield

    def close(self) -> None:
        """End the connection and the thread."""
        with contextlib.suppress(OSError):
            self._channel.shutdown(socket.SHUT_RDWR)
        self._thread.join(timeout=5)
        self._channel.close()
