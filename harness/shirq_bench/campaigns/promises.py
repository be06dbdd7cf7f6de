# SPDX-License-Identifier: MIT
"""Checks that the promises in the module's documents have tests that prove them and mutants that break them.

``tests/promises.toml`` has

    [documents]      a short name for each document, and its path
    [promise.NAME]   under the documents' short names, quotes: pieces of all sentences that state the promise;
                     ``tests``: pytest's ids, without parameters; ``mutants``: names of tests/mutants. If there is no
                     test or no mutant, ``why_no_test`` or ``why_no_mutant`` gives the reason
    [no_promise]     under the documents' short names, quotes of sentences that promise nothing, such as explanations
    no_mutant_yet    promises that could have a mutant and have none so far

A sentence ends at a full stop or a semicolon; a row of a table and a block of code are one sentence each. In C, only
comments have sentences. Each member of a kernel-doc comment is a sentence that begins with the struct's name; each
error number of a list is a sentence that begins with the list's introduction; a comment behind code begins with that
code. White space, ``**`` and the frames of comments do not matter. A quote must be in exactly one sentence; a sentence
may have several quotes.

`shirq promises` prints the errors, the open points and the figures.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, make_dataclass
from pathlib import Path
from typing import Any

from shirq_bench import toml
from shirq_bench.campaigns.mutants import mutant
from shirq_bench.campaigns.mutants.mutant import Mutant
from shirq_bench.errors import BenchError
from shirq_bench.toml import Text, Texts

#: Relative to the checkout.
FILE = Path("tests/promises.toml")

_SENTENCE_END = re.compile(r"(?<=[.?!])\s+(?=[A-Z@`\"'(\[]|\w+\(\))|;\s+")
_COMMENT = re.compile(r"^(?P<code>[^\n]*?)/\*(?P<kernel_doc>\*?)(?P<text>.*?)\*/", re.MULTILINE | re.DOTALL)
_MEMBER = re.compile(r"@\w+:")
_ERROR = re.compile(r"  E[A-Z0-9]{2,}(\s|$)")


@dataclass(frozen=True, kw_only=True)
class Promise:
    """A promise. `parse` adds one field for each document, with the document's short name, for the quotes."""

    name: str
    tests: Texts = ()
    mutants: Texts = ()
    why_no_test: str = ""
    why_no_mutant: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", self.name):
            raise ValueError("a name is words of small letters and digits with hyphens between them")

    @property
    def quotes(self) -> dict[str, Texts]:
        """The quotes of each document that makes the promise."""
        own = {field.name for field in fields(Promise)}
        return {name: value for name, value in vars(self).items() if name not in own and value}


@dataclass(frozen=True, kw_only=True)
class Register:
    """The contents of the file. The fields of ``no_promise`` have the short names of the documents."""

    documents: Mapping[str, Text]
    promise: Mapping[str, Promise]
    no_promise: Any
    no_mutant_yet: Texts


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
    # Import it here: only this function needs it, and only in a checkout, so the wheel does not depend on it.
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
    """The register that the text of the file describes. Raises `BenchError` with the error in the text."""
    data = toml.load(text, str(FILE))
    documents = given if isinstance(given := data.get("documents"), dict) else {}
    if wrong := [name for name in documents if not name.isidentifier()]:
        raise BenchError(f"{FILE}: documents.{wrong[0]}: a short name must be one word")
    # Promises and `no_promise` have a field for each document, so the classes are made from the documents' names.
    quotes = [(name, Texts, field(default=())) for name in documents]
    promise: Any = make_dataclass("Quoting", quotes, bases=(Promise,), frozen=True, kw_only=True)
    more = [("promise", dict[str, promise]), ("no_promise", make_dataclass("Explaining", quotes, frozen=True))]
    register = make_dataclass("Quoted", more, bases=(Register,), frozen=True, kw_only=True)
    return toml.convert(register, data, str(FILE))


def load(top: Path) -> Register:
    """The promises of a checkout."""
    return parse((top / FILE).read_text())


# ---------------------------------------------------------------- the errors


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
        *(finding for promise in register.promise.values() for finding in _proof(promise, top, known)),
        *_open(register),
    ]


def _quotes(register: Register, document: str, path: Path) -> Iterator[Finding]:
    said = sentences(path)
    covered: set[int] = set()
    owners = [(f"promise.{promise.name}", promise.quotes.get(document, ())) for promise in register.promise.values()]
    for owner, quotes in [*owners, ("no_promise", vars(register.no_promise)[document])]:
        for quote in quotes:
            places = [number for number, sentence in enumerate(said) if _plain(quote) in sentence]
            where = f"{owner}: {path.name}: {quote!r}"
            if not places:
                yield Finding("a quote that is in no sentence", where)
            elif len(places) > 1:
                yield Finding("a quote that is in several sentences", f"{where}: in {len(places)}")
            elif owner == "no_promise" and places[0] in covered:
                yield Finding("a sentence in no_promise that is also quoted by a promise", where)
            covered.update(places)
    for number, sentence in enumerate(said):
        if number not in covered:
            yield Finding("a sentence that is neither a promise nor in no_promise", f"{path.name}: {sentence}")


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
            yield Finding("a mutant whose file names none of the promise's tests", f"{promise.name}: {name}")
    if bool(promise.tests) is bool(promise.why_no_test):
        what = "a promise with tests and with why_no_test" if promise.tests else "a promise without a test"
        yield Finding(what, promise.name)


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
    for name in register.no_mutant_yet:
        if name not in register.promise:
            yield Finding("an unknown promise in no_mutant_yet", name)
    for promise in register.promise.values():
        ways = [bool(promise.mutants), bool(promise.why_no_mutant), promise.name in register.no_mutant_yet]
        if not any(ways):
            yield Finding("a promise without a mutant", promise.name)
        elif sum(ways) > 1:
            yield Finding("a promise with more than one of mutants, why_no_mutant and no_mutant_yet", promise.name)


# ---------------------------------------------------------------- the summary


def summary(register: Register, top: Path) -> str:
    """The figures, and the open points."""
    counts = ", ".join(f"{len(sentences(top / path))} of {path}" for path in register.documents.values())
    untested = [promise for promise in register.promise.values() if promise.why_no_test]
    excused = [promise for promise in register.promise.values() if promise.why_no_mutant]
    lines = [
        f"sentences: {counts}",
        f"promises: {len(register.promise)}",
        f"without a test: {len(untested)}",
        *(f"  {promise.name}: {promise.why_no_test}" for promise in untested),
        f"without a mutant, for a reason: {len(excused)}",
        f"without a mutant so far: {len(register.no_mutant_yet)}",
        *(f"  {name}" for name in register.no_mutant_yet),
    ]
    return "\n".join(lines)
