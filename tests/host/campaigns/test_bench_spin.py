# SPDX-License-Identifier: MIT
"""The cost of an interrupt whose driver spins on another processor, from logs of such interrupts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pytest

from logwriter import INT_ACK, INT_ACTIVE, INT_MASK_CLEAR
from shirq_bench.campaigns.bench import spin
from shirq_bench.channels.log import CONFIG_SPACE, KERNEL_RING, NONE, Entry, Kind, TurnReason
from shirq_bench.errors import BenchError
from shirq_bench.replay.play import Recording, Stimulus
from shirq_bench.vm.machine import Machine

_USER = 3


def _entry(
    at: int,
    kind: Kind,
    device: str = "dev0",
    *,
    value: int = 0,
    offset: int = 0,
    vcpu: int = NONE,
    ring: int = NONE,
    space: int = 0,
) -> Entry:
    return Entry(at, kind, space, 0, vcpu, device, ring, offset, value)


def _turn(at: int, to: int, reason: TurnReason) -> Entry:
    return _entry(at, Kind.TURN, "vm", value=to, vcpu=1 - to, offset=reason)


def _round(handler: int = 0, driver: int = 1, stores: int = 1) -> list[Entry]:
    """The entries of one interrupt; the driver's turn begins at 1,000 ns; it stores at 1,042 and unmasks at 1,074."""
    kernel = partial(_entry, vcpu=handler, ring=KERNEL_RING)
    user = partial(_entry, vcpu=driver, ring=_USER)
    return [
        _entry(0, Kind.RAISE, value=1),
        _turn(4, 0, TurnReason.YIELD),
        kernel(600, Kind.READ, offset=INT_ACTIVE, value=1),
        kernel(610, Kind.READ, offset=4, space=CONFIG_SPACE),
        kernel(620, Kind.MASK, value=1),
        _turn(1000, 1, TurnReason.HALT),
        *(user(1042, Kind.MARK) for _ in range(stores)),
        user(1050, Kind.WRITE, offset=INT_ACK, value=1),
        user(1074, Kind.WRITE, offset=INT_MASK_CLEAR, value=1),
        user(1074, Kind.MASK, value=0),
    ]


def test_a_look_begins_with_the_drivers_turn() -> None:
    assert spin.look(_round()) == spin.Look(store=42, enabled=74, registers=3, config=1, reads=2)


@pytest.mark.parametrize("broken", [{"handler": 1}, {"driver": 0}, {"stores": 0}, {"stores": 2}])
def test_an_interrupt_that_went_another_way_is_not_measured(broken: dict[str, int]) -> None:
    with pytest.raises(BenchError, match="was not handled once"):
        spin.look(_round(**broken))


@pytest.mark.parametrize("published", [1, 2, 500, 786, 1200])
def test_the_first_turn_that_finds_the_event_ends_the_handler(monkeypatch: pytest.MonkeyPatch, published: int) -> None:
    """The search finds each place; the vCPU of the line has its turn from 4 ns after the raise on."""

    def play(machine: Machine, stimuli: Sequence[Stimulus], length_ns: int) -> Recording:
        raised, switch = stimuli[-2].at_ns, stimuli[-1]
        assert switch.device == "ctl" and switch.action == "turn 1"
        entries = [_entry(stimulus.at_ns, Kind.RAISE, value=1) for stimulus in stimuli[:-1]]
        entries.append(_turn(raised + 4, 0, TurnReason.YIELD))
        if switch.at_ns > raised + 4:
            entries.append(_turn(switch.at_ns, 1, TurnReason.SCHEDULE))
            if switch.at_ns - raised - 4 >= published:
                entries.append(_entry(switch.at_ns + 42, Kind.MARK, vcpu=1, ring=_USER))
            entries.append(_turn(switch.at_ns + 60, 0, TurnReason.YIELD))
        entries.append(_entry(raised + 9000, Kind.MARK, vcpu=1, ring=_USER))
        return Recording(0, entries, "", "", [])

    monkeypatch.setattr(spin, "play", play)
    assert spin.handler(Machine(), 1300) == published


def test_an_event_that_the_driver_does_not_find_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spin, "_found_after", lambda guest, delay_ns: None)
    with pytest.raises(BenchError, match="does not find the event"):
        spin.handler(Machine(), 1300)


def test_the_drivers_instructions_after_a_handler_are_on_the_path() -> None:
    executed = [
        *((1, "user") for _ in range(5)),
        *((0, f"shirq_interrupt+{at:#x}") for at in (0, 5)),
        *((1, f"path{at}") for at in range(3)),
        (1, "entry_SYSCALL_64+0x0"),
        (0, "apic_timer+0x0"),
        (1, "user"),
    ]
    path, waiting = spin.driver_parts(executed, 3)
    assert path == ["path0", "path1", "path2"]
    assert waiting == ["user"] * 5 + ["entry_SYSCALL_64+0x0", "user"]
