# SPDX-License-Identifier: MIT
"""Chooses the accelerator of the guests: KVM where it really works, TCG elsewhere.

An openable /dev/kvm proves nothing: on software-virtualised hosts Linux under KVM hangs before its first message. So
the probe boots a real kernel, which must print a late message within a timeout. The result is cached for each
combination of QEMU, host kernel and CPU. If the timeout expired on a busy host, the result is cached for an hour at
most. ``SHIRQ_ACCEL=tcg`` or ``=kvm`` overrides the choice.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import pexpect

from shirq_bench.channels.console import Console
from shirq_bench.deadline import Deadline
from shirq_bench.errors import BenchError
from shirq_bench.provision import cache, kernel
from shirq_bench.provision.steps import say
from shirq_bench.vm.emulator import Emulator

NODE = Path("/dev/kvm")

#: A kernel without a root file system prints this at the end of its boot, after a second under a working KVM.
_MARKER = "VFS: Unable to mount root fs"
#: Seconds within which the probe's kernel must print this message, on an idle host.
PROBE_DEADLINE = 20.0
#: The kernel that the probe boots.
PROBE_KERNEL = "6.1"


@dataclass(frozen=True)
class Accelerator:
    """``name`` is ``kvm`` or ``tcg``; ``why`` is a one-line reason.

    ``certain`` is false if the probe timed out on a busy host: the result then holds until the end of the hour.
    """

    name: str
    why: str
    certain: bool = True

    def arguments(self, turn_ns: int | None = None) -> list[str]:
        """QEMU's machine, accelerator and CPU arguments.

        With ``turn_ns`` the VM is deterministic, and this is the longest turn of a vCPU, in ns of virtual time.
        Instruction counting needs TCG.
        """
        if turn_ns is not None:
            return [
                # QEMU reads -icount before -accel, wherever it is.
                *("-machine", "q35,hpet=off", "-accel", f"tcg,turn-ns={turn_ns}"),
                *("-icount", "shift=0,sleep=off", "-rtc", "base=2024-01-01,clock=vm", "-seed", "1"),
            ]
        if self.name == "kvm":
            # A split irqchip leaves the IOAPIC in QEMU, where the line probe can observe it.
            return ["-machine", "q35,kernel-irqchip=split", "-accel", "kvm", "-cpu", "host"]
        # With the VM's clock, the clock chip is as it was after a rewind, too.
        return ["-machine", "q35,hpet=off", "-accel", "tcg,thread=multi", "-rtc", "clock=vm"]

    def identity(self, turn_ns: int | None = None) -> list[str]:
        """The parts of a template's key: the arguments and, with the host's processor, the host's kernel and CPU."""
        arguments = self.arguments(turn_ns)
        return [*arguments, *(_host() if "host" in arguments else ())]


class _Uncertain(Exception):
    """Raised in `fill` to make no permanent entry: the verdict ``found`` is uncertain and has a short-lived entry."""

    def __init__(self, found: Accelerator) -> None:
        super().__init__(found.why)
        self.found = found


def verdict(emulator: Path) -> Accelerator:
    """The accelerator for ``emulator`` on this machine. Boots a probe on a machine with KVM if no verdict is cached."""
    if found := cached(emulator):
        return found

    def fill(directory: Path) -> None:
        # Another process may have probed while this one waited for its turn.
        if found := cached(emulator):
            raise _Uncertain(found)
        result = probe(emulator, kernel.get(PROBE_KERNEL).vmlinuz)
        say(f"accelerator: {result.name} ({result.why})")
        if not result.certain:
            cache.entry("accel", _key(emulator, _hour()), lambda directory: _write(directory, result))
            raise _Uncertain(result)
        _write(directory, result)

    try:
        return _read(cache.entry("accel", _key(emulator), fill))
    except _Uncertain as uncertain:
        return uncertain.found


def cached(emulator: Path) -> Accelerator | None:
    """The accelerator for ``emulator`` on this machine, or None if `verdict` would have to boot the probe."""
    if found := _without_probe():
        return found
    for key in (_key(emulator), _key(emulator, _hour())):
        if (kept := cache.root() / "accel" / key).exists():
            cache.used(kept)
            return _read(kept)
    return None


def _without_probe() -> Accelerator | None:
    """The accelerator, or None if only a probe can tell."""
    if forced := os.environ.get("SHIRQ_ACCEL"):
        if forced not in ("kvm", "tcg"):
            raise BenchError(f"SHIRQ_ACCEL={forced!r}: allowed are 'kvm' and 'tcg'")
        return Accelerator(forced, "chosen by SHIRQ_ACCEL")
    if not os.access(NODE, os.R_OK | os.W_OK):
        reason = "is not accessible to this user" if NODE.exists() else "does not exist"
        return Accelerator("tcg", f"{NODE} {reason}")
    return None


def _key(emulator: Path, *further: str) -> str:
    return cache.digest(cache.name(emulator), *_host(), *further)


def _host() -> tuple[str, str]:
    return platform.release(), _cpu()


def _hour() -> str:
    """The present hour, as a part of a key: in the next hour an uncertain verdict is not found any more."""
    return f"hour {int(time.time()) // 3600}"


def _write(directory: Path, found: Accelerator) -> None:
    (directory / "verdict.json").write_text(json.dumps(asdict(found)))


def _read(directory: Path) -> Accelerator:
    return Accelerator(**json.loads((directory / "verdict.json").read_text()))


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return "".join(line for line in lines if line.startswith(("model name", "microcode")))[:200]


def probe(emulator: Path, vmlinuz: Path) -> Accelerator:
    """Choose KVM if a kernel boots under it, up to the message that there is no root file system; otherwise TCG."""
    say(f"probing {NODE}: booting a kernel under it (at most {PROBE_DEADLINE:g} s, more on a busy host)")
    candidate = Accelerator("kvm", "a kernel boots under it")
    argv = ["-no-reboot", *candidate.arguments(), "-m", "256M", "-kernel", str(vmlinuz)]
    argv += ["-append", "console=ttyS0 panic=-1", "-serial", "chardev:console"]
    machine = Emulator("probe", "shirq-probe-")
    with contextlib.closing(machine):
        ours = machine.start(
            emulator, lambda channels: ["-chardev", f"socket,id=console,fd={channels['console']}", *argv], ("console",)
        )
        end = Deadline(PROBE_DEADLINE)
        with contextlib.closing(Console(machine.name, ours["console"], machine.dir / "console.log")) as console:
            try:
                booted = console.shows(_MARKER, end)
            except pexpect.EOF:
                said = machine.said().splitlines()
                say(f"QEMU said: {said[-1] if said else 'nothing'}")
                return Accelerator("tcg", "KVM is broken here: QEMU ended before a kernel booted")
            finally:
                machine.kill()
    if booted:
        return candidate
    why = f"KVM is broken here: {NODE} opens, but a kernel does not boot within {end}"
    return Accelerator("tcg", why, certain=not end.stretched)
