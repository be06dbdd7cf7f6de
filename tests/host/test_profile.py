# SPDX-License-Identifier: MIT
"""Profiles as files: what is read from them, how errors are told, which one fits a function, and what lint finds."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shirq import ProgramSet, lint, profile, tomllines
from shirq.abi import Mode, ProgramKind
from shirq.profile import Profile, ProfileError
from shirq.program import Place

GOOD = '''
name = "card"
title = "A card"
source = "its datasheet"
mode = "masks"

[[match]]
vendor = 0x1234
device = 0x1
[[match]]
vendor = 0x1234
subsystem_device = 0x7

[bars]
bar0 = { kind = "memory", size = 0x100 }
bar1 = { kind = "port", size = 16 }

[registers]
STATUS = { at = "bar0+0x10", bits = 32 }
[registers.MASK]
at = "bar0+0x14"
bits = 16
endian = "big"

[programs]
irq = """
    read r0, STATUS, gone_if_ones
    skip_if_zero r0, end
    claim

    load r1, 0xffff
    write MASK, r1
    read r1, mask
"""
unmask = "load r1, 0\\nwrite MASK, r1"
release = """load r1, 0xffff
    write MASK, r1
    read r1, MASK"""
'''


def read(text: str) -> Profile:
    return profile.parse(text, "/etc/card.toml")


def line_in(text: str, needle: str) -> int:
    return text[: text.index(needle)].count("\n") + 1


def test_a_profile_names_registers_and_its_programs_use_them() -> None:
    card = read(GOOD)
    assert card.places == {"status": Place(0, 0x10, 4), "mask": Place(0, 0x14, 2, big_endian=True)}
    assert card.programs == ProgramSet.from_text(
        irq="read32 r0, bar0+0x10, gone_if_ones\nskip_if_zero r0, end\nclaim\nload r1, 0xffff\n"
        "write16 bar0+0x14, r1, big_endian\nread16 r1, bar0+0x14, big_endian",
        unmask="load r1, 0\nwrite16 bar0+0x14, r1, big_endian",
        release="load r1, 0xffff\nwrite16 bar0+0x14, r1, big_endian\nread16 r1, bar0+0x14, big_endian",
    )
    assert card.ports == {1} and card.refusal() is None


def test_every_operation_has_its_line_in_the_file() -> None:
    card = read(GOOD)
    lines = GOOD.splitlines()
    told = [lines[card.line_of(ProgramKind.IRQ, index) - 1].strip() for index in range(6)]
    assert told == [
        "read r0, STATUS, gone_if_ones",
        "skip_if_zero r0, end",
        "claim",
        "load r1, 0xffff",
        "write MASK, r1",
        "read r1, mask",
    ]
    assert "load r1" in lines[card.line_of(ProgramKind.RELEASE, 0) - 1]
    assert lines[card.line_of(ProgramKind.RELEASE, 99) - 1].strip() == 'read r1, MASK"""'


