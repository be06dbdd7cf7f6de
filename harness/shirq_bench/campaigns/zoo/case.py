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

steps = [...]                   # tables of one verb (see `VERBS`) and, optionally, `only`, the drivers that it is for,
                                # and what `OPTIONS` has for the verb

Each step is proved to have happened: a raise by the log, a setting read back, a script by its status, a schedule by its
entries in the log, a query by the neighbour's pin, a signal by the process, a refusal by the kernel's error. A step
that did not happen is an error of the case (`NotPlayed`), not an outcome. So is a guest that hangs or panics before the
first stimulus, before the stimuli that were due by then, or before the step that is `decisive`. Once a driver has
refused the device, its steps end except for `neighbour` and `check`, so that it is not blamed for later events.
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from shirq_bench.campaigns.zoo.outcome import Outcome
from shirq_bench.errors import BenchError
from shirq_bench.observe import splats

DIRECTORY = Path(__file__).with_name("cases")
#: The drivers under test.
DRIVERS: Final = ("shirq", "uio_pci_generic", "vfio-pci", "naive")
#: Entries that a case's event log holds by default: a storm that ends in a hang fits, also if the host is so busy that
#: it is seen and stopped late.
LOG_ENTRIES: Final = 1 << 24
#: The verbs of steps, and their arguments.
VERBS: Final = {
    "driver": "bind, unbind, start, stop (SIGSTOP), resume, kill (SIGKILL) or end (SIGTERM) the driver under test; "
    "dismiss: the case has taken its device away, from here on it need not serve",
    "raise": "sources that become pending; one that is pending already is an error",
    "lower": "sources that are withdrawn; one that is not pending is an error",
    "burst": "so many raises of dev0, of one source after the other, each after the one before was served or is late",
    "serve": "guest seconds to wait, at most, until everything raised has been served",
    "wait": "guest seconds to wait",
    "neighbour": "queries to the neighbour nic0",
    "set": "properties, of dev0 unless `device` among them says otherwise",
    "schedule": "entries for a schedule; @NS counts from now",
    "guest": "a shell script in the guest, every command of which must succeed; `run.PRELUDE` says what it can use",
    "crash": "the guest crashes into a second kernel, with these further parameters; the steps go on there",
    "tell": "a line for the driver's standard input; it answers before the next step",
    "output": "an expression: the driver's program prints a line that matches, behind that of the last such step",
    "join": "'background': the scripts in the background end",
    "judge": "'from here': what came before is no part of the verdict, but for interrupts that are still to be served",
    "check": "a shell script in the guest whose output must match the expression `shows`, such as `shirqctl list`",
}
#: Further keys of a step: the verbs that have it, and its effect.
OPTIONS: Final = {
    "device": (("raise", "lower", "schedule"), "the device, instead of dev0"),
    "decisive": (
        tuple(VERBS),
        "true: it is the bug's stimulus; a guest that hangs or panics in an earlier step proves nothing",
    ),
    "pin": (("raise",), "true: its pin must be high after it, if only for a moment"),
    "message": (("raise",), "true: it must send an MSI"),
    "frozen": (("set",), "true: all properties are set at one instant of virtual time"),
    "background": (("guest",), "true: the steps go on meanwhile; it must have succeeded once the driver was ended"),
    "logged": (
        ("guest", "wait"),
        "an expression that a log entry since the step began matches: `WRITE dev0 config+0x5 0x4`, "
        "`DELIVER ioapic 20 0x22`: kind, device, register, number or GSI, value",
    ),
    "moved": (
        ("burst", "neighbour"),
        "true: the scripts in the background, which run all the while, move the line's interrupt; it goes on, up to "
        "ten times as long, until the line's interrupts have ended on every vCPU",
    ),
    "shows": (("check",), "the expression that its output must match"),
}
#: The accepted arguments of some verbs.
_WORDS: Final = {
    "driver": ("bind", "unbind", "start", "stop", "resume", "kill", "end", "dismiss"),
    "join": ("background",),
    "judge": ("from here",),
}
_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "raise": (int,),
    "lower": (int,),
    "burst": (int,),
    "serve": (int, float),
    "wait": (int, float),
    "neighbour": (int,),
    "set": (dict,),
}


class CaseError(BenchError):
    """A case's file is invalid; the message gives the error and the expected form."""


@dataclasses.dataclass(frozen=True)
class Step:
    """One verb with its argument. ``only`` are the drivers that it is for, all if empty; other fields are `OPTIONS`."""

    verb: str
    argument: Any
    only: tuple[str, ...] = ()
    device: str = "dev0"
    pin: bool = False
    message: bool = False
    frozen: bool = False
    background: bool = False
    decisive: bool = False
    moved: bool = False
    logged: str = ""
    shows: str = ""


