# SPDX-License-Identifier: MIT
"""If the agent channel ends, the error describes the guest's state. A failing receiver of output does not end it."""

from __future__ import annotations

import contextlib
import errno
import signal
import socket
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from agentguest import guest
from shirq_bench import journal
from shirq_bench.channels import sending
from shirq_bench.channels.agent import Agent, _Frame
from shirq_bench.errors import AgentGone, DeadlineExceeded
from shirq_bench.journal import Step


@pytest.mark.parametrize(
    "end",
    [lambda far: far.close(), lambda far: far.shutdown(socket.SHUT_RD), lambda far: far.shutdown(socket.SHUT_WR)],
    ids=["closed", "not read any more", "not written any more"],
)
def test_a_channel_that_ends_is_told_with_the_guests_situation(end: Callable[[socket.socket], None]) -> None:
    ours, theirs = socket.socketpair()
    agent = Agent("vm7", ours, lambda: "QEMU has ended with status 1")
    with theirs:
        end(theirs)
        with pytest.raises(AgentGone, match=r"(?s)vm7: the agent.* channel .*closed.*\nQEMU has ended with status 1"):
            agent.run("true")
        agent.close()


def test_a_guest_that_takes_nothing_is_told_and_no_frame_is_torn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A guest that hangs does not block senders for ever; when it continues, it gets only complete frames."""
    monkeypatch.setattr(sending, "TAKEN", 0.1)
    late = r"vm7: .* has not been taken within 0\.1 s.*\nQEMU runs; the console says: all is well"
    with ThreadPoolExecutor(3) as pool, guest() as vm:
        cat, sleep = vm.agent.start("cat"), vm.agent.start("sleep", "1")
        senders = [pool.submit(command.write, b"x" * 1_000_000) for command in (cat, sleep)]
        for sender in senders:
            with pytest.raises(DeadlineExceeded, match=late):
                sender.result(timeout=20)
        with pytest.raises(DeadlineExceeded, match=late):
            pool.submit(cat.close_stdin).result(timeout=20)
        monkeypatch.undo()
        sleeping = pool.submit(sleep.signal, signal.SIGTERM)
        heard = [vm.hears()]
        while heard[-1][0] != _Frame.SIGNAL:
            heard.append(vm.hears())
        sleeping.result()
        assert {(kind, len(payload)) for kind, _, payload in heard} == {
            (_Frame.EXEC, 4),
            (_Frame.EXEC, 8),
            (_Frame.STDIN, 1 << 16),
            (_Frame.SIGNAL, 4),
        }


def test_a_write_may_have_a_deadline_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose guest waits for a slow reader of its output takes no input for as long."""
    monkeypatch.setattr(sending, "TAKEN", 0.1)
    much = b"x" * 1_000_000
    with ThreadPoolExecutor(1) as pool, guest() as vm:
        cat = vm.agent.start("cat")
        writing = pool.submit(cat.write, much, deadline=60)
        with pytest.raises(TimeoutError):
            writing.result(timeout=1)
        taken = 0
        while taken < len(much):
            kind, _, payload = vm.hears()
            taken += len(payload) if kind == _Frame.STDIN else 0
        writing.result(timeout=20)


@pytest.mark.parametrize("kind", [_Frame.STDOUT, _Frame.STDERR], ids=["output", "errors"])
def test_a_sink_that_fails_fails_its_command_alone(kind: _Frame) -> None:
    """If a sink raises an error, its command fails with it and the sink gets no more data; other commands continue."""
    taken: list[bytes] = []

    def full(data: bytes) -> None:
        taken.append(data)
        raise OSError(errno.ENOSPC, "No space left on device")

    with guest() as vm:
        broken = vm.agent.start("seq", "2", sink=full, error_sink=full)
        whole = vm.agent.start("true")
        for text in (b"1\n", b"2\n"):
            vm.says(kind, 1, text)
        vm.exits(1)
        vm.exits(2)
        assert whole.wait().status == 0
        with pytest.raises(OSError, match="No space left on device"):
            broken.wait()
        assert (taken, broken.running) == ([b"1\n"], False)
        assert [step.outcome for step in vm.agent.journal.steps] == ["[Errno 28] No space left on device", ""]


def test_a_subscriber_that_fails_leaves_the_channel_whole() -> None:
    """The channel's reader thread calls subscribers of steps; one can fail, for example if its terminal is closed."""

    def gone(step: Step) -> None:
        if step.what == "seq 1":
            raise BrokenPipeError

    with guest() as vm, contextlib.ExitStack() as stack:
        stack.callback(journal.subscribe(gone))
        reported, other = vm.agent.start("seq", "1"), vm.agent.start("true")
        vm.exits(1)
        vm.exits(2)
        assert other.wait().status == 0
        with pytest.raises(BrokenPipeError):
            reported.wait()


def test_a_frame_that_the_channels_end_cuts_short_is_its_end() -> None:
    with guest() as vm:
        command = vm.agent.start("true")
        vm.channel.sendall(struct.pack("<IHHI", 4, _Frame.EXIT, 0, 1) + b"\0\0")
        vm.channel.shutdown(socket.SHUT_RDWR)
        with pytest.raises(AgentGone, match="the agent channel was closed"):
            command.wait()


def test_a_rewind_drops_the_beginning_of_a_frame() -> None:
    with guest() as vm:
        place = vm.agent.place()
        half = struct.pack("<IHHI", 4, _Frame.EXIT, 0, 1) + b"\0"
        vm.channel.sendall(half)
        assert vm.agent.place().rest == half
        vm.agent.rewound(place)
        command = vm.agent.start("true")
        vm.exits(vm.hears()[1])
        assert command.wait(20).status == 0
