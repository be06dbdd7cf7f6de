# SPDX-License-Identifier: MIT
"""The compared drivers, which handle a device's interrupts in different ways; all get the same guest."""

from __future__ import annotations

from dataclasses import dataclass

from shirq_bench.vm.machine import ADDRESSES, LOAD_MODULE, LOAD_UIO, LOAD_VFIO, SETTLED, Machine, bind, insmod, start

_LOG_ENTRIES = 1 << 22


@dataclass(frozen=True)
class Contender:
    """A driver for dev0. ``load`` is the guest script that loads it, ``driver`` the kernel driver that binds dev0.

    ``program`` is the user program, which blocks until there is an interrupt. If it is empty, the kernel driver handles
    the interrupts.
    """

    name: str
    title: str
    load: str
    driver: str
    program: str = ""


CONTENDERS = {
    contender.name: contender
    for contender in (
        Contender("shirq", "shirq.ko: one read() for each interrupt", LOAD_MODULE, "shirq", "peer-shirq"),
        Contender(
            "uio_pci_generic",
            "read(), and a write to config space unmasks",
            LOAD_UIO,
            "uio_pci_generic",
            "peer-uio_pci_generic",
        ),
        Contender("vfio-pci", "an eventfd reports, ioctl() unmasks", LOAD_VFIO, "vfio-pci", "peer-vfio-pci"),
        Contender("wake", "floor: a driver that wakes a reader", insmod("floor", "wake=1"), "floor", "peer-floor"),
        Contender("kernel", "floor: handled in the kernel", insmod("floor", "wake=0"), "floor"),
    )
}

#: Drivers of the silent device that shares the line while the neighbour's interrupts are measured.
SHARING = ("shirq", "uio_pci_generic", "vfio-pci", "wake")


def machine(kernel: str, *prepare: str, then: tuple[str, ...] = ()) -> Machine:
    """The deterministic guest of every measurement: dev0 and dev1 on one line, ctl on another; an IOMMU for vfio.

    The scripts ``prepare`` run first; the scripts ``then`` run when the guest has settled.
    """
    return Machine(
        kernel=kernel,
        devices=(
            "intel-iommu,intremap=off",
            "shirq-edu,id=dev0,addr=4",
            "shirq-edu,id=dev1,addr=8",
            "shirq-edu,id=ctl,addr=5",
        ),
        parameters="intel_iommu=on",
        deterministic=True,
        vcpus=1,
        log_entries=_LOG_ENTRIES,
        prepare=(*prepare, SETTLED, *then),
    )


def driving(contender: Contender) -> tuple[str, ...]:
    """Guest scripts: bind dev0 to a driver, and start the user program that waits for its interrupts."""
    scripts = [contender.load, bind("dev0", contender.driver)]
    if contender.program:
        scripts.append(start(f"{contender.program} --quiet --mark {ADDRESSES['dev0']}", "armed"))
    return tuple(scripts)


#: Guest scripts: bind dev1, the neighbour, to its in-kernel driver.
NEIGHBOUR = (insmod("neighbour"), bind("dev1", "neighbour"))
