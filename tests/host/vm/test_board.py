# SPDX-License-Identifier: MIT
"""The qtest client, with an emulator that does not answer, or answers in pieces."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from shirq_bench import deadline
from shirq_bench.errors import DeadlineExceeded, VmDied
from shirq_bench.vm.board import QTest, QTestFailed


@pytest.fixture
def ends() -> Iterator[tuple[QTest, socket.socket]]:
    """A qtest client, and the emulator's end of the connection."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield QTest("board", ours, deadline=0.05), theirs


def test_an_answer_is_waited_for_longer_on_a_busy_host(
    ends: tuple[QTest, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadline, "competition", lambda: 20.0)
    with pytest.raises(DeadlineExceeded, match=r"no answer to readl 0x0 within 0.05 s \(1 s on this busy host\)"):
        ends[0].read(0)


def test_answers_arrive_in_pieces_with_interrupts_between(ends: tuple[QTest, socket.socket]) -> None:
    client, emulator = ends
    emulator.sendall(b"OK 0x1\nIRQ raise 5\nOK 0x2\nIRQ lower 5\nFAIL")
    assert [client.read(0), client.read(4)] == [1, 2]
    assert client.irqs == {5: True}
    emulator.sendall(b" no such\n")
    with pytest.raises(QTestFailed, match="readl 0x8: FAIL no such"):
        client.read(8)
    assert client.irqs == {5: False}


def test_an_emulator_that_has_gone_is_told_at_once(ends: tuple[QTest, socket.socket]) -> None:
    ends[1].shutdown(socket.SHUT_WR)
    with pytest.raises(VmDied, match="readl 0x0: the connection is closed"):
        ends[0].read(0)
