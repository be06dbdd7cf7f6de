# SPDX-License-Identifier: MIT
"""The command line of `make bench`: measure, write build/reports/bench.json and bench.html, guard the baseline."""

from __future__ import annotations

import datetime
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from shirq_bench.campaigns.bench import baseline, cost, guests, page, profile, rate, spin
from shirq_bench.campaigns.bench.contender import CONTENDERS
from shirq_bench.campaigns.bench.targets import judge
from shirq_bench.paths import BUILD, need_checkout
from shirq_bench.provision import kernel
from shirq_bench.provision.steps import shown
from shirq_bench.vm import environment

REPORT = BUILD / "reports" / "bench.json"
PAGE = REPORT.with_suffix(".html")
DOCUMENT = REPORT.with_suffix(".md")
PLOT = REPORT.with_suffix(".svg")
INTERRUPTS = 1000
#: Number of interrupts in CI, which is sufficient for a median, because the counts are exact.
CI_INTERRUPTS = 200
_GUARDED = "6.1"

_Tell = Callable[[str], None]


def _cost(report: dict[str, Any], name: str, tell: _Tell) -> None:
    found = report["kernels"].setdefault(kernel.get(name).release, {})
    found["cost"] = cost.measure(name, INTERRUPTS, tell)
    tell(f"kernel {name}: instructions by function")
    found["profile"] = {contender: asdict(profile.take(name, contender)) for contender in CONTENDERS}
    tell(f"kernel {name}: a driver that spins")
    found["spin"] = spin.measure(name, INTERRUPTS)


def _rate(report: dict[str, Any], name: str, tell: _Tell) -> None:
    report["kernels"].setdefault(kernel.get(name).release, {})["rate"] = rate.measure(name, tell)


def _guest(report: dict[str, Any], name: str, tell: _Tell) -> None:
    report["guest"] = guests.measure(name, tell)


PARTS = {"cost": _cost, "rate": _rate, "guest": _guest}
#: Parts that are measured only on the first kernel.
_ONCE = ("guest",)


def _machine() -> str:
    model = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), ": unknown")
    return f"{os.cpu_count()} processors, {model.partition(':')[2].strip()}; guests under QEMU's TCG"


def _write(report: dict[str, Any], names: list[str]) -> None:
    environment.write_report(REPORT, report, names)
    PAGE.write_text(page.page(report))
    DOCUMENT.write_text(page.document(report))
    PLOT.write_text(page.plot(report))


def run(parts: list[str], names: list[str]) -> None:
    """Measure parts of the benchmark; the earlier figures of other parts stay in the report."""
    report = json.loads(REPORT.read_text()) if REPORT.exists() else {"kernels": {}}
    for part in parts:
        for name in names[:1] if part in _ONCE else names:
            with shown(f"measuring: {part}, kernel {name}") as tell:
                PARTS[part](report, name, tell)
            said = {"date": datetime.date.today().isoformat(), "machine": _machine()}
            _write(report | said, names)
    for release, measured in report["kernels"].items():
        print(f"kernel {release}")
        for target in judge(measured):
            verdict = "met   " if target.met else "MISSED"
            print(f"  {verdict} {target.what}: {target.value:.3f}, at most {target.limit:.3g}")
    print(f"{REPORT}\n{PAGE}")


def guard(reason: str | None) -> bool:
    """Measure the figures of the baseline twice. With a reason, make them the new baseline.

    Return whether both runs agree and are not worse than the baseline.
    """
    if reason is not None:
        need_checkout("accepting a baseline")
    release = kernel.get(_GUARDED).release
    with shown("measuring the instructions of an interrupt, twice") as tell:
        runs = []
        for _ in range(2):
            names = ("shirq", baseline.FLOOR)
            drivers = {name: cost.of_contender(_GUARDED, name, CI_INTERRUPTS) for name in names}
            tell("the neighbour's interrupts")
            runs.append({"drivers": drivers, "neighbour": cost.of_neighbours(_GUARDED, CI_INTERRUPTS, ("shirq",))})
    if runs[0] != runs[1]:
        print(f"two runs must give the same instruction counts, but they differ:\n{runs[0]}\n{runs[1]}")
        return False
    measured = baseline.figures(runs[0])
    if reason is not None:
        baseline.accept(measured, release, datetime.date.today().isoformat(), reason)
    worse = baseline.compare(measured, baseline.load())
    for name, figure in measured.items():
        print(f"{name}: {figure['count']:g} instructions, {figure['above']:g} above the floor of the same run")
    if worse:
        print("\n".join(["worse than the baseline:", *worse]))
        print('if the change is intended: make bench-guard ACCEPT="the reason"')
    return not worse


@click.command("bench")
@click.argument("parts", nargs=-1, type=click.Choice(list(PARTS)), metavar="[PART]...")
@click.option(
    "--kernel", "names", default="6.1,6.12", show_default=True, metavar="NAMES", help="Kernels, separated by commas."
)
@click.option("--guard", "guarded", is_flag=True, help="Compare instruction counts with the committed baseline.")
@click.option("--accept", metavar="REASON", help="With --guard: make the new counts the baseline.")
def command(parts: tuple[str, ...], names: str, guarded: bool, accept: str | None) -> None:
    """Measure the cost of an interrupt and of a guest; writes build/reports/bench.json and bench.html.

    PART is cost (instructions of an interrupt with each driver), rate (interrupts a second) or guest (boots and
    clones); by default all parts are measured. Use an idle machine.
    """
    named = click.get_current_context().get_parameter_source("names") is not ParameterSource.DEFAULT
    if guarded and (parts or named):
        raise click.UsageError("--guard always measures the same figures: it takes neither PART nor --kernel")
    if accept is not None and not guarded:
        raise click.UsageError("--accept makes the figures of --guard the new baseline: give both options")
    if guarded:
        sys.exit(0 if guard(accept) else 1)
    run(list(parts or PARTS), names.split(","))
