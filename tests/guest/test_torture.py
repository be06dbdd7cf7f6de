# SPDX-License-Identifier: MIT
"""Torture in guests: the same seed makes the same choices, and bugs are found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from shirq_bench.campaigns.torture import case, guests
from shirq_bench.campaigns.torture.deeds import BY
from shirq_bench.campaigns.torture.guests import Round, Tormented
from shirq_bench.observe import invariants

_FEW = 12
#: The longest time until an owner's end, in µs: most owners must be armed before their end, even on a busy host.
_SPAN_US = 30_000


def _case(name: str) -> case.Case:
    return replace(case.get(name), span_us=_SPAN_US)


def _run(name: str, kernel: str, tmp_path: Path, count: int = _FEW, seed: int = 1) -> Round:
    each = _case(name)
    return guests.run(each, kernel, count, seed, BY[each.by], tmp_path / "kept")


@pytest.mark.parametrize(
    "name", ["kill", "kill-uio", "scribble", "close", "exec", "thread", "pass", "bind", "module", "starve"]
)
@pytest.mark.long
def test_each_end_leaves_device_silent_and_neighbours_whole(name: str, kernel_name: str, tmp_path: Path) -> None:
    """After each kind of end, the device is silent and the neighbours lose no interrupt."""
    round_ = _run(name, kernel_name, tmp_path)
    assert round_.clean, [*round_.failures, *round_.lost, *round_.splats]
    assert (round_.attempts, round_.figures["ends"]) == (_FEW, _FEW)
    assert not (tmp_path / "kept").exists()


@pytest.mark.needs_kernel("debug")
def test_owners_without_memory_leave_the_device_silent(kernel_name: str, tmp_path: Path) -> None:
    """If allocations of owners fail, the device is silent afterwards and the neighbours lose no interrupt."""
    round_ = _run("refuse-memory", kernel_name, tmp_path, count=40)
    assert round_.clean, [*round_.failures, *round_.lost, *round_.splats]
    assert 0 < round_.figures["exited"] < round_.attempts == 40


@pytest.mark.needs_kernel("debug")
def test_a_guest_whose_owners_all_fare_alike_proves_nothing(kernel_name: str, tmp_path: Path) -> None:
    round_ = _run("refuse-memory", kernel_name, tmp_path, count=1)
    assert any("of 1 owners; they must fail in" in failure for failure in round_.failures), round_.failures


@pytest.mark.long
def test_seed_repeats_its_choices_and_another_seed_differs(kernel_name: str, tmp_path: Path) -> None:
    """The same seed makes the same choices, and another seed makes different ones."""
    choices = [_run("kill", kernel_name, tmp_path, seed=seed).choices for seed in (5, 5, 6)]
    assert choices[0] == choices[1] != choices[2]


@pytest.mark.parametrize("who", ["root", "no-rawio", "user"])
@pytest.mark.long
def test_random_calls_are_answered(who: str, kernel_name: str, tmp_path: Path) -> None:
    round_ = _run(f"fuzz-{who}", kernel_name, tmp_path, count=3000)
    assert round_.clean, [*round_.failures, *round_.lost, *round_.splats]
    assert round_.attempts == 3000
    if kernel_name == "debug" and who == "root":
        assert round_.figures["places"] > 300, "KCOV did not guide the calls to enough code"
        assert round_.figures["kept"] > 30


@pytest.mark.long
def test_a_device_that_asserts_after_its_owners_end_is_found(kernel_name: str, tmp_path: Path) -> None:
    """The device's pin falls 10 s late, and it has no DisINTx. Most owners live until an interrupt."""

    def by(guest: Tormented) -> None:
        guest.vm.qmp.set("dev0", "disintx", "read-only")
        guest.vm.qmp.set("dev0", "deassert-delay-ns", 10_000_000_000)
        BY["guest"](guest)

    kill = replace(_case("kill"), witness=False, span_us=10 * _SPAN_US)
    round_ = guests.run(kill, kernel_name, 3, 1, by, tmp_path / "kept")
    assert any("still asserts after attempt" in failure for failure in round_.failures), round_.failures
    assert (tmp_path / "kept/events.shirqlog").exists()
    assert "still asserts" in (tmp_path / "kept/findings").read_text()


def test_an_interrupt_that_nobody_serves_is_found(
    kernel_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The witness stalls longer than the limit of an idle host; the load of this host must not extend that limit."""
    for module in (guests, invariants):
        monkeypatch.setattr(module, "competition", lambda: 1.0)
    kill = replace(_case("kill"), lost_s=2)

    def by(guest: Tormented) -> None:
        BY["guest"](guest)
        pause = 3 * guest.vm.patience
        guest.vm.agent.succeed(f"p=$(pidof shirq-torture); kill -STOP $p; sleep {pause}; kill -CONT $p")

    round_ = guests.run(kill, kernel_name, 2, 1, by, tmp_path / "kept")
    assert any(lost.startswith("dev1: raised at ") for lost in round_.lost), round_.lost


def test_a_witness_that_ends_is_found_and_nobody_waits_for_it(kernel_name: str, tmp_path: Path) -> None:
    def by(guest: Tormented) -> None:
        BY["guest"](guest)
        # The agent reports the end of a process before the process id is free.
        guest.vm.agent.succeed(
            "p=$(pidof shirq-torture); kill -TERM $p; while kill -0 $p 2>/dev/null; do usleep 1000; done"
        )

    round_ = guests.run(_case("kill"), kernel_name, 2, 1, by, tmp_path / "kept")
    assert any("--serve 0000:00:08.0 has ended" in failure for failure in round_.failures), round_.failures


def test_a_complaint_of_the_kernels_is_found(kernel_name: str, tmp_path: Path) -> None:
    def by(guest: Tormented) -> None:
        BY["guest"](guest)
        guest.vm.agent.succeed("echo 'irq 20: nobody cared' >/dev/kmsg")

    round_ = guests.run(_case("kill"), kernel_name, 2, 1, by, tmp_path / "kept")
    assert len(round_.splats) == 1
    assert "nobody cared" in round_.splats[0]


def test_an_owner_that_does_not_get_the_device_is_found(kernel_name: str, tmp_path: Path) -> None:
    """The owners cannot open the device, because another process owns it."""

    def by(guest: Tormented) -> None:
        guest.vm.agent.start("shirq-torture", "--serve", guests.address("dev0")).expect("^ready$")
        BY["guest"](guest)

    round_ = guests.run(_case("kill"), kernel_name, 2, 1, by, tmp_path / "kept")
    assert any("has no owner and is" in failure for failure in round_.failures), round_.failures
