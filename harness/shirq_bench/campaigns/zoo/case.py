# SPDX-License-Identifier: MIT
"""A case of the zoo, as zoo/cases/ID.toml describes it.

id = "nobody-cared"             # as the file is called
title = "..."                   # one line
symptom = "..."                 # what its users saw
cause = "..."
source = ["..."]                # where it is documented
explanation = '''...'''         # a paragraph: what happens, why each driver fares as it does
shows = ["line disabled"]       # the outcomes that are this symptom: one driver with one of them reproduces the bug
needs = "..."                   # optional: code in the guest, or a kernel, that the case needs, in words
kernels = ["6.1", "6.12"]       # optional: kernels that can show it; default: all
peer = "--control"              # optional: options of every driver's program
parameters = "..."              # optional: kernel parameters, besides those of every case
ci = true                       # optional: part of the small run
forgives = ["No irq handler"]   # optional: rules of splats-deny whose complaints are no driver's doing here

[machine]                       # optional
dev0 = "pm=on"                  # properties that are fixed when the device is made
devices = ["shirq-edu,id=dev2,addr=10"]     # further -device arguments, each with an id and a place on pcie.0;
                                # scripts find their addresses in $DEV2 and the like
slots = { dev0 = "10.0" }       # other places for dev0, dev1, nic0, clock than 4, 8, c, 5, in QEMU's notation, which
                                # is hexadecimal; `machine.gsi_of` says which of them share a line
vcpus = 2                       # default: one, counting instructions
memory_mib = 1024               # default: 256
log_entries = 33554432          # default: `LOG_ENTRIES`; a run that has more to log is an error, not an outcome
late_ms = 20                    # the neighbour is late when its interrupt takes longer, in virtual time

[device]                        # optional: dev0's properties that are set before the driver is bound: faults, registers

[naive]                         # optional
bug = "abandon"                 # guest/modules/naive/naive.c names them
options = "latch=1"             # further parameters of the module

[shirq]                         # optional
irq = '''...'''                 # programs where the edu preset's do not fit; irq, unmask and release, all three
mode = "acknowledges"           # what this irq program does: "masks" (default) or "acknowledges", SHIRQ_MODE_*
options = "--exclusive"         # of its program; likewise in tables for the others but naive

[expected]                      # the outcome for each driver under test
[argued]                        # optional: for a driver whose outcome is no good one, why it cannot be
[notices]                       # optional: for a driver, expressions; its program is told each, in this order
shirq = ["quarantined flags=0x1"]
[latency.shirq]                 # optional: for a driver, bounds in virtual microseconds; with one vCPU only
served_us = 500                 # from a raise of dev0 to its acknowledgement
neighbour_us = 300              # of an interrupt of the neighbour

steps = [...]                   # tables of one verb and, optionally, `only`, the drivers that it is for, and the verb's
                                # options: see `Step`

Each step is proved to have happened: a raise by the log, a setting read back, a script by its status, a schedule by its
entries in the log, a query by the neighbour's pin, a signal by the process, a refusal by the kernel's error. A step
that did not happen is an error of the case (`NotPlayed`), not an outcome. So is a guest that hangs or panics before the
first stimulus, before the stimuli that were due by then, or before the step that is `decisive`. Once a driver has
refused the device, its steps end except for `neighbour` and `check`, so that it is not blamed for later events.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final

from shirq_bench import toml
from shirq_bench.campaigns.zoo.outcome import Outcome
from shirq_bench.errors import BenchError
from shirq_bench.observe import splats
from shirq_bench.toml import TomlError, at_least, one_of

DIRECTORY = Path(__file__).with_name("cases")
#: The drivers under test.
DRIVERS: Final = ("shirq", "uio_pci_generic", "vfio-pci", "naive")
#: Entries that a case's event log holds by default: a storm that ends in a hang fits, also if the host is so busy that
#: it is seen and stopped late.
LOG_ENTRIES: Final = 1 << 24


def _above_0(value: float) -> float:
    if value <= 0:
        raise ValueError(f"must be above 0, not {value}")
    return value


def _expression(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from error
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
        raise ValueError(f"{device!r} needs id=NAME and addr=SLOT, and is on pcie.0")
    _place(words["addr"])
    return device


_PLACE = re.compile(r"([0-9a-f]{1,2})(?:\.([0-7]))?")
_LAST_SLOT = 0x1F
_Driver = Annotated[str, one_of(*DRIVERS)]
_ToDriver = Annotated[str, one_of("bind", "unbind", "start", "stop", "resume", "kill", "end", "dismiss")]
_Latency = Annotated[str, one_of("served_us", "neighbour_us")]
_Story = Annotated[str, str.strip]
_Count = Annotated[int, at_least(1)]
_Expression = Annotated[str, _expression]
_Seconds = Annotated[float, _above_0]
_Device = Annotated[str, _device]
_Slot = Annotated[str, _place]
#: The verbs that have an option; the others are every verb's.
_OPTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "device": ("raise", "lower", "schedule"),
    "pin": ("raise",),
    "message": ("raise",),
    "frozen": ("set",),
    "background": ("guest",),
    "logged": ("guest", "wait"),
    "moved": ("burst", "neighbour"),
    "shows": ("check",),
}


@dataclass(frozen=True, kw_only=True)
class Step:
    """One verb with its argument, for the drivers ``only``, all if empty, and the verb's options."""

    #: To the driver under test: stop is SIGSTOP, kill SIGKILL, end SIGTERM. dismiss: the case has taken its device
    #: away, from here on it need not serve.
    driver: _ToDriver | None = None
    #: Sources that become pending; one that is pending already is an error.
    raise_: _Count | None = field(default=None, metadata={"key": "raise"})
    #: Sources that are withdrawn; one that is not pending is an error.
    lower: _Count | None = None
    #: So many raises of dev0, of one source after the other, each after the one before was served or is late.
    burst: _Count | None = None
    #: Guest seconds to wait, at most, until everything raised has been served.
    serve: _Seconds | None = None
    #: Guest seconds to wait.
    wait: _Seconds | None = None
    #: Queries to the neighbour nic0.
    neighbour: _Count | None = None
    #: Properties, of dev0 unless `device` among them says otherwise.
    set: Mapping[str, Any] | None = None
    #: Entries for a schedule; @NS counts from now.
    schedule: str | None = None
    #: A shell script in the guest, every command of which must succeed; `run.PRELUDE` says what it can use.
    guest: str | None = None
    #: The guest crashes into a second kernel, with these further parameters; the steps go on there.
    crash: str | None = None
    #: A line for the driver's standard input; it answers before the next step.
    tell: str | None = None
    #: An expression: the driver's program prints a line that matches, behind that of the last such step.
    output: _Expression | None = None
    #: The scripts in the background end.
    join: Annotated[str, one_of("background")] | None = None
    #: What came before is no part of the verdict, but for interrupts that are still to be served.
    judge: Annotated[str, one_of("from here")] | None = None
    #: A shell script in the guest whose output must match the expression `shows`, such as `shirqctl list`.
    check: str | None = None

    only: tuple[_Driver, ...] = ()
    #: The bug's stimulus; a guest that hangs or panics in an earlier step proves nothing.
    decisive: bool = False
    #: Instead of dev0.
    device: str = "dev0"
    #: Its pin must be high after it, if only for a moment.
    pin: bool = False
    #: It must send an MSI.
    message: bool = False
    #: All properties are set at one instant of virtual time.
    frozen: bool = False
    #: The steps go on meanwhile; it must have succeeded once the driver was ended.
    background: bool = False
    #: An expression that a log entry since the step began matches: `WRITE dev0 config+0x5 0x4`,
    #: `DELIVER ioapic 20 0x22`: kind, device, register, number or GSI, value.
    logged: _Expression = ""
    #: The scripts in the background, which run all the while, move the line's interrupt; it goes on, up to ten times
    #: as long, until the line's interrupts have ended on every vCPU.
    moved: bool = False
    #: The expression that its output must match.
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
            raise ValueError("logged is for a script that ends before the next step")

    @property
    def _verbs(self) -> list[str]:
        return [name for name in _VERBS if getattr(self, name) is not None]

    @cached_property
    def verb(self) -> str:
        """As the file calls it."""
        return _VERBS[self._verbs[0]]

    @property
    def argument(self) -> Any:
        """The verb's."""
        return getattr(self, self._verbs[0])


