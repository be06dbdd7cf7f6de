# SPDX-License-Identifier: MIT
"""Joins the facts of all texts into one report: copies count once, boots are kept apart, contradictions stay."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from shirq_bench.intake import lspci, messages, missing, moments, suspects, sysfs, table
from shirq_bench.intake.facts import By, Death, DeviceFact, Facts, Row, Said, short
from shirq_bench.intake.report import Conflict, Device, Line, Report, Told, family, same
from shirq_bench.intake.table import is_message_signalled
from shirq_bench.intake.tables import TABLES, Driver, plain
from shirq_bench.intake.text import At, Stamp, Texts

#: The script of `shirq collect`, for the machine that has the problem: it has no dependencies.
COLLECT: Final = Path(__file__).with_name("collect.sh")
#: The tables in an archive of `shirq collect`: the second one is taken ten seconds later.
FIRST: Final = "interrupts.txt"
LATER: Final = "interrupts-10s-later.txt"
#: A line that was given up has had at least so many interrupts since boot.
WINDOW: Final = 100_000
#: Since this version handlers are listed with the names of their modules.
_MODULES_SINCE: Final = (3, 5)


def report(texts: Texts) -> Report:
    """All facts of the texts."""
    facts = Facts(damage=[*texts.damage])
    for module in (messages, moments, table, lspci, sysfs):
        module.find(texts.lines, facts)
    found = Report(files=texts.files, damage=facts.damage, notes=facts.notes)
    boots = _Boots(texts, facts)
    deaths = _deaths(facts, boots)
    moments.settle(deaths, facts, boots.of)
    _kernel(facts, found, deaths, boots)
    _devices(facts, found)
    _rows(facts, found, deaths, boots)
    _handlers(found, deaths)
    _cards(facts, found)
    _lines(facts, found, deaths, boots)
    _known(found)
    if any(line.get("gsi") not in (None, line.irq) for line in found.lines):
        found.damage.append("irq-is-not-gsi")
    suspects.find(found)
    missing.find(facts, found)
    return found


# ------------------------------------------------------------------ boots and copies


class _Boots:
    """The boot in which a place of the texts is: a file, and the number of boots that began in it before."""

    def __init__(self, texts: Texts, facts: Facts) -> None:
        self._lines = texts.lines
        self._begins = sorted(facts.boots)
        self._same: dict[tuple[str, int], tuple[str, int]] = {}
        self.facts = facts

    def of(self, place: int) -> tuple[str, int]:
        """The boot, as a file and a number; messages that are copies of each other are of one boot."""
        file = self._lines[place].at.file
        boot = (file, sum(self._lines[one].at.file == file for one in self._begins if one <= place))
        while boot in self._same:
            boot = self._same[boot]
        return boot

    def join(self, first: int, second: int) -> None:
        """The messages at these places are copies."""
        one, other = self.of(first), self.of(second)
        if one != other:
            self._same[other] = one

    def of_table(self, place: int) -> tuple[str, int] | None:
        """The boot of a table: that of the messages before it in its file; None if there is none."""
        file = self._lines[place].at.file
        known = [*(death.place for death in self.facts.deaths), *(kernel.place for kernel in self.facts.kernels)]
        if any(one < place and self._lines[one].at.file == file for one in known):
            return self.of(place)
        return None

    def kernel(self, place: int) -> str | None:
        """The kernel whose version is printed in the boot of this place."""
        boot = self.of(place)
        versions = {kernel.text for kernel in self.facts.kernels if self.of(kernel.place) == boot}
        return versions.pop() if len(versions) == 1 else None


def _deaths(facts: Facts, boots: _Boots) -> list[Death]:
    """The deaths, each once, in the order in which they happened."""
    # Whole messages first, so that a copy that was cut joins its original.
    whole = sorted(facts.deaths, key=lambda death: (-_wealth(death), death.place))
    kept: list[Death] = []
    for death in whole:
        for one in kept:
            if _is_copy(one, death):
                _merge(one, death)
                boots.join(one.place, death.place)
                break
        else:
            kept.append(death)
    kept.sort(key=lambda death: death.place)
    if all(death.stamp and death.stamp.wall for death in kept):
        kept.sort(key=lambda death: death.stamp.wall if death.stamp and death.stamp.wall else ())
    return kept


def _wealth(death: Death) -> int:
    stamp = death.stamp
    return 4 * bool(stamp and (stamp.up or stamp.wall)) + 2 * death.handlers_listed + bool(death.signature)


def _is_copy(one: Death, other: Death) -> bool:
    if one.irq != other.irq:
        return False
    first, second = one.stamp, other.stamp
    if first and second and first.up and second.up:
        return first.up == second.up and (first.wall is None or second.wall is None or first.wall == second.wall)
    if first and second and first.wall and second.wall:
        return first.wall == second.wall
    if not other.signature or not one.signature:
        return not (second and (second.up or second.wall)) or not (first and (first.up or first.wall))
    clocks = [bool(stamp and stamp.up) for stamp in (first, second)]
    apart = one.at.file != other.at.file or one.depth != other.depth or clocks[0] != clocks[1]
    return apart and (set(other.signature) <= set(one.signature) or set(one.signature) <= set(other.signature))


def _merge(kept: Death, copy: Death) -> None:
    kept.head |= copy.head
    kept.tail |= copy.tail
    kept.kernel = kept.kernel or copy.kernel
    kept.trigger = kept.trigger or copy.trigger
    if not kept.handlers_listed:
        kept.handlers, kept.handlers_listed = copy.handlers, copy.handlers_listed
    kept.place = min(kept.place, copy.place)
    one, other = kept.stamp or Stamp(), copy.stamp or Stamp()
    kept.stamp = Stamp(one.wall or other.wall, one.up or other.up)


def _kernel(facts: Facts, found: Report, deaths: Sequence[Death], boots: _Boots) -> None:
    for death in deaths:
        death.kernel = death.kernel or boots.kernel(death.place)
    named = [Told(death.kernel, death.at) for death in deaths if death.kernel]
    printed = [Told(kernel.text, kernel.at) for kernel in facts.kernels]
    if told := (named or printed)[-1:]:
        found.kernel = told[0]
        others = {one.value: one for one in [*named, *printed] if one.value != told[0].value}
        for value, other in others.items():
            found.notes.append(Said(f"messages of another kernel, {value}, are in the text, too", other.at, 0))
    if facts.cmdlines:
        boot = boots.of(deaths[-1].place) if deaths else None
        chosen = [line for line in facts.cmdlines if boots.of(line.place) == boot] or facts.cmdlines
        found.cmdline = Told(chosen[-1].text, chosen[-1].at)


# ------------------------------------------------------------------ functions with an address

#: Properties that a report has only once, and that texts must agree on.
_COMPARED: Final = ("vendor", "device", "class", "pin", "driver", "irq", "iommu_group", "subsystem", "rev")
_STATES: Final = ("io", "mem", "busmaster", "disintx", "intx", "cap", "msi", "msix", "flr")
_LISTS: Final = ("bars", "capabilities", "kernel_modules")


def _devices(facts: Facts, found: Report) -> None:
    of: dict[str, list[DeviceFact]] = {}
    for fact in facts.devices:
        of.setdefault(fact.address, []).append(fact)
    drivers_shown = any(fact.key == "driver" and fact.by is By.LSPCI for fact in facts.devices)
    buses = _buses(facts.devices)
    for address, stated in of.items():
        device = Device(address)
        found.devices.append(device)
        keys = {fact.key: None for fact in stated}
        for key in keys:
            _resolve(device, key, [fact for fact in stated if fact.key == key], found)
        _settle(device, stated, drivers_shown, buses, found)


def _resolve(device: Device, key: str, stated: list[DeviceFact], found: Report) -> None:
    stated = sorted(stated, key=lambda fact: fact.by)
    best = [fact for fact in stated if fact.by == stated[0].by]
    if key == "irq":
        device.irqs |= {fact.value for fact in stated}
    if key in _COMPARED or key in _STATES:
        if key == "intx" and (high := [fact for fact in best if fact.value]):
            device.facts["asserted"] = Told(True, high[0].at)
        if not same(_comparable(key, fact.value) for fact in best):
            _conflict(device, key, best, found)
            return
        others = [fact for fact in stated if not _agree(key, fact.value, best[0].value)]
        if key in ("vendor", "device", "pin", "driver") and others:
            _conflict(device, key, [best[0], *others], found)
            return
    elif key in _LISTS:
        longest = max(best, key=lambda fact: len(fact.value))
        device.facts[key] = Told(longest.value, longest.at)
        return
    device.facts[key] = Told(best[0].value, best[0].at)


def _comparable(key: str, value: Any) -> Any:
    return family(value) if key == "driver" else value


def _agree(key: str, one: Any, other: Any) -> bool:
    if key != "driver":
        return bool(one == other)
    first, second = family(one) or "", family(other) or ""
    return first == second or plain(first).startswith(plain(second)) or plain(second).startswith(plain(first))


def _conflict(device: Device, key: str, stated: Iterable[DeviceFact], found: Report) -> None:
    values: dict[Any, Told] = {}
    for fact in stated:
        values.setdefault(str(fact.value), Told(fact.value, fact.at))
    found.conflicts.append(Conflict(f"{device.who}: {key}", tuple(values.values())))


def _settle(
    device: Device,
    stated: list[DeviceFact],
    drivers_shown: bool,
    buses: dict[tuple[str, int], list[Told]],
    found: Report,
) -> None:
    """The properties that follow from several others."""
    facts = device.facts
    log = {fact.key: fact for fact in stated if fact.by is By.LOG}
    driver = facts.get("driver")
    in_detail = "control" in facts
    if driver and drivers_shown and in_detail and not any(f.key == "driver" and f.by is By.LSPCI for f in stated):
        text = f"{device.who}: the log names the driver {driver.value}, lspci shows no driver in use"
        found.notes.append(Said(text, driver.at, 0))
        del facts["driver"]
    if "bars" not in facts and (bars := [log[f"bar{n}"] for n in range(6) if f"bar{n}" in log]):
        facts["bars"] = Told([bar.value for bar in bars], bars[0].at)
    if label := facts.get("label"):
        facts.setdefault("name", label)
    _settle_irq(device, stated, found)
    irq = facts.get("irq")
    if irq and irq.value in (0, 255) and device.get("msi") != "on":
        found.no_line = sorted({*found.no_line, irq.value})
        found.notes.append(Said(f"{device.who}: IRQ {irq.value} means that the pin has no line", irq.at, 0))
    elif irq and irq.value > 24 and device.get("msi") != "on":
        text = f"{device.who}: IRQ {irq.value} is above 24: the input of the first I/O APIC is not known from it"
        found.notes.append(Said(text, irq.at, 0))
    if device.get("raw_pin") == 0:
        found.notes.append(Said(f"{device.who}: pin 0: the function has no interrupt pin", facts["raw_pin"].at, 0))
    if "no_disintx" in facts:
        facts["disintx_capable"] = Told("no", facts["no_disintx"].at)
    elif any(fact.key == "disintx" and fact.value for fact in stated):
        facts["disintx_capable"] = Told("yes", next(f.at for f in stated if f.key == "disintx" and f.value))
    elif "pin" in facts and "disintx" in facts:
        facts["disintx_capable"] = Told("unknown", facts["disintx"].at)
    if device.get("disintx_capable") == "yes" and "pin" not in facts and "irq" not in facts:
        del facts["disintx_capable"]
    bridges = buses.get(_bus(device.address or ""), [])
    if "behind" not in facts and bridges and same(bridge.value for bridge in bridges):
        facts["behind"] = bridges[0]


def _settle_irq(device: Device, stated: list[DeviceFact], found: Report) -> None:
    """The number that lspci prints is that of the MSI if it is on, else other texts must agree with it."""
    numbers = [fact for fact in stated if fact.key == "irq"]
    if "irq" in device.facts and device.get("msi") != "on" and not same(fact.value for fact in numbers):
        _conflict(device, "irq", sorted(numbers, key=lambda fact: fact.by), found)
        del device.facts["irq"]
    elif (line := device.facts.get("interrupt_line")) and "irq" not in device.facts:
        text = (
            f"{device.who}: the register Interrupt Line has {line.value}: the firmware's number, not the kernel's IRQ"
        )
        found.notes.append(Said(text, line.at, 0))


def _bus(address: str) -> tuple[str, int]:
    domain, _, rest = address.rpartition(":")[0].rpartition(":")
    return domain, int(rest or "0", 16)


def _buses(stated: Iterable[DeviceFact]) -> dict[tuple[str, int], list[Told]]:
    """The bridges before each bus, by domain and number."""
    buses: dict[tuple[str, int], list[Told]] = {}
    for fact in stated:
        if fact.key == "secondary" and fact.value:
            buses.setdefault((_bus(fact.address)[0], fact.value), []).append(Told(fact.address, fact.at))
    return buses


# ------------------------------------------------------------------ names in the tables

_EMBEDDED = re.compile(r"(?:(?P<domain>[0-9a-f]{4}):)?(?P<bdf>[0-9a-f]{2}:[01][0-9a-f]\.[0-7])")
_DECIMAL = re.compile(r"@pci:(?P<bus>\d{1,3}):(?P<slot>\d{1,2}):(?P<function>[0-7])$", re.IGNORECASE)
#: Names that systemd gives to network interfaces by their place.
_PREDICTABLE = re.compile(r"(?:en|wl)p(?P<bus>\d+)s(?P<slot>\d+)(?:f(?P<function>\d))?(?:np?\d+|d\d+)?$")
INTERFACE: Final = re.compile(r"(?:eth|en[ops]|wlan|wlp|ath|ra|ppp)\w*\d\w*$")
_IDENTIFIER = re.compile(r"[A-Za-z][\w-]{2,}$")


def is_level(row: Row) -> bool:
    """Return false for rows that are edge-triggered or MSI."""
    if row.trigger == "edge" or is_message_signalled(row.chip):
        return False
    if row.trigger is None and row.chip.upper().startswith(("XT-PIC", "I8259")):
        return not (row.names and all(TABLES.is_isa(name) for name in row.names))
    return row.trigger == "level" or row.chip.upper().startswith(("XT-PIC", "I8259"))


def _rows(facts: Facts, found: Report, deaths: Sequence[Death], boots: _Boots) -> None:
    """Find the function that each name of each row means; other names are functions that are known by name only."""
    named: dict[tuple[str, int], Device] = {}
    for number in sorted({row.table for row in facts.rows}):
        others: dict[str, int] = {}
        for row in facts.rows:
            if row.table == number and is_level(row):
                _names_of(row, facts, found, named, others, _relation(row, facts, deaths, boots))


def _names_of(
    row: Row, facts: Facts, found: Report, named: dict[tuple[str, int], Device], others: dict[str, int], relation: str
) -> None:
    taken: set[int] = set()
    left: list[str] = []
    units: set[str] = set()
    for name in row.names:
        if not TABLES.is_device(name):
            continue
        device = _addressed(name, row, facts, found, taken)
        if not device:
            left.append(name)
            continue
        taken.add(id(device))
        device.rows[row.irq] = name
        if "irq" not in device.facts and not device.irqs and relation != "other-kernel":
            device.facts["irq"] = Told(row.irq, row.at)
            device.irqs.add(row.irq)
    # As many names as functions of this line whose driver is unknown: these are the functions.
    idle = [
        one
        for one in found.devices
        if one.address and row.irq in one.irqs and one.uses_pin and id(one) not in taken and "driver" not in one.facts
    ]
    unknown = [name for name in left if not ((of := TABLES.of_row(name)) and of[0].name in _drivers(found, row.irq))]
    if idle and len(idle) == len(unknown) and not any("control" in one.facts for one in idle):
        for device, name in zip(idle, unknown, strict=True):
            device.rows[row.irq] = name
            left.remove(name)
    for name in left:
        driver, unit = _driver_and_unit(name, facts)
        if unit != name:
            if unit in units:
                continue
            units.add(unit)
        others[unit] = others.get(unit, 0) + 1
        device = named.get((unit, others[unit]))
        if device is None:
            device = Device(facts={"name": Told(unit, row.at), "row": Told(True, row.at)})
            if driver:
                device.facts["driver"] = Told(driver, row.at)
            device.facts["irq"] = Told(row.irq, row.at)
            named[unit, others[unit]] = device
            found.devices.append(device)
        elif row.irq not in device.irqs and "irq" in device.facts:
            told = device.facts.pop("irq")
            found.conflicts.append(Conflict(f"{device.who}: irq", (told, Told(row.irq, row.at))))
        device.irqs.add(row.irq)
        device.rows[row.irq] = name


def _drivers(found: Report, irq: int) -> set[str | None]:
    return {family(one.get("driver")) for one in found.devices if irq in one.irqs}


def _driver_and_unit(name: str, facts: Facts) -> tuple[str | None, str]:
    """The driver that a name in a table means, and the device's name."""
    if of := TABLES.of_row(name):
        return (None if of[0].rows_ambiguous else of[0].name), of[1]
    if INTERFACE.match(name):
        drivers = {one.driver for one in facts.interfaces if one.name == name and one.driver}
        return (drivers.pop() if len(drivers) == 1 else None), name
    return (name if _IDENTIFIER.match(name) else None), name


