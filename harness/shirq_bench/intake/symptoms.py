# SPDX-License-Identifier: MIT
"""The symptoms of an interrupt line in a report, each a word or unknown: what a guest can be compared by.

The same functions read a reporter's texts and those of a guest. A symptom that the texts cannot show is None. In a
guest nothing is hidden, so there a symptom that is not in the texts has its word `absent`, if it has one.

`SIGNS` are facts of a machine, not of a fault: a guest has them or not by construction, so only a report is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from shirq_bench.intake.facts import Moment
from shirq_bench.intake.join import WINDOW
from shirq_bench.intake.report import Device, Line, Report, Strength
from shirq_bench.intake.suspects import belongs

#: A line with so many handlers is crowded.
CROWD: Final = 8
#: More interrupts a second than this are a flood.
_FLOOD: Final = 2000
#: The seconds between the two tables of `shirq collect`.
_APART_S: Final = 10
_Of = Callable[[Report, Line], str | None]


@dataclass(frozen=True)
class Symptom:
    """A question about a line, and the words that answer it."""

    key: str
    question: str
    #: Each word with its meaning as a sentence.
    words: Mapping[str, str]
    of: _Of
    #: What shows it on the machine, and the effort, 1 to 9.
    command: str
    cost: int
    #: The word for texts that hide nothing and do not show it.
    absent: str | None = None
    #: Whether a person can find it out on the machine: nothing shows that something will never happen.
    observable: bool = True


@dataclass(frozen=True)
class Sign:
    """A question about a machine that a hypothesis needs answered with yes."""

    key: str
    question: str
    of: Callable[[Report, Line], bool | None]


def focus(report: Report) -> Line | None:
    """The line that a report is about: the one that died, most often first; else the one that somebody complains of."""

    def rank(line: Line) -> tuple[bool, int, bool, bool, int, int]:
        here = report.on_line(line.irq)
        complained = any(one.get("no_interrupt") for one in here)
        refused = bool(line.get("refused")) or any(one.get("no_disintx") for one in here)
        return (not line.died, -len(line.deaths), not refused, not complained, -len(here), line.irq)

    lines = [line for line in report.lines if line.died or report.on_line(line.irq)]
    return min(lines, key=rank, default=None)


def of_report(report: Report, line: Line) -> dict[str, str | None]:
    """The symptoms of a line of a report; None: its texts do not show it."""
    return {symptom.key: symptom.of(report, line) for symptom in SYMPTOMS.values()}


def of_guest(report: Report, line: Line) -> dict[str, str | None]:
    """The symptoms of a line of a guest, whose texts are complete."""
    return {symptom.key: symptom.of(report, line) or symptom.absent for symptom in SYMPTOMS.values()}


def signs_of(report: Report, line: Line) -> dict[str, bool | None]:
    """The signs of a report's machine; None: its texts do not say."""
    return {sign.key: sign.of(report, line) for sign in SIGNS.values()}


# ------------------------------------------------------------------ symptoms


def _own_count(line: Line) -> int | None:
    """The line's count, unless its table is of another boot."""
    total = line.get("total")
    return total if isinstance(total, int) and not line.get("snapshot") else None


def _died(_report: Report, line: Line) -> str | None:
    if line.died:
        return "yes"
    count = _own_count(line)
    return "no" if count is not None and count < WINDOW else None


def _again(_report: Report, line: Line) -> str | None:
    return "yes" if len(line.deaths) > 1 else None


def _moment(_report: Report, line: Line) -> str | None:
    moment = line.deaths[0].moment if line.deaths else None
    return str(moment) if moment else None


def _lines(report: Report, _line: Line) -> str | None:
    return "several" if sum(line.died for line in report.lines) > 1 else None


def _uncovered(report: Report, line: Line) -> str | None:
    if not any(death.handlers_listed for death in line.deaths):
        return None
    without = [
        device
        for device, strength in _suspects(report, line)
        if strength <= Strength.FEWER_HANDLERS and not _of_other_kernel(device, line)
    ]
    if without:
        return "yes"
    return "no" if _states(report, line) else None


def _late_handler(report: Report, line: Line) -> str | None:
    if any(strength is Strength.LATE_HANDLER for _, strength in _suspects(report, line)):
        return "yes"
    listed = [death for death in line.deaths if death.handlers_listed]
    names = line.get("names")
    if listed and names and not line.get("snapshot") and len(names) > len(listed[0].handlers):
        return "yes"
    return None


