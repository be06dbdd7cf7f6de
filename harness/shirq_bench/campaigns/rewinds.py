# SPDX-License-Identifier: MIT
"""Measures rewinds: their costs in processor time, and whether anything of a run stays."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import psutil

from shirq_bench.campaigns.bench.cost import Spread
from shirq_bench.campaigns.bench.guests import cpu_ns, first_command
from shirq_bench.vm import savepoint, template
from shirq_bench.vm.machine import SHARED_LINE
from shirq_bench.vm.vm import Vm

#: Numbers of clones, and of rewinds whose costs are measured.
_CLONES, _REWINDS = 50, 200
#: Guest scripts that a rewind must undo, used in turn.
WORK = (
    "true",
    "echo 1 >/tmp/file; sync",
    "python3 -c 'import json; print(json.dumps(list(range(1000))))'",
    "find / -xdev >/tmp/found",
    "shirqctl list; rmmod shirq; insmod /lib/modules/$(uname -r)/extra/shirq.ko",
)


def measure(name: str, checks: int, tell: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """The costs of rewinds on the kernel called ``name``, and the result of ``checks`` checked rewinds.

    In ms of QEMU's processor time: ``rewind_ms`` alone, ``ready_ms`` to stop, rewind, go and answer, ``command_ms`` for
    the first command after it, and ``fresh_ms`` for a new clone and its first command; ``_p50`` is the median, ``_p99``
    the 99th percentile. ``fresh_per_s`` is the number of guests a second, each rewound and with one command, one after
    the other. ``checked`` rewinds, with one vCPU and with two, after each of `WORK` and with interrupts, had these
    ``differences`` from the savepoint. ``resident_mib`` is QEMU's memory after a tenth, a half, and all of them.
    """
    machine = SHARED_LINE.with_(kernel=name)
    template.get(machine)
    tell("clones")
    fresh = _costs_of("fresh_ms", [_clone_ns(template.clone(machine)) for _ in range(_CLONES)])
    tell("rewinds")
    found: dict[str, Any] = fresh | _costs(template.clone(machine)) | {"checked": 0, "differences": []}
    for vcpus in (1, 2):
        with template.clone(machine.with_(vcpus=vcpus)) as vm:
            resident = _check(vm.boot(), checks // 2, found, lambda done: tell(f"{done} rewinds checked"))
        found[f"resident_mib_{vcpus}_vcpus"] = resident
    return found


def _costs_of(what: str, used_ns: Sequence[int]) -> dict[str, float]:
    spread = Spread.of(used_ns)
    return {f"{what}_p50": round(spread.median / 1e6, 2), f"{what}_p99": round(spread.p99 / 1e6, 2)}


def _clone_ns(vm: Vm) -> int:
    with vm:
        first_command(vm)
        return cpu_ns(vm.pid)


def _costs(vm: Vm) -> dict[str, float]:
    measured: dict[str, list[int]] = {"rewind_ms": [], "ready_ms": [], "command_ms": []}
    with vm:
        beginning = vm.boot().savepoint()
        vm.rewind(beginning)
        started = time.monotonic()
        for _ in range(_REWINDS):
            before = cpu_ns(vm.pid)
            done = vm.rewind(beginning)
            vm.agent.ping()
            ready = cpu_ns(vm.pid)
            vm.agent.succeed("true")
            for what, used in zip(measured, (done.cpu_ns, ready - before, cpu_ns(vm.pid) - ready), strict=True):
                measured[what].append(used)
        costs = {"fresh_per_s": round(_REWINDS / (time.monotonic() - started), 1)}
    for what, used_ns in measured.items():
        costs |= _costs_of(what, used_ns)
    return costs


def _check(vm: Vm, checks: int, found: dict[str, Any], tell: Callable[[int], None]) -> list[int]:
    """Rewind ``vm`` and check it so often; adds to ``found``. Returns MiB of memory at three moments."""
    resident = []
    beginning = vm.savepoint()
    for number in range(1, checks + 1):
        vm.agent.succeed(WORK[number % len(WORK)])
        vm.networks["net0"].ping()
        vm.qmp.set("dev1", "raise", 1)
        vm.rewind(beginning, go=False)
        found["checked"] += 1
        found["differences"] += savepoint.differences(vm, beginning)
        vm.qmp.execute("cont")
        if number in (checks // 10, checks // 2, checks):
            resident.append(psutil.Process(vm.pid).memory_info().rss >> 20)
        if number % 100 == 0:
            tell(number)
    return resident
