# SPDX-License-Identifier: MIT
"""Makes a guest that has a report's sharers on one line, and a case of a hypothesis in that guest.

All hypotheses about a report have the same guest, so that one template serves them all. Its devices, beside those of
every case:

dev0    a function of the report that has a handler: shirq-edu with the report's ids, and the module neighbour
s1 ...  the further functions that have handlers, likewise
nic0    a function whose driver is e1000 in the report: QEMU's e1000 with Linux's driver. Else it is on another line
orphan  a function that may assert without a handler; a stand-in if the report has none
dev1    a stand-in on the line that no report lists, such as a bridge's pin
other   a stand-in whose driver is loaded before the others
far     a stand-in on another line, with a handler; far2: on a third one
clock   a stand-in on far's line that no report lists
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from shirq_bench.campaigns.diagnose.hypothesis import Hypothesis
from shirq_bench.campaigns.zoo.case import Case, Step, as_data, read
from shirq_bench.intake import rebuild, symptoms
from shirq_bench.intake.report import Device, Line, Report
from shirq_bench.vm.machine import gsi_of

#: The places of the devices on pcie.0. All but the last four are on the line that is diagnosed.
_SLOTS: Final = {"dev0": "4", "dev1": "8", "nic0": "c", "orphan": "14", "other": "18"}
_ELSEWHERE: Final = {"nic0": "6", "far": "9", "far2": "a", "clock": "5"}
_SHARERS_SLOT: Final = "10"
#: The guest's line that is diagnosed, and far's.
IRQ: Final = gsi_of(4)
FAR_IRQ: Final = gsi_of(9)
#: Scripts may write to the registers of devices that a driver has.
_PARAMETERS: Final = "iomem=relaxed"
#: The most functions with handlers: each logs its accesses, and the log of a storm has bounds.
_MOST: Final = 9
#: These devices stand for something that is no function of the report's machine.
_HIDDEN: Final = ("dev1", "clock")
#: Classes on whose registers the kernel acts before a driver is there: USB host controllers, disks, bridges.
_KERNELS_OWN: Final = ("0c03", "01", "06")
#: The script that waits for a number of the kernel's messages about a line.
_DEAD: Final = (
    "n=0; until test $(dmesg | grep -c 'Disabling IRQ #{irq}$') -ge {number};"
    " do n=$((n + 1)); test $n -lt 100; usleep 100000; done"
)
#: With this level of the kernel's test of sleeping, the machine resumes by itself, at once.
_SLEEP: Final = (
    "echo platform >/sys/power/pm_test; echo 0 >/sys/module/suspend/parameters/pm_test_delay\n"
    "register $DEV0 0x74 1; echo freeze >/sys/power/state"
)
#: Virtual ns from the beginning of `_SLEEP` until the kernel is resuming devices: it has interrupts off from 60 to
#: 65 ms, and is awake after 105 ms.
_ASLEEP_NS: Final = 75_000_000


@dataclass(frozen=True)
class Reproduction:
    """The guest of a report: the table ``machine`` of its cases, the scripts of their steps, what its devices are."""

    machine: Mapping[str, Any]
    scripts: Mapping[str, str]
    #: What each device is in the report, or that it is a stand-in.
    roles: Mapping[str, str]
    stand_ins: frozenset[str]
    left_out: tuple[str, ...]

    def text(self, hypothesis: Hypothesis) -> str:
        """The case of a hypothesis as a TOML file for `shirq case run`."""
        rows = [
            f"# Made by `shirq diagnose`: the hypothesis {hypothesis.id}.",
            *(f"# {name}: {role}" for name, role in self.roles.items()),
            *(f"# Left out: {one}" for one in self.left_out),
            f"title = {_toml(hypothesis.title)}",
            f"symptom = {_toml('; '.join(symptoms.SYMPTOMS[k].words[w] for k, w in hypothesis.symptoms.items()))}",
            f"cause = {_toml(hypothesis.cause.strip())}",
            f"shows = {_toml([*hypothesis.shows])}",
            f"forgives = {_toml([*hypothesis.forgives])}",
            f"parameters = {_toml(_PARAMETERS)}",
            "steps = [",
            *(f"    {_toml(self._step(step))}," for step in hypothesis.steps),
            "]",
            "[machine]",
            *(f"{key} = {_toml(value)}" for key, value in self.machine.items()),
            "[expected]",
            f"naive = {_toml(hypothesis.shows[0])}",
            *(["[device]"] if hypothesis.device else []),
            *(f"{key} = {_toml(value)}" for key, value in hypothesis.device.items()),
        ]
        return "\n".join([*rows, ""])

    def save(self, hypothesis: Hypothesis, file: Path) -> Case:
        """Write the case of a hypothesis, and read it as `shirq case run` does."""
        file.write_text(self.text(hypothesis), encoding="utf-8")
        return read(file)

    def _step(self, step: Step) -> dict[str, Any]:
        data = as_data(step)
        for key in ("guest", "schedule"):
            for word, script in self.scripts.items():
                if key in data:
                    data[key] = data[key].replace(f"{{{word}}}", script)
        return data

    def hides(self, device: str, hypothesis: Hypothesis, driver: str | None) -> bool:
        """Whether a device of the guest is none that the report's machine would show under a hypothesis."""
        if device in _HIDDEN:
            return True
        culprit = device == "orphan" and hypothesis.culprit == "unhandled"
        return device in self.stand_ins and not culprit and driver is None


