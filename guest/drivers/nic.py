# SPDX-License-Identifier: MIT
"""A network card that replies to ARP queries for one address: a reply proves that frames are received and sent."""

from __future__ import annotations

import argparse
import ipaddress
import struct
from collections.abc import Iterator

import shirq
from card import Card

_ETHERNET = struct.Struct("!6s6sH")
_ARP = struct.Struct("!HHBBH6s4s6s4s")
_ARP_TYPE = 0x0806
_ETHERNET_IPV4 = (1, 0x0800, 6, 4)
_REQUEST, _REPLY = 1, 2
#: The shortest frame, without its check sum.
SHORTEST = 60


class Nic(Card):
    """A network card. A subclass implements `frames` and `send`, and sets `mac` in `start`."""

    mac = bytes(6)

    def __init__(self, device: shirq.Device, options: argparse.Namespace) -> None:
        super().__init__(device, options)
        self.ip = options.ip.packed
        self.counts |= {"received": 0, "sent": 0, "dropped": 0}

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--ip", type=ipaddress.IPv4Address, required=True, help="address to answer ARP queries for")

    def frames(self) -> Iterator[bytes]:
        """The frames pending in the card, without checksums; each is removed from the card."""
        raise NotImplementedError

    def send(self, frame: bytes) -> bool:
        """Send a frame; False if the card has no room for it."""
        raise NotImplementedError

    def answer_all(self) -> None:
        """Take all pending frames, and reply to ARP queries for our address."""
        for frame in self.frames():
            self.counts["received"] += 1
            if answer := self.answer(frame):
                self.counts["sent" if self.send(answer) else "dropped"] += 1

    def answer(self, frame: bytes) -> bytes | None:
        """The reply to an ARP query for our address; None for any other frame."""
        if len(frame) < _ETHERNET.size + _ARP.size:
            return None
        *kind, operation, sender_mac, sender_ip, _, target_ip = _ARP.unpack_from(frame, _ETHERNET.size)
        asks = _ETHERNET.unpack_from(frame)[2] == _ARP_TYPE and tuple(kind) == _ETHERNET_IPV4
        if not asks or operation != _REQUEST or target_ip != self.ip:
            return None
        head = _ETHERNET.pack(sender_mac, self.mac, _ARP_TYPE)
        arp = _ARP.pack(*_ETHERNET_IPV4, _REPLY, self.mac, self.ip, sender_mac, sender_ip)
        return (head + arp).ljust(SHORTEST, b"\0")
