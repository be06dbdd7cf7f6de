# SPDX-License-Identifier: MIT
"""`shirq rewinds`: what rewinds cost, and whether anything of a run stays."""

from __future__ import annotations

import sys

import click

from shirq_bench.campaigns import rewinds
from shirq_bench.paths import BUILD
from shirq_bench.provision.steps import say, shown
from shirq_bench.vm import environment

REPORT = BUILD / "reports" / "rewind.json"


@click.command("rewinds")
@click.option("--checks", type=click.IntRange(20), default=200, show_default=True, help="Rewinds to check, 0.2 s each.")
@click.option("--kernel", "name", default="6.1", show_default=True, metavar="NAME")
def command(checks: int, name: str) -> None:
    """Measure rewinds of guests, and compare guests after a rewind with their beginning.

    Memory, the devices' state and the timers of half of the guests with one vCPU, half with two, must be as they were.
    Writes build/reports/rewind.json.
    """
    with shown(f"measuring and checking rewinds, kernel {name}") as tell:
        found = rewinds.measure(name, checks, tell)
    environment.write_report(REPORT, found, [name])
    say(
        f"a rewind takes {found['rewind_ms_p50']} ms (99th percentile {found['rewind_ms_p99']} ms), until the guest"
        f" answers {found['ready_ms_p50']} ms, a new clone and its first command {found['fresh_ms_p50']} ms of CPU;"
        f" {found['checked']} rewinds checked, {len(found['differences'])} differences: {REPORT}"
    )
    sys.exit(bool(found["differences"]))
