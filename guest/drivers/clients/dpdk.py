# SPDX-License-Identifier: MIT
"""DPDK's refusal: its PCI bus takes a function by the name of the kernel's driver alone, whatever the driver offers."""

from __future__ import annotations

import sys
from pathlib import Path

KNOWN = ("vfio-pci", "igb_uio", "uio_pci_generic")


def main(address: str) -> int:
    driver = (Path("/sys/bus/pci/devices") / address / "driver").readlink().name
    if driver in KNOWN:
        print(f"{address}: {driver}")
        return 0
    print(f"{address}: not managed by a driver that DPDK knows, but by {driver}: skipped")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