def _asserter(report: Report, line: Line) -> str | None:
    states = _states(report, line)
    for device in states:
        if device.asserts:
            return _kind(device, line)
    return "nobody" if states and len(states) == len(_sharers(report, line)) else None


def _kind(device: Device, line: Line) -> str:
    if "on" in (device.get("msi"), device.get("msix")):
        return "messages"
    if not device.get("driver"):
        return "undriven"
    return "handled" if _has_handler(device, line) else "idle-driver"


def _total(_report: Report, line: Line) -> str | None:
    count = _own_count(line)
    return None if count is None or not line.get("names") else "some" if count else "zero"


def _flood(_report: Report, line: Line) -> str | None:
    growth = line.get("growth")
    return None if growth is None else "yes" if growth > _FLOOD * _APART_S else "no"


def _refused(report: Report, line: Line) -> str | None:
    who = str(line.get("refused") or "")
    if who.startswith("vfio-intx") or any(one.get("no_disintx") for one in report.on_line(line.irq)):
        return "vfio"
    return "driver" if who else None


def _crowded(report: Report, line: Line) -> str | None:
    return "yes" if len(_sharers(report, line)) >= CROWD and not line.died else None


def _suspects(report: Report, line: Line) -> Iterable[tuple[Device, Strength]]:
    by_name = {device.who: device for device in report.devices}
    for suspect in report.suspects:
        if suspect.irq == line.irq and suspect.who in by_name:
            yield by_name[suspect.who], suspect.strength


def _of_other_kernel(device: Device, line: Line) -> bool:
    """Whether only the table of another kernel puts the function on the line."""
    from_table = "row" in device.facts or line.irq not in device.irqs
    return line.get("snapshot") == "other-kernel" and line.irq in device.rows and from_table


def _states(report: Report, line: Line) -> list[Device]:
    """The functions on the line whose Status was shown."""
    return [one for one in _sharers(report, line) if one.get("intx") is not None or one.asserts]


def _has_handler(device: Device, line: Line) -> bool:
    if line.irq in device.rows and not _of_other_kernel(device, line):
        return True
    return any(belongs(handler, device) for death in line.deaths for handler in death.handlers)


def _sharers(report: Report, line: Line) -> list[Device]:
    return [one for one in report.on_line(line.irq) if not one.is_bridge]


def handled(report: Report, line: Line) -> list[Device]:
    """The functions on the line that have a handler."""
    return [one for one in _sharers(report, line) if _has_handler(one, line)]


def unhandled(report: Report, line: Line) -> list[Device]:
    """The functions on the line that may assert without a handler, the strongest suspect first."""
    found = [one for one, strength in _suspects(report, line) if strength <= Strength.NO_HANDLER and not one.is_bridge]
    here = [one for one in _sharers(report, line) if not _has_handler(one, line)]
    return [*found, *(one for one in here if id(one) not in {id(each) for each in found})]


# ------------------------------------------------------------------ signs


def _bridge(report: Report, line: Line) -> bool | None:
    sharers = _sharers(report, line)
    for one in sharers:
        if one.known and one.known.conventional:
            return True
        if one.get("behind") and _is_conventional(report, str(one.get("behind"))):
            return True
    placed = [one for one in sharers if one.address]
    tree = any(one.get("secondary") is not None for one in report.devices)
    return False if tree and placed and len(placed) == len(sharers) else None


def _is_conventional(report: Report, address: str) -> bool:
    """Whether a bridge leads from PCI Express, or from the root, to a conventional bus: it is not an Express port."""
    bridge = next((one for one in report.devices if one.address == address), None)
    return bridge is not None and bool(bridge.get("driver") != "pcieport" and bridge.get("capabilities"))


def _messages(report: Report, line: Line) -> bool | None:
    if any("on" in (one.get("msi"), one.get("msix")) for one in _sharers(report, line)):
        return True
    return False if _states(report, line) else None


def _moved(report: Report, line: Line) -> bool | None:
    found = (
        strength <= Strength.FEWER_HANDLERS and _of_other_kernel(one, line) for one, strength in _suspects(report, line)
    )
    return True if any(found) else None


