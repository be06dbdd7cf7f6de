# SPDX-License-Identifier: MIT
"""The command `shirq torture`."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from shirq_bench.campaigns.torture import case as cases
from shirq_bench.campaigns.torture import report
from shirq_bench.campaigns.torture.outside import RUNS_OUR_TESTS
from shirq_bench.campaigns.torture.run import ARTEFACTS, Result, torture
from shirq_bench.errors import BenchError
from shirq_bench.paths import need_checkout
from shirq_bench.provision.steps import say, shown

#: Seconds after which a run of size ci begins no further test on a kernel.
CI_BUDGET_S = 300


@click.command("torture")
@click.argument("names", nargs=-1, metavar="[TEST]...")
@click.option(
    "--kernel", "kernels", default="6.1,debug", show_default=True, metavar="NAMES", help="Kernels, separated by commas."
)
@click.option("--size", type=click.Choice(cases.SIZES), default="full", show_default=True)
@click.option("--attempts", type=click.IntRange(1), metavar="N", help="Attempts of each test; default: by --size.")
@click.option("--seed", type=int, default=1, show_default=True, help="Seed; equal seeds give equal choices.")
@click.option(
    "--duration", type=click.FloatRange(0), metavar="MINUTES", help="Continue with further seeds for this time."
)
@click.option("--list", "only_list", is_flag=True, help="List the tests.")
@click.option("--document", type=click.Path(path_type=Path), metavar="FILE", help="Only write the page of figures.")
def command(
    names: tuple[str, ...],
    kernels: str,
    size: str,
    attempts: int | None,
    seed: int,
    duration: float | None,
    only_list: bool,
    document: Path | None,
) -> None:
    """End owners, bindings, modules and guests again and again, while interrupts flow.

    Without TEST, all tests run. The figures go to build/reports/torture.json, which keeps the figures of other tests.
    The files of a guest with a failure are kept below build/torture/. Exits with 1 if there was a failure.

    \b
    shirq torture --list
    shirq torture kill --kernel 6.1 --attempts 500
    shirq torture --size ci --seed 7
    """
    known = cases.load()
    if only_list:
        table = Table(box=None)
        for heading in ("test", "full", "debug", "ci", "what is done"):
            table.add_column(heading)
        for each in known.values():
            table.add_row(each.name, str(each.full), str(each.attempts("full", "debug")), str(each.ci), each.title)
        Console().print(table)
        return
    if document:
        report.document(document)
        return
    chosen = [cases.get(name) for name in names] or list(known.values())
    for each in chosen:
        if each.by in RUNS_OUR_TESTS:
            need_checkout(f"the torture test {each.name}")
    if size == "ci" and not attempts:
        say(f"{sum(each.ci > 0 for each in chosen)} tests; time budget {CI_BUDGET_S} s per kernel")
    plan = {kernel: _plan(chosen, kernel, size, attempts) for kernel in kernels.split(",")}
    if not any(plan.values()):
        which = ", ".join(each.name for each in chosen)
        raise BenchError(
            f"{which} does not run on {kernels} at size {size}: see its `kernels` and `{size}` in {cases.FILE}"
        )
    until = time.monotonic() + 60 * (duration or 0)
    bad = False
    while True:
        for kernel, planned in plan.items():
            budget = CI_BUDGET_S if size == "ci" and not attempts else math.inf
            bad = not _all(planned, kernel, budget, seed) or bad
        seed += 1
        if time.monotonic() >= until:
            break
    click.echo(f"{report.FILE}")
    sys.exit(1 if bad else 0)


def _plan(chosen: Sequence[cases.Case], kernel: str, size: str, attempts: int | None) -> list[tuple[cases.Case, int]]:
    """The tests that run on a kernel, and the attempts of each."""
    planned = [(each, attempts or each.attempts(size, kernel)) for each in chosen if each.runs_on(kernel)]
    return [(each, wanted) for each, wanted in planned if wanted]


def _all(planned: Sequence[tuple[cases.Case, int]], kernel: str, budget: float, seed: int) -> bool:
    """Run tests on a kernel; return whether all passed."""
    began = time.monotonic()
    good = True
    for each, wanted in planned:
        if time.monotonic() - began > budget:
            say(f"torture {each.name}, kernel {kernel}: left out, the time budget is spent")
        else:
            good = _one(each, kernel, wanted, seed).ok and good
    return good


def _one(case: cases.Case, kernel: str, attempts: int, seed: int) -> Result:
    with shown(f"torture {case.name}, kernel {kernel}") as tell:
        result = torture(case, kernel, attempts, seed, tell)
    report.add(result)
    click.echo(
        f"{result.test:14} {kernel:6} {result.attempts:8} attempts, {len(result.failures)} failures,"
        f" {len(result.splats)} splats, {len(result.lost)} lost interrupts, {result.seconds:.0f} s"
    )
    for what in [*result.failures, *result.splats, *result.lost][:10]:
        click.echo(f"    {what}")
    if not result.ok:
        click.echo(f"    seed {seed}; {ARTEFACTS}/{case.name}-{kernel}-{seed}-*")
    return result
