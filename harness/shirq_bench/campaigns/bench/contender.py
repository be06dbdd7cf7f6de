# SPDX-License-Identifier: MIT
"""The compared drivers, which handle a device's interrupts in different ways; all get the same guest."""

from __future__ import annotations

from dataclasses import dataclass

from shirq_bench.vm.machine import ADDRESSES, LOAD_MODULE, LOAD_UIO, LOAD_VFIO, SETTLED, Machine, bind, insmod, start

_LOG_ENTRIES = 1 << 22


@dataclass(frozen=True)
class Contender:
    """A driver for dev0. ``load`` is the guest script that loads it, ``driver`` the kernel driver that binds dev0.

    ``program`` is the user program, which waits for interrupts. If it is empty, the kernel driver handles the
    interrupts. A program that ``spins`` leaves its processor no idle time; one that ``merges`` leaves the device masked
    while it has work, so that interrupts that come close together are one.
    """

    name: str
    title: str
    load: str
    driver: str
    program: str = ""
    spins: bool = False
    merges: bool = False


CONTENDERS = {
    contender.name: contender
    for contender in (
        Contender("shirq", "shirq.ko: one read() for each interrupt", LOAD_MODULE, "shirq", "peer-shirq"),
        Contender(
            "shirq-ring",
            "shirq.ko with a ring: one call sleeps, a store unmasks",
            LOAD_MODULE,
            "shirq",
            "peer-shirq --ring 0",
        ),
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

#: A driver that looks at its ring all the time, on a processor that nothing else takes from it; and one that looks at
#: its device from time to time while there is work.
SPINNING = Contender(
    "shirq-ring, spinning",
    "looks at its ring without a call, a store unmasks",
    LOAD_MODULE,
    "shirq",
    f"peer-shirq --ring {10**15} --fifo 50",
    spins=True,
)
POLLING = Contender(
    "shirq-ring, polling",
    "unmasks when it has found no work for 50 us",
    LOAD_MODULE,
    "shirq",
    "peer-shirq --ring 0 --poll 50000",
    merges=True,
)

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


def driving(contender: Contender, under: str = "") -> tuple[str, ...]:
    """Guest scripts: bind dev0 to a driver, and start the user program that waits for its interrupts.

    ``under`` is a command that starts another one, such as ``taskset 2``.
    """
    scripts = [contender.load, bind("dev0", contender.driver)]
    if contender.program:
        scripts.append(start(f"{under} {contender.program} --quiet --mark {ADDRESSES['dev0']}".strip(), "armed"))
    return tuple(scripts)


def guest(kernel: str, contender: Contender, then: tuple[str, ...] = ()) -> Machine:
    """The guest in which dev0 has that driver. A program that spins starts when the guest has settled, not before."""
    if contender.spins:
        return machine(kernel, then=(*driving(contender), *then))
    return machine(kernel, *driving(contender), then=then)


#: Guest scripts: bind dev1, the neighbour, to its in-kernel driver.
NEIGHBOUR = (insmod("neighbour"), bind("dev1", "neighbour"))
