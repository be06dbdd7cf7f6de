# SPDX-License-Identifier: MIT
"""Reads the text of lspci: lists, details (-v, -vv), kernel drivers (-k), dumps (-x), the tree (-t), IOMMU groups."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from shirq_bench.intake import hexdump
from shirq_bench.intake.facts import By, Facts, Said, short
from shirq_bench.intake.tables import TABLES
from shirq_bench.intake.text import At, TextLine, is_cut_number

_ADDRESS = r"(?:(?P<domain>[0-9a-f]{4,8}):)?(?P<bdf>[0-9a-f]{2}:[01][0-9a-f]\.[0-7])"
#: 00:1f.2 SATA controller [0106]: Intel Corporation NAME [8086:1c02] (rev 04) (prog-if 01 [AHCI 1.0])
_HEAD = re.compile(
    rf"\s*{_ADDRESS}\s+(?P<kind>[A-Z\d][\w /().,&+-]{{1,60}}?)(?:\s\[(?P<code>[0-9a-f]{{4}})\])?:"
    r"\s+(?P<name>\S.*)$"
)
#: 00:1f.2 0106: 8086:1c02 (rev 04), and with the word Class in old ones.
_NUMBERS = re.compile(
    rf"\s*{_ADDRESS}\s+\"?(?:Class )?(?P<code>[0-9a-f]{{4}})\"?:?"
    r" \"?(?P<vendor>[0-9a-f]{4})[\":]+\s?\"?(?P<device>[0-9a-f]{4})\"?(?P<rest>.*)$"
)
_CODE = re.compile(r"(?:Class )?([0-9a-f]{4})$")
_IDS = re.compile(r"\s*\[([0-9a-f]{4}):([0-9a-f]{4})\]")
_REV = re.compile(r"\s*\(rev ([0-9a-f]{2})\)")
_TRAILER = re.compile(r"\s*\((?:rev|prog-if) [0-9a-f]{2}.*$")
_GROUP = re.compile(r"\s*(?:#{2,}\s*)?(?:IOMMU )?[Gg]roup:?\s*#?(\d{1,4})\b[\s#:]*(?P<rest>.*)$")

_FLAG: Final = {"io": "I/O", "mem": "Mem", "busmaster": "BusMaster", "disintx": "DisINTx"}
#: The beginnings of details, each with what the whole detail must contain: one that lacks it was wrapped.
_DETAILS: Final = {
    "Subsystem:": r"Subsystem:\s+\S",
    "Control:": r"DisINTx[+-]",
    "Status:": r"\sINTx[+-]|Status:\s+(?!Cap)\S",
    "Interrupt:": r"IRQ \d+\s*$",
    "Region ": r"(?:\[size=\w+\]|\[disabled\]|\[virtual\])\s*$",
    "Kernel driver in use:": r"use:\s+\S",
    "Kernel modules:": r":\s+\S.*[^,]$",
    "IOMMU group:": r"\d",
    "Bus:": r"sec-latency",
    "Flags:": r".*",
    "Capabilities:": r"\]",
    "DevCap:": r"FLReset[+-]|RBE[+-]",
    "AFCap:": r"FLR[+-]",
}
_ANY_DETAIL = re.compile(
    r"\s*(?:[A-Z][\w/. -]{1,40}:|Region \d|Memory at|I/O ports at|[0-9a-f]{2,3}:(?: [0-9a-f]{2}){2})"
)
_REGION = re.compile(
    r"Region (?P<index>\d): (?P<kind>Memory|I/O ports) at (?P<place>\S+)(?P<rest>.*)$",
)
_SIZE = re.compile(r"\[size=(\d+[KMGT]?)\]")


@dataclass
class _Record:
    """The function whose details are being read."""

    address: str
    seen: set[str] = field(default_factory=set)
    bars: list[dict[str, Any]] = field(default_factory=list)
    bars_at: At | None = None
    capabilities: list[str] = field(default_factory=list)
    capabilities_at: At | None = None
    space: dict[int, int] = field(default_factory=dict)
    space_at: At | None = None


def find(lines: Sequence[TextLine], facts: Facts) -> None:
    """Add what lspci says in the lines to the facts."""
    reader = _Reader(facts)
    place = 0
    while place < len(lines):
        line = lines[place]
        text, used = _whole(lines, place) if reader.record else (line.text, 1)
        reader.read(text, line)
        place += used
    reader.end()
    _tree(lines, facts)


def _whole(lines: Sequence[TextLine], place: int) -> tuple[str, int]:
    """A detail with the lines into which it was wrapped."""
    text, used = lines[place].text, 1
    stripped = text.lstrip()
    key = next((key for key in _DETAILS if stripped.startswith(key)), None)
    while key and used < 4 and place + used < len(lines) and not re.search(_DETAILS[key], text):
        line = lines[place + used]
        if not line.text.strip() or line.depth != lines[place].depth or line.at.file != lines[place].at.file:
            break
        if (_ANY_DETAIL.match(line.text) and key != "DevCap:") or _HEAD.match(line.text) or line.stamp:
            break
        if key == "DevCap:" and re.match(r"\s*(?:[A-Z]\w+:|Capabilities)", line.text):
            break
        text = f"{text} {line.text.strip()}"
        used += 1
    if key == "Interrupt:" and place + used < len(lines) and is_cut_number(text, lines[place + used].text):
        text, used = text.rpartition(" routed")[0], used + 1
    return text, used


class _Reader:
    """Assigns details to the function before them, until an empty line or another function."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.record: _Record | None = None
        self.group: int | None = None
        self.file = ""

    def read(self, text: str, line: TextLine) -> None:
        at = line.at
        if not text.strip():
            self.end()
            self.group = None
            return
        if line.stamp:
            return
        if at.file != self.file:
            self.end()
            self.file, self.group = at.file, None
        in_details = self.record and self.record.seen
        if not in_details and (match := _GROUP.match(text)):
            self.end()
            self.group, text = int(match[1]), match["rest"]
            if not text:
                return
        if self._head(text, at):
            return
        self.group = None
        if self.record:
            if found := hexdump.row(text):
                offset, values = found
                self.record.space |= {offset + n: value for n, value in enumerate(values)}
                self.record.space_at = self.record.space_at or at
                return
            self._detail(text.strip(), at)

    def _head(self, text: str, at: At) -> bool:
        plain_ids = _NUMBERS.match(text)
        match = plain_ids or _HEAD.match(text)
        if not match:
            return False
        self.end()
        address = short(match["domain"], match["bdf"])
        self.record = _Record(address)
        add = self._add
        rest = match["rest"] if plain_ids else match["name"]
        code = match["code"] or ("" if plain_ids else (c[1] if (c := _CODE.match(match["kind"])) else ""))
        if code:
            add("class", code, at)
        if plain_ids:
            add("vendor", match["vendor"], at)
            add("device", match["device"], at)
        elif ids := _IDS.search(rest):
            add("vendor", ids[1], at)
            add("device", ids[2], at)
        if rev := _REV.search(rest):
            add("rev", rev[1], at)
        if not plain_ids:
            name = _TRAILER.sub("", _IDS.sub("", rest)).strip()
            if name:
                add("name", name, at)
            add("kind", match["kind"], at)
        add("listed", True, at)
        if self.group is not None:
            add("iommu_group", self.group, at)
        return True

    def _add(self, key: str, value: Any, at: At, by: By = By.LSPCI) -> None:
        if self.record:
            self.facts.add(self.record.address, key, value, at, by)

    def end(self) -> None:
        """Finish the function: state what was collected from several lines."""
        record, self.record = self.record, None
        if not record:
            return

        def add(key: str, value: Any, at: At | None, by: By = By.LSPCI) -> None:
            if at:
                self.facts.add(record.address, key, value, at, by)

        if record.bars:
            add("bars", record.bars, record.bars_at)
        if record.capabilities:
            add("capabilities", record.capabilities, record.capabilities_at)
        if record.space:
            found = hexdump.facts(record.space)
            for key, value in found.items():
                add(key, value, record.space_at, By.DUMP)
            if not found and 0 in record.space and record.space_at:
                note = f"{record.address}: its configuration space reads as ones: the function did not answer"
                self.facts.notes.append(Said(note, record.space_at, 0))

    # -- details

    def _detail(self, text: str, at: At) -> None:
        assert self.record
        once = next(
            (key for key in ("Control: I/O", "Interrupt: pin", "Kernel driver in use:") if text.startswith(key)), None
        )
        if once and once in self.record.seen:  # the head of another function was lost
            self.end()
            return
        if once:
            self.record.seen.add(once)
        for begin, read in _READERS:
            if text.startswith(begin):
                read(self, text, at)
                return

    def _subsystem(self, text: str, at: At) -> None:
        rest = text.partition(":")[2].strip()
        if ids := _IDS.search(rest):
            self._add("subsystem", f"{ids[1]}:{ids[2]}", at)
        elif re.fullmatch(r"[0-9a-f]{4}:[0-9a-f]{4}", rest) or rest:
            self._add("subsystem", rest, at)

    def _control(self, text: str, at: At) -> None:
        for key, word in _FLAG.items():
            if found := re.search(rf"(?<!\S){re.escape(word)}([+-])", text):
                self._add(key, found[1] == "+", at)
        self._add("control", True, at)

    def _status(self, text: str, at: At) -> None:
        if found := re.search(r"Status:\s+Cap([+-])", text):
            self._add("cap", found[1] == "+", at)
            if intx := re.search(r"(?<!\S)INTx([+-])", text):
                self._add("intx", intx[1] == "+", at)

    def _interrupt(self, text: str, at: At) -> None:
        if pin := re.search(r"pin ([A-D?])(?= routed|\s|$)", text):
            self._add("raw_pin", 0 if pin[1] == "?" else "ABCD".index(pin[1]) + 1, at)
            if pin[1] != "?":
                self._add("pin", pin[1], at)
        if irq := re.search(r"routed to IRQ (0|[1-9]\d{0,8})(?=\s*$)", text):
            self._add("irq", int(irq[1]), at)

    def _flags(self, text: str, at: At) -> None:
        """The line of lspci -v."""
        if irq := re.search(r"\bIRQ (0|[1-9]\d{0,8})(?=,|\s*$)", text):
            self._add("irq", int(irq[1]), at)
        if re.search(r"\bbus master\b", text):
            self._add("busmaster", True, at)
        if group := re.search(r"\bIOMMU group (\d+)", text):
            self._add("iommu_group", int(group[1]), at)

    def _region(self, text: str, at: At) -> None:
        assert self.record
        match = _REGION.match(text)
        if not match:
            return
        bar: dict[str, Any] = {"index": int(match["index"]), "kind": "mem" if match["kind"] == "Memory" else "io"}
        rest = match["rest"]
        if bar["kind"] == "mem" and (bits := re.search(r"\((64|32)-bit", rest)):
            bar["bits"] = int(bits[1])
        if size := _SIZE.search(rest):
            bar["size"] = size[1]
        if re.search(r"[(,]\s*prefetchable", rest):
            bar["prefetch"] = True
        if "[disabled]" in rest:
            bar["disabled"] = True
        self.record.bars.append(bar)
        self.record.bars_at = self.record.bars_at or at

    def _capability(self, text: str, at: At) -> None:
        assert self.record
        match = re.match(r"Capabilities: \[([0-9a-f]{2,3})(?: v\d+)?\]\s*(.*)$", text)
        if not match:
            return
        name = TABLES.capability(match[2])
        self.record.capabilities.append(f"{name}@{match[1]}")
        self.record.capabilities_at = self.record.capabilities_at or at
        if name in ("msi", "msix") and (enabled := re.search(r"Enable([+-])", text)):
            self._add(name, "on" if enabled[1] == "+" else "off", at)
        if name == "ssvid" and (ids := _IDS.search(match[2])):
            self._add("subsystem", f"{ids[1]}:{ids[2]}", at)

    def _reset(self, text: str, at: At) -> None:
        """The first line of an Express capability, or of Advanced Features."""
        if found := re.search(r"\b(?:FLReset|FLR)([+-])", text):
            self._add("flr", found[1] == "+", at)

    def _driver(self, text: str, at: At) -> None:
        if name := re.match(r"([\w.-]+)\s*$", text.partition(":")[2].strip()):
            self._add("driver", name[1], at)

    def _modules(self, text: str, at: At) -> None:
        names = [name for part in text.partition(":")[2].split(",") if (name := part.strip())]
        if names and all(re.fullmatch(r"[\w.-]+", name) for name in names):
            self._add("kernel_modules", names, at)

    def _bus(self, text: str, at: At) -> None:
        if bus := re.search(r"secondary=([0-9a-f]{2})", text):
            self._add("secondary", int(bus[1], 16), at)

    def _iommu(self, text: str, at: At) -> None:
        if group := re.match(r"IOMMU group: (\d{1,4})$", text):
            self._add("iommu_group", int(group[1]), at)


