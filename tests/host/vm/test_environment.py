# SPDX-License-Identifier: MIT
"""The description of the environment contains the emulator, even if it does not start."""

from __future__ import annotations

from pathlib import Path

import pytest

from shirq_bench.provision import qemu
from shirq_bench.vm import accel, environment


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        ("#!/bin/sh\necho QEMU emulator version 10.0.13\n", 0o755, "10.0.13, "),
        ("#!/bin/sh\necho a library is missing >&2; exit 127\n", 0o755, "it does not start: a library is missing, "),
        ("", 0o755, "it does not start: [Errno 8] Exec format error"),
        ("#!/bin/sh\n", 0o644, "it does not start: [Errno 13] Permission denied"),
    ],
    ids=["whole", "without a library", "empty", "no program"],
)
def test_the_emulator_is_described_whatever_its_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, mode: int, said: str
) -> None:
    emulator = tmp_path / "qemu-system-x86_64"
    emulator.write_text(content)
    emulator.chmod(mode)
    monkeypatch.setattr(qemu, "cached", lambda: emulator)
    monkeypatch.setattr(accel, "cached", lambda _: None)
    assert environment.describe([])["QEMU"].startswith(said)
