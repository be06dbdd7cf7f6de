# SPDX-License-Identifier: MIT
"""Resets by others while the module resets, silences or releases the same device: both complete, in any order."""

from __future__ import annotations

import pytest

from guest.guest_python import finish, start
from guest.port import behind_a_port
from guest.quiet import line_not_given_up
from guest.scripts import foreign_resets
from guest.test_ladder import stats_of
from shirq_bench.channels.log import CONFIG_SPACE, Kind
from shirq_bench.observe.scene import Scene
from shirq_bench.plugin import Boot

_MACHINE = behind_a_port("pm=on", "pcie=on")


@pytest.mark.parametrize("release", [0, 2], ids=["no reset at release", "FLR at release"])
def test_close_during_a_foreign_reset_ends_and_waits_for_it(boot: Boot, release: int) -> None:
    """The module does not access the device during the reset, and neither close() nor the reset deadlocks."""
    port = Scene(boot(_MACHINE))
    script = start(port, "dev2", foreign_resets.closes_meanwhile, release)
    script.expect("^armed$", deadline=120)
    port.raise_("dev2")
    with port.record("dev2") as recorded:
        script.write("\n")
        assert finish(script, deadline=120)[1:] == ["closed parked", "reset over parked OK"]
    resets = recorded.of(Kind.RESET, device="dev2")
    assert len(resets) >= 1 + bool(release), "the device was not reset by both"
    entries = recorded.of(Kind.READ, Kind.WRITE, Kind.RESET, device="dev2")
    after = entries[entries.index(resets[0]) :]
    restored = next(n for n, entry in enumerate(after) if entry.kind is Kind.WRITE and entry.space == CONFIG_SPACE)
    touched = [entry for entry in after[:restored] if entry.kind is not Kind.RESET and entry.space == 0]
    assert not touched, "a register was accessed before the PCI core had restored the device"


_ROUNDS = 10


def test_quarantines_among_foreign_resets_all_end(boot: Boot) -> None:
    """The module's worker wakes the device from D3hot for the next rung; the administrator resets it meanwhile."""
    port = Scene(boot(_MACHINE))
    for name, value in {"disintx": "no-op", "pm-effective": "off"}.items():
        port.vm.qmp.set("dev2", name, value)
    resetter = start(port, "dev2", foreign_resets.resets, _ROUNDS)
    resetter.expect("^ready$", deadline=120)
    script = start(port, "dev2", foreign_resets.storms, _ROUNDS)
    for number in range(_ROUNDS):
        script.expect("^armed$", deadline=120)
        script.write("\n")
        port.raise_("dev2")
        script.expect("^told$", deadline=120)
        resetter.expect(f"^reset {number}$", deadline=120)
        script.write("\n")
    finish(script, deadline=120)
    finish(resetter, deadline=120)
    assert stats_of(port, "dev2")["rung_d3hot"] == _ROUNDS


@pytest.mark.long
def test_device_only_a_reset_silences_does_not_storm_before_it(boot: Boot) -> None:
    """A device that only a reset silences does not storm before that reset.

    The module frees the handler after the reset, not before it: with one vCPU, a storm without a handler takes all CPU
    time.
    """
    port = Scene(boot(_MACHINE.with_(vcpus=1, deterministic=True, log_entries=1 << 22)))
    port.vm.qmp.set("/machine/q35/ioapic", "storm-pause", False)
    port.network.ping(1)
    port.vm.qmp.set("dev2", "disintx", "no-op")
    script = start(port, "dev2", foreign_resets.reset_silences)
    script.expect("^armed$", deadline=120)
    with port.record("dev2") as recorded:
        port.raise_("dev2")
        script.expect("^RESET loaded$", deadline=120)
        script.write("\n")
        finish(script, deadline=120)
    assert recorded.of(Kind.RESET, device="dev2"), "the device was not reset"
    line_not_given_up(port)
    port.network.ping(3)
