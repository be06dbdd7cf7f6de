"""Python scripts that run in the guest, with the binding: each finds the same names at hand."""

from __future__ import annotations

import textwrap

from shirq_bench.agent import Command
from shirq_bench.machine import ADDRESSES
from shirq_bench.scene import Scene

#: What every script finds. `fails` gives the name of an error number, or OK; `status` a child's end.
_PREAMBLE = """
import ctypes, dataclasses, errno, fcntl, mmap, os, runpy, select, signal, socket, struct, sys, threading, time
from pathlib import Path
import shirq
from shirq import abi
from shirq.program import Op
ADDRESS = "%s"
edu = runpy.run_path("/usr/bin/shirq-edu.py")
SET = edu["PROGRAMS"]
libc = ctypes.CDLL(None, use_errno=True)
def fails(call, *arguments, **options):
    try:
        call(*arguments, **options)
    except OSError as error:
        return errno.errorcode[error.errno]
    return "OK"
def report(*what):
    print(*what, flush=True)
def proceed():
    sys.stdin.readline()
def child(call):
    pid = os.fork()
    if not pid:
        call()
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return "OK" if not code else signal.Signals(-code).name
def stat(name):
    return int((Path("/sys/class/shirq") / ADDRESS / "stats" / name).read_text())
def state(name="state"):
    return (Path("/sys/class/shirq") / ADDRESS / name).read_text().strip()
def command():
    return int.from_bytes((Path("/sys/bus/pci/devices") / ADDRESS / "config").read_bytes()[4:6], "little")
"""


def start(scene: Scene, device: str, script: str) -> Command:
    """Start a script; ``device`` is what its ADDRESS names."""
    return scene.vm.agent.start("python3", "-c", _PREAMBLE % ADDRESSES[device] + textwrap.dedent(script))


def finish(command: Command, deadline: float = 60.0) -> list[str]:
    """Wait until a script has ended well; returns the lines that it has printed."""
    result = command.wait(deadline)
    assert result.status == 0, result.stderr
    return result.stdout.splitlines()


def run(scene: Scene, device: str, script: str) -> list[str]:
    """Run a script to its end; returns the lines that it has printed."""
    return finish(start(scene, device, script))
