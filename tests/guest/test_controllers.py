# SPDX-License-Identifier: MIT
"""Lines that do not use the I/O APIC's inputs above 15 are judged as far as the log allows, or not at all."""

from __future__ import annotations

import pytest

from shirq_bench.channels.log import Kind, Log
from shirq_bench.errors import CannotJudge
from shirq_bench.observe import invariants, judge
from shirq_bench.plugin import Boot
from shirq_bench.vm.machine import ADDRESSES, Machine, bind, insmod
from shirq_bench.vm.vm import Vm

DEVICE = "shirq-edu,id=dev0,addr=4"
#: dev0 has no driver. The guest counts instructions: without ACPI's timer, a busy host would disturb its clock.
DRIVERLESS = Machine(devices=(DEVICE,), vcpus=1, deterministic=True)
#: dev0 has the kernel driver `neighbour`, which acknowledges its interrupts.
DRIVEN = DRIVERLESS.with_(prepare=(insmod("neighbour"), bind("dev0", "neighbour")))
UNMASK = (
    f"cd /sys/bus/pci/devices/{ADDRESSES['dev0']} && echo 1 >enable && read start rest <resource"
    " && devmem $((start + 0x6c)) 32 1"
)


def served(vm: Vm, count: int) -> Log:
    """Raise ``count`` interrupts, each after the previous one was served; returns the log."""
    with vm.follow() as reader:
        for _ in range(count):
            vm.qmp.set("dev0", "raise", 1)
            vm.agent.succeed("true")
            # The handler has acknowledged.
            assert vm.qmp.get("dev0", "status") == 0
        return reader.log()


@pytest.mark.parametrize(
    "machine",
    [DRIVEN.with_(parameters="acpi=off"), DRIVEN.with_(extra=("-machine", "pc"))],
    ids=["acpi-off", "machine-pc"],
)
@pytest.mark.long
def test_a_line_on_an_input_below_16_is_judged(boot: Boot, machine: Machine) -> None:
    """The I/O APIC also delivers the lines on its inputs below 16, so that the log has all their interrupts."""
    vm = boot(machine)
    log = served(vm, 5)
    gsi = judge.line_of(log, ["dev0"])
    assert gsi < 16
    assert judge.lines_in_use(log) == [gsi]
    judge.silent_before_eoi(log, "dev0", gsi).require(at_least=5)
    judge.no_line_high_longer_than(log, invariants.forgotten_ns(vm), gsi).require(at_least=5)
    judge.line_low_at_end(log, gsi).require()
    assert invariants.broken(vm) == ""


def test_interrupts_through_the_8259_are_judged_by_levels_alone(boot: Boot) -> None:
    """If a line's interrupts go through the 8259, the judges use only the line's levels."""
    vm = boot(DRIVEN.with_(parameters="noapic"))
    log = served(vm, 5)
    assert len(judge.assertions(log, "dev0")) == 5
    assert not log.of(Kind.DELIVER)
    with pytest.raises(CannotJudge, match="noapic"):
        judge.line_of(log, ["dev0"])
    for gsi in judge.lines_in_use(log):
        assert (
            "by its level alone" in judge.no_line_high_longer_than(log, invariants.forgotten_ns(vm), gsi).require().note
        )
        with pytest.raises(CannotJudge, match="noapic"):
            judge.line_never_masked(log, gsi)
    assert invariants.broken(vm) == ""


@pytest.mark.invariants_broken("the line stays high on purpose", line_of="dev0")
def test_a_broken_line_on_the_8259_is_not_passed(boot: Boot) -> None:
    """If no handler serves an interrupt, the log cannot show whether the line was disabled; the judge reports that."""
    vm = boot(DRIVERLESS.with_(parameters="noapic"))
    vm.agent.succeed(UNMASK)
    vm.qmp.set("dev0", "raise", 1)
    assert vm.qmp.get("dev0", "pin")
    said = invariants.broken(vm)
    assert "cannot judge" in said
    assert "is high to the end of the log" in said
    assert "noapic" in said
