# SPDX-License-Identifier: MIT
"""ssh into a guest, for interactive use and for file transfer: paramiko through the agent, without network or TCP port.

The guest runs dropbear on its loopback interface. Each connection is a guest command that carries bytes between its
standard streams and dropbear. On the host, paramiko gets one end of a socket pair, and a thread forwards the bytes.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from pathlib import Path
from types import TracebackType

import paramiko

from shirq_bench.channels.agent import Agent, Result
from shirq_bench.deadline import Deadline
from shirq_bench.errors import BenchError, DeadlineExceeded

# Errors are raised; paramiko's threads need not print them as well.
logging.getLogger("paramiko").addHandler(logging.NullHandler())

#: Starts dropbear unless it runs already; makes a host key at the first connection.
_BRIDGE = "pidof dropbear >/dev/null || dropbear -R -p 127.0.0.1:22 || exit; exec nc 127.0.0.1 22"


class Ssh:
    """A connection to the guest as root. ``key`` is the private key that the image accepts."""

    def __init__(self, agent: Agent, key: Path, deadline: float = 60.0) -> None:
        self._name = agent.name
        self._patience = agent.patience
        start = Deadline(deadline * self._patience).left
        ours, self._far = socket.socketpair()
        self._bridge = agent.start("sh", "-c", _BRIDGE, sink=self._far.sendall)
        self._pump = threading.Thread(target=self._forward, name=f"ssh-{agent.name}", daemon=True)
        self._pump.start()
        self._files: paramiko.SFTPClient | None = None
        self._transport = paramiko.Transport(ours)
        # An emulated guest takes seconds for its part of the key exchange.
        self._transport.banner_timeout = self._transport.auth_timeout = start
        try:
            self._transport.start_client(timeout=start)
            self._transport.auth_publickey("root", paramiko.Ed25519Key.from_private_key_file(str(key)))
        except (paramiko.SSHException, OSError, EOFError) as error:
            said = self._bridge.stderr.strip() or "nothing"
            self.close()
            raise BenchError(f"{self._name}: ssh: {error}; output of the guest's side: {said}") from error

    def _forward(self) -> None:
        with contextlib.suppress(OSError, BenchError):
            while data := self._far.recv(65536):
                self._bridge.write(data)
        with contextlib.suppress(BenchError):
            self._bridge.close_stdin()

    def __enter__(self) -> Ssh:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def exec(self, command: str, deadline: float = 60.0) -> Result:
        """Run a shell command to its end, whatever its status. ``deadline`` is in seconds."""
        end = Deadline(deadline * self._patience)
        stdout = stderr = b""
        try:
            channel = self._transport.open_session(timeout=end.left)
            channel.settimeout(end.left)
            channel.exec_command(command)
            while data := channel.recv(65536):
                stdout += data
                if end.passed:
                    raise TimeoutError
            while data := channel.recv_stderr(65536):
                stderr += data
            if not channel.status_event.wait(end.left):
                raise TimeoutError
            status = channel.recv_exit_status()
            channel.close()
        except TimeoutError:
            raise DeadlineExceeded(f"{self._name}: ssh: {command}: not finished within {end}") from None
        except (paramiko.SSHException, EOFError) as error:
            raise BenchError(f"{self._name}: ssh: {command}: {error}") from error
        return Result((command,), status, stdout.decode(errors="replace"), stderr.decode(errors="replace"))

    def _sftp(self) -> paramiko.SFTPClient:
        if self._files is None:
            self._files = paramiko.SFTPClient.from_transport(self._transport)
            assert self._files is not None
        return self._files

    def put(self, local: Path, remote: str) -> None:
        """Copy a file into the guest."""
        self._sftp().put(str(local), remote)

    def get(self, remote: str, local: Path) -> None:
        """Copy a file out of the guest."""
        self._sftp().get(remote, str(local))

    def close(self) -> None:
        self._transport.close()
        with contextlib.suppress(OSError):
            self._far.shutdown(socket.SHUT_RDWR)
        self._pump.join(timeout=5)
        self._far.close()
