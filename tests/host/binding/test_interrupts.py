# SPDX-License-Identifier: MIT
"""The parser of /proc/interrupts and /sys/kernel/irq: the format of every controller, and damaged tables."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shirq import interrupts
from shirq.interrupts import Line
from shirq.system import System

SHAPES: list[dict[str, Any]] = tomllib.loads((Path(__file__).parent / "interrupts.toml").read_text())["shape"]


def said(line: Line) -> list[object]:
    return [
        line.chip,
        "" if line.hwirq is None else line.hwirq,
        line.flow or "",
        line.trigger or "",
        list(line.handlers),
    ]


@pytest.mark.parametrize("shape", SHAPES, ids=[shape["source"] for shape in SHAPES])
def test_lines_of_every_controller_are_read(shape: dict[str, Any]) -> None:
    lines = interrupts.parse(shape["table"])
    assert {str(irq): said(line) for irq, line in lines.items()} == shape["lines"]


def test_the_counts_of_all_processors_are_added() -> None:
    (line,) = interrupts.parse("      CPU0  CPU2\n 20:  812  50   IO-APIC  20-fasteoi   eth0\n").values()
    assert (line.count, line.controller) == (862, "IO-APIC 20-fasteoi")


# -------------------------------------------------------- the kernel's format

#: Names of handlers, including names that look like other columns.
NAMES = st.lists(
    st.sampled_from(["eth0", "5-edge", "Level", "Edge", "-fasteoi", "XT-PIC", "12", "two words", "shirq:0000:00:04.0"]),
    max_size=3,
)


@given(
    irq=st.integers(0, 999),
    counts=st.lists(st.integers(0, 1 << 32), min_size=1, max_size=9),
    chip=st.sampled_from(["XT-PIC", "IO-APIC", "GICv3", "SiFive PLIC", "PCI-MSIX-0000:01:00.0", "44e07000.gpio", "-"]),
    hwirq=st.none() | st.integers(0, 1 << 20),
    trigger=st.sampled_from(["", "Level", "Edge"]),
    flow=st.sampled_from(["", "fasteoi", "edge", "ioapic-level"]),
    names=NAMES,
    width=st.sampled_from([3, 4]),
)
@example(irq=0, counts=[0], chip="XT-PIC", hwirq=None, trigger="Level", flow="", names=["-fasteoi"], width=3)
def test_what_the_kernel_prints_is_read_back(
    irq: int,
    counts: list[int],
    chip: str,
    hwirq: int | None,
    trigger: str,
    flow: str,
    names: list[str],
    width: int,
) -> None:
    """The table has the columns that kernel/irq/proc.c has printed since Linux 4.0."""
    row = f"{irq:{width}}: " + "".join(f"{count:10} " for count in counts) + f" {chip:>8}"
    row += " " + ("" if hwirq is None else str(hwirq)).rjust(width)
    row += f" {trigger:8}" if trigger else ""
    row += f"-{flow:8}" if flow else ""
    row += f"  {', '.join(names)}" if names else ""
    head = " " * (width + 8) + "".join(f"CPU{cpu:<8}" for cpu in range(len(counts)))
    line = interrupts.parse(f"{head}\n{row}\n")[irq]
    assert (line.count, line.chip, line.hwirq, line.flow) == (sum(counts), chip, hwirq, flow or None)
    assert line.handlers == tuple(names)
    if trigger:
        assert line.trigger == trigger.lower()


# ------------------------------------------------------------------- damage

TABLES = st.sampled_from([shape["table"] for shape in SHAPES])
EDITS = st.lists(
    st.tuples(st.integers(0, 2000), st.integers(0, 30), st.text(" \n\t0129:-,CPUEdgeLv\x00é", max_size=12)), max_size=4
)


@given(TABLES, EDITS)
def test_a_damaged_table_is_read_without_inventing_names(table: str, edits: list[tuple[int, int, str]]) -> None:
    for at, length, new in edits:
        table = table[:at] + new + table[at + length :]
    rows = [row.partition(":") for row in table.split("\n")]
    for irq, line in interrupts.parse(table).items():
        described = [rest for number, colon, rest in rows if re.fullmatch(f" *0*{irq}", number) and colon]
        assert any(all(name in rest for name in line.handlers) for rest in described)
        assert line.count >= 0 and line.chip


@given(TABLES, st.data())
def test_truncated_table_has_no_name_that_the_whole_one_lacks(table: str, data: st.DataObject) -> None:
    """If a table is truncated at any place, the parser returns no name that the whole table does not have."""
    cut = data.draw(st.integers(0, len(table)))
    whole, part = interrupts.parse(table), interrupts.parse(table[:cut])
    assert {irq: whole.get(irq) for irq in part} == part


# -------------------------------------------------------------------- sysfs


def interrupt(folder: Path, irq: int, **files: str) -> None:
    (folder / str(irq)).mkdir(parents=True)
    for name, text in files.items():
        (folder / str(irq) / name).write_text(f"{text}\n" if text else "")


def test_sysfs_says_what_the_table_leaves_open(tmp_path: Path) -> None:
    """From sysfs, a handler whose name looks like an input and a line without a handler are both read correctly."""
    folder = tmp_path / "sys/kernel/irq"
    interrupt(
        folder, 10, actions="5-edge,eth0", chip_name="XT-PIC", hwirq="10", name="", per_cpu_count="51,2", type="level"
    )
    interrupt(folder, 20, actions="", chip_name="IO-APIC", hwirq="20", name="fasteoi", per_cpu_count="0,0", type="edge")
    lines = System(tmp_path / "sys", tmp_path / "proc").lines()
    assert lines[10] == Line(10, 53, "XT-PIC", ("5-edge", "eth0"), 10, None, "level")
    assert (lines[20].handlers, lines[20].controller) == ((), "IO-APIC 20-fasteoi")


def test_an_interrupt_that_goes_while_it_is_read_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "sys/kernel/irq/31").mkdir(parents=True)
    assert System(tmp_path / "sys", tmp_path / "proc").lines()[31] == Line(31, 0, "None", ())


def test_the_table_is_read_where_sysfs_has_no_interrupts(tmp_path: Path) -> None:
    (tmp_path / "interrupts").write_text("      CPU0\n 10:   51    XT-PIC      eth0, shirq:0000:00:04.0\n")
    assert System(tmp_path / "sys", tmp_path).lines()[10].handlers == ("eth0", "shirq:0000:00:04.0")


@pytest.mark.parametrize(
    ("before", "now", "since"), [(None, 7, 7), (None, None, 0), (3, 10, 7), (99_900, 12, 12), (5, None, 0)]
)
def test_unhandled_interrupts_since_a_sample_outlive_a_new_count(
    before: int | None, now: int | None, since: int
) -> None:
    """The kernel begins a new count after 100,000 interrupts, or after 100 ms without an unhandled one."""
    earlier = Line(20, 5, "IO-APIC", (), unhandled=before)
    assert replace(earlier, count=9, unhandled=now).unhandled_since(earlier) == since
    assert replace(earlier, count=9).interrupts_since(earlier) == 4
    assert earlier.interrupts_since(None) == 5