@dataclasses.dataclass(frozen=True)
class Case:
    """See the module's text."""

    id: str
    title: str
    symptom: str
    cause: str
    source: tuple[str, ...]
    explanation: str
    shows: tuple[Outcome, ...]
    steps: tuple[Step, ...]
    expected: Mapping[str, Outcome]
    argued: Mapping[str, str]
    needs: str = ""
    kernels: tuple[str, ...] = ()
    forgives: tuple[str, ...] = ()
    parameters: str = ""
    peer: str = ""
    ci: bool = False
    machine: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    device: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    #: For each driver under test, its table.
    options: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)
    #: For each driver under test, regular expressions that match the notices its program must receive.
    notices: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    #: For each driver under test, bounds on figures, in virtual us.
    latency: Mapping[str, Mapping[str, int]] = dataclasses.field(default_factory=dict)


_TEXTS = ("id", "title", "symptom", "cause", "explanation", "needs", "parameters", "peer")
_LISTS = ("source", "shows", "kernels", "forgives")
_TABLES = ("expected", "argued", "machine", "device", "notices", "latency", *DRIVERS)
_REQUIRED = ("id", "title", "symptom", "cause", "source", "explanation", "shows", "steps", "expected")
_MACHINE = {
    "dev0": str,
    "devices": list,
    "slots": dict,
    "vcpus": int,
    "memory_mib": int,
    "log_entries": int,
    "late_ms": int,
}
_SLOTS = ("dev0", "dev1", "nic0", "clock")
_PROGRAMS = ("irq", "unmask", "release")
_MODES = ("masks", "acknowledges")
_OF_DRIVER = {
    "shirq": (*_PROGRAMS, "mode", "options"),
    "uio_pci_generic": ("options",),
    "vfio-pci": ("options",),
    "naive": ("bug", "options"),
}
_LATENCIES = ("served_us", "neighbour_us")
_PLACE = re.compile(r"([0-9a-f]{1,2})(?:\.([0-7]))?")
_LAST_SLOT = 0x1F


def read(path: Path) -> Case:
    """Read the case in a file. Raises `CaseError` with the file, the key and the expected form."""
    try:
        return _case(path, tomllib.loads(path.read_text()))
    except (tomllib.TOMLDecodeError, ValueError) as error:
        raise CaseError(f"{path}: {error}; the layout is in {__file__}") from error


def _known(what: str, keys: Iterable[str], allowed: Iterable[str]) -> None:
    allowed = list(allowed)
    if unknown := sorted(set(keys) - set(allowed)):
        raise ValueError(f"{what} has {', '.join(unknown)}: there are {', '.join(sorted(allowed))}")


def _typed(what: str, value: object, *wanted: type) -> Any:
    # A bool is an int to Python.
    if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
        raise ValueError(f"{what} must be {' or '.join(each.__name__ for each in wanted)}, not {value!r}")
    return value


def _texts(what: str, value: object) -> tuple[str, ...]:
    return tuple(_typed(f"each of {what}", each, str) for each in _typed(what, value, list))


def _outcome(what: str, value: object) -> Outcome:
    if value not in list(Outcome):
        raise ValueError(f"{what} is {value!r}: there are {', '.join(Outcome)}")
    return Outcome(str(value))


def _case(path: Path, data: dict[str, Any]) -> Case:
    _known("the case", data, (*_TEXTS, *_LISTS, *_TABLES, "steps", "ci"))
    if missing := [name for name in _REQUIRED if name not in data]:
        raise ValueError(f"the case has no {', '.join(missing)}")
    texts = {name: _typed(name, data[name], str).strip() for name in _TEXTS if name in data}
    lists = {name: _texts(name, data.get(name, [])) for name in _LISTS}
    tables = {name: _typed(f"[{name}]", data.get(name, {}), dict) for name in _TABLES}
    if data["id"] != path.stem:
        raise ValueError(f"id is {data['id']!r}, the file is called {path.stem!r}")
    if unknown := set(lists["forgives"]) - {rule.pattern.pattern for rule in splats.rules(splats.DENY)}:
        raise ValueError(f"forgives has {', '.join(sorted(unknown))}, which are no rules of {splats.DENY}")
    for name in ("expected", "argued", "notices", "latency"):
        _known(f"[{name}]", tables[name], DRIVERS)
    if lacking := set(DRIVERS) - tables["expected"].keys():
        raise ValueError(f"[expected] needs an outcome for each of {', '.join(DRIVERS)}: missing {', '.join(lacking)}")
    ids = _machine(tables["machine"])
    for driver in DRIVERS:
        _options(driver, tables[driver])
    for driver, bounds in tables["latency"].items():
        _known(f"[latency.{driver}]", _typed(f"[latency] {driver}", bounds, dict), _LATENCIES)
        for name, bound in bounds.items():
            _typed(f"[latency.{driver}] {name}", bound, int)
    if tables["latency"] and tables["machine"].get("vcpus", 1) != 1:
        raise ValueError("[latency] needs [machine] vcpus = 1: with several, virtual time depends on the host")
    return Case(
        **texts,
        source=lists["source"],
        shows=tuple(_outcome("one of shows", each) for each in lists["shows"]),
        kernels=lists["kernels"],
        forgives=lists["forgives"],
        steps=tuple(_step(step, ids) for step in _typed("steps", data["steps"], list)),
        expected={driver: _outcome(f"[expected] {driver}", value) for driver, value in tables["expected"].items()},
        argued=tables["argued"],
        ci=_typed("ci", data.get("ci", False), bool),
        machine=tables["machine"],
        device=tables["device"],
        options={driver: tables[driver] for driver in DRIVERS},
        notices={driver: _texts(f"[notices] {driver}", value) for driver, value in tables["notices"].items()},
        latency=tables["latency"],
    )


