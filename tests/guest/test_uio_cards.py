# SPDX-License-Identifier: MIT
"""Cards whose vendors ship UIO modules, each emulated with its registers: `shirqctl uio` and the profile that fits."""

from __future__ import annotations

import signal
from dataclasses import dataclass

import pytest

from guest.guest_python import start
from guest.scripts import uio
from shirq_bench.observe.scene import Scene
from shirq_bench.plugin import Boot
from shirq_bench.vm.machine import ADDRESSES, LOAD_MODULE, SHARED_LINE

_ROUNDS = 4
#: A PLX bridge's INTCSR: enable and state of one input, the bridge's own enable, and the other bits.
_INTCSR_9030 = "bar0+0x4c/{bits}[0] enable[0]; bar0+0x4c/{bits}[1] scratch0; bar0+0x4c/{bits}[2] status[0] ro"
_INTCSR_9056 = "bar0+0x68/32[8] gate; bar0+0x68/32[11] enable[0]; bar0+0x68/32[15] status[0] ro"


@dataclass(frozen=True)
class Card:
    """A card: its IDs, BARs and registers.

    ``enable`` are writes of the program to maps and ports, (BAR, offset, value), when it begins. ``again`` is such a
    write after each interrupt, for a program whose module had no write(); others write 1 to the node.
    """

    ids: tuple[int, int, int, int]
    bars: str
    registers: str
    enable: tuple[tuple[int, int, int], ...] = ()
    again: tuple[int, int, int] | None = None
    #: The irq program acknowledges, so that the test must not withdraw the source.
    acknowledges: bool = False


CARDS = {
    "cif": Card(
        (0x10B5, 0x9030, 0x1518, 0x0430),
        "bar0=mem:128,bar2=mem:8192",
        _INTCSR_9030.format(bits=8),
        enable=((0, 0x4C, 0x1),),
        again=(0, 0x4C, 0x1),
    ),
    "netx": Card(
        (0x15CF, 0x0000, 0x0000, 0x0000),
        "bar0=mem:65536",
        "bar0+0xffe0/32[15:0] status ro; bar0+0xfff0/32[15:0] enable; bar0+0xfff0/32[31] gate",
        enable=((0, 0xFFF0, 0x8000FFFF),),
        again=(0, 0xFFF0, 0x8000FFFF),
    ),
    "sercos3": Card(
        (0x10B5, 0x9030, 0x1971, 0x3530),
        "bar0=mem:128,bar2=mem:4096,bar3=mem:4096,bar4=mem:4096,bar5=mem:4096",
        "bar4+0x8/32 enable; bar4+0x18/32 status ro",
        enable=((4, 0x8, 0xFF),),
    ),
    "mf624": Card(
        (0x186C, 0x0624, 0x186C, 0x0624),
        "bar0=mem:128,bar2=mem:4096,bar4=mem:4096",
        f"{_INTCSR_9030.format(bits=32)}; bar0+0x4c/32[6] gate;"
        " bar0+0x4c/32[3] enable[1]; bar0+0x4c/32[5] status[1] ro",
    ),
    "aectc": Card(
        (0xAECB, 0x6250, 0x0000, 0x0000),
        "bar0=port:256",
        "bar0+0xf/8[0] status rc; bar0+0x2e/8[5:0] enable; bar0+0xfc/32[4] gate;"
        " bar0+0xfe/8[3] gate ro; bar0+0xfe/8[0] status ro",
        acknowledges=True,
    ),
    "mrf-plx9030": Card(
        (0x10B5, 0x9030, 0x1A3E, 0x10E6),
        "bar0=mem:128,bar2=mem:65536",
        f"{_INTCSR_9030.format(bits=32)}; bar0+0x4c/32[6] gate",
    ),
    "mrf-plx9056": Card((0x10B5, 0x9056, 0x1A3E, 0x192C), "bar0=mem:512,bar2=mem:65536", _INTCSR_9056),
    "mrf-pcie": Card(
        (0x10EE, 0x7011, 0x1A3E, 0x172C),
        "bar0=mem:65536",
        "bar0+0x8/32[6:0] status w1c; bar0+0xc/32[6:0] enable; bar0+0xc/32[30] gate; bar0+0xc/32[31] scratch0",
        enable=((0, 0xC, 0xC000007F),),
    ),
    "ivshmem": Card(
        (0x1AF4, 0x1110, 0x1AF4, 0x1100),
        "bar0=mem:256,bar2=mem:4096",
        "bar0+0/32[0] enable; bar0+4/32[0] status rc",
        acknowledges=True,
    ),
    "pci1710": Card(
        (0x13FE, 0x1710, 0x13FE, 0x1710),
        "bar0=mem:128,bar2=port:32",
        # The script can write single bytes of ports, the release program writes the whole register.
        "bar2+6/16[11] status[0] ro; bar2+6/16[4] gate wo; bar2+6/8[4] gate wo; bar2+8/8[0] status[0] wc wo",
        enable=((2, 6, 0x10),),
        acknowledges=True,
    ),
    "plx9054": Card(
        (0x10B5, 0x9054, 0x10B5, 0x9054),
        "bar0=mem:256,bar2=mem:4096",
        f"{_INTCSR_9056}; bar0+0x68/32[0] scratch0",
        enable=((0, 0x68, 0x900),),
    ),
}


