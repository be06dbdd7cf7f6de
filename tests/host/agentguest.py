# SPDX-License-Identifier: MIT
"""The guest's end of an agent channel, for host tests: the test itself writes the agent's frames."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator

from shirq_bench.channels.agent import Agent, _Frame

_HEADER = struct.Struct("<IHHI")
SITUATION = "QEMU runs; the console says: all is well"


class Guest:
    """An `Agent` with the name vm7, and the guest's end of its channel."""

    def __init__(self) -> None:
        ours, self.channel = socket.socketpair()
        self.channel.settimeout(20)
        self._heard = self.channel.makefile("rb")
        # Make the send buffer smaller than a frame can be, so that a frame can be sent in part.
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 14)
        self.agent = Agent("vm7", ours, lambda: SITUATION)

    def says(self, kind: _Frame, number: int, payload: bytes = b"") -> None:
        self.channel.sendall(_HEADER.pack(len(payload), kind, 0, number) + payload)

    def exits(self, number: int, status: int = 0) -> None:
        self.says(_Frame.EXIT, number, struct.pack("<I", status << 8))

    def hears(self) -> tuple[_Frame, int, bytes]:
        """Return the next frame from the host. Raises EOFError if the host has closed the channel."""
        if not (head := self._heard.read(_HEADER.size)):
            raise EOFError
        length, kind, _, number = _HEADER.unpack(head)
        return _Frame(kind), number, self._heard.read(length)


@contextlib.contextmanager
def guest() -> Iterator[Guest]:
    it = Guest()
    with it.channel, it._heard, contextlib.closing(it.agent):
        yield it
