# SPDX-License-Identifier: MIT
"""The reference driver for messages drives QEMU's NVMe controller by MSI-X, with a vector for each queue."""

from __future__ import annotations

import signal

import pytest

from shirq_bench.observe.scene import Scene
from shirq_bench.plugin import Boot
from shirq_bench.vm.machine import ADDRESSES, LOAD_MODULE, Machine

ADDRESSES["nvme0"] = "0000:00:08.0"
#: Each test boots this machine, because an NVMe controller cannot be migrated and so cannot be cloned.
_MACHINE = Machine(devices=("nvme,id=nvme0,addr=8,serial=shirq-1", "shirq-edu,id=clock,addr=5"))
_DRIVER = ["python3", "/usr/share/shirq/drivers/nvme.py", "--bind"]


@pytest.fixture
def disk(boot: Boot) -> Scene:
    """A guest with an NVMe controller and without a driver for it; shirq.ko is loaded."""
    scene = Scene(boot(_MACHINE, cold=True))
    scene.run(LOAD_MODULE, deadline=120)
    return scene


def test_nvme_controller_is_driven_by_two_vectors(disk: Scene) -> None:
    """Identify and the I/O queue's commands complete, a message for each; nothing of it is left afterwards.

    A driver that is killed in the middle leaves the controller silent, and the next driver starts.
    """
    command = disk.vm.agent.start(*_DRIVER, "--count", "1000000", ADDRESSES["nvme0"])
    command.expect("^model=", deadline=120)
    command.signal(signal.SIGKILL)
    command.wait()
    result = disk.vm.agent.run(*_DRIVER, "--count", "100", ADDRESSES["nvme0"], deadline=120)
    assert (result.status, result.stdout.splitlines()) == (
        0,
        ["model='QEMU NVMe Ctrl' serial='shirq-1'", "messages=103 lost=0"],
    ), result.stderr
    state = f"cat /sys/class/shirq/{ADDRESSES['nvme0']}/state; grep -c shirq: /proc/interrupts || true"
    assert disk.run(state).split() == ["parked", "0"]
