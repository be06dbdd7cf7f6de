# SPDX-License-Identifier: MIT
"""The measurement of explanations by mutants: what a mutant changes, what is right, and the table."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from shirq_bench.campaigns.mutants import explain, mutant, report
from shirq_bench.campaigns.mutants.explain import Explained
from shirq_bench.campaigns.mutants.mutant import Mutant
from shirq_bench.cli import mutants as cli
from shirq_bench.errors import BenchError
from shirq_bench.paths import need_checkout
from shirq_bench.vm import environment

_SOURCE = """\
#define MOST 4

static int
first(struct thing *t,
      int x)
{
	if (x)
		return 1;
	return t->x;
}

static const struct ops ops = {
	.first = first,
};

int second(void)
{
	return 2;
}
"""


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("\treturn t->x;\n", "\treturn 0;\n", ("first",)),
        ("\tif (x)\n\t\treturn 1;\n", "", ("first",)),
        ("\treturn 2;\n", "\tcall();\n\treturn 2;\n", ("second",)),
        ("int second(void)", "long second(void)", ("second",)),
        ("MOST 4", "MOST 5", ()),
        ("\t.first = first,\n", "", ()),
        ("return 1;", "return 3;", ("first",)),
    ],
    ids=["changed", "removed", "added", "signature", "macro", "table", "value"],
)
def test_changed_functions_are_those_around_the_difference(old: str, new: str, changed: tuple[str, ...]) -> None:
    assert _SOURCE.count(old) == 1
    assert explain.functions({"a.c": _SOURCE}, {"a.c": _SOURCE.replace(old, new)}) == changed


def test_mutants_that_a_guest_can_explain_change_modules() -> None:
    """A mutant of Python, or one that a test on the host detects, has no code trace."""
    known = {one.name: one for one in mutant.load(need_checkout("the test"))}
    assert explain.fits(known["stale-unmask"]) and explain.fits(known["wake-lost-by-count"])
    assert not explain.fits(known["one-lost-artefact-loses-all"])
    assert not explain.fits(known["binding-label"])


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Return a function that measures mutants with these results, and returns the output and the status."""
    known = [Mutant(name=name, title="t", tests=("tests/guest/x.py",), diff="--- a/kmod/x.c\n") for name in "abc"]
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/mutants.md").write_text("# Mutants\n\nText.\n\n## Several vCPUs\n\nMore.\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "need_checkout", lambda what: tmp_path)
    monkeypatch.setattr(mutant, "load", lambda top: known)
    monkeypatch.setattr(environment, "describe", lambda kernels: {"QEMU": "1"})

    def measure(*named: str, options: Sequence[str] = ()) -> str:
        results = dict(zip("abc", named, strict=False))

        def one(top: Path, each: Mutant, kernel: str, tell: Callable[[str], None]) -> Explained:
            if results[each.name] == "error":
                raise BenchError("no guest\nat all")
            return Explained(each, ("f",), "a test", results[each.name], f"{results[each.name]}() at x.c:1", "g")

        monkeypatch.setattr(explain, "explain", one)
        done = CliRunner().invoke(cli.command, ["--explain", *options, *"abc"[: len(named)]])
        return f"{done.exit_code} {done.output}"

    return measure


def test_explanations_are_right_if_they_name_a_changed_function(measured: Callable[..., str]) -> None:
    said = measured("f", "g", "error")
    assert said.startswith("1 ")
    assert "right     a" in said and "WRONG     b" in said and "WRONG     c" in said and "no guest" in said
    assert "1 of 3 explanations name a changed function" in said
    content = json.loads(report.EXPLAINED.read_text())
    assert (content["right"], content["total"], content["right_by_lines"]) == (1, 3, 0)
    assert content["environment"] == {"QEMU": "1"}


def test_explanations_leave_the_page_alone(measured: Callable[..., str]) -> None:
    """The result of some mutants must not replace that of all: only --document writes the page."""
    page = Path("docs/mutants.md")
    before = page.read_text()
    assert measured("f").startswith("0 ")
    assert report.EXPLAINED.exists()
    assert page.read_text() == before


def test_table_of_explanations_replaces_the_one_before(measured: Callable[..., str]) -> None:
    assert measured("g", options=["--document"]).startswith("1 ")
    assert measured("f", "f", options=["--document"]).startswith("0 ")
    text = Path("docs/mutants.md").read_text()
    assert text.startswith("# Mutants\n\nText.\n\n## Several vCPUs\n\nMore.\n\n## Explained by a run that passes\n")
    assert text.count("## Explained by a run that passes") == 1
    assert "| `a` | f | f() at x.c:1 | yes | g |" in text and "| `b` |" in text
    assert "2 of 2 are right; by the executed lines\nalone 0." in text