def _device(number: int, name: str) -> str:
    card = CARDS[name]
    keys = ("vendor-id", "device-id", "subsystem-vendor-id", "subsystem-id")
    ids = ",".join(f"{key}={value:#x}" for key, value in zip(keys, card.ids, strict=True))
    slot, function = 0x10 + 4 * (number // 8), number % 8
    several = "" if function else ",multifunction=on"
    return f"shirq-edu,id={name},addr={slot:x}.{function}{several},{ids},{card.bars},registers={card.registers}"


#: All cards on the shared line, each a function of its own; none has DisINTx. A BAR that is smaller than a page gets a
#: page of its own, as the profiles advise.
MACHINE = SHARED_LINE.with_(
    devices=(*SHARED_LINE.devices, *(f"{_device(n, name)},disintx=read-only" for n, name in enumerate(CARDS))),
    parameters="pci=resource_alignment="
    + ";".join(f"12@pci:{vendor:x}:{device:x}" for vendor, device in sorted({card.ids[:2] for card in CARDS.values()})),
    prepare=(*SHARED_LINE.prepare[:1], LOAD_MODULE, "modprobe uio"),
)


@pytest.mark.parametrize("name", CARDS)
def test_a_vendors_card_is_a_uio_device_by_its_profile(boot: Boot, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The profile is found by the card's IDs; each interrupt comes once; a killed program leaves the card silent."""
    card, number = CARDS[name], list(CARDS).index(name)
    monkeypatch.setitem(ADDRESSES, name, f"0000:00:{0x10 + 4 * (number // 8):02x}.{number % 8}")
    scene = Scene(boot(MACHINE))
    scene.run(f"shirqctl bind {ADDRESSES[name]}")
    assert f"/dev/uio0 by {name}," in scene.run(f"shirqctl uio {ADDRESSES[name]}", deadline=60)
    script = start(scene, name, uio.card, card.enable, card.again, _ROUNDS)
    script.expect("^armed$")
    with scene.record(name) as recorded:
        for seen in range(1, _ROUNDS + 1):
            scene.raise_(name)
            script.expect(f"^{seen} {'armed' if card.again or card.acknowledges else 'masked'}$")
            if not card.acknowledges:
                scene.vm.qmp.set(name, "lower", 1)
            script.write("\n")
            script.expect("^again$")
        scene.network.ping(2)
        scene.raise_(name)
        script.expect(f"^{_ROUNDS + 1} ")
        script.signal(signal.SIGKILL)
        script.wait(20)
        scene.run(f"until grep -q parked /sys/class/shirq/{ADDRESSES[name]}/state; do usleep 1000; done")
        scene.raise_(name)
        scene.network.ping(2)
    assert len(recorded.assertions(name)) == _ROUNDS + 1, "an interrupt was lost, or the card asserts after its release"
    recorded.line_low_at_end()
    stats = f"/sys/class/shirq/{ADDRESSES[name]}/stats"
    assert scene.run(f"cat {stats}/claims {stats}/events").split() == [str(_ROUNDS + 1)] * 2
