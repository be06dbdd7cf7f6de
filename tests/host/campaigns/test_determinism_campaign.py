# SPDX-License-Identifier: MIT
"""`shirq determinism` reports each replay that is not its run."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from shirq_bench.campaigns import determinism
from shirq_bench.cli import determinism as verb
from shirq_bench.cli.main import main
from shirq_bench.replay.exact import State
from shirq_bench.vm import environment
from shirq_bench.vm.machine import Machine

STATE = State(100, "log", "processor", "memory")


def replayed(machine: Machine, run: int, condition: str = "calm") -> State:
    """Stand in for a replay: with two vCPUs, the memory of run 1 is another one after pauses."""
    other = machine.vcpus == 2 and (run, condition) == (1, "pauses")
    return State(100, "log", "processor", "other memory") if other else STATE


def test_differences_name_replay_condition_and_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(determinism, "replay", replayed)
    found = determinism.measure(determinism.busy("6.1", 2), runs=2, replays=10)
    assert found["replays"] == 20
    assert found["entries"] == 200
    assert found["differences"] == [
        {"run": 1, "replay": number, "in": "pauses", "differ": ["memory"]} for number in (2, 7)
    ]


def test_every_condition_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def replay(machine: Machine, run: int, condition: str = "") -> State:
        tried.append(condition)
        return STATE

    monkeypatch.setattr(determinism, "replay", replay)
    determinism.measure(determinism.busy("6.1", 4), runs=1, replays=len(determinism.CONDITIONS))
    assert tuple(tried) == ("", *determinism.CONDITIONS)


@pytest.mark.parametrize(("vcpus", "status"), [("2", 1), ("4", 0)])
def test_command_fails_if_a_replay_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vcpus: str, status: int
) -> None:
    monkeypatch.setattr(determinism, "replay", replayed)
    monkeypatch.setattr(verb, "REPORT", tmp_path / "reports/determinism.json")
    monkeypatch.setattr(environment, "describe", lambda kernels: dict.fromkeys(kernels, "its version"))
    done = CliRunner().invoke(main, ["determinism", "--vcpus", vcpus, "--runs", "2", "--replays", "5"])
    assert done.exit_code == status
    report = json.loads((tmp_path / "reports/determinism.json").read_text())
    (machine,) = report["machines"]
    assert len(machine["differences"]) == status
    assert report["environment"] == {"6.1": "its version"}


_LOADED = """
from shirq_bench.campaigns import determinism
with determinism._load():
    print("loaded", flush=True)
    input()
"""


def test_load_of_the_host_ends_with_a_killed_command() -> None:
    """The busy processes are more than the processors, and none of them goes on if the command is killed."""
    with subprocess.Popen([sys.executable, "-c", _LOADED], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as command:
        assert command.stdout and command.stdout.readline() == b"loaded\n"
        children = psutil.Process(command.pid).children()
        busy = [child for child in children if "while True: pass" in child.cmdline()]
        command.kill()
    try:
        _, left = psutil.wait_procs(busy, timeout=60)
    finally:
        for child in busy:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
    assert len(busy) > len(os.sched_getaffinity(0))
    assert not left


def test_busy_guest_has_more_work_than_vcpus() -> None:
    for vcpus in (1, 2, 4):
        machine = determinism.busy("6.1", vcpus)
        assert (machine.vcpus, machine.deterministic) == (vcpus, True)
        assert machine.prepare.count(determinism.BUSY) > vcpus


def test_stimuli_depend_on_the_run_alone() -> None:
    assert determinism.stimuli(1) == determinism.stimuli(1) != determinism.stimuli(2)
