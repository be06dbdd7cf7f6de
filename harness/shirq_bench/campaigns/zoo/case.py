# SPDX-License-Identifier: MIT
"""A case: a machine, steps, and the symptom that they bring about, as a TOML file describes them.

The cases of the catalogue are zoo/cases/ID.toml. They need the keys that are marked with *, too.

id = "nobody-cared"             # the file's name, without .toml, which is the default
title = "..."                   # one line
symptom = "..."                 # * what users of the driver saw
cause = "..."                   # *
source = ["..."]                # * where it is documented
explanation = '''...'''         # * a paragraph: what happens, and the reason for each driver's outcome
shows = ["line disabled"]       # the outcomes that are this symptom: one driver with one of them reproduces the bug
needs = "..."                   # optional: code in the guest, or a kernel, that the case needs, in words
kernels = ["6.1", "6.12"]       # optional: kernels that can show the bug; default: all
peer = "--control"              # optional: options of every driver's program
parameters = "..."              # optional: kernel parameters, besides those of every case
ci = true                       # optional: the case is part of size ci
forgives = ["No irq handler"]   # optional: rules of splats-deny whose complaints no driver causes in this case

[machine]                       # optional
dev0 = "pm=on"                  # properties that are fixed when the device is made
devices = ["shirq-edu,id=dev2,addr=10"]     # further -device arguments, each with an id and a place on pcie.0;
                                # scripts find their addresses in $DEV2 and the like
slots = { dev0 = "10.0" }       # slots for dev0, dev1, nic0, clock instead of 4, 8, c, 5, in QEMU's hexadecimal
                                # notation; `machine.gsi_of` says which slots share a line
vcpus = 2                       # default: one; with instruction counting they take turns
memory_mib = 1024               # default: 256
log_entries = 33554432          # default: `LOG_ENTRIES`; a run that overflows the log is an error, not an outcome
late_ms = 20                    # an interrupt of the neighbour that takes longer, in virtual time, is late

[device]                        # optional: dev0's properties that are set before the driver is bound: faults, registers

[naive]                         # optional
bug = "abandon"                 # guest/modules/naive/naive.c names them
options = "latch=1"             # further parameters of the module

[shirq]                         # optional
irq = '''...'''                 # programs instead of the edu preset's; irq, unmask and release, all three
mode = "acknowledges"           # the mode of this irq program: "masks" (default) or "acknowledges", SHIRQ_MODE_*
options = "--exclusive"         # options of its user program; also in the tables of the other drivers, except naive

[own]                           # optional: your own driver, in place of the catalogue's
driver = "../driver"            # the folder of a kernel module's source, or a program; relative to this file
bind = "vfio-pci"               # of a program: the kernel driver to which dev0 is bound; default: shirq
options = "debug=1"             # the module's parameters; of a program, its arguments, with {address} for the device's:
                                # "{address}" is the default
ready = "^armed"                # of a program: the line of its output after which it serves interrupts
prepare = "modprobe uio"        # a script in the guest, before the module is loaded
start = "ip link set eth1 up"   # of a module: a script in the guest that starts the device, for the step `start`

[expected]                      # * the outcome for each driver under test; of your own: own. Default: survives
[argued]                        # optional: for a driver without a good outcome, why a good one is impossible
[notices]                       # optional: for a driver, expressions that match its program's notices, in this order
shirq = ["quarantined flags=0x1"]
[ends]                          # optional: for a driver whose program ends by itself, an expression for its end
vfio-pci = "^status 1: "
[latency.shirq]                 # optional: for a driver, bounds in virtual microseconds
served_us = 500                 # from a raise of dev0 to its acknowledgement, by the register INT_ACK of the preset edu
asserted_us = 1000              # from a raise of dev0 until its pin rises: as long as the driver keeps it masked
neighbour_us = 300              # of an interrupt of the neighbour

steps = [...]                   # tables of one verb and, optionally, `only`, the drivers that play the step, and the
                                # verb's options: see `Step`

Each step is proved to have happened: a raise by the log, a setting by reading it back, a script by its status, a
schedule by its entries in the log, a query by the neighbour's pin, a signal by the process, a refusal by the kernel's
error. A step that did not happen is an error of the case (`NotPlayed`), not an outcome. A guest that hangs or panics
before the first stimulus, before all stimuli that were due, or before the step that is `decisive` is such an error,
too. After a driver has refused the device, only its steps `neighbour` and `check` are played, so that it is not blamed
for later events.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final

from shirq_bench import toml
from shirq_bench.campaigns.zoo.outcome import Outcome
from shirq_bench.channels.edu import Register
from shirq_bench.errors import BenchError
from shirq_bench.observe import splats
from shirq_bench.toml import TomlError, at_least, one_of

DIRECTORY = Path(__file__).with_name("cases")
#: The drivers under test.
DRIVERS: Final = ("shirq", "uio_pci_generic", "vfio-pci", "naive")
#: The name by which a case calls a driver that is not the catalogue's.
OWN: Final = "own"
#: Default capacity of a case's event log, in entries: enough for a storm that ends in a hang, even if a busy host
#: detects and stops it late.
LOG_ENTRIES: Final = 1 << 24


def _above_0(value: float) -> float:
    if value <= 0:
        raise ValueError(f"must be above 0, not {value}")
    return value


def _expression(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"is not a regular expression: {error}") from error
    return text


def _place(place: str) -> str:
    match = _PLACE.fullmatch(place)
    if not match or not 0 < int(match[1], 16) <= _LAST_SLOT:
        raise ValueError(f"must be SLOT or SLOT.FUNCTION, hexadecimal, up to {_LAST_SLOT:x}, not {place!r}")
    return place


def _properties(device: str) -> dict[str, str]:
    return dict(word.partition("=")[::2] for word in device.split(","))


def _device(device: str) -> str:
    words = _properties(device)
    if not words.get("id") or "addr" not in words or "bus" in words:
        raise ValueError(f"{device!r} needs id=NAME and addr=SLOT, and cannot have bus=: it must be on pcie.0")
    _place(words["addr"])
    return device


#: The entry of a description of registers that is the INT_ACK of the preset edu.
_INT_ACK = re.compile(rf"\bbar0\+{Register.INT_ACK:#x}/32\b.*\bstatus\b.*\bw1c\b")
#: The keys that a case of the catalogue needs besides those of every case.
_CATALOGUED: Final = ("symptom", "cause", "source", "explanation", "expected")
_PLACE = re.compile(r"([0-9a-f]{1,2})(?:\.([0-7]))?")
_LAST_SLOT = 0x1F
_Driver = Annotated[str, one_of(*DRIVERS, OWN)]
_ToDriver = Annotated[str, one_of("bind", "unbind", "start", "stop", "resume", "kill", "end", "dismiss")]
_Latency = Annotated[str, one_of("served_us", "asserted_us", "neighbour_us")]
_Story = Annotated[str, str.strip]
_Count = Annotated[int, at_least(1)]
_Expression = Annotated[str, _expression]
_Seconds = Annotated[float, _above_0]
_Device = Annotated[str, _device]
_Slot = Annotated[str, _place]
#: The verbs with which each option is allowed. Options that are not listed are allowed with every verb.
_OPTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "device": ("raise", "lower", "schedule"),
    "sources": ("burst",),
    "pin": ("raise",),
    "message": ("raise",),
    "times": ("schedule",),
    "every_ns": ("schedule",),
    "frozen": ("set",),
    "background": ("guest",),
    "logged": ("guest", "raise", "wait"),
    "moved": ("burst", "neighbour"),
    "shows": ("check",),
}


@dataclass(frozen=True, kw_only=True)
class Step:
    """One verb with its argument and options. It is played with the drivers ``only``; empty: with all."""

    #: An action on the driver under test: stop is SIGSTOP, kill SIGKILL, end SIGTERM. dismiss: the case has taken the
    #: driver's device away, so that the driver need not serve interrupts any more.
    driver: _ToDriver | None = None
    #: Sources that become pending; a source that is pending already is an error.
    raise_: _Count | None = field(default=None, metadata={"key": "raise"})
    #: Sources that are withdrawn; a source that is not pending is an error.
    lower: _Count | None = None
    #: The number of raises of dev0, of one source after the other; each waits until the previous one was served or is
    #: late.
    burst: _Count | None = None
    #: Maximum guest seconds to wait until all raised interrupts have been served.
    serve: _Seconds | None = None
    #: Guest seconds to wait.
    wait: _Seconds | None = None
    #: The number of queries to the neighbour nic0.
    neighbour: _Count | None = None
    #: Properties of dev0, or of the device that the key `device` names.
    set: Mapping[str, Any] | None = None
    #: Entries for a schedule; @NS counts from now. They are given `times` times, `every_ns` after each other.
    schedule: str | None = None
    #: A shell script in the guest, in which every command must succeed; it can use the definitions in `run.PRELUDE`.
    guest: str | None = None
    #: The guest's kernel crashes; a second kernel starts with these further parameters, and the steps go on there.
    crash: str | None = None
    #: A line for the standard input of the driver's program, which must answer before the next step.
    tell: str | None = None
    #: Wait until the driver's program prints a line that matches this expression, after the line of the previous such
    #: step.
    output: _Expression | None = None
    #: Wait until the scripts in the background have ended.
    join: Annotated[str, one_of("background")] | None = None
    #: Exclude everything before this step from the verdict, except for interrupts that are still to be served.
    judge: Annotated[str, one_of("from here")] | None = None
    #: A shell script in the guest whose output must match the expression `shows`, such as `shirqctl list`.
    check: str | None = None

    only: tuple[_Driver, ...] = ()
    #: This step is the bug's stimulus. A guest that hangs or panics in an earlier step proves nothing.
    decisive: bool = False
    #: The device of the step.
    device: str = "dev0"
    #: The sources of a burst, one bit each.
    sources: _Count = 0xFF
    #: The device's pin must be high after the step, even if only for a moment.
    pin: bool = False
    #: The device must send an MSI.
    message: bool = False
    #: How often the schedule's entries are given, and the period, in ns of virtual time.
    times: _Count = 1
    every_ns: _Count = 1_000_000
    #: All properties are set at one instant of virtual time.
    frozen: bool = False
    #: The next steps do not wait for the script. By the end of the case, the script must have succeeded.
    background: bool = False
    #: An expression that must match a log entry that was written since the step began: `WRITE dev0 config+0x5 0x4`,
    #: `DELIVER ioapic 20 0x22`. The text of an entry is its kind, device, register or GSI, and value.
    logged: _Expression = ""
    #: Scripts in the background, which must run during the whole step, move the line's interrupt. The step is repeated,
    #: up to ten times as often, until interrupts of the line have ended on every vCPU.
    moved: bool = False
    #: The expression that the script's output must match.
    shows: _Expression = ""

    def __post_init__(self) -> None:
        if len(self._verbs) != 1:
            raise ValueError(f"needs exactly one of {', '.join(_VERBS.values())}")
        for option, verbs in _OPTIONS.items():
            if getattr(self, option) != getattr(Step, option) and self.verb not in verbs:
                raise ValueError(f"{option} is for {' and '.join(verbs)}, not for {self.verb}")
        if self.verb == "check" and not self.shows:
            raise ValueError("check needs shows, the expression that the output must match")
        if self.background and self.logged:
            raise ValueError("logged is only for a script that ends before the next step, not with background")

    @property
    def _verbs(self) -> list[str]:
        return [name for name in _VERBS if getattr(self, name) is not None]

    @cached_property
    def verb(self) -> str:
        """The verb, as the file calls it."""
        return _VERBS[self._verbs[0]]

    @property
    def argument(self) -> Any:
        """The verb's argument."""
        return getattr(self, self._verbs[0])


