# SPDX-License-Identifier: MIT
"""Every promise has a test: the sentences of the module's documents, their tests, and the mutants that break them.

``tests/promises.toml`` has

    [documents]      a short name for each document, and its path
    [promise.NAME]   under the documents' short names, quotes: pieces of the sentences that say it, wherever they do;
                     ``tests``: pytest's ids, without parameters; ``mutants``: names of tests/mutants. Where there is
                     nothing, ``why_no_test`` and ``why_no_mutant`` give the reason
    [no_promise]     under the documents' short names, quotes of sentences that promise nothing: explanations
    no_mutant_yet    promises that could have a mutant and have none so far

A sentence ends at a full stop or a semicolon; a row of a table and a block of code are one each. Of C, the comments
count: each member of a kernel-doc comment and each error number of a list is a sentence, which begins with the struct's
name and with what leads the list in; a comment behind code begins with that code. White space, ``**`` and the frames of
comments do not matter. A quote must be in one sentence alone; a sentence may have several.

`shirq promises` prints the errors, the open points and the figures.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shirq_bench.campaigns.mutants import mutant
from shirq_bench.campaigns.mutants.mutant import Mutant
from shirq_bench.errors import BenchError

#: Below the checkout.
FILE = Path("tests/promises.toml")

_SENTENCE_END = re.compile(r"(?<=[.?!])\s+(?=[A-Z@`\"'(\[]|\w+\(\))|;\s+")
_COMMENT = re.compile(r"^(?P<code>[^\n]*?)/\*(?P<kernel_doc>\*?)(?P<text>.*?)\*/", re.MULTILINE | re.DOTALL)
_MEMBER = re.compile(r"@\w+:")
_ERROR = re.compile(r"  E[A-Z0-9]{2,}(\s|$)")


@dataclass(frozen=True)
class Promise:
    """``quotes`` are by document."""

    name: str
    quotes: dict[str, tuple[str, ...]]
    tests: tuple[str, ...] = ()
    mutants: tuple[str, ...] = ()
    why_no_test: str = ""
    why_no_mutant: str = ""


@dataclass(frozen=True)
class Register:
    """The contents of the file."""

    documents: dict[str, Path]
    promises: tuple[Promise, ...]
    no_promise: dict[str, tuple[str, ...]]
    no_mutant_yet: tuple[str, ...]


# ---------------------------------------------------------------- sentences


def _plain(text: str) -> str:
    return " ".join(text.replace("**", "").split())


def sentences_of_c(text: str) -> list[str]:
    """The sentences of the comments of C code."""
    found = []
    for comment in _COMMENT.finditer(text):
        lines = [re.sub(r"^\s*\* ?", "", line) for line in comment["text"].strip().splitlines()]
        subject = lines[0].split(" - ")[0] if comment["kernel_doc"] else comment["code"]
        found += [_named(subject, sentence) for sentence in _of_comment(lines)]
    return found


def _of_comment(lines: list[str]) -> Iterator[str]:
    part: list[str] = []
    name = lead = ""
    for line in lines:
        error, member = _ERROR.match(line), _MEMBER.match(line)
        goes_on = line.startswith(" ") if lead else line.strip()
        if error or member or not goes_on:
            done = [_named(name, sentence) for sentence in _split(part)]
            part = []
            if error and not lead and done:
                lead = done.pop()
            elif not error:
                lead = ""
            name = f"{lead} {error[0]}" if error else member[0] if member else ""
            yield from done
        part.append(f"{lead} {line}" if error else line)
    yield from (_named(name, sentence) for sentence in _split(part))


def _named(name: str, sentence: str) -> str:
    """The sentence, prefixed with its subject."""
    name, sentence = _plain(name), _plain(sentence)
    return sentence if sentence.startswith(name) else f"{name} {sentence}"


def _split(lines: list[str]) -> list[str]:
    return [sentence for sentence in _SENTENCE_END.split(" ".join(lines).strip()) if sentence.strip()]


def sentences_of_markdown(text: str) -> list[str]:
    """The sentences of a document, without its headings and the headings of its tables."""
    found = []
    row: list[str] | None = None
    heading = False
    # Needed here alone, and in a checkout alone: it is no dependency of the wheel.
    from markdown_it import MarkdownIt

    for token in MarkdownIt().enable("table").parse(text):
        if token.type in ("heading_open", "thead_open"):
            heading = True
        elif token.type in ("heading_close", "thead_close"):
            heading = False
        elif token.type == "tr_open" and not heading:
            row = []
        elif token.type == "tr_close" and row is not None:
            found.append(_plain(" | ".join(row)))
            row = None
        elif token.type in ("fence", "code_block"):
            found.append(_plain(token.content))
        elif token.type == "inline" and row is not None:
            row.append(token.content)
        elif token.type == "inline" and not heading:
            found += _split([_plain(token.content)])
    return found


def sentences(path: Path) -> list[str]:
    """The sentences of a document, each on one line."""
    of = sentences_of_c if path.suffix == ".h" else sentences_of_markdown
    return of(path.read_text())


# ---------------------------------------------------------------- the file


def parse(text: str) -> Register:
    """Parse the text of the file. Raises `BenchError` with the error."""
    try:
        return _register(tomllib.loads(text))
    except (BenchError, tomllib.TOMLDecodeError) as error:
        raise BenchError(f"{FILE}: {error}") from None


def _register(table: dict[str, Any]) -> Register:
    parts = ("documents", "promise", "no_promise", "no_mutant_yet")
    _known(table, parts, "the file")
    for part in parts:
        if part not in table:
            raise BenchError(f"{part} is missing")
    documents = {name: Path(_text(path, f"documents.{name}")) for name, path in table["documents"].items()}
    texts, lists = ("why_no_test", "why_no_mutant"), ("tests", "mutants")
    promises = []
    for name, values in table["promise"].items():
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
            raise BenchError(f"promise.{name}: a name is words of small letters and digits with hyphens between them")
        _known(values, (*documents, *lists, *texts), f"promise.{name}")
        quotes = {key: _list(values[key], f"promise.{name}.{key}") for key in documents if key in values}
        others = {key: _list(values[key], f"promise.{name}.{key}") for key in lists if key in values}
        reasons = {key: _text(values[key], f"promise.{name}.{key}") for key in texts if key in values}
        promises.append(Promise(name, quotes, **others, **reasons))  # type: ignore[arg-type]
    _known(table["no_promise"], documents, "no_promise")
    no_promise = {key: _list(value, f"no_promise.{key}") for key, value in table["no_promise"].items()}
    return Register(documents, tuple(promises), no_promise, _list(table["no_mutant_yet"], "no_mutant_yet"))


def _known(table: dict[str, Any], keys: object, where: str) -> None:
    for key in table:
        if key not in keys:  # type: ignore[operator]
            raise BenchError(f"{where}: {key} is not known: there are {', '.join(keys)}")  # type: ignore[arg-type]


def _text(value: object, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise BenchError(f"{where} must be a text, not {value!r}")
    return value


def _list(value: object, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
        raise BenchError(f"{where} must be a list of texts, not {value!r}")
    return tuple(value)


def load(top: Path) -> Register:
    """The promises of a checkout."""
    return parse((top / FILE).read_text())


# ---------------------------------------------------------------- what is wrong


@dataclass(frozen=True)
class Finding:
    """One error of the given ``kind``."""

    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


def check(top: Path) -> list[Finding]:
    """The errors in the promises of a checkout."""
    register = load(top)
    known = {one.name: one for one in mutant.load(top)}
    return [
        *(finding for name, path in register.documents.items() for finding in _quotes(register, name, top / path)),
        *(finding for promise in register.promises for finding in _proof(promise, top, known)),
        *_open(register),
    ]


def _quotes(register: Register, document: str, path: Path) -> Iterator[Finding]:
    said = sentences(path)
    covered: set[int] = set()
    owners = [(f"promise.{promise.name}", promise.quotes.get(document, ())) for promise in register.promises]
    for owner, quotes in [*owners, ("no_promise", register.no_promise.get(document, ()))]:
        for quote in quotes:
            places = [number for number, sentence in enumerate(said) if _plain(quote) in sentence]
            where = f"{owner}: {path.name}: {quote!r}"
            if not places:
                yield Finding("a quote that is gone", where)
            elif len(places) > 1:
                yield Finding("a quote of several sentences", f"{where}: {len(places)} have it")
            elif owner == "no_promise" and places[0] in covered:
                yield Finding("a promise that is said to be none", where)
            covered.update(places)
    for number, sentence in enumerate(said):
        if number not in covered:
            yield Finding("a sentence without a name", f"{path.name}: {sentence}")


def _proof(promise: Promise, top: Path, known: dict[str, Mutant]) -> Iterator[Finding]:
    if not promise.quotes:
        yield Finding("a promise that no document makes", promise.name)
    for test in promise.tests:
        if not _exists(test, top):
            yield Finding("a test that does not exist", f"{promise.name}: {test}")
    for name in promise.mutants:
        if name not in known:
            yield Finding("a mutant that does not exist", f"{promise.name}: {name}")
        elif not any(_same(test, noticed) for test in promise.tests for noticed in known[name].tests):
            yield Finding("a mutant that none of the tests is said to notice", f"{promise.name}: {name}")
    if bool(promise.tests) is bool(promise.why_no_test):
        yield Finding("a promise without a test" if not promise.tests else "tests and why there is none", promise.name)


def _exists(test: str, top: Path) -> bool:
    file, _, name = test.partition("::")
    path = top / file
    if not path.is_file():
        return False
    functions = [node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)]
    return name in functions and name.startswith("test_")


def _same(test: str, of_mutant: str) -> bool:
    """Whether a mutant's entry, which may be a file or have parameters, names this test."""
    return of_mutant.partition("[")[0] in (test, test.partition("::")[0])


