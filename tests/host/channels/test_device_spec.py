# SPDX-License-Identifier: MIT
"""The tables of qemu-device/SPEC.md say what the device's tables in C say, and what the bench knows of them."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from shirq_bench.campaigns import fuzz
from shirq_bench.channels.log import Kind
from shirq_bench.observe.words import SETTINGS
from shirq_bench.paths import QEMU_DEVICE

SPEC = (QEMU_DEVICE / "SPEC.md").read_text()
NANOSECONDS = 10**10


def code(name: str) -> str:
    kind = "hw/misc" if name.endswith(".c") else "include/hw/misc"
    return (QEMU_DEVICE / "overlay" / kind / name).read_text()


def table(head: str) -> list[list[str]]:
    """The rows of SPEC.md's table that has this first row, each as its cells."""
    (rows,) = re.findall(rf"(?m)^{re.escape(head)}.*\n\|[-| ]+\|\n((?:\|.*\n)+)", SPEC)
    return [[cell.strip() for cell in row[1:-1].split("|")] for row in rows.splitlines()]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def between(text: str, start: str, end: str) -> str:
    _, found, rest = text.partition(start)
    assert found, start
    return rest.partition(end)[0]


# -- settings -------------------------------------------------------------------------------------------------------


def numbers(text: str) -> tuple[int, int, bool]:
    """The least and the greatest number of a cell such as ``0, 100 to 10^10``, and whether 0 is allowed besides."""
    found = re.fullmatch(r"(0, )?(\d+) to (10\^10|ffffffffh)", text)
    assert found, text
    return int(found[2]), {"10^10": NANOSECONDS, "ffffffffh": 0xFFFFFFFF}[found[3]], bool(found[1])


def settings_in_c() -> Iterator[tuple[str, tuple[object, ...]]]:
    """Yield each property in the order of its number: its name; its values and its default."""
    source = code("shirq-settings.c")
    order = re.findall(r"SHIRQ_SET_(\w+),", between(code("shirq-settings.h"), "typedef enum", "SHIRQ_SETTINGS"))
    for label in order:
        entry = between(source, f"[SHIRQ_SET_{label}] = {{", "},\n")
        (name,) = re.findall(r'^\s*"([a-z-]+)"', entry)
        fields = dict(re.findall(r"\.(\w+) = (\w+)", entry))
        choices = (
            ["off", "on"]
            if ".names = off_on" in entry
            else re.findall(r'"([^"]+)"', between(f"{entry} CHOICE(", "CHOICE(", ")"))
        )
        value = int(fields.get("reset", "0"))
        if choices:
            yield name, (set(choices), choices[value])
            continue
        limit = {"MAX_NS": NANOSECONDS, "UINT32_MAX": 0xFFFFFFFF}[fields["max"]]
        least = {"MIN_STORM_NS": 100}.get(fields.get("min", "0")) or int(fields.get("min", "0"))
        yield name, (least, limit, "or_zero" in fields, value)


def test_the_settings_are_those_of_the_device() -> None:
    described: list[tuple[str, tuple[object, ...]]] = []
    for number, name, values, default, *_ in table("| no. | property |"):
        assert int(number) == len(described)
        if names(values):
            described.append((name.strip("`"), (set(names(values)), default.strip("`"))))
        else:
            described.append((name.strip("`"), (*numbers(values), int(default))))
    assert described == list(settings_in_c())


def test_the_bench_names_each_setting_by_its_number() -> None:
    assert tuple(name for name, _ in settings_in_c()) == SETTINGS


def test_the_fuzzer_sets_each_setting() -> None:
    assert {name for name, _ in settings_in_c()} == fuzz.FAULTS.keys() - {"raise", "lower"}


# -- registers ------------------------------------------------------------------------------------------------------


def expand(words: list[str]) -> set[str]:
    """The words, with all of ``scratch0`` to ``scratch7`` for these two."""
    found = {word.partition("=")[0] for word in words}
    return found | {f"scratch{n}" for n in range(8)} if "scratch0" in found else found


