# SPDX-License-Identifier: MIT
"""A guest's serial console as a pexpect object that is always drained.

QEMU stops a guest whose console is not read, so a thread reads all the time and also writes the text to a file.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import queue
import select
import socket
import sys
import termios
import tty
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pexpect
from pexpect.spawnbase import SpawnBase

from shirq_bench.channels.receiver import Receiver
from shirq_bench.channels.sending import Sender
from shirq_bench.deadline import Deadline
from shirq_bench.transcript import Transcript

if TYPE_CHECKING:
    _Base = SpawnBase[str]  # generic in its type stubs only
else:
    _Base = SpawnBase

#: Ctrl-], which ends `Console.interact`.
ESCAPE = b"\x1d"


def _decoder() -> Callable[[bytes], str]:
    return codecs.getincrementaldecoder("utf-8")("replace").decode


@dataclass(frozen=True)
class Place:
    """What a savepoint keeps of a console: the ``size`` of its log, and the text that was not read yet."""

    size: int
    arrived: tuple[bytes, ...]
    buffer: str


class Console(_Base):
    """The console behind the connected socket ``channel``; all its output is appended to ``log``."""

    def __init__(self, name: str, channel: socket.socket, log: Path) -> None:
        super().__init__(timeout=120, encoding="utf-8", codec_errors="replace")
        self._decode = _decoder()
        self.name = name
        self.log = log
        self.transcript = Transcript(log)
        self._channel = channel
        self._sender = Sender(name, channel, lambda: f"the last console lines:\n{self.tail()}")
        self._arrived: queue.Queue[bytes] = queue.Queue()
        self._receiver = Receiver(f"console-{name}", channel, self._feed, self._ended)

    def _feed(self, data: bytes) -> None:
        self.transcript.write(data)
        self._arrived.put(data)

    def _ended(self, error: Exception | None) -> None:
        self.transcript.close()
        self._arrived.put(b"")

    @property
    def alive(self) -> bool:
        """Whether more can arrive."""
        return self._receiver.alive

    def place(self) -> Place:
        """What a savepoint keeps: the size of the log, and the text that nobody has read. The guest stands still."""
        with self._receiver.halted():
            return Place(self.transcript.size, tuple(self._arrived.queue), self._buffer.getvalue())

    def rewound(self, place: Place) -> None:
        """Return to a savepoint's `place`, to which the guest was rewound; it still stands still."""
        with self._receiver.halted(discard=True):
            self.transcript.cut(place.size)
            self._sender.forget()
            self._arrived.queue.clear()
            self._arrived.queue.extend(place.arrived)
            self._buffer = io.StringIO()
            self._buffer.write(place.buffer)
            self._before = io.StringIO()
            self._before.write(place.buffer)
            self._decode = _decoder()

    def read_nonblocking(self, size: int = 1, timeout: float | None = -1) -> str:
        """Return the received text; wait at most ``timeout`` seconds for the first byte, as pexpect requires."""
        if timeout == -1:
            timeout = self.timeout
        try:
            data = self._arrived.get(timeout=timeout)
            while data and not self._arrived.empty() and self._arrived.queue[0]:
                data += self._arrived.get_nowait()
        except queue.Empty:
            raise pexpect.TIMEOUT(f"{self.name}: nothing from the console") from None
        if not data:
            self.flag_eof = True
            raise pexpect.EOF(f"{self.name}: the console was closed")
        return self._decode(data)

    def shows(self, text: str, end: Deadline) -> bool:
        """Whether ``text`` appears before ``end`` passes. Raises `pexpect.EOF` if the console is closed before."""
        # Wait in short steps: a busy host stretches the deadline during the wait, but a timeout of pexpect is fixed.
        while not end.passed:
            if self.expect_exact([text, pexpect.TIMEOUT], timeout=end.step) == 0:
                return True
        return False

    def send(self, text: str) -> int:
        """Type ``text``."""
        data = text.encode()
        self._sender.send(data, "the text that was typed")
        return len(data)

    def sendline(self, text: str = "") -> int:
        """Type ``text`` and Enter."""
        return self.send(text + "\n")

    def text(self) -> str:
        """Everything that the guest has written so far."""
        try:
            return self.log.read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def tail(self, lines: int = 30) -> str:
        """The last ``lines`` lines that the guest wrote; after a kernel panic, ``lines`` lines from the panic on."""
        text = self.text().splitlines()
        panic = next((number for number, line in enumerate(text) if "Kernel panic" in line), None)
        shown = text[-lines:] if panic is None else text[panic : panic + lines]
        return "\n".join(line.rstrip() for line in shown)

    def interact(self) -> None:
        """Connect the user's terminal to the console until Ctrl-] or the VM's end."""
        stdin = sys.stdin.fileno()
        saved = termios.tcgetattr(stdin)
        try:
            tty.setraw(stdin)
            while True:
                ready, _, _ = select.select([stdin], [], [], 0.02)
                if ready:
                    typed = os.read(stdin, 4096)
                    if ESCAPE in typed or not typed:
                        return
                    with contextlib.suppress(OSError):  # the VM has ended: show its last words first
                        self._channel.sendall(typed)
                while not self._arrived.empty():
                    data = self._arrived.get_nowait()
                    if not data:
                        return
                    os.write(sys.stdout.fileno(), data)
        finally:
            termios.tcsetattr(stdin, termios.TCSADRAIN, saved)

    def close(self) -> None:
        self._receiver.close()
