# SPDX-License-Identifier: MIT
"""Each sentence of the module's documents that promises something has a test; a missing test is reported."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from shirq_bench.campaigns.promises import check, load, parse, sentences_of_c, sentences_of_markdown
from shirq_bench.cli import proofs
from shirq_bench.errors import BenchError
from shirq_bench.paths import need_checkout

TOP = need_checkout("checking promises")


def test_every_promise_of_this_tree_has_its_proof() -> None:
    assert [str(finding) for finding in check(TOP)] == []
    assert {str(path) for path in load(TOP).documents.values()} == {
        "kmod/shirq.h",
        "kmod/README.md",
        "kmod/SECURITY.md",
    }


# ---------------------------------------------------------------- sentences

# REUSE-IgnoreStart
_HEADER = """
/* SPDX-License-Identifier: MIT */
/*
 * A call fails. It is as
 * long as two lines. open() fails with
 *   EIO     it is asleep; the log
 *           says why
 *   ENODEV  gone
 * And more.
 */
#define SIZE	8	/* bytes; at most */

/**
 * struct one - the first
 * @a: number; 0 is
 *	none
 * @b: zero
 *
 * It grows. Fails with
 *   ENOMEM
 */
struct one { int a; };
"""


def test_comments_of_c_are_sentences_with_their_subject() -> None:
    assert sentences_of_c(_HEADER) == [
        "SPDX-License-Identifier: MIT",
        "A call fails.",
        "It is as long as two lines.",
        "open() fails with EIO it is asleep",
        "open() fails with EIO the log says why",
        "open() fails with ENODEV gone",
        "And more.",
        "#define SIZE 8 bytes",
        "#define SIZE 8 at most",
        "struct one - the first",
        "struct one @a: number",
        "struct one @a: 0 is none",
        "struct one @b: zero",
        "struct one It grows.",
        "struct one Fails with ENOMEM",
    ]


# REUSE-IgnoreEnd

_DOCUMENT = """
# A heading. Of two

It **runs. Fast**; it
stops.

| a | b |
|---|---|
| one; two. Three | `four` |

- A list. `close()` ends
  it.

    make   # it

```python
x = 1
y = 2
```
"""


def test_paragraphs_rows_items_and_code_are_sentences() -> None:
    assert sentences_of_markdown(_DOCUMENT) == [
        "It runs.",
        "Fast",
        "it stops.",
        "one; two. Three | `four`",
        "A list.",
        "`close()` ends it.",
        "make # it",
        "x = 1 y = 2",
    ]


# ---------------------------------------------------------------- findings

_PROMISES = """
no_mutant_yet = ["stops"]
[documents]
doc = "doc.md"
[promise.runs]
doc = ["It runs fast"]
tests = ["tests/test_it.py::test_it_runs"]
mutants = ["slow"]
[promise.stops]
doc = ["it stops"]
tests = ["tests/test_it.py::test_it_stops"]
[no_promise]
doc = ["Once upon"]
"""
_MUTANT = "title = 't'\ntests = ['tests/test_it.py::test_it_runs[1]']\n--- a/f\n+++ b/f\n@@ -1 +1 @@\n-1\n+2\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A project with two promises, in which the check finds nothing."""
    (tmp_path / "doc.md").write_text("Once upon a time. It runs fast; it stops when told.\n")
    (tmp_path / "tests/mutants").mkdir(parents=True)
    (tmp_path / "tests/test_it.py").write_text("def test_it_runs(): ...\n\n\ndef test_it_stops(): ...\n")
    (tmp_path / "tests/mutants/slow.patch").write_text(_MUTANT)
    (tmp_path / "tests/promises.toml").write_text(_PROMISES)
    return tmp_path


def test_a_tree_whose_promises_are_kept_has_no_finding(tree: Path) -> None:
    assert check(tree) == []


