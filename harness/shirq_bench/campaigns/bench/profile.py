# SPDX-License-Identifier: MIT
"""Counts the instructions of an interrupt by function, from QEMU's log of every instruction executed in a few rounds.

Profiling is a separate run, in a guest that is identical to the measured one up to the run's beginning.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from shirq_bench.campaigns.bench import contender, cost
from shirq_bench.campaigns.bench.contender import CONTENDERS
from shirq_bench.errors import BenchError
from shirq_bench.replay import symbols
from shirq_bench.replay.play import Stimulus, beginning
from shirq_bench.replay.play import schedule as give
from shirq_bench.vm import template
from shirq_bench.vm.machine import Machine
from shirq_bench.vm.vm import Vm

#: Number of rounds that are logged.
ROUNDS = 20
#: Lines of QEMU's log: a block that is executed, and a block that was left before its execution.
_EXECUTED = re.compile(r"Trace (\d+): \S+ \[[0-9a-f]+/([0-9a-f]+)/")
_LEFT = re.compile(r"Stopped execution of TB chain before \S+ \[([0-9a-f]+)\]")
#: The first instruction of a system call.
SYSTEM_CALL = "entry_SYSCALL_64+0x0"
_USER = "the user program"


@dataclass(frozen=True)
class Profile:
    """The profile of one interrupt: ``instructions`` until the processor is idle again, system ``calls``, and the
    instructions of each function. All are means over `ROUNDS`."""

    instructions: float
    calls: float
    functions: dict[str, float]


def take(kernel: str, name: str) -> Profile:
    """The profile of an interrupt with the driver ``name``."""
    machine = contender.guest(kernel, CONTENDERS[name])
    counts = Counter(address for _, address in executed(machine, cost.PERIOD_NS))
    known = symbols.of(machine)
    functions: Counter[str] = Counter()
    for address, count in counts.items():
        functions[known.name(address).partition("+")[0] if address >> 63 else _USER] += count
    calls = sum(count for address, count in counts.items() if known.name(address) == SYSTEM_CALL)
    return Profile(
        instructions=counts.total() / ROUNDS,
        calls=calls / ROUNDS,
        functions={function: count / ROUNDS for function, count in functions.most_common()},
    )


def executed(machine: Machine, period_ns: int) -> list[tuple[int, int]]:
    """The vCPU and the address of each instruction in `ROUNDS` rounds of dev0, one a period, in their order.

    They begin and end a quarter of a period before a raise.
    """
    stimuli = cost.schedule("dev0", ROUNDS, period_ns=period_ns)
    stops = [Stimulus((cost.WARM_UP + slots) * period_ns - period_ns // 4, "ctl", "stop") for slots in (0, ROUNDS)]
    with template.clone(machine, stopped=True) as vm:
        vm.start()
        give(vm, beginning(vm), [*stimuli, *stops])
        _run_to_stop(vm)
        path = vm.dir / "executed"
        for command in (f"logfile {path}", "one-insn-per-tb on", "log exec,nochain"):
            _monitor(vm, command)
        _run_to_stop(vm)
        _monitor(vm, "log none")
        return list(_executed(path))


def _monitor(vm: Vm, command: str) -> None:
    said = vm.qmp.execute("human-monitor-command", command_line=command)
    if said.strip():
        raise BenchError(f"{vm.name}: the monitor's command {command!r} failed: {said.strip()}")


def _run_to_stop(vm: Vm) -> None:
    vm.qmp.execute("cont")
    vm.qmp.wait_event("STOP", deadline=300)


def _executed(path: Path) -> Iterator[tuple[int, int]]:
    """The vCPUs and the addresses of the instructions that were executed, in order."""
    last: tuple[int, int] | None = None
    with path.open() as log:
        for line in log:
            if match := _EXECUTED.match(line):
                if last is not None:
                    yield last
                last = int(match[1]), int(match[2], 16)
            elif (match := _LEFT.match(line)) and last is not None and last[1] == int(match[1], 16):
                last = None
    if last is not None:
        yield last
