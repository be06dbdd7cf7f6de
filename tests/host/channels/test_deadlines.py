# SPDX-License-Identifier: MIT
"""A wait for a guest ends at its deadline or when the guest ends; its error shows the console's last lines."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from agentguest import SITUATION
from shirq_bench.channels import sending
from shirq_bench.channels.console import Console
from shirq_bench.channels.network import Network
from shirq_bench.channels.qmp import Monitor
from shirq_bench.errors import DeadlineExceeded, VmDied
from shirq_bench.observe.scene import Scene
from shirq_bench.vm.vm import Vm


def _late(what: str) -> str:
    return rf"(?s)vm7: .*{what}.*\n{re.escape(SITUATION)}"


def test_a_monitor_that_does_not_answer_shows_the_console(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    version = {"qemu": {"major": 10, "minor": 0, "micro": 13}, "package": ""}

    def greet() -> None:
        theirs.sendall(json.dumps({"QMP": {"version": version, "capabilities": []}}).encode() + b"\r\n")
        theirs.recv(4096)
        theirs.sendall(b'{"return": {}}\r\n')

    with theirs:
        threading.Thread(target=greet).start()
        with contextlib.closing(Monitor("vm7", ours, tmp_path / "qmp.log", situation=lambda: SITUATION)) as monitor:
            with pytest.raises(DeadlineExceeded, match=_late("query-status: nothing received within")):
                monitor.execute("query-status", deadline=0.1)
            with pytest.raises(DeadlineExceeded, match=_late("event STOP: nothing received within")):
                monitor.wait_event("STOP", deadline=0.1)


def test_a_neighbour_that_does_not_answer_shows_the_console() -> None:
    ours, theirs = socket.socketpair()
    with (
        theirs,
        contextlib.closing(Network("vm7", ours, lambda: SITUATION)) as network,
        pytest.raises(DeadlineExceeded, match=_late("answered only 0 of 2 ARP queries")),
    ):
        network.ping(2, deadline=0.1)


@pytest.mark.parametrize(
    "last",
    [b"", b"\0\0", b"\0\0\0\x2a" + b"x" * 12 + b"\x08\x06\0", b"\0\0\0\x10" + b"x" * 12 + b"\x08\x06\0\1"],
    ids=["nothing", "a part of a length", "a part of a frame", "a short frame"],
)
def test_a_neighbour_that_ends_is_not_waited_for(last: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    failed: list[object] = []
    monkeypatch.setattr(threading, "excepthook", failed.append)
    ours, theirs = socket.socketpair()
    with contextlib.closing(Network("vm7", ours, lambda: SITUATION)) as network, theirs:

        def end() -> None:
            theirs.recv(4096)
            theirs.sendall(last)
            theirs.shutdown(socket.SHUT_RDWR)

        threading.Thread(target=end).start()
        with pytest.raises(VmDied, match=_late("answered only 0 of 2 ARP queries before the connection was closed")):
            network.ping(2, deadline=5)
    assert not failed, "the reader's thread has failed"


def test_a_wire_that_takes_nothing_shows_the_console(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "TAKEN", 0.1)
    ours, theirs = socket.socketpair()
    with (
        ThreadPoolExecutor(1) as pool,
        theirs,
        contextlib.closing(Network("vm7", ours, lambda: SITUATION)) as network,
        pytest.raises(DeadlineExceeded, match=_late("a frame .* has not been taken")),
    ):
        pool.submit(network.send, b"x" * 1_000_000).result(timeout=20)


def test_a_console_that_takes_nothing_shows_its_last_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "TAKEN", 0.1)
    ours, theirs = socket.socketpair()
    with (
        ThreadPoolExecutor(1) as pool,
        theirs,
        contextlib.closing(Console("vm7", ours, tmp_path / "console.log")) as console,
    ):
        theirs.sendall(b"all is well\n")
        console.expect_exact("well")
        with pytest.raises(DeadlineExceeded, match=r"(?s)vm7: .*typed has not been taken.*\nall is well"):
            pool.submit(console.send, "x" * 1_000_000).result(timeout=20)


def test_a_frame_for_a_guest_that_has_ended_shows_the_console() -> None:
    ours, theirs = socket.socketpair()
    with contextlib.closing(Network("vm7", ours, lambda: SITUATION)) as network:
        theirs.close()
        with pytest.raises(VmDied, match=_late("a frame on the wire .* the channel is closed")):
            network.ask()


def test_a_line_for_a_closed_console_shows_its_last_lines(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    with contextlib.closing(Console("vm7", ours, tmp_path / "console.log")) as console:
        theirs.sendall(b"all is well\n")
        console.expect_exact("well")
        theirs.close()
        with pytest.raises(VmDied, match=r"(?s)vm7: the text that was typed .* the channel is closed.*\nall is well"):
            console.sendline("true")


def test_a_device_that_stays_masked_shows_the_console() -> None:
    vm = SimpleNamespace(
        name="vm7",
        patience=1.0,
        agent=SimpleNamespace(succeed=None),
        qmp=SimpleNamespace(get=lambda device, name: True),
        situation=lambda: SITUATION,
    )
    with pytest.raises(DeadlineExceeded, match=_late("dev0 is still masked")):
        Scene(cast(Vm, vm)).wait_unmasked("dev0", deadline=0.1)


def test_a_rewind_drops_the_beginning_of_a_packet() -> None:
    ours, theirs = socket.socketpair()
    with contextlib.closing(Network("vm7", ours, lambda: SITUATION)) as network, theirs:
        theirs.sendall(b"\0\0\0\x2a" + b"x" * 20)
        network.place()
        network.rewound(None)
        reply = b"x" * 12 + b"\x08\x06" + struct.pack("!HHBBH6s4s6s4s", 1, 0x800, 6, 4, 2, b"", b"", b"", b"")
        theirs.sendall(struct.pack("!I", len(reply)) + reply)
        network.place()
        assert network.answers() == 1