def as_data(step: Step) -> dict[str, Any]:
    """A step as its table in a file."""
    given = {each: getattr(step, each.name) for each in fields(Step)}
    found = {each.metadata.get("key", each.name): value for each, value in given.items() if value != each.default}
    return {key: [*value] if isinstance(value, tuple) else value for key, value in found.items()}


#: The fields that are verbs, each with its key in the file. Only verbs have the default None.
_VERBS: Final[dict[str, str]] = {
    each.name: each.metadata.get("key", each.name) for each in fields(Step) if each.default is None
}


@dataclass(frozen=True)
class Slots:
    """The slots of the standard devices on pcie.0."""

    dev0: _Slot = "4"
    dev1: _Slot = "8"
    nic0: _Slot = "c"
    clock: _Slot = "5"


@dataclass(frozen=True)
class Board:
    """The table ``machine``: the differences from the usual machine."""

    dev0: str = ""
    devices: tuple[_Device, ...] = ()
    slots: Slots = Slots()
    vcpus: _Count = 1
    memory_mib: _Count = 256
    log_entries: _Count = LOG_ENTRIES
    late_ms: _Count = 20

    def __post_init__(self) -> None:
        if twice := sorted({name for name in self.ids if self.ids.count(name) > 1}):
            raise ValueError(f"devices: the id {', '.join(twice)} is used twice")

    @property
    def ids(self) -> list[str]:
        """The ids of the devices that steps can name."""
        return [*vars(self.slots), *(_properties(device)["id"] for device in self.devices)]