@pytest.mark.parametrize(
    ("old", "new", "at", "problem"),
    [
        ('mode = "masks"', 'mode = "hides"', "mode =", "mode = 'hides': it must be one of masks, acknowledges"),
        ('mode = "masks"', "", 'name = "', "a profile lacks 'mode': write mode = \"text\""),
        ('mode = "masks"', 'mode = "masks', 'mode = "masks', "this is no TOML"),
        ('title = "A card"', "title = 7", "title =", 'title = 7: it must be "text"'),
        ('title = "A card"', 'title = "A"\ncolour = 1', "colour", "a profile has no key 'colour': it has name, title"),
        ('name = "card"', 'name = "other"', "name =", "it must be 'card', as the file is called"),
        ("device = 0x1\n", "device = 0x10000\n", "device =", "device = 0x10000: it must be a number from 0 to 0xffff"),
        ("device = 0x1\n", "dev = 1\n", "dev =", "[match] has no key 'dev': it has vendor, device, subsystem_vendor"),
        ("bits = 32", "bits = 24", "STATUS =", "bits = 24: it must be one of 8, 16, 32, 64"),
        ("bar0+0x14", "bar6+0x14", 'at = "bar6', "at = 'bar6+0x14': it must be an address such as"),
        ('endian = "big"', 'endian = "middle"', "endian =", "endian = 'middle': it must be one of little, big"),
        ('endian = "big"', 'access = "w1c"', "access =", "access = 'w1c': it must be one of read-write, read-only"),
        ('endian = "big"', 'clears = "MAX"', "clears =", "clears = 'MAX': it must be one of STATUS, MASK"),
        ('endian = "big"', 'index = "STATUS"', "index =", 'that register needs access = "index"'),
        ("[registers.MASK]", "[registers.claim]", "[registers.claim]", "no register can be called 'claim'"),
        ("[registers.MASK]", "[registers.status]", "[registers.status]", "'status' and 'STATUS' differ in case alone"),
        ("bar1 = {", "bar6 = {", "bar6 =", "there is no BAR 'bar6': write bar0 to bar5"),
        ('kind = "port"', 'kind = "io"', "bar1 =", "kind = 'io': it must be one of memory, wide, port"),
        ("    claim\n", "    clam\n", "    clam", "irq program: 'clam' is no operation"),
        ("write MASK, r1\n    read r1, mask", "write MASC, r1", "MASC", "there is no register 'masc': the profile has"),
        ("0x14", "0x100", None, "irq program, operation 4: the access ends past the end of the space"),
        ("load r1, 0\\nwrite", "write", "unmask =", "on some path the register is read before it is written"),
        (
            "[programs]",
            '[quiesce]\nrungs = ["ftl"]\n[programs]',
            "rungs",
            "rungs has 'ftl': it may have d3hot, flr, bus",
        ),
    ],
)
def test_an_error_names_the_file_the_line_what_is_wrong_and_what_is_right(
    old: str, new: str, at: str | None, problem: str
) -> None:
    assert old in GOOD
    text = GOOD.replace(old, new, 1)
    if at is None:
        at = "    write MASK, r1\n    read r1, mask"
    # What lacks is told on the first line of its table.
    line = 1 if at == 'name = "' else line_in(text, at)
    with pytest.raises(ProfileError) as caught:
        refusal = read(text).refusal()
        if refusal:
            raise refusal
    assert problem in str(caught.value)
    assert str(caught.value).startswith(f"/etc/card.toml:{line}: ")


def test_the_profile_that_fits_most_ids_is_found(tmp_path: Path) -> None:
    (tmp_path / "card.toml").write_text(GOOD)
    exact = GOOD.replace('"card"', '"exact"').replace("device = 0x1\n", "device = 0x1\nsubsystem_vendor = 0x9\n")
    (tmp_path / "exact.toml").write_text(exact)
    ids = {"vendor": 0x1234, "device": 1, "subsystem_vendor": 9, "subsystem_device": 0, "class_code": 0}

    def found(**changes: int) -> str | None:
        card = profile.find({**ids, **changes}, tmp_path)
        return card.name if card else None

    assert found() == "exact"
    assert found(subsystem_vendor=8) == "card"
    assert found(device=2, subsystem_device=7) == "card"
    assert found(device=2) is None and found(vendor=1) is None


def test_the_example_in_the_readme_is_right() -> None:
    readme = (profile.folder().resolve().parent / "README.md").read_text()
    block = re.search(r"```toml\n(.*?)```", readme, re.DOTALL)
    assert block
    card = profile.parse(block[1], "rtl8139.toml")
    assert card.refusal() is None and lint.lint(card) == []
    broken = profile.parse(re.sub(r"    read r3, IntrMask .*\n", "", block[1]), "rtl8139.toml")
    (found,) = lint.lint(broken)
    assert f"rtl8139.toml:{found.line}: {found.rule}: irq: {found.text}" in readme


