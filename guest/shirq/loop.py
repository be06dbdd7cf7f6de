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

    This call blocks the signals at once, not only at the first event: see `disarm_at`.
    """
    disarm_at(stop, device)
    return _events(device)


def disarm_at(stop: Set[signal.Signals], device: Device) -> threading.Event:
    """Disarm all sources of the device when one of the signals comes; returns what is set just before.

    Disarming ends a read() that blocks now or later. A signal handler could not: the signal may come just before read()
    blocks. The signals are blocked from now on: call this from the main thread before that thread starts others,
    because a new thread inherits the blocked signals of its creator.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, stop)
    came = threading.Event()

    def disarm() -> None:
        signal.sigwait(stop)
        came.set()
        # The device may be closed, or some of its sources not armed: read() ends with the last one.
        with contextlib.suppress(ShirqError, ValueError):
            for source in range(max(1, device.info.sources)):
                with contextlib.suppress(ShirqError):
                    device.disarm(source)

    threading.Thread(target=disarm, daemon=True).start()
    return came


def _events(device: Device) -> Iterator[Event]:
    while True:
        try:
            event = device.read()
        except ShirqError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        yield event
