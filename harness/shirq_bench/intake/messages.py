# SPDX-License-Identifier: MIT
"""Finds facts in kernel messages: lines that were given up, routing, functions, bridges, the kernel, its parameters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from shirq_bench.intake.facts import By, Death, Facts, Handler, Interface, Refusal, Route, Said, short
from shirq_bench.intake.tables import TABLES
from shirq_bench.intake.text import TextLine, is_cut_number

_D = r"(?:(?P<domain>[0-9a-f]{4}):)?(?P<bdf>[0-9a-f]{2}:[01][0-9a-f]\.[0-7])"

# ------------------------------------------------------------------ lines that were given up

_HEAD = re.compile(r"irq (0|[1-9]\d{0,8}): nobody\s+cared\b", re.IGNORECASE)
_HEAD_CUT = re.compile(r"irq \d{1,9}:(?: nobody)?$", re.IGNORECASE)
_TAIL = re.compile(r"Disabling IRQ #?(0|[1-9]\d{0,8})(?!\d)")
_TAIL_CUT = re.compile(r"Disabling(?: IRQ)?$")
_BOGUS = re.compile(r"irq event (0|[1-9]\d{0,8}): bogus (?:return value|retval)")
_HANDLERS = re.compile(r"handlers:\s*$")
_ADDRESS = r"\[<(?:0x)?[0-9a-f]{4,16}>\]"
_HANDLER = re.compile(
    rf"(?:{_ADDRESS}|\[\w+\+\d+/\d+\])\s*\(?\.?(?P<symbol>[A-Za-z_]\w*(?:\.\w+)*)(?:\+0x[0-9a-f]+/0x[0-9a-f]+)?"
    r"(?:\s*\[(?P<module>[\w-]+)\])?\)?"
    rf"(?:\s+threaded\s+{_ADDRESS}\s*\(?(?P<thread>[A-Za-z_][\w.]*)(?:\+\S+)?(?:\s*\[(?P<module2>[\w-]+)\])?\)?)?"
)
_BARE_ADDRESS = re.compile(rf"{_ADDRESS}\s*$")
_REPEATED = re.compile(r"(?:last )?message repeated (\d{1,4}) times(?:: \[ ?(?P<text>.*?)\]?$)?")
#: "Not tainted 6.1.0-18-amd64 #1", "Tainted: G WC 3.0.0-12-generic #20-Ubuntu", "Not tainted (2.6.32 #1)".
_TAINTED = re.compile(
    r"(?:Not tainted|Tainted: [A-Z](?:[A-Z ]|\[[^\]]*\]|=\w+,?)*?)\s+\(?(?P<kernel>[2-9]\.\d+[\w.+~-]*)"
)
_LINUX = re.compile(r"Linux version ([2-9]\.\d+[\w.+~-]*)")
_UNAME = re.compile(r"Linux \S+ ([2-9]\.\d+\.\d[\w.+~-]*) #\d")
_FLOW = re.compile(r"\bhandle_(fasteoi|level|edge)_irq\b")
_FLOWS: Final = {"fasteoi": "level", "level": "level", "edge": "edge"}
_TRACE = re.compile(
    r"\[<[0-9a-f]{4,16}>\]|<[0-9a-f]{8,16}>|\+0x[0-9a-f]+/0x[0-9a-f]+|\{\w+\+\d+\}|^CPU: \d+|^Pid: \d+", re.IGNORECASE
)
#: A message has no more lines.
_LONGEST: Final = 150


def find(lines: Sequence[TextLine], facts: Facts) -> None:
    """Add what kernel messages in the lines say to the facts."""
    _Deaths(lines, facts).find()
    _Log(lines, facts).find()


class _Deaths:
    """Puts the lines of one message together: its head, its trace, its handlers and its tail."""

    def __init__(self, lines: Sequence[TextLine], facts: Facts) -> None:
        self.lines = lines
        self.facts = facts
        self.open: Death | None = None
        self.trace: list[str] = []
        self.listing: list[Handler] | None = None
        self.last: Handler | None = None

    def find(self) -> None:
        for place, line in enumerate(self.lines):
            self._read(place, line)
        self._close()

    def _close(self) -> None:
        if self.open:
            self.open.signature = tuple(self.trace)
            if kernel := _TAINTED.search(" ".join(self.trace)):
                self.open.kernel = kernel["kernel"]
            self.facts.deaths.append(self.open)
        self.open, self.trace, self.listing, self.last = None, [], None, None

    def _begin(self, irq: int, place: int, line: TextLine) -> Death:
        self._close()
        self.open = Death(irq, line.at, line.depth, place, line.stamp)
        return self.open

    def _read(self, place: int, line: TextLine) -> None:
        text = line.text.strip()
        if self.open and (line.at.file != self.open.at.file or place - self.open.place > _LONGEST):
            self._close()
        following = self.lines[place + 1].text.strip() if place + 1 < len(self.lines) else ""
        if _HEAD_CUT.match(text) or _TAIL_CUT.match(text):
            text = f"{text} {following}"
        if head := _HEAD.match(text):
            self._begin(int(head[1]), place, line).head = True
            self._trace(text, following, own=False)
            return
        if (tail := _TAIL.match(text)) and not is_cut_number(text, following):
            irq = int(tail[1])
            handlers = self.listing if self.open is None else None
            if self.open is None or self.open.irq != irq:
                death = self._begin(irq, place, line)
                if handlers is not None:
                    death.handlers, death.handlers_listed = handlers, True
            assert self.open
            self.open.tail = True
            self._close()
            return
        if bogus := _BOGUS.match(text):
            self._close()
            self.facts.routes.append(Route(int(bogus[1]), line.at, message=True))
            return
        if _HANDLERS.search(text) and not re.match(r"\w+ ", text.removeprefix("handlers:")):
            self.listing = []
            if self.open:
                self.open.handlers, self.open.handlers_listed = self.listing, True
            return
        if self.listing is not None:
            self._handler(text, following)
        elif self.open:
            self._trace(text, following)

    def _handler(self, text: str, following: str) -> None:
        if not text:
            return
        if _BARE_ADDRESS.match(text):
            text = f"{text} {following}"
        if repeated := _REPEATED.match(text):
            if repeated["text"] and (handler := _handler_of(repeated["text"])):
                self.last = handler
            self._note("last-message-repeated")
            if self.last and self.listing is not None:
                self.listing.extend([self.last] * min(int(repeated[1]), 100))
            return
        if (handler := _handler_of(text)) and self.listing is not None:
            self.last = handler
            self.listing.append(handler)
            if re.search(r"\(\.?\w+\+0x", text):
                self._note("old-trace-format")
            return
        if self.open and (re.match(r"\w+(?: \[[\w-]+\])?$", text) or text.startswith(("[...", "..."))):
            return
        if self.open:
            self._close()
        self.listing = None

    def _note(self, damage: str) -> None:
        if damage not in self.facts.damage:
            self.facts.damage.append(damage)

    def _trace(self, text: str, following: str, own: bool = True) -> None:
        assert self.open
        if own and _TRACE.search(text):
            self.trace.append(text)
            if re.search(r"ainted:?[A-Z ]*$", text):
                self.trace.append(following)
        if flow := _FLOW.search(text):
            self.open.trigger = _FLOWS[flow[1]]


def _handler_of(text: str) -> Handler | None:
    match = _HANDLER.match(text)
    return Handler(match["symbol"], match["module"] or match["module2"], match["thread"]) if match else None


# ------------------------------------------------------------------ everything else

_CMDLINE = re.compile(r"(?P<kernel>Kernel c|C)ommand line: (?P<text>\S.*)$")
_CMDLINE_FILE = re.compile(r"(?:BOOT_IMAGE=\S+|root=\S+) (?:\S+ )*?(?:ro|rw|quiet|root=\S+)(?: \S+)*$")
_REBOOT = re.compile(r"-- (?:Reboot|Boot [0-9a-f]{32}) ?-*")
_ANY_ADDRESS = re.compile(r"(?<![\w:.])(?P<domain>[0-9a-f]{4}):(?P<bdf>[0-9a-f]{2}:[01][0-9a-f]\.[0-7])(?![\w.])")
#: DRIVER 0000:03:00.0 eth1: TEXT
_FROM = re.compile(rf"(?P<driver>[A-Za-z0-9][\w-]*):? {_D}(?: (?P<interface>\w+))?: (?P<text>.*)$")
#: What is before an address and is no driver.
_NO_DRIVER: Final = {
    "pci", "acpi", "iommu", "device", "probing", "bridge", "slot", "dmar", "controller", "of", "at", "amd-vi", "edac",
    "pm", "aer", "eeh", "pcie", "dma-api",
}  # fmt: skip
_INTERFACE = re.compile(r"(?:eth|en|wl|wlan|ath|ra|usb)\w*\d\w*$")
_KIND = re.compile(
    r"\[(?P<vendor>[0-9a-f]{4}):(?P<device>[0-9a-f]{4})\] type [0-9a-f]{1,2} class (?:0x)?(?P<class>[0-9a-f]{4,6})"
)
_BAR = re.compile(
    r"(?:reg (?:0x)?(?P<register>[0-9a-f]{2}):|BAR (?P<index>\d):?) \[(?P<kind>mem|io) +"
    r"(?P<first>0x[0-9a-f]+)-(?P<last>0x[0-9a-f]+)(?P<rest>[^\]]*)\]"
)
_BRIDGE = re.compile(r"(?:PCI|CardBus) bridge to \[bus (?P<bus>[0-9a-f]{2})(?:-[0-9a-f]{2})?\]")
_GROUP = re.compile(r"(?:Adding to iommu group|Adding device \S+ to group) (\d{1,4})$")
_GSI = re.compile(
    rf"(?:PCI Interrupt {_D}\[(?P<pin>[A-D])\]|PCI INT (?P<pin2>[A-D])) -> (?:Link ?\[\w+\] -> )?GSI (?P<gsi>\d{{1,9}})"
    r"(?: \((?P<trigger>level|edge), \w+\))? -> IRQ (?P<irq>0|[1-9]\d{0,8})(?!\d)",
    re.IGNORECASE,
)
_INPUT = re.compile(
    r"\((?P<chip>\d{1,3})-(?P<hwirq>\d{1,4}) -> 0x[0-9a-f]+ -> "
    r"IRQ (?P<irq>0|[1-9]\d{0,8})(?!\d)(?: Mode:(?P<mode>[01]))?"
)
_INPUT_OLD = re.compile(
    r"[0-9a-f:]{5,10}\[[A-D]\] -> (?P<chip>\d{1,3})-(?P<hwirq>\d{1,4}) -> (?:vector 0x[0-9a-f]+ -> )?"
    r"IRQ (?P<irq>0|[1-9]\d{0,8})(?!\d)"
)
_FOUND = re.compile(rf"PCI: (?:Found|Assigned|Sharing) IRQ (?P<irq>0|[1-9]\d{{0,8}}) (?:for device|with) {_D}")
_OWN_IRQ = re.compile(r"irq (?P<irq>0|[1-9]\d{0,8}), (?:io|pci) (?:mem|port|base)", re.IGNORECASE)
_CARD_IRQ = re.compile(r"(?P<name>\S.*?) at (?:0x)?[0-9a-f]+,.*\bIRQ (?P<irq>0|[1-9]\d{0,8})\.?$")
#: A driver's words for a test interrupt that did not arrive.
_NO_INTERRUPT = re.compile(
    r"\b(?:no|missing) interrupts?\b|(?:interrupt|irq) test failed"
    r"|interrupts? (?:was |were |is |are )?not (?:detected|received|generated|working|seen)"
    r"|unable to generate an interrupt",
    re.IGNORECASE,
)
_MESSAGE = re.compile(r"irq \d+ for MSI(?:/MSI-X)?$")
_PROBE = re.compile(
    r"(?P<driver>\w+): (?P<interface>eth\d+): \w+_probe: addr 0x[0-9a-f]+, irq (?P<irq>0|[1-9]\d{0,8}),"
)
_USB = re.compile(r"new USB bus registered, assigned bus number (\d{1,3})")
_ETH = re.compile(r"(?P<interface>(?:eth|en)\w*\d): (?P<text>\S.*)$")
_ADAPTER = re.compile(r"[A-Z0-9].*\b(?:Adapter|Ethernet|Network Connection|Tulip|NIC|Controller|10/100)\b")
_STATUS = re.compile(r"\b(?:link|up|down|NIC Link|timed out|reset|hang|duplex)\b", re.IGNORECASE)
_LINK = re.compile(r"(?P<driver>\w+): (?P<interface>(?:eth|en)\w*\d\w*):? NIC Link")
_LATENCY = re.compile(rf"PCI: (?:Setting latency timer of device|Enabling (?:device|bus mastering for device)) {_D}")
_ATA = re.compile(r"ata\d+: [SP]ATA .*\birq (?P<irq>0|[1-9]\d{0,8})$")
_BANNER = re.compile(r"(?P<driver>(?:ata|sata|pata)_\w+|ahci)(?: [0-9a-f:.]+:)? version [\w.]+")
_IDE_AT = re.compile(rf"(?P<label>[\w-]+): (?:IDE|SATA|ATA) controller at PCI slot {_D}")
_IDE_NAME = re.compile(
    r"(?P<label>[\w-]+): (?P<name>\S.*?) on pci(?P<domain>[0-9a-f]{4}):(?P<bdf>[0-9a-f]{2}:[01][0-9a-f]\.[0-7])$"
)
_BUSY = re.compile(rf"vfio-pci,host={_D}.*Failed to setup INTx fd: Device or resource busy")
_NAME = r"[^()]*(?:\([^()]*\))?"
_MISMATCH = re.compile(
    rf"Flags mismatch irq (?P<irq>0|[1-9]\d{{0,8}})\. [0-9a-f]{{8}} \((?P<new>{_NAME})\)"
    rf" vs\. [0-9a-f]{{8}} \((?P<old>{_NAME})\)"
)
_MISMATCH_OLD = re.compile(r"IRQ handler type mismatch for IRQ (?P<irq>0|[1-9]\d{0,8})(?!\d)")
_NO_LINE = re.compile(
    r"(?:PCI INT [A-D]: (?:no GSI|not connected)|can't (?:find IRQ|derive routing) for PCI INT [A-D])"
)
_ON_LINE = re.compile(
    rf"{_D} is on (?:irq|interrupt)(?: line| number)?\s#?(?P<irq>0|[1-9]\d{{0,8}})(?!\d)", re.IGNORECASE
)
#: The text of a USB host controller's first message, if it only says what each says.
_ANY_HOST = re.compile(r"[eouxEOUX]HCI Host Controller$")
_HOST_DRIVERS: Final = ("hcd", "ehci-pci", "ohci-pci", "uhci-pci")
#: A name behind a routing message or a banner belongs to its function for so many lines.
_NEAR: Final = 8


class _Log:
    """Reads messages one by one; remembers the last function and driver, of which the next messages may speak."""

    def __init__(self, lines: Sequence[TextLine], facts: Facts) -> None:
        self.lines = lines
        self.facts = facts
        #: The function of the last routing message or the like, and where it was.
        self.near: tuple[str, int] | None = None
        self.named: set[str] = set()
        self.banner: tuple[str, int] | None = None
        self.up: tuple[str, int, float] | None = None

    def find(self) -> None:
        for place, line in enumerate(self.lines):
            text = line.text.strip()
            if not text:
                continue
            self._boots(place, line, text)
            self._addresses(line, text)
            if place + 1 < len(self.lines) and is_cut_number(text, self.lines[place + 1].text):
                continue
            for read in (self._kernel, self._routing, self._device, self._network, self._disk, self._vfio, self._card):
                read(place, line, text)

    # -- the kernel

    def _boots(self, place: int, line: TextLine, text: str) -> None:
        if _REBOOT.match(text) or (_LINUX.match(text) and not self._just_began(place)):
            self.facts.boots.append(place)
        up = line.stamp.seconds if line.stamp else None
        if up is not None and up < 1e8:
            if (
                self.up
                and self.up[:2] == (line.at.file, line.depth)
                and up < self.up[2] - 1
                and not self._just_began(place)
            ):
                self.facts.boots.append(place)
            self.up = (line.at.file, line.depth, up)

    def _just_began(self, place: int) -> bool:
        return bool(self.facts.boots) and place - self.facts.boots[-1] < 5

    def _kernel(self, place: int, line: TextLine, text: str) -> None:
        if match := _LINUX.match(text) or _UNAME.match(text):
            self.facts.kernels.append(Said(match[1], line.at, place))
        if match := _CMDLINE.match(text):
            self.facts.cmdlines.append(Said(match["text"].strip(), line.at, place))
        elif _CMDLINE_FILE.match(text) and not line.stamp:
            self.facts.cmdlines.append(Said(text, line.at, place))

    # -- functions

    def _add(self, address: str, key: str, value: Any, line: TextLine, by: By = By.LOG) -> None:
        self.facts.add(address, key, value, line.at, by)

    def _addresses(self, line: TextLine, text: str) -> None:
        for match in _ANY_ADDRESS.finditer(text):
            self._add(short(match["domain"], match["bdf"]), "mentioned", True, line)

    def _routing(self, place: int, line: TextLine, text: str) -> None:
        routes = self.facts.routes
        if match := _GSI.search(text):
            irq = int(match["irq"])
            routes.append(Route(irq, line.at, gsi=int(match["gsi"]), trigger=match["trigger"]))
            owner = match if match["bdf"] else _FROM.match(text)
            if owner:
                address = short(owner["domain"], owner["bdf"])
                self._add(address, "irq", irq, line)
                self._add(address, "pin", (match["pin"] or match["pin2"]).upper(), line)
                self.near = (address, place)
        elif match := _INPUT.search(text) or _INPUT_OLD.match(text):
            if match.groupdict().get("mode") != "0":
                routes.append(Route(int(match["irq"]), line.at, hwirq=int(match["hwirq"])))
        elif match := _FOUND.match(text):
            address = short(match["domain"], match["bdf"])
            routes.append(Route(int(match["irq"]), line.at))
            self._add(address, "irq", int(match["irq"]), line)
            self.near = (address, place)
        elif match := _LATENCY.match(text):
            self.near = (short(match["domain"], match["bdf"]), place)
        if (match := _NO_LINE.search(text)) and (owner := _FROM.match(text)):
            note = f"{short(owner['domain'], owner['bdf'])}: {match[0]}: the kernel found no line for the pin"
            self.facts.notes.append(Said(note, line.at, place))

    def _device(self, place: int, line: TextLine, text: str) -> None:
        match = _FROM.match(text)
        if not match:
            return
        address, driver, said = short(match["domain"], match["bdf"]), match["driver"], match["text"]
        if match["domain"] is None and not line.stamp:
            return
        if driver.lower() not in _NO_DRIVER:
            self._add(address, "driver", driver, line)
            self.near = (address, place)
            if (interface := match["interface"]) and _INTERFACE.match(interface):
                self._interface(interface, line, address, driver)
            if driver.endswith(_HOST_DRIVERS) and address not in self.named:
                following = _FROM.match(self.lines[place + 1].text.strip()) if place + 1 < len(self.lines) else None
                if following and _OWN_IRQ.match(following["text"]) and not _ANY_HOST.match(said) and "->" not in said:
                    self.named.add(address)
                    self._add(address, "name", said, line)
        if kind := _KIND.search(said):
            for key in ("vendor", "device"):
                self._add(address, key, kind[key], line)
            code = kind["class"]
            self._add(address, "class", code[:4] if len(code) == 4 or not code.startswith("00") else code[2:], line)
        if bar := _BAR.match(said):
            self._bar(address, bar, line)
        if bridge := _BRIDGE.match(said):
            self._add(address, "secondary", int(bridge["bus"], 16), line)
        if group := _GROUP.search(said):
            self._add(address, "iommu_group", int(group[1]), line)
        if _NO_INTERRUPT.search(said):
            self._add(address, "no_interrupt", True, line)
        if _MESSAGE.match(said):
            self._add(address, "message_irq", True, line)
        if own := _OWN_IRQ.match(said):
            self._add(address, "irq", int(own["irq"]), line)
        elif (card := _CARD_IRQ.match(said)) and match["interface"]:
            self._add(address, "irq", int(card["irq"]), line)
            self._add(address, "name", card["name"], line)
        if bus := _USB.match(said):
            self.facts.usb[bus[1]] = address
        if renamed := re.match(r"renamed from (\w+)", said):
            self._interface(renamed[1], line, address, driver)

    def _bar(self, address: str, match: re.Match[str], line: TextLine) -> None:
        index = int(match["index"]) if match["index"] else (int(match["register"], 16) - 0x10) // 4
        size = int(match["last"], 16) - int(match["first"], 16) + 1
        if not 0 <= index <= 5 or size <= 0:
            return
        bar: dict[str, Any] = {"index": index, "kind": match["kind"]}
        if match["kind"] == "mem":
            bar["bits"] = 64 if "64bit" in match["rest"] else 32
        bar["size"] = _size(size)
        if "pref" in match["rest"]:
            bar["prefetch"] = True
        self._add(address, f"bar{index}", bar, line)

    # -- drivers that do not name their function in each message

    def _interface(self, name: str, line: TextLine, address: str | None, driver: str | None) -> None:
        self.facts.interfaces.append(Interface(name, line.at, address, driver))

    def _is_near(self, place: int) -> str | None:
        if (
            self.near
            and place - self.near[1] <= _NEAR
            and self.lines[self.near[1]].at.file == self.lines[place].at.file
        ):
            return self.near[0]
        return None

    def _driver_near(self, place: int) -> str | None:
        """The driver whose banner was printed before: it is of this file, and later than other functions' messages."""
        if self.banner and self.lines[self.banner[1]].at.file == self.lines[place].at.file:
            return self.banner[0]
        return None

    def _network(self, place: int, line: TextLine, text: str) -> None:
        for banner in TABLES.banner:
            if re.match(banner.pattern, text) or re.match(rf"\w+: {banner.pattern}", text):
                self.banner = (banner.driver, place)
        if match := _LINK.match(text):
            self._interface(match["interface"], line, None, match["driver"])
        if (probe := _PROBE.match(text)) and (address := self._is_near(place)):
            self._interface(probe["interface"], line, address, probe["driver"])
            self._add(address, "driver", probe["driver"], line)
            self._add(address, "irq", int(probe["irq"]), line)
        match = _ETH.match(text)
        if not match or _FROM.match(text):
            return
        said, address = match["text"], self._is_near(place)
        card = _CARD_IRQ.match(said)
        if (
            not address
            or address in self.named
            or not (card or _ADAPTER.match(said))
            or (not card and _STATUS.search(said))
        ):
            return
        self.named.add(address)
        driver = self._driver_near(place)
        self._interface(match["interface"], line, address, driver)
        self._add(address, "name", card["name"] if card else said, line)
        if driver:
            self._add(address, "driver", driver, line)
        if card:
            self._add(address, "irq", int(card["irq"]), line)

    def _disk(self, place: int, line: TextLine, text: str) -> None:
        if match := _BANNER.match(text):
            self.banner = (match["driver"], place)
        elif match := _ATA.match(text):
            address, driver = self._is_near(place), self._driver_near(place)
            if address and driver and self.banner and self.near and place - self.banner[1] <= _NEAR + 4:
                self._add(address, "irq", int(match["irq"]), line)
                self._add(address, "driver", driver, line)
        if match := _IDE_AT.match(text):
            self._add(short(match["domain"], match["bdf"]), "label", match["label"], line)
        elif match := _IDE_NAME.match(text):
            address = short(match["domain"], match["bdf"])
            self._add(address, "name", match["name"], line)
            self._add(address, "driver", match["label"], line)

    # -- user space

    def _vfio(self, place: int, line: TextLine, text: str) -> None:
        if match := _BUSY.search(text):
            self._add(short(match["domain"], match["bdf"]), "no_disintx", True, line)
        if match := _MISMATCH.search(text):
            names = tuple(match[key] for key in ("old", "new"))
            self.facts.routes.append(Route(int(match["irq"]), line.at, message=True, names=names))
            self.facts.refusals.append(Refusal(int(match["irq"]), match["new"], line.at))
            if vfio := re.match(rf"vfio-intx\({_D}\)", match["new"]):
                self._add(short(vfio["domain"], vfio["bdf"]), "no_disintx", True, line)
        elif match := _MISMATCH_OLD.search(text):
            self.facts.routes.append(Route(int(match["irq"]), line.at, message=True))

    def _card(self, place: int, line: TextLine, text: str) -> None:
        if line.stamp:
            return
        joined = text
        if place + 1 < len(self.lines) and self.lines[place + 1].text.strip():
            joined = f"{text} {self.lines[place + 1].text.strip()}"
        if match := _ON_LINE.search(joined):
            self._add(short(match["domain"], match["bdf"]), "irq", int(match["irq"]), line, By.PROSE)
        for card in TABLES.card:
            for match in re.finditer(card.pattern, text, re.IGNORECASE):
                self.facts.cards.append((card.driver, Said(match[0], line.at, place)))


def _size(number: int) -> str:
    """A size as lspci prints it."""
    for letter, shift in (("G", 30), ("M", 20), ("K", 10)):
        if number >= 1 << shift and number % (1 << shift) == 0:
            return f"{number >> shift}{letter}"
    return str(number)