def _addressed(name: str, row: Row, facts: Facts, found: Report, taken: set[int]) -> Device | None:
    """The function with an address that a name means; it is created if the name has its address."""
    by_address = {one.address: one for one in found.devices if one.address}
    if place := _address_in(name):
        device = by_address.get(place)
        if device is None:
            device = Device(place, {"irq": Told(row.irq, row.at)}, irqs={row.irq})
            if of := TABLES.of_row(name):
                device.facts["driver"] = Told(of[0].name, row.at)
            found.devices.append(device)
        return device
    addresses = {one.address for one in facts.interfaces if one.name == name and one.address}
    if len(addresses) == 1 and (device := by_address.get(addresses.pop())):
        return device
    if match := _PREDICTABLE.match(name):
        predicted = f"{int(match['bus']):02x}:{int(match['slot']):02x}.{match['function'] or 0}"
        if device := by_address.get(predicted):
            return device
    of = TABLES.of_row(name)
    meant = of[0].name if of else family(name)
    able = [one for one in by_address.values() if family(one.get("driver")) == meant and id(one) not in taken]
    here = [one for one in able if row.irq in one.irqs and one.uses_pin]
    if (usb := re.search(r":usb(\d+)$", name)) and (address := facts.usb.get(usb[1])):
        here = [one for one in here if one.address == address] or here
    if here:
        return here[0]
    free = [one for one in able if not one.irqs and one.get("msi") != "on"]
    return free[0] if len(free) == 1 else None


