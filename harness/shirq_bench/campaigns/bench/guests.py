# SPDX-License-Identifier: MIT
"""Compares the costs of guests: a clone, a cold boot, and virtme-ng as its users run it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil

from shirq_bench import supervisor
from shirq_bench.campaigns.bench import contender, cost
from shirq_bench.campaigns.bench.cost import Spread
from shirq_bench.errors import BenchError
from shirq_bench.provision import kernel
from shirq_bench.vm import template
from shirq_bench.vm.machine import LOAD_MODULE, SHARED_LINE, Machine, bind_at, start
from shirq_bench.vm.vm import Vm

#: Numbers of clones and of boots: for the time to the first command, and for each worker in the throughput.
_CLONES, _BOOTS = 100, 5
_CLONES_A_WORKER, _BOOTS_A_WORKER = 40, 3
WORKERS = (1, 2, 4)
#: Numbers of tests of a suite, in `_SUITE_WORKERS` workers; each test is a clone and a command.
SUITES = (10, 100, 1000)
_SUITE_WORKERS = 2
#: Numbers of armed devices on one line.
DEVICES = (1, 4, 16, 64)
_INTERRUPTS = 100
#: The folder of virtme-ng.
_TOOLS = Path(sys.executable).parent

#: A guest as a context manager: on entry the guest has run its first command. Yields the process id of its QEMU.
_Way = Callable[[], AbstractContextManager[int]]


def first_command(vm: Vm) -> float:
    """Start or clone the VM and run a command; returns the time for both, in milliseconds."""
    started = time.monotonic()
    vm.boot().agent.succeed("true")
    return (time.monotonic() - started) * 1000


def cpu_ns(pid: int) -> int:
    """The CPU time, in ns, of a process's threads; from schedstat, because psutil counts in ticks of 10 ms."""
    return sum(int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir())


def _private_mib(pid: int) -> float:
    """The memory, in MiB, that a process shares with no other one."""
    return psutil.Process(pid).memory_full_info().uss / 2**20


@contextlib.contextmanager
def _ours(vm: Vm) -> Iterator[int]:
    with vm:
        first_command(vm)
        yield vm.pid


@contextlib.contextmanager
def _virtme(name: str, machine: Machine) -> Iterator[int]:
    argv = [str(_TOOLS / "vng"), "--run", str(kernel.get(name).vmlinuz.resolve()), "--disable-kvm"]
    argv += ["--cpus", str(machine.vcpus), "--memory", f"{machine.memory_mib}M", "--", "echo ready; sleep 1000"]
    environment = {**os.environ, "PATH": f"{_TOOLS}:{os.environ['PATH']}"}
    with supervisor.child(
        argv,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if line.strip() == "ready":
                break
        else:
            raise BenchError(f"virtme-ng ended before its guest was ready: {' '.join(argv)}\n{''.join(said[-20:])}")
        yield _emulator(process.pid)


def _emulator(session: int) -> int:
    """The process id of the QEMU in a session."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if process.name().startswith("qemu-system") and os.getsid(process.pid) == session:
                return process.pid
    raise BenchError(f"virtme-ng's session {session} has no QEMU")


def _ways(name: str, machine: Machine) -> dict[str, _Way]:
    return {
        "clone": lambda: _ours(template.clone(machine)),
        "cold boot": lambda: _ours(Vm(machine)),
        "virtme-ng": lambda: _virtme(name, machine),
    }


def _milliseconds(way: _Way) -> tuple[int, int]:
    """Wall-clock time and CPU time to the first command, in ms. The wall-clock time depends on the machine's load."""
    started = time.monotonic()
    with way() as emulator:
        elapsed = time.monotonic() - started
        return round(elapsed * 1000), cpu_ns(emulator) // 1_000_000


def _first_command(way: _Way, guests: int) -> dict[str, Any]:
    measured = [_milliseconds(way) for _ in range(guests)]
    return {
        "first_command_ms": asdict(Spread.of([elapsed for elapsed, _ in measured])),
        "processor_ms": asdict(Spread.of([used for _, used in measured])),
    }


def _seconds(way: _Way, guests: int, workers: int) -> float:
    """The seconds from the beginning of the first of ``guests`` to the end of the last one."""
    started = time.monotonic()
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(lambda _: _milliseconds(way), range(guests)))
    return time.monotonic() - started


