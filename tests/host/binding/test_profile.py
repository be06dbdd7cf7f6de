# SPDX-License-Identifier: MIT
"""Profile files: their contents, their error messages, the choice of a profile for a function, and lint."""

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
        ("[programs]", '[uio]\nname = ""\n[programs]', 'name = ""', "a name or version of a UIO device has 1 to 63"),
        ("[programs]", '[uio]\nunmask = "poll"\n[programs]', "unmask", "'poll': it must be one of write, read"),
    ],
)
def test_error_names_file_line_mistake_and_remedy(old: str, new: str, at: str | None, problem: str) -> None:
    """The error for a bad profile contains the file, the line, the mistake and the expected form."""
    assert old in GOOD
    text = GOOD.replace(old, new, 1)
    if at is None:
        at = "    write MASK, r1\n    read r1, mask"
    # The error for a missing key has the first line of the key's table.
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

MASKED_TEST = ("    skip_if_zero r0, end\n", "    load r2, r0\n    and r2, 0x4\n    skip_if_zero r2, end\n")
MASKS_STATUS = ("bits = 16\nendian", 'bits = 16\nmasks = "STATUS"\nendian')
ACKNOWLEDGES = ('"masks"', '"acknowledges"')
ACK = (
    "[programs]",
    '[registers.ACK]\nat = "bar0+0x18"\nbits = 16\naccess = "write-only"\nclears = "STATUS"\n[programs]',
)
READ_ONLY = ("STATUS = { at", 'STATUS = { access = "read-only", at')
MASKING = ('unmask = "', 'mask = "load r1, 0xffff\\nwrite MASK, r1\\nread r1, MASK"\nunmask = "')

#: For each rule: changes (old, new) of the good profile that violate the rule, and the line that lint must report.
WRONG: dict[str, tuple[list[tuple[str, str]], str]] = {
    "claim-clears": ([("STATUS = { at", 'STATUS = { access = "clear-on-read", at'), MASKED_TEST], "read r0, STATUS"),
    "claim-masks": ([("STATUS = { at", 'STATUS = { access = "mask-on-read", at')], "read r0, STATUS"),
    "claim-blind": ([("    skip_if_zero r0, end\n", "")], "    claim"),
    "claim-never": ([("    skip_if_zero r0, end\n", "    shr r0, 32\n    skip_if_zero r0, end\n")], "    claim"),
    "claim-narrow": ([MASKED_TEST, MASKS_STATUS], "read r0, STATUS"),
    "claim-without-silence": ([("    write MASK, r1\n    read r1, mask", "")], "    claim"),
    "touch-unclaimed": (
        [("    skip_if_zero r0, end\n", "    write MASK, r0\n    skip_if_zero r0, end\n")],
        "write MASK, r0",
    ),
    "gone-unasked": ([(", gone_if_ones", "")], "    claim"),
    "acknowledge-misses": ([READ_ONLY, ACKNOWLEDGES], "    claim"),
    "acknowledge-unseen": ([READ_ONLY, ACKNOWLEDGES, ACK, ("    write MASK", "    write ACK")], "    write ACK, r1"),
    "masks-nothing": (
        [
            (
                "    load r1, 0xffff\n    write MASK, r1\n    read r1, mask",
                "    load r1, 0\n    write MASK, r1\n    read r1, mask",
            )
        ],
        "    write MASK, r1\n",
    ),
    "posted-write": ([("    read r1, mask", "")], "    write MASK, r1\n"),
    "release-leaves": ([('release = """load r1, 0xffff\n    write MASK, r1', 'release = """load r1, 0')], "release ="),
    "release-enables": (
        [('release = """load r1, 0xffff', 'release = """load r1, 0')],
        '    write MASK, r1\n    read r1, MASK"""',
    ),
    "unmask-elsewhere": ([('nwrite MASK, r1"', 'nwrite MASK, r1\\nwrite STATUS, r1"')], "unmask ="),
    "unmask-misses": ([('nwrite MASK, r1"', 'nwrite STATUS, r1"')], "unmask ="),
    "unmask-acknowledges": (
        [READ_ONLY, ACK, ('nwrite MASK, r1"', 'nwrite MASK, r1\\nload r1, 1\\nwrite ACK, r1"')],
        "unmask =",
    ),
    "mask-misses": ([MASKING, ('mask = "load r1, 0xffff\\nwrite MASK, r1', 'mask = "load r1, 0xffff')], "mask ="),
    "mask-stays": (
        [MASKING, ('mask = "load r1, 0xffff\\n', 'mask = "load r1, 0xffff\\nwrite STATUS, r1\\n')],
        "mask =",
    ),
    "index-kept": ([("bits = 16\n", 'bits = 16\naccess = "index"\n')], "    write MASK, r1\n"),
    "index-chosen": (
        [
            (
                "STATUS = { at",
                'SELECT = { at = "bar0+0", bits = 8, access = "index" }\nSTATUS = { index = "SELECT", at',
            )
        ],
        "read r0, STATUS",
    ),
    "read-of-write-only": ([("bits = 16\n", 'bits = 16\naccess = "write-only"\n')], "read r1, mask"),
    "write-of-read-only": ([("bits = 16\n", 'bits = 16\naccess = "read-only"\n')], "    write MASK, r1\n"),
    "other-form": ([("    write MASK, r1\n", "    write16 bar0+0x14, r1\n")], "    write16 bar0+0x14"),
    "undeclared": ([("    read r1, mask", "    read32 r1, bar0+0x40")], "    read32 r1"),
    "value-cut": ([("    load r1, 0xffff\n", "    load r1, 0x1fffe\n")], "    write MASK, r1\n"),
}


