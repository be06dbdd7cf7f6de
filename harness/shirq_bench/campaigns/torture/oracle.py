# SPDX-License-Identifier: MIT
"""Judges a guest's torture by the event log alone: assertions without an owner, and lost interrupts of neighbours.

The guest writes marks into the MARK register of a device without a driver (``guest/torture/torture.h``). The marks show
when the device under test can have an owner. From the mark after an owner's end to the mark of the next beginning, the
device's pin must be low, without any tolerance, because the log's order is exact. Each raise of a neighbour must be
followed by an acknowledgement by the neighbour's own driver: its handler in the kernel, or its process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from shirq_bench.channels.edu import Register
from shirq_bench.channels.log import KERNEL_RING, USER_RING, Entry, Kind, Log
from shirq_bench.observe.words import duration

_ATTEMPT_BITS = 24
_OWN, _END, _GONE = 1, 2, 3


@dataclass
class Neighbour:
    """The state of one neighbour. ``ring`` is that of its driver; ``worst_ns`` is the longest wait for its service."""

    name: str
    ring: int
    raised: int = 0
    served: int = 0
    withdrawn: int = 0
    worst_ns: int = 0
    may_be_withdrawn: bool = False
    pending: int = 0
    since: Entry | None = None
    lost: list[str] = field(default_factory=list)

    def see(self, entry: Entry, bound_ns: int) -> None:
        """Process one entry of this device."""
        if entry.kind is Kind.RAISE and entry.value:
            if not self.pending:
                self.raised += 1
                self.since = entry
            self.pending |= entry.value
        elif entry.kind is Kind.WRITE and (entry.space, entry.offset) == (0, Register.INT_ACK) and self.pending:
            self.pending &= ~entry.value
            if not self.pending:
                self._over(entry, bound_ns)

    def _over(self, ack: Entry, bound_ns: int) -> None:
        assert self.since is not None
        wait = ack.time_ns - self.since.time_ns
        if ack.ring == self.ring:
            self.served += 1
            self.worst_ns = max(self.worst_ns, wait)
        else:
            self.withdrawn += 1
            if not self.may_be_withdrawn:
                self.lost.append(
                    f"{self.name}: raised at {self.since.time_ns} ns and acknowledged in ring {ack.ring},"
                    f" but its driver runs in ring {self.ring}"
                )
        if wait > bound_ns:
            self.lost.append(
                f"{self.name}: raised at {self.since.time_ns} ns and served {duration(wait)} later, allowed are"
                f" {duration(bound_ns)}"
            )

    def end(self) -> None:
        """End the account. All drivers have had time to serve their interrupts: a pending interrupt is lost."""
        if self.pending and self.since:
            self.lost.append(f"{self.name}: raised at {self.since.time_ns} ns and never served")


@dataclass
class Verdict:
    """``ends`` is the number of judged ends of owners. ``asserted`` is the number of ends before which the device had
    asserted for this owner, ``asserting`` the number of ends that began during an assertion. ``assertions`` counts all
    assertions of the device. ``worst_ns`` is the longest time from the beginning of an end until the pin was low.
    """

    neighbours: dict[str, Neighbour]
    ends: int = 0
    asserted: int = 0
    asserting: int = 0
    assertions: int = 0
    worst_ns: int = 0
    loud: list[str] = field(default_factory=list)
    strayed: list[str] = field(default_factory=list)

    def stray(self, entry: Entry) -> None:
        """Record a forbidden access to a register."""
        self.strayed.append(
            f"forbidden access to {entry.device}: {entry.kind.name} of {entry.offset:#x} in space {entry.space}"
            f" at {entry.time_ns} ns"
        )

    @property
    def lost(self) -> list[str]:
        """A description of each lost interrupt."""
        return [what for neighbour in self.neighbours.values() for what in neighbour.lost]


def judge(
    log: Log,
    device: str,
    clock: str,
    neighbours: Mapping[str, int],
    bystanders: frozenset[str] = frozenset(),
    *,
    bound_ns: int,
    end_ns: int,
    silent: bool = True,
    withdrawn: bool = False,
) -> Verdict:
    """Judge a log: the device under test, the neighbours with the rings of their drivers.

    A neighbour must be served within ``bound_ns``, and acknowledged in its driver's ring unless interrupts may be
    ``withdrawn``. The pin must fall within ``end_ns`` after an owner's end begins; ends are judged only if ``silent``.
    From the first mark on, no access to ``bystanders`` is allowed, no process may access a neighbour with an in-kernel
    driver, and the clock device may be accessed only for marks. `CannotJudge` if the log has dropped entries.
    """
    log.require_complete()
    verdict = Verdict({name: Neighbour(name, ring, may_be_withdrawn=withdrawn) for name, ring in neighbours.items()})
    owned, pin, begun, rose = True, False, False, False
    end: Entry | None = None
    fell: Entry | None = None
    for entry in log.entries:
        if entry.device == clock:
            if begun and entry.kind in (Kind.READ, Kind.WRITE) and entry.offset != Register.MARK:
                verdict.stray(entry)
            if entry.kind is not Kind.MARK or entry.width != 4:
                continue
            begun = True
            what, attempt = entry.value >> _ATTEMPT_BITS, entry.value & ((1 << _ATTEMPT_BITS) - 1)
            if what == _OWN:
                owned, rose = True, False
            elif what == _END:
                end, fell = entry, entry if pin else None
                verdict.asserting += pin
            elif what == _GONE:
                owned = False
                verdict.ends += 1
                verdict.asserted += rose
                if end and fell and not pin:
                    took = fell.time_ns - end.time_ns
                    verdict.worst_ns = max(verdict.worst_ns, took)
                    if took > end_ns and silent:
                        verdict.loud.append(
                            f"{device} fell silent {duration(took)} after attempt {attempt} began to end,"
                            f" allowed are {duration(end_ns)}"
                        )
                end = None
                if pin and silent:
                    verdict.loud.append(f"{device} still asserts after attempt {attempt}, at {entry.time_ns} ns")
        elif entry.device == device and entry.kind is Kind.PIN:
            pin = bool(entry.value)
            rose |= pin
            verdict.assertions += pin
            if pin and not owned and silent:
                verdict.loud.append(f"{device} asserts without an owner, at {entry.time_ns} ns")
            if not pin and end:
                fell = entry
        if neighbour := verdict.neighbours.get(entry.device):
            neighbour.see(entry, bound_ns)
        touched = begun and entry.kind in (Kind.READ, Kind.WRITE)
        if touched and (
            entry.device in bystanders or (neighbour and (neighbour.ring, entry.ring) == (KERNEL_RING, USER_RING))
        ):
            verdict.stray(entry)
    for neighbour in verdict.neighbours.values():
        neighbour.end()
    return verdict
