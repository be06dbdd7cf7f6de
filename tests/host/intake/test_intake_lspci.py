# SPDX-License-Identifier: MIT
"""The text of lspci: details belong to the function before them, wrapped ones are joined, damaged trees not used."""

from __future__ import annotations

from typing import Any

import pytest

from shirq_bench.intake import hexdump, join, text

CARD = "03:04.0 Bridge [0680]: PLX Technology, Inc. PCI <-> IOBus Bridge [10b5:9050] (rev 02)\n"
CONTROL = "\tControl: I/O+ Mem+ BusMaster- SpecCycle- MemWINV- VGASnoop- ParErr- Stepping- SERR- FastB2B- DisINTx-\n"
STATUS = "\tStatus: Cap- 66MHz- UDF- FastB2B+ ParErr- DEVSEL=medium >TAbort- <TAbort- <MAbort- >SERR- <PERR- INTx+\n"


def devices(contents: str) -> dict[str | None, dict[str, Any]]:
    found = join.report(text.clean([("lspci", contents)]))
    return {one.address: {key: told.value for key, told in one.facts.items()} for one in found.devices}


def card(contents: str) -> dict[str, Any]:
    (found,) = devices(contents).values()
    return found


@pytest.mark.parametrize(
    "head",
    [
        "00:1f.2 SATA controller [0106]: Intel Corporation AHCI [8086:1c02] (rev 04) (prog-if 01 [AHCI 1.0])",
        "0000:00:1f.2 SATA controller [0106]: Intel Corporation AHCI [8086:1c02] (rev 04)",
        "00:1f.2 0106: 8086:1c02 (rev 04)",
        "00:1f.2 Class 0106: 8086:1c02 (rev 04)",
        "> 00:1f.2 SATA controller [0106]: Intel Corporation AHCI [8086:1c02] (rev 04)",
    ],
)
def test_a_function_is_listed_in_many_ways(head: str) -> None:
    (address,) = devices(head)
    found = card(head)
    assert address == "00:1f.2"
    assert [found[key] for key in ("class", "vendor", "device", "rev")] == ["0106", "8086", "1c02", "04"]


def test_a_domain_other_than_0_is_part_of_the_address() -> None:
    assert [*devices("10000:e1:00.0 Non-Volatile memory controller: Intel SSD\n")] == ["10000:e1:00.0"]


@pytest.mark.parametrize(
    "wrapped",
    [
        CONTROL.replace("Stepping- ", "Stepping-\n") + STATUS.replace(">TAbort-", "\n>TAbort-"),
        CONTROL.replace(" DisINTx", "\nDisINTx") + STATUS.replace(" INTx", "\nINTx"),
        CONTROL.lstrip() + STATUS.lstrip(),
    ],
)
def test_a_wrapped_detail_is_joined(wrapped: str) -> None:
    found = card(CARD + wrapped)
    assert (found["io"], found["busmaster"], found["disintx"], found["intx"]) == (True, False, False, True)


def test_details_after_an_empty_line_are_of_nobody() -> None:
    assert "intx" not in card(CARD + CONTROL + "\n" + STATUS)


def test_details_of_a_function_whose_head_was_lost_are_of_nobody() -> None:
    found = card(CARD + CONTROL + STATUS + CONTROL.replace("I/O+", "I/O-") + STATUS.replace("INTx+", "INTx-"))
    assert (found["io"], found["intx"]) == (True, True)


def test_a_number_that_was_wrapped_is_unknown() -> None:
    found = card(CARD + "\tInterrupt: pin A routed to IRQ 1\n8\n" + CONTROL)
    assert (found["pin"], "irq" in found) == ("A", False)


def test_a_number_with_a_zero_before_it_is_unknown() -> None:
    """The kernel and lspci print no such number: the text is garbled."""
    found = join.report(text.clean([("garbled", f"{CARD}\tInterrupt: pin A routed to IRQ 06\nDisabling IRQ #06\n")]))
    assert found.lines == []


def test_the_list_of_a_user_who_is_not_root_is_read() -> None:
    found = card(
        CARD
        + "\tFlags: bus master, medium devsel, latency 32, IRQ 18, IOMMU group 9\n\tCapabilities: <access denied>\n"
    )
    assert (found["irq"], found["busmaster"], found["iommu_group"]) == (18, True, 9)
    assert "capabilities" not in found


