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
vcpus = 2                       # default: one, counting instructions
memory_mib = 1024               # default: 256
late_ms = 20                    # the neighbour is late when its interrupt takes longer, in virtual time

[device]                        # optional: properties that are set before the driver is bound; shirq-edu's faults

[naive]                         # optional
bug = "abandon"                 # guest/modules/naive/naive.c names them
options = "latch=1"             # further parameters of the module

[shirq]                         # optional
irq = '''...'''                 # programs where the edu preset's do not fit; all three, then
options = "--exclusive"         # of its program; likewise in tables for the others but naive

[expected]                      # the outcome for each driver under test
[argued]                        # optional: for a driver whose outcome is no good one, why it cannot be

steps = [...]                   # tables of one verb (see `VERBS`) and, optionally, `only`, the drivers that it is for
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from shirq_bench import splats
from shirq_bench.errors import BenchError
from shirq_bench.zoo.outcome import Outcome

DIRECTORY = Path(__file__).with_name("cases")
#: The drivers under test.
DRIVERS: Final = ("shirq", "uio_pci_generic", "vfio-pci", "naive")
#: What a step can do, and its argument.
VERBS: Final = {
    "driver": "bind, unbind, start, stop (SIGSTOP), resume, kill (SIGKILL) or end (SIGTERM) the driver under test; "
    "dismiss: the case has taken its device away, from here on it need not serve",
    "raise": "sources of dev0 that become pending",
    "lower": "sources of dev0 that are withdrawn",
    "burst": "so many raises, of one source after the other, each after the one before was served or is late",
    "serve": "guest seconds to wait, at most, until everything raised has been served",
    "wait": "guest seconds to wait",
    "neighbour": "queries to the neighbour nic0",
    "set": "properties of dev0, or of another device in its `device`",
    "schedule": "entries for dev0's schedule; @NS counts from now",
    "guest": "a shell script in the guest; `run.PRELUDE` says what it can use",
    "crash": "the guest crashes into a second kernel, with these further parameters; the steps go on there",
    "tell": "a line for the driver's standard input; it answers before the next step",
}


class CaseError(BenchError):
    """A case's file says something that makes no sense; the message says what, and what would."""


@dataclasses.dataclass(frozen=True)
class Step:
    """One verb with its argument; ``only``: the drivers that it is for, all if empty."""

    verb: str
    argument: Any
    only: tuple[str, ...] = ()


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


_TEXTS = ("id", "title", "symptom", "cause", "explanation", "needs", "parameters", "peer")
_LISTS = ("source", "shows", "kernels", "forgives")
_MACHINE = {"dev0": str, "vcpus": int, "memory_mib": int, "late_ms": int}


def read(path: Path) -> Case:
    """The case in a file. `CaseError` says what is wrong with it."""
    try:
        return _case(path, tomllib.loads(path.read_text()))
    except tomllib.TOMLDecodeError as error:
        raise CaseError(f"{path}: {error}") from error
    except (KeyError, ValueError, TypeError) as error:
        raise CaseError(f"{path}: {type(error).__name__}: {error}; the layout is in zoo/case.py") from error


def _case(path: Path, data: dict[str, Any]) -> Case:
    known = {*_TEXTS, *_LISTS, "steps", "expected", "argued", "ci", "machine", "device", *DRIVERS}
    if unknown := data.keys() - known:
        raise ValueError(f"no case has {', '.join(sorted(unknown))}: there are {', '.join(sorted(known))}")
    if data["id"] != path.stem:
        raise ValueError(f"id is {data['id']!r}, the file is called {path.stem!r}")
    if unknown := data.get("machine", {}).keys() - _MACHINE.keys():
        raise ValueError(f"[machine] has {', '.join(unknown)}: there are {', '.join(_MACHINE)}")
    if unknown := set(data.get("forgives", ())) - {rule.pattern.pattern for rule in splats.rules(splats.DENY)}:
        raise ValueError(f"forgives has {', '.join(sorted(unknown))}, which are no rules of {splats.DENY}")
    expected = {driver: Outcome(value) for driver, value in data["expected"].items()}
    if expected.keys() != set(DRIVERS):
        raise ValueError(f"[expected] needs an outcome for each of {', '.join(DRIVERS)}")
    return Case(
        **{name: data[name].strip() for name in _TEXTS if name in data},
        source=tuple(data["source"]),
        shows=tuple(Outcome(each) for each in data["shows"]),
        kernels=tuple(data.get("kernels", ())),
        forgives=tuple(data.get("forgives", ())),
        steps=tuple(_step(step) for step in data["steps"]),
        expected=expected,
        argued=data.get("argued", {}),
        ci=data.get("ci", False),
        machine=data.get("machine", {}),
        device=data.get("device", {}),
        options={driver: data.get(driver, {}) for driver in DRIVERS},
    )


def _step(data: dict[str, Any]) -> Step:
    rest = {key: value for key, value in data.items() if key != "only"}
    verbs = rest.keys() & VERBS.keys()
    if len(rest) != 1 or not verbs:
        raise ValueError(f"the step {data} needs exactly one of {', '.join(VERBS)}")
    only = tuple(data.get("only", ()))
    if unknown := set(only) - set(DRIVERS):
        raise ValueError(f"the step {data} is for {', '.join(unknown)}: there are {', '.join(DRIVERS)}")
    verb = verbs.pop()
    return Step(verb, rest[verb], only)


def ids() -> list[str]:
    """The ids of all cases."""
    return sorted(path.stem for path in DIRECTORY.glob("*.toml"))


def get(name: str) -> Case:
    """The case with this id. `CaseError` if there is none."""
    path = DIRECTORY / f"{name}.toml"
    if not path.exists():
        raise CaseError(f"no case {name!r}: `shirq zoo list` shows those that there are")
    return read(path)
