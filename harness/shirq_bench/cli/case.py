# SPDX-License-Identifier: MIT
"""`shirq case`: play a case of one's own with one's own driver."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape

from shirq_bench import toml
from shirq_bench.campaigns import twins
from shirq_bench.campaigns.zoo import case as cases
from shirq_bench.campaigns.zoo import own, page, suite
from shirq_bench.campaigns.zoo.case import DRIVERS, Case
from shirq_bench.campaigns.zoo.outcome import Outcome
from shirq_bench.campaigns.zoo.own import Own
from shirq_bench.campaigns.zoo.run import Played, play
from shirq_bench.cli.machines import KernelName
from shirq_bench.cli.zoo import tell
from shirq_bench.errors import BenchError
from shirq_bench.paths import BUILD, require_own
from shirq_bench.vm.template import DESCRIPTION

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def case() -> None:
    """Play a case with a driver of your own: a machine, steps and a symptom, in a TOML file.

    \b
    shirq case check my-case.toml                       is the file right?
    shirq case run my-case.toml --driver ./mod          a kernel module's source: a folder with a Kbuild
    shirq case run my-case.toml --driver ./prog.py      a program that uses shirq, UIO or VFIO
    shirq case run my-case.toml --driver ./mod --against naive --against shirq
    shirq case schema > case.schema.json                for editors that check TOML files
    """


@case.command()
@click.argument("file", type=_FILE)
@click.option("--driver", metavar="PATH", help="The driver; by default the one that the case names in its table [own].")
@click.option(
    "--against",
    multiple=True,
    metavar="NAME|PATH",
    help=f"Play the case with this driver, too: {', '.join(DRIVERS)}, or another path; repeatable.",
)
@click.option("--kernel", default="6.1", type=KernelName(), metavar="NAME", help="From `shirq kernels`.")
@click.option("--reproduce", is_flag=True, help="Succeed if the driver shows the case's symptom.")
@click.option(
    "-o", "--output", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Folder for the page."
)
def run(
    file: Path, driver: str | None, against: tuple[str, ...], kernel: str, reproduce: bool, output: Path | None
) -> None:
    """Play a case with your driver; show the outcome, and write a page with the waveforms.

    Exits with 0 if the outcome is the one that the case expects of your driver: that it survives, unless the case says
    otherwise. With --reproduce, exits with 0 if the outcome is the case's symptom. The guests' artefacts are beside the
    page, each driver's in a folder with its name. With --against, the folder of a driver that shows the symptom has an
    explanation of where it parts from one that survives. `shirq bundle` makes one file of such a folder.
    """
    chosen = cases.read(file)
    drivers = [own.choose(word, chosen, file.parent) for word in (driver or "", *against)]
    directory = output or BUILD / "cases" / chosen.id
    for each in drivers:
        kept = directory / (each.name if isinstance(each, Own) else each)
        require_own(kept, kept / DESCRIPTION)
    console = Console()
    console.print(f"[bold]{chosen.id}[/]: {escape(chosen.title)}", highlight=False)
    played, errors = [], []
    for each in drivers:
        name = each.name if isinstance(each, Own) else each
        try:
            played.append(play(chosen, each, suite.kernel_for(chosen, kernel), keep=directory / name, file=file))
        except BenchError as error:
            if not played:
                raise
            # The outcomes of the others are not lost.
            errors.append(str(error))
            continue
        tell(console, played[-1])
    (directory / "index.html").write_text(page.render(chosen, played))
    _explain(played, directory)
    console.print(f"\nverdict:   {_verdict(played[0])}", highlight=False, soft_wrap=True)
    console.print(f"page:      {directory / 'index.html'}", highlight=False, soft_wrap=True)
    if errors:
        raise BenchError("\n".join(errors))
    sys.exit(0 if (played[0].shows if reproduce else played[0].expected) else 1)


def _explain(played: Sequence[Played], directory: Path) -> None:
    """Explain each run that shows the symptom, or is not as expected, by the first run that survives."""
    well = next((each for each in played if each.result.outcome is Outcome.SURVIVES and each.expected), None)
    for each in played if well else ():
        assert well
        if each is not well and (each.shows or not each.expected):
            twins.write(directory / each.driver, directory / well.driver, (each.driver, well.driver), each.found)


def _verdict(played: Played) -> str:
    if played.shows:
        return f"{played.driver} shows the symptom: {played.result.outcome}"
    return f"{played.driver} does not show the symptom" + ("" if played.expected else ", but is not right")


@case.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=_FILE)
def check(files: tuple[Path, ...]) -> None:
    """Check case files; an error names the file, the line, the key, and what is allowed."""
    for file in files:
        read = cases.read(file)
        if read.own.driver:
            own.of_case(read, file.parent)
        click.echo(f"{file}: {len(read.steps)} steps; the symptom is: {' or '.join(read.shows)}")


@case.command()
def schema() -> None:
    """Print the JSON Schema of a case, by which an editor completes and checks a case's keys.

    \b
    Editors with Taplo or "Even Better TOML" read it from the first line of the case:
    #:schema ./case.schema.json
    """
    click.echo(json.dumps(toml.schema(Case), indent=1))
