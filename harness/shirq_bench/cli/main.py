# SPDX-License-Identifier: MIT
"""The command line `shirq`: guests, kernels, logs, campaigns and the cache. Make forwards to it."""

from __future__ import annotations

import contextlib
import errno
import select
import sys
from typing import Any

import click
from click.shell_completion import get_completion_class

from shirq_bench.channels.log import ClockError, LogError, TraceError
from shirq_bench.cli import (
    bench,
    build,
    campaign,
    case,
    clients,
    demo,
    determinism,
    diagnose,
    doctor,
    explore,
    fuzz,
    guests,
    handover,
    intake,
    matrix,
    mutants,
    new,
    proofs,
    rewinds,
    store,
    sweep,
    timeline,
    torture,
    zoo,
)
from shirq_bench.errors import BenchError
from shirq_bench.observe.judge import BrokenRuleError
from shirq_bench.supervisor import SupervisorGone
from shirq_bench.vm import pool


class _Failure(click.ClickException):
    def show(self, file: Any = None) -> None:
        click.echo(f"shirq: {self.message}", err=True)


class _Shirq(click.Group):
    """Print errors as one message, with status 1; wrong usage has click's status 2."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except (BenchError, LogError, TraceError, ClockError, BrokenRuleError, SupervisorGone) as error:
            raise _Failure(str(error)) from error
        except OSError as error:
            if error.errno == errno.EPIPE and _reader_is_gone():
                raise
            raise _Failure(f"{error.filename or 'the operating system'}: {error.strerror or error}") from error
        finally:
            # While the threads of their channels still run.
            pool.close()


def _reader_is_gone() -> bool:
    """Whether the reader of standard output or standard error has closed its pipe."""
    watched = select.poll()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):  # closed, or not a file
            watched.register(stream.fileno(), 0)
    return any(state & (select.POLLERR | select.POLLHUP) for _, state in watched.poll(0))


@click.group(cls=_Shirq, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="shirq-bench")
def main() -> None:
    """Run guests with devices on one shared interrupt line, and examine the line.

    \b
    shirq run -- cat /proc/interrupts      a fresh guest, one command, its exit status
    shirq shell                            a fresh guest on this terminal
    shirq shell --from build/artefacts/X   the guest of a failed test, on this terminal
    shirq trace build/demo/vm              the timeline of a run
    shirq bundle build/artefacts/X         a failure as one file
    shirq replay X.shirq.zip               the same failure again, elsewhere
    shirq sweep reassert                   an interrupt at every instruction while another one is handled
    shirq new DIR                          a small project for your own driver, its case and its test
    shirq case run FILE --driver PATH      a case with your own driver: a module's source, or a program
    shirq import dmesg.txt lspci.txt       the facts of a bug report, and a guest with the same line
    shirq diagnose report/                 what may be wrong with the line: hypotheses, tried in guests
    shirq doctor                           what this machine lacks

    A guest is a clone of a template that was booted once. It is ready in a fraction of a second and is deleted when the
    command ends. `shirq COMMAND --help` has more examples, `shirq completion --help` explains completion with TAB.
    """


@main.command()
@click.argument("kind", metavar="SHELL", type=click.Choice(["bash", "zsh", "fish"]))
def completion(kind: str) -> None:
    """Print the shell code that completes shirq's commands, options and kernels.

    \b
    eval "$(shirq completion bash)"       in ~/.bashrc
    eval "$(shirq completion zsh)"        in ~/.zshrc
    shirq completion fish | source        in ~/.config/fish/config.fish
    """
    found = get_completion_class(kind)
    assert found is not None
    click.echo(found(main, {}, "shirq", "_SHIRQ_COMPLETE").source())


for _command in (
    *guests.COMMANDS,
    *timeline.COMMANDS,
    *store.COMMANDS,
    *sweep.COMMANDS,
    *handover.COMMANDS,
    *proofs.COMMANDS,
    *build.COMMANDS,
    *campaign.COMMANDS,
    *intake.COMMANDS,
    bench.command,
    case.case,
    clients.command,
    demo.command,
    determinism.command,
    diagnose.command,
    doctor.command,
    explore.command,
    fuzz.command,
    matrix.command,
    mutants.command,
    new.command,
    rewinds.command,
    torture.command,
    zoo.zoo,
):
    main.add_command(_command)
