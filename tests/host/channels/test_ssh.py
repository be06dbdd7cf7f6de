# SPDX-License-Identifier: MIT
"""SSH through the agent: it ends with the guest or at its deadline, and receives all output. The server is paramiko."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import paramiko
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from paramiko.common import AUTH_SUCCESSFUL, OPEN_SUCCEEDED

from agentguest import SITUATION, Guest, guest
from shirq_bench.channels import sending
from shirq_bench.channels.agent import _Frame
from shirq_bench.channels.ssh import Ssh
from shirq_bench.errors import AgentGone, BenchError, DeadlineExceeded

_MUCH = 4 << 20


class Server(paramiko.ServerInterface):
    """A fake of dropbear: a command writes `_MUCH` to both outputs; sftp calls ``files`` and does not answer."""

    files: Callable[[], None] = staticmethod(lambda: None)

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return AUTH_SUCCESSFUL

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        def run() -> None:
            channel.sendall_stderr(b"e" * _MUCH)
            channel.sendall(b"o" * _MUCH)
            channel.send_exit_status(3)
            channel.close()

        threading.Thread(target=run, daemon=True).start()
        return True

    def check_channel_subsystem_request(self, channel: paramiko.Channel, name: str) -> bool:
        self.files()
        return True


def _carry(vm: Guest, dropbear: socket.socket) -> None:
    """Act as the agent's first command, which connects the agent's frames to ``dropbear``."""

    def back() -> None:
        with contextlib.suppress(OSError):
            while data := dropbear.recv(16384):
                vm.says(_Frame.STDOUT, 1, data)

    with contextlib.suppress(OSError, ValueError, EOFError), dropbear:
        assert vm.hears()[:2] == (_Frame.EXEC, 1)
        threading.Thread(target=back, daemon=True).start()
        while True:
            kind, number, payload = vm.hears()
            if (kind, number) == (_Frame.STDIN, 1):
                dropbear.sendall(payload)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def vm() -> Iterator[Guest]:
    with guest() as it:
        yield it


@pytest.fixture
def ssh(vm: Guest, server: Server, tmp_path: Path) -> Iterator[Ssh]:
    key = tmp_path / "key"
    private = Ed25519PrivateKey.generate()
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    ours, dropbear = socket.socketpair()
    transport = paramiko.Transport(ours)
    transport.add_server_key(paramiko.ECDSAKey.generate())
    transport.start_server(server=server, event=threading.Event())
    threading.Thread(target=_carry, args=(vm, dropbear), daemon=True).start()
    with contextlib.closing(transport), Ssh(vm.agent, key) as connection:
        yield connection


@pytest.fixture
def pool(ssh: Ssh) -> Iterator[ThreadPoolExecutor]:
    """A thread for calls that might not return before the connection is closed."""
    with ThreadPoolExecutor(1) as threads, contextlib.closing(ssh):
        yield threads


def test_a_command_that_writes_much_to_both_outputs_ends(ssh: Ssh) -> None:
    result = ssh.exec("much", deadline=10)
    assert (result.status, len(result.stdout), len(result.stderr)) == (3, _MUCH, _MUCH)


def test_a_copy_ends_with_the_guest(vm: Guest, server: Server, ssh: Ssh, pool: ThreadPoolExecutor) -> None:
    server.files = lambda: vm.channel.shutdown(socket.SHUT_RDWR)
    with pytest.raises(BenchError, match=rf"vm7: ssh: /tmp/fifo: .*channel.* closed.*\n{SITUATION}") as caught:
        pool.submit(ssh.get, "/tmp/fifo", Path("/dev/null")).result(timeout=20)
    assert isinstance(caught.value.__cause__, AgentGone)


def test_a_guest_that_takes_nothing_is_the_first_error(
    vm: Guest, ssh: Ssh, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends the connection; paramiko's error, which follows from that, names no reason."""
    over = threading.Event()

    def deaf() -> tuple[_Frame, int, bytes]:
        over.wait(60)
        raise EOFError

    monkeypatch.setattr(sending, "TAKEN", 0.1)
    monkeypatch.setattr(vm, "hears", deaf)
    with pytest.raises(BenchError, match=rf"(?s)STDIN has not been taken within 0\.1 s.*\n{SITUATION}") as caught:
        pool.submit(ssh.exec, "x" * 1_000_000).result(timeout=20)
    over.set()
    assert isinstance(caught.value.__cause__, DeadlineExceeded)


def test_a_guest_that_ends_while_connecting_is_the_first_error(vm: Guest, tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as threads:
        connecting = threads.submit(Ssh, vm.agent, tmp_path / "key")
        assert vm.hears()[:2] == (_Frame.EXEC, 1)
        vm.channel.shutdown(socket.SHUT_RDWR)
        with pytest.raises(BenchError, match=rf"(?s)vm7: ssh: .*channel.* closed.*\n{SITUATION}; output of the guest"):
            connecting.result(timeout=20)


def test_a_copy_ends_at_its_deadline_and_shows_the_console(ssh: Ssh, pool: ThreadPoolExecutor) -> None:
    late = rf"vm7: ssh: /tmp/file: not finished within 0\.2 s.*\n{SITUATION}"
    with pytest.raises(DeadlineExceeded, match=late):
        pool.submit(ssh.put, Path("/dev/null"), "/tmp/file", deadline=0.2).result(timeout=20)


def test_what_arrives_after_its_end_is_ignored(vm: Guest, ssh: Ssh) -> None:
    ssh.close()
    other = vm.agent.start("true")
    vm.says(_Frame.STDOUT, 1, b"late")
    vm.exits(1)
    vm.exits(2)
    assert other.wait().status == 0
    assert [step.outcome for step in vm.agent.journal.steps] == ["", ""]
