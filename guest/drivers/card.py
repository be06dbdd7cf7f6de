# SPDX-License-Identifier: MIT
"""Common code of the drivers of stock cards: a profile, an owner, a main loop, and counters printed at the end."""

from __future__ import annotations

import argparse
import sys
import time

import shirq
from shirq import profile

#: Events after which the card is still armed; the driver has nothing to do for them.
GOES_ON = (shirq.EventType.LINE_OFF, shirq.EventType.LINE_ON)


class CardError(Exception):
    """The card does not behave as its documentation says."""


class Card:
    """A card that `device` owns. A subclass names its profile, starts the card, handles events, and counts."""

    profile = ""

    def __init__(self, device: shirq.Device, options: argparse.Namespace) -> None:
        self.device = device
        self.options = options
        self.counts = {"events": 0, "lost": 0}

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        """The options of this card besides the common ones."""

    def start(self) -> None:
        """Initialise the card; it is not armed yet."""

    def armed(self) -> None:
        """Give the card work, if nothing else does; called after the card was armed."""

    def handle(self, event: shirq.Event) -> None:
        """Handle the interrupt. The card is masked meanwhile, if its profile masks."""
        raise NotImplementedError

    def wait(self, space: int, offset: int, bits: int, value: int, seconds: float = 1.0) -> None:
        """Wait until the byte at `offset` has `value` in `bits`. Raises CardError."""
        until = time.monotonic() + seconds
        while (now := self.device.pread(space, offset, 1)) & bits != value:
            if time.monotonic() > until:
                raise CardError(f"BAR {space} + {offset:#x} is {now:#x} after {seconds:g} s")


def run(kind: type[Card]) -> None:
    """Own the card on the command line and handle its events until SIGTERM; then print the counters."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("address", help="PCI address such as 0000:00:04.0")
    parser.add_argument("--bind", action="store_true", help="bind the function to shirq first")
    kind.add_options(parser)
    options = parser.parse_args()
    description = profile.load(profile.folder() / f"{kind.profile}.toml")
    try:
        if options.bind:
            shirq.bind(options.address)
        with shirq.Device.open(options.address) as device:
            card = kind(device, options)
            card.start()
            device.load(description.programs)
            device.arm()
            events = shirq.serve(device)
            print("armed", flush=True)
            card.armed()
            for event in events:
                if event.type in GOES_ON:
                    continue
                if event.type is not shirq.EventType.IRQ:
                    raise CardError(f"the card was stopped (sleep, reset or quarantine): {event.type!r}")
                card.counts["events"] += 1
                card.counts["lost"] = event.lost
                card.handle(event)
            print(*(f"{name}={value}" for name, value in card.counts.items()), flush=True)
    except (shirq.ShirqError, CardError) as error:
        sys.exit(f"{kind.profile}: {error}")
