# SPDX-License-Identifier: MIT
"""A busy guest with instruction counting runs identically each time, whatever the host does meanwhile."""

from __future__ import annotations

import contextlib
import functools
import os
import random
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from shirq_bench.campaigns.sweep import scenario
from shirq_bench.channels.network import Network
from shirq_bench.replay import exact
from shirq_bench.replay.play import Stimulus
from shirq_bench.vm import template, vm
from shirq_bench.vm.machine import SHARED_LINE, Machine
from shirq_bench.vm.vm import Vm

pytestmark = pytest.mark.needs_kernel("6.1", "6.12")

ARP, REVERSE_ARP = 0x0806, 0x8035
#: The length of a run, in ns of virtual time, and the number of raises in it.
LENGTH_NS = 20_000_000
RAISES = 200
#: The number of runs in each condition that are compared with the first run. With unpatched QEMU, most runs differed in
#: all conditions except "calm".
RUNS = 3
#: An endless loop of processes, pipes and page faults.
BUSY = "setsid sh -c 'while :; do echo busy | cat | wc -c; done' >/dev/null 2>&1 </dev/null &"


def busy(kernel: str) -> Machine:
    """Return a machine with two drivers on one line, whose processor is never idle."""
    machine = scenario.get("neighbour").machine(kernel)
    return machine.with_(
        prepare=(*machine.prepare, BUSY, BUSY), wires=("monitor",), extra=("-mon", "chardev=monitor,mode=control")
    )


@functools.cache
def stimuli() -> tuple[Stimulus, ...]:
    """Raises of both devices at random times, which are the same in every run."""
    choose = random.Random(2005)
    times = sorted(choose.sample(range(LENGTH_NS), RAISES))
    return tuple(Stimulus(time, choose.choice(("dev0", "dev1")), "raise 1") for time in times)


def ask(vm: Vm) -> None:
    """Send 100 QMP queries, to keep QEMU's main loop busy, and wait for the replies."""
    vm.wires["monitor"].sendall(b'{"execute": "qmp_capabilities"}\n' + 100 * b'{"execute": "query-status"}\n')
    answers = 0
    while answers < 100:
        answers += vm.wires["monitor"].recv(1 << 16).count(b'"running"')


@contextlib.contextmanager
def host_load() -> Iterator[None]:
    """Run more busy processes than the host has processors."""
    busy = len(os.sched_getaffinity(0)) + 1
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


def run(kernel: str, condition: str) -> exact.State:
    """Make a run under a condition of the host; returns the guest's final state."""
    loaded = host_load() if condition == "load" else contextlib.nullcontext()
    with loaded, template.clone(busy(kernel), stopped=True) as guest:
        guest.start()
        if condition == "monitor":
            return exact.state(guest, stimuli(), LENGTH_NS, meanwhile=ask)
        return exact.state(guest, stimuli(), LENGTH_NS, pauses=condition == "pauses")


@functools.cache
def first(kernel: str) -> exact.State:
    """Return the final state that all other runs are compared with."""
    return run(kernel, "calm")


@pytest.mark.parametrize("condition", ["calm", "monitor", "load", "pauses"])
@pytest.mark.long
def test_busy_guest_replays_identically(kernel_name: str, condition: str) -> None:
    """The event log, the processor's registers and the memory of all runs are the same after the same instruction.

    The conditions: the host is idle, it sends QMP queries all the time, it is busy, or it stops and continues the VM.
    """
    reference = first(kernel_name)
    assert reference.entries > 10 * RAISES, "the devices were hardly served"
    for _ in range(RUNS):
        again = run(kernel_name, condition)
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
