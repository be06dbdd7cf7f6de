# SPDX-License-Identifier: MIT
"""Random schedules for two devices and their owners, exact to the instruction; a failing one is shrunk and saved."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from shirq_bench.campaigns.sweep import scenario
from shirq_bench.paths import BUILD
from shirq_bench.replay.case import Case, finding
from shirq_bench.replay.play import Stimulus

# Bounds are in instructions; an instrumented kernel needs a hundred times as many.
pytestmark = pytest.mark.needs_kernel("6.1", "6.12")

#: The number of instructions after which all interrupts are handled.
_SETTLED_NS = 400_000
_DEVICES = st.sampled_from(["dev0", "dev1"])
_SOURCES = st.integers(1, 15)


class Line(RuleBasedStateMachine):
    """Hypothesis adds stimuli to a schedule. At its end a guest plays the schedule, and the oracle judges the log."""

    kernel: ClassVar[str] = "6.1"
    spurious: ClassVar[int] = 0
    file: ClassVar[Path] = BUILD / "artefacts/random-schedule/finding.json"

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.stimuli: list[Stimulus] = []
        self.cuts: list[int] = []

    @initialize()
    def begin(self) -> None:
        """Begin with an empty schedule."""

    @rule(delay=st.integers(0, 20_000), device=_DEVICES, sources=_SOURCES)
    def assert_(self, delay: int, device: str, sources: int) -> None:
        """Raise sources of a device ``delay`` instructions after the previous stimulus."""
        self.now += delay
        self.stimuli.append(Stimulus(self.now, device, f"raise {sources}"))

    @rule(delay=st.integers(0, 4_000))
    def assert_both(self, delay: int) -> None:
        """Raise the same source of both devices at one instant."""
        self.now += delay
        self.stimuli += [Stimulus(self.now, device, "raise 16") for device in ("dev0", "dev1")]

    @rule()
    def settle(self) -> None:
        """Add a pause in which all interrupts are handled."""
        self.now += _SETTLED_NS
        self.cuts.append(self.now)

    def teardown(self) -> None:
        """Play the schedule in a guest; fail if the oracle finds a violation."""
        if not self.stimuli:
            return
        case = self.case()
        outcome = case.run()
        if outcome.all():
            finding(case, outcome).save(self.file)
            pytest.fail(f"{outcome.all()[0].what}\nshirq replay {self.file}")

    def case(self) -> Case:
        """Return the generated schedule as a case that ends after a pause."""
        item = scenario.get("both-and-again")
        return Case(
            title="random schedule",
            machine=item.machine(self.kernel),
            stimuli=tuple(self.stimuli),
            cuts=(*self.cuts, self.now + _SETTLED_NS),
            devices=item.devices,
            actors=item.processes,
            bound_ns=item.bound_ns,
            spurious=self.spurious,
        )


_SETTINGS = settings(
    max_examples=12,
    stateful_step_count=25,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.long
def test_no_random_schedule_loses_or_doubles_an_interrupt(kernel_name: str) -> None:
    machine = type("Line", (Line,), {"kernel": kernel_name})
    run_state_machine_as_test(machine, settings=_SETTINGS)


@pytest.mark.long
def test_a_schedule_that_fails_is_shrunk_to_the_least_that_does(kernel_name: str, tmp_path: Path) -> None:
    """The oracle allows one event fewer than there are raises, so that one raise is enough to fail."""
    machine = type("Line", (Line,), {"kernel": kernel_name, "spurious": -1, "file": tmp_path / "finding.json"})
    least = settings(_SETTINGS, phases=[Phase.generate, Phase.shrink])
    with pytest.raises(pytest.fail.Exception, match=r"1 events for 1 raises") as failed:
        run_state_machine_as_test(machine, settings=least)
    said = "\n".join(getattr(failed.value, "__notes__", []))
    assert said.count("state.assert_") == 1
    assert "settle" not in said
