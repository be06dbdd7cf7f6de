# SPDX-License-Identifier: MIT
"""`shirq trace`, `shirq report`: show an event log in readable form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from shirq_bench import supervisor
from shirq_bench.campaigns import twins
from shirq_bench.channels.log import LOG, ClockFit, HandlerCall, parse_ftrace, read_log
from shirq_bench.errors import BenchError
from shirq_bench.replay import bundle, failure
from shirq_bench.report import difference, html, model, perfetto, text, vcd

_log_argument = click.argument("path", type=click.Path(exists=True, path_type=Path), metavar="LOG")
_line_option = click.option("--line", "gsi", type=int, metavar="GSI", help="The line to show; default: the devices'.")


@click.command()
@_log_argument
@_line_option
def trace(path: Path, gsi: int | None) -> None:
    """Print the timeline of an event log: the actions on a shared line, with their origins and times.

    LOG is the file, or a folder that holds events.shirqlog: of a failed test, of the demo, or kept by `shirq run`.

    \b
    shirq trace build/demo/vm
    shirq trace build/artefacts/X/vm1 | less -R
    """
    text.show(model.build(read_log(path), title=path.name, gsi=gsi))


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path), metavar="LOG", required=False)
@_line_option
@click.option(
    "--diff",
    nargs=2,
    type=click.Path(exists=True, path_type=Path),
    metavar="RUN REFERENCE",
    help="Explain a run by another one: logs, folders of guests or failures, or bundles.",
)
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Page to write.")
@click.option("--vcd", "waveform", type=click.Path(dir_okay=False, path_type=Path), help="Waveform to write.")
@click.option("--perfetto", "trace_file", type=click.Path(dir_okay=False, path_type=Path), help="Trace to write.")
@click.option(
    "--ftrace",
    type=click.File("r", errors="replace"),
    metavar="FILE",
    help="The guest's trace with trace_clock mono, between clock marks: adds its handler calls to the pictures.",
)
@click.option("--irq", type=int, help="The line's IRQ number in the guest's trace; default: its GSI.")
def report(
    path: Path | None,
    gsi: int | None,
    diff: tuple[Path, Path] | None,
    output: Path | None,
    waveform: Path | None,
    trace_file: Path | None,
    ftrace: Any,
    irq: int | None,
) -> None:
    """Draw an event log as a page for browsers, a waveform and a trace; or explain a run by another one.

    With --diff, both runs are printed one above the other, from their last common event on, and what follows from the
    difference is said in words; with -o also as a page with pictures. If both folders have a code trace, the function
    in which the runs part is named.

    \b
    shirq report build/demo/vm -o page.html
    shirq report build/demo/vm -o page.html --vcd run.vcd --perfetto run.json
    shirq report --diff build/cases/busy-line/driver build/cases/busy-line/shirq
    shirq report --diff mine.shirq.zip yours.shirq.zip -o page.html
    """
    if diff:
        if path or waveform or trace_file or ftrace:
            raise click.UsageError("--diff compares two runs, and goes with -o and --line alone")
        _explain(diff, gsi, output)
        return
    if not path:
        raise click.UsageError("Missing argument 'LOG', or two runs with --diff.")
    if not output:
        raise click.UsageError("Missing option '-o' / '--output'.")
    log = read_log(path)
    guest = ftrace.read() if ftrace else ""
    calls: list[HandlerCall] = parse_ftrace(guest, "irq_thread_exit" in guest) if guest else []
    fit: ClockFit | None = log.clock() if guest else None
    picture = model.build(log, title=path.name, gsi=gsi, calls=calls, fit=fit, irq=irq)
    output.write_text(html.render(picture), encoding="utf-8")
    if waveform:
        with waveform.open("w") as file:
            vcd.write(picture, file)
    if trace_file:
        with trace_file.open("w") as file:
            perfetto.write(picture, file, ftrace=guest, fit=fit)


def _explain(diff: tuple[Path, Path], gsi: int | None, output: Path | None) -> None:
    with supervisor.owned_directory("shirq-diff-") as place:
        one, other = (_guest(path, place / str(number)) for number, path in enumerate(diff))
        broken = failure.load(diff[0]).found if (diff[0] / failure.FILE).exists() else ()
        titles = (str(diff[0]), str(diff[1]))
        found = twins.explain(one, other, ("the run", "the reference"), titles, twins.part(one, other), broken, gsi)
    click.echo(difference.text(found), nl=False)
    if output:
        output.write_text(difference.page(found), encoding="utf-8")


def _guest(path: Path, place: Path) -> Path:
    """A guest's log, or the folder that holds it: the path itself, or that of the only guest of a failure or bundle."""
    if path.is_file() and path.name.endswith(bundle.SUFFIX):
        path = bundle.unpack(path, place).folder
    if path.is_file() or (path / LOG).exists():
        return path
    logs = sorted(path.glob(f"*/{LOG}"))
    if len(logs) != 1:
        said = f"several guests, choose one: {', '.join(str(log.parent) for log in logs)}" if logs else f"no {LOG}"
        raise BenchError(f"{path} has {said}")
    return logs[0].parent


COMMANDS = (trace, report)
