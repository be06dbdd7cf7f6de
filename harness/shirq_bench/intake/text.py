# SPDX-License-Identifier: MIT
"""Texts of a report as clean lines: undoes what mail, forums and logs add, and keeps each line's file and number."""

from __future__ import annotations

import html
import lzma
import re
import shutil
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from shirq_bench.errors import BenchError


class NoText(BenchError):
    """A file of a report is missing, empty or not a text."""


@dataclass(frozen=True, order=True)
class At:
    """The place of a fact: a file and the number of a line."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class Stamp:
    """The time of a log line: wall clock as (month, day, hour, minute, second), and seconds since boot as printed."""

    wall: tuple[int, int, int, int, int] | None = None
    up: str | None = None

    @property
    def seconds(self) -> float | None:
        """Seconds since boot."""
        return float(self.up) if self.up else None


@dataclass(frozen=True)
class TextLine:
    """A clean line. `depth` counts the quote marks that were before it, `raw` is the length that it had."""

    text: str
    at: At
    depth: int = 0
    stamp: Stamp | None = None
    raw: int = 0


@dataclass(frozen=True)
class Texts:
    """All lines of a report, and the names of the damage that was undone."""

    lines: tuple[TextLine, ...]
    damage: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    #: The texts as they were: each a name and its text.
    sources: tuple[tuple[str, str], ...] = ()


@dataclass
class _Damage:
    found: dict[str, None] = field(default_factory=dict)

    def note(self, name: str) -> None:
        self.found[name] = None


# ------------------------------------------------------------------ files

#: Files in a folder of a report that are not texts of the reporter.
_NOT_TEXTS: Final = frozenset({".toml", ".json", ".png", ".jpg", ".jpeg", ".gif", ".gz", ".xz", ".zip", ".bz2"})


def read(paths: Iterable[Path]) -> Texts:
    """The clean lines of files; a folder or a tar archive stands for the text files in it. Raises `NoText`."""
    texts: list[tuple[str, str]] = []
    for path in paths:
        if path.is_dir() or (path.is_file() and _is_archive(path)):
            inside = _in_folder(path) if path.is_dir() else _in_archive(path)
            found = [(name, text) for name, data in inside if (text := _decoded(data)) is not None and text.strip()]
            if not found:
                what = "folder" if path.is_dir() else "archive"
                raise NoText(f"{path}: the {what} has no text file; give the files with the report's texts")
            texts += found
            continue
        if not path.exists():
            raise NoText(f"{path}: no such file; give the files with the report's texts")
        text = _decoded(path.read_bytes())
        if text is None:
            raise NoText(f"{path}: this is not a text; save the report as plain text")
        if not text.strip():
            raise NoText(f"{path}: the file is empty; give the files with the report's texts")
        texts.append((str(path), text))
    return replace(clean(texts), sources=tuple(texts))


def save(texts: Texts, folder: Path) -> None:
    """Write the texts, as they were, into a folder that `read` reads again; what the folder had before is deleted."""
    shutil.rmtree(folder, ignore_errors=True)
    # Texts of one folder stay together: the names of `shirq collect` belong to each other.
    parents = list(dict.fromkeys(Path(name).parent for name, _ in texts.sources))
    for name, content in texts.sources:
        path = Path(name)
        kept = path.name if _is_report(Path(path.name)) else f"text{path.name}.txt"
        place = folder / str(parents.index(path.parent) + 1) / kept
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(content, encoding="utf-8")


def _is_report(name: Path) -> bool:
    """Whether the file ``name``, relative to its folder or archive, may be a text of the reporter."""
    hidden = any(part.startswith(".") for part in name.parts)
    return not hidden and name.suffix.lower() not in _NOT_TEXTS


def _in_folder(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and _is_report(path.relative_to(folder)):
            yield str(path), path.read_bytes()


def _is_archive(path: Path) -> bool:
    try:
        return tarfile.is_tarfile(path)
    except (EOFError, zlib.error, lzma.LZMAError):
        return True  # a cut one: `_in_archive` says so


def _in_archive(path: Path) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(path) as archive:
            for member in sorted(archive.getmembers(), key=lambda one: one.name):
                if member.isfile() and _is_report(Path(member.name)):
                    file = archive.extractfile(member)
                    assert file is not None
                    yield f"{path}/{member.name}", file.read()
    except (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise NoText(f"{path}: the archive is damaged ({error}); get it again") from error


def _decoded(data: bytes) -> str | None:
    """The text of a file; None if it is binary."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace")
    if b"\0" in data:
        return None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")
    control = sum(character < " " and character not in "\t\n\r\f\v\b\x1b" for character in text)
    return None if control > max(8, len(text) // 50) else text


# ------------------------------------------------------------------ cleaning


def clean(texts: Sequence[tuple[str, str]]) -> Texts:
    """The clean lines of texts, each given with its file's name."""
    damage = _Damage()
    lines: list[TextLine] = []
    for name, text in texts:
        if "\r\n" in text:
            damage.note("crlf")
        if re.search(r"^ +Control: I/O[+-]", text, re.MULTILINE):
            damage.note("tabs-to-spaces")
        numbered = [(n, one) for n, one in enumerate(re.split(r"\r\n|\n|\r", text), 1)]
        numbered = list(_without_html(_printable(numbered, damage), damage))
        of_file = [_line(name, number, one, damage) for number, one in numbered]
        lines += _unwrapped(of_file, damage)
    return Texts(tuple(lines), tuple(damage.found), tuple(name for name, _ in texts))


_Numbered = tuple[int, str]
_ENCODING = re.compile(r"content-transfer-encoding:\s*([\w-]+)", re.IGNORECASE)
_ENCODED = re.compile(r"(?:=[0-9A-F]{2})+")


def _printable(lines: Sequence[_Numbered], damage: _Damage) -> Iterator[_Numbered]:
    """Undo quoted-printable where a header announces it, or the text cannot be anything else."""
    announced = any(_ENCODING.match(text) for _, text in lines)
    soft = sum(len(text) >= 60 and text.endswith("=") and not text.endswith("==") for _, text in lines)
    signs = sum(bool(re.search(r"=3D|=20$|=E2=80|=C2=A0", text)) for _, text in lines)
    encoded = not announced and (signs >= 2 or (soft >= 1 and signs >= 1))
    start, held = 0, ""
    for number, text in lines:
        if header := _ENCODING.match(text.lstrip("> ")):
            encoded = header[1].lower() == "quoted-printable"
        if not encoded:
            if held:
                yield start, held
            held = ""
            yield number, text
            continue
        start = start if held else number
        body = text.rstrip(" \t")
        if body.endswith("=") and not header:
            damage.note("soft-line-breaks")
            held += body[:-1]
            continue
        whole = held + text
        decoded = _ENCODED.sub(_decode, whole)
        if decoded != whole or held:
            damage.note("quoted-printable")
        held = ""
        yield start, decoded
    if held:
        yield start, _ENCODED.sub(_decode, held)


def _decode(match: re.Match[str]) -> str:
    text = bytes.fromhex(match[0].replace("=", "")).decode("utf-8", errors="replace")
    return re.sub(r"[\r\n]", " ", text)


_BREAK = re.compile(r"<\s*(?:br\s*/?|/p|/div|/tr|/li|/pre)\s*>", re.IGNORECASE)
_CELL = re.compile(r"</t[dh]\s*>", re.IGNORECASE)
#: Tags of HTML; <IRQ>, <EOI>, <TASK> and the addresses of a call trace are none.
_TAG = re.compile(
    r"</?(?:p|pre|code|div|span|a|b|i|u|em|strong|td|tr|th|table|tbody|thead|blockquote|tt|font|html|body|head|title|"
    r"li|ul|ol|h[1-6]|samp|kbd|img|hr|meta|link)(?:\s[^<>]*)?/?>",
    re.IGNORECASE,
)
#: Codes of forums. [B] behind an address is a pin, and [size=4K] is of lspci.
_BBCODE = re.compile(
    r"\[/?(?:code|quote|colou?r|font|spoiler|url|pre|php|img|list)(?:=[^\]\n]*)?\]|\[/size\]|\[size=[^\]\n]*\](?=.*\[/size\])|"
    r"(?<![0-9a-f])\[/?[biu]\](?!\s*->)",
    re.IGNORECASE,
)
_ENTITY = re.compile(r"&(?:lt|gt|quot|amp|nbsp|apos|#\d{1,5}|#x[0-9a-f]{1,4});", re.IGNORECASE)


def _without_html(lines: Iterable[_Numbered], damage: _Damage) -> Iterator[_Numbered]:
    for number, text in lines:
        if "<" in text:
            broken = _CELL.sub("  ", _BREAK.sub("\n", text))
            bare = _TAG.sub("", broken)
            if bare != text:
                damage.note("html")
            text = bare
        if "&" in text:
            plain = html.unescape(html.unescape(text)) if _ENTITY.search(text) else text
            if plain != text:
                damage.note("html-entities")
            text = plain
        if "[" in text and (bare := _BBCODE.sub("", text)) != text:
            damage.note("bbcode-in-code")
            text = bare
        for part in re.split(r"[\r\n]", text):
            yield number, part


_LOOKALIKES = str.maketrans(
    {
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb\u2033", '"'),
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032", "'"),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-"),
        **dict.fromkeys("\u00a0\u2002\u2003\u2007\u2009\u202f\u3000", " "),
        **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u00ad\x0b\x0c\x00", None),
        "\u2026": "...",
    }
)
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
#: A quote mark. lspci's flags >TAbort, >SERR and >Reset may begin a wrapped line.
_QUOTE = re.compile(r"[ \t]{0,3}(?:>|[A-Z]{1,3}>(?= ))(?!TAbort|SERR|Reset|=) ?|\|(?= [^\s+\\|-]) ")


def _line(file: str, number: int, text: str, damage: _Damage) -> TextLine:
    raw = len(text)
    plain = _ANSI.sub("", text).translate(_LOOKALIKES)
    if plain != text and re.search("[\u201c\u201d\u2018\u2019]", text):
        damage.note("typographic-quotes")
    depth = 0
    while depth < 30 and (mark := _QUOTE.match(plain)):
        plain = plain[mark.end() :]
        depth += 1
    if depth:
        damage.note("quoted")
    stamp, plain = _stamped(plain.expandtabs(8))
    return TextLine(plain.rstrip(), At(file, number), depth, stamp, raw)


# ------------------------------------------------------------------ time stamps

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_CLOCK = r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)(?:[.,]\d+)?"
_WALL = re.compile(
    r"(?:<\d+>)?(?:[A-Z][a-z]{2} )?(?P<month>[A-Z][a-z]{2}) +(?P<day>\d{1,2})(?: \d{4})? "
    rf"{_CLOCK}(?: \d{{4}})?(?= )"
    rf"|(?P<year>\d{{4}})-(?P<month2>\d\d)-(?P<day2>\d\d)[T ]"
    rf"{_CLOCK.replace('hour', 'hour2').replace('minute', 'minute2').replace('second', 'second2')}"
    r"(?:Z|[+-]\d\d:?\d\d)?(?= )"
)
#: What follows the time stamp in syslog and in the journal: host, perhaps a facility, and the kernel's tag.
_KERNEL_TAG = re.compile(r"(?: +[\w.-]+){0,2}? +(?:kernel|klogd)(?:\[\d+\])?:(?: |$)")
_REPEATED = re.compile(r" +[\w.-]+ +(?=(?:[\w.-]+(?:\[\d+\])?: )?(?:last )?message repeated \d+ times)")
_LEVEL = re.compile(r"(?:<\d{1,3}>|kern +:[a-z]+ *: ?|kern\.[a-z]+: ?)")
_UP = re.compile(r"\[ {0,9}(?P<up>\d{1,9}\.\d{3,9})\](?:\[ *[TC]\d+\])?(?: |$)")
#: What follows the time stamp of journalctl -o short-monotonic.
_MONOTONIC = re.compile(r"[\w.-]+ kernel: ?")
_UNIX = re.compile(r"\d{9,10}\.\d{6} [\w.-]+ kernel: ?")
_READABLE = re.compile(r"\[([A-Z][a-z]{2} )?(?P<month>[A-Z][a-z]{2}) +(?P<day>\d{1,2}) " + _CLOCK + r" \d{4}\](?: |$)")


