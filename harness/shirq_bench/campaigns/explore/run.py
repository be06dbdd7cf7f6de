# SPDX-License-Identifier: MIT
"""Explores a pair of actors: one preemption at every instruction, or several at random ones.

With one preemption, the first actor runs on vCPU 0 up to an instruction of its window. Then the second actor's stimulus
comes, and the turn passes to vCPU 1, which keeps it until it blocks, waits for the other one, or its quantum ends.

With several preemptions, the further ones come at random instructions of what runs then, and give the turn to the other
vCPU. This is probabilistic concurrency testing (Burckhardt, Kothari, Musuvathi, Nagarakatte: "A Randomized Scheduler
with Probabilistic Guarantees of Finding Bugs", ASPLOS 2010) with the actors' priorities fixed: a bug that needs d
ordered events of n threads with k instructions is hit by a run with a probability of at least 1 / (n * k^(d-1)).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Final

from shirq_bench.campaigns.explore.classes import classes
from shirq_bench.campaigns.sweep import run
from shirq_bench.campaigns.sweep.run import MOST_FAILURES, Result, Shape
from shirq_bench.campaigns.sweep.scenario import Scenario
from shirq_bench.channels.log import Kind
from shirq_bench.errors import BenchError
from shirq_bench.toml import Words

#: More equivalent points than this, for each one that is played, are not expected in a window.
_MOST_EQUIVALENT: Final = 4
#: The number of actors.
ACTORS: Final = 2


@dataclass(kw_only=True)
class Explored(Result):
    """The result of an exploration. ``reach_ns`` is the second actor's longest turn; 0 if it was not measured.

    ``preemptions`` is the number of preemptions of a point. ``wanted`` is the number of points to try; those and the
    ``equivalent`` ones, for which they stand, are all instructions of the window, unless they are spread over it.
    """

    preemptions: int
    reach_ns: int = 0
    wanted: int = 0
    equivalent: int = 0

    @property
    def exhausted(self) -> bool:
        """Whether every instruction of the window was tried, or an equivalent one."""
        whole = self.wanted + self.equivalent == self.shape.window_ns
        return self.preemptions == 1 and whole and self.points == self.wanted

    @property
    def instructions(self) -> int:
        """The number of instructions of the window, and with several preemptions of the second actor's turn (k)."""
        return self.shape.window_ns + self.reach_ns

    @property
    def bound(self) -> float | None:
        """The least probability of a random point to hit a bug that needs these preemptions; None for one."""
        return 1 / (ACTORS * self.instructions**self.preemptions) if self.preemptions > 1 else None


def explore(
    scenario: Scenario,
    kernel: str,
    points: int = 0,
    preemptions: int = 1,
    seed: int = 1,
    tell: Callable[[str], None] = lambda _: None,
    most: int = MOST_FAILURES,
) -> Explored:
    """Explore a scenario of `actors`; with several ``preemptions``, ``points`` random points that ``seed`` chooses.

    With one preemption, a point of each class of equivalent ones is tried. If these are more than ``points`` or than
    the scenario allows, so many points are spread evenly over the window.
    """
    shape = run.calibrate(scenario, kernel)
    result = Explored(scenario.name, kernel, shape, scenario.mortal, preemptions=preemptions)
    if preemptions == 1:
        offsets, result.equivalent = choose(scenario, kernel, shape, points)
        result.wanted = len(offsets)
        run.try_points(scenario, kernel, offsets, shape.period_ns, tell, most, result)
        return result
    result.reach_ns = reach(scenario, kernel, shape)
    choices = random.Random(f"{scenario.name} {seed}")
    window = range(shape.begin_ns, shape.begin_ns + shape.window_ns)
    chosen = sorted(choices.choice(window) for _ in range(points))
    further = [_switches(choices, preemptions - 1, result.reach_ns) for _ in chosen]
    period = shape.period_ns + preemptions * result.reach_ns
    run.try_points(scenario, kernel, chosen, period, tell, most, result, further)
    return result


def choose(scenario: Scenario, kernel: str, shape: Shape, points: int = 0) -> tuple[Sequence[int], int]:
    """The offsets at which one preemption is tried, and the number of other instructions for which they stand."""
    offsets: Sequence[int] = run.offsets(scenario, shape, points)
    if shape.window_ns <= _MOST_EQUIVALENT * len(offsets):
        every = classes(scenario, kernel, shape)
        if len(every) <= len(offsets):
            return [same[-1] for same in every], shape.window_ns - len(every)
    return offsets, 0


def _switches(choices: random.Random, count: int, reach_ns: int) -> Words:
    """So many further preemptions, each after a random number of the instructions that run then."""
    times = accumulate(choices.randint(1, reach_ns) for _ in range(count))
    return tuple(f"+{time} ctl turn {number % ACTORS}" for number, time in enumerate(times))


def reach(scenario: Scenario, kernel: str, shape: Shape) -> int:
    """The longest turn of the second actor, in ns, at a few instants of the window."""
    offsets = [shape.begin_ns + shape.window_ns * eighth // 8 for eighth in range(8)]
    recording = run.case_of(scenario, kernel, offsets, shape.period_ns).run().recording
    turns = [entry for entry in recording.entries if entry.kind is Kind.TURN]
    lengths = [
        after.time_ns - before.time_ns for before, after in pairwise(turns) if before.offset == 0 and before.value == 1
    ]
    if not lengths:
        raise BenchError(f"scenario {scenario.name}: the second actor never had the turn")
    return max(lengths)