@dataclass(frozen=True)
class Options:
    """The options of a driver's user program."""

    options: str = ""


@dataclass(frozen=True)
class NaiveOptions(Options):
    """The bug and the parameters of the module naive."""

    bug: str = "none"


@dataclass(frozen=True)
class ShirqOptions(Options):
    """The options of shirq's user program, and its set of interrupt programs: all three or none."""

    irq: str | None = None
    unmask: str | None = None
    release: str | None = None
    mode: Annotated[str, one_of("masks", "acknowledges")] | None = None

    def __post_init__(self) -> None:
        if self.programs and None in (self.irq, self.unmask, self.release):
            raise ValueError("needs all of irq, unmask and release; or none of them, and no mode")

    @property
    def programs(self) -> dict[str, str]:
        """The programs by name, and their mode; empty if none are given."""
        return {name: text for name, text in vars(self).items() if name != "options" and text is not None}


@dataclass(frozen=True)
class OwnOptions:
    """A driver that is not the catalogue's, and how it is used."""

    driver: str = ""
    bind: Annotated[str, one_of(*DRIVERS[:3])] = "shirq"
    options: str | None = None
    ready: _Expression = "^armed"
    prepare: str = ""
    start: str = ""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A case; the docstring of this module describes its keys."""

    id: str = ""
    title: _Story
    symptom: _Story = ""
    cause: _Story = ""
    source: tuple[str, ...] = ()
    explanation: _Story = ""
    shows: tuple[Outcome, ...]
    steps: tuple[Step, ...]
    own: OwnOptions = OwnOptions()
    expected: Mapping[_Driver, Outcome] = field(default_factory=dict)
    argued: Mapping[_Driver, str] = field(default_factory=dict)
    needs: _Story = ""
    kernels: tuple[str, ...] = ()
    forgives: tuple[str, ...] = ()
    parameters: _Story = ""
    peer: _Story = ""
    ci: bool = False
    machine: Board = Board()
    device: Mapping[str, Any] = field(default_factory=dict)
    shirq: ShirqOptions = ShirqOptions()
    uio_pci_generic: Options = Options()
    vfio_pci: Options = field(default=Options(), metadata={"key": "vfio-pci"})
    naive: NaiveOptions = NaiveOptions()
    #: For each driver under test, regular expressions that match the notices its program must receive.
    notices: Mapping[_Driver, tuple[str, ...]] = field(default_factory=dict)
    #: For each driver under test whose program ends by itself, an expression for "status STATUS: LAST WORDS".
    ends: Mapping[_Driver, _Expression] = field(default_factory=dict)
    #: For each driver under test, bounds on figures, in virtual us.
    latency: Mapping[_Driver, Mapping[_Latency, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if unknown := set(self.forgives) - {rule.pattern.pattern for rule in splats.rules(splats.DENY)}:
            raise ValueError(f"forgives has {', '.join(sorted(unknown))}, but {splats.DENY} has no such rules")
        if not self.acknowledges_by_edu and any("served_us" in bounds for bounds in self.latency.values()):
            raise ValueError(
                "latency.served_us needs a dev0 with the register INT_ACK of the preset edu; see asserted_us"
            )
        for n, step in enumerate(self.steps):
            device = step.set.get("device", "dev0") if step.set else step.device
            if device not in self.machine.ids:
                raise ValueError(
                    f"steps[{n}] names the unknown device {device!r}; known devices: {', '.join(self.machine.ids)}"
                )

    def options(self, driver: str) -> Options:
        """The case's table for this driver of the catalogue."""
        found: Options = getattr(self, driver.replace("-", "_"))
        return found

    @property
    def acknowledges_by_edu(self) -> bool:
        """Whether dev0 has the register INT_ACK of the preset edu, by which interrupts are served."""
        fixed = _properties(self.machine.dev0)
        preset, registers = (self.device.get(key, fixed.get(key, "")) for key in ("preset", "registers"))
        return preset in ("", "edu") and (not registers or bool(_INT_ACK.search(str(registers))))