def _many(report: Report, line: Line) -> bool:
    return len(_sharers(report, line)) >= CROWD


def _silent(_report: Report, line: Line) -> bool | None:
    total = _total(_report, line)
    return False if line.died or total == "some" else True if total else None


def _slept(_report: Report, line: Line) -> bool | None:
    moments = [death.moment for death in line.deaths]
    if Moment.RESUME in moments:
        return True
    return False if moments and None not in moments else None


_ALL = (
    Symptom(
        "died", "Has the kernel disabled the line?",
        {"yes": "the kernel disabled the line", "no": "the kernel did not disable the line"},
        _died, "dmesg | grep -e 'nobody cared' -e 'Disabling IRQ'", 1, "no",
    ),
    Symptom(
        "again", "Did it die again after a driver had requested it anew?",
        {"yes": "it died again after a new request", "no": "it died once, and a new request did not kill it again"},
        _again, "ip link set IFACE down; ip link set IFACE up   # or load a driver again", 3, "no",
    ),
    Symptom(
        "moment", "What did the machine do when the line died?",
        {"start": "it died while the machine or a driver was starting", "resume": "it died while the machine resumed",
         "late": "it died when nothing was starting or resuming"},
        _moment, "dmesg   # the messages before 'nobody cared'", 1,
    ),
    Symptom(
        "lines", "Did other lines die, too?",
        {"several": "several lines died", "one": "one line died"},
        _lines, "dmesg | grep 'Disabling IRQ'", 1, "one", False,
    ),
    Symptom(
        "uncovered", "Is there a function on the line that had no handler when it died?",
        {"yes": "a function on the line had no handler", "no": "each function on the line had a handler"},
        _uncovered, "lspci -vvnn   # as root: which functions are routed to the line", 2,
    ),
    Symptom(
        "late-handler", "Was a handler added after the first death?",
        {"yes": "a handler came after the first death", "no": "no handler came after the first death"},
        _late_handler, "cat /proc/interrupts   # against the handlers in the first message", 1, "no", False,
    ),
    Symptom(
        "asserter", "Which function's Status shows INTx+ while the line is dead?",
        {"nobody": "no function shows INTx+", "undriven": "a function without a driver shows INTx+",
         "idle-driver": "a function whose driver never requested the line shows INTx+",
         "messages": "a function that uses MSI shows INTx+", "handled": "a function that has a handler shows INTx+"},
        _asserter, "lspci -vv   # as root, while the line is dead: INTx+ or INTx-", 2,
    ),
    Symptom(
        "total", "Has the line counted any interrupt?",
        {"zero": "the line has counted no interrupt", "some": "the line has counted interrupts"},
        _total, "cat /proc/interrupts", 1,
    ),
    Symptom(
        "flood", "Does the line's count rise fast?",
        {"yes": f"more than {_FLOOD} interrupts come a second", "no": f"at most {_FLOOD} interrupts come a second"},
        _flood, "cat /proc/interrupts; sleep 10; cat /proc/interrupts", 1,
    ),
    Symptom(
        "refused", "Did the kernel refuse a driver the line?",
        {"vfio": "vfio did not get the line", "driver": "a driver did not get the line",
         "no": "each driver got the line"},
        _refused, "dmesg | grep -e 'Flags mismatch' -e EBUSY", 1, "no",
    ),
    Symptom(
        "crowded", "Is the number of sharers all that is remarkable?",
        {"yes": f"{CROWD} or more functions share a line that works", "no": "few share the line, or it died"},
        _crowded, "cat /proc/interrupts", 1, "no", False,
    ),
)  # fmt: skip
SYMPTOMS: Final[Mapping[str, Symptom]] = {symptom.key: symptom for symptom in _ALL}
SIGNS: Final[Mapping[str, Sign]] = {
    sign.key: sign
    for sign in (
        Sign("bridge", "a conventional PCI card shares the line, behind a bridge", _bridge),
        Sign("messages", "a function that uses MSI has its pin on the line", _messages),
        Sign("moved", "a function of the line is on another line in another kernel", _moved),
        Sign("many", f"{CROWD} or more functions are known to share the line", _many),
        Sign("silent", "the line has not counted an interrupt", _silent),
        Sign("slept", "the line died at a resume", _slept),
    )
}
