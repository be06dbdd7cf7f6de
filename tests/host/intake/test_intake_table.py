# SPDX-License-Identifier: MIT
"""Rows of /proc/interrupts, whole and damaged; the reader of the binding reads the same whole tables."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from shirq import interrupts
from shirq_bench.intake import table, text
from shirq_bench.intake.facts import Facts, Row

SHAPES: list[dict[str, Any]] = tomllib.loads((Path(__file__).parents[1] / "binding" / "interrupts.toml").read_text())[
    "shape"
]
HEAD = "           CPU0       CPU1\n"
ROW = " 18:         12          3   IO-APIC  18-fasteoi   i801_smbus, eth0\n"


def facts(contents: str) -> Facts:
    found = Facts()
    table.find(text.clean([("table", contents)]).lines, found)
    return found


def rows(contents: str) -> list[Row]:
    return facts(contents).rows


#: What the binding reads as a damaged row has no controller that could be believed.
def _whole(line: interrupts.Line) -> bool:
    return bool(line.handlers)


@pytest.mark.parametrize("shape", SHAPES, ids=[shape["source"] for shape in SHAPES])
def test_whole_tables_are_read_as_the_binding_reads_them(shape: dict[str, Any]) -> None:
    known = {irq: line for irq, line in interrupts.parse(shape["table"].lstrip("\n")).items() if _whole(line)}
    found = {row.irq: row for row in rows(shape["table"])}
    for irq, line in known.items():
        row = found[irq]
        assert (row.total, row.trigger) == (line.count, line.trigger), (irq, row)
        assert row.names == line.handlers, (irq, row)
        if line.hwirq is not None and line.flow:
            assert (row.chip, row.hwirq) == (line.chip, line.hwirq)


@pytest.mark.parametrize(
    "damaged",
    [
        ROW,
        HEAD + ROW,
        "18: 12 3 IO-APIC 18-fasteoi i801_smbus, eth0\n",
        "> 18:         12          3   IO-APIC  18-fasteoi   i801_smbus, eth0\n",
        " 18:         12          3   IO-APIC  18-fasteoi   i801_smbus,\neth0\n",
        " 18:         12   \n       3   IO-APIC  18-fasteoi   i801_smbus, eth0\n",
        HEAD + " 18:         12          3\n   IO-APIC  18-fasteoi   i801_smbus, eth0\n",
        "irq table: \n" + ROW + "\nthanks,\nme\n",
    ],
)
def test_a_damaged_row_is_read(damaged: str) -> None:
    (row,) = rows(damaged)
    assert (row.irq, row.counts, row.chip, row.hwirq, row.trigger, row.names) == (
        18, (12, 3), "IO-APIC", 18, "level", ("i801_smbus", "eth0"),
    )  # fmt: skip


def test_a_row_without_counts_is_read() -> None:
    (row,) = rows("16: IO-APIC   16-fasteoi   ehci_hcd:usb1, hpilo\n")
    assert (row.counts, row.total, row.names) == ((), None, ("ehci_hcd:usb1", "hpilo"))


@pytest.mark.parametrize(
    "text_without_row",
    [
        HEAD + " 34:          0\n",
        HEAD + " 34:          0          0\n",
        " 34:          0          0\n",
        "1: first, 2: second\n",
        "18: see above\n",
        "12:30 IO-APIC\n",
        "NMI:          1          2   Non-maskable interrupts\n",
    ],
)
def test_a_cut_row_is_none(text_without_row: str) -> None:
    assert rows(text_without_row) == []


def test_a_table_has_the_kernel_that_the_sentence_before_names() -> None:
    found = facts("for comparison, under 2.6.5-rc2-mm1, which works:\n\n# cat /proc/interrupts\n" + HEAD + ROW)
    assert [one.kernel for one in found.tables] == ["2.6.5-rc2-mm1"]
    assert [one.cpus for one in found.tables] == [2]


@pytest.mark.parametrize("sentence", ["ping 192.0.2.76 works", "version 12.3 of it", "Disabling IRQ #18 on 2.6.5"])
def test_other_numbers_are_no_kernels(sentence: str) -> None:
    assert [one.kernel for one in facts(f"{sentence}\n{HEAD}{ROW}").tables] == [None]


def test_two_tables_are_kept_apart() -> None:
    found = facts(HEAD + ROW + "\nlater:\n\n" + HEAD + ROW.replace("12", "99"))
    assert [(row.table, row.total) for row in found.rows] == [(0, 15), (1, 102)]
