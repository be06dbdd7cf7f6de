# SPDX-License-Identifier: MIT
"""A deterministic guest with several vCPUs: what they do, in which order, is the same each time."""

from __future__ import annotations

from itertools import pairwise

import pytest

from shirq_bench.campaigns import determinism
from shirq_bench.channels.log import Entry, Kind, Log, TurnReason
from shirq_bench.replay import exact
from shirq_bench.replay.play import Stimulus, beginning
from shirq_bench.vm import pool
from shirq_bench.vm.machine import Machine

pytestmark = pytest.mark.needs_kernel("6.1", "6.12")

RUN = 1996
#: The conditions of replays that need no busy host: `determinism.CONDITIONS`.
CONDITIONS = ("calm", "monitor", "pauses", "rewound")
#: The length of runs in which a schedule gives the turn, and when it does, in ns.
LENGTH_NS, SWITCH_NS = 2_000_000, 1_000_000


@pytest.mark.parametrize("vcpus", [2, 4])
def test_replays_of_several_vcpus_are_identical(kernel_name: str, vcpus: int) -> None:
    """Log, registers of all vCPUs and memory, whatever the host does meanwhile."""
    machine = determinism.busy(kernel_name, vcpus)
    states = {condition: determinism.replay(machine, RUN, condition) for condition in CONDITIONS}
    reference = determinism.replay(machine, RUN)
    for condition, state in states.items():
        assert state.processor == reference.processor, condition
        assert state == reference, condition
    assert f"CPU#{vcpus - 1}" in reference.processor


def test_runs_with_other_stimuli_differ(kernel_name: str) -> None:
    """The comparison is one that can fail: the states of two runs are not equal."""
    machine = determinism.busy(kernel_name, 2)
    one, other = (determinism.replay(machine, run) for run in (1, 2))
    assert one.log != other.log
    assert one.processor != other.processor
    assert one.memory != other.memory


def switched(machine: Machine, *lines: Stimulus) -> tuple[exact.State, Log, int]:
    """Make a short run with these entries of ctl's schedule; returns its end, its log and its beginning."""
    with pool.lent(machine, stopped=True) as vm:
        base = beginning(vm)
        return exact.state(vm, [*determinism.stimuli(RUN), *lines], LENGTH_NS), vm.log().kept(), base


def test_turn_passes_from_one_vcpu_to_the_other(kernel_name: str) -> None:
    """Each vCPU that gets the turn takes it from the one before. The quantum ends no turn early.

    A turn may be longer: a quantum that ends while the other vCPU is halted is followed by a new one.
    """
    machine = determinism.busy(kernel_name, 2)
    _, log, base = switched(machine, Stimulus(SWITCH_NS, "ctl", "turn 0"), Stimulus(SWITCH_NS + 1, "ctl", "turn 1"))
    turns = [entry for entry in log.of(Kind.TURN) if entry.offset != TurnReason.STATE]
    assert {entry.offset for entry in turns} >= {TurnReason.SCHEDULE, TurnReason.QUANTUM}
    for before, entry in pairwise(turns):
        assert entry.vcpu == before.value != entry.value
        if entry.offset == TurnReason.QUANTUM:
            assert entry.time_ns - before.time_ns >= machine.turn_ns
    assert (base + SWITCH_NS + 1, 1) in [(entry.time_ns, entry.value) for entry in turns]


def where(log: Log) -> list[Entry]:
    return [entry for entry in log.entries if entry.kind is Kind.WHERE]


def running_ns(machine: Machine, points: range) -> int:
    """An instant after which vCPU 0 is at another address at each of the points.

    The repetitions of a string instruction count as instructions, and have one address.
    """
    for start in range(SWITCH_NS, SWITCH_NS + 200_000, 10_000):
        looks = [Stimulus(start + after, "ctl", "where") for after in points]
        _, log, _ = switched(machine, Stimulus(start, "ctl", "turn 0"), *looks)
        if len({entry.value for entry in where(log)[::2]}) == len(points):
            return start
    pytest.fail("vCPU 0 only repeats instructions")


def test_switch_can_be_forced_at_each_instruction(kernel_name: str) -> None:
    """One nanosecond later is one instruction later, of the vCPU that has the turn; the same switch is the same run."""
    machine = determinism.busy(kernel_name, 2)
    points = range(1, 5)
    start = running_ns(machine, points)
    keep = Stimulus(start, "ctl", "turn 0")
    places = []
    for after in points:
        there = [Stimulus(start + after, "ctl", action) for action in ("where", "turn 1")]
        state, log, base = switched(machine, keep, *there)
        assert switched(machine, keep, *there)[0] == state
        now = base + start + after
        assert [entry.value for entry in log.of(Kind.TURN) if entry.time_ns == now] == [1]
        places.append([entry.value for entry in where(log)])
    first, second = zip(*places, strict=True)
    assert len(set(first)) == len(places), "vCPU 0 has executed an instruction each time"
    assert len(set(second)) == 1, "vCPU 1 has executed none"
