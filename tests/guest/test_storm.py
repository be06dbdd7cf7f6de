# SPDX-License-Identifier: MIT
"""A shirq device never keeps a shared line busy: a storm ends, neighbours live, and the owner gets the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from guest.guest_python import ACKNOWLEDGES, finish, start
from guest.quiet import STORM_ENTRIES, line_falls
from shirq_bench.channels.log import Kind
from shirq_bench.observe.invariants import allowed_ns
from shirq_bench.observe.judge import line_never_masked, line_of
from shirq_bench.observe.scene import Scene
from shirq_bench.plugin import Boot
from shirq_bench.vm.machine import ADDRESSES, SHARED_LINE

#: The handler calls within which a storm must have ended.
CALLS = 5000
#: The limits from kmod/README.md: for ending it by the device's own means, and for masking the line otherwise.
ENDED, LINE_OFF = 2700, 3900

#: In the guest: an irq program that claims correctly, but whose mask has no effect on the device.
USELESS_MASK = """
useless = dataclasses.replace(SET, irq=shirq.assemble('''
    read32 r0, bar0+0x2c, gone_if_ones
    skip_if_not_zero r0, ours
    decline
ours:
    claim
    load r1, 1
    write32 bar0+0x04, r1   # LIVENESS: no mask
'''))
"""

#: In the guest: a release program that silences nothing either.
USELESS_RELEASE = USELESS_MASK + "useless = dataclasses.replace(useless, release=shirq.assemble('read32 r0, bar0'))\n"

_STORM = """
device = shirq.Device.open(ADDRESS)
device.load(useless)
device.set_master(True)
device.arm(auto_unmask=False)
registers = device.mmap(0)
report("armed")
while (event := device.read(timeout=TIMEOUT)).type is shirq.EventType.IRQ:
    pass
flags = abi.Quarantine(event.flags)
report(event.type.name, flags.name, hex(event.r[0]), state(), bool(command() & 4))
"""


def calls(scene: Scene, device: str) -> int:
    """How often the device's handler ran."""
    folder = f"/sys/class/shirq/{ADDRESSES[device]}/stats"
    return sum(int(scene.run(f"cat {folder}/{name}")) for name in ("claims", "declines", "silent"))


def test_ineffective_mask_ends_in_quarantine_by_disintx(scene: Scene) -> None:
    """A mask without effect ends in quarantine by DisINTx, and the neighbour lives."""
    script = start(
        scene,
        "dev0",
        USELESS_RELEASE
        + _STORM
        + """
print("mapping:", child(lambda: registers.read32(0)))
print("refused:", fails(mmap.mmap, device.fileno(), 4096), fails(device.exec, SET.release),
      fails(device.pread, 0, 0, 4), fails(device.set_master, True), fails(device.unmask, event.seq), fails(device.mask),
      fails(os.read, device.fileno(), 64), abi.InfoFlag.QUARANTINED in device.info.flags)
report(state("quarantine"), stat("storms_masked"), stat("remasks"), stat("line_off"))
proceed()
device.load(SET)
print("with another set:", state(), fails(device.pread, 0, 0, 4))
device.arm()
report("armed again", state(), state("quarantine"))
event = device.read(timeout=TIMEOUT)
report(hex(event.r[0]), hex(device.mmap(0).read32(0)))
""",
    )
    script.expect("^armed$")
    mark = scene.vm.log().mark
    scene.raise_("dev0", bits=5)
    script.expect("^QUARANTINED MASKED 0x5 quarantined False$")
    script.expect("^masked released 1 1 0$")
    scene.network.ping(5)
    line_falls(scene, "dev0", mark)
    log = scene.vm.log().since(mark)
    line_never_masked(log, line_of(log, ["dev0"])).require(at_least=5)
    assert calls(scene, "dev0") < CALLS
    script.write("\n")
    # The release program of the new set has acknowledged the storming source.
    script.expect("^armed again armed masked over$")
    scene.raise_("dev0", bits=6)
    assert finish(script)[2:] == [
        "mapping: SIGBUS",
        "refused: EIO EIO EIO EIO ENXIO ENXIO ENXIO True",
        "masked released 1 1 0",
        "with another set: quarantined EIO",
        "armed again armed masked over",
        "0x6 0x20000ed",
    ]


