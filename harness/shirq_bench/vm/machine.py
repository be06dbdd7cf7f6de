# SPDX-License-Identifier: MIT
"""The configuration of a guest: the part of the QEMU command line that a test chooses."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from shirq_bench.channels.network import GUEST_IP
from shirq_bench.errors import BenchError

#: The slot of the device by which the host speaks with the guest's agent.
AGENT_SLOT = 3


@dataclass(frozen=True)
class Machine:
    """A guest's kernel, size and devices. Build variants with `with_`."""

    #: The name of a kernel in guest/kernels.toml, or the path of a vmlinuz.
    kernel: str = "6.1"
    vcpus: int = 2
    memory_mib: int = 256
    #: ``-device`` arguments. Functions on pcie.0 for which `gsi_of` is the same share a line.
    devices: tuple[str, ...] = ()
    #: Ids of network back ends that the host drives through `Vm.networks`, for ``netdev=ID`` in a device.
    networks: tuple[str, ...] = ()
    #: Ids of character devices whose other end is a socket in `Vm.wires`, for ``chardev=ID`` in a device.
    wires: tuple[str, ...] = ()
    #: Further kernel parameters.
    parameters: str = ""
    #: One instruction per nanosecond, vCPUs that take turns by the VM's clock, and no other clock: the same stimuli
    #: give the same run.
    deterministic: bool = False
    #: The longest turn of a vCPU of a deterministic machine, in ns of virtual time; another one interleaves the vCPUs
    #: differently.
    turn_ns: int = 100_000
    #: Capacity of the event log, in entries.
    log_entries: int = 1 << 20
    #: Host directories with the source of kernel modules, compiled for the guest's kernel into its
    #: /lib/modules/RELEASE/extra; `insmod` gives the script that loads one.
    modules: tuple[str, ...] = ()
    #: Host directories that are laid over the guest's root file system, later ones over earlier ones.
    overlay: tuple[str, ...] = ()
    #: Shell scripts that a template runs in the guest, in order, before it is frozen.
    prepare: tuple[str, ...] = ()
    #: Further arguments for QEMU.
    extra: tuple[str, ...] = ()

    def with_(self, **changes: Any) -> Machine:
        """A copy with ``changes``."""
        return replace(self, **changes)

    @property
    def turns(self) -> int | None:
        """``turn_ns`` if the machine is deterministic."""
        return self.turn_ns if self.deterministic else None

    def as_data(self) -> dict[str, Any]:
        """The machine as data that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Machine:
        """The machine that `as_data` described. `BenchError` if ``data`` is not such a description."""
        known = {field.name: field.default for field in fields(cls)}
        if unknown := data.keys() - known.keys():
            raise BenchError(f"a machine has no field {', '.join(sorted(unknown))}; its fields: {', '.join(known)}")
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in data.items()
        }
        for name, value in values.items():
            if type(value) is not type(known[name]):
                raise BenchError(f"a machine's {name} must have the type of {known[name]!r}, got {value!r}")
        return cls(**values)


#: The PCI addresses of the functions of `SHARED_LINE` in the guest. In a sweep, ``ctl`` takes the place of ``clock``.
ADDRESSES = {
    "dev0": "0000:00:04.0",
    "dev1": "0000:00:08.0",
    "nic0": "0000:00:0c.0",
    "clock": "0000:00:05.0",
    "ctl": "0000:00:05.0",
    "ctl2": "0000:00:06.0",
}

#: Guest script: load the neighbour's in-kernel driver, and wait until the emulated PHY has negotiated the link.
NEIGHBOUR_UP = (
    f"modprobe e1000 && ip addr add {GUEST_IP}/24 dev eth0 && ip link set eth0 up"
    " && until grep -q 1 /sys/class/net/eth0/carrier; do usleep 20000; done"
)


def insmod(name: str, *parameters: str) -> str:
    """Guest script: load an out-of-tree module of the image."""
    return " ".join([f"insmod /lib/modules/$(uname -r)/extra/{name}.ko", *parameters])


#: Guest script: load shirq.ko.
LOAD_MODULE = insmod("shirq")
#: Guest scripts: load the stock kernels' drivers for interrupts in user space.
LOAD_UIO = "modprobe uio_pci_generic"
LOAD_VFIO = "modprobe vfio_iommu_type1 allow_unsafe_interrupts=1 && modprobe vfio-pci"
#: Guest script: wait until the kernel has finished the background work of its boot, such as testing its ciphers, and
#: nothing runs but the shell. With PREEMPT_RT, /proc/loadavg also counts the process for which the shell has waited;
#: then nothing may run but the process that looks at all others.
SETTLED = (
    "calm=0; while [ $calm -lt 20 ]; do read -r _ _ _ running _ </proc/loadavg; calm=$((calm + 1));"
    " case $running in 1/*) ;; *) set -- $(grep -l '^State:.R' /proc/[0-9]*/status 2>/dev/null);"
    " [ $# = 1 ] || calm=0;; esac; usleep 10000; done"
)


def bind(device: str, driver: str = "shirq") -> str:
    """Guest script: bind a function of `SHARED_LINE` to a driver that has no table of IDs: shirq.ko, or another."""
    return bind_at(ADDRESSES[device], driver)


def bind_at(address: str, driver: str) -> str:
    """Guest script: bind the function at a PCI address to a driver that has no table of IDs."""
    return (
        f"cd /sys/bus/pci && echo {driver} >devices/{address}/driver_override && echo {address} >drivers_probe"
        f" && test -d drivers/{driver}/{address}"
    )


def start(command: str, ready: str, said: str = "/run/said") -> str:
    """Guest script: start a program that outlives the script, and wait until it prints ``ready``.

    Its standard error goes to the file ``said``.
    """
    return (
        "rm -f /run/ready && mkfifo /run/ready && cd / &&"
        f" {{ setsid {command} >/run/ready 2>>{said} </dev/null & }} && grep -q {ready} /run/ready"
    )


def gsi_of(slot: int, pin: str = "A") -> int:
    """The I/O APIC's input that a pin of a slot of pcie.0 leads to, on q35. ValueError if there is no such slot or pin.

    An ICH9 has eight lines, PIRQA to PIRQH, on inputs 16 to 23. The pins INTA to INTD of slots 0 to 24 are on PIRQE to
    PIRQH, and each slot begins one line later than the previous slot. The pins of slot 30 are on PIRQE to PIRQH, those
    of slots 25 to 29 and 31 on PIRQA to PIRQD. The chipset's registers D25IR to D31IR have this routing after a reset;
    the ACPI tables always have it.
    """
    if slot not in range(32) or pin not in tuple("ABCD"):
        raise ValueError(f"there is no INT{pin} of slot {slot:#x}: slots are 0 to 0x1f, pins A to D")
    number = "ABCD".index(pin)
    if slot <= 24:
        return 20 + (slot + number) % 4
    return (20 if slot == 30 else 16) + number


#: The input of the devices of `SHARED_LINE`.
GSI = gsi_of(4)
#: The in-kernel driver's card on the devices' line, with the network net0.
NEIGHBOUR_CARD = "e1000,id=nic0,addr=c,netdev=net0,mac=52:54:00:12:34:56,romfile="
#: Two driven devices, one PCI 2.3 compliant and one without DisINTx, and an in-kernel neighbour, on one line; and a
#: device on a separate line, without a driver, whose MARK register relates the guest's clock to the log's.
SHARED_LINE = Machine(
    devices=(
        "shirq-edu,id=dev0,addr=4",
        "shirq-edu,id=dev1,addr=8,disintx=read-only",
        NEIGHBOUR_CARD,
        "shirq-edu,id=clock,addr=5",
    ),
    networks=("net0",),
    prepare=(NEIGHBOUR_UP, LOAD_MODULE, bind("dev0"), bind("dev1")),
)
