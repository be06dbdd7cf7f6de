# SPDX-License-Identifier: MIT
"""The host's end of a guest's network card: a test sends packets that cause interrupts of the in-kernel neighbour.

QEMU's ``stream`` back end frames each Ethernet packet with a big-endian 32-bit length. A request is an ARP query for
the guest's address; the reply proves that the card's interrupt was handled.
"""

from __future__ import annotations

import contextlib
import ipaddress
import queue
import socket
import struct
from collections.abc import Callable

from shirq_bench.channels.receiver import Receiver
from shirq_bench.channels.sending import Sender
from shirq_bench.deadline import Deadline
from shirq_bench.errors import DeadlineExceeded, VmDied

#: The neighbour's address in the guest.
GUEST_IP = "10.0.2.15"
_GUEST_IP = ipaddress.IPv4Address(GUEST_IP)
_HOST_IP = ipaddress.IPv4Address("10.0.2.2")
_HOST_MAC = bytes.fromhex("525500000001")
_BROADCAST = b"\xff" * 6
#: The size of an Ethernet packet's header.
_HEAD = 14
_ARP = struct.Struct("!HHBBH6s4s6s4s")
_REQUEST, _REPLY = 1, 2
#: The size of a frame, before it.
_LENGTH = struct.Struct("!I")


class Network:
    """The connection to one network card of the guest ``name``, over the connected socket ``channel``.

    ``situation`` returns the state of the VM and the end of its console, for error messages.
    """

    def __init__(self, name: str, channel: socket.socket, situation: Callable[[], str], patience: float = 1.0) -> None:
        self.name = name
        self._situation = situation
        self._patience = patience
        self._sender = Sender(name, channel, situation, patience)
        self._replies: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        #: What was received and is not a whole frame yet.
        self._rest = b""
        self._receiver = Receiver(f"network-{name}", channel, self._feed)

    def _feed(self, data: bytes) -> None:
        self._rest += data
        while len(self._rest) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(self._rest)[0]
            if len(self._rest) < end:
                return
            self._take(self._rest[_LENGTH.size : end])
            self._rest = self._rest[end:]

    def _take(self, frame: bytes) -> None:
        """Handle a received frame; called in the receiver's thread."""
        whole = len(frame) >= _HEAD + _ARP.size
        if whole and frame[12:_HEAD] == b"\x08\x06" and _ARP.unpack_from(frame, _HEAD)[4] == _REPLY:
            self._replies.put(frame)

    def send(self, frame: bytes) -> None:
        """Send an Ethernet frame to the card."""
        self._sender.send(_LENGTH.pack(len(frame)) + frame, "a frame on the wire")

    def ask(self) -> None:
        """Send one ARP query for the guest's address."""
        arp = _ARP.pack(1, 0x0800, 6, 4, _REQUEST, _HOST_MAC, _HOST_IP.packed, b"\0" * 6, _GUEST_IP.packed)
        self.send((_BROADCAST + _HOST_MAC + b"\x08\x06" + arp).ljust(60, b"\0"))

    def answers(self) -> int:
        """The number of replies since the last call."""
        count = 0
        with contextlib.suppress(queue.Empty):
            while True:
                self._replies.get_nowait()
                count += 1
        return count

    def ping(self, times: int = 1, deadline: float = 20.0) -> None:
        """Send ``times`` queries, each when the previous one has been answered.

        Raises `DeadlineExceeded`, or `VmDied` if QEMU closes the connection.
        """
        end = Deadline(deadline * self._patience)
        self.answers()
        for number in range(times):
            self.ask()
            while True:
                try:
                    self._replies.get(timeout=end.step)
                    break
                except queue.Empty:
                    answered = f"{self.name}: the guest answered only {number} of {times} ARP queries"
                    if not self.alive:
                        closed = f"{answered} before the connection was closed"
                        raise VmDied(f"{closed}\n{self._situation()}") from None
                    if end.passed:
                        raise DeadlineExceeded(f"{answered} within {end}\n{self._situation()}") from None

    @property
    def alive(self) -> bool:
        """Whether more can arrive."""
        return self._receiver.alive

    def place(self) -> None:
        """A savepoint keeps nothing: a rewound QEMU begins with a whole frame. The guest stands still."""
        with self._receiver.halted():
            pass  # what it has sent so far was received before the savepoint

    def rewound(self, place: None) -> None:
        """Return to a savepoint, to which the guest was rewound; it still stands still."""
        with self._receiver.halted(discard=True):
            self._rest = b""
            self._sender.forget()
            self.answers()

    def close(self) -> None:
        self._receiver.close()
