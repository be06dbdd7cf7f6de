# SPDX-License-Identifier: MIT
"""The UIO face: programs that know /dev/uioN alone use a device on a shared line."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from guest.guest_python import finish, run, start
from guest.port import behind_a_port
from guest.quiet import STORM_ENTRIES, is_quiet
from guest.scripts import uio
from guest.scripts.inguest import INT_RAISE
from shirq_bench.channels.log import Kind
from shirq_bench.observe.scene import Scene
from shirq_bench.plugin import Boot
from shirq_bench.vm.machine import ADDRESSES, LOAD_MODULE, SHARED_LINE, bind, insmod

UIO = "modprobe uio"
#: The guests' kernels have the UIO core, which their images do not let them load by themselves.
FACED = SHARED_LINE.with_(prepare=(*SHARED_LINE.prepare, UIO))

#: With dev2, which has a function-level reset.
WITH_FLR = behind_a_port("pcie=on", of=FACED)


@pytest.fixture
def faced(boot: Boot) -> Scene:
    """A guest of `SHARED_LINE` whose kernel has the UIO core."""
    return Scene(boot(FACED))


@pytest.mark.parametrize("device", ["dev0", "dev1"])
def test_a_program_reads_the_count_and_unmasks_by_writing(faced: Scene, device: str) -> None:
    """read() and poll() follow the count that sysfs has; any number but zero unmasks."""
    script = start(faced, device, uio.counts)
    script.expect("^ready 0 edu 7 0 armed$")
    faced.raise_(device)
    script.expect("^ready$")
    with faced.record(device) as recorded:
        for ready in (True, True, False):
            faced.raise_(device)
            if ready:
                script.expect("^ready$")
        lines = finish(script)
    assert [line for line in lines if not line.startswith("ready")] == [
        "1 1 masked 0xffffffff",
        "a read leaves it masked: EAGAIN masked",
        "armed 0x0",
        *(f"[(3, 1)] {seen} {seen} 0" for seen in (2, 3, 4)),
        "other sizes: EINVAL EINVAL 4 4",
    ]
    assert len(recorded.assertions()) == 3
    is_quiet(faced, device)


@pytest.mark.parametrize(
    ("device", "program", "idle", "count"),
    [
        ("dev0", False, "OK masked 0x0", 2),
        ("dev1", True, "OK masked 0xffffffff", 2),
        ("dev1", False, "ENOTSUP armed", 0),
    ],
)
def test_writing_zero_masks(faced: Scene, device: str, program: bool, idle: str, count: int) -> None:
    """Zero masks by the set's mask program, or by DisINTx; without both it fails on a device that is not masked."""
    script = start(faced, device, uio.masks, program)
    script.expect(f"^{idle}")
    with faced.record(device) as recorded:
        faced.raise_(device)
        faced.run("true")
    assert bool(recorded.assertions()) == (not count)
    script.write("\n")
    assert finish(script)[1:] == [str(1 - (count > 0)), "1 masked OK masked", f"armed {count}"]


def test_a_read_that_waits_unmasks_if_the_face_says_so(faced: Scene) -> None:
    """A program that only reads gets every interrupt, and none while it is at work."""
    script = start(faced, "dev1", uio.only_reads, True)
    for number in (1, 2, 3):
        script.expect("^reads$")
        faced.raise_("dev1")
        script.expect(f"^{number} works masked$")
        with faced.record("dev1") as recorded:
            faced.raise_("dev1", bits=2)
            faced.run("usleep 100000")
        assert not recorded.assertions(), "the device was unmasked while the program was at work"
        script.write("\n")
    finish(script)
    is_quiet(faced, "dev1")


