# SPDX-License-Identifier: MIT
"""`shirq mutants`: small bugs, and whether the tests notice them."""

from __future__ import annotations

import functools
import itertools
import json
import math
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click

from shirq_bench import supervisor
from shirq_bench.campaigns import registry
from shirq_bench.campaigns.mutants import explain, mutant, report, shards
from shirq_bench.campaigns.mutants.explain import Explained
from shirq_bench.campaigns.mutants.mutant import Mutant
from shirq_bench.campaigns.mutants.trial import SURVIVED, UNTRIED, Verdict, Workshop
from shirq_bench.campaigns.shards import Store
from shirq_bench.cli.machines import kernel_option, size_option
from shirq_bench.errors import BenchError
from shirq_bench.paths import need_checkout
from shirq_bench.provision import checkout
from shirq_bench.provision.steps import shown

#: Time budget of the size that CI runs, in seconds.
CI_BUDGET = 240.0
#: The share of explanations that must name a function that the mutant changes.
_RIGHT = 0.9


def rotated(mutants: Sequence[Mutant], turn: int) -> list[Mutant]:
    """The mutants, rotated for each turn, so that several partial runs cover all of them."""
    ranked = sorted(mutants, key=lambda one: one.name)
    # A step that is coprime to the count spreads the turns over the whole list.
    step = next(step for step in itertools.count(7) if math.gcd(step, len(ranked)) == 1)
    first = turn * step % len(ranked)
    return ranked[first:] + ranked[:first]


@click.command("mutants")
@click.argument("names", nargs=-1, metavar="[MUTANT]...")
@kernel_option
@size_option
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Mutants tried in parallel.")
@click.option("--list", "only_list", is_flag=True, help="List the mutants.")
@click.option(
    "--document",
    is_flag=True,
    help="Write docs/mutants.md: alone from the last report; with --explain, its table of explanations.",
)
@click.option(
    "--from",
    "taken",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Take the results of `shirq campaign mutants --out DIR`, try nothing.",
)
@click.option("--explain", "explained", is_flag=True, help="Measure explanations: does each name the changed function?")
def command(
    names: tuple[str, ...],
    kernel: str,
    size: str,
    jobs: int,
    only_list: bool,
    document: bool,
    taken: Path | None,
    explained: bool,
) -> None:
    """Put each small bug of tests/mutants into a copy of the checkout, and see whether the tests notice it.

    Exits with 1 if a mutant survives that is not declared equivalent, or if a mutant is invalid: its patch does not
    apply any more, the result does not compile, or its tests fail without the patch.

    With --explain, the test or scenario that detects a mutant of a module runs with the mutant and without it, and the
    runs are compared: the explanation should name a function that the mutant changes. The explanations go into
    build/mutants/, the table into build/reports/explained.json; with --document also into docs/mutants.md, where it
    replaces the earlier one. Exits with 1 if fewer than nine of ten do.
    """
    top = need_checkout("trying mutants")
    known = mutant.load(top)
    if only_list:
        for one in known:
            click.echo(f"{one.name:34} {one.title}")
        return
    if taken:
        _take(taken, known)
    if document and not explained:
        if not report.REPORT.exists():
            raise BenchError(f"there is no {report.REPORT}: run `make mutants` first")
        (top / report.DOCUMENT).write_text(report.document(json.loads(report.REPORT.read_text()), _last_explained()))
    if taken or (document and not explained):
        return
    chosen = mutant.choose(top, names)
    if explained:
        sys.exit(_explain(top, [one for one in chosen if explain.fits(one)], kernel, document))
    budget = math.inf
    if size == "ci":
        commit = checkout.commit(top)
        quick = [one for one in chosen if not one.sweep]
        if not quick:
            raise BenchError("size ci leaves out mutants that need a sweep (minutes each), and no others were selected")
        chosen, budget = rotated(quick, int(commit[:8], 16)), CI_BUDGET
        click.echo(f"size ci: no sweeps, at most {budget:g} s; commit {commit[:8]} selects the first: {chosen[0].name}")

    def keep(verdicts: Sequence[Verdict]) -> dict[str, Any]:
        content = report.data(sorted(verdicts, key=lambda verdict: verdict.mutant.name), kernel, size, known)
        report.write(content)
        return content

    verdicts = _try(top, chosen, kernel, jobs, budget, keep)
    if not verdicts:
        raise BenchError(f"no trial has ended within {budget:g} s: `--size full` has no time limit")
    content = keep(verdicts)
    click.echo(f"{report.summary(content)}; {content['seconds']} s; {report.REPORT}")
    sys.exit(1 if content["survivors"] or content["mistakes"] else 0)


