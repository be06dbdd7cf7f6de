# SPDX-License-Identifier: MIT
"""A busy guest with instruction counting runs identically each time, whatever the host does meanwhile."""

from __future__ import annotations

import functools
import socket
from collections.abc import Callable

import pytest

from shirq_bench.campaigns import determinism
from shirq_bench.channels.network import Network
from shirq_bench.replay import exact
from shirq_bench.vm import template, vm
from shirq_bench.vm.machine import SHARED_LINE

pytestmark = pytest.mark.needs_kernel("6.1", "6.12")

ARP, REVERSE_ARP = 0x0806, 0x8035
#: The number of the run, and of its replays in each condition, which are compared with it. With unpatched QEMU, most
#: replays differed in all conditions except "calm", and with several vCPUs in all conditions.
RUN, REPLAYS = 2005, 3


@functools.cache
def first(kernel: str, vcpus: int) -> exact.State:
    """Return the final state that all replays are compared with."""
    return determinism.replay(determinism.busy(kernel, vcpus), RUN)


@pytest.mark.parametrize("condition", determinism.CONDITIONS)
@pytest.mark.parametrize("vcpus", [1, 2, 4])
@pytest.mark.long
def test_busy_guest_replays_identically(kernel_name: str, vcpus: int, condition: str) -> None:
    """The event log, the vCPUs' registers and the memory of all replays are the same after the same instruction.

    The conditions: the host is idle, it sends QMP queries all the time, it stops and continues the VM, it rewinds a VM
    instead of cloning one, or it is busy.
    """
    reference = first(kernel_name, vcpus)
    assert reference.entries > 5 * determinism.RAISES, "the devices were hardly served"
    for _ in range(REPLAYS):
        again = determinism.replay(determinism.busy(kernel_name, vcpus), RUN, condition)
        assert again.processor == reference.processor
        assert again == reference


class Listener(Network):
    """Notes the EtherType of every frame on the wire."""

    def __init__(self, name: str, channel: socket.socket, situation: Callable[[], str], patience: float = 1.0) -> None:
        self.types: list[int] = []
        super().__init__(name, channel, situation, patience)

    def _take(self, frame: bytes) -> None:
        self.types.append(int.from_bytes(frame[12:14]))
        super()._take(frame)


def test_clone_announces_itself_to_no_network(kernel_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clone sends no announcement frames, because QEMU would send them at times that depend on the host's clock."""
    monkeypatch.setattr(vm, "Network", Listener)
    with template.clone(SHARED_LINE.with_(kernel=kernel_name)) as clone:
        wire = clone.boot().networks["net0"]
        wire.ping()
        assert isinstance(wire, Listener)
        assert ARP in wire.types
        assert REVERSE_ARP not in wire.types
