# SPDX-License-Identifier: MIT
"""The cost of an interrupt whose driver spins on another processor: it looks at its ring, and never sleeps.

Both vCPUs take turns by one clock, which adds the turns of one to the times of the other. What counts is the path of
the event: the handler's instructions until the event is in the ring, and those of the driver from its next look on. A
schedule can give the turn to the driver after each instruction of the handler: the first one after which the driver
finds the event has put it into the ring. The driver's instructions are those between the beginning of its turn, which
is where it looks, and its store.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from shirq_bench.campaigns.bench import contender, cost, profile
from shirq_bench.campaigns.bench.contender import SPINNING, driving
from shirq_bench.campaigns.bench.cost import Spread
from shirq_bench.channels.edu import Register
from shirq_bench.channels.log import CONFIG_SPACE, KERNEL_RING, Entry, Kind, TurnReason
from shirq_bench.errors import BenchError
from shirq_bench.replay import symbols
from shirq_bench.replay.play import Stimulus, play
from shirq_bench.vm.machine import ADDRESSES, GSI, Machine

#: The vCPU that takes the interrupts, and that of the driver.
_LINE, _DRIVER = 0, 1
#: Time between two interrupts, in ns; a quarter of it is enough for the path and all turns in it.
_PERIOD_NS = 25_000
#: Guest script: lead the line of dev0 to the vCPU `_LINE`.
_LEAD = f"echo {_LINE} >/proc/irq/$(cat /sys/bus/pci/devices/{ADDRESSES['dev0']}/irq)/smp_affinity_list"
_HANDLER = "shirq_interrupt"


@dataclass(frozen=True)
class Look:
    """One interrupt, in instructions of the driver: to its first ``store``, and until the device is ``enabled``.

    ``registers`` and ``config`` count all accesses of the round; ``reads`` those that wait for the device's answer.
    """

    store: int
    enabled: int
    registers: int
    config: int
    reads: int


def machine(kernel: str) -> Machine:
    """The guest: one vCPU takes the interrupts of dev0, and on the other one its driver looks at the ring."""
    driver = driving(SPINNING, under=f"taskset {1 << _DRIVER:x}")
    return contender.machine(kernel, then=(*driver, _LEAD)).with_(vcpus=2)


def look(entries: Sequence[Entry]) -> Look:
    """The driver's part of one interrupt. Raises `BenchError` if it was not handled once and completely, or not so."""
    own = [entry for entry in entries if entry.device == entries[0].device]
    marks = [entry for entry in own if entry.kind is Kind.MARK]
    enabled = [entry for entry in own if entry.kind is Kind.MASK and not entry.value]
    handlers = {entry.vcpu for entry in own if entry.kind is Kind.READ and entry.ring == KERNEL_RING}
    if handlers != {_LINE} or len(marks) != 1 or len(enabled) != 1 or marks[0].vcpu != _DRIVER:
        raise BenchError(
            f"the interrupt at {entries[0].time_ns} ns was not handled once, by the kernel on vCPU {_LINE} and by the"
            f" driver on vCPU {_DRIVER}: handlers on vCPUs {handlers}, {len(marks)} stores of the driver,"
            f" {len(enabled)} times enabled"
        )
    turns = [e for e in entries if e.kind is Kind.TURN and e.value == _DRIVER and e.time_ns <= marks[0].time_ns]
    if not turns:
        raise BenchError(f"the interrupt at {entries[0].time_ns} ns: the driver's vCPU got no turn before its store")
    touched = [e for e in own if e.kind in (Kind.READ, Kind.WRITE)]
    return Look(
        store=marks[0].time_ns - turns[-1].time_ns,
        enabled=enabled[0].time_ns - turns[-1].time_ns,
        registers=sum(e.space != CONFIG_SPACE and e.offset != Register.MARK for e in touched),
        config=sum(e.space == CONFIG_SPACE for e in touched),
        reads=sum(e.kind is Kind.READ for e in touched),
    )