def _address_in(name: str) -> str | None:
    if decimal := _DECIMAL.search(name):
        return f"{int(decimal['bus']):02x}:{int(decimal['slot']):02x}.{decimal['function']}"
    match = _EMBEDDED.search(name)
    return short(match["domain"], match["bdf"]) if match else None


# ------------------------------------------------------------------ handlers


def symbols(symbol: str, module: str | None) -> list[Driver]:
    """The drivers that a handler can belong to."""
    return TABLES.of_symbol(symbol, module)


#: Modules of core code: their handlers do not name a driver.
_CORE: Final = {"usbcore", "libata", "snd", "drm", "core", "mmc-core", "sdhci"}


def _owner(symbol: str, module: str | None) -> str | None:
    """The one driver that a handler names; None if it could be several."""
    of = TABLES.of_symbol(symbol, module)
    if module and plain(module) not in _CORE and not (of and symbol not in TABLES.shared_symbols):
        known = TABLES.named(module)
        return known.name if known else module
    return of[0].name if symbol not in TABLES.shared_symbols and of else None


def _handlers(found: Report, deaths: Sequence[Death]) -> None:
    """A handler of a driver, of which no function is known on the line, is a function that is known by its driver."""
    for death in deaths:
        owners = [owner for one in death.handlers if (owner := _owner(one.symbol, one.module))]
        for owner in dict.fromkeys(owners):
            number = owners.count(owner)
            key = family(owner)
            here = [one for one in found.on_line(death.irq) if _is(one, key)]
            unplaced = [one for one in found.devices if one.address and not one.irqs and _is(one, key)]
            if here or unplaced:
                continue
            nets = [
                one
                for one in found.on_line(death.irq)
                if "driver" not in one.facts and not one.address and INTERFACE.match(str(one.get("name")))
            ]
            known = TABLES.named(owner)
            if known and known.network and len(nets) == number:
                for one in nets:
                    one.facts["driver"] = Told(owner, death.at)
                continue
            for _ in range(number):
                told = {"irq": Told(death.irq, death.at), "driver": Told(owner, death.at)}
                found.devices.append(Device(facts=told, irqs={death.irq}))


