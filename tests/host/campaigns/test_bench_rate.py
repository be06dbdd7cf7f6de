# SPDX-License-Identifier: MIT
"""The search for the highest rate of interrupts that a driver sustains."""

from __future__ import annotations

import pytest

from logwriter import INT_ACK, Story
from shirq_bench.campaigns.bench import rate
from shirq_bench.campaigns.bench.contender import CONTENDERS, POLLING, SPINNING, Contender
from shirq_bench.channels.log import Kind
from shirq_bench.errors import BenchError
from shirq_bench.replay.play import Recording


def _sustained(monkeypatch: pytest.MonkeyPatch, *periods_ns: range) -> None:
    def sustains(kernel: str, chosen: Contender, period_ns: int, lead_ns: int) -> bool:
        return any(period_ns in sustained for sustained in periods_ns)

    monkeypatch.setattr(rate, "sustains", sustains)


def _interrupts(name: str, handled: int, merged: int) -> Story:
    """Return a log of dev0: ``handled`` interrupts, as driver ``name`` handles them, and ``merged`` merged raises."""
    story = Story()
    for _ in range(handled):
        story.add(Kind.RAISE, "dev0", value=1)
        if CONTENDERS[name].program:
            story.add(Kind.MARK, "dev0", value=7)
        else:
            story.add(Kind.WRITE, "dev0", offset=INT_ACK, value=1)
    for _ in range(merged):
        story.add(Kind.RAISE, "dev0", value=0)
    return story


@pytest.mark.parametrize("name", ["shirq", "kernel"])
@pytest.mark.parametrize(
    ("lost", "merged", "sustained"), [(0, 0, True), (1, 0, False), (0, 1, False)], ids=["all", "lost", "merged"]
)
def test_a_rate_is_sustained_if_each_interrupt_is_handled(
    monkeypatch: pytest.MonkeyPatch, name: str, lost: int, merged: int, sustained: bool
) -> None:
    story = _interrupts(name, rate.TRIAL + rate._WARM_UP - lost, merged)
    story.add(Kind.MARK, "dev1").add(Kind.RAISE, "dev1", value=0)
    monkeypatch.setattr(rate, "play", lambda *_: Recording(0, story.entries, "", "", []))
    assert rate.sustains("6.1", CONTENDERS[name], 1000, 0) is sustained


def test_the_highest_rate_is_known_to_three_percent(monkeypatch: pytest.MonkeyPatch) -> None:
    _sustained(monkeypatch, range(6500, 100_000))
    assert 1e9 / 6500 * 0.97 <= rate.highest("6.1", CONTENDERS["shirq"]) <= 1e9 / 6500


def test_a_rate_without_a_loss_beyond_one_with_a_loss_is_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    _sustained(monkeypatch, range(7000, 100_000), range(5000, 6500))
    assert rate.highest("6.1", CONTENDERS["vfio-pci"]) <= 1e9 / 7000


def test_a_contender_that_loses_at_every_rate_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    _sustained(monkeypatch)
    with pytest.raises(BenchError, match="does not keep up"):
        rate.highest("6.1", CONTENDERS["wake"])


def test_contenders_rate_is_median_over_places_of_kernel_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver's rate is the median of trials that coincide with different parts of the kernel's other work."""
    found = iter(range(1, 1000))
    monkeypatch.setattr(rate, "highest", lambda kernel, chosen, lead_ns: 1000 * next(found))
    monkeypatch.setattr(rate, "_work", lambda kernel, chosen, rate: 1)
    measured = rate.measure("6.1")
    first = measured["shirq"]["highest"]
    assert (first["median"], first["least"], first["most"]) == (3000, 1000, 5000)
    assert measured[SPINNING.name]["left"] is None
    assert measured[POLLING.name]["highest"] is None
    assert measured[POLLING.name]["left"] == {"1000": 1.0, "10000": 1.0, "100000": 1.0}
