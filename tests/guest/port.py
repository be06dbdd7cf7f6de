# SPDX-License-Identifier: MIT
"""Machines with dev2, bound to shirq.ko, on the devices' line, alone behind a PCI Express port of its own."""

from __future__ import annotations

from shirq_bench.vm.machine import ADDRESSES, SHARED_LINE, Machine, bind

ADDRESSES["dev2"] = "0000:01:00.0"


def behind_a_port(*properties: str, of: Machine = SHARED_LINE) -> Machine:
    """The machine ``of`` with dev2, which has these properties, behind the root port rp0."""
    device = ",".join(("shirq-edu,id=dev2,bus=rp0,addr=0", *properties))
    return of.with_(
        devices=(*of.devices, "pcie-root-port,id=rp0,chassis=1,addr=10", device),
        prepare=(*of.prepare, bind("dev2")),
    )