def test_a_class_alone_finds_a_profile_of_the_binding() -> None:
    card = profile.find({"vendor": 0x9999, "device": 0, "class_code": 0x010601})
    assert card is not None and card.name == "ahci"


# ------------------------------------------------------------------ lines

keys = st.text("abc", min_size=1, max_size=2)


@given(
    st.lists(
        st.tuples(st.sampled_from(["x = 1", 't = """\na\n\n[b]\nc = 2\n"""', "l = [\n 1,\n # ]\n]"]), keys), max_size=6
    )
)
def test_keys_of_tables_are_found_on_their_lines(parts: list[tuple[str, str]]) -> None:
    text, expected = "", {}
    for number, (statement, key) in enumerate(parts):
        text += f"# comment = 1\n[{key}{number}]\n\n"
        expected[(f"{key}{number}", statement[0])] = text.count("\n") + 1
        text += f"{statement}\n"
    found = tomllines.line_numbers(text)
    assert {path: found[path] for path in expected} == expected


def test_the_tables_of_an_array_are_told_apart() -> None:
    found = tomllines.line_numbers("a.b = 1\n[[m]]\nx = 1\n[[m]]\nx = 2\ny = { z = 3 }\n[m.sub]\nw = 1")
    assert found["a", "b"] == 1
    assert (found["m", 0, "x"], found["m", 1, "x"], found["m", 1, "y", "z"]) == (3, 5, 6)
    assert found["m", 1, "sub", "w"] == 8


# ------------------------------------------------------------------- lint

#: What is changed in the good profile (old, new), the rule that must find it, and the line that must be told.
WRONG = {
    "claim-clears": ("STATUS = { at", 'STATUS = { access = "clear-on-read", at', "read r0, STATUS"),
    "claim-masks": ("STATUS = { at", 'STATUS = { access = "mask-on-read", at', "read r0, STATUS"),
    "claim-blind": ("    skip_if_zero r0, end\n", "", "    claim"),
    "claim-without-silence": ("    write MASK, r1\n    read r1, mask", "", "    claim"),
    "touch-unclaimed": (
        "    skip_if_zero r0, end\n",
        "    write MASK, r0\n    skip_if_zero r0, end\n",
        "write MASK, r0",
    ),
    "gone-unasked": (", gone_if_ones", "", "    claim"),
    "posted-write": ("    read r1, mask", "", "    write MASK, r1\n"),
    "release-leaves": ('release = """load r1, 0xffff\n    write MASK, r1', 'release = """load r1, 0', "release ="),
    "unmask-elsewhere": ('nwrite MASK, r1"', 'nwrite MASK, r1\\nwrite STATUS, r1"', "unmask ="),
    "unmask-misses": ('nwrite MASK, r1"', 'nwrite STATUS, r1"', "unmask ="),
    "index-kept": ("bits = 16\n", 'bits = 16\naccess = "index"\n', "    write MASK, r1\n"),
    "index-chosen": (
        "STATUS = { at",
        'SELECT = { at = "bar0+0", bits = 8, access = "index" }\nSTATUS = { index = "SELECT", at',
        "read r0, STATUS",
    ),
    "read-of-write-only": ("bits = 16\n", 'bits = 16\naccess = "write-only"\n', "read r1, mask"),
    "write-of-read-only": ("bits = 16\n", 'bits = 16\naccess = "read-only"\n', "    write MASK, r1\n"),
}


def test_the_good_profile_has_no_finding() -> None:
    assert lint.lint(read(GOOD)) == []


@pytest.mark.parametrize("rule", [rule.id for rule in lint.RULES])
def test_each_rule_finds_its_mistake_on_its_line(rule: str) -> None:
    old, new, at = WRONG[rule]
    assert old in GOOD
    text = GOOD.replace(old, new, 1)
    found = [each for each in lint.lint(read(text)) if each.rule == rule]
    assert [each.line for each in found][:1] == [line_in(text, at)]
    assert lint.explain(rule)


