# SPDX-License-Identifier: MIT
"""The rungs of a quarantine: the first rung that is allowed by the owner and effective ends the storm."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path

import pytest

from guest.guest_python import finish, start
from guest.port import behind_a_port
from guest.quiet import STORM_ENTRIES, line_falls, line_not_given_up
from guest.scripts import ladder
from guest.test_storm import CALLS, calls
from shirq_bench.channels.log import Kind
from shirq_bench.observe.judge import high
from shirq_bench.observe.record import Recording
from shirq_bench.observe.scene import Scene
from shirq_bench.plugin import Boot
from shirq_bench.vm.machine import ADDRESSES

#: The device supports all rungs; the tests disable some of them.
_ALL_MEANS = behind_a_port("pm=on", "pcie=on").with_(log_entries=STORM_ENTRIES)

D3HOT, FLR, BUS = 1, 2, 4
ALL_RUNGS = D3HOT | FLR | BUS


@dataclass(frozen=True)
class Case:
    """A device's faults, the rungs that its owner allows, and the rungs that are tried; the last one succeeds."""

    faults: dict[str, object]
    allowed: int
    tried: tuple[str, ...]

    @property
    def last(self) -> str:
        return self.tried[-1]


_NO_DISINTX: dict[str, object] = {"disintx": "no-op"}
_NO_D3HOT = _NO_DISINTX | {"pm-effective": "off"}
_NO_FLR = _NO_D3HOT | {"flr-effective": "off"}
#: No rung silences this device: it asserts again at once after a reset.
_NOTHING = _NO_FLR | {"reset-status": 1, "reset-unmasked": 1}

ENDS = {
    "DisINTx": Case({}, ALL_RUNGS, ("released",)),
    "D3hot": Case(_NO_DISINTX, ALL_RUNGS, ("d3hot",)),
    "FLR after D3hot": Case(_NO_D3HOT, ALL_RUNGS, ("d3hot", "flr")),
    "bus reset after all": Case(_NO_FLR, ALL_RUNGS, ("d3hot", "flr", "bus")),
    "FLR alone": Case(_NO_D3HOT, FLR, ("flr",)),
    "bus reset alone": Case(_NO_FLR, BUS, ("bus",)),
}


@pytest.fixture
def port(boot: Boot) -> Scene:
    return Scene(boot(_ALL_MEANS))


def stats_of(scene: Scene, device: str) -> dict[str, int]:
    folder = f"/sys/class/shirq/{ADDRESSES[device]}/stats"
    lines = scene.run(f"cd {folder} && grep . *").splitlines()
    return {name: int(value) for name, _, value in (line.partition(":") for line in lines)}


def set_faults(scene: Scene, faults: dict[str, object]) -> None:
    for name, value in faults.items():
        scene.vm.qmp.set("dev2", name, value)


def wait_for_rung(scene: Scene, rung: str) -> None:
    """Wait until dev2's quarantine reaches a rung; ``rung`` is a basic regular expression, so it can match several."""
    scene.run(
        f"until grep -q 'masked {rung}' /sys/class/shirq/{ADDRESSES['dev2']}/quarantine; do usleep 5000; done",
        deadline=60,
    )


def _line_was_off(recorded: Recording, at_least: int, shut: bool = False) -> None:
    """Assert that the line was masked ``at_least`` times and is not masked now, unless the kernel has ``shut`` it down.

    test_share.py checks how long the line was masked, in guest time.
    """
    off = [it for it in high(recorded.log, Kind.LINE_MASK, gsi=recorded.gsi) if it.start]
    assert len(off) >= at_least, "the line was not masked while the rungs were tried"
    assert all(it.end for it in (off[:-1] if shut else off)), "the line is still masked"


@pytest.mark.parametrize("end", ENDS)
def test_storm_ends_at_first_effective_rung_and_owner_returns(port: Scene, end: str) -> None:
    """A storm ends at the first effective rung, and afterwards the owner can arm again."""
    case = ENDS[end]
    set_faults(port, case.faults)
    script = start(port, "dev2", ladder.storm, case.allowed)
    script.expect("^armed$", deadline=120)
    with port.record("dev2") as recorded:
        port.raise_("dev2", bits=5)
        script.expect("^QUARANTINED MASKED 0x5$", deadline=60)
        wait_for_rung(port, case.last)
        line_falls(port, "dev2")
        port.network.ping(5)
    stats = stats_of(port, "dev2")
    tried = [rung for rung in ("d3hot", "flr", "bus", "failed") if stats[f"rung_{rung}"]]
    assert tried == [rung for rung in case.tried if rung != "released"]
    assert all(stats[f"rung_{rung}"] == 1 for rung in tried)
    assert (stats["storms_masked"], stats["remasks"]) == (1, 1)
    assert bool(stats["line_off"]) == bool(tried)
    _line_was_off(recorded, len(tried))
    off = next((e.time_ns for e in recorded.of(Kind.LINE_MASK, offset=recorded.gsi) if e.value), None)
    before = [e for e in recorded.of(Kind.DELIVER, offset=recorded.gsi) if off is None or e.time_ns < off]
    assert len(before) < CALLS, "the storm breaker masked the line too late"
    script.write("\n")
    script.expect("^armed again armed masked over$", deadline=60)
    port.raise_("dev2", bits=6)
    assert finish(script)[2:] == ["SIGBUS EIO quarantined", "armed again armed masked over", "0x6 0x20000ed"]


