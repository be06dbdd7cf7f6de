# SPDX-License-Identifier: MIT
"""Programs and arming: scripts call the module by the Python binding in the guest."""

from __future__ import annotations

import pytest

from guest.guest_python import finish, start
from guest.scripts import programs
from shirq_bench.channels.agent import Command
from shirq_bench.observe.scene import Scene
from shirq_bench.observe.triggers import PinFalls
from shirq_bench.paths import MODULES
from shirq_bench.plugin import Boot
from shirq_bench.vm.machine import ADDRESSES, SHARED_LINE, bind_at, insmod


def test_unmask_lets_a_still_pending_source_fire_again(scene: Scene) -> None:
    script = start(scene, "dev1", programs.pending_source)
    script.expect("ready")
    with scene.record("dev1") as recorded:
        scene.raise_("dev1", bits=6)
        assert finish(script)[1:] == ["0x6", "0x6 1", "silence", "silence"]
    assert len(recorded.assertions()) == 2
    recorded.line_low_at_end()


@pytest.mark.smoke
def test_exclusive_arm_on_shared_line_is_ebusy_and_harmless(scene: Scene) -> None:
    """Arming exclusively on a shared line fails with EBUSY and has no effect on the neighbours."""
    script = start(scene, "dev0", programs.exclusive)
    script.expect("^EBUSY$")
    scene.network.ping(20)
    other = scene.drive("dev1")
    scene.raise_("dev1")
    assert other.next_event().status == 1
    script.write("\n")
    script.expect("^armed$")
    scene.raise_("dev0", bits=8)
    script.expect("^0x8$")
    assert finish(script)


def test_an_exclusive_owner_keeps_later_sharers_out(scene: Scene) -> None:
    nic = ADDRESSES["nic0"]
    scene.run(f"echo {nic} >/sys/bus/pci/devices/{nic}/driver/unbind")
    script = start(scene, "dev0", programs.exclusive_owner, ADDRESSES["dev1"])
    script.expect("^EBUSY EBUSY$")
    scene.raise_("dev0", bits=2)
    assert finish(script)[1:] == ["0x2", "OK"]


def test_line_of_a_oneshot_neighbour_is_shared_if_the_kernel_can(boot: Boot) -> None:
    """An IRQF_ONESHOT neighbour keeps the line masked while its thread handles. A refused ARM logs nothing."""
    scene = Scene(boot(SHARED_LINE.with_(modules=(str(MODULES / "neighbour"),))))
    dev1 = ADDRESSES["dev1"]
    for address in (ADDRESSES["nic0"], dev1):
        scene.run(f"echo {address} >/sys/bus/pci/devices/{address}/driver/unbind")
    scene.run(f"{insmod('neighbour', 'oneshot=1')} && {bind_at(dev1, 'neighbour')}")
    script = start(scene, "dev0", programs.line_in_use)
    release = scene.vm.parts.kernel.release
    if tuple(map(int, release.split(".")[:2])) < (6, 9):  # without IRQF_COND_ONESHOT
        assert finish(script) == ["EBUSY loaded"]
        return
    script.expect("^OK armed$")
    for bits in (1, 2, 4):
        with scene.record("dev1") as recorded:
            scene.raise_("dev1", "dev0", bits=bits)
            script.expect(f"^{bits:#x}$")
            recorded.wait(PinFalls("dev1"))
        recorded.line_low_at_end()
    assert finish(script)


@pytest.fixture
def refused(scene: Scene) -> Command:
    """Start a script that tries every bad program in turn, arms, and then handles an interrupt."""
    return start(scene, "dev1", programs.bad_programs)


@pytest.mark.smoke
def test_bad_program_is_refused_by_index_and_the_old_set_stays(scene: Scene, refused: Command) -> None:
    """A bad program is refused with the index of its operation, and the loaded set stays."""
    refused.expect("^armed$", deadline=60)
    # The set that was loaded before the bad ones is still active.
    scene.raise_("dev1", bits=0x20)
    refused.expect("^0x20$")
    lines = finish(refused)
    expected = [
        f"{name}; True; {index}; {reason}"
        for name, (index, reason, _) in programs.BAD.items()
        for _ in range(2 if name == "undefined register" else 3)
    ]
    assert lines[: len(expected)] == expected
    assert scene.vm.qmp.get("dev1", "mask") == 0xFFFFFFFF, "the release program of the first set did not run"