def handler(guest: Machine, length_ns: int) -> int:
    """The instructions of `_LINE` from the delivery on, after which the driver finds the event when it looks.

    ``length_ns`` is the time from a raise to the end of its handler. `BenchError` if the event is not found even then.
    """
    least = _found_after(guest, length_ns)
    if least is None:
        raise BenchError(f"the driver does not find the event of an interrupt {length_ns} ns after it came")
    low, high = 0, length_ns
    while high - low > 1:
        middle = (low + high) // 2
        found = _found_after(guest, middle)
        if found is None:
            low = middle
        else:
            high, least = middle, found
    return least


def _found_after(guest: Machine, delay_ns: int) -> int | None:
    """Give the driver the turn that long after the raise.

    Returns the instructions of `_LINE` before it, if the driver then finds the event; None if it does not.
    """
    stimuli = cost.schedule("dev0", 1, period_ns=_PERIOD_NS)
    switch = Stimulus(stimuli[-1].at_ns + delay_ns, "ctl", f"turn {_DRIVER}")
    recording = play(guest, [*stimuli, switch], stimuli[-1].at_ns + _PERIOD_NS)
    (entries,) = cost.rounds(recording, "dev0", 1)
    turns = [e for e in entries if e.kind is Kind.TURN]
    begin = next(e.time_ns for e in turns if e.value == _LINE)
    given = next((e for e in turns if e.value == _DRIVER and e.offset == TurnReason.SCHEDULE), None)
    if given is None:
        # The driver has the turn still.
        return None
    ends = next((e.time_ns for e in turns if e.time_ns > given.time_ns), recording.entries[-1].time_ns)
    seen = any(e.kind is Kind.MARK and e.vcpu == _DRIVER and given.time_ns < e.time_ns < ends for e in entries)
    return given.time_ns - begin if seen else None


def driver_parts(executed: Sequence[tuple[int, str]], path: int) -> tuple[list[str], list[str]]:
    """What the driver executes on the path of an event, and what while it waits.

    ``executed`` has the vCPU and the place of each instruction. The first ``path`` instructions of the driver's turn
    after a handler are on the path.
    """
    on_path: list[str] = []
    waiting: list[str] = []
    handled = False
    for vcpu, turn in itertools.groupby(executed, key=lambda each: each[0]):
        places = [place for _, place in turn]
        if vcpu == _DRIVER:
            part = path if handled else 0
            on_path += places[:part]
            waiting += places[part:]
        handled = vcpu == _LINE and any(place.partition("+")[0] == _HANDLER for place in places)
    return on_path, waiting


def measure(kernel: str, interrupts: int) -> dict[str, Any]:
    """The figures of a driver that spins, on the kernel of that name.

    ``handler`` are the handler's instructions until the event is in the ring; ``store`` and ``enabled`` are those of
    the driver from its look to its first store and until the device can assert again. ``registers``, ``config`` and
    ``reads`` are medians of accesses, ``calls`` the system calls on this path. ``waiting`` are the driver's
    instructions per interrupt that are not on the path, and ``waiting_calls`` the system calls in them.
    """
    guest = machine(kernel)
    stimuli = cost.schedule("dev0", interrupts)
    recording = play(guest, stimuli, (len(stimuli) + 1) * cost.PERIOD_NS)
    found = cost.rounds(recording, "dev0", interrupts)
    looks = [look(entries) for entries in found]
    counts = {
        count: statistics.median(getattr(each, count) for each in looks) for count in ("registers", "config", "reads")
    }
    enabled = Spread.of([each.enabled for each in looks])
    end = next(entry.time_ns for entry in found[0] if entry.kind is Kind.EOI and entry.offset == GSI)
    known = symbols.of(guest)
    executed = [(vcpu, known.name(at)) for vcpu, at in profile.executed(guest, _PERIOD_NS)]
    on_path, waiting = driver_parts(executed, int(enabled.median))
    if len(on_path) != profile.ROUNDS * int(enabled.median):
        raise BenchError(
            f"the driver executed {len(on_path)} instructions for {profile.ROUNDS} events: some are missing"
        )
    return {
        "handler": handler(guest, end - found[0][0].time_ns),
        "store": asdict(Spread.of([each.store for each in looks])),
        "enabled": asdict(enabled),
        **counts,
        "calls": on_path.count(profile.SYSTEM_CALL) / profile.ROUNDS,
        "waiting": round(len(waiting) / profile.ROUNDS),
        "waiting_calls": waiting.count(profile.SYSTEM_CALL) / profile.ROUNDS,
    }
