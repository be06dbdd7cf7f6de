# SPDX-License-Identifier: MIT
"""Appends a guest's output and messages to a file while the guest runs."""

from __future__ import annotations

import contextlib
from pathlib import Path


class Transcript:
    """Appends to the file ``path`` until `close`. A failed write raises no exception; ``lost`` keeps the first error.

    The threads that serve a guest's channels write here: an exception, for example because the disk is full, would end
    them.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lost: OSError | None = None
        self._file = path.open("ab", buffering=0)

    def write(self, data: bytes) -> None:
        try:
            while data and not self._file.closed:
                data = data[self._file.write(data) :]
        except OSError as error:
            self.lost = self.lost or error

    @property
    def size(self) -> int:
        """The bytes written so far."""
        return self._file.tell()

    def cut(self, size: int) -> None:
        """Forget what was written after the first ``size`` bytes."""
        with contextlib.suppress(OSError, ValueError):
            self._file.truncate(size)
            self._file.seek(size)

    def close(self) -> None:
        self._file.close()
