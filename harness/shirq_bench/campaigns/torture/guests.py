# SPDX-License-Identifier: MIT
"""One guest of a torture test: boots it, starts periodic interrupts, runs the stress actions, and judges its log."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from shirq_bench.campaigns.torture.case import Case
from shirq_bench.campaigns.torture.oracle import Verdict, judge
from shirq_bench.channels.agent import Command
from shirq_bench.channels.log import KERNEL_RING, USER_RING
from shirq_bench.deadline import Deadline, competition
from shirq_bench.errors import BenchError
from shirq_bench.observe.invariants import allowed_ns
from shirq_bench.observe.source_lines import splats_of
from shirq_bench.vm import template
from shirq_bench.vm.machine import ADDRESSES, LOAD_MODULE, Machine, bind, insmod
from shirq_bench.vm.vm import Vm

#: PCI addresses of the device behind a port, which can be unplugged, and of the neighbour with an in-kernel driver.
PORT_ADDRESS, NEIGHBOUR_ADDRESS = "0000:01:00.0", "0000:00:0c.0"
#: The period of each device's own interrupts, in ns, on a stock kernel.
RATES = {"dev0": 300_000, "dev1": 900_000, "dev2": 300_000, "nb0": 400_000}
#: Seconds within which the pin must fall after the end of an owner has begun, on a stock kernel and an idle host.
END_S = 2
#: Seconds allowed for an attempt, and for the guest to become idle, on a stock kernel.
DEADLINE = 60.0
_LOG_ENTRIES = 1 << 23
#: If a guest had at least `_MANY` owners, one in `_ASSERTED` of them must have lived long enough to see an interrupt.
_MANY, _ASSERTED = 50, 10
_DONE = re.compile(r"done attempts=(\d+) failures=(\d+) choices=([0-9a-f]{16})(.*)")


def machine(case: Case, kernel: str) -> Machine:
    """The guest: the devices under test and others on one line, one of them with a driver in the kernel."""
    devices = [
        ",".join(["shirq-edu,id=dev0,addr=4", *case.properties]),
        "shirq-edu,id=dev1,addr=8,disintx=read-only",
        "shirq-edu,id=nb0,addr=c",
        "shirq-edu,id=clock,addr=5",
    ]
    if "dev2" in case.devices:
        devices += ["pcie-root-port,id=rp0,chassis=1,addr=10", "shirq-edu,id=dev2,bus=rp0,addr=0"]
    return Machine(
        kernel=kernel,
        devices=tuple(devices),
        memory_mib=512,
        log_entries=_LOG_ENTRIES,
        # Loading and unloading a module logs a message each time: the log must be large enough to keep its beginning.
        # An oops must cause a panic.
        parameters="log_buf_len=16M slub_debug=P,kmalloc-* oops=panic",
        prepare=(
            *(LOAD_MODULE, "modprobe uio", insmod("neighbour"), bind("dev0"), bind("dev1")),
            f"cd /sys/bus/pci && echo neighbour >devices/{NEIGHBOUR_ADDRESS}/driver_override"
            f" && echo {NEIGHBOUR_ADDRESS} >drivers_probe && test -d drivers/neighbour/{NEIGHBOUR_ADDRESS}",
        ),
    )


def address(device: str) -> str:
    """The PCI address of a device in the guest."""
    return PORT_ADDRESS if device == "dev2" else ADDRESSES[device]


@dataclass
class Round:
    """The result of one guest's torture. ``choices`` is the digest of all choices made from its seed."""

    seed: int
    attempts: int = 0
    failures: list[str] = field(default_factory=list)
    splats: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    choices: str = ""
    figures: dict[str, int] = field(default_factory=dict)

    @property
    def clean(self) -> bool:
        """Whether there were no failures, no splats and no lost interrupts."""
        return not (self.failures or self.splats or self.lost)


