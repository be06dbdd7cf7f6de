# SPDX-License-Identifier: MIT
"""`shirq campaign`: campaigns on one machine, many, or a queue. `shirq merge`: one report from their parts."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from shirq_bench.campaigns import fleet, guest_tests, registry, shards
from shirq_bench.campaigns.explore import actors
from shirq_bench.campaigns.explore import shards as explorations
from shirq_bench.campaigns.items import Items, Kind, describe
from shirq_bench.campaigns.mutants import mutant
from shirq_bench.campaigns.mutants import shards as mutants
from shirq_bench.campaigns.shards import Campaign, Store
from shirq_bench.campaigns.sweep import pairs, scenario
from shirq_bench.campaigns.sweep import shards as sweeps
from shirq_bench.campaigns.zoo import case as cases
from shirq_bench.campaigns.zoo import shards as zoo
from shirq_bench.cli.machines import kernel_option
from shirq_bench.paths import need_checkout
from shirq_bench.provision.steps import shown

_Command = Callable[..., Any]


class _Part(click.ParamType[tuple[int, int]]):
    """I/N, for example 2/8."""

    name = "I/N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        number, slash, of = str(value).partition("/")
        if not (slash and number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
            self.fail(f"{value!r} is no part: write I/N with I from 1 to N, such as 2/8", param, ctx)
        return int(number), int(of)


def _where(command: _Command) -> _Command:
    """The options that say where the shards run, and where their results go."""
    options = [
        click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
                     help="Folder of the results; if it has some of this campaign, the others are run."),
        click.option("--shard", "part", type=_Part(), help="Run the I-th of N parts, here; `shirq merge` joins them."),
        click.option("--local", "workers", type=click.IntRange(1), metavar="N", help="Run on N workers here."),
        click.option("--on", "address", metavar="ADDRESS", help="Run on workers of a Dask scheduler: tcp://HOST:8786."),
        click.option("--tls", nargs=3, metavar="CA CERT KEY", help="With --on tls://HOST:8786: three PEM files."),
        click.option("--patience", default=600.0, show_default=True, metavar="SECONDS",
                     help="With --on: how long to wait for a scheduler that went away."),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


@click.group("campaign")
def campaign() -> None:
    """Run a campaign in shards: on this machine, on many by dask.distributed, or in the parts of a queue.

    A shard is a value with a content hash; its result is a file in DIR/results. If anything dies, start the same
    command again: it goes on with the shards that have no result. DIR/report.json depends on the results alone, so it
    has the same bytes however the campaign was divided.

    \b
    shirq campaign sweep --out nightly --local 2
    shirq campaign sweep --out nightly --on tcp://head:8786     workers: dask worker tcp://head:8786 --resources vm=2
    shirq campaign sweep --out part3 --shard 3/8                then: shirq merge part* --out nightly

    Workers need the same commit and packages; one that has others says so, and takes nothing. A shard that fails, or
    kills its worker, three times is set apart and named in the report. Schedulers and workers run what they are sent:
    let them listen on loopback or use --tls. See docs/howto/fleet.md.
    """


@campaign.command("sweep")
@click.argument("names", nargs=-1, metavar="[SCENARIO]...")
@kernel_option
@click.option("--points", default=0, type=click.IntRange(0), metavar="N", help="Of each window; default: all.")
@click.option("--pairs", "crossed", is_flag=True, help="Also all pairs of operations and stimuli.")
@_where
def sweep(names: tuple[str, ...], kernel: str, points: int, crossed: bool, out: Path, **where: Any) -> None:
    """Sweep scenarios, by default all; SCENARIO may be a pair, OPERATION+STIMULUS. See `shirq sweep`."""
    chosen = [pairs.find(name, "full") for name in names] or list(scenario.load().values())
    if crossed:
        chosen += [cell.scenario for cell in pairs.load().cells("full") if cell.scenario]
    _run(sweeps.Sweeps(sweeps.describe(chosen, kernel, points)), out, **where)


@campaign.command("explore")
@click.argument("names", nargs=-1, metavar="[ACTOR|PAIR]...")
@kernel_option
@click.option("--points", default=0, type=click.IntRange(0), metavar="N", help="Of each pair; default: all.")
@_where
def explore(names: tuple[str, ...], kernel: str, points: int, out: Path, **where: Any) -> None:
    """Explore pairs of actors with one preemption, by default all. See `shirq explore`."""
    chosen = [pair.scenario for pair in actors.choose("full", names) if pair.scenario]
    _run(explorations.Explorations(explorations.describe(chosen, kernel, points)), out, **where)


@campaign.command("mutants")
@click.argument("names", nargs=-1, metavar="[MUTANT]...")
@kernel_option
@_where
def try_mutants(names: tuple[str, ...], kernel: str, out: Path, **where: Any) -> None:
    """Try mutants, by default all. See `shirq mutants`, which also writes the page: `shirq mutants --from DIR`."""
    _items(
        mutants.KIND, [one.name for one in mutant.choose(need_checkout("trying mutants"), names)], kernel, out, **where
    )


@campaign.command("zoo")
@click.argument("names", nargs=-1, metavar="[CASE]...")
@kernel_option
@_where
def play_cases(names: tuple[str, ...], kernel: str, out: Path, **where: Any) -> None:
    """Play cases of the bug catalogue with every driver, by default all. See `shirq zoo`."""
    chosen = [cases.get(name) for name in names or cases.ids()]
    _items(zoo.KIND, zoo.items(chosen), kernel, out, **where)


@campaign.command("tests")
@click.argument("files", nargs=-1, metavar="[FILE]...")
@kernel_option
@_where
def run_tests(files: tuple[str, ...], kernel: str, out: Path, **where: Any) -> None:
    """Run the guests' tests, file by file, but for those that take long; by default all."""
    _items(guest_tests.KIND, guest_tests.items(need_checkout("running its tests"), files), kernel, out, **where)


