# SPDX-License-Identifier: MIT
"""A full disk ends no channel: the channel's transcript is incomplete, and the guest's situation reports that."""

from __future__ import annotations

import contextlib
import errno
import json
import socket
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from shirq_bench.channels.console import Console
from shirq_bench.channels.qmp import Monitor
from shirq_bench.journal import Journal, Kind
from shirq_bench.transcript import Transcript
from shirq_bench.vm.vm import Vm

FULL = Path("/dev/full")


def _is_full(transcript: Transcript | None) -> bool:
    return transcript is not None and transcript.lost is not None and transcript.lost.errno == errno.ENOSPC


def test_a_console_is_read_though_its_log_is_full() -> None:
    ours, theirs = socket.socketpair()
    with theirs, contextlib.closing(Console("vm7", ours, FULL)) as console:
        for number in range(3):
            theirs.sendall(f"line {number}\n".encode())
            console.expect_exact(f"line {number}", timeout=20)
        assert _is_full(console.transcript)


def test_a_monitor_answers_though_its_log_is_full() -> None:
    ours, theirs = socket.socketpair()

    def answer() -> None:
        version = {"qemu": {"major": 10, "minor": 0, "micro": 13}, "package": ""}
        theirs.sendall(json.dumps({"QMP": {"version": version, "capabilities": []}}).encode() + b"\r\n")
        for event in (b"", b'{"event": "STOP", "timestamp": {"seconds": 1, "microseconds": 2}}\r\n'):
            asked = json.loads(theirs.recv(4096))
            said = {"return": {}} | ({"id": asked["id"]} if "id" in asked else {})
            theirs.sendall(json.dumps(said).encode() + b"\r\n" + event)

    with theirs:
        threading.Thread(target=answer, daemon=True).start()
        with contextlib.closing(Monitor("vm7", ours, FULL)) as monitor:
            assert monitor.execute("stop") == {}
            assert monitor.wait_event("STOP")["event"] == "STOP"
            assert _is_full(monitor.transcript)


def test_a_step_ends_though_its_transcript_is_full() -> None:
    guest = Journal("vm7", FULL)
    with guest.during(Kind.QMP, "stop"):
        pass
    guest.begin(Kind.QMP, "cont")
    guest.close()
    assert [step.ended_s is None for step in guest.steps] == [False, True]
    assert _is_full(guest.transcript)


def test_the_situation_says_which_transcripts_are_incomplete(tmp_path: Path) -> None:
    lost, whole = Transcript(FULL), Transcript(tmp_path / "whole")
    for transcript in (lost, whole):
        transcript.write(b"text")
    vm = SimpleNamespace(
        name="vm7",
        pid=42,
        dir=tmp_path,
        _emulator=SimpleNamespace(wait=lambda seconds: None, said=lambda: ""),
        console=SimpleNamespace(transcript=lost, tail=lambda: "all is well"),
        journal=SimpleNamespace(transcript=whole),
    )
    assert Vm.situation(cast(Vm, vm)).splitlines()[1:] == [
        "full is incomplete: [Errno 28] No space left on device",
        "the last console lines:",
        "all is well",
    ]
    assert (tmp_path / "whole").read_text() == "text"
