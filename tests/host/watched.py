# SPDX-License-Identifier: MIT
"""A process of its own for test_shirqctl.py: `watched.py TREE ADDRESS SIGNAL` runs `shirqctl watch` on a stand-in."""

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
    """A device whose read() is ended by disarming alone: a signal that came just before would be lost."""

    info = SimpleNamespace(irq=20)

    def __init__(self, by: str) -> None:
        self.by = by
        self.disarmed = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def load_profile(self, card: Profile) -> None:
        pass

    def arm(self, **_: bool) -> None:
        pass

    def disarm(self) -> None:
        self.disarmed.set()

    def read(self, timeout: float | None) -> NoReturn:
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) >= STOP, "a signal just before read() would be lost"
        if self.by:
            os.kill(os.getpid(), signal.Signals[self.by])
            assert self.disarmed.wait(20), "the signal did not disarm"
        raise ShirqError(errno.ENXIO, "not armed")


def main(root: str, address: str, by: str) -> int:
    pytest.MonkeyPatch().setattr(Device, "open", lambda *_: Endless(by))
    return ctl.main(["watch", address], System(Path(root) / "sys", Path(root) / "proc"))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
