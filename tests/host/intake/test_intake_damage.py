# SPDX-License-Identifier: MIT
"""Reports that are damaged at random: the importer never fails, and no line, function or death is invented.

SHIRQ_INTAKE_EXAMPLES=10000 tries as many damaged reports; with `make fuzz-examples` they are others each time.
"""

from __future__ import annotations

import functools
import html
import json
import os
import quopri
import random
import re
import textwrap
import tomllib
from collections.abc import Callable, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

import comparing
from shirq_bench.intake import join, output, rebuild, text
from shirq_bench.vm.machine import Machine

EXAMPLES = int(os.environ.get("SHIRQ_INTAKE_EXAMPLES", "80"))
#: A damaged report has no more lines, so that an example is quick.
MOST_LINES = 220

Lines = list[str]


@functools.cache
def texts(name: str) -> tuple[str, ...]:
    """The texts of a report, as they are."""
    files = sorted(path for path in (comparing.REPORTS / name).iterdir() if path.suffix != ".toml")
    return tuple(path.read_text(errors="replace") for path in files)


# ------------------------------------------------------------------ damage


def cut(lines: Lines, chance: random.Random) -> Lines:
    begin = chance.randrange(len(lines) + 1)
    return lines[:begin] + lines[begin + chance.randrange(1, 40) :]


def truncate(lines: Lines, chance: random.Random) -> Lines:
    width = chance.randrange(4, 90)
    return [line[:width] for line in lines]


def wrap(lines: Lines, chance: random.Random) -> Lines:
    width = chance.randrange(20, 100)
    return [part for line in lines for part in (textwrap.wrap(line, width, drop_whitespace=False) or [""])]


def wrap_hard(lines: Lines, chance: random.Random) -> Lines:
    width = chance.randrange(20, 100)
    return [line[n : n + width] for line in lines for n in range(0, max(len(line), 1), width)]


def quote(lines: Lines, chance: random.Random) -> Lines:
    mark = chance.choice(["> ", ">", "> > ", ">>> ", "JD> "])
    begin = chance.randrange(len(lines) + 1)
    return lines[:begin] + [mark + line for line in lines[begin:]]


def shuffle(lines: Lines, chance: random.Random) -> Lines:
    shuffled = [*lines]
    chance.shuffle(shuffled)
    return shuffled


def printable(lines: Lines, chance: random.Random) -> Lines:
    head = chance.choice([[], ["Content-Transfer-Encoding: quoted-printable", ""]])
    return head + quopri.encodestring("\n".join(lines).encode(errors="replace")).decode().split("\n")


def noise(lines: Lines, chance: random.Random) -> Lines:
    words = [
        "irq",
        "IRQ",
        "16",
        "18:",
        "nobody cared",
        "#",
        "0000:00:1f.2",
        "handlers:",
        "CPU0",
        "->",
        "[",
        "]",
        "Status:",
    ]
    noisy = [*lines]
    for _ in range(chance.randrange(1, 30)):
        noisy.insert(chance.randrange(len(noisy) + 1), " ".join(chance.choices(words, k=chance.randrange(1, 8))))
    return noisy


def drop_columns(lines: Lines, chance: random.Random) -> Lines:
    begin = chance.randrange(60)
    end = begin + chance.randrange(1, 30)
    return [line[:begin] + line[end:] for line in lines]


def garble(lines: Lines, chance: random.Random) -> Lines:
    characters = [*"\n".join(lines)]
    for _ in range(min(len(characters), chance.randrange(1, 200))):
        characters[chance.randrange(len(characters))] = chr(
            chance.choice([*range(32, 127), 9, 10, 13, 0xE4, 0x201C, 0xFFFD])
        )
    return "".join(characters).split("\n")


def as_page(lines: Lines, chance: random.Random) -> Lines:
    escaped = [html.escape(line) for line in lines]
    return ["<pre>" + "<br>".join(escaped) + "</pre>"] if chance.randrange(2) else escaped


def collapse(lines: Lines, chance: random.Random) -> Lines:
    return [" ".join(line.split()) for line in lines]


def carriage_returns(lines: Lines, chance: random.Random) -> Lines:
    return [f"{line}\r" for line in lines]