def first_commands(name: str, kind: str) -> dict[str, Any]:
    """``first_command_ms``, ``processor_ms`` and ``private_mib`` of one kind of guest, as in `measure`."""
    way = _ways(name, SHARED_LINE.with_(kernel=name))[kind]
    first = _first_command(way, _CLONES if kind == "clone" else _BOOTS)
    with way(), way() as pid:
        return first | {"private_mib": round(_private_mib(pid), 1)}


def _measure_way(name: str, kind: str, tell: Callable[[str], None]) -> dict[str, Any]:
    tell(f"{kind}: time to the first command")
    first = first_commands(name, kind)
    a_worker = _CLONES_A_WORKER if kind == "clone" else _BOOTS_A_WORKER
    way = _ways(name, SHARED_LINE.with_(kernel=name))[kind]
    per_second = {}
    for workers in WORKERS:
        tell(f"{kind}: {workers} at a time")
        tests = a_worker * workers
        per_second[str(workers)] = round(tests / _seconds(way, tests, workers), 3)
    return first | {"per_second": per_second}


def _places(devices: int) -> list[tuple[str, str]]:
    """Functions on one line: for each, its address in the guest and its ``-device`` argument."""
    slots = [(slot, "") for slot in (4, 8, 12, 16, 20, 24)] + [(slot, ",intx-pin=D") for slot in (5, 9)]
    functions = [(slot, function, pin) for slot, pin in slots for function in range(8)][:devices]
    return [
        (f"0000:00:{slot:02x}.{function}", f"shirq-edu,id=dev{n},addr={slot:x}.{function},multifunction=on{pin}")
        for n, (slot, function, pin) in enumerate(functions)
    ]


def line_of(name: str, devices: int) -> Machine:
    """A deterministic guest with that many devices on one line, each driven by shirq.ko and a waiting program."""
    places = _places(devices)
    drivers = [
        script
        for address, _ in places
        for script in (bind_at(address, "shirq"), start(f"peer-shirq --quiet --mark {address}", "armed"))
    ]
    return contender.machine(name, LOAD_MODULE, *drivers).with_(
        devices=tuple(device for _, device in places) + ("shirq-edu,id=ctl,addr=6",), parameters=""
    )


def _measure_line(name: str, devices: int) -> dict[str, Any]:
    machine = line_of(name, devices)
    template.get(machine)
    way = _ways(name, machine)["clone"]
    first = _first_command(way, _CLONES // 4)
    hard = Spread.of([cost.hard(entries) for entries in cost.play_regular(machine, "dev0", _INTERRUPTS)])
    return first | {"hard": asdict(hard)}


def measure(name: str, tell: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """The figures on the kernel called ``name``.

    ``ways`` has for each kind of guest the wall-clock time ``first_command_ms`` and the CPU time ``processor_ms`` to
    the first command (a `Spread` each), the memory ``private_mib`` that it shares with no other guest, and the number
    of guests ``per_second`` for each of `WORKERS`. ``suites`` has the seconds for each of `SUITES`. ``line`` has, for
    each of `DEVICES`, a clone's ``first_command_ms`` and ``processor_ms``, and the instructions of an interrupt's
    ``hard`` part. ``load`` is the machine's load at the beginning; 0 means idle.
    """
    load = round(os.getloadavg()[0], 1)
    machine = SHARED_LINE.with_(kernel=name)
    template.get(machine)
    lines = {}
    for devices in DEVICES:
        tell(f"{devices} devices on a line")
        lines[str(devices)] = _measure_line(name, devices)
    ways = {kind: _measure_way(name, kind, tell) for kind in _ways(name, machine)}
    suites = {}
    for tests in SUITES:
        tell(f"{tests} tests")
        suites[str(tests)] = round(_seconds(_ways(name, machine)["clone"], tests, _SUITE_WORKERS), 2)
    return {"kernel": kernel.get(name).release, "load": load, "ways": ways, "suites": suites, "line": lines}