@pytest.mark.parametrize(
    ("listed", "name"),
    [
        ("[50] Power Management version 2", "pm@50"),
        ("[5c] Message Signalled Interrupts: Mask- 64bit+ Queue=0/0 Enable+", "msi@5c"),
        ("[70] MSI-X: Enable+ Count=5 Masked-", "msix@70"),
        ("[100 v1] Advanced Error Reporting", "aer@100"),
        ("[a0] Express (v2) Endpoint, MSI 00", "pcie@a0"),
        ("[150 v3] Some New Thing", "some-new-thing@150"),
    ],
)
def test_a_capability_has_a_short_name(listed: str, name: str) -> None:
    assert card(f"{CARD}\tCapabilities: {listed}\n")["capabilities"] == [name]


def test_a_group_is_of_the_functions_below_its_title() -> None:
    found = devices(
        "IOMMU Group 1:\n\t00:01.0 PCI bridge [0604]: Intel [8086:0c01]\n\n"
        "00:02.0 VGA controller [0300]: Intel [8086:0412]\n"
    )
    assert found["00:01.0"]["iommu_group"] == 1
    assert "iommu_group" not in found["00:02.0"]


def test_a_tree_without_its_columns_invents_nothing() -> None:
    """The second function is behind the bridge; without blanks it would be on bus 0."""
    tree = "-[0000:00]-+-00.0  A\n           +-1e.0-[03]--+-00.0  B\n           |            \\-04.0  C\n"
    assert {*devices(tree)} == {"00:00.0", "00:1e.0", "03:00.0", "03:04.0"}
    head, _, last = tree.splitlines()
    assert {*devices(f"{head}\n{last}\n")} == {"00:00.0"}
    flat = "\n".join(" ".join(line.split()) for line in tree.splitlines())
    assert {*devices(flat)} <= {"00:00.0", "00:1e.0", "03:00.0", "03:04.0"}


# ------------------------------------------------------------------ dumps

SPACE = {
    **{n: 0 for n in range(0x100)},
    **dict(enumerate([0xEE, 0x10, 0x24, 0x70, 0x06, 0x04, 0x18, 0x00, 0x01, 0x00, 0x80, 0x05])),
    0x10: 0x0C, 0x13: 0xF7, 0x18: 0x01, 0x19: 0xE0, 0x34: 0x40, 0x3C: 0x0B, 0x3D: 0x02,
    0x40: 0x05, 0x41: 0x50, 0x42: 0x81, 0x50: 0x11, 0x51: 0x70, 0x53: 0x80, 0x70: 0x10, 0x72: 0x02, 0x77: 0x10,
}  # fmt: skip


def test_a_dump_has_ids_flags_bars_and_capabilities() -> None:
    found = hexdump.facts(SPACE)
    assert (found["vendor"], found["device"], found["class"], found["rev"]) == ("10ee", "7024", "0580", "01")
    assert (found["mem"], found["disintx"], found["intx"], found["cap"]) == (True, True, True, True)
    assert found["bars"] == [
        {"index": 0, "kind": "mem", "bits": 64, "prefetch": True},
        {"index": 2, "kind": "io"},
    ]
    assert found["capabilities"] == ["msi@40", "msix@50", "pcie@70"]
    assert (found["msi"], found["msix"], found["flr"]) == ("on", "on", True)
    assert (found["pin"], found["interrupt_line"]) == ("B", 11)


def test_a_dump_with_a_loop_of_capabilities_ends() -> None:
    assert hexdump.facts(SPACE | {0x71: 0x40})["capabilities"] == ["msi@40", "msix@50", "pcie@70"]


@pytest.mark.parametrize("missing", [*range(0x40)])
def test_a_dump_with_a_missing_byte_states_the_rest(missing: int) -> None:
    space = {offset: value for offset, value in SPACE.items() if offset != missing}
    assert hexdump.facts(space)["class" if missing not in (0xA, 0xB) else "vendor"]


def test_ones_are_no_function() -> None:
    assert hexdump.facts(dict.fromkeys(range(64), 0xFF)) == {}


@pytest.mark.parametrize("line", ["00: 86 80", "05: " + "00 " * 15 + "00", "zz: " + "00 " * 16, "000 " * 17])
def test_a_cut_row_of_a_dump_is_none(line: str) -> None:
    assert hexdump.row(line) is None
