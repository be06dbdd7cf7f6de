# SPDX-License-Identifier: MIT
"""`shirq run`, `shirq shell`: a fresh guest for one command, or for a terminal."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

import click

from shirq_bench.campaigns.again import command_found
from shirq_bench.cli.machines import chosen, machine_options
from shirq_bench.errors import BenchError
from shirq_bench.observe.source_lines import splats_of
from shirq_bench.provision.steps import say
from shirq_bench.replay import failure
from shirq_bench.replay.failure import OfCommand
from shirq_bench.vm import template
from shirq_bench.vm.machine import ADDRESSES, SHARED_LINE


@click.command()
@machine_options
@click.option(
    "--script",
    type=click.File("r"),
    metavar="FILE",
    help="A shell script to run, '-' for standard input; the words that follow are its arguments.",
)
@click.option(
    "--artefacts", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Keep logs in this folder."
)
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), default=600.0, show_default=True, metavar="S")
@click.option("--allow-splats", is_flag=True, help="Do not fail when the guest's kernel complains.")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[COMMAND [WORD]...]")
def run(
    script: Any, artefacts: Path | None, timeout: float, allow_splats: bool, words: tuple[str, ...], **options: Any
) -> None:
    """Run a command in a fresh guest, and exit with its status.

    The command gets the standard input, unless that is a terminal, and writes to the standard output and error. If a
    signal ends the command, the exit status is 128 plus the signal's number. If the guest's kernel complains, the
    complaints are printed and the exit status is 1.

    \b
    shirq run -- cat /proc/interrupts
    shirq run --kernel 6.12 -- sh -c 'dmesg | tail'
    shirq run --vcpus 4 --append threadirqs --script stress.sh 1000
    shirq run --artefacts out -- shirq-edu --help; shirq trace out
    """
    if script:
        words = ("sh", "-c", script.read(), "sh", *words)
    if not words:
        raise click.UsageError("give a command, or a script with --script")
    with template.clone(chosen(**options), name="run") as vm:
        vm.boot()
        failure.describe(vm.dir, vm.machine)
        command = vm.agent.start(*words, sink=_writer(sys.stdout), error_sink=_writer(sys.stderr))
        # Do not extend a timeout from the command line for a slow kernel.
        deadline = timeout / vm.patience
        # sys.stdin is None if it was closed when this program started.
        if sys.stdin and not sys.stdin.isatty():
            threading.Thread(target=_feed, args=[command, deadline], daemon=True).start()
        else:
            command.close_stdin()
        kernel_log = ""
        failed = ["the command was interrupted"]
        try:
            status = command.wait(deadline).status
            failed = command_found(status, ())
            kernel_log = vm.agent.succeed("dmesg")
            found = [] if allow_splats else splats_of(vm, kernel_log)
            failed = command_found(status, [splat.rule for splat in found])
        except BenchError as error:
            failed = [failure.first_line(str(error))]
            raise
        finally:
            how = OfCommand(tuple(words), timeout, allow_splats)
            kept = not artefacts or _keep(vm, artefacts, kernel_log, failed, how)
    if found:
        raise BenchError("the guest's kernel complained:\n" + "\n".join(map(str, found)))
    sys.exit((status if status >= 0 else 128 - status) or int(not kept))


def _keep(vm: Any, artefacts: Path, kernel_log: str, failed: Sequence[str], how: OfCommand) -> bool:
    """Whether the guest's files were kept. The reason why not is printed: another error may be under way."""
    try:
        vm.keep(artefacts)
        if kernel_log:
            (artefacts / "dmesg").write_text(kernel_log)
        (artefacts / failure.FILE).unlink(missing_ok=True)
        if failed:
            failure.record(artefacts, shlex.join(how.words), failed, how, {"": vm.machine})
    except (OSError, BenchError) as error:
        say(f"the artefacts could not be kept in {artefacts}: {error}")
        return False
    return True


def _writer(stream: TextIO | None) -> Callable[[bytes], None]:
    """A function that writes to a standard stream, which may be closed."""

    def write(data: bytes) -> None:
        if stream:
            stream.buffer.write(data)
            stream.flush()

    return write


def _feed(command: Any, deadline: float) -> None:
    """Copy standard input to a guest's command until the input or the command ends.

    The guest takes input only as fast as the reader of standard output takes what the command makes of it.
    """
    try:
        with contextlib.suppress(io.UnsupportedOperation):  # standard input is not a file: there is none
            while data := os.read(sys.stdin.fileno(), 65536):
                command.write(data, deadline)
        command.close_stdin()
    except (OSError, BenchError) as error:
        command.fail(error)


@click.command()
@machine_options
def shell(**options: Any) -> None:
    """Attach this terminal to the console of a fresh guest; Ctrl-] ends the guest.

    \b
    shirq shell
    shirq shell --kernel debug
    shirq shell --from build/artefacts/tests_guest_test_programs.py_test_...

    With --from, the guest is a clone of the template that the failed test began with: run the test's steps by hand.
    """
    if not (sys.stdin and sys.stdin.isatty()):
        raise click.UsageError("standard input is not a terminal: use `shirq run` instead")
    machine = chosen(**options)
    with template.clone(machine, name="shell") as vm:
        vm.boot()
        say(f"the guest is up with {', '.join(machine.devices) or 'no devices'}")
        if machine.devices[: len(SHARED_LINE.devices)] == SHARED_LINE.devices:
            say(f"dev0 is at {ADDRESSES['dev0']}: try `shirq-edu {ADDRESSES['dev0']}`")
        say("Ctrl-] leaves")
        vm.console.sendline()
        vm.console.interact()


COMMANDS = (run, shell)
