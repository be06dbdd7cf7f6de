# SPDX-License-Identifier: MIT
"""Savepoints of machines without a guest: what a rewind returns of the device."""

from __future__ import annotations

from pathlib import Path

import pytest

from device.scene import INT_ACK, INT_STATUS, Scene, Start


@pytest.mark.parametrize("cloned", [False, True])
def test_any_machine_can_be_rewound(start: Start, tmp_path: Path, cloned: bool) -> None:
    """A machine that has never been saved or loaded can be rewound, too."""
    scene = Scene(start)
    if cloned:
        scene.migrate(tmp_path / "state")
    scene.raise_()
    scene.board.qmp.execute("shirq-savepoint")
    scene.bar.write(INT_ACK, 1)
    scene.board.qmp.execute("shirq-rewind")
    assert scene.bar.read(INT_STATUS) == 1
    scene.bar.write(INT_ACK, 1)
    scene.board.qmp.execute("shirq-rewind")
    assert scene.bar.read(INT_STATUS) == 1


def test_a_pin_that_is_stuck_or_missing_returns(start: Start) -> None:
    scene = Scene(start, "pin-stuck=on")
    scene.raise_()
    scene.bar.write(INT_ACK, 1)
    scene.board.qmp.execute("shirq-savepoint")
    scene.set("intx-pin", "none")
    scene.set("pin-stuck", "off")
    assert scene.board.qmp.get("dev0", "pin") is False
    scene.board.qmp.execute("shirq-rewind")
    values = [scene.board.qmp.get("dev0", name) for name in ("pin", "intx-pin", "pin-stuck")]
    assert values == [True, "A", "on"]
    assert scene.function.config_read(0x3D, 1) == 1


def test_a_count_and_a_payload_return(start: Start) -> None:
    registers = "registers=bar0+0x20/32 status w1c; bar0+0x30/32 count ro; bar0+0x34/32 payload"
    scene = Scene(start, registers, armed=False)
    scene.raise_()
    scene.board.qmp.execute("shirq-savepoint")
    for _ in range(3):
        scene.raise_()
    assert (scene.bar.read(0x30), scene.bar.read(0x34)) == (4, 4)
    scene.board.qmp.execute("shirq-rewind")
    assert (scene.bar.read(0x30), scene.bar.read(0x34)) == (1, 1)
