# SPDX-License-Identifier: MIT
"""The benchmark: the cost of an interrupt, computed from log entries, and the comparison with the baseline."""

from __future__ import annotations

from pathlib import Path

import pytest

from shirq_bench.campaigns.bench import baseline, cost
from shirq_bench.channels.log import CONFIG_SPACE, Entry, Kind
from shirq_bench.errors import BenchError
from shirq_bench.vm.machine import GSI


def _entry(time_ns: int, kind: Kind, offset: int = 0, value: int = 0, space: int = 0, device: str = "dev0") -> Entry:
    return Entry(time_ns, kind, space, 4, 0, device, 0, offset, value)


def _round(*enabling: Entry) -> list[Entry]:
    return [
        _entry(1000, Kind.RAISE, value=1),
        _entry(1001, Kind.DELIVER, GSI, device="ioapic"),
        _entry(1100, Kind.READ, 0x2C, 1),
        _entry(1400, Kind.EOI, GSI, device="ioapic"),
        _entry(2000, Kind.WRITE, 0x70),
        _entry(2000, Kind.MARK, 0x70),
        _entry(2100, Kind.WRITE, 0x64, 1),
        *enabling,
    ]


def test_a_round_ends_when_the_device_is_unmasked() -> None:
    entries = _round(_entry(2500, Kind.WRITE, 0x6C), _entry(2500, Kind.MASK))
    assert cost.measure_round(entries, wakes=True) == cost.Round(
        awake=1000, enabled=1500, hard=399, registers=3, config=0
    )


def test_a_round_ends_when_the_interrupt_disable_bit_is_cleared() -> None:
    clear = _entry(3000, Kind.WRITE, 5, 0x00, CONFIG_SPACE)
    set_ = _entry(1200, Kind.WRITE, 5, 0x04, CONFIG_SPACE)
    measured = cost.measure_round(_round(set_, clear), wakes=True)
    assert (measured.enabled, measured.registers, measured.config) == (2000, 2, 2)


def test_an_interrupt_that_is_never_enabled_again_is_an_error() -> None:
    with pytest.raises(BenchError, match="0 times enabled"):
        cost.measure_round(_round(), wakes=True)


def test_the_99th_percentile_of_a_hundred_is_the_greatest() -> None:
    assert cost.Spread.of([1] * 99 + [7]) == cost.Spread(1, 7, 1, 7)


def _figures(ours: float, floor: float, added: float) -> dict[str, dict[str, float]]:
    def spread(median: float) -> dict[str, dict[str, float]]:
        return {name: {"median": median} for name in ("awake", "enabled", "hard")}

    drivers = {"shirq": {"regular": spread(ours)}, "wake": {"regular": spread(floor)}}
    return baseline.figures({"drivers": drivers, "neighbour": {"beside": {"shirq": {"added": added}}}})


@pytest.mark.parametrize(
    ("ours", "floor", "added", "worse"),
    [
        (1000, 900, 200, []),
        (1020, 900, 208, []),
        (1021, 900, 208, ["awake", "enabled", "hard"]),
        (1000, 900, 209, ["neighbour"]),
        # Another kernel takes more or fewer instructions for both.
        (1500, 1400, 200, []),
        (800, 700, 200, []),
        (1000, 879, 200, ["awake", "enabled", "hard"]),
    ],
)
def test_regression_is_a_growth_above_the_runs_own_floor(
    tmp_path: Path, ours: float, floor: float, added: float, worse: list[str]
) -> None:
    """What the module adds to the floor of its own run is compared: two percent of the whole count are allowed."""
    file = tmp_path / "baseline.json"
    baseline.accept(_figures(1000, 900, 200), "6.1.0", "2026-11-22", "the first", file)
    found = baseline.compare(_figures(ours, floor, added), baseline.load(file))
    assert [next(name for name in worse if name in each) for each in found] == worse


def test_baseline_of_other_figures_is_not_compared_with(tmp_path: Path) -> None:
    file = tmp_path / "baseline.json"
    baseline.accept({"awake": {"count": 1, "above": 1}}, "6.1.0", "2026-11-22", "the first", file)
    with pytest.raises(BenchError, match="the baseline has awake, this run has interrupt, awake, interrupt, enabled"):
        baseline.compare(_figures(1, 1, 1), baseline.load(file))


def test_a_baseline_needs_its_reason(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="reason"):
        baseline.accept({}, "6.1.0", "2026-11-22", " ", tmp_path / "baseline.json")
