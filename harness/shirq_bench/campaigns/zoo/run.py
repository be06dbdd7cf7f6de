# SPDX-License-Identifier: MIT
"""Plays a case with one driver under test, in a fresh guest, and reports the outcome.

All drivers of a case get the same guest: one machine, one template, the same stimuli. Only the driver that is bound to
dev0 and its program in user space, ``peer-<driver>``, differ. A driver that is not the catalogue's is copied into the
running guest. Each step is proved to have happened; otherwise `NotPlayed` is raised.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import pexpect

from shirq_bench.campaigns.zoo.case import DRIVERS, OWN, Case, Step, catalogued
from shirq_bench.campaigns.zoo.outcome import Evidence, Ledger, Outcome, Result, classify, in_words
from shirq_bench.campaigns.zoo.own import PLACE, Own
from shirq_bench.channels import agent
from shirq_bench.channels.agent import Command
from shirq_bench.channels.log import CONFIG_SPACE, Entry, Header, Kind, Log, find, joined
from shirq_bench.deadline import Deadline
from shirq_bench.errors import AgentGone, BenchError, CommandFailed, DeadlineExceeded, QmpClosed, QmpFailed, VmDied
from shirq_bench.observe.judge import BrokenRuleError
from shirq_bench.paths import BUILD, GUEST
from shirq_bench.provision import kmod
from shirq_bench.replay import failure
from shirq_bench.replay.failure import OfCase
from shirq_bench.vm import pool
from shirq_bench.vm.machine import LOAD_MODULE, LOAD_UIO, LOAD_VFIO, NEIGHBOUR_CARD, NEIGHBOUR_UP, Machine, gsi_of
from shirq_bench.vm.vm import PARAMETERS, Vm

#: Definitions for every script in the guest: addresses, registers of a device's BAR 0, binding.
PRELUDE = f"""
PCI=/sys/bus/pci/devices MODULES=/lib/modules/$(uname -r)/extra
bind() {{ echo $1 >$PCI/$2/driver_override && echo $2 >/sys/bus/pci/drivers/$1/bind; }}
bound() {{ test -e $PCI/$1/driver; }}
unbind() {{ echo $1 >$PCI/$1/driver/unbind; }}
bar() {{ read start rest <$PCI/$1/resource; echo $start; }}
byte() {{ od -An -tu1 -j$2 -N1 $PCI/$1/config | tr -d " "; }}
config() {{ # ADDRESS OFFSET OCTAL [MASK]: the byte reads back, or the bits of it that the mask has
    printf "\\\\$3" | dd of=$PCI/$1/config bs=1 seek=$2 conv=notrunc status=none
    test $(($(byte $1 $2) & ${{4:-255}})) = $((0$3)) || {{ echo "config+$2 reads $(byte $1 $2)" >&2; return 1; }}
}}
capability() {{
    at=$(byte $1 52)
    until test $(byte $1 $at) = $((0x$2)); do at=$(byte $1 $((at + 1))); test $at != 0 || return 1; done
    echo $at
}}
alone() {{ rmmod e1000; }}
sharers() {{ {NEIGHBOUR_UP}; }}
register() {{ devmem $(($(bar $1) + $2)) 32 $3; }}
"""
#: Seconds after which a guest without an answer and without a storm counts as hung.
_SILENCE = 120.0
#: A guest that writes more log entries than this without answering counts as hung: the kernel disables a line after
#: 100,000 interrupts, and a handler makes fewer than ten entries.
_STORM = 1_500_000
#: If more new log entries than this are found, the VM is stopped while they are processed.
_MANY = 100_000
#: Seconds between two polls of a guest that has not answered yet.
_GLANCE = 0.25
#: The errors by which the kernel refuses a driver: the line is taken, or the driver's probe function cannot use the
#: device. If a bind or a program fails with any other error, that is an error of the case.
_REFUSALS = tuple(map(os.strerror, (errno.EBUSY, errno.ENODEV)))
#: The line by which a program of the catalogue says that it serves interrupts.
_READY = "^armed"
#: Kernel messages of an oops or a bug. After one, the kernel may have killed the task that was running.
_OOPS = re.compile(r"\bOops\b|\bBUG: ")
#: The properties that are stimuli, and the kind of their log entries.
_STIMULI = {"raise": Kind.RAISE, "lower": Kind.LOWER}
#: The message in the kernel's log after which complaints are judged.
_JUDGED = "shirq: judged from here"
#: Guest seconds between two polls of the served interrupts.
_LOOK = 0.02
#: Guest seconds between two queries to the neighbour.
_QUERY = 0.02
#: Seconds to wait for ARP replies.
_WIRE = 15.0
#: A step whose interrupt is moved between vCPUs is repeated at most this many times as often.
_MOVED = 10
#: Guest seconds allowed for one raise of a burst.
_BURST_LATE = 1.0
#: Seconds within which a guest that has ended must have closed its console, or QEMU after QMP must have ended.
_LAST_WORDS = 10.0
#: Seconds within which a guest must have crashed and must be up again.
_CRASH = 300.0
_CRASH_PARAMETERS = f"{PARAMETERS} intel_iommu=on"
#: Python for the guest: call kexec_file_load() with KEXEC_FILE_ON_CRASH.
_LOAD_CRASH_KERNEL = """
import ctypes, os, sys
files = [os.open(f"/run/{name}", os.O_RDONLY) for name in ("vmlinuz", "initrd")]
line = sys.argv[1].encode() + b"\\0"
libc = ctypes.CDLL(None, use_errno=True)
if libc.syscall(320, *files, ctypes.c_ulong(len(line)), line, ctypes.c_ulong(2)):
    sys.exit(os.strerror(ctypes.get_errno()))