def _items(kind: Kind, items: Sequence[str], kernel: str, out: Path, **where: Any) -> None:
    _run(Items(kind, describe(kind, items, kernel)), out, **where)


def _run(
    chosen: Campaign,
    out: Path,
    part: tuple[int, int] | None,
    workers: int | None,
    address: str | None,
    tls: tuple[str, str, str] | None,
    patience: float,
) -> None:
    if sum(option is not None for option in (part, workers, address)) > 1:
        raise click.UsageError("--shard, --local and --on each say where shards run: give one of them")
    if tls and not address:
        raise click.UsageError("--tls needs --on")
    store = Store(out)
    store.begin(chosen.spec)
    with shown(f"campaign {chosen.spec['campaign']}") as tell:
        if workers:
            with fleet.local(workers) as cluster:
                fleet.run(chosen, store, cluster, tell)
        elif address:
            security = fleet.security(*tls) if tls else None
            fleet.run(chosen, store, fleet.Cluster(address, security), tell, patience)
        else:
            shards.run_here(chosen, store, *(part or (1, 1)), tell)
    sys.exit(_conclude(store, chosen, divided=part is not None))


def _conclude(store: Store, chosen: Campaign, divided: bool = False) -> int:
    """Write the report; returns the exit status."""
    content = store.report(chosen)
    for key, why in content["apart"].items():
        click.echo(f"shard {key} was set apart: {why}")
    click.echo(f"{content['summary']}, {content['missing']} missing; {store.directory / 'report.json'}")
    return 1 if content["failed"] or content["apart"] or (content["missing"] and not divided) else 0


@click.command("merge")
@click.argument("parts", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), metavar="DIR")
def merge(parts: tuple[Path, ...], out: Path) -> None:
    """Join the results of PARTS, folders of one campaign, in DIR, and write its report.

    Exits with 1 if results are missing, or a rule was broken. Parts of different campaigns, or with different results
    of one shard, are refused.
    """
    store = shards.merge(parts, out)
    sys.exit(_conclude(store, registry.campaign(store.spec())))


COMMANDS = (campaign, merge)
