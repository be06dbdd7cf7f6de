# SPDX-License-Identifier: MIT
"""The player of the zoo: a step that did not happen is an error of the case; the rest is judged from the log."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from shirq_bench.trace import Kind
from shirq_bench.zoo import case as cases
from shirq_bench.zoo.outcome import Outcome
from shirq_bench.zoo.run import NotPlayed, Played, play

Play = Callable[..., Played]

_CASE = """
id = "trial"
title = "t"
symptom = "s"
cause = "c"
source = ["this test"]
explanation = "e"
shows = ["hang"]
steps = [{steps}]
{more}
[expected]
shirq = "survives"
uio_pci_generic = "survives"
vfio-pci = "survives"
naive = "survives"
"""
ARMED = '{ driver = "bind" }, { driver = "start" }, '
UNMASKED = "{ guest = 'echo 1 >$PCI/$DEV0/enable; register $DEV0 0x6c 1' }, "


@pytest.fixture
def trial(kernel_name: str, tmp_path: Path) -> Play:
    """Play a case of these steps, with further tables, with a driver."""

    def player(steps: str, more: str = "", driver: str = "shirq") -> Played:
        path = tmp_path / "trial.toml"
        path.write_text(_CASE.format(steps=steps, more=more))
        return play(cases.read(path), driver, kernel_name, keep=tmp_path / "kept")

    return player


def test_a_schedule_counts_from_now_in_a_guest_that_was_idle(trial: Play) -> None:
    played = trial(
        ARMED + '{ burst = 2 }, { wait = 1 }, { schedule = "@1000000 raise 1" }, { wait = 0.1 }, { serve = 1 }'
    )
    assert played.result.outcome is Outcome.SURVIVES
    assert played.result.figures["raised"] == played.result.figures["served"] == 3
    raised = played.log.of(Kind.RAISE, device="dev0")
    assert raised[-1].time_ns - raised[-2].time_ns > 1_000_000_000


def test_a_schedule_that_is_not_over_was_not_played(trial: Play) -> None:
    with pytest.raises(NotPlayed, match="1 entries of dev0's schedule, the first in line 2"):
        trial(ARMED + '{ schedule = "@1000000 raise 1\\n@3600000000000 raise 2" }, { serve = 1 }')


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        pytest.param("{ guest = 'false; true' }", "status 1 from", id="script"),
        pytest.param('{ driver = "kill" }', "no step has started the driver", id="kill"),
        pytest.param(ARMED + "{ lower = 4 }", "some of the sources were not pending", id="lower"),
        pytest.param("{ raise = 1, pin = true }", "dev0 does not assert its pin", id="pin"),
        pytest.param(UNMASKED + "{ raise = 1, message = true }", "dev0 has sent no MSI", id="message"),
        pytest.param('{ guest = "alone" }, { neighbour = 1 }', "the neighbour's pin did not rise", id="neighbour"),
        pytest.param('{ set = { dead = "half" } }', "dead", id="set"),
        pytest.param(
            "{ guest = 'exit 3', background = true }", "in the background, 'exit 3': status 3", id="background"
        ),
    ],
)
def test_a_step_that_does_not_happen_is_an_error_of_the_case(trial: Play, steps: str, why: str) -> None:
    with pytest.raises(NotPlayed, match=f"(?s)stimulus not played: .*{why}"):
        trial(steps)


def test_sources_that_are_pending_already_are_not_raised_again(trial: Play) -> None:
    with pytest.raises(NotPlayed, match=r"step 2, raise 3: .* some of the sources were pending before"):
        trial("{ raise = 1 }, { raise = 3 }")


def test_the_steps_end_for_a_driver_that_refuses(trial: Play) -> None:
    """What is raised afterwards has no handler, and would be the driver's fault."""
    steps = ARMED + "{ guest = 'false' }, { raise = 1 }, { wait = 1 }, { neighbour = 2 }"
    played = trial(steps, '[device]\ndisintx = "read-only"', "uio_pci_generic")
    assert played.result.outcome is Outcome.REFUSES
    assert played.result.figures["raised"] == 0
