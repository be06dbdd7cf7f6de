# SPDX-License-Identifier: MIT
"""The monitor reports the end of QEMU, whenever QEMU ends, and logs all messages."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from pathlib import Path

import pytest

from shirq_bench.channels.qmp import Monitor
from shirq_bench.errors import QmpFailed

_VERSION = {"qemu": {"major": 10, "minor": 0, "micro": 13}, "package": ""}
_GREETING = json.dumps({"QMP": {"version": _VERSION, "capabilities": []}}).encode() + b"\r\n"
_AGREED = b'{"return": {}}\r\n'


def _ends_after(channel: socket.socket, answers: int) -> None:
    """Act as a QEMU that closes its monitor after ``answers`` messages."""
    with channel:
        for answer in (_GREETING, _AGREED)[:answers]:
            channel.sendall(answer)
            if answer is _GREETING and answers > 1:
                channel.recv(4096)


@pytest.mark.parametrize("answers", [0, 1, 2], ids=["at once", "after its greeting", "once the monitor is connected"])
def test_qemu_that_ends_during_connect_closed_the_connection(answers: int, tmp_path: Path) -> None:
    """If QEMU ends while a client connects to it, the error says that the connection is closed.

    The last case is a race: in nearly every try the library fails with an AssertionError, which the monitor must
    convert to QmpFailed. A few tries are enough to meet that.
    """
    for number in range(3):
        ours, theirs = socket.socketpair()
        qemu = threading.Thread(target=_ends_after, args=(theirs, answers))
        qemu.start()
        with pytest.raises(QmpFailed, match=r"the connection is closed \(.*\)\nQEMU has ended"):
            log = tmp_path / f"qmp-{number}.log"
            Monitor("vm", ours, log, situation=lambda: "QEMU has ended").wait_event("NEVER")
        qemu.join()


def test_the_log_has_every_command_answer_refusal_and_event(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    refusal = {"class": "GenericError", "desc": "Device 'dev9' not found"}
    event = {"event": "STOP", "data": {}, "timestamp": {"seconds": 1, "microseconds": 2}}

    def answer() -> None:
        theirs.sendall(_GREETING)
        theirs.recv(4096)
        theirs.sendall(_AGREED)
        for said in ({"error": refusal}, {"return": 42}):
            asked = json.loads(theirs.recv(4096))
            theirs.sendall(json.dumps({**said, "id": asked["id"]}).encode() + b"\r\n")

    qemu = threading.Thread(target=answer)
    qemu.start()
    with theirs, contextlib.closing(Monitor("vm", ours, tmp_path / "qmp.log")) as monitor:
        with pytest.raises(QmpFailed, match="qom-get: Device 'dev9' not found"):
            monitor.get("/dev9", "pin")
        assert monitor.get("/dev0", "pin") == 42
        qemu.join()
        theirs.sendall(json.dumps(event).encode() + b"\r\n")
        monitor.wait_event("STOP")
    lines = [line.split(maxsplit=2)[1:] for line in (tmp_path / "qmp.log").read_text().splitlines()]
    assert [(what, json.loads(said)) for what, said in lines] == [
        ("execute", {"qom-get": {"path": "/dev9", "property": "pin"}}),
        ("error", refusal),
        ("execute", {"qom-get": {"path": "/dev0", "property": "pin"}}),
        ("return", 42),
        ("event", event),
    ]
