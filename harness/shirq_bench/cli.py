# SPDX-License-Identifier: MIT
"""The command line `shirq`: guests, kernels, logs and the cache, for people."""

from __future__ import annotations

import errno
import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem, get_completion_class
from rich.console import Console
from rich.table import Table

from shirq_bench import doctor as examination
from shirq_bench import housekeeping, splats, template
from shirq_bench.build import kernel
from shirq_bench.build.steps import say
from shirq_bench.errors import BenchError
from shirq_bench.judge import BrokenRuleError
from shirq_bench.machine import ADDRESSES, SHARED_LINE, Machine
from shirq_bench.report import html, model, perfetto, text, vcd
from shirq_bench.sweep import cli as sweeping
from shirq_bench.torture.cli import command as torture
from shirq_bench.trace import ClockError, ClockFit, HandlerCall, Log, LogError, TraceError, parse_ftrace, read_log
from shirq_bench.zoo.cli import zoo

_LOG_NAME = "events.shirqlog"
_Command = TypeVar("_Command", bound=Callable[..., Any])


class _Failure(click.ClickException):
    def show(self, file: Any = None) -> None:
        click.echo(f"shirq: {self.message}", err=True)


class _Shirq(click.Group):
    """What is wrong is said in one message, with status 1; wrong usage has click's status 2."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except (BenchError, LogError, TraceError, ClockError, BrokenRuleError) as error:
            raise _Failure(str(error)) from error
        except OSError as error:
            if error.errno == errno.EPIPE:  # whoever read has seen enough
                raise
            raise _Failure(f"{error.filename or 'the operating system'}: {error.strerror}") from error


class _KernelName(click.ParamType[str]):
    name = "kernel"

    def convert(self, value: str, parameter: click.Parameter | None, context: click.Context | None) -> str:
        if value not in kernel.names() and not Path(value).is_file():
            self.fail(f"no kernel {value!r}: there are {', '.join(kernel.names())}, or give a vmlinuz's path")
        return value

    def shell_complete(self, context: click.Context, parameter: click.Parameter, start: str) -> list[CompletionItem]:
        return [CompletionItem(name) for name in kernel.names() if name.startswith(start)]


@click.group(cls=_Shirq, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="shirq-bench")
def main() -> None:
    """Guests with devices on one shared interrupt line, and what happened on it.

    \b
    shirq run -- cat /proc/interrupts      a fresh guest, one command, its exit status
    shirq shell                            a fresh guest on this terminal
    shirq shell --from build/artefacts/X   the guest of a failed test, to look around in
    shirq trace build/demo/vm              the timeline of a run
    shirq sweep reassert                   an interrupt at every instruction of another one's handling
    shirq doctor                           what this machine lacks

    A guest is a clone of a template that was booted once; it is up in a fraction of a second and gone when the command
    ends. `shirq COMMAND --help` has more examples, `shirq completion --help` says how TAB completes all of it.
    """


# Guests


def _machine_options(command: _Command) -> _Command:
    options = [
        click.option("--kernel", type=_KernelName(), metavar="NAME", help="From `shirq kernels`, or a vmlinuz's path."),
        click.option("--vcpus", type=click.IntRange(1, 64), metavar="N", help="Virtual processors."),
        click.option("--memory", "memory_mib", type=click.IntRange(64), metavar="MIB", help="The guest's memory."),
        click.option("--append", "parameters", metavar="TEXT", help="Further kernel parameters."),
        click.option("--device", "devices", multiple=True, metavar="ARGS", help="A further device, as QEMU's -device."),
        click.option(
            "--from",
            "source",
            type=click.Path(exists=True, path_type=Path),
            metavar="DIR",
            help="The machine of a failed test, from the folder that it left in build/artefacts.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def _machine(source: Path | None, **changes: Any) -> Machine:
    """The machine that the options ask for; says which test it comes from."""
    machine = _failed_machine(source) if source else SHARED_LINE
    given = {name: value for name, value in changes.items() if value}
    if devices := given.pop("devices", ()):
        given["devices"] = (*machine.devices, *devices)
    if "parameters" in given:
        given["parameters"] = f"{machine.parameters} {given['parameters']}".strip()
    return machine.with_(**given)


def _failed_machine(source: Path) -> Machine:
    files = [source] if source.is_file() else sorted(source.glob(template.DESCRIPTION)) or sorted(
        source.glob(f"*/{template.DESCRIPTION}")
    )  # fmt: skip
    if not files:
        raise BenchError(f"{source} holds no {template.DESCRIPTION}: it is no folder of a failed test")
    if len(files) > 1:
        raise BenchError(f"the test had several guests, choose one: {', '.join(str(f.parent) for f in files)}")
    try:
        data = json.loads(files[0].read_text())
        machine = Machine.from_data(data["machine"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BenchError(f"{files[0]} does not describe a machine: {error}") from error
    if test := data.get("test"):
        say(f"the machine of {test}")
    return machine


@main.command()
@_machine_options
@click.option(
    "--script",
    type=click.File("r"),
    metavar="FILE",
    help="A shell script to run, '-' for standard input; words follow.",
)
@click.option("--artefacts", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Keep logs there.")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), default=600.0, show_default=True, metavar="S")
@click.option("--allow-splats", is_flag=True, help="Do not fail when the guest's kernel complains.")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[COMMAND [WORD]...]")
def run(
    script: Any, artefacts: Path | None, timeout: float, allow_splats: bool, words: tuple[str, ...], **options: Any
) -> None:
    """Run a command in a fresh guest, and exit with its status.

    Standard input, output and error are the command's. A command that a signal ends gives 128 plus its number; a
    kernel that complains gives 1, with what it said.

    \b
    shirq run -- lspci -nn
    shirq run --kernel 6.12 -- sh -c 'dmesg | tail'
    shirq run --vcpus 4 --append threadirqs --script stress.sh 1000
    shirq run --artefacts out -- shirq-edu --help; shirq trace out
    """
    if script:
        words = ("sh", "-c", script.read(), "sh", *words)
    if not words:
        raise click.UsageError("give a command, or a script with --script")
    with template.clone(_machine(**options), name="run") as vm:
        vm.boot()
        (vm.dir / template.DESCRIPTION).write_text(json.dumps({"machine": vm.machine.as_data()}))
        command = vm.agent.start(*words, sink=_writer(sys.stdout.buffer), error_sink=_writer(sys.stderr.buffer))
        if script or sys.stdin.isatty():
            command.close_stdin()
        else:
            threading.Thread(target=_feed, args=[command], daemon=True).start()
        try:
            # What a person asks for is not stretched for a slow kernel.
            status = command.wait(timeout / vm.patience).status
            kernel_log = vm.agent.run("dmesg").stdout
            found = [] if allow_splats else splats.scan(kernel_log)
            (vm.dir / "dmesg").write_text(kernel_log)
        finally:
            if artefacts:
                vm.keep(artefacts)
    if found:
        raise BenchError("the guest's kernel complained:\n" + "\n".join(map(str, found)))
    sys.exit(status if status >= 0 else 128 - status)


def _writer(stream: Any) -> Callable[[bytes], None]:
    def write(data: bytes) -> None:
        stream.write(data)
        stream.flush()

    return write


def _feed(command: Any) -> None:
    """Copy standard input to a guest's command until either ends."""
    try:
        while data := os.read(sys.stdin.fileno(), 65536):
            command.write(data)
        command.close_stdin()
    except (OSError, BenchError):
        return