def _moment(match: re.Match[str], tail: str = "") -> tuple[int, int, int, int, int] | None:
    month = match["month" + tail]
    if not tail and month.lower() not in _MONTHS:
        return None
    number = int(month) if tail else _MONTHS.index(month.lower()) + 1
    day, hour, minute, second = (int(match[name + tail]) for name in ("day", "hour", "minute", "second"))
    return number, day, hour, minute, second


def _stamped(text: str) -> tuple[Stamp | None, str]:
    """The time before a kernel message, and the message; other lines stay as they are."""
    rest, wall, up = text.lstrip(), None, None
    indented = len(rest) < len(text)
    if match := _WALL.match(rest):
        moment = _moment(match, "2" if match["year"] else "")
        behind = rest[match.end() :]
        if moment and (tag := _KERNEL_TAG.match(behind)):
            wall, rest = moment, behind[tag.end() :]
        elif moment and (said := _REPEATED.match(behind)):
            wall, rest = moment, re.sub(r"^[\w.-]+(?:\[\d+\])?: (?=last|message)", "", behind[said.end() :])
        elif moment and (_UP.match(behind.lstrip()) and behind.startswith(" ")):
            wall, rest = moment, behind.lstrip()
        else:
            return None, text
    elif tag := _UNIX.match(rest):
        return Stamp(), rest[tag.end() :]
    elif tag := re.match(r"(?:[\w.-]+ )?kernel: (?=\[ *\d+\.\d{3,}\])", rest):
        rest = rest[tag.end() :]
    levelled = _LEVEL.match(rest)
    if levelled:
        rest = rest[levelled.end() :]
    if match := _UP.match(rest):
        up, rest = match["up"], rest[match.end() :]
        if tag := _MONOTONIC.match(rest):
            rest = rest[tag.end() :]
    elif match := _READABLE.match(rest):
        wall, rest = _moment(match) or wall, rest[match.end() :]
    if wall is None and up is None:
        if levelled:
            return Stamp(), rest
        return None, text if indented else rest
    return Stamp(wall, up), rest


