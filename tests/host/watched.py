# SPDX-License-Identifier: MIT
"""A process of its own for test_shirqctl.py: a stand-in serves `shirqctl watch`.

Usage: watched.py TREE ADDRESS SIGNAL [ARGUMENT...]
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn, Self

import pytest

from shirq import ctl
from shirq.device import Device
from shirq.errors import ShirqError
from shirq.loop import STOP
from shirq.profile import Profile
from shirq.system import System


class Endless:
    """A device whose read() is ended by disarming alone: a signal that came just before would be lost.

    Its line is armed, or two messages, as sources 1 and 2: then a call that disarms the line fails.
    """

    def __init__(self, address: str, by: str) -> None:
        self.address = address
        self.by = by
        self.armed: set[int] = set()
        self.disarmed = threading.Event()
        self.info = SimpleNamespace(irq=20, messages=2, sources=1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def load_profile(self, card: Profile) -> None:
        pass

    def set_messages(self, count: int) -> int:
        self.info.sources = 1 + count
        return count

    def set_master(self, on: bool) -> None:
        pass

    def info_of(self, source: int) -> SimpleNamespace:
        return SimpleNamespace(irq=30 + source)

    def arm(self, *, source: int = 0, **_: bool) -> None:
        self.armed.add(source)

    def disarm(self, source: int = 0) -> None:
        if source not in self.armed:
            raise ShirqError(errno.ENXIO, "not armed")
        self.armed.remove(source)
        if not self.armed:
            self.disarmed.set()

    def read(self, timeout: float | None) -> NoReturn:
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) >= STOP, "a signal just before read() would be lost"
        if self.by:
            os.kill(os.getpid(), signal.Signals[self.by])
            assert self.disarmed.wait(20), "the signal did not disarm"
        raise ShirqError(errno.ENXIO, "not armed")


def main(root: str, address: str, by: str, *arguments: str) -> int:
    pytest.MonkeyPatch().setattr(Device, "open", lambda address: Endless(address, by))
    return ctl.main(["watch", address, *arguments], System(Path(root) / "sys", Path(root) / "proc"))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