def make(report: Report, line: Line) -> Reproduction:
    """The guest of a report, with the sharers of one of its lines."""
    covered, orphans = symptoms.handled(report, line), symptoms.unhandled(report, line)
    culprit = _culprit(covered)
    others = [one for one in covered if one is not culprit]
    # The card's interrupts at boot count, which a line that has counted none must not have.
    card = next((one for one in others if one.get("driver") == "e1000"), None) if line.died else None
    sharers = [one for one in others if one is not card]
    kept = sharers[: _MOST - 1]
    left_out = [f"{one.who}: the guest has {_MOST} functions with handlers" for one in sharers[len(kept) :]]
    left_out += [f"{one.who}: it has no handler, and does not assert" for one in orphans[1:]]
    roles = {"dev0": _role(culprit), "orphan": _role(orphans[0] if orphans else None)}
    if card:
        roles["nic0"] = _role(card)
    names = [f"s{number}" for number, _ in enumerate(kept, 1)]
    roles |= {name: _role(device) for name, device in zip(names, kept, strict=True)}
    roles |= dict.fromkeys(("dev1", "other", "far", "far2", "clock"), _role(None))
    devices = [
        ",".join(
            ["shirq-edu", "id=orphan", f"addr={_SLOTS['orphan']}", "msi=on", *_ids(orphans[0] if orphans else None)]
        ),
        f"shirq-edu,id=other,addr={_SLOTS['other']}",
        *(f"shirq-edu,id={name},addr={_ELSEWHERE[name]}" for name in ("far", "far2")),
    ]
    for number, (name, device) in enumerate(zip(names, kept, strict=True)):
        several = ["multifunction=on"] if number == 0 and len(kept) > 1 else []
        devices.append(",".join(["shirq-edu", f"id={name}", f"addr={_SHARERS_SLOT}.{number}", *several, *_ids(device)]))
    machine = {
        "dev0": ",".join(_ids(culprit)),
        "devices": devices,
        "slots": {
            "dev0": _SLOTS["dev0"],
            "dev1": _SLOTS["dev1"],
            "nic0": _SLOTS["nic0"] if card else _ELSEWHERE["nic0"],
            "clock": _ELSEWHERE["clock"],
        },
    }
    stand_ins = frozenset(name for name, role in roles.items() if role == _role(None))
    return Reproduction(machine, _scripts(names, bool(card)), roles, stand_ins, tuple(left_out))


def _culprit(covered: Sequence[Device]) -> Device | None:
    """The function with a handler that is dev0: one that asserts, else one that QEMU has no model of, else any."""

    def rank(device: Device) -> tuple[bool, bool]:
        return (not device.asserts, bool(device.known and device.known.model))

    return min(covered, key=rank, default=None)


def _role(device: Device | None) -> str:
    if device is None:
        return "a stand-in, not in the report"
    ids = f" [{device.get('vendor')}:{device.get('device')}]" if device.get("vendor") else ""
    driver = f", driver {device.get('driver')}" if device.get("driver") else ""
    return f"{device.who}{ids} of the report{driver}"


def _ids(device: Device | None) -> list[str]:
    """The ids of a function as properties; none if a driver of the guest would take the device by them."""
    if device is None or (device.known and device.known.model):
        return []
    kernels_own = str(device.get("class") or "").startswith(_KERNELS_OWN)
    found = rebuild.identity(device, [])
    return [one for one in found if not (kernels_own and one.startswith("class-code="))]


def _scripts(sharers: Sequence[str], card: bool) -> dict[str, str]:
    """The scripts for the words in braces in the steps of hypotheses."""
    load = "test -d /sys/module/neighbour || insmod $MODULES/neighbour.ko\n"
    # Drivers print a message about each function that they take; this module prints none.
    handle = "echo neighbour ${0}: loaded >/dev/kmsg; bind neighbour ${0}".format
    handled = [handle(name.upper()) for name in ("dev0", *sharers)]
    network = ["test -d /sys/class/net/eth0 || sharers"] if card else []
    last = f"${(sharers[-1] if sharers else 'dev0').upper()}"
    scripts = {
        "sharers": load + "\n".join([*handled, *network, "echo 1 >$PCI/$ORPHAN/enable"]),
        "other": load + handle("OTHER"),
        "far": load + "\n".join(map(handle, ("FAR", "FAR2"))),
        "revive": f"unbind {last}; bind neighbour {last}",
        "far dead": _DEAD.format(irq=FAR_IRQ, number=1),
        "sleep": _SLEEP,
        "asleep": str(_ASLEEP_NS),
    }
    return scripts | {f"dead {number}": _DEAD.format(irq=IRQ, number=number) for number in (1, 2)}


def _toml(value: Any) -> str:
    """A value in TOML: JSON's strings, numbers and lists are also TOML's."""
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {_toml(one)}' for key, one in value.items())} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value, ensure_ascii=False)
