# SPDX-License-Identifier: MIT
"""The commands `shirq sweep` and `shirq debug`."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import click
from rich.console import Console
from rich.table import Table

from shirq_bench.campaigns.explore import actors
from shirq_bench.campaigns.sweep import findings, pairs, run, scenario
from shirq_bench.campaigns.sweep.cells import Cell
from shirq_bench.campaigns.sweep.run import Result
from shirq_bench.channels.log import read_log
from shirq_bench.cli.machines import kernel_option, size_option
from shirq_bench.errors import BenchError
from shirq_bench.paths import need_checkout
from shirq_bench.provision.steps import shown
from shirq_bench.replay import gdb
from shirq_bench.replay.case import Finding

#: Points of a scenario at the size that CI runs.
CI_POINTS = 400
#: Number of runs whose replays are compared; replays of each run at full size, and at CI's size.
REPLAYED, REPLAYS, CI_REPLAYS = 5, 100, 3

_R = TypeVar("_R", bound=Result)

_finding = click.argument("path", type=click.Path(exists=True, path_type=Path), metavar="FILE")


@click.command()
@click.argument("names", nargs=-1, metavar="[SCENARIO]...")
@kernel_option
@click.option(
    "--points", type=click.IntRange(1), metavar="N", help="Number of instructions to try in each window; default: all."
)
@size_option
@click.option("--most", default=run.MOST_FAILURES, type=click.IntRange(1), metavar="N", help="Stop after N violations.")
@click.option("--pairs", "crossed", is_flag=True, help="Cross operations with stimuli, all or the named ones.")
@click.option("--document", is_flag=True, help=f"With --pairs: also write {pairs.DOCUMENT}.")
@click.option("--list", "only_list", is_flag=True, help="List the scenarios, or the operations and stimuli.")
def sweep(
    names: tuple[str, ...],
    kernel: str,
    points: int | None,
    size: str,
    most: int,
    crossed: bool,
    document: bool,
    only_list: bool,
) -> None:
    """Inject a second stimulus at each instruction while a first one is handled, and judge the result.

    A guest with instruction counting runs identically each time, so the stimulus can come exactly at each instruction
    from the assertion to the user's unmask. Without SCENARIO, all scenarios are swept. Each violation is shrunk,
    explained and kept below build/sweep/; the figures are in build/reports/sweep.json. Exits with 1 if there was a
    violation or if a scenario could not be swept.

    With --pairs, the scenarios are generated: each operation is crossed with each stimulus; the figures are in
    build/reports/pairs.json. A single pair is also a scenario, OPERATION+STIMULUS; and so is one of `shirq explore`,
    FIRST~SECOND.

    \b
    shirq sweep --list
    shirq sweep reassert
    shirq sweep --points 500
    shirq sweep --pairs close
    shirq sweep close+raise
    """
    if document and not crossed:
        raise click.UsageError("--document writes the table of --pairs: give both options")
    if only_list:
        _list(crossed)
        return
    if crossed:
        sys.exit(_sweep_pairs(names, kernel, points or 0, size, most, document))
    chosen = [_find(name, size) for name in names] or list(scenario.load().values())
    if size == "ci":
        points = points or CI_POINTS
    results: list[Result] = []
    files: list[Path] = []
    errors: list[findings.Unswept] = []
    for item in chosen:
        try:
            result, kept = sweep_one(run.sweep, item, kernel, points or 0, most, findings.MOST)
        except (BenchError, OSError) as error:
            errors.append(findings.Unswept(item.name, kernel, str(error), isinstance(error, run.FailsAlone)))
            click.echo(f"{item.name}: {error}")
        else:
            results.append(result)
            files += kept
            _line(result)
        # Write after each scenario, because all scenarios together take long.
        findings.write(findings.data(results, files, errors))
    identical = replays_agree(chosen, kernel, CI_REPLAYS if size == "ci" else REPLAYS) if not names else None
    content = findings.data(results, files, errors, identical)
    findings.write(content)
    click.echo(
        f"{content['points']} points, {content['violations']} violations, {content['points_per_minute']} points a"
        f" minute; {len(errors)} scenarios that could not be swept; {findings.REPORT}"
    )
    sys.exit(1 if content["violations"] or errors or identical is False else 0)


def _find(name: str, size: str) -> scenario.Scenario:
    return actors.get(name, size) if actors.BETWEEN in name else pairs.find(name, size)


def _list(crossed: bool) -> None:
    if crossed:
        matrix = pairs.load()
        rows = {
            "operation": [(one.name, one.title) for one in matrix.operations.values()],
            "stimulus": [(one.name, one.title) for one in matrix.stimuli.values()],
        }
    else:
        rows = {"scenario": [(one.name, one.title) for one in scenario.load().values()]}
    for head, body in rows.items():
        show_list(head, "what happens" if crossed else "situation at the second stimulus", body)


def show_list(head: str, what: str, body: Sequence[tuple[str, str]]) -> None:
    """Print names and what they stand for, under the heads of both columns."""
    table = Table(head, what, box=None)
    for row in body:
        table.add_row(*row)
    Console().print(table)


def sweep_one(
    how: Callable[..., _R],
    item: scenario.Scenario,
    kernel: str,
    points: int,
    most: int,
    explained: int,
    into: Path = findings.FINDINGS,
) -> tuple[_R, list[Path]]:
    """Sweep a scenario by ``how``. The first ``explained`` violations are explained and kept below ``into``.

    Returns the result and the files of these violations.
    """
    files: list[Path] = []
    with shown(f"sweep {item.name}, kernel {kernel}") as tell:
        result = how(item, kernel, points, tell=tell, most=most)
        for number, failure in enumerate(result.failures[:explained], 1):
            found = findings.explain(failure, tell)
            files.append(findings.keep(found, f"{item.name}-{kernel}-{number}", into))
            _say(found, files[-1])
    return result, files


def sweep_cells(
    how: Callable[..., _R],
    chosen: Sequence[Cell],
    kernel: str,
    points: int,
    most: int,
    into: Path = findings.FINDINGS,
) -> Iterator[tuple[Cell, _R | None, str, list[Path]]]:
    """Sweep the cells that are played, as `sweep_one` does; yields each cell with its result, error and findings.

    If a cell cannot be swept, its error is printed, and the others still are. `BenchError` if all are left out.
    """
    if all(cell.scenario is None for cell in chosen):
        reasons = ", ".join(dict.fromkeys(cell.reason for cell in chosen))
        raise BenchError(f"all of these pairs are left out: {reasons}")
    for cell in chosen:
        if cell.scenario is None:
            yield cell, None, "", []
            continue
        try:
            result, kept = sweep_one(how, cell.scenario, kernel, points, most, 1, into)
        except (BenchError, OSError) as error:
            click.echo(f"{cell.name}: {error}")
            yield cell, None, str(error).splitlines()[0], []
        else:
            yield cell, result, "", kept


def _sweep_pairs(names: Sequence[str], kernel: str, points: int, size: str, most: int, document: bool) -> int:
    """Sweep pairs; returns the exit status. If a pair cannot be swept, the other pairs still are."""
    target = need_checkout("writing the document") / pairs.DOCUMENT if document else None
    matrix = pairs.load()
    swept: list[pairs.Swept] = []
    files: list[Path] = []
    chosen = pairs.choose(matrix, size, names)
    for cell, result, error, kept in sweep_cells(run.sweep, chosen, kernel, points, most):
        swept.append(pairs.Swept(cell, result, error))
        files += kept
        if result:
            _line(result)
        if cell.scenario:
            # Write after each pair, because all pairs together take long.
            pairs.write(pairs.report(swept, kernel, files))
    content = pairs.report(swept, kernel, files)
    pairs.write(content)
    if target:
        target.write_text(pairs.document(content, matrix))
    head, *body = pairs.rows(content)
    table = Table(*head, box=None)
    for row in body:
        table.add_row(*row)
    Console().print(table)
    click.echo(f"{pairs.summary(content)}; {target or pairs.REPORT}")
    return 1 if content["violations"] or content["errors"] else 0


def _line(result: Result) -> None:
    click.echo(
        f"{result.scenario:24} {result.points:6} points on {len(result.places):5} instructions,"
        f" {len(result.failures)} violations, {result.seconds:.0f} s"
    )


def _say(found: Finding, file: Path) -> None:
    click.echo("\n".join(["", *found.what]))
    click.echo(
        f"  the last stimulus came before `{found.where['instruction']}` at {found.where['function']}"
        f" ({found.where['in']})"
    )
    for name, where in found.where.items():
        if name.startswith("vCPU"):
            click.echo(f"  {name}: {where}")
    click.echo(f"  shirq replay {file}\n  shirq debug {file}\n")


def replays_agree(chosen: list[scenario.Scenario], kernel: str, times: int) -> bool:
    """Replay runs of a few scenarios repeatedly and check that their logs are identical. Differing logs are kept."""
    same = True
    with shown(f"{times} replays of {REPLAYED} runs") as tell:
        for index, item in enumerate(chosen[:REPLAYED]):
            case = run.case_of(item, kernel, range(0, 20_000, 500), 300_000)
            place = findings.FINDINGS / f"replays-{item.name}-{kernel}"
            shutil.rmtree(place, ignore_errors=True)
            runs: dict[str, Path] = {}
            for number in range(1, times + 1):
                kept = place / str(number)
                if runs.setdefault(case.run(keep=kept).recording.digest, kept) != kept:
                    shutil.rmtree(kept)
                tell(f"[{index * times + number}/{times * REPLAYED}] {item.name}")
            click.echo(f"{item.name:18} {times} replays gave {len(runs)} different logs")
            if len(runs) == 1:
                shutil.rmtree(place)
                continue
            same = False
            first, other = (read_log(kept).entries for kept in list(runs.values())[:2])
            one, another = next((pair for pair in zip(first, other, strict=False) if pair[0] != pair[1]), ("", ""))
            click.echo(f"  the first entries that differ:\n    {one}\n    {another}")
            click.echo(f"  {', '.join(map(str, runs.values()))}")
    return same


@click.command()
@_finding
@click.option("--before", default=0, type=click.IntRange(0), metavar="N", help="Stop N instructions earlier.")
@click.option("--batch", multiple=True, metavar="COMMAND", help="Run gdb commands and exit.")
def debug(path: Path, before: int, batch: tuple[str, ...]) -> None:
    """Play a violation again, stop where its last stimulus comes, and attach gdb to the guest.

    The guest stops before an instruction; gdb has all symbols of its kernel, modules and program. Go on from there with
    `stepi`, breakpoints and `continue`. To go back, `shirq-back N` plays the run again up to N instructions earlier:
    the run is identical each time.

    \b
    shirq debug build/sweep/reassert-6.1-1/finding.json
    shirq debug FILE --before 200 --batch 'info registers rip' --batch 'x/5i $rip'
    """
    found = Finding.load(path)
    sys.exit(gdb.session(found.case, found.case.last_ns - before, batch))


COMMANDS = (sweep, debug)