def read(path: Path) -> Case:
    """The case in a file. `TomlError` names the file, the line, the wrong key and the allowed values."""
    try:
        case = toml.read(Case, path)
    except TomlError as error:
        raise TomlError(f"{error}\n{__file__} describes the keys") from error
    if case.id not in ("", path.stem):
        raise TomlError(f"{path}: id is {case.id!r}, but must be the file's name, {path.stem!r}")
    return replace(case, id=path.stem)


def read_catalogued(path: Path) -> Case:
    """The case in a file that has all that the catalogue needs. `TomlError` names what is missing."""
    case = read(path)
    if lacking := [key for key in _CATALOGUED if not getattr(case, key)]:
        raise TomlError(f"{path}: {lacking[0]} is missing: a case of the catalogue needs {', '.join(_CATALOGUED)}")
    if drivers := [driver for driver in DRIVERS if driver not in case.expected]:
        raise TomlError(
            f"{path}: expected needs an outcome for each of {', '.join(DRIVERS)}; missing: {', '.join(drivers)}"
        )
    return case


def ids() -> list[str]:
    """The ids of all cases."""
    return sorted(path.stem for path in DIRECTORY.glob("*.toml"))


def catalogued(case: Case) -> Path:
    """The file of a case of the catalogue."""
    return _file(case.id)


def _file(name: str) -> Path:
    return DIRECTORY / f"{name}.toml"


def get(name: str) -> Case:
    """The case with this id. `BenchError` if there is none."""
    path = _file(name)
    if not path.exists():
        raise BenchError(f"no case {name!r}: `shirq zoo list` shows all cases")
    return read_catalogued(path)
