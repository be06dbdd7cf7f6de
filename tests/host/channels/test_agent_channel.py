# SPDX-License-Identifier: MIT
"""However the agent's channel ends, the failure describes the guest's state."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from shirq_bench.channels.agent import Agent
from shirq_bench.errors import AgentGone


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
        with pytest.raises(AgentGone, match=r"(?s)vm7: the agent channel .*closed.*\nQEMU has ended with status 1"):
            agent.run("true")
        agent.close()
