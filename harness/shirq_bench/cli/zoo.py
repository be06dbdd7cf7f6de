# SPDX-License-Identifier: MIT
"""`shirq zoo`: list, show and run the cases of the bug catalogue."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from shirq_bench.campaigns.zoo import case as cases
from shirq_bench.campaigns.zoo import page, suite
from shirq_bench.campaigns.zoo.case import DRIVERS, Case
from shirq_bench.campaigns.zoo.outcome import in_words
from shirq_bench.campaigns.zoo.run import Played, play
from shirq_bench.cli.machines import kernel_option
from shirq_bench.errors import BenchError
from shirq_bench.paths import BUILD

_COLOURS = {"good": "green", "fair": "blue", "poor": "yellow", "bad": "red"}


class _Id(click.ParamType[str]):
    name = "id"

    def convert(self, value: str, parameter: click.Parameter | None, context: click.Context | None) -> str:
        if value not in cases.ids():
            self.fail(f"no case {value!r}: `shirq zoo list` shows all cases")
        return value

    def shell_complete(
        self, context: click.Context, parameter: click.Parameter, start: str
    ) -> list[click.shell_completion.CompletionItem]:
        return [click.shell_completion.CompletionItem(name) for name in cases.ids() if name.startswith(start)]


@click.group()
def zoo() -> None:
    """Run several drivers against bugs of shared interrupts that really happened.

    \b
    shirq zoo list                            all cases
    shirq zoo show rmw-race                   a case: its description and expected outcomes
    shirq zoo run rmw-race                    run a case with every driver; writes a page
    shirq zoo run rmw-race --driver shirq     run a case with one driver
    shirq zoo all                             run all; writes the matrix of cases and drivers
    """


@zoo.command("list")
def list_() -> None:
    """List the cases, with the outcome that each driver is expected to have."""
    console = Console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("id", no_wrap=True)
    for column in DRIVERS:
        table.add_column(column, overflow="fold")
    for name in cases.ids():
        case = cases.get(name)
        table.add_row(name, *(_coloured(case.expected[driver]) for driver in DRIVERS))
    console.print(table)


@zoo.command()
@click.argument("name", metavar="ID", type=_Id())
@click.option("--toml", "as_toml", is_flag=True, help="Print the case's file, to begin a case of your own with.")
def show(name: str, as_toml: bool) -> None:
    """Print a case: symptom, cause, source, steps, expected outcomes."""
    case = cases.get(name)
    if as_toml:
        click.echo((cases.DIRECTORY / f"{name}.toml").read_text(), nl=False)
        return
    console = Console()
    _story(console, case)
    console.print(f"\n{escape(case.explanation)}\n", soft_wrap=True, highlight=False)
    for step in case.steps:
        only = f"   only {', '.join(step.only)}" if step.only else ""
        console.print(f"    {step.verb} {step.argument}{only}", markup=False, highlight=False)
    console.print()
    for driver in DRIVERS:
        console.print(f"{driver:16} {_coloured(case.expected[driver])}", highlight=False)
        if driver in case.argued:
            console.print(f"    {case.argued[driver]}", markup=False, highlight=False, soft_wrap=True)


@zoo.command()
@click.argument("name", metavar="ID", type=_Id())
@click.option("--driver", "drivers", multiple=True, type=click.Choice(DRIVERS), help="Only this driver; repeatable.")
@click.option("--kernel", default="6.1", metavar="NAME", help="From `shirq kernels`.")
@click.option(
    "-o", "--output", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Folder for the page."
)
def run(name: str, drivers: tuple[str, ...], kernel: str, output: Path | None) -> None:
    """Run a case; show symptom, cause and verdict, and write a page with the waveforms of two drivers.

    Exits with 1 if an outcome differs from the case's expectation. The guests' artefacts are beside the page.
    """
    case = cases.get(name)
    console = Console()
    directory = output or BUILD / "zoo" / name
    _story(console, case)
    chosen = suite.kernel_for(case, kernel)
    played: list[Played] = []
    for driver in drivers or DRIVERS:
        each = play(case, driver, chosen, keep=directory / driver)
        played.append(each)
        tell(console, each)
    if not drivers:
        seen = suite.reproduced(case, played)
        console.print(f"\nverdict:   {'reproduced' if seen else '[bold red]not reproduced[/]'} on {chosen}")
    (directory / "index.html").write_text(page.render(case, played))
    console.print(f"page:      {directory / 'index.html'}", highlight=False)
    sys.exit(0 if all(each.expected for each in played) else 1)


@zoo.command("all")
@click.argument("names", metavar="[ID]...", nargs=-1, type=_Id())
@click.option("--size", type=click.Choice(["ci", "full"]), default="full", show_default=True)
@kernel_option
@click.option("--document", type=click.Path(path_type=Path), metavar="FILE", help="Also write the matrix to this file.")
def all_(names: tuple[str, ...], size: str, kernel: str, document: Path | None) -> None:
    """Run cases, by default all, with every driver; write build/reports/zoo.json and zoo.html.

    Exits with 1 if an outcome differs from its case's expectation. Without ID, size ci is a few cases.
    """
    began = time.monotonic()
    chosen = [cases.get(name) for name in names or cases.ids()]
    if size == "ci" and not names:
        chosen = [case for case in chosen if case.ci]
    if not chosen:
        raise BenchError(f"no case is of size {size}: none has `ci = true`")
    played, errors = suite.play_all(chosen, kernel, suite.write)
    suite.write(played, document=document)
    seen = sum(suite.reproduced(each[0].case, each) for each in played)
    page_ = suite.REPORTS / "zoo.html"
    click.echo(f"{seen} of {len(played)} bugs reproduced in {time.monotonic() - began:.0f} s; {page_}")
    unexpected = [f"{one.case.id}/{one.driver}" for each in played for one in each if not one.expected]
    if unexpected:
        click.echo(f"outcome differs from the expectation (case/driver): {', '.join(unexpected)}")
    unseen = [
        each[0].case.id for each in played if suite.reproducible(each[0].case) != suite.reproduced(each[0].case, each)
    ]
    if unseen:
        click.echo(f"reproduction differs from the expectation: {', '.join(unseen)}")
    if errors:
        click.echo("\n".join([f"errors: {len(errors)}", *errors]))
    sys.exit(1 if unexpected or unseen or errors else 0)


def tell(console: Console, each: Played) -> None:
    """Print the outcome of a run, its figures, and all that was not as the case expects."""
    note = "" if each.result.outcome is each.wanted else f"   [bold red]expected {each.wanted}[/]"
    console.print(f"\n[bold]{escape(each.driver)}[/]: {_coloured(each.result.outcome)}{note}", highlight=False)
    console.print(f"    {in_words(each.result.figures)}", markup=False, highlight=False, soft_wrap=True)
    for what in each.unmet:
        console.print(f"    [bold red]unmet:[/] {escape(what)}", highlight=False)
    for complaint in each.result.complaints:
        console.print(f"    kernel: {complaint}", markup=False, highlight=False)


def _story(console: Console, case: Case) -> None:
    console.print(f"[bold]{case.id}[/]: {escape(case.title)}", highlight=False)
    for what in ("symptom", "cause"):
        console.print(f"{what + ':':10} {getattr(case, what)}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"source:    {'; '.join(case.source)}", markup=False, highlight=False, soft_wrap=True)
    if case.needs:
        console.print(f"needs:     {case.needs}", markup=False, highlight=False, soft_wrap=True)


def _coloured(outcome: str) -> str:
    return f"[{_COLOURS[page.tone(outcome)]}]{outcome}[/]"
