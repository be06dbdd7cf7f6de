# SPDX-License-Identifier: MIT
"""`shirq clients` judges a client by all that the guest's kernel says."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from shirq_bench.campaigns import clients
from shirq_bench.errors import BenchError
from shirq_bench.observe.scene import Scene

_LOGS = Path(__file__).parents[1] / "observe/splats"
_INTERRUPTS = 3


class _Guest:
    """Stands in for a guest in which a client has served all interrupts."""

    def __init__(self, kernel_log: str) -> None:
        self.kernel_log = kernel_log
        command = SimpleNamespace(expect=self.expect, signal=lambda *_: None, wait=lambda *_: None)
        self.vm = SimpleNamespace(
            agent=SimpleNamespace(start=lambda *_: command, succeed=self.run), parts=SimpleNamespace(objects=())
        )
        self.network = SimpleNamespace(ping=lambda *_: None)

    def expect(self, pattern: str, *_: float) -> dict[int, str]:
        return {1: str(_INTERRUPTS), 2: "0", 3: "0"}

    def record(self, device: str) -> Any:
        return self

    def __enter__(self) -> Any:
        return SimpleNamespace(line_low_at_end=lambda: None, assertions=lambda _: [None] * (_INTERRUPTS + 1))

    def __exit__(self, *_: object) -> None:
        pass

    def raise_(self, device: str) -> None:
        pass

    def run(self, script: str, deadline: float = 30) -> str:
        if script.startswith("dmesg"):
            words = ("nobody cared", "Disabling IRQ") if "grep" in script else ("",)
            return "\n".join(line for line in self.kernel_log.splitlines() if any(word in line for word in words))
        return "0" if script.endswith(("storms_masked", "line_off")) else str(_INTERRUPTS + 1)


def _serve(log: str) -> dict[str, int]:
    guest = cast(Scene, _Guest((_LOGS / log / "log").read_text(errors="replace")))
    return clients.serve(guest, clients.CLIENTS["howto"], _INTERRUPTS)


@pytest.mark.parametrize("log", ["nobody-cared", "warn", "kasan", "rcu-stall"])
def test_client_beside_a_complaint_of_the_kernel_fails(log: str) -> None:
    with pytest.raises(BenchError, match="howto: the guest's kernel complained:"):
        _serve(log)


def test_client_in_a_silent_guest_passes() -> None:
    assert _serve("innocent-boot")["served"] == _INTERRUPTS