def _is(device: Device, key: str | None) -> bool:
    modules = device.get("kernel_modules") or ()
    return family(device.get("driver")) == key or key in {family(module) for module in modules}


def _cards(facts: Facts, found: Report) -> None:
    """Names of cards in sentences, for functions that have no name yet and are the only ones of their driver."""
    for driver, said in facts.cards:
        able = [one for one in found.devices if family(one.get("driver")) == driver and "vendor" not in one.facts]
        if len(able) == 1 and ("name" not in able[0].facts or "row" in able[0].facts):
            able[0].facts["name"] = Told(said.text, said.at)
            able[0].facts["card"] = Told(True, said.at)
            able[0].facts.pop("row", None)


def _known(found: Report) -> None:
    for device in found.devices:
        facts = device.facts
        if "vendor" in facts and "device" in facts:
            device.known_by = "ids" if "listed" in facts or "mentioned" in facts else "hexdump"
        elif "name" in facts and "row" not in facts:
            device.known_by = "name"
        elif "driver" in facts or "row" in facts:
            device.known_by = "driver"


# ------------------------------------------------------------------ lines


def _relation(row: Row, facts: Facts, deaths: Sequence[Death], boots: _Boots, death: Death | None = None) -> str:
    """Whether a row is of the boot in which its line died: same, other-boot or other-kernel."""
    of_table = facts.tables[row.table]
    versions = {one.kernel for one in ([death] if death else deaths) if one.kernel}
    if of_table.kernel and versions and not any(_same_kernel(of_table.kernel, one) for one in versions):
        return "other-kernel"
    if death is None:
        return "same"
    boot = boots.of_table(of_table.place)
    if boot is not None and boot != boots.of(death.place):
        return "other-boot"
    if row.total is not None and row.total < WINDOW:
        return "other-boot"
    return "same"


