"""No QEMU process and no run directory outlives its runner, however the runner ends."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

_RUNNER = """
import os, signal, sys, time
from shirq_bench import supervisor
from shirq_bench.machine import Machine
from shirq_bench.vm import Vm
# A shell that runs the tests in the background has them ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)
with Vm(Machine(kernel=sys.argv[1])) as vm:
    vm.start()
    print(vm.pid, vm.dir, flush=True)
    {then}
"""


@pytest.mark.parametrize(
    ("then", "number"),
    [
        ("time.sleep(600)", signal.SIGKILL),
        ("time.sleep(600)", signal.SIGINT),
        ("time.sleep(600)", signal.SIGTERM),
        ("raise RuntimeError('a test failed')", None),
        ("os._exit(1)", None),
        ("os.kill(supervisor.instance().pid, signal.SIGKILL); vm.wait_end(20)", None),
    ],
    ids=["SIGKILL", "SIGINT", "SIGTERM", "exception", "exit", "supervisor killed"],
)
def test_no_qemu_and_no_directory_outlives_its_runner(
    kernel_name: str, then: str, number: signal.Signals | None
) -> None:
    runner = subprocess.Popen(
        [sys.executable, "-c", _RUNNER.format(then=then), kernel_name],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert runner.stdout is not None
    pid, directory = runner.stdout.readline().split()
    gone = os.pidfd_open(int(pid))
    try:
        if number is None:
            runner.wait(20)
        else:
            runner.send_signal(number)
        ready, _, _ = select.select([gone], [], [], 20)
        assert ready, f"QEMU {pid} outlived its runner"
    finally:
        os.close(gone)
        runner.kill()
        runner.wait()
    _wait_until_deleted(Path(directory))


def _wait_until_deleted(directory: Path) -> None:
    # The supervisor is nobody's child here, so its end can only be observed through what it does last.
    until = time.monotonic() + 10
    while directory.exists():
        assert time.monotonic() < until, f"{directory} outlived its runner"
        time.sleep(0.01)
