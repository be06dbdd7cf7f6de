# SPDX-License-Identifier: MIT
"""Describes a guest whose functions share lines as those of a report do.

A function has QEMU's own model if there is one for its driver, else shirq-edu with the report's ids, BARs, capabilities
and pin. What the report does not say has a default, and a comment says so. Lines of the report become lines of the
guest, with other numbers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from shirq_bench.intake.report import Device, Line, Report
from shirq_bench.intake.tables import Driver
from shirq_bench.vm.machine import AGENT_SLOT, Machine, gsi_of
from shirq_bench.vm.template import DESCRIPTION

#: The name of the commented description.
FILE: Final = "machine.toml"
#: Lines of the guest, as `gsi_of` numbers them. The agent's function, in slot 3, is on the line that is not here.
_LINES: Final = (20, 21, 22)
_SLOTS: Final = [slot for slot in range(1, 25) if slot != AGENT_SLOT]
_MOST_VCPUS: Final = 8
_PINS: Final = "ABCD"
#: Limits of shirq-edu's BARs, in bytes.
_MEMORY: Final = (16, 1 << 24)
_PORTS: Final = (4, 256)
_EDU_SIZE: Final = 4096


@dataclass
class _Function:
    """A function of the guest."""

    name: str
    model: str
    pin: str
    properties: list[str] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    network: bool = False
    nomsi: bool = False
    slot: int = 0
    function: int = 0
    shared_slot: bool = False

    def argument(self, network: str | None) -> str:
        """The argument of -device."""
        place = f"{self.slot:x}.{self.function}" if self.shared_slot else f"{self.slot:x}"
        parts = [self.model, f"id={self.name}", f"addr={place}"]
        if self.shared_slot and self.function == 0:
            parts.append("multifunction=on")
        if network:
            parts += [f"netdev={network}", "romfile="]
        return ",".join([*parts, *self.properties])


@dataclass
class Rebuilt:
    """A guest made from a report: the machine, its commented description, and the parts of the report that it lacks."""

    machine: Machine
    text: str
    left_out: list[str]


def build(report: Report) -> Rebuilt:
    """The guest with the lines of a report."""
    left_out: list[str] = []
    chosen, others = _lines(report)
    for line in others:
        sharers = ", ".join(one.who for one in report.on_line(line.irq))
        left_out.append(f"IRQ {line.irq} ({sharers}): the guest has {len(_LINES)} lines")
    comments = [f"Made by `shirq import` from {', '.join(Path(file).name for file in report.files)}."]
    functions: list[tuple[str, list[_Function]]] = []
    used: set[int] = set()
    names: set[str] = set()
    for line, gsi in zip(chosen, _LINES, strict=False):
        made: list[_Function] = []
        for device in report.on_line(line.irq):
            if reason := _impossible(device):
                left_out.append(f"{device.who} on IRQ {line.irq}: {reason}")
                continue
            made.append(_function(device, names))
        made = _place(made, gsi, used, left_out)
        died = ", which the kernel gave up," if line.died else ""
        functions.append((f"IRQ {line.irq} of the report{died} is GSI {gsi} of the guest.", made))
    for device in report.devices:
        if device.address and not device.irqs and not device.rows and device.get("pin"):
            left_out.append(f"{device.who}: its line is not known")
    return _described(report, comments, functions, left_out)


def write(rebuilt: Rebuilt, folder: Path) -> list[Path]:
    """Write the description, with comments and as `shirq shell --from` reads it."""
    folder.mkdir(parents=True, exist_ok=True)
    commented, plain = folder / FILE, folder / DESCRIPTION
    commented.write_text(rebuilt.text, encoding="utf-8")
    plain.write_text(json.dumps({"machine": rebuilt.machine.as_data()}, indent=1) + "\n")
    return [commented, plain]


def _lines(report: Report) -> tuple[list[Line], list[Line]]:
    """The lines of the guest, those that died first; and others that have functions."""
    able = [line for line in report.lines if report.on_line(line.irq)]
    able.sort(key=lambda line: (-len(line.deaths), not line.died, -len(report.on_line(line.irq)), line.irq))
    return able[: len(_LINES)], able[len(_LINES) :]


def _impossible(device: Device) -> str | None:
    if device.is_bridge:
        return "a bridge, which shirq-edu cannot be"
    if device.get("msix") == "on" and not device.asserts:
        return "it uses MSI-X, not its pin"
    return None


# ------------------------------------------------------------------ functions


def _function(device: Device, names: set[str]) -> _Function:
    known = device.known
    name = _name(device, names)
    if known and known.model:
        return _of_model(device, known, name)
    return _of_edu(device, known, name)


def _name(device: Device, names: set[str]) -> str:
    wanted = f"f{device.address}" if device.address else device.who
    name = re.sub(r"[^A-Za-z0-9.-]+", ".", wanted).strip(".") or "function"
    if not name[0].isalpha():
        name = f"f{name}"
    name, number = name[:40], 1
    while name in names:
        number += 1
        name = f"{name.rpartition('..')[0] or name}..{number}"
    names.add(name)
    return name


def _ids(device: Device) -> str | None:
    return f"{device.get('vendor')}:{device.get('device')}" if device.get("vendor") and device.get("device") else None


def _said(device: Device) -> str:
    words = [device.who]
    if (name := device.get("name")) and name != device.who:
        words.append(str(name))
    if ids := _ids(device):
        words.append(f"[{ids}]")
    if driver := device.get("driver"):
        words.append(f"driver {driver}")
    return " ".join(words)


def _of_model(device: Device, driver: Driver, name: str) -> _Function:
    function = _Function(name, driver.model, driver.pin, network=driver.network, nomsi=driver.nomsi)
    function.comments.append(f"{_said(device)}: QEMU's {driver.model.partition(',')[0]}")
    if ids := _ids(device):
        function.comments.append(f"  Its ids are those of the model; the report has {ids}.")
    if (pin := device.get("pin")) and pin != driver.pin:
        function.comments.append(f"  Its pin is {driver.pin}, that of the model; the report has {pin}.")
    if driver.remark:
        function.comments.append(f"  {driver.remark[0].upper()}{driver.remark[1:]}.")
    return function


def _of_edu(device: Device, driver: Driver | None, name: str) -> _Function:
    function = _Function(name, "shirq-edu", device.get("pin") or "A")
    comments, properties = function.comments, function.properties
    comments.append(f"{_said(device)}: shirq-edu")
    unknown: list[str] = []
    if driver and driver.remark:
        comments.append(f"  {driver.remark[0].upper()}{driver.remark[1:]}.")
    if device.get("pin"):
        properties.append(f"intx-pin={device.get('pin')}")
    elif device.get("raw_pin") == 0:
        properties.append("intx-pin=none")
    else:
        unknown.append("pin (A)")
    properties += identity(device, unknown)
    properties += _bars(device, unknown, comments)
    properties += _capabilities(device, comments)
    properties += _disintx(device, unknown)
    comments.append("  Not in the report: its registers; they have a default.")
    if unknown:
        comments.append(f"  Not in the report, with the default in brackets: {', '.join(unknown)}.")
    return function


def identity(device: Device, unknown: list[str]) -> Iterator[str]:
    """The properties of shirq-edu for a function's ids; ``unknown`` gets those that the report lacks."""
    if _ids(device):
        yield f"vendor-id=0x{device.get('vendor')}"
        yield f"device-id=0x{device.get('device')}"
    else:
        unknown.append("ids (1234:11e9)")
    if device.get("rev"):
        yield f"revision=0x{device.get('rev')}"
    elif not _ids(device):
        unknown.append("revision (10)")
    else:
        yield "revision=0"  # lspci does not print it
    if device.get("class"):
        yield f"class-code=0x{device.get('class')}00"
    else:
        unknown.append("class (00ff00)")
    subsystem = re.fullmatch(r"([0-9a-f]{4}):([0-9a-f]{4})", str(device.get("subsystem") or ""))
    if subsystem:
        yield f"subsystem-vendor-id=0x{subsystem[1]}"
        yield f"subsystem-id=0x{subsystem[2]}"
    else:
        unknown.append("subsystem (1af4:1100)")


