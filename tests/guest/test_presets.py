# SPDX-License-Identifier: MIT
"""For each preset of shirq-edu, shirq drives the card on a line that it shares with an in-kernel neighbour."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from guest.guest_python import run, start
from guest.scripts import presets
from shirq_bench.channels.agent import Command
from shirq_bench.channels.log import Kind
from shirq_bench.observe.scene import Scene, handler_name
from shirq_bench.plugin import Boot
from shirq_bench.vm.machine import SHARED_LINE

#: The presets need more BARs than the device has by default; the test sets the preset while the VM is stopped.
MACHINE = SHARED_LINE.with_(devices=("shirq-edu,id=dev0,addr=4,bar0=mem:16384,bar1=port:256", *SHARED_LINE.devices[1:]))
_ROUNDS = 8


@dataclass(frozen=True)
class Card:
    """A preset's programs. User space runs ``handle`` for each event, with the event's r0 in r0."""

    preset: str
    irq: str
    unmask: str
    handle: str
    release: str
    #: A program that user space runs once, before it arms.
    setup: str = ""
    #: The sources that the test raises.
    sources: int = 1


def _claim(test: str, mask: str) -> str:
    return f"{test}\nskip_if_not_zero r0, ours\ndecline\nours: claim\n{mask}"


CARDS = (
    Card(
        "edu",
        irq=_claim("read32 r0, bar0+0x2c", "load r1, 0xffffffff\nwrite32 bar0+0x68, r1\nread32 r1, bar0+0x28"),
        unmask="load r0, 0xffffffff\nwrite32 bar0+0x6c, r0",
        handle="write32 bar0+0x64, r0",
        release="load r0, 0xffffffff\nwrite32 bar0+0x68, r0\nwrite32 bar0+0x64, r0",
        sources=0x80000001,
    ),
    Card(
        "plx9050",
        irq=_claim(
            "read32 r1, bar0+0x4c\nload r0, r1\nand r0, 0x24",
            "and r1, 0xffffffbf\nwrite32 bar0+0x4c, r1\nread32 r1, bar0+0x4c",
        ),
        unmask="load r0, 0x49\nwrite32 bar0+0x4c, r0",
        handle="load r1, 3\nwrite32 bar0+0x100, r1",
        release="load r0, 0\nwrite32 bar0+0x4c, r0",
        sources=2,
    ),
    Card(
        "e1000-like",
        irq=_claim("read32 r0, bar0+0xc0", "load r1, 0xffffffff\nwrite32 bar0+0xd8, r1\nread32 r1, bar0+0xd0"),
        unmask="load r0, 0x7fffffff\nwrite32 bar0+0xd0, r0",
        handle="load r1, 0",
        release="load r0, 0xffffffff\nwrite32 bar0+0xd8, r0",
        sources=0x44,
    ),
    Card(
        "rtl8139-like",
        irq=_claim("read16 r0, bar1+0x3e", "load r1, 0\nwrite16 bar1+0x3c, r1\nread16 r1, bar1+0x3c"),
        unmask="load r0, 0xffff\nwrite16 bar1+0x3c, r0",
        handle="write16 bar1+0x3e, r0",
        release="load r0, 0\nwrite16 bar1+0x3c, r0",
        sources=0x5,
    ),
    Card(
        "nvme-like",
        # The card's causes are in memory: only the interrupt status bit shows whether the card asserts.
        irq=_claim(
            "read16 r0, config+6\nand r0, 8",
            "load r1, 0xffffffff\nwrite32 bar0+0x0c, r1\nread32 r1, bar0+0x0c",
        ),
        unmask="load r0, 0xffffffff\nwrite32 bar0+0x10, r0",
        handle="write32 bar0+0x1004, r0\nwrite32 bar0+0x100c, r0",
        release="load r0, 0\nwrite32 bar0+0x14, r0",
        setup="load r0, 0xffffffff\nwrite32 bar0+0x0c, r0\nload r0, 1\nwrite32 bar0+0x14, r0",
        sources=3,
    ),
    Card(
        "ahci-like",
        irq=_claim("read32 r0, bar0+0x08", "load r1, 0x80000000\nwrite32 bar0+0x04, r1\nread32 r1, bar0+0x04"),
        unmask="load r0, 0x80000002\nwrite32 bar0+0x04, r0",
        # Acknowledge the sources before the summary: in the other order, the summary's latch would be set again.
        handle="load r1, 0xff\nwrite32 bar0+0x190, r1\nwrite32 bar0+0x08, r0",
        release="load r0, 0x80000000\nwrite32 bar0+0x04, r0",
        setup="load r0, 0xff\nwrite32 bar0+0x194, r0",
        sources=0x300,
    ),
    Card(
        "pcnet-like",
        irq=_claim(
            "load r1, 0\nwrite16 bar1+0x12, r1\nread16 r0, bar1+0x10\nand r0, 0x7f00",
            "write16 bar1+0x10, r1\nread16 r1, bar1+0x10",
        ),
        unmask="load r0, 0\nwrite16 bar1+0x12, r0\nload r0, 0x40\nwrite16 bar1+0x10, r0",
        handle="load r1, 0\nwrite16 bar1+0x12, r1\nwrite16 bar1+0x10, r0",
        release="load r0, 0\nwrite16 bar1+0x12, r0\nwrite16 bar1+0x10, r0",
        sources=0x600,
    ),
)


def _start(scene: Scene, card: Card) -> Command:
    vm = scene.vm
    with vm.frozen():
        vm.qmp.set("dev0", "preset", card.preset)
    command = start(
        scene, "dev0", presets.drive, card.irq, card.unmask, card.release, card.setup, card.handle, rounds=_ROUNDS
    )
    command.expect("^armed$", 30)
    return command


def _drive(scene: Scene, card: Card) -> None:
    """Raise the card's sources repeatedly while the neighbour is busy, and judge the line and its handlers."""
    driver = _start(scene, card)
    # Make one trace for each card: the offset between the clocks may have changed while the VM was stopped.
    with scene.record("dev0", "nic0") as recorded, scene.tracing() as handlers:
        for _ in range(_ROUNDS):
            scene.raise_("dev0", bits=card.sources)
            scene.network.ping(2)
            driver.expect("^event ", 30)
        driver.expect("^silence$", 30)
        result = driver.wait(30)
    assert result.status == 0, result.stderr
    assert " 0x0 " not in result.stdout, f"{card.preset}: an event has no pending source"
    assert len(recorded.assertions()) == _ROUNDS, card.preset
    recorded.masked_before_eoi(at_least=_ROUNDS)
    recorded.line_low_at_end()
    recorded.line_never_masked(at_least=_ROUNDS)
    assert recorded.of(Kind.MASK, device="dev0")[-1].value == 1, (
        f"{card.preset}: the release program left the device unmasked"
    )
    irq = scene.irq("eth0")
    handlers.neighbour_lost("nic0", irq, "eth0").require(at_least=_ROUNDS)
    handlers.false_claims("dev0", irq).require(at_least=_ROUNDS)
    own = [call for call in handlers.calls if call.name == handler_name("dev0")]
    assert any(not call.handled for call in own), "no interrupt of the neighbour ran the device's handler"


@pytest.mark.long
def test_every_preset_is_driven_under_sharing(boot: Boot) -> None:
    scene = Scene(boot(MACHINE))
    for card in CARDS:
        _drive(scene, card)


@pytest.mark.long
def test_four_bytes_of_ports_are_not_taken_for_memory(boot: Boot) -> None:
    """A loaded program does not access a port BAR of four bytes as memory.

    Linked programs access memory BARs directly, without a function call. A port BAR must not be accessed in this way.
    """
    scene = Scene(boot(MACHINE))
    with scene.record("dev0") as recorded:
        assert run(scene, "dev0", presets.ports) == ["parked"]
    ports = [e for e in recorded.of(Kind.READ, Kind.WRITE, device="dev0") if e.space == 1]
    assert [(e.kind, e.offset, e.width) for e in ports] == [(Kind.READ, 8, 4), (Kind.WRITE, 12, 4)]
