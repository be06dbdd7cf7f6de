# SPDX-License-Identifier: MIT
"""Actions on a guest with `SHARED_LINE`: start drivers, raise interrupts, trace the kernel's handlers.

The demo and the guest tests use them.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from shirq_bench.channels.agent import Command
from shirq_bench.channels.log import THREADS, ClockFit, HandlerCall, Log, parse_ftrace
from shirq_bench.channels.network import Network
from shirq_bench.deadline import Deadline
from shirq_bench.errors import BenchError, CommandFailed, DeadlineExceeded
from shirq_bench.observe.invariants import threads_ns
from shirq_bench.observe.judge import Verdict, false_claims, line_never_masked, line_of, neighbour_lost
from shirq_bench.observe.record import Recording, record
from shirq_bench.vm.machine import ADDRESSES, bind
from shirq_bench.vm.vm import Vm

_TRACING = "/sys/kernel/tracing"
_EVENT = re.compile(r"event seq=(\d+) status=(0x[0-9a-f]+) lost=(\d+)")
#: The reference drivers, by the language that they are written in.
_DRIVERS = {"c": ["shirq-edu"], "python": ["python3", "/usr/bin/shirq-edu.py"]}


@dataclass(frozen=True)
class Event:
    """The line that a driver prints for one event."""

    seq: int
    status: int
    lost: int


@dataclass
class Driver:
    """A reference driver that runs in the guest."""

    vm: Vm
    device: str
    command: Command

    def next_event(self, deadline: float = 20.0) -> Event:
        """Wait for the next event that the driver has handled."""
        match = self.command.expect(_EVENT.pattern, deadline)
        return Event(int(match[1]), int(match[2], 16), int(match[3]))

    def events(self) -> list[Event]:
        """All events that the driver has handled so far."""
        return [Event(int(m[1]), int(m[2], 16), int(m[3])) for m in _EVENT.finditer(self.command.stdout)]

    def stop(self) -> None:
        """Stop the driver's process and wait until it has stopped, so that interrupts raised later stay pending."""
        self.command.signal(signal.SIGSTOP)
        self.vm.agent.succeed(f"until grep -q '^State:.T' /proc/{self.command.pid}/status; do usleep 1000; done")

    def resume(self) -> None:
        """Continue the driver's process after `stop`."""
        self.command.signal(signal.SIGCONT)

    def end(self, number: signal.Signals = signal.SIGTERM, deadline: float = 20.0) -> int:
        """Send the driver a signal and wait for its end; returns its status (negative: the signal that ended it)."""
        self.command.signal(number)
        return self.command.wait(deadline).status


@dataclass
class Handlers:
    """The calls of the kernel's interrupt handlers while tracing was on. The fields are filled in when tracing ends."""

    log: Log | None = None
    calls: list[HandlerCall] = field(default_factory=list)
    fit: ClockFit | None = None
    #: The kernel's unfiltered trace.
    text: str = ""
    #: How long the kernel may mask a line while threads handle its interrupt, in ns; None: not at all.
    threads_ns: int | None = None

    def _complete(self) -> tuple[Log, ClockFit]:
        if self.log is None or self.fit is None:
            raise BenchError("tracing is still on: read the handler calls after its block")
        return self.log, self.fit

    def neighbour_lost(self, device: str, irq: int, name: str) -> Verdict:
        """`judge.neighbour_lost` over the time that was traced."""
        log, fit = self._complete()
        return neighbour_lost(log, self.calls, fit, device, irq, name)

    def line_never_masked(self, device: str) -> Verdict:
        """`judge.line_never_masked` of the device's line over the time that was traced."""
        log, _ = self._complete()
        return line_never_masked(log, line_of(log, [device]), self.threads_ns)

    def false_claims(self, device: str, irq: int) -> Verdict:
        """`judge.false_claims` over the time that was traced, for a device that shirq.ko is bound to."""
        log, fit = self._complete()
        return false_claims(log, self.calls, fit, device, irq, handler_name(device))


def handler_name(device: str) -> str:
    """The name of shirq.ko's handler for ``device`` in /proc/interrupts and in traces."""
    return f"shirq:{ADDRESSES[device]}"


