# SPDX-License-Identifier: MIT
"""`shirq diagnose`: hypotheses about a bug report, played in guests and ranked."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from shirq_bench.campaigns.diagnose import diagnose as campaign
from shirq_bench.campaigns.diagnose import hypothesis, output
from shirq_bench.cli.intake import TEXTS
from shirq_bench.cli.machines import KernelName
from shirq_bench.intake import join, text
from shirq_bench.paths import BUILD
from shirq_bench.vm.template import DESCRIPTION


@click.command("diagnose")
@click.argument("reports", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="REPRODUCTION...")
@click.option("--json", "as_json", is_flag=True, help="Print the diagnosis as JSON.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder for the case, its picture, a README and the runs; default: the reproduction, else build/diagnosis.",
)
@click.option("--only", multiple=True, metavar="ID", help="Play this hypothesis only; repeatable.")
@click.option("--all", "play_all", is_flag=True, help="Also play hypotheses that the report contradicts.")
@click.option(
    "--kernel", default="6.1", type=KernelName(), show_default=True, metavar="NAME", help="From `shirq kernels`."
)
def command(
    reports: tuple[Path, ...], as_json: bool, out: Path | None, only: tuple[str, ...], play_all: bool, kernel: str
) -> None:
    """Try hypotheses about a bug report in guests, and rank them by what they show.

    REPRODUCTION is a folder that `shirq import --out` wrote, or a report's files, as `shirq import` takes them. The
    guest has the report's functions on one line. Each hypothesis is a case: it gives one of the functions, or something
    that no report lists, a fault. What the guest shows then, in its kernel log, its /proc/interrupts and its
    configuration space, is read like the report, and compared with it.

    Hypotheses come in the order of the symptoms that speak against and for them. For those that the report cannot tell
    from the first, the cheapest things to try on the machine are named, with the meaning of each outcome. DIR gets the
    case of the first hypothesis, the timeline of its run, and a README.

    \b
    shirq import dmesg.txt interrupts.txt lspci.txt --out guest && shirq diagnose guest
    shirq diagnose mail.txt --json | jq '.ranking[].hypothesis'
    shirq case run guest/case.toml --driver naive --reproduce

    It takes minutes: the boot of a guest, and 5 to 20 s for each of three to ten hypotheses. Those that the report
    contradicts are played only with --all. Exits with 1 if a hypothesis could not be played.
    """
    folder = reports[0] if len(reports) == 1 and _is_reproduction(reports[0]) else None
    found = join.report(text.read([folder / TEXTS] if folder else reports))
    chosen = [hypothesis.get(name) for name in only] or [*hypothesis.all_hypotheses()]
    place = out or folder or BUILD / "diagnosis"
    diagnosis, files = campaign.diagnose(
        found, place, kernel, chosen, play_all, lambda line: click.echo(f"shirq: {line}", err=True)
    )
    if as_json:
        click.echo(json.dumps(output.data(diagnosis), indent=2))
    else:
        for line in output.text(diagnosis):
            click.echo(line)
    click.echo(f"case: {', '.join(map(str, files))}", err=as_json)
    sys.exit(1 if diagnosis.failed else 0)


def _is_reproduction(path: Path) -> bool:
    return (path / DESCRIPTION).is_file() and (path / TEXTS).is_dir()