def test_release_program_ends_storm_of_device_without_disintx(scene: Scene) -> None:
    """The release program ends the storm of a device without DisINTx."""
    counts = "sum(map(stat, ('claims', 'declines', 'silent')))"
    script = start(
        scene,
        "dev1",
        USELESS_MASK + _STORM + f"report(state('quarantine'), stat('line_off'), {counts} <= {ENDED})\nproceed()",
    )
    script.expect("^armed$")
    mark = scene.vm.log().mark
    scene.raise_("dev1", bits=3)
    script.expect("^QUARANTINED MASKED 0x3 quarantined False$")
    script.expect("^masked released 0 True$")
    scene.network.ping(5)
    line_falls(scene, "dev1", mark)
    assert calls(scene, "dev1") < CALLS
    script.write("\n")
    finish(script)


@pytest.mark.splats_expected
def test_unstoppable_storm_masks_the_line_once_and_is_logged(boot: Boot) -> None:
    """If no rung ends the storm, the line is masked once, briefly, and the kernel log says so.

    dev1 has neither DisINTx nor power management: only the kernel can end a storm that the module cannot.
    """
    scene = Scene(boot(SHARED_LINE.with_(log_entries=STORM_ENTRIES)))
    script = start(scene, "dev1", USELESS_RELEASE + _STORM + "proceed()")
    script.expect("^armed$")
    mark = scene.vm.log().mark
    scene.raise_("dev1")
    script.expect("^QUARANTINED MASKED 0x1 quarantined False$", deadline=60)
    folder = f"/sys/class/shirq/{ADDRESSES['dev1']}"
    scene.run(f"until grep -q failed {folder}/quarantine; do usleep 20000; done", deadline=60)
    assert scene.run(f"cat {folder}/quarantine {folder}/stats/line_off {folder}/stats/rung_failed").split() == [
        "masked",
        "failed",
        "1",
        "1",
    ]
    assert "silenced, but IRQ" in scene.run("dmesg | grep 'nothing is left to try'")
    log = scene.vm.log().since(mark)
    gsi = line_of(log, ["dev1"])
    masks = log.of(Kind.LINE_MASK, offset=gsi)
    assert [entry.value for entry in masks[:2]] == [1, 0], "the line was not masked and opened again"
    assert masks[1].time_ns - masks[0].time_ns < allowed_ns(scene.vm, 2)
    before = [entry for entry in log.of(Kind.DELIVER, offset=gsi) if entry.time_ns < masks[0].time_ns]
    assert len(before) <= LINE_OFF, "the line was masked too late"
    scene.vm.qmp.set("dev1", "lower", 1)
    script.write("\n")
    finish(script)


def test_device_masked_again_in_time_is_not_quarantined(scene: Scene) -> None:
    """A device that is masked again in time is not quarantined.

    Somebody else clears DisINTx, by which the device is masked: the breaker sets it again.
    """
    script = start(
        scene,
        "dev0",
        """
        device = shirq.Device.open(ADDRESS)
        device.load(shirq.ProgramSet.from_text(
            irq="read32 r0, bar0+0x2c\\nskip_if_not_zero r0, ours\\ndecline\\nours:\\nclaim\\n"
                "load r1, 4\\nwrite8 config+5, r1",
            unmask="load r0, -1\\nwrite32 bar0+0x6c, r0\\nload r0, 0\\nwrite8 config+5, r0",
            release="load r0, -1\\nwrite32 bar0+0x68, r0"))
        device.arm(auto_unmask=False)
        report("armed")
        assert device.read(timeout=TIMEOUT).seq == 1
        set_command(command() & ~0x400)
        event = device.read(timeout=TIMEOUT)
        report(event.type.name, event.seq, hex(command() & 0x400), state(), state("quarantine"), stat("remasks"))
        proceed()
        # A regular unmask resets the count of earlier storms.
        device.unmask(event.seq)
        event = device.read(timeout=TIMEOUT)
        set_command(command() & ~0x400)
        event = device.read(timeout=TIMEOUT)
        report(event.type.name, event.seq, state(), state("quarantine"), stat("remasks"))
        proceed()
        """,
    )
    script.expect("^armed$")
    mark = scene.vm.log().mark
    scene.raise_("dev0")
    script.expect("^IRQ 2 0x400 masked none 1$")
    scene.network.ping(3)
    line_falls(scene, "dev0", mark)
    assert calls(scene, "dev0") < CALLS
    script.write("\n")
    script.expect("^IRQ 4 masked none 2$")
    script.write("\n")
    finish(script)