def changed(edits: list[tuple[str, str]]) -> str:
    text = GOOD
    for old, new in edits:
        assert old in text
        text = text.replace(old, new, 1)
    return text


def test_the_good_profile_has_no_finding() -> None:
    assert lint.lint(read(GOOD)) == []


@pytest.mark.parametrize("rule", [rule.id for rule in lint.RULES])
def test_each_rule_finds_its_mistake_on_its_line(rule: str) -> None:
    edits, at = WRONG[rule]
    text = changed(edits)
    card = read(text)
    assert card.refusal() is None
    found = [each for each in lint.lint(card) if each.rule == rule]
    assert [each.line for each in found][:1] == [line_in(text, at)]
    assert lint.explain(rule)


#: Correct changes of the good profile that look like mistakes: the rule that must not report them, and the changes.
RIGHT = {
    "every source that unmask lets assert is looked at": (
        "claim-narrow",
        [
            MASKS_STATUS,
            ("    skip_if_zero r0, end\n", "    load r2, r0\n    and r2, 0xffff\n    skip_if_zero r2, end\n"),
        ],
    ),
    "two tests look at every source": (
        "claim-narrow",
        [
            MASKS_STATUS,
            (
                "    skip_if_zero r0, end\n",
                "    load r2, r0\n    and r2, 0xff\n    skip_if_not_zero r2, ours\n"
                "    load r2, r0\n    and r2, 0xff00\n    skip_if_zero r2, end\nours:\n",
            ),
        ],
    ),
    "the sources that are looked at are those that the mask register lets assert": (
        "claim-narrow",
        [
            MASKS_STATUS,
            (
                "    skip_if_zero r0, end\n",
                "    read r3, MASK\n    load r2, r0\n    and r2, r3\n    skip_if_zero r2, end\n",
            ),
        ],
    ),
    "zeros that are written to a register of the kind write-1-to-set unmask nothing": (
        "claim-narrow",
        [MASKS_STATUS, MASKED_TEST, ('masks = "STATUS"', 'masks = "STATUS"\naccess = "write-1-to-set"')],
    ),
    "unmask leaves the other sources masked": (
        "claim-narrow",
        [MASKS_STATUS, MASKED_TEST, ('unmask = "load r1, 0', 'unmask = "load r1, 0xfffb')],
    ),
    "nothing is lost where a read that clears returned 0": (
        "claim-clears",
        [("STATUS = { at", 'STATUS = { access = "clear-on-read", at')],
    ),
    "what clears is read once the claim is certain": (
        "claim-clears",
        [
            ("[programs]", '[registers.CAUSE]\nat = "bar0+0x20"\nbits = 8\naccess = "clear-on-read"\n[programs]'),
            ("    claim\n", "    read r2, CAUSE\n    claim\n"),
        ],
    ),
    "irq acknowledges through a register that clears the status": (
        "unmask-misses",
        [READ_ONLY, ACK, ("    claim\n", "    claim\n    write ACK, r0\n")],
    ),
    "irq acknowledges in the status": (
        "unmask-misses",
        [
            ("STATUS = { at", 'STATUS = { access = "write-1-to-clear", at'),
            ("    claim\n", "    claim\n    write STATUS, r0\n"),
        ],
    ),
    "an acknowledgement need not be released": (
        "release-leaves",
        [READ_ONLY, ACK, ("    claim\n", "    claim\n    write ACK, r0\n")],
    ),
    "what was read is acknowledged": (
        "acknowledge-unseen",
        [READ_ONLY, ACKNOWLEDGES, ACK, ("    claim\n", "    claim\n    write ACK, r0\n")],
    ),
    "the claim is acknowledged by a register that clears the status": (
        "acknowledge-misses",
        [READ_ONLY, ACKNOWLEDGES, ACK, ("    claim\n", "    claim\n    write ACK, r0\n")],
    ),
    "irq and unmask change different bits of one register": (
        "masks-nothing",
        [
            ("    load r1, 0xffff\n", "    read r1, MASK\n    or r1, 0x40\n"),
            ('unmask = "load r1, 0', 'unmask = "read r1, MASK\\nand r1, 0xffbf'),
        ],
    ),
    "unmask puts back what irq has kept": (
        "masks-nothing",
        [
            ("[programs]", '[registers.SCRATCH]\nat = "bar0+0x20"\nbits = 16\nendian = "big"\n[programs]'),
            ("    load r1, 0xffff\n", "    read r2, MASK\n    write SCRATCH, r2\n    load r1, 0xffff\n"),
            ('unmask = "load r1, 0', 'unmask = "read r1, SCRATCH'),
        ],
    ),
    "the interrupt-disable bit releases": (
        "release-leaves",
        [('release = """load r1, 0xffff\n    write MASK, r1', 'release = """load r1, 4\n    write8 config+5, r1')],
    ),
    "the interrupt-disable bit masks": (
        "mask-misses",
        [MASKING, ('mask = "load r1, 0xffff\\nwrite MASK, r1', 'mask = "load r1, 4\\nwrite8 config+5, r1')],
    ),
    "all ones fill a register of any width": ("value-cut", [("    load r1, 0xffff\n", "    load r1, -1\n")]),
    "a part of a register that is declared": (
        "other-form",
        [
            ("[programs]", '[registers.LOW]\nat = "bar0+0x10"\nbits = 8\n[programs]'),
            ("    claim\n", "    read r3, LOW\n    claim\n"),
        ],
    ),
}


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_right_is_not_found(name: str) -> None:
    rule, edits = RIGHT[name]
    card = read(changed(edits))
    assert card.refusal() is None
    assert rule not in [each.rule for each in lint.lint(card)]