def _machine(machine: Mapping[str, Any]) -> tuple[str, ...]:
    """Check [machine]; returns the ids of the devices that steps can name."""
    _known("[machine]", machine, _MACHINE)
    for name, value in machine.items():
        _typed(f"[machine] {name}", value, _MACHINE[name])
    for name in ("vcpus", "memory_mib", "log_entries", "late_ms"):
        if machine.get(name, 1) < 1:
            raise ValueError(f"[machine] {name} must be 1 or more, not {machine[name]}")
    slots = machine.get("slots", {})
    _known("[machine] slots", slots, _SLOTS)
    for name, place in slots.items():
        _place(f"[machine] slots: {name}", place)
    ids = list(_SLOTS)
    for device in _texts("[machine] devices", machine.get("devices", [])):
        words = dict(word.partition("=")[::2] for word in device.split(","))
        if not words.get("id") or "addr" not in words or "bus" in words:
            raise ValueError(f"[machine] devices: {device!r} needs id=NAME and addr=SLOT, and is on pcie.0")
        _place(f"[machine] devices: {device!r}", words["addr"])
        ids.append(words["id"])
    if twice := sorted({name for name in ids if ids.count(name) > 1}):
        raise ValueError(f"[machine] devices: there is a device {', '.join(twice)} already")
    return tuple(ids)


def _place(what: str, place: object) -> None:
    match = _PLACE.fullmatch(str(place))
    if not match or not 0 < int(match[1], 16) <= _LAST_SLOT:
        raise ValueError(f"{what}: a place is SLOT or SLOT.FUNCTION, hexadecimal, up to {_LAST_SLOT:x}, not {place!r}")


def _options(driver: str, table: Mapping[str, Any]) -> None:
    _known(f"[{driver}]", table, _OF_DRIVER[driver])
    for name, value in table.items():
        _typed(f"[{driver}] {name}", value, str)
    programs = [name for name in _PROGRAMS if name in table]
    if (programs or "mode" in table) and len(programs) != len(_PROGRAMS):
        raise ValueError(f"[{driver}] needs all of {', '.join(_PROGRAMS)}, or none of them and no mode")
    if table.get("mode", "masks") not in _MODES:
        raise ValueError(f"[{driver}] mode is {table['mode']!r}: there are {', '.join(_MODES)}")


def _step(data: object, ids: Sequence[str]) -> Step:
    _typed("a step", data, dict)
    assert isinstance(data, dict)
    what = f"the step {data}"
    verbs = data.keys() & VERBS.keys()
    if len(verbs) != 1:
        raise ValueError(f"{what} needs exactly one of {', '.join(VERBS)}")
    (verb,) = verbs
    allowed = [name for name, (of, _) in OPTIONS.items() if verb in of]
    _known(what, data, [verb, "only", *allowed])
    argument = _typed(f"{what}: its argument", data[verb], *_TYPES.get(verb, (str,)))
    if argument not in _WORDS.get(verb, (argument,)):
        raise ValueError(f"{what}: {verb} takes one of {', '.join(_WORDS[verb])}")
    if verb in _TYPES and verb != "set" and argument <= 0:
        raise ValueError(f"{what}: {verb} takes a number above 0")
    for name in ("pin", "message", "frozen", "background", "decisive", "moved"):
        _typed(f"{what}: {name}", data.get(name, False), bool)
    if verb == "check" and not data.get("shows"):
        raise ValueError(f"{what} needs shows, the expression that the output must match")
    if data.get("background") and "logged" in data:
        raise ValueError(f"{what}: logged is for a script that ends before the next step")
    for name in ("shows", "logged", "output"):
        try:
            re.compile(_typed(f"{what}: {name}", data.get(name, ""), str))
        except re.error as error:
            raise ValueError(f"{what}: {name} is no regular expression: {error}") from error
    device = argument.get("device", "dev0") if verb == "set" else data.get("device", "dev0")
    if device not in ids:
        raise ValueError(f"{what} names the device {device!r}: there are {', '.join(ids)}")
    only = _texts(f"{what}: only", data.get("only", []))
    _known(f"{what}: only", only, DRIVERS)
    return Step(verb, argument, only, **{name: data[name] for name in allowed if name in data})


def ids() -> list[str]:
    """The ids of all cases."""
    return sorted(path.stem for path in DIRECTORY.glob("*.toml"))


def get(name: str) -> Case:
    """The case with this id. `CaseError` if there is none."""
    path = DIRECTORY / f"{name}.toml"
    if not path.exists():
        raise CaseError(f"no case {name!r}: `shirq zoo list` lists the cases")
    return read(path)