def _bars(device: Device, unknown: list[str], comments: list[str]) -> Iterator[str]:
    bars = device.get("bars")
    if not bars:
        unknown.append("BARs (bar0=mem:4096)")
        return
    made: dict[int, tuple[str, int]] = {}
    for bar in bars:
        index = bar.get("index")
        if index is None or index in made:
            continue
        kind = "port" if bar["kind"] == "io" else "mem64" if bar.get("bits") == 64 and index < 5 else "mem"
        least, most = _PORTS if kind == "port" else _MEMORY
        size = _bytes(bar.get("size"))
        if size is None:
            size = _PORTS[1] if kind == "port" else _EDU_SIZE
            unknown.append(f"size of BAR {index} ({size})")
        if not least <= size <= most or size & size - 1:
            comments.append(
                f"  BAR {index} has {bar.get('size')} in the report: shirq-edu can have {least} to {most} bytes."
            )
            size = min(max(size, least), most)
            size = 1 << size.bit_length() - 1
        made[index] = (kind, size)
        if bar.get("prefetch"):
            comments.append(f"  BAR {index} is prefetchable in the report, not in shirq-edu.")
    if 0 not in made:
        yield "bar0=none"
    for index, (kind, size) in made.items():
        yield f"bar{index}={kind}:{size}"
    first = made.get(0)
    if first and first[0] != "port" and first[1] >= _EDU_SIZE:
        return
    roomy = [index for index, (_, size) in made.items() if size >= 16]
    if roomy:
        index = roomy[0]
        registers = ("0x0/32[0] status w1c", "0x4/32[0] enable", "0x8/32[0] active")
        yield "registers=" + "; ".join(f"bar{index}+{one}" for one in registers)
    else:
        comments.append("  No BAR has room for registers: bar0 is the default.")
        yield "bar0=mem:4096"


