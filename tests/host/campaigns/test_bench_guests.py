# SPDX-License-Identifier: MIT
"""The benchmark of guests: many devices on one line; start, measurement and end of a guest of virtme-ng."""

from __future__ import annotations

import os
import select
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from shirq_bench.campaigns.bench import guests
from shirq_bench.campaigns.bench.guests import DEVICES
from shirq_bench.deadline import Deadline
from shirq_bench.errors import BenchError
from shirq_bench.vm.machine import GSI, Machine, gsi_of


@pytest.fixture
def vng(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path of a fake virtme-ng that the bench uses; next to it is a program that acts as QEMU."""
    (tmp_path / "qemu-system-x86_64").symlink_to(shutil.which("sleep") or "")
    monkeypatch.setattr(guests, "_TOOLS", tmp_path)
    monkeypatch.setattr("shirq_bench.provision.kernel.get", lambda name: SimpleNamespace(vmlinuz=tmp_path / "vmlinuz"))
    return tmp_path / "vng"


def _write(program: Path, script: str) -> None:
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_all_devices_have_a_place_of_their_own_on_one_line() -> None:
    places = guests._places(max(DEVICES))
    assert len({address for address, _ in places}) == max(DEVICES)
    lines = {gsi_of(int(address[8:10], 16), device.partition("intx-pin=")[2] or "A") for address, device in places}
    assert lines == {GSI}


def test_virtme_ng_guest_begins_at_ready_and_ends_with_block(vng: Path) -> None:
    """A virtme-ng guest has booted when it prints "ready", and is killed at the end of the block."""
    _write(
        vng,
        """echo booting
"${0%/*}/qemu-system-x86_64" 1000 &
until grep -q qemu-system "/proc/$!/comm"; do :; done
echo ready
wait""",
    )
    with guests._virtme("6.1", Machine()) as emulator:
        assert Path(f"/proc/{emulator}/comm").read_text().startswith("qemu-system")
        alive = os.pidfd_open(emulator)
        assert select.select([alive], [], [], 0)[0] == []
    assert Deadline(60).readable(alive)
    os.close(alive)


def test_virtme_ng_without_a_guest_is_an_error_with_its_output(vng: Path) -> None:
    """If virtme-ng starts no guest, the error has its output."""
    _write(vng, "echo no such kernel; exit 1")
    with pytest.raises(BenchError, match="no such kernel"), guests._virtme("6.1", Machine()):
        pass
