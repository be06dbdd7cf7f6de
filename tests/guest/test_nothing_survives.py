# SPDX-License-Identifier: MIT
"""No QEMU process and no run directory outlives its runner, however the runner ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from guest import suites
from interruptible import INTERRUPTIBLE
from shirq_bench.deadline import Deadline

#: The timeout for the end of a process or directory, in seconds on an idle host.
PATIENCE = 300

_RUNNER = """
import os, signal, sys, time
from shirq_bench import supervisor
from shirq_bench.vm.machine import Machine
from shirq_bench.vm.vm import Vm
with Vm(Machine(kernel=sys.argv[1])) as vm:
    vm.start()
    print(vm.pid, vm.dir, flush=True)
    # Its process is watched from here on.
    sys.stdin.readline()
    {then}
"""
#: Do not use one long sleep: Python would handle a signal that arrives just before the sleep only after it.
_WAITS = "while True: time.sleep(0.1)"


@pytest.mark.parametrize(
    ("then", "number"),
    [
        (_WAITS, signal.SIGKILL),
        (_WAITS, signal.SIGINT),
        (_WAITS, signal.SIGTERM),
        ("raise RuntimeError('a test failed')", None),
        ("os._exit(1)", None),
        ("os.kill(supervisor.instance().pid, signal.SIGKILL); vm.wait_end(120)", None),
    ],
    ids=["SIGKILL", "SIGINT", "SIGTERM", "exception", "exit", "supervisor killed"],
)
def test_no_qemu_and_no_directory_outlives_its_runner(
    kernel_name: str, then: str, number: signal.Signals | None
) -> None:
    runner = subprocess.Popen(
        [*INTERRUPTIBLE, sys.executable, "-c", _RUNNER.format(then=then), kernel_name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert runner.stdin is not None and runner.stdout is not None
    pid, directory = runner.stdout.readline().split()
    gone = os.pidfd_open(int(pid))
    try:
        runner.stdin.write("\n")
        runner.stdin.flush()
        if number is None:
            _said(runner)
        else:
            runner.send_signal(number)
        assert Deadline(PATIENCE).readable(gone), f"QEMU {pid} outlived its runner"
    finally:
        os.close(gone)
        runner.kill()
        runner.wait()
    _wait_until_deleted(Path(directory))


_SUITE = """
import os, time
from pathlib import Path
import pytest
from shirq_bench.vm.machine import Machine

@pytest.mark.parametrize("n", range(2))
def test_that_takes_its_time(boot, n):
    vm = boot(Machine())
    note = Path(__file__).with_name(f"guest{n}")
    note.with_suffix(".new").write_text(f"{vm.pid} {vm.dir} {os.getpid()}")
    note.with_suffix(".new").rename(note)
    time.sleep(600)
"""


@pytest.mark.parametrize("options", [[], ["-n2"]], ids=["one", "two workers"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "SIGKILL"])
@pytest.mark.long
def test_no_guest_and_no_worker_outlives_pytest(
    kernel_name: str, tmp_path: Path, options: list[str], number: signal.Signals
) -> None:
    suites.arrange(tmp_path, _SUITE)
    runner = suites.start(tmp_path, "--shirq-kernel", kernel_name, *options)
    notes = [tmp_path / f"guest{n}" for n in range(len(options) + 1)]
    end = Deadline(120)
    try:
        while not all(note.exists() for note in notes):
            assert runner.poll() is None and not end.passed, "the tests have not begun"
            time.sleep(0.05)
        told = [note.read_text().split() for note in notes]
        gone = [os.pidfd_open(int(pid)) for guest, _, worker in told for pid in (guest, worker)]
        if number == signal.SIGINT:  # A terminal sends SIGINT to the whole process group.
            os.killpg(runner.pid, number)
        else:
            runner.send_signal(number)
        for descriptor in gone:
            ended = Deadline(PATIENCE).readable(descriptor)
            os.close(descriptor)
            assert ended, "a process outlived pytest"
        said = _said(runner)
    finally:
        runner.kill()
    if number == signal.SIGINT:
        assert runner.returncode == pytest.ExitCode.INTERRUPTED
        assert "KeyboardInterrupt" in said, said
    for _, directory, _ in told:
        _wait_until_deleted(Path(directory))


def _said(runner: subprocess.Popen[str]) -> str:
    """Wait until the runner has ended; returns its output."""
    end = Deadline(PATIENCE)
    while True:
        try:
            return runner.communicate(timeout=end.step)[0]
        except subprocess.TimeoutExpired:
            assert not end.passed, f"the runner has not ended within {end}"


def _wait_until_deleted(directory: Path) -> None:
    # The supervisor is not a child of this process: wait for its last action, the deletion of the directory.
    end = Deadline(PATIENCE)
    while directory.exists():
        assert not end.passed, f"{directory} outlived its runner"
        time.sleep(0.01)
