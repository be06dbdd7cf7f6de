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
    same for a booted guest, the median of a few. ``clone_cpu_ms``, ``cold_boot_cpu_ms``: how long QEMU's threads ran on
    the host's processors for it, medians too, which a busy host changes little. ``private_mib``: memory that a clone
    shares with nobody, while another clone of its template runs. ``tests_per_s_N``: clones that were asked for, ran a
    command and ended, in N workers.
    """

    kernel: str
    accelerator: str
    clones: int
    clone_ms_p50: float
    clone_ms_p99: float
    cold_boot_ms: float
    clone_cpu_ms: float
    cold_boot_cpu_ms: float
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


def cpu_ns(pid: int) -> int:
    """The time, in ns, that a process's threads have run on the host's processors."""
    return sum(int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir())


def _measured(vm: Vm) -> tuple[float, float]:
    """Milliseconds to the end of the first command of a VM that begins now: passed, and on the host's processors."""
    with vm:
        return first_command(vm), cpu_ns(vm.pid) / 1e6


def _one_clone(machine: Machine) -> tuple[float, float]:
    return _measured(template.clone(machine))


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
    cold, cold_cpu = (statistics.median(each) for each in zip(*(_measured(Vm(machine)) for _ in range(3)), strict=True))
    say(f"cold boot to the first command: {cold:.0f} ms")
    times, cpu_times = [], []
    with shown("cloning") as show:
        for number in range(1, clones + 1):
            passed, on_processors = _one_clone(machine)
            times.append(passed)
            cpu_times.append(on_processors)
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
        clone_cpu_ms=round(statistics.median(cpu_times), 1),
        cold_boot_cpu_ms=round(cold_cpu, 1),
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