def _open(register: Register) -> Iterator[Finding]:
    names = {promise.name for promise in register.promises}
    for name in register.no_mutant_yet:
        if name not in names:
            yield Finding("an unknown promise in no_mutant_yet", name)
    for promise in register.promises:
        ways = [bool(promise.mutants), bool(promise.why_no_mutant), promise.name in register.no_mutant_yet]
        if not any(ways):
            yield Finding("a promise without a mutant", promise.name)
        elif sum(ways) > 1:
            yield Finding("a mutant and why there is none", promise.name)


# ---------------------------------------------------------------- for people


def summary(register: Register, top: Path) -> str:
    """The figures, and the open points."""
    counts = ", ".join(f"{len(sentences(top / path))} of {path}" for path in register.documents.values())
    untested = [promise for promise in register.promises if promise.why_no_test]
    excused = [promise for promise in register.promises if promise.why_no_mutant]
    lines = [
        f"sentences: {counts}",
        f"promises: {len(register.promises)}",
        f"without a test: {len(untested)}",
        *(f"  {promise.name}: {promise.why_no_test}" for promise in untested),
        f"without a mutant, for a reason: {len(excused)}",
        f"without a mutant so far: {len(register.no_mutant_yet)}",
        *(f"  {name}" for name in register.no_mutant_yet),
    ]
    return "\n".join(lines)
