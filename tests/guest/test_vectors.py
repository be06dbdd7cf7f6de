# SPDX-License-Identifier: MIT
"""Several messages of one function, MSI-X of QEMU's igb: each source has its own stream."""

from __future__ import annotations

import signal

import pytest

from guest.guest_python import run, start
from guest.scripts import vectors
from shirq_bench.observe.scene import Scene, handler_name
from shirq_bench.plugin import Boot
from shirq_bench.vm.machine import ADDRESSES, SHARED_LINE, bind

ADDRESSES["msix0"] = "0000:00:07.0"
_MACHINE = SHARED_LINE.with_(
    devices=(*SHARED_LINE.devices, "igb,id=msix0,addr=7,romfile="), prepare=(*SHARED_LINE.prepare, bind("msix0"))
)


@pytest.fixture
def nic(boot: Boot) -> Scene:
    """A guest with an igb, bound to shirq.ko."""
    return Scene(boot(_MACHINE))


def test_each_vector_is_a_stream_of_its_own(nic: Scene) -> None:
    """Five vectors have five interrupts and five counts; read() gives the events of all in the order of their times."""
    assert run(nic, "msix0", vectors.streams) == ["6 10 5", "5 armed", "3:1 1:1 5:1 1:2 2:1 4:1 3:2 True", "2"]


def test_one_source_leaves_the_others_as_they_are(nic: Scene) -> None:
    assert run(nic, "msix0", vectors.apart) == [
        "signalled: False",
        "disarmed: ARMED ARMED OPEN 1:1 silence",
        "masked: 2:1 silence True",
        "unmasked: 1:3 False",
        "loaded: ARMED LOADED OPEN EBUSY",
        "programs: 4 True 2 False",
    ]


def test_chatty_vector_costs_another_no_event(nic: Scene) -> None:
    """A source whose queue is full loses its own events alone."""
    assert run(nic, "msix0", vectors.chatty) == ["2 0", "{1} 2 1 silence"]


def test_fewer_messages_and_messages_again(nic: Scene) -> None:
    assert run(nic, "msix0", vectors.fewer) == ["3 EINVAL", "1 EINVAL", "10 11", "5:1"]


def test_storm_of_one_vector_disarms_all(nic: Scene) -> None:
    """Quarantine stops all sources; each is armed again by itself."""
    assert run(nic, "msix0", vectors.storms) == ["QUARANTINED 2 0 OPEN OPEN", "2:1 OPEN"]


def test_vectors_end_with_a_killed_owner(nic: Scene) -> None:
    """No vector is left when the owner is killed, and the next owner may allocate them again."""
    script = start(nic, "msix0", vectors.killed)
    script.expect("^armed$")
    script.signal(signal.SIGKILL)
    script.wait()
    assert nic.run(f"cat /sys/class/shirq/{ADDRESSES['msix0']}/state").strip() == "parked"
    assert nic.vm.agent.run("grep", handler_name("msix0"), "/proc/interrupts").status == 1
    assert run(nic, "msix0", vectors.fewer) == ["3 EINVAL", "1 EINVAL", "10 11", "5:1"]