def test_a_register_that_keeps_what_irq_found_is_no_mask() -> None:
    """If irq saves the mask in a scratch register and unmask writes it back, lint does not take that one for a mask."""
    _, edits = RIGHT["unmask puts back what irq has kept"]
    assert lint.lint(read(changed(edits))) == []
    edits = [*edits[:2], ('unmask = "load r1, 0', 'unmask = "read r1, SCRATCH\\nload r1, 0')]
    found = {(each.rule, each.register) for each in lint.lint(read(changed(edits)))}
    assert found == {("unmask-misses", "SCRATCH"), ("release-leaves", "SCRATCH")}


def test_cleared_disintx_bit_silences_nothing() -> None:
    """A release program that clears DisINTx instead of setting it silences nothing."""
    release = ('release = """load r1, 0xffff\n    write MASK, r1', 'release = """load r1, 0\n    write8 config+5, r1')
    assert "release-leaves" in [each.rule for each in lint.lint(read(changed([release])))]


# ------------------------------------------------------------- allowances


def test_an_allowance_is_for_its_place_alone() -> None:
    """An allowance for a scratch register must not hide the same finding for an enable register."""
    scratch = [
        ("[programs]", '[registers.SCRATCH]\nat = "bar0+0x20"\nbits = 16\n[programs]'),
        ("    load r1, 0xffff\n    write MASK", "    load r1, 0xffff\n    write SCRATCH, r1\n    write MASK"),
        ('unmask = "load r1, 0\\nwrite MASK, r1"', 'unmask = "load r1, 0"'),
    ]
    allow = '\n[[allow]]\nrule = "unmask-misses"\nregister = "SCRATCH"\nreason = "it is memory"\n'
    text = changed(scratch)
    assert {each.register for each in lint.lint(read(text)) if each.rule == "unmask-misses"} == {"SCRATCH", "MASK"}
    assert [each.register for each in lint.lint(read(text + allow)) if each.rule == "unmask-misses"] == ["MASK"]
    both = allow.replace('"SCRATCH"', '["SCRATCH", "MASK"]')
    assert [each.rule for each in lint.lint(read(text + both))] == ["release-leaves"]
    # An allowance for another program than that of the finding has no effect.
    elsewhere = [each.rule for each in lint.lint(read(text + allow + 'program = "release"\n'))]
    assert elsewhere.count("unmask-misses") == 2 and "allow-idle" in elsewhere