def _bytes(size: str | None) -> int | None:
    if size is None:
        return None
    match = re.fullmatch(r"(\d+)([KMGT]?)", size)
    return int(match[1]) << 10 * " KMGT".index(match[2] or " ") if match else None


def _capabilities(device: Device, comments: list[str]) -> Iterator[str]:
    names = [one.partition("@")[0] for one in device.get("capabilities") or ()]
    for name in ("pm", "msi", "pcie"):
        if name in names:
            yield f"{name}=on"
    if "pcie" in names and device.get("flr") is False:
        yield "flr-effective=off"
    if others := [name for name in names if name not in ("pm", "msi", "pcie")]:
        comments.append(f"  Without its capabilities {', '.join(others)}, which shirq-edu has not.")
    if "pcie" not in names and device.get("flr"):
        comments.append("  Without its function-level reset: shirq-edu has it with pcie=on only.")


def _disintx(device: Device, unknown: list[str]) -> Iterator[str]:
    able = device.get("disintx_capable")
    read_only = able == "no" or (able == "unknown" and device.get("cap") is False)
    if read_only:
        yield "disintx=read-only"
        if device.asserts:
            yield "intx-status=ok"
    if able == "unknown":
        unknown.append(f"whether DisINTx works ({'read-only: there is no capability' if read_only else 'ok'})")
    elif able is None:
        unknown.append("DisINTx (ok)")


# ------------------------------------------------------------------ places


def _place(functions: Sequence[_Function], gsi: int, used: set[int], left_out: list[str]) -> list[_Function]:
    """Give each function a slot whose pin leads to the line; slots have several functions if there are not enough."""
    mine: dict[str, list[int]] = {}
    placed: list[_Function] = []
    in_slot: dict[int, list[_Function]] = {}
    for function in functions:
        pin = function.pin
        free = [slot for slot in _SLOTS if slot not in used and gsi_of(slot, pin) == gsi]
        slots = mine.setdefault(pin, [])
        if free:
            function.slot = free[0]
            slots.append(free[0])
            used.add(free[0])
        elif slots and (slot := min(slots, key=lambda one: len(in_slot[one]))) is not None and len(in_slot[slot]) < 8:
            function.slot, function.function = slot, len(in_slot[slot])
        else:
            left_out.append(f"{function.name}: no slot is left whose pin {pin} leads to GSI {gsi}")
            continue
        in_slot.setdefault(function.slot, []).append(function)
        placed.append(function)
    for sharing in in_slot.values():
        for function in sharing:
            function.shared_slot = len(sharing) > 1
    return placed


# ------------------------------------------------------------------ the file


def _described(
    report: Report, comments: list[str], functions: list[tuple[str, list[_Function]]], left_out: list[str]
) -> Rebuilt:
    made = [one for _, group in functions for one in group]
    networks = {id(one): f"net{n}" for n, one in enumerate(one for one in made if one.network)}
    vcpus = min(report.cpus.value, _MOST_VCPUS) if report.cpus else Machine.vcpus
    values: dict[str, Any] = {"vcpus": vcpus}
    devices = [one.argument(networks.get(id(one))) for one in made]
    if any(one.nomsi for one in made):
        values["parameters"] = "pci=nomsi"
        comments.append("pci=nomsi: QEMU's models of some functions would use MSI instead of the line.")
    if not report.cpus:
        comments.append(f"Not in the report: the number of processors ({vcpus}).")
    elif vcpus != report.cpus.value:
        comments.append(f"The report has {report.cpus.value} processors.")
    kernel = f"is {report.kernel.value}" if report.kernel else "is not known"
    comments.append(f"The report's kernel {kernel}; the guest has the default one.")
    if report.cmdline:
        comments.append(f"The report's kernel parameters, which the guest has not: {report.cmdline.value}")
    machine = Machine.from_data({**values, "devices": devices, "networks": [*networks.values()]})
    rows = [f"# {_plain(one)}" for one in comments]
    rows += [f"# Left out: {_plain(one)}" for one in left_out]
    rows += ["", *(f"{key} = {_toml(value)}" for key, value in values.items()), "devices = ["]
    for title, group in functions:
        rows.append(f"    # {_plain(title)}")
        for one in group:
            rows += [f"    # {_plain(comment)}" for comment in one.comments]
            rows.append(f"    {_toml(one.argument(networks.get(id(one))))},")
    rows += ["]", f"networks = {_toml([*networks.values()])}", ""]
    return Rebuilt(machine, "\n".join(rows), left_out)


def _plain(text: str) -> str:
    """A text for a comment: without control characters."""
    return re.sub(r"[\x00-\x1f\x7f]", " ", text).rstrip()


def _toml(value: Any) -> str:
    """A value in TOML: JSON's strings and numbers are also TOML's."""
    return json.dumps(value)
