# SPDX-License-Identifier: MIT
"""Replays runs of busy guests under conditions of the host that must not matter, and compares their complete states.

A busy guest is needed: an idle one hides most differences. Its processes, pipes and page faults keep all vCPUs running,
and two drivers share a line whose devices interrupt at random times, which are the same in each replay of a run.
"""

from __future__ import annotations

import contextlib
import os
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from shirq_bench import supervisor
from shirq_bench.campaigns.sweep import scenario
from shirq_bench.errors import BenchError
from shirq_bench.replay import exact
from shirq_bench.replay.play import Stimulus
from shirq_bench.vm import template
from shirq_bench.vm.machine import Machine
from shirq_bench.vm.vm import Vm

#: The length of a run, in ns of virtual time, and the number of raises in it.
LENGTH_NS = 20_000_000
RAISES = 200
#: An endless loop of processes, pipes and page faults. It also clears the accessed bits in its page tables: those that
#: the processor sets again show what its TLB has kept.
BUSY = (
    "setsid sh -c 'while :; do echo busy | cat | wc -c; echo 1 >/proc/self/clear_refs; done'"
    " >/dev/null 2>&1 </dev/null &"
)
#: What the host does during a replay: nothing; 100 QMP queries at a time, again and again; stop and continue the VM;
#: rewind a guest that has made another run, instead of cloning one; run more busy processes than it has processors.
CONDITIONS = ("calm", "monitor", "pauses", "rewound", "load")
#: Queries that a busy monitor gets at a time.
_QUERIES = 100


def busy(kernel: str, vcpus: int) -> Machine:
    """A machine with two drivers on one line, whose vCPUs are never idle."""
    machine = scenario.get("neighbour").machine(kernel)
    return machine.with_(
        vcpus=vcpus,
        prepare=(*machine.prepare, *[BUSY] * (vcpus + 1)),
        wires=("monitor",),
        extra=("-mon", "chardev=monitor,mode=control"),
    )


def stimuli(run: int) -> tuple[Stimulus, ...]:
    """Raises of both devices at random times, which depend on the number of the run alone."""
    choose = random.Random(run)
    times = sorted(choose.sample(range(LENGTH_NS), RAISES))
    return tuple(Stimulus(time, choose.choice(("dev0", "dev1")), "raise 1") for time in times)


def replay(machine: Machine, run: int, condition: str = "calm") -> exact.State:
    """Make a run of a guest of `busy` under one of the `CONDITIONS`; returns the guest's complete state at its end."""
    loaded = _load() if condition == "load" else contextlib.nullcontext()
    with loaded, template.clone(machine, stopped=True) as vm:
        vm.start()
        if condition == "rewound":
            beginning = vm.savepoint()
            exact.state(vm, stimuli(run + 1), LENGTH_NS)
            vm.rewind(beginning, go=False)
        if condition == "monitor":
            return exact.state(vm, stimuli(run), LENGTH_NS, meanwhile=_ask)
        return exact.state(vm, stimuli(run), LENGTH_NS, pauses=condition == "pauses")


def _ask(vm: Vm) -> None:
    """Send many QMP queries, to keep QEMU's main loop busy, and wait for the replies."""
    query = b'{"execute": "query-status"}\n'
    vm.wires["monitor"].sendall(b'{"execute": "qmp_capabilities"}\n' + _QUERIES * query)
    answers = 0
    while answers < _QUERIES:
        if not (received := vm.wires["monitor"].recv(1 << 16)):
            raise BenchError(f"QEMU has ended while it was queried\n{vm.situation()}")
        answers += received.count(b'"running"')


@contextlib.contextmanager
def _load() -> Iterator[None]:
    """Run more busy processes than the host has processors."""
    with contextlib.ExitStack() as burners:
        for _ in range(len(os.sched_getaffinity(0)) + 1):
            burners.enter_context(supervisor.child([sys.executable, "-c", "while True: pass"]))
        yield


def measure(
    machine: Machine,
    runs: int,
    replays: int,
    conditions: Sequence[str] = CONDITIONS,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Make so many ``runs``, each with other stimuli, and so many ``replays`` of each, under the conditions in turn.

    ``differences`` names the run, the replay, its condition, and what differs from the run: the number of the log's
    ``entries``, the ``log``, the ``processor`` or the ``memory``.
    """
    found: dict[str, Any] = {"vcpus": machine.vcpus, "runs": runs, "replays": 0, "entries": 0, "differences": []}
    for run in range(runs):
        reference = replay(machine, run)
        found["entries"] += reference.entries
        for number in range(replays):
            tell(f"run {run + 1} of {runs}, replay {number + 1} of {replays}, {len(found['differences'])} differences")
            condition = conditions[number % len(conditions)]
            differing = _differing(replay(machine, run, condition), reference)
            found["replays"] += 1
            if differing:
                found["differences"].append({"run": run, "replay": number, "in": condition, "differ": differing})
    return found


def _differing(state: exact.State, reference: exact.State) -> list[str]:
    return [name for name in exact.State.__annotations__ if getattr(state, name) != getattr(reference, name)]
