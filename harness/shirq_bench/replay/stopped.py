# SPDX-License-Identifier: MIT
"""Stop a run before one of its instructions, and find out which instruction it is."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from shirq_bench.replay import symbols
from shirq_bench.replay.case import Case
from shirq_bench.replay.play import Stimulus, beginning, schedule
from shirq_bench.vm import pool
from shirq_bench.vm.vm import Vm

_REGISTER = re.compile(r"\b(RIP|CPL)=([0-9a-f]+)")
_VCPU = re.compile(r"^CPU#\d+\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Where:
    """``pc`` is the address of the next instruction, ``ring`` its privilege level."""

    pc: int
    ring: int
    function: str
    instruction: str

    def as_data(self) -> dict[str, str]:
        """The position as strings, for messages and JSON."""
        space = {0: "kernel", 3: "user space"}.get(self.ring, f"ring {self.ring}")
        return {"in": space, "function": self.function, "address": f"{self.pc:#x}", "instruction": self.instruction}

    def __str__(self) -> str:
        return f"before `{self.instruction}` at {self.function}"


@contextlib.contextmanager
def stopped(case: Case, at_ns: int) -> Iterator[Vm]:
    """The guest of a case, stopped ``at_ns`` after its beginning, before another instruction is executed."""
    with pool.lent(case.machine, stopped=True) as vm:
        # Put the stop last in its device's schedule: all other actions of this instant come before it.
        stop = Stimulus(at_ns, case.stimuli[0].device, "stop")
        schedule(vm, beginning(vm), [*case.stimuli, stop])
        vm.qmp.execute("cont")
        vm.qmp.wait_event("STOP", deadline=300)
        yield vm


def look(vm: Vm) -> list[Where]:
    """The position of each vCPU of a stopped guest."""
    names = symbols.of(vm.machine)
    said = vm.qmp.execute("human-monitor-command", command_line="info registers -a")
    found = []
    for number, text in enumerate(_VCPU.split(said)[1:]):
        registers = dict(_REGISTER.findall(text))
        pc, ring = int(registers["RIP"], 16), int(registers["CPL"], 16)
        found.append(Where(pc, ring, names.name(pc), symbols.instruction(memory(vm, pc, 16, number), pc)))
    return found


def memory(vm: Vm, address: int, size: int, vcpu: int = 0) -> bytes:
    """The memory of a stopped guest at an address as a vCPU sees it."""
    file = vm.dir / "memory-read"
    vm.qmp.execute("memsave", val=address, size=size, filename=str(file), cpu_index=vcpu)
    return file.read_bytes()