#: In the guest: an acknowledging set, and one whose acknowledgement has no effect.
_ACKNOWLEDGES = (
    ACKNOWLEDGES
    + """
useless = dataclasses.replace(acknowledging, irq=shirq.assemble(
    "read32 r0, bar0+0x2c\\nskip_if_not_zero r0, ours\\ndecline\\nours:\\nclaim\\nwrite32 bar0+0x04, r0"))
"""
)


def test_acknowledging_device_gets_every_irq_without_unmasking(scene: Scene) -> None:
    """An acknowledging device gets every interrupt without unmasking."""
    script = start(
        scene,
        "dev1",
        _ACKNOWLEDGES
        + """
device = shirq.Device.open(ADDRESS)
device.load(acknowledging)
device.arm()
report("armed")
proceed()
seen = events = 0
while seen != (1 << 20) - 1:
    seen |= device.read(timeout=TIMEOUT).r[0]
    events += 1
print(stat("claims"), events, stat("unmasks"), stat("silent"), state())
""",
    )
    script.expect("^armed$")
    for number in range(20):
        scene.raise_("dev1", bits=1 << number)
        scene.wait_level("dev1", False)
    script.write("\n")
    assert finish(script)[1:] == ["20 20 0 0 armed"]


def test_acknowledging_device_is_quarantined_by_its_rate_alone(scene: Scene) -> None:
    """An acknowledging device is quarantined by its rate alone."""
    script = start(
        scene,
        "dev0",
        _ACKNOWLEDGES
        + _STORM.replace("device.load(useless)", "device.load(useless)\ndevice.set_quiesce(max_rate=500)")
        + "report(state('quarantine'), stat('storms_rate'), stat('lost'))\nproceed()",
    )
    script.expect("^armed$")
    mark = scene.vm.log().mark
    scene.raise_("dev0", bits=9)
    script.expect("^QUARANTINED RATE 0x9 quarantined False$")
    script.expect("^rate released ")
    scene.network.ping(3)
    line_falls(scene, "dev0", mark)
    assert calls(scene, "dev0") < CALLS
    script.write("\n")
    assert finish(script)[-1].startswith("rate released 1 ")


def test_neighbour_of_masked_pending_device_trips_no_breaker(
    scene: Scene,
) -> None:
    """A busy neighbour of a masked device whose status is pending never triggers the breaker.

    The claim test looks at the raw status, which stays set: the breaker must not even run the program.
    """
    script = start(
        scene,
        "dev1",
        """
        device = shirq.Device.open(ADDRESS)
        raw_status = shirq.assemble(
            "read32 r0, bar0+0x24\\nskip_if_not_zero r0, ours\\ndecline\\nours:\\nclaim\\n"
            "load r1, -1\\nwrite32 bar0+0x68, r1")
        device.load(dataclasses.replace(SET, irq=raw_status))
        device.arm(auto_unmask=False)
        report("armed")
        assert device.read(timeout=TIMEOUT).seq == 1
        report("masked")
        proceed()
        print(stat("silent") >= 3000, stat("remasks"), state(), state("quarantine"))
        """,
    )
    script.expect("^armed$")
    scene.raise_("dev1")
    script.expect("^masked$")
    mark = scene.vm.log().mark
    folder = f"/sys/class/shirq/{ADDRESSES['dev1']}/stats"
    while int(scene.run(f"cat {folder}/silent")) < 3000:
        scene.network.ping(300, deadline=60)
    log = scene.vm.log().since(mark)
    assert not log.of(Kind.READ, Kind.WRITE, device="dev1"), "the masked device was touched"
    script.write("\n")
    assert finish(script)[2:] == ["True 0 masked none"]


#: In the guest: MASK holds the device's pending source back while a broken neighbour storms; then the owner unmasks.
_HOLDS_BACK = """
device = shirq.Device.open(ADDRESS)
device.load(SET, shirq.assemble(MASK) if MASK else ())
device.arm(auto_unmask=AUTO)
seq = device.mask()
report("masked", seq)
proceed()
while not stat("remasks"):
    time.sleep(0.01)
report(select.select([device], [], [], 0.2)[0], state(), stat("claims"), stat("unmasks"))
if AUTO:
    os.set_blocking(device.fileno(), False)
    report(fails(os.read, device.fileno(), 64), fails(os.read, device.fileno(), 64), state(), stat("unmasks"))
    os.set_blocking(device.fileno(), True)
device.unmask(seq)
event = device.read(timeout=TIMEOUT)
report(event.type.name, event.seq, hex(event.r[0]), event.lost, state())
device.mmap(0).write32(edu["INT_ACK"], event.r[0])
device.unmask(event.seq)
report("unmasked", state(), stat("unmasks"), stat("claims"), stat("storms_masked"))
proceed()
report(device.read(timeout=TIMEOUT).seq)
"""


