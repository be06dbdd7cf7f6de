# SPDX-License-Identifier: MIT
"""The self-test of a card: it raises an interrupt by itself, and this module says where that interrupt was lost.

    report = run(System(), "0000:00:04.0", card, seconds=2.0)
    print(report.text())

The test owns the device for its time. It needs a profile with the programs [selftest] fire and serve.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from shirq.abi import EventType, InfoFlag, Quarantine
from shirq.device import Device
from shirq.interrupts import Line
from shirq.profile import Profile
from shirq.program import Program
from shirq.records import Event, Info
from shirq.system import Function, System

#: Seconds after which a device that asserts is looked at, if its interrupt has not come: another line may storm.
SOON: Final = 0.3
#: Seconds in which a card that was served must not interrupt again.
QUIET: Final = 0.1


class Owner(Protocol):
    """What the test needs of a device; `Device` has it."""

    @property
    def info(self) -> Info: ...
    def load_profile(self, card: Profile) -> None: ...
    def arm(self, *, shared: bool = True, auto_unmask: bool = True) -> None: ...
    def exec(self, program: Program, regs: Sequence[int] = ()) -> tuple[int, ...]: ...
    def unmask(self, seq: int) -> None: ...
    def read(self, timeout: float | None = None) -> Event: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class Report:
    """The result: whether the interrupt works, what was seen, and the verdict with its remedy."""

    works: bool
    seen: tuple[str, ...]
    verdict: str

    def text(self) -> str:
        return "\n".join(
            [*(f"  {each}" for each in self.seen), f"{'works' if self.works else 'FAILS'}: {self.verdict}"]
        )


@dataclass(frozen=True)
class _Sample:
    """The machine's lines at one time, and what the function's config space says."""

    lines: Mapping[int, Line]
    function: Function

    @classmethod
    def take(cls, system: System, address: str) -> _Sample:
        return cls(system.lines(), system.function(address))

    def grown(self, before: _Sample, irq: int) -> int:
        """The interrupts of a line since another sample."""
        return self.lines[irq].interrupts_since(before.lines.get(irq)) if irq in self.lines else 0

    def unhandled(self, before: _Sample, irq: int) -> int:
        """The unhandled interrupts of a line since another sample."""
        return self.lines[irq].unhandled_since(before.lines.get(irq)) if irq in self.lines else 0


def run(
    system: System,
    address: str,
    card: Profile,
    seconds: float = 2.0,
    open_device: Callable[[str], Owner] = Device.open,
) -> Report:
    """Test the interrupt of a bound function without an owner; `seconds` is the time in which the interrupt must come.

    Raises ValueError if the profile has no [selftest], or ShirqError if the device cannot be owned or armed.
    """
    if card.selftest is None:
        raise ValueError(f"{card.name} has no [selftest]: its profile needs the programs fire and serve")
    function = system.function(address)
    if function.pin is None:
        return Report(False, (), "the function has no interrupt pin: it can use MSI at most")
    if function.irq is None:
        return Report(
            False,
            (f"pin: INT{function.pin}",),
            f"the pin leads to no line: {function.unknown or 'the kernel has no route'}",
        )
    device = open_device(address)
    try:
        return _test(system, address, card, seconds, device)
    finally:
        device.close()


def _test(system: System, address: str, card: Profile, seconds: float, device: Owner) -> Report:
    assert card.selftest is not None
    device.load_profile(card)
    irq = device.info.irq
    was_off = system.lines_off([system.function(address)])
    seen = [f"pin: INT{system.function(address).pin}, line {irq}"]
    if irq in was_off:
        seen.append("the line was disabled before the test; arming has revived it if the kernel had given it up")
    before = _Sample.take(system, address)
    device.arm(auto_unmask=False)
    started = time.monotonic()
    device.exec(card.selftest.fire)
    event = _event(device, min(SOON, seconds))
    after = _Sample.take(system, address)
    if event is None and not after.function.status and seconds > SOON:
        event = _event(device, seconds - SOON)
        after = _Sample.take(system, address)
    took = time.monotonic() - started
    seen.append(f"line {irq} counted {after.grown(before, irq)} interrupts, {after.unhandled(before, irq)} unhandled")
    seen.append(_config(after.function))
    if event is None:
        return Report(False, tuple(seen), _why_silent(before, after, irq, seconds))
    if event.type != EventType.IRQ:
        return Report(False, tuple(seen), _stopped(event, irq))
    seen.append(
        f"the interrupt came after {took * 1000:.1f} ms: " + " ".join(f"r{n}={r:#x}" for n, r in enumerate(event.r))
    )
    device.exec(card.selftest.serve, event.r)
    device.unmask(event.seq)
    again = _event(device, QUIET)
    if again is not None and again.type == EventType.IRQ:
        return Report(False, tuple(seen), "the card interrupts again after it was served: serve does not end the cause")
    if again is not None and again.type != EventType.LINE_ON:
        return Report(False, tuple(seen), _stopped(again, irq))
    if InfoFlag.LINE_OFF in device.info.flags:
        return Report(False, tuple(seen), _given_up(irq))
    return Report(True, tuple(seen), f"the card asserts, line {irq} interrupts, and the program claims")


def _event(device: Owner, seconds: float) -> Event | None:
    try:
        return device.read(timeout=seconds)
    except TimeoutError:
        return None


def _config(function: Function) -> str:
    if function.status is None:
        return "config space cannot be read"
    status = "pending" if function.status else "not pending (or the card is older than PCI 2.3)"
    return f"Interrupt Status: {status}; DisINTx: {'set' if function.disintx else 'clear'}"


def _stopped(event: Event, irq: int) -> str:
    """What an event that is no interrupt says."""
    if event.type == EventType.QUARANTINED:
        return _why_quarantined(event, irq)
    if event.type == EventType.LINE_OFF:
        return _given_up(irq)
    name = event.type.name if isinstance(event.type, EventType) else str(event.type)
    return f"another event came instead: {name}; try again"


def _given_up(irq: int) -> str:
    return f"the kernel has given line {irq} up, and only polls it: shirqctl top shows who asserts"


def _why_quarantined(event: Event, irq: int) -> str:
    reason = Quarantine(event.flags)
    if Quarantine.OTHER_LINE in reason:
        return (
            f"the card asserts line {event.r[0]}, but the platform says line {irq}: its pin leads elsewhere; look for a"
            " firmware update, or boot with pci=biosirq or irqpoll"
        )
    if Quarantine.DECLINED in reason:
        return "the card asserts, but the irq program declines: it does not look at the source that fire raises"
    if Quarantine.MASKED in reason:
        return "the card asserts although the irq program has masked it: the mask has no effect on this source"
    return "the card asserts faster than it may: the acknowledgement in the irq program has no effect"


def _why_silent(before: _Sample, after: _Sample, irq: int, seconds: float) -> str:
    function = after.function
    if function.status and function.disintx:
        return (
            "the card has an interrupt pending, but its interrupt-disable bit is set: somebody has set it after arming"
        )
    if not function.status:
        return (
            f"no interrupt came within {seconds:g} s, and the card says that none is pending: fire has no effect, or"
            " the source is masked in the card"
        )
    if after.grown(before, irq):
        return f"line {irq} interrupts, but the irq program declines: it does not look at this source"
    silent = f"the card asserts, but line {irq} is silent"
    others = {other: after.unhandled(before, other) for other in after.lines if other != irq}
    if any(others.values()):
        worst = max(others, key=lambda other: others[other])
        return f"{silent} while line {worst} counts unhandled interrupts: its pin leads there"
    return f"{silent}, and no other line counts: its pin leads to a line without a handler"
