# SPDX-License-Identifier: MIT
"""The player of the bug catalogue: a step that has no effect is an error of the case; outcomes come from the log."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from guest.guest_python import run
from guest.scripts import peers
from shirq_bench.campaigns.zoo import case as cases
from shirq_bench.campaigns.zoo.outcome import Outcome
from shirq_bench.campaigns.zoo.run import NotPlayed, Played, play
from shirq_bench.channels.log import Kind
from shirq_bench.errors import CannotJudge
from shirq_bench.observe.scene import Scene

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
    """Return a function that plays a case with these steps and further tables, for a driver."""

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
    with pytest.raises(NotPlayed, match="1 entries of dev0's schedule were not executed, the first is in line 2"):
        trial(ARMED + '{ schedule = "@1000000 raise 1\\n@3600000000000 raise 2" }, { wait = 0.1 }, { serve = 1 }')


def test_a_log_that_overflows_gives_no_outcome(trial: Play, tmp_path: Path) -> None:
    with pytest.raises(CannotJudge, match=r"entries did not fit into the event log.*log_entries in \[machine\]"):
        trial(ARMED + "{ burst = 8 }", "[machine]\nlog_entries = 100")
    assert (tmp_path / "kept/events.shirqlog").exists()


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        pytest.param("{ guest = 'false; true' }", "status 1 from", id="script"),
        pytest.param('{ driver = "kill" }', "no step has started the driver", id="kill"),
        pytest.param(ARMED + "{ lower = 4 }", "because some were not pending", id="lower"),
        pytest.param("{ raise = 1, pin = true }", "dev0 does not assert its pin", id="pin"),
        pytest.param(UNMASKED + "{ raise = 1, message = true }", "dev0 has sent no MSI", id="message"),
        pytest.param(
            '{ guest = "alone" }, { neighbour = 1 }',
            "the neighbour's pin did not rise",
            id="neighbour",
            marks=pytest.mark.long,
        ),
        pytest.param('{ set = { dead = "half" } }', "dead", id="set"),
        pytest.param(
            "{ guest = 'exit 3', background = true }",
            "the script 'exit 3' in the background failed with status 3",
            id="background",
        ),
    ],
)
def test_a_step_that_does_not_happen_is_an_error_of_the_case(trial: Play, steps: str, why: str) -> None:
    with pytest.raises(NotPlayed, match=f"(?s)stimulus not played: .*{why}"):
        trial(steps)


def test_sources_that_are_pending_already_are_not_raised_again(trial: Play) -> None:
    with pytest.raises(NotPlayed, match=r"step 2, raise 3: .* because some were already pending"):
        trial("{ raise = 1 }, { raise = 3 }")
    with pytest.raises(NotPlayed, match=r"step 2, set {'raise': 1}: .* because some were already pending"):
        trial("{ raise = 1 }, { set = { raise = 1 } }")


def test_a_guest_that_panics_before_its_stimulus_is_no_outcome(trial: Play) -> None:
    panic = "{ guest = 'echo c >/proc/sysrq-trigger' }"
    with pytest.raises(NotPlayed, match=r"panicked in step 1, guest .*, before anything was raised or set"):
        trial(panic + ", { raise = 1 }", driver="naive")
    result = trial("{ raise = 1 }, " + panic, driver="naive").result
    assert result.outcome is Outcome.SPLAT
    assert str(result.figures["panicked"]).startswith("step 2, guest 'echo c >/proc/sysrq-trigger': Kernel panic")


@pytest.mark.parametrize("driver", ["shirq", "naive"])
def test_a_program_that_fails_otherwise_has_not_refused(trial: Play, driver: str) -> None:
    with pytest.raises(
        NotPlayed, match=r"(?s)step 2, driver 'start'.*status 2 before .*, but the kernel has not refused"
    ):
        trial(ARMED + "{ raise = 1 }", 'peer = "--no-such"', driver)


@pytest.mark.parametrize(
    ("driver", "more", "why"),
    [
        ("uio_pci_generic", '[device]\ndisintx = "read-only"', "No such device"),
        ("vfio-pci", '[device]\ndisintx = "read-only"', "enabling the interrupt: Device or resource busy"),
        ("shirq", 'peer = "--exclusive"', "arming: Device or resource busy"),
        ("naive", '[naive]\nbug = "exclusive"', "opening /dev/naive: Device or resource busy"),
    ],
)
def test_a_refusal_has_the_kernels_error(trial: Play, driver: str, more: str, why: str) -> None:
    result = trial(ARMED + "{ wait = 0.1 }", more, driver).result
    assert str(result.figures["refused"]).endswith(why)


def test_the_steps_end_for_a_driver_that_refuses(trial: Play) -> None:
    """After a refusal no further step is played: interrupts without a handler would count against the driver."""
    steps = ARMED + "{ guest = 'false' }, { raise = 1 }, { wait = 1 }, { neighbour = 2 }"
    played = trial(steps, '[device]\ndisintx = "read-only"', "uio_pci_generic")
    assert played.result.outcome is Outcome.REFUSES
    assert played.result.figures["raised"] == 0


def test_case_on_a_dead_line_is_judged_from_where_it_says(trial: Play) -> None:
    """If a case begins on a disabled line, only the part after its step `judge = "from here"` is judged.

    The kernel disables the line before the driver starts: its complaint and the storm do not count against the driver.

    The neighbour, whose watchdog makes it assert every two seconds, may starve on such a line.
    """
    dead = UNMASKED + "{ raise = 1, pin = true }, { wait = 2 }, { lower = 1 }, "
    rest = '{ driver = "bind" }, { wait = 0.1 }'
    assert trial(dead + rest, driver="naive").result.outcome is Outcome.DISABLED
    later = trial(dead + '{ judge = "from here" }, ' + rest, driver="naive").result
    assert later.outcome in (Outcome.SURVIVES, Outcome.STARVES)
    assert not later.complaints


def test_other_devices_frozen_settings_and_expectations(trial: Play) -> None:
    """Steps can raise, lower, set and schedule devices other than dev0; an unmet expectation is reported."""
    steps = ARMED + (
        '{ raise = 2, device = "dev1" }, { lower = 2, device = "dev1" },'
        '{ schedule = "@1000000 raise 4", device = "clock" }, { wait = 0.01 },'
        '{ set = { device = "dev1", status-lag-ns = 1000, posted-ns = 2000 }, frozen = true },'
        "{ burst = 2 }, { check = 'shirqctl list', shows = '^0000:00:04.0' },"
        "{ check = 'echo $NIC0', shows = '0000:00:0d.0' }"
    )
    more = "[latency.shirq]\nserved_us = 100000\n[notices]\nshirq = ['quarantined']"
    played = trial(steps, more)
    settings = [entry.time_ns for entry in played.log.of(Kind.SETTING, device="dev1")]
    assert len(settings) == 2 and settings[0] == settings[1]
    assert played.result.outcome is Outcome.SURVIVES
    assert not played.expected
    assert [what.splitlines()[0] for what in played.unmet] == [
        "the output of 'echo $NIC0' does not match '0000:00:0d.0':",
        "the driver's program got no notice like 'quarantined' in the expected order; all notices: []",
    ]


def test_a_step_that_must_be_logged_and_a_bound_that_is_exceeded(trial: Play) -> None:
    """An entry that a step requires must be in the log; an exceeded latency bound is reported."""
    disable = "{ guest = 'config $DEV0 5 004', logged = 'WRITE dev0 config\\+0x5 0x4$' }, "
    steps = disable + ARMED + "{ burst = 2 }"
    played = trial(steps, "[latency.shirq]\nserved_us = 1")
    assert played.unmet == (f"served_us is {played.result.figures['slowest_us']}, at most 1 is expected",)
    with pytest.raises(NotPlayed, match="the log has no entry like 'WRITE dev0 config"):
        trial(steps.replace("0x4$", "0x5$"))
    with pytest.raises(NotPlayed, match=r"config\+5 reads 0"):
        trial(steps, '[device]\ndisintx = "read-only"')


def test_a_set_that_acknowledges_is_loaded_as_one(trial: Play) -> None:
    """An acknowledging set storms until its rate is too high; in the other mode its first claim would mask."""
    steps = ARMED + (
        "{ set = { reassert = 1 } }, { raise = 1, pin = true },"
        "{ check = 'dmesg', shows = 'shirq 0000:00:04.0: quarantined: it stormed' }"
    )
    acknowledging = """
[shirq]
mode = "acknowledges"
irq = '''
    read32 r0, bar0+0x2c, gone_if_ones
    skip_if_not_zero r0, ours
    decline
ours:
    claim
    write32 bar0+0x64, r0
    read32 r1, bar0+0x28
'''
unmask = '''
    load r0, 0xffffffff
    write32 bar0+0x6c, r0
'''
release = '''
    load r0, 0xffffffff
    write32 bar0+0x68, r0
    read32 r0, bar0+0x28
'''
"""
    notices = "[notices]\nshirq = ['^quarantined flags=0x[0-9a-f]+$']\n[ends]\nshirq = '^status 1: .*waiting'"
    played = trial(steps + ", { wait = 0.1 }", acknowledging + notices)
    assert played.unmet == ()
    assert len([e for e in played.log.of(Kind.WRITE, device="dev0", offset=0x64) if e.ring == 0]) > 1000


def test_a_signal_for_the_driver_does_not_reach_the_process_that_takes_orders(scene: Scene) -> None:
    """That process has a group of its own when the program says that it is armed, even if it has not run yet."""
    assert run(scene, "dev0", peers.group_of_control) == ["True"]