"""


class NotPlayed(BenchError):
    """A step of a case did not happen, so the case proves nothing. The message names the step and the reason."""


class HungError(Exception):
    """The guest no longer answers; the message describes its state."""


class OopsError(Exception):
    """The kernel has failed in a step of somebody's own driver, and goes on; the case ends with this step."""


def machine(case: Case, kernel: str) -> Machine:
    """The guest of a case, the same for every driver under test."""
    board, slots = case.machine, case.machine.slots
    fixed = f",{board.dev0}" if board.dev0 else ""
    return Machine(
        kernel=kernel,
        vcpus=board.vcpus,
        memory_mib=board.memory_mib,
        log_entries=board.log_entries,
        deterministic=True,
        devices=(
            "intel-iommu,intremap=off",
            f"shirq-edu,id=dev0,addr={slots.dev0}{fixed}",
            f"shirq-edu,id=dev1,addr={slots.dev1}",
            NEIGHBOUR_CARD.replace(",addr=c,", f",addr={slots.nic0},"),
            f"shirq-edu,id=clock,addr={slots.clock}",
            *board.devices,
        ),
        networks=("net0",),
        parameters=f"intel_iommu=on {case.parameters}".strip(),
        prepare=(NEIGHBOUR_UP, LOAD_MODULE, f"{LOAD_UIO} && {LOAD_VFIO}"),
        # Switch the I/O APIC's storm pause off: hardware has none.
        extra=("-global", "ioapic.storm-pause=off"),
    )


def line(case: Case) -> int:
    """The GSI of dev0's line."""
    slot = case.machine.slots.dev0.partition(".")[0]
    return gsi_of(int(slot, 16))


def addresses(devices: Sequence[str]) -> dict[str, str]:
    """The PCI addresses of the devices that have an id and a slot on pcie.0, from their -device arguments."""
    found = {}
    for device in devices:
        words = dict(word.partition("=")[::2] for word in device.split(","))
        if "id" in words and "addr" in words:
            slot, _, function = words["addr"].partition(".")
            found[words["id"]] = f"0000:00:{int(slot, 16):02x}.{function or 0}"
    return found


@dataclasses.dataclass(frozen=True)
class Played:
    """A case with one driver: the result, and the log from which it was judged."""

    case: Case
    driver: str
    kernel: str
    result: Result
    log: Log
    seconds: float

    #: Deviations from the expectations of the case other than the outcome.
    unmet: tuple[str, ...] = ()

    @property
    def wanted(self) -> Outcome:
        """The outcome that the case expects of this driver; `Outcome.SURVIVES` if it names none."""
        return self.case.expected.get(self.driver if self.driver in DRIVERS else OWN, Outcome.SURVIVES)

    @property
    def expected(self) -> bool:
        """Whether the outcome is the one that the case expects."""
        return self.result.outcome is self.wanted and not self.unmet

    @property
    def shows(self) -> bool:
        """Whether the run shows the case's symptom."""
        return self.result.outcome in self.case.shows

    @property
    def found(self) -> list[str]:
        """What is to be said of the outcome, as a failure has it."""
        return [str(self.result.outcome), *self.unmet]

    def require(self) -> None:
        """Raise `BrokenRuleError`, with the figures and the kernel's complaints, unless the outcome is as expected."""
        if not self.expected:
            raise BrokenRuleError(f"{self.case.id}, {self.driver} on {self.kernel}: {self}")

    def __str__(self) -> str:
        wrong = "" if self.result.outcome is self.wanted else f", but the case expects: {self.wanted}"
        unmet = [f"unmet: {what}" for what in self.unmet]
        return "\n    ".join(
            [
                f"{self.result.outcome}{wrong}",
                in_words(self.result.figures),
                *unmet,
                *(f"kernel: {line}" for line in self.result.complaints),
            ]
        )


def play(
    case: Case,
    driver: str | Own,
    kernel: str = "6.1",
    keep: Path | None = None,
    file: Path | None = None,
    last: Callable[[Vm], None] = lambda _: None,
) -> Played:
    """Play a case with a driver under test, one of the catalogue's by its name, or another.

    With ``keep``, the guest's artefacts go into that folder; otherwise they are kept below build/zoo if the outcome is
    not the expected one. ``file`` is the case's file, by default the catalogue's. ``last`` is called with the guest
    after the last step, when the log has been read.

    Raises `NotPlayed` if a step did not happen, `CannotJudge` if the log does not show the outcome, and other
    `BenchError`. The guest's artefacts are kept after each of these errors.
    """
    began = time.monotonic()
    own = driver if isinstance(driver, Own) else None
    driver = driver.name if isinstance(driver, Own) else driver
    path = own.path.absolute() if own else driver
    how = OfCase(str((file or catalogued(case)).absolute()), str(path), kernel)
    place = keep or BUILD / "zoo" / case.id / driver
    with pool.held(machine(case, kernel)) as guest:
        vm = guest.vm
        try:
            guest.begin()
            player = _Player(vm, case, driver, own)
            evidence = player.play()
            result = classify(evidence)
            (vm.dir / "dmesg").write_text(evidence.kernel_log)
            last(vm)
        except BenchError as error:
            said = f"{case.id}, {driver}: {error}"
            raise type(error)(f"{said}\n{_kept(vm, place, how, failure.first_line(said))}") from error
        seconds = time.monotonic() - began
        unmet = (*player.unmet, *_late(case.latency.get(player.key, {}), result.figures))
        played = Played(case, driver, kernel, result, evidence.log, seconds, unmet)
        if keep or not played.expected:
            _keep(vm, place)
        if not played.expected or (keep and played.shows):
            failure.record(place, f"{case.id}, {driver} on {kernel}", played.found, how, {"": vm.machine})
    return played


