# SPDX-License-Identifier: MIT
"""`shirq matrix`: the tests on one kernel after another."""

from __future__ import annotations

import datetime
import json
import sys

import click

from shirq_bench.campaigns import matrix
from shirq_bench.cli.machines import KernelName
from shirq_bench.paths import BUILD, need_checkout
from shirq_bench.provision import kernel
from shirq_bench.provision.steps import shown
from shirq_bench.vm import environment

REPORT = BUILD / "reports" / "matrix.json"


@click.command("matrix")
@click.option(
    "--kernel",
    "names",
    multiple=True,
    type=KernelName(),
    metavar="NAME",
    help="Only this kernel; more than once for several.",
)
@click.option("--set", "chosen", type=click.Choice(list(matrix.SETS)), default="smoke", show_default=True)
@click.option("--document", is_flag=True, help="Write docs/matrix.md from what was run now and before.")
def command(names: tuple[str, ...], chosen: str, document: bool) -> None:
    """Run the tests that every kernel must pass, on each kernel of Debian; or all guest tests, with --set guest.

    Results go to build/reports/matrix.json, where those of other kernels stay. Exits with 1 if a test failed.
    """
    top = need_checkout("running its tests")
    report = json.loads(REPORT.read_text()) if REPORT.exists() else {"kernels": {}}
    names = names or tuple(kernel.names(stock=True))
    for name in names:
        with shown(f"the {chosen} tests, kernel {name}"):
            found = matrix.measure(top, name, chosen)
        failed = found["failed"]
        verdict = "FAILED" if failed else "passed"
        print(f"{verdict}  {name:8} {found['release']}: {found['passed']} passed, {len(failed)} failed,", end=" ")
        print(
            f"{found['skipped']} skipped, {found['seconds']} s", *(f"\n  {test}" for test in failed), sep="", flush=True
        )
        report["kernels"][name] = {**found, "date": datetime.date.today().isoformat()}
        environment.write_report(REPORT, report, names)
    print(REPORT)
    if document:
        (top / "docs" / "matrix.md").write_text(matrix.document(report, kernel.names()))
    sys.exit(any(report["kernels"][name]["failed"] for name in names))
