# SPDX-License-Identifier: MIT
"""`shirq sweep`: its report about scenarios that cannot be swept."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from shirq_bench.campaigns.sweep import findings, run
from shirq_bench.campaigns.sweep.run import FailsAlone, Shape
from shirq_bench.campaigns.sweep.scenario import Scenario
from shirq_bench.cli.main import main
from shirq_bench.errors import VmDied


@pytest.fixture
def failing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Exception]:
    """The errors of scenarios whose sweep must fail, by name. The sweep of every other scenario has two points."""
    errors: dict[str, Exception] = {}

    def sweep(item: Scenario, kernel: str, points: int, tell: object, most: int) -> run.Result:
        if item.name in errors:
            raise errors[item.name]
        return run.Result(item.name, kernel, Shape(0, 10, 20), False, points=2)

    monkeypatch.setattr(run, "sweep", sweep)
    monkeypatch.setattr(findings, "REPORT", tmp_path / "sweep.json")
    return errors


def _shirq(*names: str) -> Result:
    return CliRunner().invoke(main, ["sweep", *names])


def _report() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(findings.REPORT.read_text())
    return content


def test_scenario_that_cannot_be_swept_does_not_end_the_others(failing: dict[str, Exception]) -> None:
    failing["reassert"] = VmDied("vm1: QEMU is gone")
    failing["reassert-poll"] = FailsAlone("it fails even without the second stimulus")
    ended = _shirq("reassert", "reassert-poll", "rearm")
    assert ended.exit_code == 1
    assert "reassert: vm1: QEMU is gone" in ended.output
    assert "2 scenarios that could not be swept" in ended.output
    report = _report()
    assert [one["name"] for one in report["scenarios"]] == ["rearm"]
    assert report["errors"] == [
        {"name": "reassert", "kernel": "6.1", "error": "vm1: QEMU is gone", "fails_alone": False},
        {
            "name": "reassert-poll",
            "kernel": "6.1",
            "error": "it fails even without the second stimulus",
            "fails_alone": True,
        },
    ]
    failing.clear()
    assert _shirq("reassert").exit_code == 0
    assert _report()["errors"] == []


def test_a_host_that_lacks_something_ends_one_scenario_alone(failing: dict[str, Exception]) -> None:
    failing["reassert"] = OSError(errno.ENOSPC, "No space left on device")
    ended = _shirq("reassert", "rearm")
    assert ended.exit_code == 1
    assert "reassert: [Errno 28] No space left on device" in ended.output
    report = _report()
    assert [one["name"] for one in report["scenarios"]] == ["rearm"]
    assert [one["error"] for one in report["errors"]] == ["[Errno 28] No space left on device"]


def test_the_report_has_what_was_swept_before_an_interruption(
    failing: dict[str, Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    swept = run.sweep

    def interrupted(item: Scenario, *rest: Any, **more: Any) -> run.Result:
        if item.name == "rearm":
            raise KeyboardInterrupt
        return swept(item, *rest, **more)

    monkeypatch.setattr(run, "sweep", interrupted)
    assert _shirq("reassert", "rearm").exit_code == 1
    assert [one["name"] for one in _report()["scenarios"]] == ["reassert"]
