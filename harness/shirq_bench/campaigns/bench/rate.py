# SPDX-License-Identifier: MIT
"""Measures the highest interrupt rate and the CPU time left for other work, in guest time, so that the host's speed
does not matter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from shirq_bench.campaigns.bench import contender
from shirq_bench.campaigns.bench.contender import CONTENDERS, POLLING, SPINNING, Contender
from shirq_bench.campaigns.bench.cost import Spread
from shirq_bench.channels.edu import Register
from shirq_bench.channels.log import Entry, Kind
from shirq_bench.errors import BenchError
from shirq_bench.replay.play import Recording, Stimulus, play
from shirq_bench.vm.machine import ADDRESSES, LOAD_UIO, bind, start

#: Number of interrupts in one trial.
TRIAL = 1000
#: The number of warm-up interrupts before a trial, and the time between them in ns.
_WARM_UP, _WARM_UP_NS = 50, 200_000
#: The longest period between two interrupts, in ns: all drivers can keep up with it.
_LONGEST = 20_000
#: Factor from each tried period to the next one.
_STEP = 0.97
#: Offsets in ns of a trial's beginning: with each, interrupts come at other points of the kernel's own work. The result
#: is the median.
_LEADS_NS = (0, 70_000, 140_000, 210_000, 280_000)
#: Interrupt rates, per second of guest time, at which the CPU time that is left is measured, and the duration of this
#: measurement.
RATES = (1_000, 10_000, 100_000)
_WINDOW_NS = 100_000_000
#: The end of this duration in which a driver must still handle interrupts: at the lowest rate, there are several.
_LAST_NS = 5_000_000
_BURNING = (LOAD_UIO, bind("ctl", "uio_pci_generic"), start(f"shirq-burn {ADDRESSES['ctl']}", "burning"))


def _stimuli(period_ns: int, interrupts: int, lead_ns: int = 0) -> list[Stimulus]:
    warm_up = [Stimulus(slot * _WARM_UP_NS, "dev0", "raise 1") for slot in range(_WARM_UP)]
    begin = _WARM_UP * _WARM_UP_NS + lead_ns
    return warm_up + [Stimulus(begin + slot * period_ns, "dev0", "raise 1") for slot in range(interrupts)]


def sustains(kernel: str, chosen: Contender, period_ns: int, lead_ns: int) -> bool:
    """Whether each of `TRIAL` interrupts, ``period_ns`` apart, is handled before the next one comes."""
    machine = contender.guest(kernel, chosen)
    length = _WARM_UP * _WARM_UP_NS + TRIAL * period_ns + 50 * _WARM_UP_NS
    entries = [e for e in play(machine, _stimuli(period_ns, TRIAL, lead_ns), length).entries if e.device == "dev0"]
    merged = sum(entry.kind is Kind.RAISE and not entry.value for entry in entries)
    handled = sum(_handles(entry, chosen) for entry in entries)
    return not merged and handled == _WARM_UP + TRIAL


def _handles(entry: Entry, chosen: Contender) -> bool:
    if chosen.program:
        return entry.kind is Kind.MARK
    return entry.kind is Kind.WRITE and entry.space == 0 and entry.offset == Register.INT_ACK


def highest(kernel: str, chosen: Contender, lead_ns: int = 0) -> int:
    """The highest rate, in interrupts per second of guest time, up to which no rate loses any interrupt.

    The trial begins ``lead_ns`` after the warm-up. At a higher rate, a trial may by chance lose no interrupt, depending
    on how far the program is on its way to sleep.
    """
    period = _LONGEST
    if not sustains(kernel, chosen, period, lead_ns):
        raise BenchError(
            f"{chosen.name} does not keep up with one interrupt every {period} ns, the longest period tried"
        )
    while sustains(kernel, chosen, int(period * _STEP), lead_ns):
        period = int(period * _STEP)
    return 1_000_000_000 // period


def _work(kernel: str, chosen: Contender, rate: int) -> int:
    """The work of an idle-priority program in `_WINDOW_NS` while ``rate`` interrupts come per second (0: none)."""
    machine = contender.guest(kernel, chosen, _BURNING)
    begin = _WARM_UP * _WARM_UP_NS
    stimuli = _stimuli(1_000_000_000 // rate, _WINDOW_NS * rate // 1_000_000_000) if rate else _stimuli(1, 0)
    recording = play(machine, stimuli, begin + _WINDOW_NS)
    if rate and not _serves(recording, chosen, begin + _WINDOW_NS - _LAST_NS):
        raise BenchError(
            f"{chosen.name} serves no interrupts any more at {rate} a second: it leaves time that is not its own"
        )
    return sum(
        entry.kind is Kind.MARK and entry.device == "ctl" and entry.time_ns >= recording.base_ns + begin
        for entry in recording.entries
    )


def _serves(recording: Recording, chosen: Contender, since_ns: int) -> bool:
    """Whether the driver has handled an interrupt after that time of the run."""
    since_ns += recording.base_ns
    return any(e.device == "dev0" and e.time_ns >= since_ns and _handles(e, chosen) for e in recording.entries)


def measure(kernel: str, tell: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """The rates of each driver.

    ``highest`` is in interrupts per second, a spread over `_LEADS_NS`; None if the driver merges interrupts. ``left``
    is, for each of `RATES`, the CPU time of an idle-priority program relative to that without interrupts; None if the
    driver spins: it leaves no time.
    """
    result: dict[str, Any] = {}
    for chosen in (*CONTENDERS.values(), SPINNING, POLLING):
        figures = result[chosen.name] = {"highest": None, "left": None}
        if not chosen.merges:
            tell(f"kernel {kernel}: {chosen.name}, the highest rate")
            figures["highest"] = asdict(Spread.of([highest(kernel, chosen, lead_ns) for lead_ns in _LEADS_NS]))
        if not chosen.spins:
            tell(f"kernel {kernel}: {chosen.name}, the CPU time left")
            alone = _work(kernel, chosen, 0)
            figures["left"] = {str(rate): round(_work(kernel, chosen, rate) / alone, 4) for rate in RATES}
    return result