@main.command()
@_machine_options
def shell(**options: Any) -> None:
    """Attach this terminal to the console of a fresh guest; Ctrl-] leaves, and the guest is gone.

    \b
    shirq shell
    shirq shell --kernel debug
    shirq shell --from build/artefacts/tests_guest_test_programs.py_test_...

    With --from the guest is a clone of the template that the failed test began with: run its steps by hand.
    """
    if not sys.stdin.isatty():
        raise click.UsageError("this attaches a terminal, and standard input is none; see `shirq run`")
    machine = _machine(**options)
    with template.clone(machine, name="shell") as vm:
        vm.boot()
        say(f"the guest is up with {', '.join(machine.devices) or 'no devices'}")
        if machine.devices[: len(SHARED_LINE.devices)] == SHARED_LINE.devices:
            say(f"dev0 is at {ADDRESSES['dev0']}: try `shirq-edu {ADDRESSES['dev0']}`")
        say("Ctrl-] leaves")
        vm.console.sendline()
        vm.console.interact()


# What there is


def _bytes(size: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1024
    return f"{size:.3g} GiB"


def _age(seconds: float) -> str:
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return "now"


def _table(*columns: str, right: tuple[str, ...] = ("size", "unused for")) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table


def _print(table: Table) -> None:
    """Whole lines for pipes, folded ones for terminals."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=1000)
    console.print(table)


@main.command()
def kernels() -> None:
    """List the kernels that guests can boot, and which of them are in the cache.

    The list is guest/kernels.toml. A path to a vmlinuz is a kernel, too: `shirq run --kernel ./vmlinuz -- uname -r`.
    """
    table = _table("name", "cached", "release", "size")
    sizes = {item.path: item.size for item in housekeeping.items("kernel")}
    for name in kernel.names():
        if found := kernel.cached(name):
            table.add_row(name, "yes", found.release, _bytes(sizes[found.vmlinuz.parent]))
        else:
            table.add_row(name, "no", "", "")
    _print(table)


@main.command()
def templates() -> None:
    """List the templates: the booted, frozen guests that clones are made of.

    Delete those that nobody has used lately with `shirq gc`.
    """
    table = _table("key", "machine", "size", "unused for")
    for item in housekeeping.items("template"):
        if not item.partial:
            table.add_row(item.path.name, _described(item.path), _bytes(item.size), _age(item.age))
    _print(table)


def _described(directory: Path) -> str:
    try:
        machine = Machine.from_data(json.loads((directory / template.DESCRIPTION).read_text())["machine"])
    except (OSError, ValueError, KeyError, BenchError):
        return "unknown"
    devices = ", ".join(device.split(",")[0] for device in machine.devices) or "no devices"
    more = "".join(f", {word}" for word in (machine.parameters, "deterministic" * machine.deterministic) if word)
    return f"{machine.kernel}, {machine.vcpus} vCPUs, {machine.memory_mib} MiB, {devices}{more}"


# Logs


def _log(path: Path) -> Log:
    return read_log(path / _LOG_NAME if path.is_dir() else path)


_log_argument = click.argument("path", type=click.Path(exists=True, path_type=Path), metavar="LOG")
_line_option = click.option("--line", "gsi", type=int, metavar="GSI", help="The line to show; default: the devices'.")


@main.command()
@_log_argument
@_line_option
def trace(path: Path, gsi: int | None) -> None:
    """Print the timeline of an event log: who did what, when, on a shared line.

    LOG is the file, or a folder that holds events.shirqlog: a failed test's, the demo's, what `shirq run` kept.

    \b
    shirq trace build/demo/vm
    shirq trace build/artefacts/X/vm1 | less -R
    """
    text.show(model.build(_log(path), title=path.name, gsi=gsi))


@main.command()
@_log_argument
@_line_option
@click.option("-o", "--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The page.")
@click.option("--vcd", "waveform", type=click.Path(dir_okay=False, path_type=Path), help="For waveform viewers.")
@click.option("--perfetto", "trace_file", type=click.Path(dir_okay=False, path_type=Path), help="For ui.perfetto.dev.")
@click.option(
    "--ftrace",
    type=click.File("r", errors="replace"),
    metavar="FILE",
    help="The guest's trace, by trace_clock mono, between clock marks: its handlers join the pictures.",
)
@click.option("--irq", type=int, help="The kernel's number of the line in that trace; default: the line's.")
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


# The house


@main.command()
@click.option("--older-than", type=click.FloatRange(min=0), default=30.0, show_default=True, metavar="DAYS")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
def gc(older_than: float, dry_run: bool) -> None:
    """Delete from the cache what has not been used for some time, and what interrupted builds have left.

    All of it is made again when it is asked for. What a build or a guest uses now, and what was asked for within the
    last hour, stays, whatever DAYS says.

    \b
    shirq gc --dry-run
    shirq gc --older-than 7
    """
    table = _table("kind", "name", "size", "unused for")
    freed = 0
    for item in housekeeping.unused(older_than):
        if dry_run or housekeeping.delete(item):
            freed += item.size
            kind = f"{item.kind}, partial" if item.partial else item.kind
            table.add_row(kind, item.name, _bytes(item.size), _age(item.age))
    if table.rows:
        _print(table)
    click.echo(f"{_bytes(freed)} {'would be' if dry_run else 'were'} freed")


_STYLES = {examination.State.OK: "green", examination.State.WARN: "yellow", examination.State.BAD: "bold red"}


@main.command()
def doctor() -> None:
    """Say what this machine has and lacks for the bench, and what to do about it; changes nothing.

    Exits with 1 if anything is bad. A warning is something that works, but slower or later.
    """
    console = Console()
    bad = 0
    for check in examination.examine():
        console.print(f"{check.state:<4}", style=_STYLES[check.state], end="  ")
        console.print(f"{check.subject}: {check.said}", markup=False, highlight=False, soft_wrap=True)
        if check.remedy:
            console.print(f"      -> {check.remedy}", markup=False, highlight=False, soft_wrap=True)
        bad += check.state is examination.State.BAD
    sys.exit(1 if bad else 0)


@main.command()
@click.argument("kind", metavar="SHELL", type=click.Choice(["bash", "zsh", "fish"]))
def completion(kind: str) -> None:
    """Print what makes a shell complete shirq's commands, options and kernels.

    \b
    eval "$(shirq completion bash)"       in ~/.bashrc
    eval "$(shirq completion zsh)"        in ~/.zshrc
    shirq completion fish | source        in ~/.config/fish/config.fish
    """
    found = get_completion_class(kind)
    assert found is not None
    click.echo(found(main, {}, "shirq", "_SHIRQ_COMPLETE").source())


for _command in (*sweeping.COMMANDS, torture, zoo):
    main.add_command(_command)

if __name__ == "__main__":
    main(prog_name="shirq")
