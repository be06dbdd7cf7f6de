# SPDX-License-Identifier: MIT
"""Registers that count raises, and a payload that is valid later than the status says."""

from __future__ import annotations

from pathlib import Path

import pytest

from device.scene import Scene, Start

STATUS, ENABLE, COUNT, PAYLOAD = 0x20, 0x10, 0x30, 0x34
COUNTING = "registers=bar0+0x10/32 enable; bar0+0x20/32 status w1c; "


def counting(start: Start, count: str, *properties: str) -> Scene:
    """A card whose register COUNT has the behaviour ``count``, with all sources unmasked."""
    scene = Scene(start, f"{COUNTING}bar0+0x30/32 {count}; bar0+0x34/32 payload", *properties, armed=False)
    scene.bar.write(ENABLE, 0xFFFFFFFF)
    return scene


def test_a_count_is_that_since_the_last_read(start: Start, tmp_path: Path) -> None:
    """Each raise counts once, however many sources it raises and whether they were pending."""
    scene = counting(start, "count ro rc")
    for sources in (1, 1, 6):
        scene.raise_(sources)
    assert [scene.bar.read(COUNT) for _ in range(2)] == [3, 0]
    scene.raise_()
    scene.migrate(tmp_path / "state")
    assert scene.bar.read(COUNT) == 1
    scene.raise_()
    scene.reset()
    assert scene.bar.read(COUNT) == 0


def test_a_count_can_be_written_and_cleared_by_writes(start: Start) -> None:
    scene = counting(start, "count")
    scene.bar.write(COUNT, 0xFFFFFFFF)
    scene.raise_()
    assert scene.bar.read(COUNT) == 0
    other = counting(start, "count wc")
    other.raise_()
    other.bar.write(COUNT, 5)
    assert other.bar.read(COUNT) == 0


def test_a_count_of_eight_bits_wraps(start: Start) -> None:
    scene = Scene(start, f"{COUNTING}bar0+0x30/8 count ro rc", armed=False)
    for _ in range(258):
        scene.raise_()
    assert [scene.bar.read(COUNT, 1) for _ in range(2)] == [2, 0]


@pytest.mark.parametrize("migrate", [False, True])
def test_the_payload_is_valid_after_its_lag(start: Start, tmp_path: Path, migrate: bool) -> None:
    """The status shows a raise at once; until the lag has passed, the payload is that of the raise before."""
    scene = counting(start, "count", "payload-lag-ns=2000")
    assert scene.bar.read(PAYLOAD) == 0
    scene.raise_()
    scene.step(2000)
    assert scene.bar.read(PAYLOAD) == 1
    scene.bar.write(STATUS, 1)
    scene.raise_()
    scene.step(1999)
    assert (scene.bar.read(STATUS), scene.bar.read(PAYLOAD)) == (1, 1)
    if migrate:
        scene.migrate(tmp_path / "state", "payload-lag-ns=2000")
        assert scene.bar.read(PAYLOAD) == 1
        scene.board.qmp.execute("cont")
    scene.step(1)
    assert scene.bar.read(PAYLOAD) == 2


def test_another_raise_restarts_the_payloads_lag(start: Start) -> None:
    scene = counting(start, "count", "payload-lag-ns=2000")
    scene.raise_(1)
    scene.step(1500)
    scene.raise_(2)
    scene.step(1999)
    assert scene.bar.read(PAYLOAD) == 0
    scene.step(1)
    assert scene.bar.read(PAYLOAD) == 2


def test_a_new_lag_leaves_a_valid_payload_valid(start: Start) -> None:
    scene = counting(start, "count", "payload-lag-ns=2000")
    scene.raise_()
    scene.step(2000)
    scene.set("payload-lag-ns", 5000)
    assert scene.bar.read(PAYLOAD) == 1
    scene.reset()
    assert scene.bar.read(PAYLOAD) == 0
    scene.set("payload-lag-ns", 0)
    scene.raise_()
    assert scene.bar.read(PAYLOAD) == 1