_READERS: Final[tuple[tuple[str, Callable[[_Reader, str, At], None]], ...]] = (
    ("Subsystem:", _Reader._subsystem),
    ("Control: I/O", _Reader._control),
    ("Status:", _Reader._status),
    ("Interrupt:", _Reader._interrupt),
    ("Flags: ", _Reader._flags),
    ("Region ", _Reader._region),
    ("Capabilities:", _Reader._capability),
    ("DevCap:", _Reader._reset),
    ("AFCap:", _Reader._reset),
    ("Kernel driver in use:", _Reader._driver),
    ("Kernel modules:", _Reader._modules),
    ("Bus: ", _Reader._bus),
    ("IOMMU group:", _Reader._iommu),
)

# ------------------------------------------------------------------ the tree

_ROOT = re.compile(r"[\s|]*[-+\\]*-\[(?P<domain>[0-9a-f]{4}):(?P<bus>[0-9a-f]{2})(?:-[0-9a-f]{2})?\]-")
_NODE = re.compile(r"(?P<slot>[01][0-9a-f])\.(?P<function>[0-7])(?:-\[(?P<bus>[0-9a-f]{2})(?:-[0-9a-f]{2})?\])?")


@dataclass(frozen=True)
class _Bus:
    """A bus of the tree: the column in which its functions begin, and its bridge."""

    number: int
    column: int
    bridge: str | None