class Tormented:
    """A running guest under torture, as the stress actions see it."""

    def __init__(self, vm: Vm, case: Case, count: int, seed: int) -> None:
        self.vm = vm
        self.case = case
        self.count = count
        self.seed = seed
        self.round = Round(seed)
        self._witnesses: list[Command] = []
        self._failed = 0
        self._busy = competition()

    def begin(self) -> None:
        """Start the witnesses; then start the devices' periodic interrupts."""
        if self.case.witness:
            self._witness("dev1")
        if not self.case.silent:
            # In a test that ends no owners, dev0 has the same owner all the time, which must lose no interrupts, too.
            self._witness("dev0")
        for device in self.raising:
            self.vm.qmp.set(device, "storm-ns", self.rate(device))

    def _witness(self, device: str) -> None:
        witness = self.vm.agent.start("shirq-torture", "--serve", address(device))
        witness.expect("^ready$", deadline=DEADLINE)
        self._witnesses.append(witness)

    def rate(self, device: str) -> int:
        """The period of a device's own interrupts, in ns."""
        return int(RATES[device] * self.vm.patience)

    @property
    def raising(self) -> list[str]:
        """The devices with periodic interrupts that are not unplugged."""
        # In a fuzz test, dev1 must remain untouched.
        return ["dev0", "nb0"] if self.case.by == "fuzz" else ["dev0", "dev1", "nb0"]

    @property
    def neighbours(self) -> dict[str, int]:
        """The devices that must lose no interrupt, with the rings of their drivers."""
        witnesses = ["dev1"] * self.case.witness + ["dev0"] * (not self.case.silent)
        return {"nb0": KERNEL_RING} | dict.fromkeys(witnesses, USER_RING)

    def tell(self, what: str) -> None:
        """Record a failure."""
        self.round.failures.append(what)

    def finish(self, command: Command) -> None:
        """Follow shirq-torture or shirq-fuzz to its end, and record its output."""
        self.follow(command, "done ")
        result = command.wait(DEADLINE)
        if result.status or self.round.failures:
            self.tell(f"the guest's program ended with status {result.status}: {result.stderr.strip()}")

    def follow(self, command: Command, until: str) -> None:
        """Record the command's output, up to a line that begins with ``until``."""
        while True:
            line = command.expect("^(at|done|FAIL|armed|gone) .*", deadline=DEADLINE)[0]
            self._take_in(line)
            if line.startswith(until):
                break

    def _take_in(self, line: str) -> None:
        # Sample the host's load now: the load at the end does not show the load during the test.
        self._busy = max(self._busy, competition())
        if line.startswith("FAIL"):
            self._failed += 1
            self.tell(line)
        elif match := _DONE.fullmatch(line):
            self.round.attempts, self.round.choices = int(match[1]), match[3]
            for word in match[4].split():
                name, _, value = word.partition("=")
                self.round.figures[name] = int(value)
            if int(match[2]) != self._failed:
                self.tell(f"the guest's program counted {match[2]} failures, but printed {self._failed}")

    def rest(self) -> None:
        """Stop the periodic interrupts, and wait until all raised interrupts have been served."""
        for device in self.raising:
            self.vm.qmp.set(device, "storm-ns", 0)
        end = Deadline(DEADLINE * self.vm.patience)
        # Report a witness that has ended even if nothing is pending: later losses would have gone unnoticed.
        while not self._ended_witnesses() and any(self.vm.qmp.get(device, "status") for device in self.neighbours):
            if end.passed:
                break
            time.sleep(0.02)
        for witness in self._ended_witnesses():
            self.tell(f"{' '.join(witness.argv)} has ended: {witness.stderr.strip()}")

    def _ended_witnesses(self) -> list[Command]:
        return [witness for witness in self._witnesses if not witness.running]

    def verdict(self) -> Verdict:
        """Judge the event log."""
        bystanders = frozenset({"dev1"} if self.case.by == "fuzz" else ())
        return judge(
            self.vm.log(),
            self.case.devices[0],
            "clock",
            self.neighbours,
            bystanders,
            bound_ns=allowed_ns(self.vm, self.case.lost_s, self._busy),
            end_ns=allowed_ns(self.vm, END_S, self._busy),
            silent=self.case.silent,
            withdrawn=self.case.by == "sleep",
        )


def run(case: Case, kernel: str, count: int, seed: int, by: Callable[[Tormented], None], keep: Path) -> Round:
    """Run the stress actions on a fresh guest; if there was a failure, keep the guest's artefacts in ``keep``."""
    with template.clone(machine(case, kernel), name=case.name) as vm:
        guest = Tormented(vm, case, count, seed)
        round_ = guest.round
        try:
            vm.boot()
            guest.begin()
            by(guest)
            guest.rest()
            _take_in(round_, guest.verdict(), case)
            round_.splats += _splats(vm, case.leaks)
        except (BenchError, OSError) as error:
            guest.tell(str(error))
            if vm.started:
                round_.splats += [str(found) for found in splats_of(vm, vm.console.log)]
        if not round_.clean:
            try:
                vm.keep(keep)
                (keep / "findings").write_text("\n".join([*round_.failures, *round_.lost, *round_.splats]) + "\n")
            except OSError as error:
                guest.tell(f"the files of the guest could not be kept: {error}")
    return round_


def _take_in(round_: Round, verdict: Verdict, case: Case) -> None:
    round_.failures += verdict.loud + verdict.strayed
    round_.lost += verdict.lost
    worst = max((neighbour.worst_ns for neighbour in verdict.neighbours.values()), default=0)
    round_.figures |= {
        "ends": verdict.ends,
        "asserted": verdict.asserted,
        "asserting": verdict.asserting,
        "assertions": verdict.assertions,
        "slowest_end_us": verdict.worst_ns // 1000,
        "neighbour_interrupts": sum(neighbour.served for neighbour in verdict.neighbours.values()),
        "slowest_service_us": worst // 1000,
    }
    for neighbour in verdict.neighbours.values():
        if not neighbour.served:
            round_.failures.append(f"no interrupt of {neighbour.name} was served: inconclusive")
    # Without marks, each assertion would be one for an owner. A fuzzer is one owner, whatever it calls.
    wanted = min(round_.attempts, 1) if case.by == "fuzz" else round_.attempts
    if case.silent and verdict.ends < wanted:
        round_.failures.append(f"only {verdict.ends} ends of owners were marked and judged, of {wanted}: inconclusive")
    few = verdict.ends >= _MANY and verdict.asserted * _ASSERTED < verdict.ends
    if not verdict.assertions or few:
        round_.failures.append(
            f"{case.devices[0]} asserted only {verdict.assertions} times, for {verdict.asserted} of {verdict.ends}"
            " owners: inconclusive"
        )


#: Guest script: report unreferenced memory; memory that is younger than 5 s is not reported.
_LEAKS = """
grep -q kmemleak_scan /proc/kallsyms || exit 0
mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null
set -e
leaks=/sys/kernel/debug/kmemleak
echo scan >$leaks; sleep 6; echo scan >$leaks; cat $leaks
"""


def _splats(vm: Vm, leaks: bool) -> list[str]:
    leaked = vm.agent.succeed(_LEAKS, deadline=DEADLINE) if leaks else ""
    found = [str(splat) for splat in splats_of(vm, vm.agent.succeed("dmesg", deadline=DEADLINE))]
    return found + ([f"leaked: {leaked}"] if leaked else [])