def _keep(vm: Vm, place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    vm.keep(place)
    failure.describe(place, vm.machine)


def _kept(vm: Vm, place: Path, how: OfCase, found: str) -> str:
    """Keep the artefacts of a guest that ended with an error; returns where they are, or why they are not kept."""
    try:
        _keep(vm, place)
        failure.record(place, f"{Path(how.case).stem}, {Path(how.driver).name}", [found], how, {"": vm.machine})
    except (OSError, BenchError) as problem:
        return f"The artefacts of the guest could not be kept in {place}: {problem}"
    return f"The artefacts of the guest are in {place}"


def _late(bounds: Mapping[str, int], figures: Mapping[str, int | float | str]) -> list[str]:
    """Describe the latencies that exceed the bounds of the case."""
    names = {
        "served_us": "slowest_us",
        "asserted_us": "asserted_slowest_us",
        "neighbour_us": "neighbour_slowest_us",
    }
    found = {name: int(figures[names[name]]) for name in bounds}
    late = {name: bound for name, bound in bounds.items() if found[name] > bound}
    return [f"{name} is {found[name]}, at most {bound} is expected" for name, bound in late.items()]


class _Player:
    """A running case."""

    def __init__(self, vm: Vm, case: Case, driver: str, own: Own | None = None) -> None:
        self.vm = vm
        self.case = case
        self.own = own
        #: The name by which the case calls the driver.
        self.key = OWN if own else driver
        #: The kernel driver to which dev0 is bound; a module of somebody's own tells it when it is loaded.
        self.driver = case.own.bind if own else driver
        self.programs = case.shirq.programs if self.key == "shirq" else {}
        self.gsi = line(case)
        self.command: Command | None = None
        self.refused = ""
        self.owes = False
        #: The number of interrupts of bursts that a driver of somebody's own did not serve in time.
        self.overdue = 0
        self.asked = self.answered = 0
        #: Deviations from the notices and tool output that the case expects.
        self.unmet: list[str] = []
        self.background: list[tuple[Step, Command]] = []
        #: The step being played, for messages.
        self.step = "before the first step"
        self.verb = ""
        self.number = 0
        #: Number of raises, bursts, settings and schedule entries so far, each confirmed to have happened.
        self.stimuli = 0
        #: For each device's last schedule: the lines whose entries are not executed yet, with their due time in virtual
        #: ns; infinite for an entry that waits for the doorbell.
        self.due: dict[str, dict[int, float]] = {}
        self.pins: dict[str, bool] = {}
        #: The devices whose pin was high at any time since the step began.
        self.asserted: set[str] = set()
        #: The devices whose pin was high at any time since the last stimulus that the log shows.
        self.risen: set[str] = set()
        #: The vCPUs that have ended an interrupt of dev0's line since the step began.
        self.ended_on: set[int] = set()
        #: The log since the step began.
        self.recent: Sequence[Entry] = ()
        self.addresses = addresses(vm.machine.devices)
        self.prelude = PRELUDE + "".join(
            f"{re.sub(r'[^A-Z0-9]', '_', name.upper())}={address}\n" for name, address in self.addresses.items()
        )
        self.reader = vm.follow()
        self.ledger = Ledger(by_register=case.acknowledges_by_edu)
        self._take(self.reader.log().entries)
        self.mark = self.reader.mark

    def play(self) -> Evidence:
        hung = panicked = ""
        ended: Header | None = None
        try:
            self._prepare()
            self._account()
            self.mark = self.reader.mark
            self.stimuli = 0
            with contextlib.suppress(OopsError):
                self._play_all()
            self.step = "after the last step"
            kernel_log = self._guest("", "dmesg")
        except (HungError, VmDied, AgentGone) as error:
            # Judge the log only up to this header: a storm goes on until the VM is stopped, and may fill the log before
            # that.
            ended = self.reader.header()
            if not isinstance(error, HungError):
                # Wait for the console's end: the kernel's last messages arrive through another channel than the error.
                with contextlib.suppress(pexpect.TIMEOUT):
                    self.vm.console.expect(pexpect.EOF, timeout=_LAST_WORDS)
            kernel_log = self.vm.console.text()
            panicked = next(iter(re.findall(r"Kernel panic.*|BUG: .*", kernel_log)), "")
            if not panicked and not isinstance(error, HungError):
                raise  # the end of QEMU or of the agent is not an outcome
            hung = "" if panicked else str(error).splitlines()[0]
            with contextlib.suppress(BenchError):
                self.vm.qmp.execute("stop")
        status = None if self.case.acknowledges_by_edu else self._status(gone=bool(panicked))
        log = self._log_until(ended or self.reader.header()).since(self.mark)
        if hung or panicked:
            self._require_stimulus(log, (0, -signal.SIGKILL) if panicked else (0,))
        else:
            # After an oops, accept that SIGKILL ended a script: if the kernel goes on, it kills the task in which it
            # failed.
            self._finish((0, -signal.SIGKILL) if _OOPS.search(kernel_log) else (0,))
            if self.own and not self.refused:
                _require_pin(log)
        self.reader.close()
        return Evidence(
            log,
            kernel_log,
            self.gsi,
            refused=self.refused,
            hung=hung and f"{self.step}: {hung}",
            panicked=panicked and f"{self.step}: {panicked}",
            owes=self.owes,
            asked=self.asked,
            answered=self.answered,
            late_ms=self.case.machine.late_ms,
            forgiven=self.case.forgives,
            judged_line=_line_of(_JUDGED, kernel_log),
            status=status,
            overdue=self.overdue,
        )

    def _play_all(self) -> None:
        for number, step in enumerate(self.case.steps, 1):
            # Skip the other steps after a refusal: a driver that has refused the device is not blamed for later
            # events.
            if self._is_its(step) and (not self.refused or step.verb in ("neighbour", "check")):
                self.step = f"step {number}, {step.verb} {step.argument!r}"
                self.verb, self.number = step.verb, number
                self._play(step)

    def _status(self, gone: bool = False) -> int:
        """The sources of dev0 that are pending; none of a guest that is gone."""
        with contextlib.suppress(*([BenchError] if gone else [])):
            return int(self.vm.qmp.get("dev0", "status"))
        return 0

    @property
    def _is_module(self) -> bool:
        """Whether the driver is a kernel module of somebody's own, which has no program in user space."""
        return bool(self.own and self.own.is_module)

    def _is_its(self, step: Step) -> bool:
        return not step.only or self.key in step.only

    def _play(self, step: Step) -> None:
        try:
            self._account()
            self.asserted = {device for device, high in self.pins.items() if high}
            self.ended_on.clear()
            self.recent = ()
            _VERBS[step.verb](self, step)
            if step.logged:
                self._require_logged(step.logged)
        except (CommandFailed, QmpFailed, NotPlayed) as error:
            if self._has_ended(error):
                raise VmDied(str(error)) from error
            if self.own and isinstance(error, CommandFailed) and _OOPS.search(self._guest("", "dmesg")):
                raise OopsError(str(error)) from error
            raise NotPlayed(f"stimulus not played: {self.step}: {error}") from error

    def _has_ended(self, error: BenchError) -> bool:
        """Whether QEMU has ended. Its end is known some time after the end of its channels, on a busy host seconds."""
        if isinstance(error, QmpClosed):
            with contextlib.suppress(DeadlineExceeded):
                self.vm.wait_end(_LAST_WORDS)
        return self.vm.status() is not None

    def _require_logged(self, wanted: str) -> None:
        self._account()
        if not any(re.search(wanted, _words(entry)) for entry in self.recent):
            raise NotPlayed(f"the log has no entry like {wanted!r} since the step began")

    def _require_stimulus(self, log: Log, statuses: Collection[int]) -> None:
        """Require that a guest that hung or panicked had had a stimulus, and all stimuli that were due until then.

        ``statuses`` are the statuses with which a script in the background may have ended: a kernel that panics kills
        the running script.
        """
        if not self.stimuli:
            raise NotPlayed(
                f"stimulus not played: the guest hung or panicked in {self.step}, before anything was raised or set"
            )
        for number, step in enumerate(self.case.steps, 1):
            if step.decisive and self._is_its(step) and self.number < number:
                raise NotPlayed(f"stimulus not played: the guest hung or panicked in {self.step}, before step {number}")
        # Accept any rise of the neighbour's pin since the last stimulus. It may precede the step's first query, because
        # the neighbour's driver gives its card work, too.
        if self.verb == "neighbour" and "nic0" not in self.risen:
            self._require_neighbour()
        for device, lines in self.due.items():
            self._executed(device, [number for number, when in lines.items() if when < log.entries[-1].time_ns])
        for step, command in self.background:
            # Skip scripts that were still running when the guest's end cut them short.
            with contextlib.suppress(DeadlineExceeded, AgentGone):
                self._require_success(step, command.wait(0), statuses)

    def _finish(self, statuses: Collection[int]) -> None:
        """Check that schedules and background scripts have completed, and how the driver's program has ended."""
        for device, lines in self.due.items():
            self._executed(device, lines)
        ended: agent.Result | None = None
        try:
            if self.command and self.command.running:
                self.command.signal(signal.SIGKILL)
                self._await(self.command)
            elif self.command and self.owes:
                ended = self.command.wait()
            self._end_background(statuses)
        except HungError as error:
            raise BenchError(f"{self.vm.name}: after the last step, {error}") from error
        if self.owes and not self.refused:
            self.unmet += _unexpected_end(self.case.ends.get(self.key, ""), ended)
        told = re.findall(r"^notice (.*)$", self.command.stdout, re.MULTILINE) if self.command else []
        self.unmet += _untold(self.case.notices.get(self.key, ()), told)

    def _end_background(self, statuses: Collection[int] = (0,)) -> None:
        for step, command in self.background:
            self._await(command)
            self._require_success(step, command.wait(), statuses)
        self.background.clear()

    def _require_success(self, step: Step, result: agent.Result, statuses: Collection[int] = (0,)) -> None:
        """Raise `NotPlayed` if a script in the background has failed."""
        if result.status not in statuses:
            raise NotPlayed(
                f"stimulus not played: the script {step.argument!r} in the background failed with status"
                f" {result.status}: {result.stderr}"
            )

    def _account(self) -> Sequence[Entry]:
        """Process the entries since the last call. `CannotJudge` if the log is full."""
        new = self.reader.poll()
        # Stop the VM for this: it writes a storm's entries faster than they are processed, so each call would have more
        # work.
        with contextlib.ExitStack() as still:
            if len(new) > _MANY:
                with contextlib.suppress(QmpFailed):  # QEMU has ended: nothing writes to the log
                    still.enter_context(self.vm.frozen())
            self._take(new)
        self.reader.require_complete()
        return new

    def _log_until(self, header: Header) -> Log:
        """Process the log up to this header and return the log. `CannotJudge` if the log was full."""
        mark = self.reader.mark
        log = Log(header, self.reader.log().entries[: header.head])
        log.require_complete()
        self._take(log.entries[mark:])
        return log

    def _take(self, new: Sequence[Entry]) -> None:
        self.ledger.take(new)
        self.recent = joined(self.recent, new)
        # Search only for relevant entries: a storm writes millions of entries, and most of them are accesses.
        for _, entry in find(new, Kind.PIN, Kind.SETTING, Kind.RAISE, Kind.EOI, Kind.SCHEDULED):
            if entry.kind is Kind.PIN:
                self.pins[entry.device] = bool(entry.value)
                if entry.value:
                    self.asserted.add(entry.device)
                    self.risen.add(entry.device)
            elif entry.kind in (Kind.SETTING, Kind.RAISE):
                self.risen = {device for device, high in self.pins.items() if high}
            elif entry.kind is Kind.EOI and entry.offset == self.gsi and entry.vcpu < self.vm.machine.vcpus:
                self.ended_on.add(entry.vcpu)
            elif entry.kind is Kind.SCHEDULED and entry.device in self.due:
                self.due[entry.device].pop(entry.offset, None)
                self.stimuli += 1

    # -- the guest ----------------------------------------------------------------------------------------------

    def _run(self, script: str, *argv: str, stdin: bytes = b"") -> agent.Result:
        """Run a script with `PRELUDE`, or a command; `HungError` if the guest does not answer any more."""
        command = self.vm.agent.start(*(argv or ("sh", "-e", "-c", self.prelude + script)))
        if stdin:
            command.write(stdin)
        command.close_stdin()
        self._await(command)
        return command.wait()

    def _guest(self, script: str, *argv: str, stdin: bytes = b"") -> str:
        """Run a script or a command, as `_run` does, and return its output; `CommandFailed` if it fails."""
        result = self._run(script, *argv, stdin=stdin)
        if result.status:
            raise CommandFailed(
                f"{self.vm.name}: status {result.status} from: {script}\n{result.stdout}{result.stderr}"
            )
        return result.stdout

    def _await(self, command: Command, line: str = "") -> bool:
        """Wait for a command's end or, if ``line`` is given, for a matching line of its output.

        Returns false if the command ended without such a line. `HungError` if the guest does not answer.
        """
        end = Deadline(_SILENCE)
        before = self._logged()
        while True:
            with contextlib.suppress(DeadlineExceeded):
                if not line:
                    command.wait(_GLANCE)
                    return True
                try:
                    command.expect(line, _GLANCE)
                    return True
                except CommandFailed:
                    return False
            if (logged := self._logged() - before) > _STORM:
                raise HungError(f"the guest does not answer, in a storm of {logged} log entries")
            if end.passed:
                with contextlib.suppress(DeadlineExceeded):
                    self.vm.agent.ping()
                    waited = f"has printed no line like {line!r}" if line else "does not end"
                    raise BenchError(f"{self.vm.name}: {' '.join(command.argv)} {waited}, although the guest answers")
                raise HungError("the guest does not answer, and there is no storm")

    def _logged(self) -> int:
        """The number of entries so far, including those that did not fit into the log."""
        header = self.reader.header()
        return header.head + header.dropped

    def _sleep(self, seconds: float) -> None:
        self._guest("", "sleep", f"{seconds:g}")

    # -- before the steps ---------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        """Set the device's properties, and let the kernel, which read the old ones at boot, scan the device again."""
        with self.vm.frozen():
            for name, value in self.case.device.items():
                self._set_property("dev0", name, value)
        if self.case.device:
            self._guest("echo 1 >$PCI/$DEV0/remove && echo 1 >/sys/bus/pci/rescan && test -e $PCI/$DEV0")
        if self.own:
            self._bring(self.own)
        elif self.driver == "naive":
            self._guest(f"insmod $MODULES/naive.ko bug={self.case.naive.bug} {self.case.naive.options}")
        if self.programs:
            self._guest(f"printf '{_printf(_programs(self.programs))}' >/run/programs")

    def _bring(self, own: Own) -> None:
        """Copy somebody's own driver into the guest; load a module, and learn the name of its PCI driver."""
        options = self.case.own
        self._guest(f"mkdir -p {PLACE}\n{options.prepare}")
        if not own.is_module:
            self._guest(
                f"cat >{PLACE}/{own.path.name} && chmod +x {PLACE}/{own.path.name}", stdin=own.path.read_bytes()
            )
            return
        known = self._guest("ls /sys/bus/pci/drivers").split()
        # No driver has this name: the module's must not take dev0 before the step `bind`, and no other device at all.
        self._guest("for one in $PCI/*; do test -e $one/driver || echo nobody >$one/driver_override; done")
        for module in sorted(kmod.build_modules(self.vm.parts.kernel, own.path).glob("*.ko")):
            self._guest(f"cat >{PLACE}/{module.name}", stdin=module.read_bytes())
            self._guest(f"insmod {PLACE}/{module.name} {options.options or ''}")
        found = [name for name in self._guest("ls /sys/bus/pci/drivers").split() if name not in known]
        if len(found) != 1:
            raise NotPlayed(
                f"{own.path} must register one PCI driver when it is loaded, but registers {', '.join(found) or 'none'}"
            )
        self.driver = found[0]

    # -- verbs --------------------------------------------------------------------------------------------------

    def _driver(self, step: Step) -> None:
        what = step.argument
        if what in ("kill", "end", "unbind", "dismiss"):
            self.owes = False
        if what == "bind":
            self._guest(f"test -d /sys/bus/pci/drivers/{self.driver}")
            done = self._run(f"bind {self.driver} $DEV0")
            if done.status:
                self.refused = _refusal("bind", done)
            elif (bound := self._bound_to()) != self.driver:
                raise NotPlayed(f"the device is bound to {bound or 'nothing'}")
            elif self._is_module:
                self.owes = True
        elif what == "unbind":
            self._guest("unbind $DEV0")
            if bound := self._bound_to():
                raise NotPlayed(f"the device is still bound to {bound}")
        elif what == "start":
            self._start()
        elif what != "dismiss":
            self._signal(what)

    def _bound_to(self) -> str:
        return self._guest("! bound $DEV0 || readlink $PCI/$DEV0/driver").strip().rpartition("/")[2]

    def _start(self) -> None:
        if self._is_module:
            self._guest(self.case.own.start)
            return
        self.command = self.vm.agent.start(*self._words())
        self.owes = True
        ready = self.case.own.ready if self.own else _READY
        try:
            armed = self._await(self.command, ready)
        except BenchError as error:
            raise NotPlayed(f"{error}; is it printed and flushed when the program is ready?") from error
        if not armed:
            self.refused = _refusal("the driver's program", self.command.wait(), ready)

    def _words(self) -> list[str]:
        """The driver's program and its arguments."""
        address = self.addresses["dev0"]
        if self.own:
            return self.own.command(self.case.own, address)
        words = [f"peer-{self.driver}", *self.case.peer.split()]
        if self.driver != "naive":
            words += self.case.options(self.driver).options.split()
        if self.programs:
            words += ["--programs", "/run/programs"]
        return [*words, address]

    def _signal(self, what: str) -> None:
        command = self._running()
        numbers = {
            "stop": signal.SIGSTOP,
            "resume": signal.SIGCONT,
            "kill": signal.SIGKILL,
            "end": signal.SIGTERM,
        }
        command.signal(numbers[what])
        state = f"/proc/{command.pid}/status"
        if what == "stop":
            self._guest(f"until grep -q '^State:.T' {state}; do test -e {state}; usleep 1000; done")
        elif what == "resume":
            self._guest(f"while grep -q '^State:.T' {state}; do usleep 1000; done")
        else:
            self._await(command)
            if (status := command.wait().status) != -numbers[what]:
                raise NotPlayed(f"the driver's program ended with status {status}, not by signal {numbers[what]:d}")

    def _running(self) -> Command:
        if not self.command:
            raise NotPlayed("a module has no program" if self._is_module else "no step has started the driver")
        if not self.command.running:
            ended = self.command.wait()
            raise NotPlayed(f"the driver's program has ended by itself, with status {ended.status}: {ended.stderr}")
        return self.command

    def _stimulate(self, device: str, name: str, sources: int) -> list[Entry]:
        """Raise or lower all given sources; returns the device's log entries since then."""
        self.vm.qmp.set(device, name, sources)
        new = [entry for entry in self._account() if entry.device == device]
        moved = [entry.value for entry in new if entry.kind is _STIMULI[name]]
        if sources not in moved:
            state = "already pending" if name == "raise" else "not pending"
            raise NotPlayed(
                f"{name} {sources:#x} of {device} changed only the sources {list(map(hex, moved))}, "
                f"because some were {state}"
            )
        self.stimuli += 1
        return new

    def _raise(self, step: Step) -> None:
        new = self._stimulate(step.device, "raise", step.argument)
        # The driver may already have acknowledged: it is sufficient that the pin was high at any time after the raise.
        if step.pin and not self.pins.get(step.device) and not any(e.kind is Kind.PIN and e.value for e in new):
            raise NotPlayed(f"{step.device} does not assert its pin")
        if step.message and not any(entry.kind is Kind.MESSAGE for entry in new):
            raise NotPlayed(f"{step.device} has sent no MSI")

    def _lower(self, step: Step) -> None:
        self._stimulate(step.device, "lower", step.argument)

    def _burst(self, step: Step) -> None:
        sources = [1 << bit for bit in range(32) if step.sources >> bit & 1]

        def once(number: int) -> None:
            self.vm.qmp.set("dev0", "raise", sources[number % len(sources)])
            # The entry's value is 0 if the driver has left the source pending, which is no error of the case.
            if not any((entry.device, entry.kind) == ("dev0", Kind.RAISE) for entry in self._account()):
                raise NotPlayed("the log has no raise of dev0")
            self.stimuli += 1
            self._until_served(_BURST_LATE)
            # The catalogue's cases say by their steps what is lost, and when.
            if self.own and self.owes and self.ledger.outstanding:
                self.overdue += 1

        self._times(step, once)

    def _times(self, step: Step, once: Callable[[int], None]) -> int:
        """Call ``once`` as often as the step says or, with ``moved``, until each vCPU has ended an interrupt.

        Returns the number of calls.
        """
        vcpus = self.vm.machine.vcpus if step.moved else 0
        for number in range(step.argument * (_MOVED if step.moved else 1)):
            if number >= step.argument and len(self.ended_on) == vcpus:
                return number
            if step.moved and not all(command.running for _, command in self.background):
                raise NotPlayed(f"the background script that moves the interrupt had ended after {number} times")
            once(number)
        if len(self.ended_on) < vcpus:
            raise NotPlayed(f"the line's interrupts have ended only on the vCPUs {sorted(self.ended_on)}, not on all")
        return number + 1

    def _serve(self, step: Step) -> None:
        self._until_served(step.argument)

    def _until_served(self, seconds: float) -> None:
        for _ in range(round(seconds / _LOOK)):
            self._account()
            if self.ledger.outstanding and not self.case.acknowledges_by_edu:
                self.ledger.settle(self._status())
            if not self.ledger.outstanding:
                return
            self._sleep(_LOOK)

    def _wait(self, step: Step) -> None:
        self._sleep(step.argument)

    def _neighbour(self, step: Step) -> None:
        network = self.vm.networks["net0"]
        network.answers()

        def once(_number: int) -> None:
            network.ask()
            self.asked += 1
            self._sleep(_QUERY)
            self._account()

        asked = self._times(step, once)
        # Wait here for replies, which take longer than an idle guest, because they go through the host. This is not a
        # delay of the neighbour: the neighbour's pin shows whether it was late.
        end = Deadline(_WIRE)
        answers = network.answers()
        while answers < asked and not end.passed:
            self._sleep(_QUERY)
            answers += network.answers()
        self.answered += answers
        self._account()
        self._require_neighbour()

    def _require_neighbour(self) -> None:
        if "nic0" not in self.asserted:
            raise NotPlayed("the neighbour's pin did not rise")

    def _set(self, step: Step) -> None:
        device = step.argument.get("device", "dev0")
        with self.vm.frozen() if step.frozen else contextlib.nullcontext():
            for name, value in step.argument.items():
                if name != "device":
                    self._set_property(device, name, value)

    def _set_property(self, device: str, name: str, value: object) -> None:
        """Set a device's property and check it: by reading it back, or, for a stimulus, by its entry in the log."""
        if name in _STIMULI:
            assert isinstance(value, int)
            self._stimulate(device, name, value)
            return
        self.vm.qmp.set(device, name, value)
        if (found := self.vm.qmp.get(device, name)) != value:
            raise NotPlayed(f"{device}'s {name} is {found!r}, not {value!r}")
        self.stimuli += 1

    def _schedule(self, step: Step) -> None:
        """Give a device a schedule; times that begin with @ count from now."""
        device = step.device
        self._executed(device, self.due.get(device, ()))
        path = self.vm.dir / f"{device}.schedule"
        given = [line.strip() for line in step.argument.strip().splitlines()]
        lines = [_later(line, turn * step.every_ns) for turn in range(step.times) for line in given]
        entries = {number: math.inf for number, line in enumerate(lines, 1) if line.partition("#")[0].strip()}
        with self.vm.frozen():
            now = self.vm.now_ns()
            for number in entries:
                when, rest = lines[number - 1].split(" ", 1)
                if when.startswith("@"):
                    entries[number] = now + int(when[1:])
                    lines[number - 1] = f"@{entries[number]} {rest}"
            path.write_text("\n".join(lines) + "\n")
            self.due[device] = entries
            self.vm.qmp.set(device, "schedule", str(path))

    def _executed(self, device: str, lines: Collection[int]) -> None:
        if lines:
            raise NotPlayed(
                f"stimulus not played: {len(lines)} entries of {device}'s schedule were not executed, the first is in"
                f" line {min(lines)}"
            )

    def _script(self, step: Step) -> None:
        if step.background:
            command = self.vm.agent.start("sh", "-e", "-c", self.prelude + step.argument)
            command.close_stdin()
            self.background.append((step, command))
        else:
            self._guest(step.argument)

    def _check(self, step: Step) -> None:
        said = self._guest(step.argument)
        if not re.search(step.shows, said, re.MULTILINE):
            self.unmet.append(f"the output of {step.argument!r} does not match {step.shows!r}:\n{said}")

    def _judge(self, step: Step) -> None:
        self._guest(f"echo '{_JUDGED}' >/dev/kmsg")
        self._account()
        self.mark = self.reader.mark
        self.asked = self.answered = 0

    def _crash(self, step: Step) -> None:
        """Load a crash kernel, crash the first one, and wait until the second is up."""
        self.owes = False
        for name, path in (("vmlinuz", self.vm.parts.kernel.vmlinuz), ("initrd", self.vm.parts.initrd)):
            self._guest(f"cat >/run/{name}", stdin=path.read_bytes())
        self._guest("", "python3", "-c", _LOAD_CRASH_KERNEL, f"{_CRASH_PARAMETERS} {step.argument}")
        crash = self.vm.agent.start("sh", "-c", "echo c >/proc/sysrq-trigger")
        # The second kernel's agent reconnects, which ends the command that the first kernel's agent was running.
        with contextlib.suppress(AgentGone):
            crash.wait(_CRASH)
        self.vm.agent.ping(_CRASH)
        # /proc/vmcore, the memory of the crashed kernel, exists only in a crash kernel.
        self._guest("test -e /proc/vmcore")

    def _tell(self, step: Step) -> None:
        line = step.argument
        command = self._running()
        command.write(line + "\n")
        if not self._await(command, f"^done {line}$"):
            raise NotPlayed(f"the driver's program ended without answering {line!r}: {command.stderr}")

    def _join(self, step: Step) -> None:
        self._end_background()

    def _output(self, step: Step) -> None:
        command = self._running()
        if not self._await(command, step.argument):
            raise NotPlayed(
                f"the driver's program ended before it printed a line like {step.argument!r}: {command.stderr}"
            )


_VERBS: Mapping[str, Callable[[_Player, Step], None]] = {
    "driver": _Player._driver,
    "raise": _Player._raise,
    "lower": _Player._lower,
    "burst": _Player._burst,
    "serve": _Player._serve,
    "wait": _Player._wait,
    "neighbour": _Player._neighbour,
    "set": _Player._set,
    "schedule": _Player._schedule,
    "guest": _Player._script,
    "crash": _Player._crash,
    "tell": _Player._tell,
    "output": _Player._output,
    "join": _Player._join,
    "judge": _Player._judge,
    "check": _Player._check,
}


def _later(line: str, ns: int) -> str:
    """A line of a schedule, its entry so much later, if it has one at an instant of virtual time."""
    if not ns or not line.startswith("@"):
        return line
    when, rest = line.split(" ", 1)
    return f"@{int(when[1:]) + ns} {rest}"


def _require_pin(log: Log) -> None:
    """Raise `NotPlayed` if dev0 had something to assert and never asserted: then the case does not fit the driver."""
    raised = [entry for entry in log.of(Kind.RAISE, device="dev0") if entry.value]
    if raised and not any(entry.value for entry in log.of(Kind.PIN, device="dev0")):
        raise NotPlayed(
            f"stimulus not played: dev0 has raised {len(raised)} interrupts and never asserted its pin, because nothing"
            " enabled its sources. Do [device] and [machine] describe the registers, the BARs and the identity that the"
            " driver expects?"
        )


def _refusal(what: str, ended: agent.Result, ready: str = "") -> str:
    """The kernel's error with which a driver did not take the device; `NotPlayed` for any other failure."""
    said = ended.stderr.strip()
    if ended.status != 1 or not said.endswith(_REFUSALS):
        before = f" before it printed a line like {ready!r}" if ready else ""
        raise NotPlayed(
            f"{what} ended with status {ended.status}{before}, but the kernel has not refused the device:"
            f" {ended.stdout}{said}"
        )
    return said.splitlines()[-1]


def _untold(wanted: Sequence[str], told: Sequence[str]) -> list[str]:
    """A message for each expression without a matching notice; notices must match in the expressions' order."""
    rest = iter(told)
    return [
        f"the driver's program got no notice like {pattern!r} in the expected order; all notices: {list(told)}"
        for pattern in wanted
        if not any(re.search(pattern, notice) for notice in rest)
    ]


def _unexpected_end(wanted: str, ended: agent.Result | None) -> list[str]:
    """A message if the driver's program did not end as ``wanted``, or ended by itself although no end is wanted."""
    if not ended:
        return [f"the driver's program has not ended by itself, with {wanted!r}"] if wanted else []
    said = f"status {ended.status}: {(ended.stderr.strip().splitlines() or [''])[-1]}"
    return [] if wanted and re.search(wanted, said) else [f"the driver's program ended by itself, with {said!r}"]


def _words(entry: Entry) -> str:
    """A log entry as the option `logged` matches it: kind, device, place and value."""
    place = f"{'config' if entry.space == CONFIG_SPACE else f'bar{entry.space}'}+{entry.offset:#x}"
    accesses = (Kind.READ, Kind.WRITE, Kind.LAND, Kind.MARK)
    return f"{entry.kind.name} {entry.device} {place if entry.kind in accesses else entry.offset} {entry.value:#x}"


def _line_of(words: str, text: str) -> int:
    """The number of the last line that contains the words, counted from 1; 0 if there is none."""
    return max((number for number, line in enumerate(text.splitlines(), 1) if words in line), default=0)


def _programs(texts: Mapping[str, str]) -> bytes:
    """Mode and programs as ``peer-shirq --programs`` reads them; `BenchError` with the assembler's message."""
    # Use a separate process: the guest's binding may differ from the binding that is installed here, if any.
    done = subprocess.run(
        [sys.executable, GUEST / "tools/programs.py"],
        input=json.dumps(texts).encode(),
        env={**os.environ, "PYTHONPATH": str(GUEST), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        timeout=60,
    )
    if done.returncode:
        raise BenchError(f"the case's programs cannot be assembled: {done.stderr.decode().strip()}")
    return done.stdout


def _printf(data: bytes) -> str:
    """Escape bytes for a shell's printf."""
    return "".join(f"\\{byte:03o}" for byte in data)
