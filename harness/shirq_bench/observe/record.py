# SPDX-License-Identifier: MIT
"""Records the event log during a block of a test, to wait for entries in the block and to judge it.

::

    with record(vm, "dev0") as run:
        vm.qmp.set("dev0", "raise", 1)
        run.wait(Masked("dev0"))
    run.masked_before_eoi(at_least=1)
    run.line_low_at_end()
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator, Sequence

from shirq_bench.channels.log import Entry, Kind, Log, LogReader
from shirq_bench.deadline import Deadline
from shirq_bench.errors import BenchError, DeadlineExceeded
from shirq_bench.journal import Kind as StepKind
from shirq_bench.observe import judge
from shirq_bench.observe.invariants import threads_ns
from shirq_bench.observe.judge import Assertion, Handling, Verdict
from shirq_bench.observe.triggers import LineUnmasked, PinFalls, Trigger
from shirq_bench.vm.vm import Vm

#: Seconds between two polls of the log, which is a mapped file: its changes cannot be waited for.
_LOOK = 0.002
#: After this many polls the VM is asked for its time: an idle guest logs nothing, so the log does not show the time.
_IDLE = 50
#: Seconds, on an idle host, within which virtual time must advance. Otherwise the error says that the VM stands still,
#: to distinguish this from a slow guest.
_STANDSTILL = 20.0


class Recording:
    """The log of a VM during a block, and the devices whose line is judged; see `record`.

    The methods that judge are those of `judge`, applied to these devices' line and, if they need a device, to the first
    device. Each returns its verdict, and raises `BrokenRuleError` if the rule is broken or fewer than ``at_least``
    cases were examined.
    """

    def __init__(self, vm: Vm, devices: tuple[str, ...]) -> None:
        if not devices:
            raise BenchError("a recording needs devices: name at least one")
        self._vm = vm
        self._devices = devices
        self._reader = LogReader(vm.log_path)
        self._reader.poll()
        self._mark = self._next = self._reader.mark
        self._log: Log | None = None
        #: The virtual time at which the log was still complete; an idle guest logs nothing. 0 if it is not needed.
        self._until_ns = 0

    # -- during the block ---------------------------------------------------------------------------------------

    def wait(self, *triggers: Trigger, within_s: float = 20.0) -> Entry:
        """Return the entry of the first of these moments since the last wait, or since the beginning; wait for it.

        ``within_s`` is in seconds of guest time, stretched for a slow kernel. `DeadlineExceeded` if no such moment
        comes, or if the VM stands still; `CannotJudge` if the log is full.
        """
        with self._vm.journal.during(StepKind.WAIT, " or ".join(map(str, triggers))):
            return self._wait(triggers, within_s)

    def _wait(self, triggers: Sequence[Trigger], within_s: float) -> Entry:
        limit_ns = round(within_s * self._vm.patience * 1e9)
        began = now = self._vm.now_ns()
        still = Deadline(_STANDSTILL * self._vm.patience)
        looks = 0
        while True:
            for entry in self._reader.since(self._next):
                self._next += 1
                if any(trigger.matches(entry) for trigger in triggers):
                    return entry
            looks += 1
            if looks % _IDLE == 0:
                self._reader.require_complete()
                if (later := self._vm.now_ns()) > now:
                    now, still = later, Deadline(_STANDSTILL * self._vm.patience)
                waited = f"{' or '.join(map(str, triggers))}: not within {(now - began) / 1e9:.3f} s of guest time"
                if still.passed:
                    waited += ", and the VM stands still"
                if now - began > limit_ns or still.passed:
                    raise DeadlineExceeded(f"{self._vm.name}: {waited}\n{self._vm.situation()}")
            time.sleep(_LOOK)

    def settle(self, within_s: float = 10.0) -> Log:
        """Wait until the line is low; returns the log until then. `DeadlineExceeded` if the line stays high.

        A line that never moved is low. A neighbour's reply does not mean that the line is low: the neighbour's last
        interrupt may come after the reply. If threads handle interrupts, wait also until they have unmasked the line.
        """
        end_ns = 0
        while True:
            log = self.log
            moved = any(judge.lines_moved(log, device) for device in self._devices)
            if not moved or (judge.line_low_at_end(log, self.gsi).ok and not self._threads_run(log)):
                return log
            now = self._vm.now_ns()
            # Every pin's fall ends a wait: the time for all waits together is fixed before the first.
            end_ns = end_ns or now + round(within_s * self._vm.patience * 1e9)
            if now > end_ns:
                high = f"the line is still high, or masked, after {within_s * self._vm.patience:g} s of guest time"
                raise DeadlineExceeded(f"{self._vm.name}: {high}\n{self._vm.situation()}")
            left_s = (end_ns - now) / 1e9 / self._vm.patience
            fall = (PinFalls(device) for device in log.header.devices)
            self.wait(*fall, *([LineUnmasked(self.gsi)] if self._vm.threads_handlers else []), within_s=left_s)

    def _threads_run(self, log: Log) -> bool:
        """Whether the line is masked at the end of the log, not longer than threads may need."""
        if (limit_ns := threads_ns(self._vm)) is None:
            return False
        masks = judge.high(log, Kind.LINE_MASK, gsi=self.gsi)
        return any(not it.end and it.start and self._until_ns - it.start.time_ns <= limit_ns for it in masks)

    def end(self, log: Log | None = None) -> None:
        """End the recording, which then consists of ``log`` or, by default, of all entries so far."""
        try:
            self._log = self._present() if log is None else log
        finally:
            self._reader.close()

    # -- results ------------------------------------------------------------------------------------------------

    @property
    def log(self) -> Log:
        """The entries of the block; while the block lasts, the entries so far. `CannotJudge` if entries are missing."""
        log = self._log or self._present()
        log.require_complete()
        return log

    def _present(self) -> Log:
        """The entries so far. Reads the time before them: what is masked at their end was so at that time."""
        if self._vm.threads_handlers:
            with contextlib.suppress(BenchError):  # QEMU has ended
                self._until_ns = self._vm.now_ns()
        return self._reader.log().since(self._mark)

    @functools.cached_property
    def gsi(self) -> int:
        """The line of the devices. Raises what `judge.line_of` raises if the log does not show one common line."""
        return judge.line_of(self.log, self._devices)

    def of(self, *kinds: Kind, device: str | None = None, offset: int | None = None) -> list[Entry]:
        """The entries that `Log.of` selects."""
        return self.log.of(*kinds, device=device, offset=offset)

    def assertions(self, device: str = "") -> list[Assertion]:
        """Each time that the device (default: the first one) asserted its pin."""
        return judge.assertions(self.log, device or self._devices[0])

    def handlings(self) -> list[Handling]:
        """Each handling of the line's interrupt. `CannotJudge` if the log does not follow the line."""
        judge.require_followed(self.log, self.gsi)
        return judge.handlings(self.log, self.gsi)

    def _repr_html_(self) -> str:
        """The table of the log, for notebooks. `CannotJudge` if entries are missing."""
        return self.log._repr_html_()

    # -- judges -------------------------------------------------------------------------------------------------

    def masked_before_eoi(self, device: str = "", at_least: int = 1) -> Verdict:
        """`judge.masked_before_eoi` of the device (default: the first one)."""
        return self._judged(at_least, judge.masked_before_eoi, device or self._devices[0], self.gsi)

    def silent_before_eoi(self, device: str = "", at_least: int = 1) -> Verdict:
        """`judge.silent_before_eoi` of the device (default: the first one)."""
        return self._judged(at_least, judge.silent_before_eoi, device or self._devices[0], self.gsi)

    def line_low_at_end(self) -> Verdict:
        """`judge.line_low_at_end`."""
        return self._judged(1, judge.line_low_at_end, self.gsi)

    def line_never_masked(self, at_least: int = 1) -> Verdict:
        """`judge.line_never_masked`."""
        log = self.log
        return judge.line_never_masked(log, self.gsi, threads_ns(self._vm), self._until_ns).require(at_least)

    def no_line_high_longer_than(self, bound_ns: int, at_least: int = 1) -> Verdict:
        """`judge.no_line_high_longer_than`."""
        return self._judged(at_least, judge.no_line_high_longer_than, bound_ns, self.gsi)

    def _judged(self, at_least: int, rule: Callable[..., Verdict], *arguments: object) -> Verdict:
        return rule(self.log, *arguments).require(at_least)


@contextlib.contextmanager
def record(vm: Vm, *devices: str, settled: bool = True) -> Iterator[Recording]:
    """Record the event log of the block; its judges examine the devices' line.

    After a block without an error, the recording goes on until the line is low, for at most 10 s of guest time: this
    waits for interrupts that were raised in the block and are still pending. With ``settled`` false, the recording ends
    with the block.
    """
    recording = Recording(vm, devices)
    log = None
    try:
        yield recording
        if settled:
            with contextlib.suppress(DeadlineExceeded):
                # End the log where the line was low: a neighbour may have asserted the line again since.
                log = recording.settle()
        log = recording.log if log is None else log
    finally:
        recording.end(log)