# ------------------------------------------------------------------ wrapped lines

#: A line from here on was wrapped if it was wrapped at all.
_WRAPPED_FROM: Final = 50
#: The beginnings of lines that continue no other line.
_BEGINNING = re.compile(
    r"\s*(?:$|irq \d+|Disabling IRQ|handlers:|\[<|[0-9A-Z]{1,5}:|CPU\d|Call Trace|"
    r"(?:[0-9a-f]{4}:)?[0-9a-f]{2}:[0-9a-f]{2}\.|"
    r"[-*=#$`~<+|]|\[\.\.|\(\.\.|\.\.\.|\(snip|\[snip|last message|[A-Z][\w -]{2,30}: )"
)


def _unwrapped(lines: Sequence[TextLine], damage: _Damage) -> Iterator[TextLine]:
    """Put the rest of a stamped line, which has no stamp of its own, back behind it."""
    held: TextLine | None = None
    for line in lines:
        if (
            held
            and line.stamp is None
            and held.raw >= _WRAPPED_FROM
            and line.depth == held.depth
            and not _BEGINNING.match(line.text)
        ):
            damage.note("wrapped-lines")
            held = replace(held, text=f"{held.text} {line.text.strip()}", raw=line.raw)
            continue
        if held:
            yield held
        held = line if line.stamp and (line.stamp.up or line.stamp.wall) else None
        if not held:
            yield line
    if held:
        yield held


def is_cut_number(text: str, following: str) -> bool:
    """Return true if the number at the end of a line may have been wrapped: the next line is only digits."""
    return bool(re.search(r"\d$", text)) and bool(re.fullmatch(r"\s*\d{1,6}\W*", following))
