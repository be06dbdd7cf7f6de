# SPDX-License-Identifier: MIT
"""Scripts of test_wake.py."""

from __future__ import annotations

from pathlib import Path

import shirq
from guest.scripts.inguest import ADDRESS, TIMEOUT, fails, loaded, proceed, report, reset, state, useless


def opens() -> None:
    report("ready")
    proceed()
    report("opened", fails(shirq.Device.open, ADDRESS))


def _power() -> str:
    """Return the device's power state from PMCSR."""
    config = (Path("/sys/bus/pci/devices") / ADDRESS / "config").read_bytes()
    at = config[0x34]
    while config[at] != 1:
        at = config[at + 1]
    return hex(int.from_bytes(config[at + 4 : at + 6], "little") & 3)


def _leaves_it_asleep() -> None:
    """Close a device that only D3hot silences, so that it stays in D3hot."""
    device = loaded(useless())
    device.arm(auto_unmask=False)
    report("armed")
    assert device.read(timeout=TIMEOUT).type is shirq.EventType.IRQ
    device.close()
    report("closed", _power())


def needs_d3hot() -> None:
    _leaves_it_asleep()
    report("opened", fails(shirq.Device.open, ADDRESS), _power(), state())
    proceed()


def bound_again() -> None:
    _leaves_it_asleep()
    proceed()
    Path("/sys/bus/pci/drivers/shirq/unbind").write_text(ADDRESS)
    Path("/sys/bus/pci/drivers_probe").write_text(ADDRESS)
    report("after it", _power(), state())


def reset_by_others() -> None:
    _leaves_it_asleep()
    proceed()
    reset()
    report("after it", _power(), state())
