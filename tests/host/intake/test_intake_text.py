# SPDX-License-Identifier: MIT
"""Damage of mails, forums and logs is undone, and every line keeps its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from shirq_bench.intake import text
from shirq_bench.intake.text import NoText, Stamp, TextLine


def clean(*lines: str) -> list[TextLine]:
    return [*text.clean([("file", "\n".join(lines))]).lines]


def words(*lines: str) -> list[str]:
    return [line.text for line in clean(*lines)]


@pytest.mark.parametrize(
    ("damaged", "plain"),
    [
        ("> > irq 18: nobody cared", "irq 18: nobody cared"),
        (">> irq 18", "irq 18"),
        ("JD> irq 18", "irq 18"),
        (">TAbort- <TAbort-", ">TAbort- <TAbort-"),
        ("irq 18 \u201cirqpoll\u201d", 'irq 18 "irqpoll"'),
        ("I/O\u2212 Mem+", "I/O- Mem+"),
        ("a&nbsp;&lt;IRQ&gt;", "a <IRQ>"),
        ("&amp;lt;IRQ&amp;gt;", "<IRQ>"),
        ("<b>irq</b> 18 <IRQ> <TASK>", "irq 18 <IRQ> <TASK>"),
        ("[code]irq 18[/code]", "irq 18"),
        ("[SIZE=2]irq 18[/SIZE]", "irq 18"),
        ("[size=64K]", "[size=64K]"),
        ("00:00:1f[B] -> 2-17 -> IRQ 17", "00:00:1f[B] -> 2-17 -> IRQ 17"),
        ("\x1b[31mirq 18\x1b[0m", "irq 18"),
        ("a\tb", "a       b"),
    ],
)
def test_a_damaged_line_is_restored(damaged: str, plain: str) -> None:
    assert words(damaged) == [plain]


@pytest.mark.parametrize(
    ("line", "stamp", "said"),
    [
        ("[   12.345678] handlers:", Stamp(None, "12.345678"), "handlers:"),
        ("[   12.345678][    C1] handlers:", Stamp(None, "12.345678"), "handlers:"),
        ("<4>[   12.345678] handlers:", Stamp(None, "12.345678"), "handlers:"),
        ("kern  :err   : [   12.345678] handlers:", Stamp(None, "12.345678"), "handlers:"),
        ("Mar  2 07:58:01 box kernel: handlers:", Stamp((3, 2, 7, 58, 1)), "handlers:"),
        ("Mar 12 07:58:01 box kernel: [  9.123456] handlers:", Stamp((3, 12, 7, 58, 1), "9.123456"), "handlers:"),
        ("Sat Mar 12 07:58:01 2022 kern.warn kernel: [  9.123456] x", Stamp((3, 12, 7, 58, 1), "9.123456"), "x"),
        ("2024-01-05T10:11:12.123456+01:00 box kernel: x", Stamp((1, 5, 10, 11, 12)), "x"),
        ("2024-01-05 10:11:12 box kernel[0]: x", Stamp((1, 5, 10, 11, 12)), "x"),
        ("[Fri Jan  5 10:20:00 2024] x", Stamp((1, 5, 10, 20, 0)), "x"),
        (
            "Feb 28 10:40:37 box last message repeated 2 times",
            Stamp((2, 28, 10, 40, 37)),
            "last message repeated 2 times",
        ),
        (
            "Feb 28 10:40:37 box sshd[3]: irq 18: nobody cared",
            None,
            "Feb 28 10:40:37 box sshd[3]: irq 18: nobody cared",
        ),
        ("Feb 28 is a day", None, "Feb 28 is a day"),
    ],
)
def test_a_time_before_a_message_is_taken_off(line: str, stamp: Stamp | None, said: str) -> None:
    (found,) = clean(line)
    assert (found.stamp, found.text) == (stamp, said)


def test_quoted_printable_lines_are_joined_and_keep_their_place() -> None:
    found = clean("Content-Transfer-Encoding: quoted-printable", "", "> irq 16: nobo=", "dy cared =3D", "last")
    assert [(line.text, line.at.line) for line in found[2:]] == [("irq 16: nobody cared =", 3), ("last", 5)]


def test_quoted_printable_is_seen_without_its_header() -> None:
    long = "x" * 70
    assert words(f"{long}=", "y", "a =3D b") == [f"{long}y", "a = b"]


@pytest.mark.parametrize("line", ["DEVSEL=fast =", "a=20", "timeout=3D"])
def test_an_equals_sign_is_not_taken_for_an_encoding(line: str) -> None:
    assert words(line, "next") == [line, "next"]


def test_a_wrapped_message_is_one_line() -> None:
    found = clean(
        "[10139.274938] irq 16: nobody cared (try booting with the \u201cirqpoll\u201d",
        "option)",
        "[10139.274950] handlers:",
        "",
        "prose",
    )
    assert [line.text for line in found] == [
        'irq 16: nobody cared (try booting with the "irqpoll" option)',
        "handlers:",
        "",
        "prose",
    ]


def test_a_short_message_does_not_take_the_next_line() -> None:
    assert words("[   12.345678] Disabling IRQ #18", "Any idea?") == ["Disabling IRQ #18", "Any idea?"]


def test_breaks_of_a_page_are_ends_of_lines() -> None:
    assert [(line.text, line.at.line) for line in clean("a<br>b<br/>c", "d")] == [
        ("a", 1),
        ("b", 1),
        ("c", 1),
        ("d", 2),
    ]


# ------------------------------------------------------------------ files


def test_a_folder_is_all_its_text_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("irq 18\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b").write_text("irq 19\n")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\0")
    (tmp_path / "core").write_bytes(b"\0\1\2")
    (tmp_path / ".hidden").write_text("irq 20\n")
    assert [Path(name).name for name in text.read([tmp_path]).files] == ["a.txt", "b"]


def test_texts_in_other_encodings_are_read(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes("Gerät irq 18".encode("latin-1"))
    (tmp_path / "wide").write_bytes("irq 19".encode("utf-16"))
    assert [line.text for line in text.read([tmp_path]).lines] == ["Gerät irq 18", "irq 19"]


@pytest.mark.parametrize(
    ("name", "contents", "message"),
    [
        ("missing", None, "no such file"),
        ("empty", b" \n", "the file is empty"),
        ("binary", b"ELF\0\0\1", "this is not a text"),
        ("control", bytes(range(1, 32)) * 4, "this is not a text"),
    ],
)
def test_a_file_that_is_no_report_is_refused(tmp_path: Path, name: str, contents: bytes | None, message: str) -> None:
    path = tmp_path / name
    if contents is not None:
        path.write_bytes(contents)
    with pytest.raises(NoText, match=f"{name}: {message}"):
        text.read([path])


def test_a_folder_without_texts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NoText, match="the folder has no text file"):
        text.read([tmp_path])