def test_a_read_that_waits_unmasks_soon(boot: Boot) -> None:
    """The time from the program's last access to the unmask, in instructions, is within the bounds of shirq.h.

    60 us are for the way of the program from its last access to sleep, and of the timer to its handler.
    """
    scene = Scene(boot(FACED.with_(vcpus=1, deterministic=True)))
    script = start(scene, "dev1", uio.reads_on, 20)
    script.expect("^ready$", 120)
    with scene.record("dev1") as recorded:
        script.write("\n")
        finish(script)
    raised = [
        entry.time_ns
        for entry in recorded.log.of(Kind.WRITE, device="dev1")
        if (entry.space, entry.offset) == (0, INT_RAISE)
    ]
    rises = [each.start.time_ns for each in recorded.assertions() if each.start]
    assert len(raised) == len(rises) == 20
    for claimed, last, unmasked in zip(rises, raised[1:], rises[1:], strict=False):
        assert unmasked - last < max(50_000, (last - claimed) // 8) + 60_000


def test_a_read_leaves_the_device_masked_otherwise(faced: Scene) -> None:
    script = start(faced, "dev1", uio.only_reads, False)
    script.expect("^reads$")
    faced.raise_("dev1")
    script.expect("^1 works masked$")
    script.write("\n")
    script.expect("^reads$")
    with faced.record("dev1") as recorded:
        faced.raise_("dev1")
        faced.run("usleep 100000")
    assert not recorded.assertions()
    script.signal(signal.SIGKILL)
    script.wait(20)


@pytest.mark.parametrize("program", [True, False])
def test_a_read_that_waits_keeps_the_mask_of_a_written_zero(faced: Scene, program: bool) -> None:
    """Without a means to mask, a zero that finds the device masked for an interrupt keeps this mask."""
    script = start(faced, "dev1", uio.reads_and_masks, program)
    script.expect("^reads$")
    faced.raise_("dev1")
    script.expect("^waits masked 0$")
    faced.raise_("dev1")
    assert finish(script)[2:] == ["2 masked"]


def test_poll_and_reads_that_need_not_wait_unmask_nothing(faced: Scene) -> None:
    script = start(faced, "dev1", uio.only_polls)
    script.expect("^ready$")
    faced.raise_("dev1")
    assert finish(script)[1:] == ["EAGAIN masked", "armed"]


_LATE = Path(__file__).parent / "late"


def test_a_look_that_is_late_leaves_the_next_one_alone(boot: Boot) -> None:
    """The timer of the face begins its function; before that gets the lock, the next interrupt starts the timer."""
    scene = Scene(boot(FACED.with_(modules=(str(_LATE),))))
    scene.run(insmod("late", "function=shirq:shirq_uio_look"))
    assert finish(start(scene, "dev1", uio.interrupted_while_a_look_is_late)) == ["2 masked"]
    assert scene.run("dmesg | grep WARNING || true") == ""


def test_a_face_is_added_and_removed_by_privileged_owners(scene: Scene) -> None:
    """Every errno of SHIRQ_SET_UIO; the kernel loads uio.ko when it is needed; using the face needs no privilege."""
    script = start(scene, "dev1", uio.refused)
    # The image has no /sbin/modprobe, so that the kernel cannot load uio.ko.
    script.expect("^ENOTSUP$")
    scene.run("echo /bin/modprobe >/proc/sys/kernel/modprobe")
    script.write("\n")
    assert finish(script) == [
        "ENOEXEC ENOENT",
        "ENOTSUP",
        "EINVAL EINVAL EINVAL EINVAL EINVAL EINVAL EPERM OK",
        "0 EEXIST edu EBUSY",
        "False 0",
        "8 armed 0x20000ed",
    ]


def test_one_face_is_open_at_a_time_with_its_own_programs(faced: Scene) -> None:
    """Files of the face share the device; the last reference, here a mapping, releases it."""
    script = start(faced, "dev0", uio.one_face_at_a_time)
    script.expect("^ready$")
    faced.raise_("dev0")
    assert [line for line in finish(script) if line != "ready"] == [
        "EBUSY EBUSY armed",
        "EBUSY",
        "1 1 0xffffffff",
        "masked masked parked OK",
    ]


def test_face_keeps_the_settings_of_quiesce(boot: Boot) -> None:
    """The function-level reset at the last close clears a register of the device."""
    assert run(Scene(boot(WITH_FLR)), "dev2", uio.settings) == ["0xffffedcb 0x0"]


@pytest.mark.parametrize("device", ["dev0", "dev1"])
def test_a_killed_uio_program_leaves_the_device_silent(faced: Scene, device: str) -> None:
    """kill -9 while the device is masked and pending: the release program runs, and the next program is served."""
    run(faced, device, uio.add_and_end)
    for _ in range(2):
        script = start(faced, device, uio.killed)
        script.expect("^ready$")
        faced.raise_(device)
        script.expect("^pending$")
        script.signal(signal.SIGKILL)
        assert script.wait(20).status == -signal.SIGKILL
        faced.run(f"until grep -q parked /sys/class/shirq/{ADDRESSES[device]}/state; do usleep 1000; done")
        is_quiet(faced, device)
    faced.network.ping(3)


@pytest.mark.parametrize("how", ["storm", "reset", "gone"])
def test_a_stopped_device_ends_every_wait_until_it_is_reopened(boot: Boot, how: str) -> None:
    """After a storm, a reset from outside, or when the device is gone: EIO, and SIGBUS for mappings."""
    scene = Scene(boot(WITH_FLR.with_(log_entries=STORM_ENTRIES)))
    script = start(scene, "dev2", uio.stopped, how)
    script.expect("^ready$")
    if how == "storm":
        scene.raise_("dev2", bits=5)
    elif how == "gone":
        scene.vm.qmp.set("dev2", "dead", "bars")
        scene.network.ping(1)
    script.expect("^parked$", 60)
    assert not scene.vm.qmp.get("dev2", "pin")
    scene.vm.qmp.set("dev2", "dead", "off")
    script.write("\n")
    script.expect("^again$")
    scene.raise_("dev2")
    mapping = "ENODEV" if how == "gone" else "EIO"
    assert finish(script)[1:] == [
        f"['EIO'] True True EIO EIO {mapping} EIO SIGBUS",
        "parked",
        "again",
        "True",
    ]


def test_unbinding_ends_a_face_that_is_open(faced: Scene) -> None:
    """The files stay dead; the function can be bound again while they are open, and the module stays loaded."""
    script = start(faced, "dev1", uio.unbound)
    script.expect("^ready$")
    faced.run(f"echo {ADDRESSES['dev1']} >/sys/bus/pci/drivers/shirq/unbind")
    faced.run(bind("dev1"))
    assert "Resource temporarily unavailable" in faced.run("! rmmod shirq 2>&1"), (
        "the open file does not hold the module"
    )
    script.write("\n")
    assert finish(script) == ["ready", "['EIO'] EIO EINVAL EINVAL SIGBUS False", "closed"]
    faced.run("rmmod shirq")
    assert faced.run("grep -o '^uio .*' /proc/modules").split()[2] == "0", "the module keeps the UIO core loaded"


#: Clear BAR 2 of both devices, and scan anew: the kernel puts them side by side; firmware gives each its own page.
_SIDE_BY_SIDE = """
for one in 0000:00:06.0 0000:00:07.0; do
    printf '\\0\\0\\0\\0' | dd of=/sys/bus/pci/devices/$one/config bs=1 seek=24 conv=notrunc status=none
    echo 1 >/sys/bus/pci/devices/$one/remove
done
echo 1 >/sys/bus/pci/rescan
"""


@pytest.mark.parametrize("shares", [False, True])
def test_maps_have_the_numbers_of_the_bars(boot: Boot, monkeypatch: pytest.MonkeyPatch, shares: bool) -> None:
    """Holes are maps that cannot be mapped; port BARs are in portio; BAR 5 is not among the maps.

    BAR 2 is smaller than a page, and cannot be mapped if it shares its page with a BAR of the other device.
    """
    bars = "bar1=port:32,bar2=mem:64,bar3=mem:4096,bar4=mem:8192,bar5=mem:4096"
    registers = "bar0+0/32 status; bar3+16/32 scratch0; bar1+16/32 scratch1"
    devices = (f"shirq-edu,id=maps,addr=7,{bars},registers={registers}", "shirq-edu,id=other,addr=6,bar2=mem:64")
    monkeypatch.setitem(ADDRESSES, "maps", "0000:00:07.0")
    scene = Scene(boot(SHARED_LINE.with_(devices=(*SHARED_LINE.devices, *devices)), cold=True))
    scene.run(LOAD_MODULE)
    scene.run(UIO)
    if shares:
        scene.run(_SIDE_BY_SIDE)
    scene.bind("maps")
    assert run(scene, "maps", uio.maps) == [
        "map0 bar0 0x0000000000001000 0",
        "map1 hole 0x0000000000001000 -",
        "map2 hole 0x0000000000001000 -" if shares else "map2 bar2 0x0000000000000040 2",
        "map3 bar3 0x0000000000001000 3",
        "map4 bar4 0x0000000000002000 4",
        "port0 bar1 0x20 1",
        f"0 OK 1 EINVAL 2 {'EINVAL' if shares else 'OK'} 3 OK 4 OK 5 EINVAL EINVAL EINVAL",
    ]
    assert run(scene, "maps", uio.value, 3, 16, 0x1234) == ["0x1234", "0x1234"]


def test_shirqctl_makes_a_card_a_uio_device_and_takes_it_away(faced: Scene) -> None:
    """`shirqctl uio` by the profile that fits; `list` names the UIO device; `--off` needs it to be closed."""
    address = ADDRESSES["dev1"]
    ran = faced.vm.agent.run("shirqctl", "uio", address)
    assert ran.stdout.splitlines() == [f"{address}: /dev/uio0 by shirq-edu, name shirq-edu, version 0"], ran.stderr
    listed = json.loads(faced.run("shirqctl list --json"))
    assert {row["address"]: row["uio"] for row in listed if row["driver"] == "shirq"} == {
        ADDRESSES["dev0"]: None,
        address: "uio0",
    }
    assert "shirq+uio0" in faced.run("shirqctl list")
    script = start(faced, "dev1", uio.killed)
    script.expect("^ready$")
    off = faced.vm.agent.run("shirqctl", "uio", address, "--off")
    assert off.status == 1 and "has an owner already" in off.stderr
    faced.raise_("dev1")
    script.expect("^pending$")
    script.write("\n")
    finish(script)
    faced.run(f"shirqctl uio {address} --off && ! test -e /dev/uio0")
    again = faced.vm.agent.run("shirqctl", "uio", address, "--off")
    assert again.status == 1 and "it has none" in again.stderr
    # Its registers are in a BAR that this device does not have.
    refused = faced.vm.agent.run("shirqctl", "uio", address, "ahci")
    assert refused.status == 3 and "no such BAR" in refused.stderr


def test_a_locked_down_kernel_opens_no_face(faced: Scene) -> None:
    assert run(faced, "dev1", uio.locked_down) == ["EPERM parked"]


def test_a_face_survives_suspend(faced: Scene) -> None:
    """Sleep stops the device as any stop does; the face stays, and the next open() arms."""
    script = start(faced, "dev1", uio.sleeps)
    script.expect("^again$", 120)
    faced.raise_("dev1")
    assert finish(script) == ["['EIO'] EIO", "again", "True"]
    is_quiet(faced, "dev1")


def test_a_node_opened_for_reading_is_mapped_for_reading(faced: Scene) -> None:
    assert run(faced, "dev1", uio.read_only) == ["EINVAL EACCES 0x20000ed"]
