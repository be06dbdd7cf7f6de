# SPDX-License-Identifier: MIT
"""Plays a case with one driver under test, in a fresh guest, and says what became of it.

All drivers of a case get the same guest: one machine, one template, the same stimuli. What differs is the driver that
dev0 is bound to and its program in user space, ``peer-<driver>``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from shirq_bench import template
from shirq_bench.agent import Command
from shirq_bench.deadline import Deadline
from shirq_bench.errors import AgentGone, BenchError, CommandFailed, DeadlineExceeded, VmDied
from shirq_bench.machine import (
    ADDRESSES,
    GSI,
    LOAD_MODULE,
    LOAD_UIO,
    LOAD_VFIO,
    NEIGHBOUR_CARD,
    NEIGHBOUR_UP,
    Machine,
)
from shirq_bench.paths import GUEST
from shirq_bench.trace import Log
from shirq_bench.vm import PARAMETERS, Vm
from shirq_bench.zoo.case import Case
from shirq_bench.zoo.outcome import Evidence, Ledger, Result, classify

#: What every script in the guest can use: addresses, registers of a device's BAR 0, binding.
PRELUDE = f"""
DEV0={ADDRESSES["dev0"]} DEV1={ADDRESSES["dev1"]} CLOCK={ADDRESSES["clock"]}
PCI=/sys/bus/pci/devices MODULES=/lib/modules/$(uname -r)/extra
bind() {{ echo $1 >$PCI/$2/driver_override && echo $2 >/sys/bus/pci/drivers_probe; }}
bound() {{ test -e $PCI/$1/driver; }}
unbind() {{ echo $1 >$PCI/$1/driver/unbind; }}
bar() {{ read start rest <$PCI/$1/resource; echo $start; }}
config() {{ printf "\\\\$3" | dd of=$PCI/$1/config bs=1 seek=$2 conv=notrunc 2>/dev/null; }}
byte() {{ od -An -tu1 -j$2 -N1 $PCI/$1/config | tr -d " "; }}
capability() {{
    at=$(byte $1 52)
    until test $(byte $1 $at) = $((0x$2)); do at=$(byte $1 $((at + 1))); test $at != 0 || return 1; done
    echo $at
}}
alone() {{ rmmod e1000; }}
sharers() {{ {NEIGHBOUR_UP}; }}
register() {{ devmem $(($(bar $1) + $2)) 32 $3; }}
"""
#: Seconds after which a guest that does not answer, and does not storm either, is given up.
_SILENCE = 120.0
#: Log entries while the guest owes an answer, after which it is taken to hang: the kernel gives up a line after 100,000
#: interrupts, and no driver's handler makes ten entries.
_STORM = 2_000_000
#: Guest seconds between two looks at what has been served.
_LOOK = 0.02
#: Guest seconds between two queries to the neighbour.
_QUERY = 0.02
#: Seconds in which the answers have come, or will not come.
_WIRE = 15.0
#: Guest seconds that one raise of a burst may take.
_BURST_LATE = 1.0
#: Seconds in which a guest has crashed and is up again.
_CRASH = 300.0
_CRASH_PARAMETERS = f"{PARAMETERS} intel_iommu=on"
#: In the guest: kexec_file_load() with KEXEC_FILE_ON_CRASH.
_LOAD_CRASH_KERNEL = """
import ctypes, os, sys
files = [os.open(f"/run/{name}", os.O_RDONLY) for name in ("vmlinuz", "initrd")]
line = sys.argv[1].encode() + b"\\0"
libc = ctypes.CDLL(None, use_errno=True)
if libc.syscall(320, *files, ctypes.c_ulong(len(line)), line, ctypes.c_ulong(2)):
    sys.exit(os.strerror(ctypes.get_errno()))