@pytest.mark.splats_expected
@pytest.mark.invariants_broken("the line is left high: only the kernel can end the storm", line_of="dev2")
@pytest.mark.parametrize(
    ("allowed", "tried"),
    [(0, ()), (ALL_RUNGS, ("d3hot", "flr", "bus"))],
    ids=["nothing is allowed", "everything is tried"],
)
def test_device_that_no_rung_silences_is_declined_as_failed(port: Scene, allowed: int, tried: tuple[str, ...]) -> None:
    """If no rung silences a device, its handler declines, and shirq.ko reports the quarantine as failed."""
    set_faults(port, _NOTHING)
    script = start(port, "dev2", ladder.storm, allowed)
    script.expect("^armed$", deadline=120)
    with port.record("dev2", settled=False) as recorded:
        port.raise_("dev2", bits=1)
        script.expect("^QUARANTINED MASKED 0x1$", deadline=60)
        wait_for_rung(port, "failed")
        # The handler declines from now on. If the pin does not fall before the kernel has counted 100,000 unhandled
        # interrupts, the kernel disables the line, and the neighbours get no more interrupts. Whether that happens
        # depends on the host.
        with port.record("dev2", settled=False) as failed:
            port.vm.qmp.set("dev2", "lower", 1)
            stats = stats_of(port, "dev2")
            assert [rung for rung in ("d3hot", "flr", "bus", "failed") if stats[f"rung_{rung}"]] == [*tried, "failed"]
            messages = port.run("dmesg")
            assert "nothing is left to try" in messages
            shut = "Disabling IRQ" in messages
            if not shut:
                port.network.ping(3)
    assert not failed.of(Kind.READ, Kind.WRITE, device="dev2"), "the module has accessed the device"
    # The kernel may have disabled the line since.
    _line_was_off(recorded, len(tried) + 1, shut or "Disabling IRQ" in port.run("dmesg"))
    # The owner may still close the device.
    script.signal(signal.SIGKILL)
    assert script.wait().status == -signal.SIGKILL


def test_a_rung_that_the_owner_does_not_allow_is_not_taken(port: Scene) -> None:
    """FLR and D3hot would end the storm, but the owner allows only a bus reset."""
    set_faults(port, _NO_DISINTX)
    script = start(port, "dev2", ladder.storm, BUS)
    script.expect("^armed$", deadline=120)
    port.raise_("dev2")
    script.expect("^QUARANTINED MASKED 0x1$", deadline=60)
    wait_for_rung(port, r"\(d3hot\|flr\|bus\|failed\)")
    stats = stats_of(port, "dev2")
    assert (stats["rung_d3hot"], stats["rung_flr"], stats["rung_bus"], stats["rung_failed"]) == (0, 0, 1, 0)


#: A profile of dev2 whose programs silence nothing, and which allows only a function-level reset.
_PROFILE = """
name = "card"
title = "a card that does not mask"
source = "qemu-device/SPEC.md"
mode = "masks"
[bars]
bar0 = { kind = "memory", size = 0x1000 }
[registers]
LIVENESS = { at = "bar0+0x4", bits = 32 }
INT_ACTIVE = { at = "bar0+0x2c", bits = 32, access = "read-only" }
INT_MASK_CLEAR = { at = "bar0+0x6c", bits = 32, access = "write-only" }
[programs]
irq = '''
    read r0, INT_ACTIVE
    skip_if_zero r0, end
    claim
    write LIVENESS, r0
'''
unmask = '''
    load r0, 0xffffffff
    write INT_MASK_CLEAR, r0
'''
release = "read r0, INT_ACTIVE"
[quiesce]
rungs = ["flr"]
reset_at_release = true
"""