#: The fields that are verbs, which have no value by default, and what the file calls them.
_VERBS: Final[dict[str, str]] = {
    each.name: each.metadata.get("key", each.name) for each in fields(Step) if each.default is None
}


@dataclass(frozen=True)
class Slots:
    """Places on pcie.0."""

    dev0: _Slot = "4"
    dev1: _Slot = "8"
    nic0: _Slot = "c"
    clock: _Slot = "5"


@dataclass(frozen=True)
class Board:
    """What differs from the usual machine."""

    dev0: str = ""
    devices: tuple[_Device, ...] = ()
    slots: Slots = Slots()
    vcpus: _Count = 1
    memory_mib: _Count = 256
    log_entries: _Count = LOG_ENTRIES
    late_ms: _Count = 20

    def __post_init__(self) -> None:
        if twice := sorted({name for name in self.ids if self.ids.count(name) > 1}):
            raise ValueError(f"devices: there is a device {', '.join(twice)} already")

    @property
    def ids(self) -> list[str]:
        """Of the devices that steps can name."""
        return [*vars(self.slots), *(_properties(device)["id"] for device in self.devices)]


@dataclass(frozen=True)
class Options:
    """Of a driver's program."""

    options: str = ""


@dataclass(frozen=True)
class NaiveOptions(Options):
    """Of the module naive."""

    bug: str = "none"


