# SPDX-License-Identifier: MIT
"""The symptoms of reports: each that the texts show, no other, whatever the order of the texts."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import comparing
from shirq_bench.intake import join, symptoms, text
from shirq_bench.intake.report import Report

#: The line that each report is about, its symptoms, and the signs of its machine. What is not here is unknown.
SHOWN = {
    "acer-z68-2011": (16, "died=yes moment=late", "bridge !many !silent !slept"),
    "asus-p8z68-2013": (19, "died=yes moment=late lines=several", "bridge !many !silent !slept"),
    "dl580-timer-card-2021": (
        16,
        "died=yes again=yes moment=start lines=several late-handler=yes",
        "moved !many !silent !slept",
    ),
    "ich5-two-kernels-2004": (18, "died=yes", "bridge moved !many !silent"),
    "madeup-c216": (
        18,
        "died=yes again=yes moment=late uncovered=yes asserter=idle-driver total=some",
        "bridge !messages !many !silent !slept",
    ),
    "madeup-p45": (
        18,
        "died=yes again=yes moment=resume uncovered=no asserter=nobody total=some",
        "!bridge !messages !many !silent slept",
    ),
    "madeup-q67": (
        18,
        "died=yes moment=late uncovered=yes asserter=undriven total=some",
        "bridge !messages !many !silent !slept",
    ),
    "madeup-q87": (
        16,
        "died=yes moment=late uncovered=yes asserter=messages total=some",
        "!bridge messages !many !silent !slept",
    ),
    "mkosi-18-names-2023": (21, "total=some crowded=yes", "many !silent"),
    "openvox-vfio-2015": (16, "refused=vfio", "!messages !many"),
    "te220-not-detected-2024": (16, "died=no total=zero", "!many silent"),
    "twenty-tulips-2006": (17, "died=yes lines=several uncovered=yes", "bridge !many !silent"),
}

LOG = """\
[  100.000000] irq 18: nobody cared (try booting with the "irqpoll" option)
[  100.000001] handlers:
[  100.000002] [<00000000aaaaaaaa>] e1000_intr [e1000]
[  100.000003] Disabling IRQ #18
"""
#: Of `shirq collect` on a machine without lspci.
FUNCTION = """\
0000:03:00.0 0200: 8086:107c (rev 05)
\tInterrupt: pin A routed to IRQ 18
\tKernel driver in use: e1000
00: 86 80 7c 10 07 00 30 02 05 00 00 02 00 00 00 00
30: 00 00 00 00 00 00 00 00 00 00 00 00 0a 01 00 00
"""


def told(report: Report) -> tuple[int, str, str]:
    line = symptoms.focus(report)
    assert line
    words = " ".join(f"{key}={word}" for key, word in symptoms.of_report(report, line).items() if word)
    signs = " ".join(
        f"{'' if sign else '!'}{key}" for key, sign in symptoms.signs_of(report, line).items() if sign is not None
    )
    return line.irq, words, signs


def of(*texts: tuple[str, str]) -> dict[str, str | None]:
    report = join.report(text.clean(texts))
    line = symptoms.focus(report)
    assert line
    return symptoms.of_report(report, line)


@pytest.mark.parametrize("name", comparing.names())
def test_a_report_shows_its_symptoms_and_no_other(name: str) -> None:
    assert told(join.report(text.read([comparing.REPORTS / name]))) == SHOWN[name]


def test_a_death_alone_shows_nothing_else() -> None:
    assert {key: word for key, word in of(("log", LOG)).items() if word} == {"died": "yes", "moment": "late"}


def test_nothing_is_hidden_in_a_guest() -> None:
    report = join.report(text.clean([("log", LOG)]))
    (line,) = report.lines
    words = symptoms.of_guest(report, line)
    assert (words["again"], words["lines"], words["refused"]) == ("no", "one", "no")
    assert words["asserter"] is None, "a guest without configuration space has not been looked at"


def test_status_of_each_function_shows_that_nobody_asserts() -> None:
    assert of(("log", LOG), ("lspci", FUNCTION))["asserter"] == "nobody"
    second = FUNCTION.replace("03:00.0", "03:01.0").replace("\n00: ", "\n40: ")
    assert of(("log", LOG), ("lspci", FUNCTION + "\n" + second))["asserter"] is None


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        pytest.param(FUNCTION, "handled", id="handled"),
        pytest.param(FUNCTION.replace(": e1000", ": card"), "idle-driver", id="idle driver"),
        pytest.param(re.sub(r"\tKernel driver.*\n", "", FUNCTION), "undriven", id="undriven"),
        pytest.param(
            FUNCTION.replace("\tKernel", "\tCapabilities: [50] MSI: Enable+ Count=1/1 Maskable- 64bit+\n\tKernel"),
            "messages",
            id="MSI",
        ),
    ],
)
def test_an_asserting_function_is_told_by_its_driver(function: str, kind: str) -> None:
    assert of(("log", LOG), ("lspci", function.replace("30 02", "38 02")))["asserter"] == kind


@pytest.mark.parametrize(("more", "flood"), [(60_000, "yes"), (900, "no")])
def test_two_tables_of_collect_show_a_flood(more: int, flood: str) -> None:
    def table(count: int) -> str:
        return f"           CPU0\n 18: {count:10}   IO-APIC  18-fasteoi   eth0\n"

    names = ("archive/interrupts.txt", "archive/interrupts-10s-later.txt")
    assert of(*zip(names, (table(5), table(5 + more)), strict=True))["flood"] == flood
    assert of(("monday.txt", table(5)), ("tuesday.txt", table(5 + more)))["flood"] is None


def test_a_refused_driver_is_told_from_vfio() -> None:
    message = "[   50.000000] genirq: Flags mismatch irq 18. 00000000 ({}) vs. 00000080 (eth0)\n"
    table = ("table", "           CPU0\n 18:         12   IO-APIC  18-fasteoi   eth0\n")
    assert of(table, ("log", message.format("card")))["refused"] == "driver"
    assert of(table, ("log", message.format("vfio-intx(0000:03:00.0)")))["refused"] == "vfio"
    assert of(table)["refused"] is None


def test_a_function_of_another_kernels_table_is_not_uncovered() -> None:
    """It may well be on another line in this kernel: that is a sign of moved routes, not of a missing handler."""
    report = join.report(text.read([comparing.REPORTS / "dl580-timer-card-2021"]))
    line = symptoms.focus(report)
    assert line and report.suspects
    assert symptoms.of_report(report, line)["uncovered"] is None
    assert symptoms.signs_of(report, line)["moved"]


def shuffled(name: str, content: str, choices: random.Random) -> str:
    """A text with the parts in another order that have none: a table's rows, and lspci's functions."""
    if name.startswith("interrupts"):
        head, *rows = content.splitlines(keepends=True)
        choices.shuffle(rows)
        return head + "".join(rows)
    if name.startswith("lspci") and "tree" not in name:
        blocks = re.split(r"\n\s*\n", content.strip("\r\n"))
        choices.shuffle(blocks)
        return "\n\n".join(blocks) + "\n"
    return content


@pytest.mark.parametrize("name", comparing.names())
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1 << 32))
def test_the_order_of_texts_changes_nothing(name: str, seed: int) -> None:
    choices = random.Random(seed)
    paths = sorted(path for path in (comparing.REPORTS / name).iterdir() if path.suffix != ".toml")
    choices.shuffle(paths)
    texts = [(path.name, shuffled(path.name, path.read_bytes().decode(errors="replace"), choices)) for path in paths]
    assert told(join.report(text.clean(texts))) == SHOWN[name]


def test_texts_are_kept_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name, content in (("a/interrupts.txt", "one\r\n> two"), ("a/log.json", "three"), ("b", "four")):
        (tmp_path / name).write_bytes(content.encode())
    paths = [tmp_path / "a/interrupts.txt", tmp_path / "a/log.json", tmp_path / "b"]
    text.save(text.read(paths), tmp_path / "kept")
    again = text.read([tmp_path / "kept"])
    assert [line.text for line in again.lines] == [line.text for line in text.read(paths).lines]
    assert {Path(name).name for name in again.files} == {"interrupts.txt", "textlog.json.txt", "b"}
