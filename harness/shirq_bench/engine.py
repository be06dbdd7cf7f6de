# SPDX-License-Identifier: MIT
"""Measures the bench itself: what a fresh guest costs. Writes build/reports/bench-engine.json.

Run as ``python -m shirq_bench.engine [--kernel 6.1] [--clones 200]``.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from shirq_bench import template
from shirq_bench.build.steps import say, shown
from shirq_bench.machine import SHARED_LINE, Machine
from shirq_bench.paths import BUILD
from shirq_bench.vm import Vm, parts

REPORT = BUILD / "reports" / "bench-engine.json"


@dataclass(frozen=True)
class Cost:
    """What a fresh guest costs.

    ``clone_ms``: from asking for a clone, nothing prepared, to the end of its first command. ``cold_boot_ms``: the
    same for a booted guest, the median of a few. ``private_mib``: memory that a clone shares with nobody, while
    another clone of its template runs. ``tests_per_s_N``: clones that were asked for, ran a command and ended, in N
    workers.
    """

    kernel: str
    accelerator: str
    clones: int
    clone_ms_p50: float
    clone_ms_p99: float
    cold_boot_ms: float
    private_mib: float
    tests_per_s_1: float
    tests_per_s_2: float


def first_command(vm: Vm) -> float:
    """Start or clone the VM and run a command; returns the milliseconds that took."""
    started = time.monotonic()
    status = vm.boot().agent.run("true").status
    elapsed = (time.monotonic() - started) * 1000
    if status:
        raise RuntimeError(f"{vm.name}: `true` ended with status {status}")
    return elapsed


def _one_clone(machine: Machine) -> float:
    with template.clone(machine) as vm:
        return first_command(vm)


def _cold_boot(machine: Machine) -> float:
    with Vm(machine) as vm:
        return first_command(vm)


def private_mib(pid: int) -> float:
    """The memory, in MiB, that a process shares with no other one."""
    usage = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(kib) for kib in re.findall(r"^Private_\w+:\s+(\d+) kB", usage, re.M)) / 1024


def _private_mib(machine: Machine) -> float:
    """Private memory of a clone after its first command, with a second clone beside it."""
    with template.clone(machine) as vm, template.clone(machine) as other:
        first_command(other)
        first_command(vm)
        return private_mib(vm.pid)


def _tests_per_s(machine: Machine, tests: int, workers: int) -> float:
    started = time.monotonic()
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(lambda _: _one_clone(machine), range(tests)))
    return tests / (time.monotonic() - started)


def measure(kernel: str = "6.1", clones: int = 200) -> Cost:
    """Measure; any clone that fails raises."""
    machine = SHARED_LINE.with_(kernel=kernel)
    template.get(machine)
    cold = statistics.median(_cold_boot(machine) for _ in range(3))
    say(f"cold boot to the first command: {cold:.0f} ms")
    times = []
    with shown("cloning") as show:
        for number in range(1, clones + 1):
            times.append(_one_clone(machine))
            show(f"[{number}/{clones}]")
    times.sort()
    say(f"clone to the first command: {statistics.median(times):.0f} ms, {clones} clones")
    return Cost(
        kernel=kernel,
        accelerator=parts(kernel).accelerator.name,
        clones=clones,
        clone_ms_p50=round(statistics.median(times), 1),
        clone_ms_p99=round(times[min(clones - 1, int(clones * 0.99))], 1),
        cold_boot_ms=round(cold, 1),
        private_mib=round(_private_mib(machine), 1),
        tests_per_s_1=round(_tests_per_s(machine, clones // 4, 1), 2),
        tests_per_s_2=round(_tests_per_s(machine, clones // 4, 2), 2),
    )


def write(cost: Cost) -> None:
    """Write `REPORT`."""
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps(asdict(cost), indent=1) + "\n")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kernel", default="6.1")
    parser.add_argument("--clones", type=int, default=200)
    options = parser.parse_args()
    write(measure(options.kernel, options.clones))
    print(REPORT.read_text(), end="")


if __name__ == "__main__":
    main()