def test_a_profile_says_by_which_means_its_card_is_silenced(port: Scene, tmp_path: Path) -> None:
    set_faults(port, _NO_DISINTX)
    (tmp_path / "card.toml").write_text(_PROFILE)
    port.upload(tmp_path / "card.toml", "/tmp/card.toml")
    script = start(port, "dev2", ladder.with_profile, "/tmp/card.toml")
    script.expect("^armed$", deadline=120)
    with port.record("dev2") as recorded:
        port.raise_("dev2", bits=9)
        script.expect("^QUARANTINED$", deadline=60)
        wait_for_rung(port, "flr")
        stats = stats_of(port, "dev2")
        assert (stats["rung_d3hot"], stats["rung_flr"], stats["rung_bus"], stats["rung_failed"]) == (0, 1, 0, 0)
        script.write("\n")
        finish(script)
    assert len(recorded.of(Kind.RESET, device="dev2")) == 2, (
        "the device must be reset twice: once in the storm, and once at release"
    )


# ------------------------------------------------- after release, the module checks the line


@pytest.mark.parametrize("end", ["close", "kill", "unbind"])
@pytest.mark.parametrize(
    ("faults", "resets"), [(_NO_DISINTX, 0), (_NO_D3HOT, 1)], ids=["D3hot silences it", "nothing but a reset does"]
)
def test_device_asserting_after_release_is_reset_only_in_a_storm(
    port: Scene, faults: dict[str, object], resets: int, end: str
) -> None:
    """If a device asserts after its release, shirq.ko resets it only if D3hot does not silence it."""
    set_faults(port, faults)
    script = start(port, "dev2", ladder.asserts_after_its_release, end)
    script.expect("^armed$", deadline=60)
    port.raise_("dev2", bits=6)
    script.expect("^masked 0x6$", deadline=60)
    assert script.wait(60).status == (-signal.SIGKILL if end == "kill" else 0)
    line_falls(port, "dev2")
    log = port.vm.log()
    own = [entry for entry in log.of(Kind.PIN, Kind.RESET, device="dev2") if entry.kind is Kind.RESET or entry.value]
    assert [entry.kind for entry in own[-2 - resets :]] == [Kind.PIN] * 2 + [Kind.RESET] * resets
    assert ("function-level reset" in port.run("dmesg")) == bool(resets)
    port.network.ping(5)
    if end != "unbind":
        assert stats_of(port, "dev2")["rung_flr"] == resets
        assert port.run(f"cat /sys/class/shirq/{ADDRESSES['dev2']}/quarantine") == "none\n"


def test_a_device_that_asserts_when_disarmed_is_quarantined(boot: Boot) -> None:
    """Only D3hot silences the device. An exclusive ARM, refused because of neighbours, must leave it in D3hot."""
    port = Scene(boot(behind_a_port("pm=on", "pcie=on", "no-soft-reset=on")))
    set_faults(port, _NO_DISINTX)
    script = start(port, "dev2", ladder.asserts_when_disarmed)
    script.expect("^armed$", deadline=120)
    port.raise_("dev2", bits=6)
    script.expect("^masked 0x6$", deadline=120)
    script.write("\n")
    script.expect("^QUARANTINED MASKED 0x6 quarantined$", deadline=120)
    wait_for_rung(port, "d3hot")
    line_falls(port, "dev2")
    port.network.ping(5)
    with port.record("dev2") as asleep:
        script.write("\n")
        script.expect("^EBUSY quarantined masked d3hot$", deadline=120)
        port.network.ping(3)
    assert not [entry for entry in asleep.of(Kind.PIN, device="dev2") if entry.value], (
        "the refused ARM has woken the device, which then asserted"
    )
    script.write("\n")
    script.expect("^armed again armed$", deadline=120)
    port.raise_("dev2", bits=5)
    assert finish(script, deadline=120)[-1] == "0x5"
    line_not_given_up(port)


# ------------------------------------------------- another process clears DisINTx in Command


def test_quarantine_restores_cleared_disintx_without_a_new_rung(port: Scene) -> None:
    """If DisINTx of a quarantined device is cleared, shirq.ko sets it again and tries no further rung."""
    script = start(port, "dev2", ladder.disintx_cleared_in_quarantine)
    script.expect("^armed$", deadline=120)
    port.raise_("dev2")
    script.expect("^quarantined$", deadline=60)
    line_falls(port, "dev2")
    script.write("\n")
    script.expect("^masked released 0$", deadline=60)
    line_falls(port, "dev2")
    assert calls(port, "dev2") < CALLS
    script.write("\n")
    finish(script)


def test_owners_disintx_mask_is_restored_without_an_event(port: Scene) -> None:
    """If DisINTx is cleared while the owner masks by it, shirq.ko sets it again and queues no event."""
    script = start(port, "dev2", ladder.disintx_cleared_under_its_owner)
    script.expect("^masked 0x400$", deadline=120)
    port.raise_("dev2", bits=3)
    script.write("\n")
    assert finish(script)[1:] == ["masked 1 0 []", "IRQ"]
