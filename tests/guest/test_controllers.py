# SPDX-License-Identifier: MIT
"""Lines are judged whichever interrupt controller delivers them: the I/O APIC or the 8259s, on q35 and on pc."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from shirq_bench.channels.log import I8259, IOAPIC, OF_CONTROLLER, Kind, Log
from shirq_bench.errors import CannotJudge
from shirq_bench.observe import invariants, judge
from shirq_bench.observe.scene import Scene, handler_name
from shirq_bench.observe.triggers import PinFalls
from shirq_bench.plugin import Boot
from shirq_bench.replay.play import Stimulus, schedule
from shirq_bench.report import model
from shirq_bench.vm import savepoint
from shirq_bench.vm.machine import ADDRESSES, SHARED_LINE, Machine, bind, insmod
from shirq_bench.vm.vm import Vm

PC = ("-machine", "pc")
#: What a guest is booted with, and the controller that then delivers its lines.
GUESTS: dict[str, tuple[dict[str, Any], str]] = {
    "q35": ({}, IOAPIC),
    "q35-noapic": ({"parameters": "noapic"}, I8259),
    "q35-acpi-off": ({"parameters": "acpi=off"}, IOAPIC),
    "pc": ({"extra": PC}, IOAPIC),
    "pc-noapic": ({"extra": PC, "parameters": "noapic"}, I8259),
    "pc-acpi-off": ({"extra": PC, "parameters": "acpi=off"}, IOAPIC),
}
#: The names that Linux has for the controllers in /proc/interrupts.
LINUX_NAMES = {IOAPIC: "IO-APIC", I8259: "XT-PIC"}
#: The guests count instructions: without ACPI's timer, a busy host would disturb their clock.
DRIVERLESS = Machine(devices=("shirq-edu,id=dev0,addr=4",), vcpus=1, deterministic=True)
#: dev0 has the kernel driver `neighbour`, which acknowledges its interrupts.
DRIVEN = DRIVERLESS.with_(prepare=(insmod("neighbour"), bind("dev0", "neighbour")))
UNMASK = (
    "cd /sys/bus/pci/devices/{} && {{ [ ! -e driver ] || echo {} >driver/unbind; }} && echo 1 >enable"
    " && read start rest <resource && devmem $((start + 0x6c)) 32 1"
)


def without_driver(device: str) -> str:
    """Guest script: take the device's driver away, and let the device assert."""
    return UNMASK.format(ADDRESSES[device], ADDRESSES[device])


