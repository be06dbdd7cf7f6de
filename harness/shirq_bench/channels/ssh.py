# SPDX-License-Identifier: MIT
"""ssh into a guest, for interactive use and for file transfer: paramiko through the agent, without network or TCP port.

The guest runs dropbear on its loopback interface. Each connection is a guest command that carries bytes between its
standard streams and dropbear. On the host, paramiko gets one end of a socket pair, and a thread forwards the bytes.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import select
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

import paramiko

from shirq_bench.channels.agent import Agent, Result
from shirq_bench.deadline import Deadline
from shirq_bench.errors import BenchError, DeadlineExceeded

# Silence paramiko's logger: errors are raised, and paramiko's threads would print them as well.
logging.getLogger("paramiko").addHandler(logging.NullHandler())

#: Starts dropbear unless it runs already; makes a host key at the first connection.
_BRIDGE = "pidof dropbear >/dev/null || dropbear -R -p 127.0.0.1:22 || exit; exec nc 127.0.0.1 22"
#: Seconds between two checks of the guest's side and of the deadlines.
_LOOK = 0.2


class Ssh:
    """A connection to the guest as root. ``key`` is the private key that the image accepts."""

    def __init__(self, agent: Agent, key: Path, deadline: float = 60.0) -> None:
        self._name = agent.name
        self._agent = agent
        start = Deadline(deadline * agent.patience).left
        ours, self._far = socket.socketpair()
        self._connected = True
        #: The deadlines of the running operations.
        self._ends: set[Deadline] = set()
        #: What has ended the connection, if it was one of these.
        self._expired: Deadline | None = None
        self._broken: Exception | None = None
        self._bridge = agent.start("sh", "-c", _BRIDGE, sink=self._take)
        self._pump = threading.Thread(target=self._forward, name=f"ssh-{agent.name}", daemon=True)
        self._pump.start()
        self._files: paramiko.SFTPClient | None = None
        self._transport = paramiko.Transport(ours)
        # Extend paramiko's timeouts: an emulated guest takes seconds for its part of the key exchange.
        self._transport.banner_timeout = self._transport.auth_timeout = start
        try:
            self._transport.start_client(timeout=start)
            self._transport.auth_publickey("root", paramiko.Ed25519Key.from_private_key_file(str(key)))
        except (paramiko.SSHException, OSError, EOFError) as error:
            said = self._bridge.stderr.strip() or "nothing"
            cause = self._cause(error)
            self.close()
            raise BenchError(f"{self._name}: ssh: {cause}; output of the guest's side: {said}") from cause

    def _take(self, data: bytes) -> None:
        with contextlib.suppress(OSError):  # the connection is closed: nothing reads the data
            self._far.sendall(data)

    def _forward(self) -> None:
        """Pump thread: end the connection when either side has ended, or a deadline has passed.

        This thread checks the deadlines because paramiko waits without a timeout in places.
        """
        try:
            while self._bridge.running:
                # A deadline that has passed does not count as such any more if the host's load rises after that.
                self._expired = next((end for end in tuple(self._ends) if end.passed), None)
                if self._expired:
                    break
                if select.select([self._far], [], [], _LOOK)[0]:
                    if not (data := self._far.recv(65536)):
                        break
                    self._bridge.write(data)
        except (OSError, BenchError) as error:
            self._broken = error
        self._connected = False
        with contextlib.suppress(OSError):
            self._far.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(BenchError):
            self._bridge.close_stdin()

    def _cause(self, error: Exception) -> Exception:
        """The first error: paramiko's ``error`` follows from the guest's or the channel's, if there is one."""
        return self._broken or self._bridge.error or error

    @contextlib.contextmanager
    def _within(self, what: str, deadline: float) -> Iterator[None]:
        """End the connection if the block takes longer than ``deadline`` seconds.

        Raises `DeadlineExceeded` in this case, and `BenchError` if the connection ends before.
        """
        end = Deadline(deadline * self._agent.patience)
        self._ends.add(end)
        try:
            yield
            if not self._alive:
                raise EOFError("the connection has ended")
        except (paramiko.SSHException, OSError, EOFError) as error:
            if self._expired is end or end.passed:
                late = f"{self._name}: ssh: {what}: not finished within {end}"
                raise DeadlineExceeded(f"{late}\n{self._agent.situation()}") from None
            if isinstance(error, OSError) and self._alive:
                raise  # an error of the copied file, not of the connection
            cause = self._cause(error)
            raise BenchError(f"{self._name}: ssh: {what}: {cause}") from cause
        finally:
            self._ends.discard(end)

    @property
    def _alive(self) -> bool:
        return self._connected and self._transport.is_active()

    def __enter__(self) -> Ssh:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def exec(self, command: str, deadline: float = 60.0) -> Result:
        """Run a shell command to its end, whatever its status. After ``deadline`` seconds the connection ends."""
        with self._within(command, deadline), ThreadPoolExecutor(1) as pool:
            channel = self._transport.open_session()
            channel.exec_command(command)
            # Read both at once: the streams share a flow-control window, so unread data of one stops the other.
            errors = pool.submit(_all, channel.recv_stderr)
            stdout, stderr = _all(channel.recv), errors.result()
            status = channel.recv_exit_status()
            channel.close()
        return Result((command,), status, stdout.decode(errors="replace"), stderr.decode(errors="replace"))

    def _sftp(self) -> paramiko.SFTPClient:
        if self._files is None:
            self._files = paramiko.SFTPClient.from_transport(self._transport)
            assert self._files is not None
        return self._files

    def put(self, local: Path, remote: str, deadline: float = 300.0) -> None:
        """Copy a file into the guest. After ``deadline`` seconds the connection ends."""
        with self._within(remote, deadline):
            self._sftp().put(str(local), remote)

    def get(self, remote: str, local: Path, deadline: float = 300.0) -> None:
        """Copy a file out of the guest. After ``deadline`` seconds the connection ends."""
        with self._within(remote, deadline):
            self._sftp().get(remote, str(local))

    def close(self) -> None:
        self._transport.close()
        with contextlib.suppress(OSError):
            self._far.shutdown(socket.SHUT_RDWR)
        self._pump.join(timeout=5)
        self._far.close()


def _all(receive: Callable[[int], bytes]) -> bytes:
    return b"".join(iter(functools.partial(receive, 65536), b""))