def test_a_finding_that_is_allowed_is_not_told_and_one_allowed_in_vain_is() -> None:
    allow = '\n[[allow]]\nrule = "gone-unasked"\nreason = "it cannot be pulled"\n'
    assert lint.lint(read(GOOD.replace(", gone_if_ones", "") + allow)) == []
    (idle,) = lint.lint(read(GOOD + allow))
    assert (idle.rule, idle.line) == ("allow-idle", line_in(GOOD + allow, 'rule = "gone'))


def finds(rule: str, *, irq: str, unmask: str = "load r0, 0\nwrite16 bar0, r0", mode: Mode = Mode.MASKS) -> bool:
    release = "load r0, 0\nwrite16 bar0, r0\nread16 r0, bar0"
    programs = ProgramSet.from_text(irq=textwrap.dedent(irq), unmask=unmask, release=release, mode=mode)
    return rule in [each.rule for each in lint.lint_set(programs)]


def test_a_run_that_contradicts_itself_is_none() -> None:
    irq = """
        read16 r0, bar0, gone_if_ones
        skip_if_zero r0, +1
        claim
        {change}
        skip_if_zero r0, end
        write16 bar0, r0
        read16 r1, bar0
    """
    assert not finds("touch-unclaimed", irq=irq.format(change="load r1, 1"))
    assert finds("touch-unclaimed", irq=irq.format(change="load r0, 1"))


def test_a_program_with_more_runs_than_can_be_looked_at_is_looked_at_in_part() -> None:
    irq = "read16 r0, bar0\nload r1, r0\n" + "shr r1, 1\nskip_if_zero r1, +1\nadd r2, 0\n" * 20
    assert finds("gone-unasked", irq="load r2, 0\n" + irq + "claim")


@pytest.mark.parametrize(("access", "found"), [("clear-on-read", False), ("read-only", True)])
def test_what_is_acknowledged_by_reading_it_needs_no_write(access: str, found: bool) -> None:
    text = GOOD.replace("    write MASK, r1\n    read r1, mask", "").replace('"masks"', '"acknowledges"')
    text = text.replace("STATUS = { at", f'STATUS = {{ access = "{access}", at')
    assert found == ("claim-without-silence" in [each.rule for each in lint.lint(read(text))])


#: Mistakes put into the profiles of real cards: the file, what is changed, and the rule that must find it.
BREAKAGE = [
    ("pcnet", r"back:\n    write RAP, r1", "back:\n    load r1, 0", "index-kept"),
    (
        "pcnet",
        r"    load r2, 0\n    write RAP, r2                   # CSR0\n    read",
        "    load r2, 0\n    read",
        "index-chosen",
    ),
    ("ne2000", r"back:\n    write CR, r4", "back:\n    load r4, 0", "index-kept"),
    ("ne2000", r"    skip_if_zero r0, back", "    skip_if_zero r0, end", "index-kept"),
    ("e1000", r"    read r3, STATUS .*\n", "", "posted-write"),
    ("nvme", r"    read r1, INTMS .*\n\"\"\"\nunmask", '"""\nunmask', "posted-write"),
    ("ahci", r"    write GHC, r1\n    read r1, GHC .*\n\"\"\"\n\Z", '"""\n', "release-leaves"),
    ("uhci", r"    write USBINTR, r0\n    write USBCMD", "    write USBCMD", "release-leaves"),
    ("rtl8139", r"    write IntrMask, r0\n\"\"\"\nrelease", '    write IntrStatus, r0\n"""\nrelease', "unmask-misses"),
]


@pytest.mark.parametrize(("name", "old", "new", "rule"), BREAKAGE)
def test_a_mistake_in_a_real_cards_profile_is_found(name: str, old: str, new: str, rule: str) -> None:
    path = profile.folder() / f"{name}.toml"
    text, count = re.subn(old, new, path.read_text(), count=1)
    assert count == 1, "the profile no longer has what this test breaks"
    found = [each for each in lint.lint(profile.parse(text, str(path))) if each.rule == rule]
    assert found and found[0].line
