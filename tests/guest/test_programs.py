# SPDX-License-Identifier: MIT
"""The module's calls and their results: run with the Python binding inside the guest."""

from __future__ import annotations

import pytest

from guest.guest_python import finish, run, start
from shirq_bench.channels.agent import Command
from shirq_bench.observe.judge import assertions, line_low_at_end, line_of
from shirq_bench.observe.scene import Scene
from shirq_bench.paths import MODULES
from shirq_bench.plugin import Boot
from shirq_bench.vm.machine import ADDRESSES, SHARED_LINE, bind_at, insmod


def test_unmask_lets_a_still_pending_source_fire_again(scene: Scene) -> None:
    script = start(
        scene,
        "dev1",
        """
        device, registers = armed(auto_unmask=False)
        report("ready")
        first = device.read(timeout=TIMEOUT)
        report(hex(first.r[0]))
        device.unmask(first.seq)                      # nothing was acknowledged
        again = device.read(timeout=TIMEOUT)
        report(hex(again.r[0]), again.seq - first.seq)
        device.unmask(first.seq)                      # stale: must not unmask
        report(silence(device, 0.3))
        registers.write32(edu["INT_ACK"], again.r[0])
        device.unmask(again.seq)
        report(silence(device, 0.3))
        """,
    )
    script.expect("ready")
    mark = scene.vm.log().mark
    scene.raise_("dev1", bits=6)
    assert finish(script)[1:] == ["0x6", "0x6 1", "silence", "silence"]
    log = scene.settled(mark, "dev1")
    assert len(assertions(log, "dev1")) == 2
    line_low_at_end(log, line_of(log, ["dev1"])).require()


@pytest.mark.smoke
def test_exclusive_arm_on_shared_line_is_ebusy_and_harmless(scene: Scene) -> None:
    """Arming exclusively on a shared line fails with EBUSY and has no effect on the neighbours."""
    script = start(
        scene,
        "dev0",
        """
        device = shirq.Device.open(ADDRESS)
        device.load(SET)
        error = attempt(device.arm, shared=False)
        report(errno.errorcode[error.errno])
        proceed()
        device.arm(shared=True)                       # the former set is still loaded
        report("armed")
        event = device.read(timeout=TIMEOUT)
        report(hex(event.r[0]))
        """,
    )
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
    script = start(
        scene,
        "dev0",
        f"""
        device, _ = armed(shared=False)
        later = shirq.Device.open("{ADDRESSES["dev1"]}")
        later.load(SET)
        report(fails(later.arm), fails(later.arm, shared=False))
        event = device.read(timeout=TIMEOUT)
        report(hex(event.r[0]))
        device.close()
        report(fails(later.arm))
        """,
    )
    script.expect("^EBUSY EBUSY$")
    scene.raise_("dev0", bits=2)
    assert finish(script)[1:] == ["0x2", "OK"]


def test_line_of_a_oneshot_neighbour_is_not_shared(boot: Boot) -> None:
    """It handles in a thread and has the line masked meanwhile; the kernel's log does not complain of the refusal."""
    scene = Scene(boot(SHARED_LINE.with_(modules=(str(MODULES / "neighbour"),))))
    dev1 = ADDRESSES["dev1"]
    for address in (ADDRESSES["nic0"], dev1):
        scene.run(f"echo {address} >/sys/bus/pci/devices/{address}/driver/unbind")
    scene.run(f"{insmod('neighbour', 'oneshot=1')} && {bind_at(dev1, 'neighbour')}")
    assert run(
        scene, "dev0", "device = shirq.Device.open(ADDRESS)\ndevice.load(SET)\nprint(fails(device.arm), state())"
    ) == ["EBUSY loaded"]


#: A release program with one invalid operation, named by the error; and the expected index and reason.
_BAD = {
    "out of the BAR": (1, "BOUNDS", "Op(abi.Code.READ, dst=0, width=4, imm=0x1000)"),
    "across the end of the BAR": (1, "ALIGNMENT", "Op(abi.Code.READ, dst=0, width=4, imm=0xffe)"),
    "offset that overflows": (1, "BOUNDS", "Op(abi.Code.READ, dst=0, width=4, imm=2**64 - 4)"),
    "misaligned": (1, "ALIGNMENT", "Op(abi.Code.WRITE, src=0, width=4, imm=0x2a)"),
    "backward jump": (1, "BACKWARD", "Op(abi.Code.SKIP_Z, src=0, skip=-1)"),
    "jump past the end": (1, "PAST_END", "Op(abi.Code.SKIP_Z, src=0, skip=2)"),
    "no such BAR": (1, "NO_BAR", "Op(abi.Code.READ, dst=0, width=4, space=3)"),
    "config space is written": (1, "CONFIG_WRITE", "Op(abi.Code.WRITE, src=0, width=2, space=6, imm=4)"),
    "undefined register": (1, "UNDEFINED", "Op(abi.Code.WRITE, src=5, width=4, imm=0x68)"),
    "unknown operation": (1, "CODE", "Op(99)"),
    "too long": (64, "TOO_LONG", "*[Op(abi.Code.LOAD, dst=0)] * 64"),
}


@pytest.fixture
def refused(scene: Scene) -> Command:
    """A script that is armed, tries every bad program in turn, and then handles an interrupt."""
    return start(
        scene,
        "dev1",
        f"""
        device = shirq.Device.open(ADDRESS)
        device.load(SET)
        first = Op(abi.Code.LOAD, dst=0, imm=1)
        bad = {{{", ".join(f"{name!r}: (first, {op}, first)" for name, (_, _, op) in _BAD.items())}}}
        for name, program in bad.items():
            for kind in ("unmask", "release"):
                error = attempt(device.load, dataclasses.replace(SET, **{{kind: program}}))
                report(name, error.kind.name.lower() == kind, error.index, error.reason.name, sep="; ")
            if name == "undefined register":
                continue                              # EXEC is given all of them
            error = attempt(device.exec, program)
            report(name, error.kind.name == "EXEC", error.index, error.reason.name, sep="; ")
        device.arm()
        report("armed")
        event = device.read(timeout=TIMEOUT)
        report(hex(event.r[0]))
        """,
    )


@pytest.mark.smoke
def test_bad_program_is_refused_by_index_and_the_old_set_stays(scene: Scene, refused: Command) -> None:
    """A bad program is refused with the index of its operation, and the loaded set stays."""
    refused.expect("^armed$", deadline=60)
    # The active set is still the one that was loaded before all the bad ones.
    scene.raise_("dev1", bits=0x20)
    refused.expect("^0x20$")
    lines = finish(refused)
    expected = [
        f"{name}; True; {index}; {reason}"
        for name, (index, reason, _) in _BAD.items()
        for _ in range(2 if name == "undefined register" else 3)
    ]
    assert lines[: len(expected)] == expected
    assert scene.vm.qmp.get("dev1", "mask") == 0xFFFFFFFF, "the release program that was loaded first did not run"
