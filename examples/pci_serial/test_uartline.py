# SPDX-License-Identifier: MIT
"""The driver on a shared line. The tests judge the cards' pins and the line, not the driver's own reports."""

from __future__ import annotations

import pytest

from serial_cards import ADDRESSES, MACHINE
from shirq_bench.observe.invariants import forgotten_ns
from shirq_bench.observe.judge import (
    BrokenRuleError,
    false_claims,
    line_low_at_end,
    line_of,
    neighbour_lost,
)
from shirq_bench.observe.record import record
from shirq_bench.observe.scene import Scene
from shirq_bench.plugin import Boot
from shirq_bench.vm.machine import insmod
from shirq_bench.vm.vm import Vm


def wait_received(vm: Vm, card: str, text: str) -> None:
    path = f"/sys/bus/pci/devices/{ADDRESSES[card]}/received"
    vm.agent.succeed(f"until grep -qxF '{text}' {path}; do usleep 10000; done", deadline=60)


def send_to_an_undriven(vm: Vm, card: str, wire: str) -> None:
    """Send a byte to a card without a driver, and wait until the card has received it."""
    vm.wires[wire].sendall(b"x")
    # The line status register is 0x61, the letter "a", when data is ready and the transmitter is idle.
    status = f"dd if=/sys/bus/pci/devices/{ADDRESSES[card]}/resource0 bs=1 skip=5 count=1 2>/dev/null"
    vm.agent.succeed(f"until {status} | grep -q a; do usleep 10000; done", deadline=60)


def test_what_arrives_is_read_and_the_line_falls(vm: Vm) -> None:
    with record(vm, "uart0") as run:
        vm.wires["wire0"].sendall(b"hello")
        wait_received(vm, "uart0", "hello")
    assert run.assertions(), "nothing interrupted"
    run.no_line_high_longer_than(forgotten_ns(vm))
    run.line_low_at_end()
    run.line_never_masked()


def test_two_cards_at_once_are_served_without_false_claims(vm: Vm) -> None:
    """Two cards that interrupt at once are both served, and neither claims an interrupt of the other."""
    scene = Scene(vm)
    with scene.tracing() as handlers:
        for number in range(10):
            with vm.frozen():
                vm.wires["wire0"].sendall(b"%d" % number)
                vm.wires["wire1"].sendall(b"%d" % (9 - number))
            wait_received(vm, "uart0", "0123456789"[: number + 1])
            wait_received(vm, "uart1", "9876543210"[: number + 1])
    log, fit = handlers.log, handlers.fit
    assert log and fit
    line_low_at_end(log, line_of(log, ["uart0", "uart1"])).require()
    for card, address in ADDRESSES.items():
        irq = scene.irq(address)
        neighbour_lost(log, handlers.calls, fit, card, irq, address).require(at_least=10)
        false_claims(log, handlers.calls, fit, card, irq, address).require(at_least=10)


def test_a_driver_that_goes_leaves_its_cards_silent(vm: Vm) -> None:
    with record(vm, "uart0") as run:
        vm.agent.succeed("rmmod uartline")
        send_to_an_undriven(vm, "uart0", "wire0")
    assert run.assertions() == []


@pytest.mark.invariants_broken("the line is left high", line_of="uart0")
def test_driver_that_does_not_mask_on_exit_is_detected(boot: Boot) -> None:
    """A driver that forgets to mask its device on the way out is detected."""
    forgetful = (insmod("uartline", "forgetful=1"), *MACHINE.prepare[1:])
    vm = boot(MACHINE.with_(prepare=forgetful))
    with record(vm, "uart0", settled=False) as run:
        vm.agent.succeed("rmmod uartline")
        send_to_an_undriven(vm, "uart0", "wire0")
    with pytest.raises(BrokenRuleError, match="is high at the end of the log"):
        run.line_low_at_end()
