# SPDX-License-Identifier: MIT
"""Checks whether this machine can run the bench, and gives the remedy for each problem.

Nothing is fetched, built or changed.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib import metadata
from pathlib import Path

import click
from packaging.requirements import Requirement
from rich.console import Console

from shirq_bench.paths import checkout
from shirq_bench.provision import cache, costs, deps, housekeeping, kernel, qemu
from shirq_bench.vm import accel

_GIB = 1 << 30
#: Free bytes on the disk. Below the first limit nothing can be built, below the second not everything.
_TOO_LITTLE, _LITTLE = 2 * _GIB, 12 * _GIB
#: Package groups that are needed to build guests; the other groups are optional.
_NEEDED = ("python", "qemu", "guest")


class State(StrEnum):
    """The result of a check: good, a warning, or an error."""

    OK = "ok"
    WARN = "warn"
    BAD = "bad"


@dataclass(frozen=True)
class Check:
    """One line of the report. ``remedy`` is the action to take, empty only if the check passed."""

    subject: str
    state: State
    said: str
    remedy: str = ""

    def __post_init__(self) -> None:
        if self.state is not State.OK and not self.remedy:
            raise ValueError(f"{self.subject}: {self.said}: a finding without a remedy")


def examine() -> Iterator[Check]:
    """All checks, in order. A check that raises an error is reported as failed."""
    parts: list[Callable[[], Iterator[Check]]] = [
        *(_python, _packages, _system, _disk, _emulator, _accelerator, _kernels, _first_guest),
    ]
    for part in parts:
        try:
            yield from part()
        except Exception as error:
            subject = part.__name__.strip("_")
            said = f"cannot be examined: {type(error).__name__}: {error}"
            yield Check(subject, State.BAD, said, _repair())


def _repair() -> str:
    again = "see `git status` for changed files" if checkout() else "run `pip install --force-reinstall shirq-bench`"
    return f"{again}; if that does not help, point SHIRQ_CACHE to an empty directory"


def _how(verb: str, words: str) -> str:
    """The command to suggest: ``make verb`` in a checkout, otherwise `shirq` with ``words``."""
    return f"make {verb}" if checkout() else f"{sys.executable} -m shirq_bench.cli {words}"


def _python() -> Iterator[Check]:
    version = ".".join(map(str, sys.version_info[:3]))
    good = sys.version_info >= (3, 11)
    yield Check("Python", State.OK if good else State.BAD, version, "" if good else "use Python 3.11 or newer")


def _packages() -> Iterator[Check]:
    """Compare the installed packages with requirements.lock; in a wheel, with its requirements."""
    if top := checkout():
        wanted = re.findall(r"^[\w.-]+==\S+", (top / "requirements.lock").read_text(), re.MULTILINE)
        right, remedy = "as locked", "make deps"
    else:
        wanted = metadata.requires("shirq-bench") or []
        right, remedy = "as required", "pip install --upgrade shirq-bench"
    missing, other = [], []
    requirements = [Requirement(line) for line in wanted if "extra ==" not in line]
    for requirement in requirements:
        try:
            if (found := metadata.version(requirement.name)) not in requirement.specifier:
                other.append(f"{requirement.name} is {found}, not {requirement.specifier}")
        except metadata.PackageNotFoundError:
            missing.append(requirement.name)
    if missing:
        yield Check("Python packages", State.BAD, f"missing: {', '.join(missing)}", remedy)
    if other:
        yield Check("Python packages", State.WARN, f"not {right}: {', '.join(other)}", remedy)
    if not missing and not other:
        yield Check("Python packages", State.OK, f"{len(requirements)} {right}")


def _system() -> Iterator[Check]:
    if not shutil.which("apt-get") or not shutil.which("dpkg-query"):
        said = "apt, which fetches QEMU's source and the kernels, is missing"
        yield Check("system packages", State.BAD, said, "use Debian")
        return
    for group in deps.PACKAGES:
        lacking = deps.missing([group])
        if not lacking:
            yield Check(f"packages: {group}", State.OK, "all installed")
            continue
        said = "; ".join(f"{name} is missing ({why})" for name, why in lacking.items())
        state = State.BAD if group in _NEEDED else State.WARN
        yield Check(f"packages: {group}", state, said, f"{sys.executable} -m shirq_bench.cli deps {group}")


def _disk() -> Iterator[Check]:
    root = cache.root()
    there = root
    while not there.exists():
        there = there.parent
    if not os.access(there, os.W_OK):
        yield Check("cache", State.BAD, f"{there} cannot be written to", "point SHIRQ_CACHE to a writable directory")
        return
    free = shutil.disk_usage(there).free
    held = housekeeping.items()
    used = sum(item.size for item in held)
    said = f"{root}: {used / _GIB:.1f} GiB used, {free / _GIB:.1f} GiB free"
    state = State.BAD if free < _TOO_LITTLE else State.WARN if free < _LITTLE else State.OK
    yield Check("cache", state, said, "" if state is State.OK else "shirq gc, or point SHIRQ_CACHE elsewhere")
    if left := [item for item in held if item.partial]:
        size = sum(item.size for item in left)
        yield Check("cache", State.OK, f"{len(left)} partial builds, running or left behind ({size / _GIB:.1f} GiB)")


def _emulator() -> Iterator[Check]:
    if path := qemu.cached():
        yield Check("QEMU", State.OK, str(path))
    else:
        yield Check(
            "QEMU",
            State.WARN,
            f"not built for this recipe and device; one build takes {costs.QEMU}",
            _how("qemu", "build qemu"),
        )


def _accelerator() -> Iterator[Check]:
    emulator = qemu.cached()
    if not emulator or not kernel.cached(accel.PROBE_KERNEL):
        said = "not probed: QEMU and a kernel must be built first"
        yield Check("accelerator", State.WARN, said, _how("guest", "build image 6.1"))
        return
    if not (found := accel.cached(emulator)):
        said = f"{accel.NODE} exists; before the first guest, a probe kernel is booted to see whether KVM works"
        yield Check("accelerator", State.WARN, said, "shirq run -- true")
        return
    remedy = "" if found.name == "kvm" else f"{_kvm_remedy()}; without KVM everything works, but ten times slower"
    yield Check("accelerator", State.OK if found.name == "kvm" else State.WARN, f"{found.name}: {found.why}", remedy)


def _kvm_remedy() -> str:
    if "SHIRQ_ACCEL" in os.environ:
        return "unset SHIRQ_ACCEL, so that KVM is probed"
    if not accel.NODE.exists():
        return (
            "switch virtualisation on in the firmware or, in a virtual machine, nested virtualisation on its host; "
            "then load kvm_intel or kvm_amd"
        )
    if not os.access(accel.NODE, os.R_OK | os.W_OK):
        return f"give yourself access to {accel.NODE} (on Debian: join the group kvm)"
    return "use a machine without a hypervisor, or one whose hypervisor has working nested virtualisation"


def _kernels() -> Iterator[Check]:
    for name in kernel.names():
        found = kernel.cached(name)
        if not found:
            yield Check(f"kernel {name}", State.OK, f"not in the cache; its first use takes {costs.of_kernel(name)}")
        elif lost := [path for path in (found.vmlinuz, found.modules, found.headers) if not Path(path).exists()]:
            said = f"{found.release}, without {', '.join(str(path) for path in lost)}"
            yield Check(f"kernel {name}", State.BAD, said, f"rm -r {found.vmlinuz.parent}")
        else:
            yield Check(f"kernel {name}", State.OK, found.release)


def _first_guest() -> Iterator[Check]:
    name = accel.PROBE_KERNEL
    lacking = costs.of_first_guest(name)
    said = f"with kernel {name} takes {lacking}" if lacking.gib else f"with kernel {name} lacks nothing"
    yield Check("the first guest", State.OK, said)


_STYLES = {State.OK: "green", State.WARN: "yellow", State.BAD: "bold red"}


@click.command("doctor")
def command() -> None:
    """Check whether this machine can run the bench, and print a remedy for each problem; changes nothing.

    Exits with 1 if anything is bad. After a warning the bench works, but more slowly or only after a build.
    """
    console = Console()
    bad = 0
    for check in examine():
        console.print(f"{check.state:<4}", style=_STYLES[check.state], end="  ")
        console.print(f"{check.subject}: {check.said}", markup=False, highlight=False, soft_wrap=True)
        if check.remedy:
            console.print(f"      -> {check.remedy}", markup=False, highlight=False, soft_wrap=True)
        bad += check.state is State.BAD
    sys.exit(1 if bad else 0)