def test_a_finding_about_no_register_is_allowed_in_its_program() -> None:
    allow = '\n[[allow]]\nrule = "gone-unasked"\nprogram = "irq"\nreason = "it cannot be pulled"\n'
    assert lint.lint(read(GOOD.replace(", gone_if_ones", "") + allow)) == []


@pytest.mark.parametrize(
    ("allow", "text"),
    [
        ('rule = "gone-unasked"\nprogram = "irq"', "gone-unasked is allowed in irq and finds nothing there"),
        ('rule = "posted-write"\nregister = "MASK"', "posted-write is allowed for MASK and finds nothing there"),
        (
            'rule = "release-leaves"\nprogram = "release"',
            "release-leaves is allowed in release and finds nothing there that is about no register: "
            "write register = one of MASK",
        ),
    ],
)
def test_what_is_allowed_in_vain_is_told(allow: str, text: str) -> None:
    card = changed([('release = """load r1, 0xffff\n    write MASK, r1', 'release = """load r1, 0xffff')])
    card += f'\n[[allow]]\n{allow}\nreason = "why not"\n'
    (idle,) = (each for each in lint.lint(read(card)) if each.rule == "allow-idle")
    assert (idle.text, idle.line) == (text, line_in(card, 'rule = "'))


@pytest.mark.parametrize(
    ("allow", "problem"),
    [
        ("", "gone-unasked would be allowed in the whole profile: write the place that it is for, register = "),
        ('register = "MASC"', "register has 'MASC': it may have STATUS, MASK"),
        ('register = ["MASK", 7]', "register has 7: it may have STATUS, MASK"),
        ("register = []", "gone-unasked would be allowed in the whole profile"),
        ('program = "exec"', "program = 'exec': it must be one of irq, unmask, release, mask"),
    ],
)
def test_an_allowance_without_a_place_says_what_to_write(allow: str, problem: str) -> None:
    with pytest.raises(ProfileError) as caught:
        read(f'{GOOD}\n[[allow]]\nrule = "gone-unasked"\nreason = "it cannot be pulled"\n{allow}\n')
    assert problem in str(caught.value)


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


def test_program_with_too_many_runs_is_examined_in_part() -> None:
    """If a program has too many runs (paths), lint examines only a part of them."""
    irq = "read16 r0, bar0\nload r1, r0\n" + "shr r1, 1\nskip_if_zero r1, +1\nadd r2, 0\n" * 20
    assert finds("gone-unasked", irq="load r2, 0\n" + irq + "claim")


@pytest.mark.parametrize(("access", "found"), [("clear-on-read", False), ("read-only", True)])
def test_what_is_acknowledged_by_reading_it_needs_no_write(access: str, found: bool) -> None:
    text = GOOD.replace("    write MASK, r1\n    read r1, mask", "").replace('"masks"', '"acknowledges"')
    text = text.replace("STATUS = { at", f'STATUS = {{ access = "{access}", at')
    assert found == ("claim-without-silence" in [each.rule for each in lint.lint(read(text))])


#: Mistakes in the profiles of real cards: the profile, the changed text, the new text, and the rule that must report
#: it.
BREAKAGE = [
    ("pcnet", r"back:\n    write RAP, r1", "back:\n    load r1, 0", "index-kept"),
    (
        "pcnet",
        r"    load r2, 0\n    write RAP, r2                   # CSR0\n    read",
        "    load r2, 0\n    read",
        "index-chosen",
    ),
    ("rtl8139", r"    and r2, r1", "    and r2, 0x7f", "claim-narrow"),
    ("e1000", r"    read r1, IMS", "    load r1, 0x80", "claim-narrow"),
    ("ne2000", r"    and r0, 0x3f", "    and r0, 0x1f", "claim-narrow"),
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
    assert count == 1, "the profile no longer has the text that this test changes"
    found = [each for each in lint.lint(profile.parse(text, str(path))) if each.rule == rule]
    assert found and found[0].line


def test_a_profile_says_how_the_card_is_a_uio_device() -> None:
    uio = '[uio]\nname = "mrf-pci"\nversion = "2"\nunmask = "read"\n[programs]'
    assert read(GOOD.replace("[programs]", uio, 1)).uio == profile.Uio("mrf-pci", "2", unmask_by_read=True)
    assert read(GOOD).uio == profile.Uio(read(GOOD).name, "0", unmask_by_read=False)