class Scene:
    """The guest ``vm``, prepared or cloned, with at least the devices of `SHARED_LINE`."""

    def __init__(self, vm: Vm) -> None:
        self.vm = vm
        self.run = vm.agent.succeed

    @property
    def network(self) -> Network:
        """The network connection to the neighbour nic0."""
        return self.vm.networks["net0"]

    def prepare(self) -> None:
        """Bring a booted guest to the state of a prepared clone: neighbour up, dev0 and dev1 bound."""
        for script in self.vm.machine.prepare:
            self.run(script)

    def upload(self, source: Path, target: str) -> None:
        """Copy a file into the guest, as an executable. `CommandFailed` if the guest cannot keep it."""
        script = f"cat >{shlex.quote(target)} && chmod 755 {shlex.quote(target)}"
        result = self.vm.agent.run("sh", "-c", script, stdin=source.read_bytes(), deadline=60)
        if result.status:
            raise CommandFailed(f"{self.vm.name}: {source} is not in the guest as {target}: {result.stderr}")

    def bind(self, device: str) -> None:
        """Bind one more device to shirq.ko."""
        self.run(bind(device))

    def drive(self, device: str, language: str = "c", *options: str) -> Driver:
        """Start a reference driver for a bound device; returns once it is armed."""
        command = self.vm.agent.start(*_DRIVERS[language], *options, ADDRESSES[device])
        command.expect("^armed", deadline=120)
        return Driver(self.vm, device, command)

    def raise_(self, *devices: str, bits: int = 1) -> None:
        """Make sources of the devices pending, all in one instant of virtual time."""
        if len(devices) == 1:
            self.vm.qmp.set(devices[0], "raise", bits)
            return
        with self.vm.frozen():
            for device in devices:
                self.vm.qmp.set(device, "raise", bits)

    def wait_unmasked(self, *devices: str, deadline: float = 20.0) -> None:
        """Wait until the drivers have unmasked the devices. The read that unmasks follows the printing of an event."""
        end = Deadline(deadline * self.vm.patience)
        for device in devices:
            while self.vm.qmp.get(device, "mask"):
                if end.passed:
                    raise DeadlineExceeded(
                        f"{self.vm.name}: {device} is still masked after {end}\n{self.vm.situation()}"
                    )

    def record(self, *devices: str, settled: bool = True) -> contextlib.AbstractContextManager[Recording]:
        """Record the event log of the block; its judges examine the devices' line: `record.record`."""
        return record(self.vm, *devices, settled=settled)

    def irq(self, name: str) -> int:
        """The kernel's number of the interrupt that has a handler called ``name``. `BenchError` if none has."""
        for line in self.run("cat /proc/interrupts").splitlines():
            number, _, rest = line.strip().partition(":")
            if re.search(rf"(^|[\s,]){re.escape(name)}(,|$)", rest):
                return int(number)
        raise BenchError(f"{self.vm.name}: no interrupt has a handler called {name}")

    @contextlib.contextmanager
    def tracing(self, buffer_kib: int = 8192) -> Iterator[Handlers]:
        """Trace the kernel's interrupt handlers during the block, between two sets of clock marks.

        The kernel's buffer has ``buffer_kib`` for each CPU, and each KiB holds about 18 calls of a handler.
        `TraceError` if the calls do not fit.
        """
        handlers = Handlers(threads_ns=threads_ns(self.vm))
        follow = self.vm.log().mark
        events = "events/irq/irq_handler_entry/enable events/irq/irq_handler_exit/enable"
        threads = self.vm.threads_handlers
        probes = ""
        if threads:
            events = "events/kprobes/irq_thread_entry/enable events/kprobes/irq_thread_exit/enable"
            defined = " ".join(map(shlex.quote, THREADS))
            probes = f" && {{ test -d events/kprobes/irq_thread_exit || printf '%s\\n' {defined} >>kprobe_events; }}"
        # Enable both events before recording starts, so that no exit is recorded without its entry.
        self.run(
            f"cd {_TRACING} && echo 0 >tracing_on && echo mono >trace_clock && echo {buffer_kib} >buffer_size_kb"
            f"{probes} && for e in {events}; do echo 1 >$e; done && echo >trace && echo 1 >tracing_on && {self._marks}"
        )
        yield handlers
        text = self.run(f"{self._marks} && cd {_TRACING} && echo 0 >tracing_on && cat trace", deadline=180)
        handlers.log = self.vm.log().since(follow)
        handlers.calls = parse_ftrace(text, threads)
        handlers.text = text
        handlers.fit = handlers.log.clock("clock")

    @property
    def _marks(self) -> str:
        return f"shirq-mark {ADDRESSES['clock']} 20"
