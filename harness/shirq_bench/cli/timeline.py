# SPDX-License-Identifier: MIT
"""`shirq trace`, `shirq report`: show an event log in readable form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from shirq_bench.channels.log import ClockFit, HandlerCall, Log, parse_ftrace, read_log
from shirq_bench.report import html, model, perfetto, text, vcd

_LOG_NAME = "events.shirqlog"


def _log(path: Path) -> Log:
    return read_log(path / _LOG_NAME if path.is_dir() else path)


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
    text.show(model.build(_log(path), title=path.name, gsi=gsi))


@click.command()
@_log_argument
@_line_option
@click.option("-o", "--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="Page to write.")
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
    path: Path,
    gsi: int | None,
    output: Path,
    waveform: Path | None,
    trace_file: Path | None,
    ftrace: Any,
    irq: int | None,
) -> None:
    """Draw an event log as a page for browsers, a waveform and a trace.

    \b
    shirq report build/demo/vm -o page.html
    shirq report build/demo/vm -o page.html --vcd run.vcd --perfetto run.json
    """
    log = _log(path)
    guest = ftrace.read() if ftrace else ""
    calls: list[HandlerCall] = parse_ftrace(guest) if guest else []
    fit: ClockFit | None = log.clock() if guest else None
    picture = model.build(log, title=path.name, gsi=gsi, calls=calls, fit=fit, irq=irq)
    output.write_text(html.render(picture), encoding="utf-8")
    if waveform:
        with waveform.open("w") as file:
            vcd.write(picture, file)
    if trace_file:
        with trace_file.open("w") as file:
            perfetto.write(picture, file, ftrace=guest, fit=fit)


COMMANDS = (trace, report)