"""


class HungError(Exception):
    """The guest does not answer any more; the message says what it does instead."""


def machine(case: Case, kernel: str) -> Machine:
    """The guest of a case, the same for every driver under test."""
    vcpus = case.machine.get("vcpus", 1)
    fixed = f",{dev0}" if (dev0 := case.machine.get("dev0")) else ""
    return Machine(
        kernel=kernel,
        vcpus=vcpus,
        memory_mib=case.machine.get("memory_mib", 256),
        deterministic=vcpus == 1,
        devices=(
            "intel-iommu,intremap=off",
            f"shirq-edu,id=dev0,addr=4{fixed}",
            "shirq-edu,id=dev1,addr=8",
            NEIGHBOUR_CARD,
            "shirq-edu,id=clock,addr=5",
        ),
        networks=("net0",),
        parameters=f"intel_iommu=on {case.parameters}".strip(),
        prepare=(NEIGHBOUR_UP, LOAD_MODULE, f"{LOAD_UIO} && {LOAD_VFIO}"),
        # Hardware does not pause in a storm.
        extra=("-global", "ioapic.storm-pause=off"),
    )


@dataclasses.dataclass(frozen=True)
class Played:
    """A case with one driver: its result, and the log it was judged by."""

    case: Case
    driver: str
    kernel: str
    result: Result
    log: Log
    seconds: float

    @property
    def expected(self) -> bool:
        """Whether it came out as the case says."""
        return self.result.outcome is self.case.expected[self.driver]


def play(case: Case, driver: str, kernel: str = "6.1", keep: Path | None = None) -> Played:
    """Play a case with a driver under test; with ``keep``, what the guest left goes into that folder."""
    began = time.monotonic()
    with template.clone(machine(case, kernel), name=f"{case.id}-{driver}") as vm:
        vm.boot()
        player = _Player(vm, case, driver)
        evidence = player.play()
        if keep:
            shutil.rmtree(keep, ignore_errors=True)
            (vm.dir / "dmesg").write_text(evidence.kernel_log)
            vm.keep(keep)
    return Played(case, driver, kernel, classify(evidence), evidence.log, time.monotonic() - began)


class _Player:
    """One run, while it lasts."""

    def __init__(self, vm: Vm, case: Case, driver: str) -> None:
        self.vm = vm
        self.case = case
        self.driver = driver
        self.options = case.options[driver]
        self.command: Command | None = None
        self.refused = ""
        self.owes = False
        self.asked = self.answered = 0
        self.reader = vm.follow()
        self.ledger = Ledger()
        self.mark = self.reader.mark

    def play(self) -> Evidence:
        hung = panicked = kernel_log = ""
        try:
            self._prepare()
            self.mark = self._account()
            for step in self.case.steps:
                if not step.only or self.driver in step.only:
                    getattr(self, f"_{step.verb}")(step.argument)
            kernel_log = self._guest("", "dmesg")
        except (HungError, VmDied, AgentGone) as error:
            kernel_log = self.vm.console.tail(10_000)
            panicked = next(iter(re.findall(r"Kernel panic.*|BUG: .*", kernel_log)), "")
            hung = "" if panicked else str(error).splitlines()[0]
        log = self.reader.log().since(self.mark)
        self.reader.close()
        return Evidence(
            log,
            kernel_log,
            GSI,
            refused=self.refused,
            hung=hung,
            panicked=panicked,
            owes=self.owes,
            asked=self.asked,
            answered=self.answered,
            late_ms=self.case.machine.get("late_ms", 20),
            forgiven=self.case.forgives,
        )

    def _account(self) -> int:
        self.ledger.take(self.reader.poll())
        return self.reader.mark

    # -- the guest ----------------------------------------------------------------------------------------------

    def _guest(self, script: str, *argv: str) -> str:
        """Run a script with `PRELUDE`, or a command; `HungError` if the guest does not answer any more."""
        command = self.vm.agent.start(*(argv or ("sh", "-c", PRELUDE + script)))
        command.close_stdin()
        self._await(command)
        result = command.wait()
        if result.status:
            raise CommandFailed(
                f"{self.vm.name}: status {result.status} from: {script}\n{result.stdout}{result.stderr}"
            )
        return result.stdout

    def _await(self, command: Command, line: str = "") -> bool:
        """Wait for a command's end, or for a line of its output: whether it came. `HungError` if neither does."""
        end = Deadline(_SILENCE)
        before = self._logged()
        while True:
            with contextlib.suppress(DeadlineExceeded):
                if not line:
                    command.wait(1.0)
                    return True
                try:
                    command.expect(line, 1.0)
                    return True
                except CommandFailed:
                    return False
            if (logged := self._logged() - before) > _STORM:
                raise HungError(f"the guest does not answer, in a storm of {logged} log entries")
            if end.passed:
                with contextlib.suppress(DeadlineExceeded):
                    self.vm.agent.ping()
                    raise BenchError(f"{self.vm.name}: {' '.join(command.argv)} does not end, and the guest answers")
                raise HungError("the guest does not answer, and there is no storm")

    def _logged(self) -> int:
        """How much has happened on the line, whether it fitted into the log or not."""
        header = self.reader.header()
        return header.head + header.dropped

    def _sleep(self, seconds: float) -> None:
        self._guest("", "sleep", f"{seconds:g}")

    # -- before the steps ---------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        """Give the device its properties, and let the kernel look at it anew: it keeps what it found at boot."""
        with self.vm.frozen():
            for name, value in self.case.device.items():
                self.vm.qmp.set("dev0", name, value)
        if self.case.device:
            self._guest("echo 1 >$PCI/$DEV0/remove && echo 1 >/sys/bus/pci/rescan && test -e $PCI/$DEV0")
        if self.driver == "naive":
            words = f"bug={self.options.get('bug', 'none')} {self.options.get('options', '')}"
            self._guest(f"insmod $MODULES/naive.ko {words}")
        if "irq" in self.options:
            self._guest(f"printf '{_printf(_programs(self.options))}' >/run/programs")

    # -- verbs --------------------------------------------------------------------------------------------------

    def _driver(self, what: str) -> None:
        if self.refused:
            return
        if what in ("kill", "end", "unbind", "dismiss"):
            self.owes = False
        if what == "dismiss":
            return
        if what == "bind":
            self._guest(f"bind {self.driver} $DEV0; true")
            if not self._guest("bound $DEV0 && echo yes; true"):
                self.refused = "its kernel part does not take the device"
        elif what == "unbind":
            self._guest("unbind $DEV0")
        elif what == "start":
            self._start()
        else:
            self._signal(what)

    def _start(self) -> None:
        words = [f"peer-{self.driver}", *self.case.peer.split()]
        if self.driver != "naive":
            words += self.options.get("options", "").split()
        if "irq" in self.options:
            words += ["--programs", "/run/programs"]
        self.command = self.vm.agent.start(*words, ADDRESSES["dev0"])
        self.owes = True
        if not self._await(self.command, "^armed"):
            self.refused = self.command.stderr.strip() or f"it ended with status {self.command.wait().status}"

    def _signal(self, what: str) -> None:
        command = self._running()
        if not command.running:
            return
        numbers = {
            "stop": signal.SIGSTOP,
            "resume": signal.SIGCONT,
            "kill": signal.SIGKILL,
            "end": signal.SIGTERM,
        }
        command.signal(numbers[what])
        if what == "stop":
            state = f"/proc/{command.pid}/status"
            self._guest(f"until grep -q '^State:.T' {state} || ! test -e {state}; do usleep 1000; done")
        elif what != "resume":
            self._await(command)

    def _running(self) -> Command:
        if not self.command:
            raise BenchError(f"{self.case.id}: a step needs the driver, and none has started it")
        return self.command

    def _raise(self, sources: int) -> None:
        self.vm.qmp.set("dev0", "raise", sources)

    def _lower(self, sources: int) -> None:
        self.vm.qmp.set("dev0", "lower", sources)

    def _burst(self, count: int) -> None:
        for number in range(count):
            self._raise(1 << number % 8)
            self._serve(_BURST_LATE)

    def _serve(self, seconds: float) -> None:
        for _ in range(round(seconds / _LOOK)):
            self._account()
            if not self.ledger.outstanding:
                return
            self._sleep(_LOOK)

    def _wait(self, seconds: float) -> None:
        self._sleep(seconds)

    def _neighbour(self, queries: int) -> None:
        network = self.vm.networks["net0"]
        network.answers()
        for _ in range(queries):
            network.ask()
            self.asked += 1
            self._sleep(_QUERY)
        # The wire is the host's, and slower than a guest that has nothing to do. Whether an answer was late is seen on
        # the neighbour's pin.
        end = Deadline(_WIRE)
        answers = network.answers()
        while answers < queries and not end.passed:
            self._sleep(_QUERY)
            answers += network.answers()
        self.answered += answers

    def _set(self, properties: dict[str, object]) -> None:
        device = str(properties.get("device", "dev0"))
        for name, value in properties.items():
            if name != "device":
                self.vm.qmp.set(device, name, value)

    def _schedule(self, text: str) -> None:
        """Give dev0 a schedule; times that begin with @ count from now."""
        path = self.vm.dir / "schedule"
        with self.vm.frozen():
            now = self.vm.now_ns()
            lines = []
            for line in text.strip().splitlines():
                when, rest = line.strip().split(" ", 1)
                lines.append(f"@{now + int(when[1:])} {rest}" if when.startswith("@") else line)
            path.write_text("\n".join(lines) + "\n")
            self.vm.qmp.set("dev0", "schedule", str(path))

    def _crash(self, parameters: str) -> None:
        """Load a second kernel for the case of a crash, crash, and wait until it is up."""
        self.owes = False
        for name, path in (("vmlinuz", self.vm.parts.kernel.vmlinuz), ("initrd", self.vm.parts.initrd)):
            upload = self.vm.agent.start("sh", "-c", f"cat >/run/{name}")
            upload.write(path.read_bytes())
            upload.close_stdin()
            self._await(upload)
        self._guest("", "python3", "-c", _LOAD_CRASH_KERNEL, f"{_CRASH_PARAMETERS} {parameters}")
        crash = self.vm.agent.start("sh", "-c", "echo c >/proc/sysrq-trigger")
        # The second kernel's agent says hello, which ends what the first one's was asked for.
        with contextlib.suppress(AgentGone):
            crash.wait(_CRASH)
        self.vm.agent.ping(_CRASH)

    def _tell(self, line: str) -> None:
        if self.refused:
            return
        command = self._running()
        command.write(line + "\n")
        if not self._await(command, f"^done {line}$"):
            raise BenchError(f"{self.case.id}: the driver ended instead of answering {line!r}: {command.stderr}")


def _programs(texts: Mapping[str, str]) -> bytes:
    """Assembled programs as ``peer-shirq --programs`` reads them; `BenchError` with the assembler's complaint."""
    # In a process of its own: the guest's binding need not be the one that is installed here, if any is.
    done = subprocess.run(
        [sys.executable, GUEST / "tools/programs.py"],
        input=json.dumps({name: texts[name] for name in ("irq", "unmask", "release")}).encode(),
        env={**os.environ, "PYTHONPATH": str(GUEST), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        timeout=60,
    )
    if done.returncode:
        raise BenchError(f"the case's programs cannot be assembled: {done.stderr.decode().strip()}")
    return done.stdout


def _printf(data: bytes) -> str:
    """Bytes for a shell's printf."""
    return "".join(f"\\{byte:03o}" for byte in data)