_BRANCH = re.compile(r"[\s|]*[+\\]-+")
_TRUNK = re.compile(r"[\s|]+$")


def _tree(lines: Sequence[TextLine], facts: Facts) -> None:
    """The functions of lspci -t, and the bridges before them."""
    stack: list[_Bus] = []
    domain = ""
    for line in lines:
        text = line.text
        if root := _ROOT.match(text):
            domain = root["domain"]
            column = _column(text, root.end())
            stack = [_Bus(int(root["bus"], 16), column, None)]
            _branch(text, column, stack, domain, line.at, facts)
        elif stack and (branch := _BRANCH.match(text)):
            while stack and stack[-1].column > branch.end():
                stack.pop()
            if not stack or stack[-1].column != branch.end():  # the columns are damaged: no bus is known
                stack = []
                continue
            _branch(text, branch.end(), stack, domain, line.at, facts)
        elif text.strip() and not _TRUNK.match(text):
            stack = []


def _column(text: str, start: int) -> int:
    """The column behind the lines of the drawing."""
    while start < len(text) and text[start] in "-+\\":
        start += 1
    return start


def _branch(text: str, position: int, stack: list[_Bus], domain: str, at: At, facts: Facts) -> None:
    """One line of the tree: a function, and the first functions of the buses behind it."""
    while node := _NODE.match(text, position):
        bus = stack[-1]
        address = short(domain, f"{bus.number:02x}:{node['slot']}.{node['function']}")
        facts.add(address, "tree", True, at, By.TREE)
        if bus.bridge:
            facts.add(address, "behind", bus.bridge, at, By.TREE)
        if not node["bus"]:
            if name := re.match(r"\s{1,4}(\S.*)$", text[node.end() :]):
                facts.add(address, "name", name[1].strip(), at, By.TREE)
            return
        secondary = int(node["bus"], 16)
        facts.add(address, "secondary", secondary, at, By.TREE)
        position = _column(text, node.end())
        stack.append(_Bus(secondary, position, address))