def _same_kernel(one: str, other: str) -> bool:
    """A sentence may name a kernel by the beginning of its version."""
    return one == other or bool(re.match(rf"{re.escape(one)}(?![\w]|\.\d)", other))


def _lines(facts: Facts, found: Report, deaths: Sequence[Death], boots: _Boots) -> None:
    lines: dict[int, Line] = {}

    def line(irq: int) -> Line:
        return lines.setdefault(irq, Line(irq))

    edges = {row.irq for row in facts.rows if not is_level(row)}
    levels = {row.irq for row in facts.rows if is_level(row)}
    found.not_level = sorted(edges - levels)
    for irq in sorted(edges & levels):
        told = tuple(Told(row.trigger or row.chip, row.at) for row in facts.rows if row.irq == irq)
        found.conflicts.append(Conflict(f"IRQ {irq}: trigger", told))
    for row in facts.rows:
        if is_level(row) and row.irq:
            line(row.irq)
    for death in deaths:
        line(death.irq).deaths.append(death)
    for route in facts.routes:
        chip = route.chip or ""
        level = route.trigger != "edge" and not is_message_signalled(chip)
        if level and (route.message or (route.irq not in edges and 0 < route.irq < 255)):
            line(route.irq)
    for device in found.devices:
        if device.uses_pin:
            for irq in device.irqs:
                if 0 < irq < 255 and irq not in edges:
                    line(irq)
    for one in lines.values():
        _describe(one, facts, deaths, boots)
    found.lines = [lines[irq] for irq in sorted(lines)]
    if facts.tables:
        of = [one for one in facts.tables if one.cpus]
        if of:
            found.cpus = Told(of[-1].cpus, of[-1].at)


