# SPDX-License-Identifier: MIT
"""`shirq coverage`, `shirq promises`: the parts of the module that the tests cover."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from shirq_bench.campaigns import promises as register
from shirq_bench.campaigns.promises import Promise
from shirq_bench.observe import coverage as counts
from shirq_bench.paths import need_checkout


@click.command()
@click.argument("directory", type=click.Path(path_type=Path), metavar="DIR")
@click.option(
    "--at-least", type=float, default=0.0, show_default=True, metavar="PERCENT", help="Fail below this coverage."
)
def coverage(directory: Path, at_least: float) -> None:
    """Report the lines of kmod/ that ran in tests with --shirq-coverage=DIR.

    Prints the figure of each file with the lines that never ran, and writes build/reports/kmod-coverage.json and
    build/reports/kmod-coverage/index.html.
    """
    sys.exit(counts.report(directory, at_least))


@click.command()
@click.option("--list", "list_", is_flag=True, help="Print each promise with its quotes, tests and mutants.")
@click.option("--sentences", "document", metavar="NAME", help="Print the sentences of a document, by its short name.")
def promises(list_: bool, document: str | None) -> None:
    """Check that each sentence of the module's documents that promises something has a test and a mutant."""
    top = need_checkout("checking promises")
    known = register.load(top)
    if document:
        if document not in known.documents:
            raise click.UsageError(f"no document {document!r}; known documents: {', '.join(known.documents)}")
        click.echo("\n".join(register.sentences(top / known.documents[document])))
        return
    if list_:
        click.echo("\n".join(map(_listed, known.promise.values())))
    found = register.check(top)
    for finding in found:
        click.echo(str(finding))
    click.echo(register.summary(known, top))
    sys.exit(bool(found))


def _listed(promise: Promise) -> str:
    proof = [*promise.tests, *(f"mutant {name}" for name in promise.mutants)]
    reasons = [f"no test: {promise.why_no_test}"] if promise.why_no_test else []
    reasons += [f"no mutant: {promise.why_no_mutant}"] if promise.why_no_mutant else []
    quotes = [f"{document}: {quote}" for document, some in promise.quotes.items() for quote in some]
    return "\n".join([promise.name, *(f"  {line}" for line in [*quotes, *proof, *reasons])])


COMMANDS = (coverage, promises)
