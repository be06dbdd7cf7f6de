# SPDX-License-Identifier: MIT
"""`shirq import`: a bug report's facts, and a guest with the same line. `shirq collect`: a script for such a report."""

from __future__ import annotations

import json
from pathlib import Path

import click

from shirq_bench.intake import join, output, rebuild, text
from shirq_bench.paths import require_own
from shirq_bench.vm.template import DESCRIPTION

SCRIPT = join.COLLECT
#: The folder of the report's texts, in a folder that `shirq import` writes.
TEXTS = "report"


@click.command("collect")
def collect() -> None:
    """Print a shell script that collects a report on the machine that has the problem.

    \b
    shirq collect >collect.sh
    sh collect.sh                        there, as root: writes shirq-report.tar.gz
    shirq import shirq-report.tar.gz     here

    It needs only a POSIX shell and its usual programs; lspci, dmesg and journalctl are used where they exist. Serial
    numbers, MAC and IP addresses, UUIDs, names of host and users, and all parameters of the kernel that do not bear on
    interrupts are left out.
    """
    click.echo(SCRIPT.read_text(), nl=False)


@click.command("import")
@click.argument("reports", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="REPORT...")
@click.option("--json", "as_json", is_flag=True, help="Print the facts as JSON.")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Folder for the guest's description."
)
def command(reports: tuple[Path, ...], as_json: bool, out: Path | None) -> None:
    """Read a bug report about an interrupt line, and print its facts.

    REPORT is a file with any mixture of dmesg, journal, /proc/interrupts, lspci, /sys/kernel/irq, mail and forum text,
    also quoted, wrapped or cut; or a folder of such files, or an archive, such as `shirq collect` makes. Give all files
    of one report together.

    Each fact has the file and line that states it. Nothing is guessed: what the texts do not say is listed with the
    command that says it, and texts that contradict each other are listed with both values.

    \b
    shirq import dmesg.txt interrupts.txt lspci.txt
    shirq import mail.txt --json | jq .suspects
    shirq import report/ --out guest && shirq shell --from guest

    With --out, DIR/machine.toml describes a guest with the same functions on the same lines; its comments say what the
    report does not. DIR/machine.json is the same for `shirq shell --from DIR`. DIR/report
    has the texts, for `shirq diagnose`.
    """
    if out:
        require_own(out / TEXTS, out / DESCRIPTION)
    texts = text.read(reports)
    found = join.report(texts)
    if as_json:
        click.echo(json.dumps(output.data(found), indent=2))
    else:
        for line in output.text(found):
            click.echo(line)
    if out:
        rebuilt = rebuild.build(found)
        files = rebuild.write(rebuilt, out)
        text.save(texts, out / TEXTS)
        click.echo(f"guest: {', '.join(map(str, files))}", err=as_json)
        for one in rebuilt.left_out:
            click.echo(f"not in the guest: {one}", err=as_json)


COMMANDS = (collect, command)