def _take(directory: Path, known: Sequence[Mutant]) -> None:
    """Make the report from the results of a campaign."""
    store = Store(directory)
    spec = store.spec()
    if spec["campaign"] != shards.KIND.name:
        raise BenchError(f"{directory} has results of a campaign {spec['campaign']!r}, not of mutants")
    found = store.report(registry.campaign(spec))
    content = report.data(shards.verdicts(found["items"], known), spec["kernel"], "full", known)
    report.write(content)
    click.echo(f"{report.summary(content)}; {report.REPORT}")


def _try(
    top: Path,
    chosen: Sequence[Mutant],
    kernel: str,
    jobs: int,
    budget: float,
    keep: Callable[[Sequence[Verdict]], object],
) -> list[Verdict]:
    """Try mutants; after each trial, ``keep`` is called with all verdicts so far."""
    started = time.monotonic()
    with (
        supervisor.owned_directory("shirq-mutants-") as work,
        shown("mutants") as tell,
        ThreadPoolExecutor(jobs) as pool,
    ):
        workshop = Workshop(top, kernel, work, started + budget)
        done: list[Verdict] = []
        one_at_a_time = threading.Lock()

        def one(item: Mutant) -> None:
            if time.monotonic() >= workshop.until:
                return
            how_far = f"[{len(done) + 1}/{len(chosen)}] {item.name}"
            verdict = workshop.try_(item, lambda what: tell(f"{how_far}: {what}"))
            if verdict.verdict != UNTRIED:
                with one_at_a_time:
                    done.append(verdict)
                    _say(verdict)
                    keep(done)

        try:
            for future in [pool.submit(one, item) for item in chosen]:
                future.result()
        finally:
            # End all trials now: the pool waits for them, also after Ctrl-C.
            workshop.stop.set()
            pool.shutdown(cancel_futures=True)
    return done


def _explain(top: Path, chosen: Sequence[Mutant], kernel: str, document: bool) -> int:
    """Explain mutants and write the report, with ``document`` also the table in the page; returns the exit status."""
    if not chosen:
        raise BenchError("none of these mutants changes the code of a module and is detected in a guest")
    done: list[Explained] = []
    with shown("explanations of mutants") as tell:
        for number, one in enumerate(chosen, 1):
            how_far = f"[{number}/{len(chosen)}] {one.name}"
            try:
                found = explain.explain(top, one, kernel, functools.partial(_tell, tell, how_far))
            except (BenchError, OSError) as error:
                found = Explained(one, (), why=str(error).partition("\n")[0])
            done.append(found)
            click.echo(f"{'right' if found.right else 'WRONG':9} {one.name:34} {found.line or found.why}")
            # Write after each mutant, because all of them take long.
            report.write(explain.data(done, kernel), report.EXPLAINED)
    content = _last_explained()
    assert content
    if document:
        page = top / report.DOCUMENT
        page.write_text(report.with_explained(page.read_text(), content))
    click.echo(f"{content['right']} of {content['total']} explanations name a changed function; {report.EXPLAINED}")
    return 0 if content["right"] >= _RIGHT * content["total"] else 1


def _tell(tell: Callable[[str], None], how_far: str, what: str) -> None:
    tell(f"{how_far}: {what}")


def _last_explained() -> dict[str, Any] | None:
    """The last report of explanations, if there is one."""
    if not report.EXPLAINED.exists():
        return None
    content: dict[str, Any] = json.loads(report.EXPLAINED.read_text())
    return content


def _say(verdict: Verdict) -> None:
    by = f" by {verdict.by}" if verdict.by else ""
    click.echo(f"{verdict.verdict:9} {verdict.mutant.name:34} {verdict.seconds:4.0f} s{by}")
    if verdict.verdict == SURVIVED and not verdict.mutant.equivalent:
        click.echo(f"  {verdict.mutant.title}: no test detects it; write one")
    elif verdict.detail:
        click.echo(f"  {verdict.detail}")