def _describe(line: Line, facts: Facts, deaths: Sequence[Death], boots: _Boots) -> None:
    tell = _teller(line)
    rows = [row for row in facts.rows if row.irq == line.irq and is_level(row)]
    routes = [route for route in facts.routes if route.irq == line.irq and route.trigger != "edge"]
    death = line.deaths[-1] if line.deaths else None
    relations = [_relation(row, facts, deaths, boots, death) for row in rows] if death else ["same"] * len(rows)
    chosen = None
    if rows:
        own = [n for n, relation in enumerate(relations) if relation == "same"]
        number = own[-1] if own else len(rows) - 1
        chosen = rows[number]
        if relations[number] != "same":
            tell("snapshot", relations[number], chosen.at)
        tell("names", [*chosen.names] or None, chosen.at)
        tell("total", chosen.total, chosen.at)
    for row in ([chosen] if chosen else []) + rows:
        tell("hwirq", row.hwirq, row.at)
        tell("controller", _controller(row.chip), row.at)
        tell("trigger", row.trigger, row.at)
    for route in routes:
        tell("hwirq", route.hwirq, route.at)
        tell("gsi", route.gsi, route.at)
        tell("trigger", route.trigger, route.at)
        tell("controller", route.chip, route.at)
        if route.chip:
            tell("names", [*route.names] if route.names else None, route.at)
            tell("total", route.total, route.at)
    for one in line.deaths:
        tell("trigger", one.trigger, one.at)
    for refusal in facts.refusals:
        if refusal.irq == line.irq:
            tell("refused", refusal.who, refusal.at)
    if growth := _growth(rows):
        tell("growth", *growth)
    tell("given_up", len(line.deaths), death.at if death else (chosen.at if chosen else At("", 0)))
    total = line.get("total")
    if total and "snapshot" not in line.facts and total >= WINDOW and total % WINDOW <= 2:
        tell("given_up_at_most", total // WINDOW, line.facts["total"].at)
    if listed := [one for one in line.deaths if one.handlers_listed]:
        last = listed[-1]
        tell("handlers", [one.symbol for one in last.handlers], last.at)
        if last.handlers and _shows_modules(last, deaths):
            tell("modules", [one.module or "" for one in last.handlers], last.at)


def _growth(rows: Sequence[Row]) -> tuple[int, At] | None:
    """The interrupts between the two tables that `shirq collect` takes, ten seconds apart."""
    totals = {row.at.file: row.total for row in rows}
    for row in rows:
        folder, _, name = row.at.file.rpartition("/")
        first = totals.get(f"{folder}/{FIRST}" if folder else FIRST)
        if name == LATER and first is not None and row.total is not None and row.total >= first:
            return row.total - first, row.at
    return None


def _teller(line: Line) -> Callable[[str, Any, At], None]:
    def tell(key: str, value: Any, at: At) -> None:
        if value is not None and key not in line.facts:
            line.facts[key] = Told(value, at)

    return tell


def _controller(chip: str) -> str:
    return re.sub(r"^(XT-PIC)-XT-PIC$", r"\1", chip)


def _shows_modules(death: Death, deaths: Sequence[Death]) -> bool:
    """Return true if this kernel lists modules, so that a handler without one is built in."""
    if any(handler.module for one in deaths if one.kernel == death.kernel for handler in one.handlers):
        return True
    version = re.match(r"(\d+)\.(\d+)", death.kernel or "")
    return bool(version) and version is not None and (int(version[1]), int(version[2])) >= _MODULES_SINCE
