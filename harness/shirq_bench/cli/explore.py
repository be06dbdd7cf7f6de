# SPDX-License-Identifier: MIT
"""The command `shirq explore`."""

from __future__ import annotations

import functools
import sys
from pathlib import Path

import click

from shirq_bench.campaigns.explore import actors, report, run
from shirq_bench.campaigns.explore.actors import BETWEEN
from shirq_bench.campaigns.explore.report import Row
from shirq_bench.campaigns.sweep import pairs
from shirq_bench.cli.machines import kernel_option, size_option
from shirq_bench.cli.sweep import CI_REPLAYS, REPLAYS, replays_agree, show_list, sweep_cells
from shirq_bench.paths import need_checkout

#: Random points of a pair with several preemptions.
_RANDOM_POINTS = {"full": 2000, "ci": 40}


@click.command("explore")
@click.argument("names", nargs=-1, metavar="[ACTOR|PAIR]...")
@kernel_option
@click.option("--points", type=click.IntRange(1), metavar="N", help="Most points of a pair; default: by --size.")
@size_option
@click.option("--most", default=3, show_default=True, type=click.IntRange(1), metavar="N", help="Violations of a pair.")
@click.option(
    "--preemptions", default=1, show_default=True, type=click.IntRange(1, 8), metavar="D", help="More than one: random."
)
@click.option("--seed", default=1, show_default=True, help="Chooses the random points.")
@click.option("--document", is_flag=True, help=f"Also write {report.DOCUMENT}.")
@click.option("--list", "only_list", is_flag=True, help="List the actors.")
def command(
    names: tuple[str, ...],
    kernel: str,
    points: int | None,
    size: str,
    most: int,
    preemptions: int,
    seed: int,
    document: bool,
    only_list: bool,
) -> None:
    """Let one of two processors preempt the other at every instruction, and judge the result.

    A guest has two vCPUs that take turns. The first actor runs on vCPU 0; at an instruction of its window the second
    one begins on vCPU 1, and runs until it blocks. This is done for each instruction of the window, for all pairs of
    actors or for the named ones: an actor, "~ACTOR" for a second one, or a pair, "FIRST~SECOND". With --preemptions,
    the turn also changes at further instructions, which are chosen at random.

    Each violation is shrunk to the fewest stimuli and switches, explained and kept below build/explore/; the figures
    are in build/reports/explore.json. Exits with 1 if there was a violation or if a pair could not be explored.

    \b
    shirq explore --list
    shirq explore arm~mask
    shirq explore close ~visit
    shirq explore --points 200
    shirq explore --preemptions 3 --points 1000 mask~rearm
    """
    if only_list:
        _list()
        return
    target = need_checkout("writing the document") / report.DOCUMENT if document else None
    chosen = actors.choose(size, names)
    if preemptions > 1:
        points = points or _RANDOM_POINTS[size]
    how = functools.partial(run.explore, preemptions=preemptions, seed=seed)
    rows: list[Row] = []
    files: list[Path] = []
    for pair, result, error, kept in sweep_cells(how, chosen, kernel, points or 0, most, report.FINDINGS):
        rows.append(Row(pair, result, error))
        files += kept
        if result:
            _line(result)
        if pair.scenario:
            # Write after each pair, because all pairs together take long.
            report.write(report.report(rows, kernel, files))
    replayed = [row.pair.scenario for row in rows if row.result and row.pair.scenario]
    identical = replays_agree(replayed, kernel, CI_REPLAYS if size == "ci" else REPLAYS) if not names else None
    content = report.report(rows, kernel, files, identical)
    report.write(content)
    if target:
        target.write_text(report.document(content, actors.load(), pairs.load().operations))
    click.echo(f"{report.summary(content)}; {target or report.REPORT}")
    sys.exit(1 if content["violations"] or content["errors"] or identical is False else 0)


def _line(result: run.Explored) -> None:
    of = "all" if result.exhausted else f"of {result.instructions}"
    click.echo(
        f"{result.scenario:28} {result.points:6} points, {of}, {len(result.failures)} violations,"
        f" {result.seconds:.0f} s"
    )


def _list() -> None:
    every = [pair for pair in actors.choose("full") if pair.scenario]
    operations, others = pairs.load().operations, actors.load().others
    firsts = dict.fromkeys(pair.first for pair in every)
    show_list("first actor", "what it does", [(name, operations[name].title) for name in firsts])
    show_list("second actor", "what it does", [(f"{BETWEEN}{one.name}", one.title) for one in others.values()])
