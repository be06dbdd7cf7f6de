# SPDX-License-Identifier: MIT
"""`shirq determinism`: whether runs of busy guests can be repeated, whatever the host does."""

from __future__ import annotations

import sys

import click

from shirq_bench.campaigns import determinism
from shirq_bench.cli.machines import KernelName
from shirq_bench.paths import BUILD
from shirq_bench.provision.steps import say, shown
from shirq_bench.vm import environment

REPORT = BUILD / "reports" / "determinism.json"


@click.command("determinism")
@click.option("--vcpus", type=click.IntRange(1, 64), multiple=True, default=(2, 4), show_default=True, metavar="N")
@click.option("--runs", type=click.IntRange(1), default=1, show_default=True, help="Runs, each with other stimuli.")
@click.option("--replays", type=click.IntRange(1), default=8, show_default=True, help="Replays of each run, 2 s each.")
@click.option("--kernel", "name", type=KernelName(), default="6.1", show_default=True, metavar="NAME")
def command(vcpus: tuple[int, ...], runs: int, replays: int, name: str) -> None:
    """Replay runs of busy guests, and compare log, registers and memory at an exact instruction.

    In turn, a replay has a calm host, a busy monitor, or stops, is of a rewound guest instead of a clone, or is on a
    busy host.
    Writes build/reports/determinism.json. The status is 1 if a replay differs from its run.
    """
    found = []
    for count in vcpus:
        with shown(f"replaying runs with {count} vCPUs, kernel {name}") as tell:
            found.append(determinism.measure(determinism.busy(name, count), runs, replays, tell=tell))
    environment.write_report(REPORT, {"kernel": name, "machines": found}, [name])
    for each in found:
        say(
            f"{each['vcpus']} vCPUs: {each['runs']} runs, {each['replays']} replays,"
            f" {len(each['differences'])} differences: {REPORT}"
        )
    sys.exit(any(each["differences"] for each in found))