@pytest.mark.parametrize(
    ("file", "old", "new", "findings"),
    [
        (
            "doc.md",
            "told.",
            "told. It flies.",
            ["a sentence that is neither a promise nor in no_promise: doc.md: It flies."],
        ),
        (
            "doc.md",
            "fast",
            "slowly",
            [
                "a quote that is in no sentence: promise.runs: doc.md: 'It runs fast'",
                "a sentence that is neither a promise nor in no_promise: doc.md: It runs slowly",
            ],
        ),
        (
            "doc.md",
            "told.",
            "told. Here it stops.",
            ["a quote that is in several sentences: promise.stops: doc.md: 'it stops': in 2"],
        ),
        (
            "tests/promises.toml",
            "Once upon",
            "when told",
            [
                "a sentence in no_promise that is also quoted by a promise: no_promise: doc.md: 'when told'",
                "a sentence that is neither a promise nor in no_promise: doc.md",
            ],
        ),
        (
            "tests/promises.toml",
            "test_it_runs",
            "test_it_walks",
            ["a test that does not exist: runs", "a mutant whose file"],
        ),
        (
            "tests/promises.toml",
            "test_it.py",
            "test_no.py",
            ["a test that does not exist: runs", "a mutant whose file"],
        ),
        ("tests/test_it.py", "def test_it_stops", "def it_stops", ["a test that does not exist: stops: tests/test_it"]),
        ("tests/promises.toml", '"slow"', '"lazy"', ["a mutant that does not exist: runs: lazy"]),
        (
            "tests/mutants/slow.patch",
            "test_it_runs",
            "test_it_stops",
            ["a mutant whose file names none of the promise's tests: runs: slow"],
        ),
        ("tests/promises.toml", 'tests = ["tests/test_it.py::test_it_stops"]', "", ["a promise without a test: stops"]),
        (
            "tests/promises.toml",
            "[no_promise]",
            'why_no_test = "None."\n[no_promise]',
            ["a promise with tests and with why_no_test: stops"],
        ),
        ("tests/promises.toml", 'mutants = ["slow"]', "", ["a promise without a mutant: runs"]),
        (
            "tests/promises.toml",
            '["stops"]',
            '["stops", "runs"]',
            ["a promise with more than one of mutants, why_no_mutant and no_mutant_yet: runs"],
        ),
        ("tests/promises.toml", '["stops"]', '["stops", "x"]', ["an unknown promise in no_mutant_yet: x"]),
        (
            "tests/promises.toml",
            "[no_promise]",
            '[promise.more]\ntests = ["tests/test_it.py::test_it_runs"]\nwhy_no_mutant = "None."\n[no_promise]',
            ["a promise that no document makes: more"],
        ),
    ],
)
def test_each_mistake_is_found(tree: Path, file: str, old: str, new: str, findings: list[str]) -> None:
    text = (tree / file).read_text()
    assert old in text
    (tree / file).write_text(text.replace(old, new, 1))
    found = [str(finding) for finding in check(tree)]
    assert len(found) == len(findings), found
    assert all(line.startswith(beginning) for line, beginning in zip(found, findings, strict=True)), found


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("promise.runs", "promise.Runs_fast", "promise.Runs_fast: a name is words of small letters"),
        ("mutants =", "mutant =", "promise.runs: unknown key mutant; known keys: doc, mutants, tests, why_no_mutant"),
        ('["slow"]', '"slow"', "promise.runs.mutants must be a list, not 'slow'"),
        ('"doc.md"', "1", "documents.doc must be str, not 1"),
        ("[no_promise]\ndoc", "[no_promise]\nother", "no_promise: unknown key other; known keys: doc"),
        ("[no_promise]\ndoc =", "[promise.x]\ndoc =", "no_promise is missing"),
        ("[documents]", "[documents", "Expected"),
        ('doc = "doc.md"', 'do-c = "doc.md"', "documents.do-c: a short name must be one word"),
        ('[documents]\ndoc = "doc.md"', "documents = 1", "documents must be a table, not 1"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(old: str, new: str, message: str) -> None:
    assert old in _PROMISES
    with pytest.raises(BenchError) as caught:
        parse(_PROMISES.replace(old, new, 1))
    assert str(caught.value).startswith(f"tests/promises.toml: {message}")


# ---------------------------------------------------------------- the command


def test_the_command_prints_the_numbers_and_what_is_open(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proofs, "need_checkout", lambda what: tree)
    result = CliRunner().invoke(proofs.promises, ["--list"])
    assert result.exit_code == 0, result.output
    assert result.output.splitlines() == [
        "runs",
        "  doc: It runs fast",
        "  tests/test_it.py::test_it_runs",
        "  mutant slow",
        "stops",
        "  doc: it stops",
        "  tests/test_it.py::test_it_stops",
        "sentences: 3 of doc.md",
        "promises: 2",
        "without a test: 0",
        "without a mutant, for a reason: 0",
        "without a mutant so far: 1",
        "  stops",
    ]
    (tree / "doc.md").write_text("It flies.\n")
    result = CliRunner().invoke(proofs.promises)
    assert result.exit_code == 1
    assert "a sentence that is neither a promise nor in no_promise: doc.md: It flies." in result.output
    assert CliRunner().invoke(proofs.promises, ["--sentences", "doc"]).output == "It flies.\n"
    assert "no document 'x'; known documents: doc" in CliRunner().invoke(proofs.promises, ["--sentences", "x"]).output
