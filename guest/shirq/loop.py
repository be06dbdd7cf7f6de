# SPDX-License-Identifier: MIT
"""A driver's main loop: read events until a signal stops the process."""

from __future__ import annotations

import contextlib
import errno
import signal
import threading
from collections.abc import Iterator, Set
from typing import Final

from shirq.device import Device
from shirq.errors import ShirqError
from shirq.records import Event

STOP: Final = frozenset({signal.SIGTERM, signal.SIGINT})


def serve(device: Device, stop: Set[signal.Signals] = STOP) -> Iterator[Event]:
    """Yield the events of an armed device until it is disarmed, by the caller or by one of the signals `stop`.

    This call blocks the signals at once, not only at the first event. Call it from the main thread before that thread
    starts others: a new thread inherits the blocked signals of its creator.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, stop)

    def disarm() -> None:
        # Disarming ends a read() that blocks now or later. A signal handler could not: the signal may come just before
        # read() blocks.
        signal.sigwait(stop)
        with contextlib.suppress(ShirqError, ValueError):  # the device was closed meanwhile
            device.disarm()

    threading.Thread(target=disarm, daemon=True).start()
    return _events(device)


def _events(device: Device) -> Iterator[Event]:
    while True:
        try:
            event = device.read()
        except ShirqError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        yield event