@dataclass(frozen=True)
class ShirqOptions(Options):
    """Of shirq's program, and its set of programs: none of three, or all."""

    irq: str | None = None
    unmask: str | None = None
    release: str | None = None
    mode: Annotated[str, one_of("masks", "acknowledges")] | None = None

    def __post_init__(self) -> None:
        if self.programs and None in (self.irq, self.unmask, self.release):
            raise ValueError("needs all of irq, unmask, release, or none of them and no mode")

    @property
    def programs(self) -> dict[str, str]:
        """The programs by name, and their mode; empty if none are given."""
        return {name: text for name, text in vars(self).items() if name != "options" and text is not None}


@dataclass(frozen=True, kw_only=True)
class Case:
    """See the module's text."""

    id: str
    title: _Story
    symptom: _Story
    cause: _Story
    source: tuple[str, ...]
    explanation: _Story
    shows: tuple[Outcome, ...]
    steps: tuple[Step, ...]
    expected: Mapping[_Driver, Outcome]
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
    #: For each driver under test, bounds on figures, in virtual us.
    latency: Mapping[_Driver, Mapping[_Latency, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if unknown := set(self.forgives) - {rule.pattern.pattern for rule in splats.rules(splats.DENY)}:
            raise ValueError(f"forgives has {', '.join(sorted(unknown))}, which are no rules of {splats.DENY}")
        if lacking := set(DRIVERS) - self.expected.keys():
            raise ValueError(
                f"expected needs an outcome for each of {', '.join(DRIVERS)}, not for {', '.join(lacking)}"
            )
        if self.latency and self.machine.vcpus != 1:
            raise ValueError("latency needs machine.vcpus = 1: with several, virtual time depends on the host")
        for n, step in enumerate(self.steps):
            device = step.set.get("device", "dev0") if step.set else step.device
            if device not in self.machine.ids:
                raise ValueError(
                    f"steps[{n}] names the unknown device {device!r}; known devices: {', '.join(self.machine.ids)}"
                )

    def options(self, driver: str) -> Options:
        """The driver's table."""
        found: Options = getattr(self, driver.replace("-", "_"))
        return found


def read(path: Path) -> Case:
    """The case in a file. `TomlError` says what is wrong with it: the file, the key, what would be right."""
    try:
        case = toml.read(Case, path)
    except TomlError as error:
        raise TomlError(f"{error}; the layout is in {__file__}") from error
    if case.id != path.stem:
        raise TomlError(f"{path}: id is {case.id!r}, the file is called {path.stem!r}")
    return case


def ids() -> list[str]:
    """The ids of all cases."""
    return sorted(path.stem for path in DIRECTORY.glob("*.toml"))


def get(name: str) -> Case:
    """The case with this id. `BenchError` if there is none."""
    path = DIRECTORY / f"{name}.toml"
    if not path.exists():
        raise BenchError(f"no case {name!r}: `shirq zoo list` shows those that there are")
    return read(path)
