# SPDX-License-Identifier: MIT
"""The description of the environment contains the emulator, even if it does not start."""

from __future__ import annotations

from pathlib import Path

import pytest

from shirq_bench.provision import image, kernel, qemu
from shirq_bench.vm import accel, environment
from shirq_bench.vm.machine import Machine
from shirq_bench.vm.vm import Parts


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
    monkeypatch.setattr(qemu, "versions", lambda _: qemu.Versions("qemu 10.0.13+ds-0 (trixie)", "0123", "4567"))
    monkeypatch.setattr(accel, "cached", lambda _: None)
    found = environment.describe([])["QEMU"]
    assert found.startswith(said)
    assert found.endswith(", qemu 10.0.13+ds-0 (trixie), device 0123, firmware 4567")


def test_versions_of_a_guest_name_each_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are those by which a replay elsewhere says what differs."""
    known = kernel.Kernel("6.1", "6.1.0", tmp_path, tmp_path, tmp_path, "6.1-0", version="6.1.0 Debian 6.1.192-3")
    made = Parts(known, tmp_path / "initrd", tmp_path / "qemu", accel.Accelerator("tcg", ""))
    monkeypatch.setattr(environment, "parts", lambda *_: made)
    monkeypatch.setattr(qemu, "versions", lambda _: qemu.Versions("qemu 10.0.13+ds-0 (trixie)", "0123", "4567"))
    monkeypatch.setattr(image, "package_versions", lambda: ["busybox-static_1.35_amd64", "libc6_2.36_amd64"])
    found = environment.versions(Machine())
    assert found["kernel"] == "6.1.0 Debian 6.1.192-3"
    assert found["QEMU source"] == "qemu 10.0.13+ds-0 (trixie)"
    assert (found["QEMU overlay and patches"], found["firmware"]) == ("0123", "4567")
    assert found["image's packages"] == "busybox-static_1.35_amd64 libc6_2.36_amd64"
    assert found["shirq-bench"] and found["commit"]
    assert found["accelerator"].startswith("-machine ") and "turn-ns" not in found["accelerator"]
    exact = environment.versions(Machine(deterministic=True, turn_ns=12345))["accelerator"]
    assert "turn-ns=12345" in exact
    laid = tmp_path / "laid"
    laid.mkdir()
    other = environment.versions(Machine(overlay=(str(laid),)))
    assert other["image"] != found["image"] and other | {"image": ""} == found | {"image": ""}
    (laid / "file").touch()
    assert environment.versions(Machine(overlay=(str(laid),)))["image"] != other["image"]
