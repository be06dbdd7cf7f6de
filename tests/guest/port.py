# SPDX-License-Identifier: MIT
"""Machines that also have dev2, bound to shirq.ko, on the other devices' line, behind its own PCI Express port."""

from __future__ import annotations

from shirq_bench.vm.machine import ADDRESSES, SHARED_LINE, Machine, bind

ADDRESSES["dev2"] = "0000:01:00.0"


def behind_a_port(*properties: str, of: Machine = SHARED_LINE) -> Machine:
    """Return the machine ``of`` with dev2 behind the root port rp0; ``properties`` are those of dev2."""
    device = ",".join(("shirq-edu,id=dev2,bus=rp0,addr=0", *properties))
    return of.with_(
        devices=(*of.devices, "pcie-root-port,id=rp0,chassis=1,addr=10", device),
        prepare=(*of.prepare, bind("dev2")),
    )
