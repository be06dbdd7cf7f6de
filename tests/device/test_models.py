# SPDX-License-Identifier: MIT
"""QEMU is built without devices that cannot share a line; those that the bench and its users need are there."""

from __future__ import annotations

import re
import subprocess

from shirq_bench.intake.tables import TABLES
from shirq_bench.provision import qemu

#: Conventional PCI cards, and functions that use INTx without MSI, with which people reproduce bugs of their drivers.
_CARDS = (
    *("AC97", "ES1370", "am53c974", "ctucan_pci", "dc390", "e1000", "e1000e", "edu", "i82551", "igb", "intel-hda"),
    *("ipoctal232", "kvaser_pci", "lsi53c810", "lsi53c895a", "megasas", "mioe3680_pci", "mptsas1068", "ne2k_pci"),
    *("nvme", "pci-ohci", "pci-serial", "pci-serial-4x", "pcm3680_pci", "pcnet", "piix3-usb-uhci", "qemu-xhci"),
    *("rtl8139", "sdhci-pci", "shirq-edu", "tpci200", "tulip", "usb-ehci", "virtio-net-pci", "virtio-rng-pci"),
)


def test_cards_and_models_are_in_the_emulator() -> None:
    said = subprocess.run([qemu.build(), "-device", "help"], check=True, capture_output=True, text=True, timeout=60)
    known = set(re.findall(r'(?:^name|alias) "([^"]+)"', said.stdout, re.MULTILINE))
    models = {driver.model.partition(",")[0] for driver in TABLES.driver.values() if driver.model}
    assert len(models) > 10
    assert {*_CARDS, *models} - known == set()
