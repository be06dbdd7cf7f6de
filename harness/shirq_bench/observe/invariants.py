# SPDX-License-Identifier: MIT
"""Invariants: rules that hold in every guest during every test.

Each invariant is a function whose docstring is the sentence that a failing test shows. It returns a description of the
violation, or an empty string. Its arguments are the guest, the log's last epoch, the waivers, and the virtual time
until which the log is complete. If this time is None, the log's last entry gives it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from shirq_bench.channels.log import Log
from shirq_bench.deadline import competition
from shirq_bench.errors import BenchError, CannotJudge
from shirq_bench.observe import judge
from shirq_bench.vm.vm import Vm

#: The value of `forgotten_ns` with a stock kernel on an idle host, in seconds.
_FORGOTTEN_S = 10
#: The same for the threads that handle one interrupt: they are woken, and may wait for others.
_THREADS_S = 0.05


@dataclass(frozen=True)
class Waiver:
    """The invariants that a test breaks on purpose, and in which guest: arguments of the marker ``invariants_broken``.

    ``guest_ends``: the guest may end before its test does. ``line_of``: the line of that device may be forgotten.
    ``guest`` is the guest's number in the order of the boots, from 0. Raises `BenchError` if nothing is waived.
    """

    reason: str
    guest_ends: bool = False
    line_of: str = ""
    guest: int = 0

    def __post_init__(self) -> None:
        if not (self.guest_ends or self.line_of):
            raise BenchError("the broken invariant must be named, such as guest_ends=True or line_of='dev0'")


def no_vm_is_lost(vm: Vm, log: Log, waivers: Sequence[Waiver], now_ns: int | None) -> str:
    """A guest ends when its test ends it, not before."""
    status = None if any(waiver.guest_ends for waiver in waivers) else vm.status()
    return "" if status is None else f"QEMU ended with status {os.waitstatus_to_exitcode(status)}"


def no_entry_is_dropped(vm: Vm, log: Log, waivers: Sequence[Waiver], now_ns: int | None) -> str:
    """The event log holds everything that happened: otherwise no verdict on it can be trusted."""
    dropped = log.header.dropped
    return f"{dropped} entries did not fit into the event log, which holds {log.header.capacity}" if dropped else ""


def allowed_ns(vm: Vm, seconds: float, busy: float = 1.0) -> int:
    """The limit in ``vm``, in ns of virtual time, for work that takes ``seconds`` with a stock kernel on an idle host.

    Virtual time also passes while a busy host makes the guest wait. ``busy`` is the highest `competition` seen so far.
    """
    return int(seconds * 1e9 * vm.patience * max(busy, competition()))


def threads_ns(vm: Vm) -> int | None:
    """Virtual time, in ns, for which ``vm`` may mask a line while threads handle its interrupt; None: never."""
    return allowed_ns(vm, _THREADS_S, vm.busiest) if vm.threads_handlers else None


def forgotten_ns(vm: Vm) -> int:
    """Virtual time, in ns, after which an unhandled high line of ``vm`` counts as forgotten.

    The line may have waited when the host was busy, which the load at the end of the test does not show.
    """
    return allowed_ns(vm, _FORGOTTEN_S, vm.busiest)


def no_line_is_forgotten(vm: Vm, log: Log, waivers: Sequence[Waiver], now_ns: int | None) -> str:
    """No line stays high unhandled, as it does if a driver hangs or the kernel has disabled the line."""
    bound = forgotten_ns(vm)
    try:
        waived = {gsi for waiver in waivers for gsi in judge.lines_moved(log, waiver.line_of)}
        lines = [gsi for gsi in judge.lines_in_use(log) if gsi not in waived]
        verdicts = [judge.no_line_high_longer_than(log, bound, gsi, now_ns) for gsi in lines]
    except CannotJudge as reason:
        return f"cannot judge: {reason}"
    return "\n".join(str(verdict) for verdict in verdicts if not verdict.ok)


ALL: tuple[Callable[[Vm, Log, Sequence[Waiver], int | None], str], ...] = (
    no_vm_is_lost,
    no_entry_is_dropped,
    no_line_is_forgotten,
)


def broken(vm: Vm, waivers: Sequence[Waiver] = ()) -> str:
    """The violations in ``vm`` that are not waived, each with the invariant's sentence; empty if all hold."""
    # Read the time before the log. Otherwise a guest that skips idle time could serve its line after the log was read
    # and before the time is read, and the line would seem to be forgotten.
    now_ns = _now_ns(vm)
    log = vm.log().epochs()[-1]
    found = [(invariant, what) for invariant in ALL if (what := invariant(vm, log, waivers, now_ns))]
    return "\n".join(f"{invariant.__doc__}\n{what}" for invariant, what in found)


def _now_ns(vm: Vm) -> int | None:
    """The present virtual time; None if QEMU has ended or does not answer."""
    try:
        return vm.now_ns()
    except BenchError:
        return None