@pytest.fixture(params=GUESTS)
def name(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture
def scene(boot: Boot, name: str) -> Scene:
    """A guest of `SHARED_LINE` whose lines the named controller delivers."""
    return Scene(boot(SHARED_LINE.with_(vcpus=1, deterministic=True, **GUESTS[name][0])))


def controllers(log: Log, line: int) -> set[str]:
    """The controllers that delivered the line."""
    return {entry.device for entry in log.of(Kind.DELIVER, offset=line)}


def test_three_devices_share_a_line_of_any_controller(scene: Scene, name: str) -> None:
    """Every claim masks its device before the line can come again, and the neighbour loses no interrupt."""
    controller = GUESTS[name][1]
    drivers = {device: scene.drive(device) for device in ("dev0", "dev1")}
    with scene.tracing() as handlers, scene.record("dev0", "dev1", "nic0") as run:
        for devices in (("dev0",), ("dev1",), ("dev0", "dev1")) * 4:
            scene.network.ping(2)
            scene.raise_(*devices)
            for device in devices:
                drivers[device].next_event()
    assert controllers(run.log, run.gsi) == {controller}
    assert judge.lines_in_use(run.log) == [run.gsi]
    for device in drivers:
        run.masked_before_eoi(device, at_least=8)
    run.line_low_at_end()
    run.no_line_high_longer_than(invariants.forgotten_ns(scene.vm), at_least=20)
    irq = scene.irq("eth0")
    handlers.neighbour_lost("nic0", irq, "eth0").require(at_least=20)
    for device in drivers:
        handlers.false_claims(device, irq).require(at_least=8)
    assert LINUX_NAMES[controller] in next(
        line for line in scene.run("cat /proc/interrupts").splitlines() if handler_name("dev0") in line
    )
    assert invariants.broken(scene.vm) == ""
    picture = model.build(run.log, title=name)
    (served,) = (track for track in picture.tracks if track.name == "DELIVER to EOI")
    assert len(served.spans) == len(run.handlings()) >= 20


def test_a_device_that_nobody_silences_is_found_on_any_controller(scene: Scene, name: str) -> None:
    """dev1 asserts without a driver for 1 ms: each interrupt ends with its pin high."""
    scene.run(without_driver("dev1"))
    with scene.tracing() as handlers, scene.record("dev1") as run:
        with scene.vm.frozen():
            stimuli = [Stimulus(1000, "dev1", "raise 1"), Stimulus(1_001_000, "dev1", "lower 1")]
            schedule(scene.vm, scene.vm.now_ns(), stimuli)
        run.wait(PinFalls("dev1"))
        scene.network.ping(2)
    assert controllers(run.log, run.gsi) == {GUESTS[name][1]}
    for rule, what in (
        (judge.masked_before_eoi, "dev1 was claimed and never masked"),
        (judge.silent_before_eoi, "dev1 was claimed and still asserted"),
    ):
        findings = rule(run.log, "dev1", run.gsi).findings
        assert len(findings) >= 19
        assert all(what in str(finding) for finding in findings)
    irq = scene.irq("eth0")
    (lost,) = handlers.neighbour_lost("dev1", irq, handler_name("dev1")).findings
    assert "dev1 stopped asserting, but not during a call of its handler" in str(lost)
    handlers.neighbour_lost("nic0", irq, "eth0").require()


@pytest.mark.parametrize("name", ["q35-noapic", "pc-noapic"])
@pytest.mark.invariants_broken("the line stays high on purpose", line_of="dev0")
def test_a_line_that_nobody_serves_is_found_at_the_8259(boot: Boot, name: str) -> None:
    vm = boot(DRIVERLESS.with_(**GUESTS[name][0]))
    vm.agent.succeed(without_driver("dev0"))
    vm.qmp.set("dev0", "raise", 1)
    assert vm.qmp.get("dev0", "pin")
    assert invariants.broken(vm) == ""
    end_ns = vm.now_ns() + 2 * invariants.forgotten_ns(vm)
    while vm.now_ns() < end_ns:
        vm.agent.succeed("sleep 5", deadline=60)
    assert "was high without a delivery or EOI for" in invariants.broken(vm)


def served(vm: Vm, count: int) -> Log:
    """Raise ``count`` interrupts of dev0, each after the previous one was served; returns the log of these."""
    with vm.follow() as reader:
        mark = reader.log().mark
        for _ in range(count):
            vm.qmp.set("dev0", "raise", 1)
            vm.agent.succeed("true")
            # The handler has acknowledged.
            assert vm.qmp.get("dev0", "status") == 0
        return reader.log().since(mark)


@pytest.mark.parametrize("name", ["q35-noapic", "pc-noapic"])
def test_masks_of_each_interrupt_at_the_8259_are_no_verdict(boot: Boot, name: str) -> None:
    """Linux masks the line in each interrupt: whether something else masks it, too, the log does not tell."""
    log = served(boot(DRIVEN.with_(**GUESTS[name][0])), 3)
    line = judge.line_of(log, ["dev0"])
    judge.silent_before_eoi(log, "dev0", line).require(at_least=3)
    with pytest.raises(CannotJudge, match=f"line {line} is masked at the end of each of its 3 interrupts"):
        judge.line_never_masked(log, line)


def actions(log: Log) -> Iterator[tuple[Kind, str, int, int]]:
    """What the controllers did: kind, controller, line and value."""
    return ((entry.kind, entry.device, entry.offset, entry.value) for entry in log.of(*OF_CONTROLLER))


@pytest.mark.parametrize("name", ["q35-noapic", "pc-noapic"])
def test_the_8259s_return_to_their_state_when_a_guest_is_rewound(boot: Boot, name: str) -> None:
    """The clone's log states the 8259s; each run from a savepoint changes lines and masks as the first did."""
    vm = boot(DRIVEN.with_(**GUESTS[name][0]))
    begun = vm.log().epochs()[-1]
    line = judge.line_of(served(vm, 1), ["dev0"])
    assert (Kind.LINE_MASK, I8259, line, 0) in {*actions(begun)}
    first = vm.savepoint()
    runs = []
    for _ in range(3):
        runs.append([action for action in actions(served(vm, 2)) if action[2] == line and action[1] == I8259])
        vm.rewind(first)
    once = [Kind.LINE, Kind.DELIVER, Kind.LINE_MASK, Kind.EOI, Kind.LINE, Kind.LINE_MASK]
    assert [kind for kind, *_ in runs[0]] == once * 2
    assert runs[1:] == runs[:1] * 2
    with vm.frozen():
        vm.qmp.set("dev0", "raise", 1)
        vm.qmp.set("dev0", "lower", 1)
        vm.qmp.set("dev0", "raise", 1)
        pending = vm.savepoint()
        for _ in range(2):
            mark = vm.log().mark
            vm.qmp.set("dev0", "lower", 1)
            assert (Kind.LINE, I8259, line, 0) in {*actions(vm.log().since(mark))}
            vm.rewind(pending, go=False)
            assert savepoint.differences(vm, pending) == []
