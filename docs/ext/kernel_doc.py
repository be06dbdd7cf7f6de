# SPDX-License-Identifier: MIT
"""Sphinx extension: documents a C header of the module's interface from its comments.

    ```{kernel-doc} ../../kmod/shirq.h
    ```

Each kernel-doc comment becomes a section with the members and the declaration. Other comments and constants are shown
unchanged, so that nothing of the header is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sphinx.application import Sphinx

_BLOCK = re.compile(r"^```\{kernel-doc\} (\S+)\n```$", re.MULTILINE)
_COMMENT = re.compile(r"/\*\*\n(?P<doc>.*?)\*/\n(?P<code>.*?^\};$)", re.MULTILINE | re.DOTALL)
_ERRNO = re.compile(r" {2,}(?P<name>E[A-Z0-9]+)\s*(?P<text>.*)")


@dataclass
class Item:
    """One documented struct or enum."""

    name: str
    summary: str
    members: dict[str, str] = field(default_factory=dict)
    #: The paragraphs of the comment, unchanged.
    text: list[str] = field(default_factory=list)
    code: str = ""


def _lines(comment: str) -> list[str]:
    """A comment's lines without their asterisks."""
    return [re.sub(r"^ \* ?", "", line).rstrip() for line in comment.splitlines()]


def parse(text: str) -> tuple[str, list[Item | str]]:
    """The text of a header's first comment; its documented items and the text between them, in order."""
    first = re.search(r"^/\*\n(.*?)^ \*/$", text, re.MULTILINE | re.DOTALL)
    assert first, "a header must begin with a comment that describes its purpose"
    parts: list[Item | str] = []
    place = first.end()
    for found in _COMMENT.finditer(text, place):
        parts.append(text[place : found.start()].strip("\n"))
        parts.append(_item(_lines(found["doc"]), found["code"]))
        place = found.end()
    parts.append(text[place:].strip("\n"))
    return "\n".join(_lines(first[1])), [part for part in parts if part]


def _item(lines: list[str], code: str) -> Item:
    name, _, summary = lines[0].partition(" - ")
    item = Item(name, summary, code=code)
    number = 1
    while number < len(lines) and lines[number].startswith("@"):
        member, _, text = lines[number].removeprefix("@").partition(": ")
        number += 1
        while number < len(lines) and re.match(r"[ \t]+\S", lines[number]):
            text += " " + lines[number].strip()
            number += 1
        item.members[member] = text
    item.text = re.split(r"\n{2,}", "\n".join(lines[number:]).strip("\n"))
    item.text = [paragraph for paragraph in item.text if paragraph]
    return item


def _markdown(text: str) -> str:
    """A text of a comment as Markdown; names of the interface become code."""
    text = re.sub(r"([\\*_<>\[\]#|])", r"\\\1", text)
    code = r"@?\b(?:(?:struct|enum) )?(?:SHIRQ|shirq|CAP)(?:\\_\w*)+(?:\\\*)?(?:\.\w+)?|@\w+(?:\\_\w+)*|\b\w+\(\)"
    return re.sub(code, lambda found: f"`{found[0].replace(chr(92), '').removeprefix('@')}`", text)


def prose(paragraph: str) -> Iterator[str]:
    """A comment's paragraph as Markdown; its list of errors becomes a list of definitions."""
    plain: list[str] = []
    errors: list[list[str]] = []
    for line in paragraph.splitlines():
        if found := _ERRNO.match(line):
            errors.append([found["name"], found["text"]])
        elif errors and re.match(r" {3,}\S", line):
            errors[-1][1] += " " + line.strip()
        else:
            if errors:
                yield from _errors(errors)
                errors = []
            plain.append(line)
            continue
        if plain:
            yield _markdown("\n".join(plain))
            plain = []
    if plain:
        yield _markdown("\n".join(plain))
    yield from _errors(errors)


def _errors(errors: list[list[str]]) -> Iterator[str]:
    if errors:
        yield "\n\n".join(f"`{name}`\n: {_markdown(text.strip() or 'as usual')}" for name, text in errors)


def reference(text: str) -> str:
    """The header's reference as Markdown."""
    about, parts = parse(text)
    result: list[str] = []
    for paragraph in re.split(r"\n{2,}", about):
        result += prose(paragraph)
    for part in parts:
        if isinstance(part, str):
            result.append(f"```c\n{part}\n```")
            continue
        result.append(f"## {part.name.replace('_', chr(92) + '_')}")
        result.append(_markdown(part.summary[0].upper() + part.summary[1:]) + ".")
        result += [f"`{member}`\n: {_markdown(about)}" for member, about in part.members.items()]
        for paragraph in part.text:
            result += prose(paragraph)
        result.append(f"```c\n{part.code}\n```")
    return "\n\n".join(result) + "\n"


def _read(app: Sphinx, docname: str, source: list[str]) -> None:
    def content(found: re.Match[str]) -> str:
        _, file = app.env.relfn2path(found[1], docname)
        app.env.note_dependency(file, docname=docname)
        return reference(Path(file).read_text())

    source[0] = _BLOCK.sub(content, source[0])


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", _read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