@pytest.mark.parametrize("auto", [False, True], ids=["unmask by call", "unmask by read"])
def test_a_mask_holds_while_a_broken_neighbour_storms(boot: Boot, tmp_path: Path, auto: bool) -> None:
    """The breaker runs the irq program, which claims a source that the owner masked: its event waits for the unmask."""
    vm = boot(SHARED_LINE.with_(deterministic=True, vcpus=1, log_entries=1 << 21))
    vm.qmp.set("/machine/q35/ioapic", "storm-pause", False)
    scene = Scene(vm)
    script = start(scene, "dev0", f"AUTO, MASK = {auto}, ''\n" + _HOLDS_BACK)
    script.expect("^masked 1$", deadline=120)
    vm.qmp.set("dev0", "raise", 1)
    # dev1, parked, without DisINTx and without a loaded set, asserts for 20 ms.
    with vm.frozen():
        now = vm.now_ns()
        path = tmp_path / "storm"
        path.write_text(
            f"@{now + 1_000_000} unmask 1\n@{now + 1_000_000} raise 1\n@{now + 21_000_000} lower 1\n"
            f"@{now + 21_000_000} mask 1\n"
        )
        vm.qmp.set("dev1", "schedule", str(path))
    script.write("\n")
    script.expect("^unmasked armed 2 1 0$", deadline=120)
    vm.qmp.set("dev0", "raise", 2)
    script.write("\n")
    held = ["[] masked 0 0", *(["EAGAIN EAGAIN masked 0"] if auto else [])]
    assert finish(script, deadline=120)[1:] == [*held, "IRQ 2 0x1 0 masked", "unmasked armed 2 1 0", "3"]


def test_a_mask_without_effect_by_call_ends_in_quarantine_too(scene: Scene) -> None:
    """Neither DisINTx nor the irq program has an effect: SHIRQ_MASK does not prevent the quarantine."""
    scene.vm.qmp.set("dev0", "disintx", "no-op")
    script = start(
        scene,
        "dev0",
        USELESS_MASK
        + """
device = shirq.Device.open(ADDRESS)
device.load(useless)
device.arm(auto_unmask=False)
device.mask()
report("masked")
event = device.read(timeout=TIMEOUT)
report(event.type.name, abi.Quarantine(event.flags).name, hex(event.r[0]), state(), event.lost, stat("lost"))
proceed()
""",
    )
    script.expect("^masked$", deadline=120)
    mark = scene.vm.log().mark
    scene.raise_("dev0", bits=5)
    # The interrupt that was held back for the owner is dropped.
    script.expect("^QUARANTINED MASKED 0x5 quarantined 1 1$", deadline=120)
    line_falls(scene, "dev0", mark)
    assert calls(scene, "dev0") < CALLS
    script.write("\n")
    finish(script, deadline=120)


def test_quarantine_over_before_its_worker_has_voided_mapping(boot: Boot) -> None:
    """A quarantine that is over before its worker runs has voided the mapping.

    A real-time owner reads of the quarantine and arms, with a better set, before the worker has revoked its mappings.
    """
    scene = Scene(boot(SHARED_LINE.with_(deterministic=True, vcpus=1, log_entries=1 << 21)))
    script = start(
        scene,
        "dev0",
        USELESS_MASK
        + """
device = shirq.Device.open(ADDRESS)
device.load(useless)
device.arm(auto_unmask=False)
registers = device.mmap(0)
registers.read32(0) # From now on the page is there.
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
report("armed")
while device.read(timeout=TIMEOUT).type is shirq.EventType.IRQ:
    pass
device.load(SET)
device.arm(auto_unmask=False)
os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
report(state(), child(lambda: registers.write32(0x6c, 0xffffffff)))
proceed()
""",
    )
    script.expect("^armed$", deadline=120)
    scene.vm.qmp.set("dev0", "raise", 1)
    script.expect("^(armed|masked) SIGBUS$", deadline=120)
    script.write("\n")
    finish(script, deadline=120)
