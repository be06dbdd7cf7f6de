# SPDX-License-Identifier: MIT
"""Runs gdb on a guest that is stopped before a chosen instruction. To go back in time, the run is played again."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from shirq_bench.errors import BenchError
from shirq_bench.provision import kernel
from shirq_bench.replay import stopped, symbols
from shirq_bench.replay.case import Case

#: gdb's exit status when its user wants to go back.
_BACK = 42

_COMMANDS = """\
set pagination off
set confirm off
set architecture i386:x86-64
define shirq-back
  eval "shell echo %d >{request}", $arg0
  quit {back}
end
document shirq-back
shirq-back N: start a new session, N instructions before the point at which this one began.
end
"""


def session(case: Case, at_ns: int, batch: Sequence[str] = ()) -> int:
    """Debug a case from ``at_ns`` on; returns gdb's status. With ``batch``, gdb runs these commands and ends.

    Raises `BenchError` if there is no gdb.
    """
    if not shutil.which("gdb"):
        raise BenchError("gdb was not found: install the package gdb")
    with tempfile.TemporaryDirectory(prefix="shirq-gdb-") as name:
        directory = Path(name)
        files = _symbol_files(case, directory)
        request = directory / "back"
        while True:
            script = directory / "commands"
            script.write_text(_COMMANDS.format(request=request, back=_BACK))
            with stopped.stopped(case, at_ns) as vm:
                path = vm.dir / "gdb"
                vm.qmp.execute("human-monitor-command", command_line=f"gdbserver unix:{path},server=on,wait=off")
                argv = ["gdb", "-q", "-nx", "-x", str(script), *files, "-ex", f"target remote {path}"]
                for command in batch:
                    argv += ["-ex", command]
                status = subprocess.run([*argv, "-batch"]).returncode if batch else _on_terminal(argv)
            if status != _BACK:
                return status
            at_ns -= int(request.read_text())


def _on_terminal(argv: Sequence[str]) -> int:
    """Run a program and return its status. Ctrl-C on the terminal interrupts only the program, not this process."""
    # Install a handler, not SIG_IGN: the program would inherit SIG_IGN, but starts with the default instead of a
    # handler.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        return subprocess.run(argv).returncode
    finally:
        signal.signal(signal.SIGINT, before)


def _symbol_files(case: Case, directory: Path) -> list[str]:
    """Arguments that give gdb the symbols: the kernel's vmlinux, or the names in /proc/kallsyms if it has none."""
    known = symbols.of(case.machine)
    tree = kernel.get(case.machine.kernel).headers
    vmlinux = tree / "vmlinux"
    # A kernel that was not built here may still have a vmlinux, which contains types only.
    if not (tree / "System.map").exists():
        vmlinux = directory / "kernel"
        symbols.elf(known, vmlinux)
    arguments = ["-ex", f"symbol-file {vmlinux}"]
    for program in known.programs:
        arguments += ["-ex", f"add-symbol-file {program}"]
    return arguments