def test_the_words_are_those_of_the_language() -> None:
    source = between(code("shirq-regs.c"), "} words[] = {", "\n};")
    known = set(re.findall(r'\{ "(\w+)"', source))
    cells = [row[0] for head in ("| word | meaning |", "| word | shows |") for row in table(head)]
    described = expand(
        [word for cell in cells for word in (names(cell) or re.findall(r"\w+\d?", cell)) if word != "to"]
    )
    assert described | {"enable"} == known
    message = re.sub(r'"\s*\\\n\s*"', "", between(code("shirq-regs.c"), "#define WORD_NAMES", "\n\n"))
    assert expand(re.findall(r"[a-z]+\d?", message.replace(" to ", " "))) == known


def test_the_behaviours_are_those_of_the_language() -> None:
    described = {name for row in table("| BEHAVIOUR | meaning |") for name in names(row[0])}
    message = between(code("shirq-regs.c"), "#define BEHAVIOUR_NAMES", "\n\n")
    assert described == set(re.findall(r"=?[\w=]+", message)) - {"\\"}
    source = between(code("shirq-regs.c"), "} writes[] = {", "\n};")
    assert set(re.findall(r'\{ "(\w+)"', source)) < described


def presets() -> dict[str, str]:
    found = re.findall(r'(?s)\{ "([\w-]+)",\n(.*?)BENCH \},', code("shirq-presets.c"))
    return dict(found)


def test_the_presets_are_those_of_the_device() -> None:
    rows = table("| preset | needs |")
    assert [names(row[0])[0] for row in rows] == list(presets())
    assert tuple(presets()) == fuzz.PRESETS


@pytest.mark.parametrize(
    "row", [row for row in table("| preset | needs |") if names(row[0]) != ["edu"]], ids=lambda r: r[0]
)
def test_a_preset_has_the_registers_of_its_row(row: list[str]) -> None:
    """The offsets in SPEC.md are those in C: numbers with an h, one of them with a stride for n from 0 to 3."""
    text = row[2]
    described = set()
    for base, stride in re.findall(r"\b([0-9a-f]+)h \+ ([0-9a-f]+)h n", text):
        described |= {int(base, 16) + n * int(stride, 16) for n in range(4)}
    described |= {int(n, 16) for n in re.findall(r"(?:bar\d\+|at |to the doorbell |to )([0-9a-f]{3,4})h", text)}
    in_c = {int(n, 16) for n in re.findall(r"bar\d\+(0x[0-9a-f]+)/", presets()[names(row[0])[0]])}
    in_c |= {int(n, 16) for n in re.findall(r'AHCI_PORT\("\d+", "(0x[0-9a-f]+)"', presets()[names(row[0])[0]])}
    in_c |= {
        int(n, 16) for n in re.findall(r'AHCI_PORT\("\d+", "0x[0-9a-f]+", "(0x[0-9a-f]+)"', presets()[names(row[0])[0]])
    }
    assert described == in_c


# -- log and schedule -----------------------------------------------------------------------------------------------


def test_the_kinds_of_entries_are_those_of_the_log() -> None:
    described = {int(number): name for number, name, *_ in table("| kind | name |")}
    in_c = {int(n): name for name, n in re.findall(r"SHIRQ_LOG_(\w+) = (\d+),", code("shirq-log.h"))}
    assert described == in_c == {kind.value: kind.name for kind in Kind}


def test_the_actions_are_those_of_schedules() -> None:
    order = re.findall(r"SHIRQ_DO_(\w+),", between(code("shirq-schedule.h"), "typedef enum", "SHIRQ_ACTIONS"))
    source = between(code("shirq-schedule.c"), "} actions[SHIRQ_ACTIONS] = {", "\n};")
    in_c = {
        label: (name, int(words))
        for label, name, words in re.findall(r'SHIRQ_DO_(\w+)\] = \{ "([\w-]+)", (\d)', source)
    }
    described = [names(row[1])[0].split() for row in table("| no. | action |")]
    assert [(words[0], len(words) - 1) for words in described] == [in_c[label] for label in order]
    assert [int(row[0]) for row in table("| no. | action |")] == list(range(len(order)))
    message = re.sub(r'"\s*\\\n\s*"', "", between(source and code("shirq-schedule.c"), "#define ACTION_NAMES", "\n\n"))
    assert [word.split()[0] for word in re.findall(r'[a-z][^,"]*', message)] == [words[0] for words in described]