def twice(lines: Lines, chance: random.Random) -> Lines:
    begin = chance.randrange(len(lines) + 1)
    return lines + [f"> {line}" for line in lines[begin : begin + 60]]


DAMAGE: Sequence[Callable[[Lines, random.Random], Lines]] = (
    cut, truncate, wrap, wrap_hard, quote, shuffle, printable, noise, drop_columns, garble, as_page, collapse,
    carriage_returns, twice,
)  # fmt: skip


def damaged(names: list[str], kinds: list[int], seed: int) -> str:
    """A part of the texts of these reports, one after the other, with damage of these kinds."""
    chance = random.Random(seed)
    lines = [line for name in names for one in texts(name) for line in one.split("\n")]
    begin = chance.randrange(max(1, len(lines) - MOST_LINES))
    lines = lines[begin : begin + MOST_LINES]
    for kind in kinds:
        lines = DAMAGE[kind](lines, chance)
    return "\n".join(lines)


# ------------------------------------------------------------------ what must hold


def plain(damaged_text: str) -> str:
    """The text, and the text without the codes of mails and pages, in which a number may be whole again."""
    soft = re.sub(r"=[ \t]*\r?\n", "", damaged_text)
    decoded = quopri.decodestring(soft.encode(errors="replace")).decode(errors="replace")
    bare = decoded
    for _ in range(4):  # a page may be quoted in a page
        bare = html.unescape(re.sub(r"</?[a-z]+ ?/?>", " ", bare))
    unmarked = re.sub(r"^(?:[ \t]*(?:[A-Z]{1,3})?>)+", "", bare, flags=re.MULTILINE)
    return "\n".join([unmarked, damaged_text, decoded, html.unescape(html.unescape(decoded)), bare])


def names_line(irq: int, where: str) -> bool:
    """Return true if the text has this number as one of a line."""
    between = r"[\s>#]*(?:line|number)?[\s>#]*"
    as_word = rf"(?:irq|interrupt|irq event){between}{irq}(?!\d)"
    return bool(re.search(rf"{as_word}|(?<!\d){irq}:|(?<!\d){irq}</t|(?<!\d){irq}/\w", where, re.IGNORECASE))


@settings(max_examples=EXAMPLES)
@given(
    names=st.lists(st.sampled_from(comparing.names()), min_size=1, max_size=2),
    kinds=st.lists(st.integers(0, len(DAMAGE) - 1), max_size=4),
    seed=st.integers(0, 1 << 32),
)
def test_nothing_is_invented_from_damaged_texts(names: list[str], kinds: list[int], seed: int) -> None:
    one = damaged(names, kinds, seed)
    report = join.report(text.clean([("damaged", one)]))
    found = output.data(report)
    assert json.loads(json.dumps(found)) == found
    where = plain(one)
    for line in found["line"]:
        irq = line["irq"]
        assert names_line(irq, where), f"line {irq} is not in the text"
        head, tail = rf"irq[\s>]*{irq}:[\s>]*nobody", rf"Disabling[\s>]+IRQ[\s>]*#?{irq}(?!\d)"
        assert line["given_up"] <= len(re.findall(f"{head}|{tail}", where, re.IGNORECASE))
        assert line.get("total") is None or line.get("total", 0) >= 0
    buses = set(re.findall(r"\[(?:[0-9a-f]{4}:)?([0-9a-f]{2})(?:-[0-9a-f]{2})?\]", where))
    for device in found["device"]:
        if address := device.get("address"):
            bus, slot = address.split(":")[-2:]
            assert address in where.lower() or (bus in buses and slot in where), f"{address} is not in the text"
        if "irq" in device:
            assert names_line(device["irq"], where), f"IRQ {device['irq']} is not in the text"
    for number in found["not_level"]:
        assert names_line(number, where)
    assert list(output.text(report))
    built = rebuild.build(report)
    assert Machine.from_data(tomllib.loads(built.text)) == built.machine


@settings(max_examples=EXAMPLES)
@given(st.text(max_size=400))
def test_any_text_is_read(anything: str) -> None:
    assert output.data(join.report(text.clean([("any", anything)])))["format"] == 1


@settings(max_examples=EXAMPLES)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_as_text(data: bytes) -> None:
    anything = data.decode("latin-1")
    assert output.data(join.report(text.clean([("any", anything)])))["format"] == 1
