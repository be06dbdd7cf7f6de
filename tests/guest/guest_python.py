# SPDX-License-Identifier: MIT
"""Python scripts that run in the guest, with the binding: each finds the same names at hand."""

from __future__ import annotations

import textwrap

from shirq_bench.channels.agent import Command
from shirq_bench.observe.scene import Scene
from shirq_bench.vm.machine import ADDRESSES

#: Seconds that a wait in a guest takes at most: the guest's clock runs on while a busy host lets the guest wait.
TIMEOUT = 120

#: What every script finds. `fails` gives the name of an error number, or OK; `attempt` the error itself; `child` a
#: child's end; within `resetting` sysfs resets the device all the time; `armed` is an owner, with BAR 0; `silence`
#: whether nothing comes within so many seconds; `TIMEOUT` is for all other waits; `asleep_in_read` returns when a
#: thread is, `asleep_in` when it is in a call that /proc writes so; `command` and `set_command` are the PCI Command
#: register.
_PREAMBLE = """
import contextlib
import ctypes, dataclasses, errno, fcntl, mmap, os, runpy, select, signal, socket, struct, sys, threading, time
from pathlib import Path
import shirq
from shirq import abi
from shirq.program import Op
ADDRESS = "%s"
TIMEOUT = %d
edu = runpy.run_path("/usr/bin/shirq-edu.py")
SET = edu["PROGRAMS"]
libc = ctypes.CDLL(None, use_errno=True)
def fails(call, *arguments, **options):
    try:
        call(*arguments, **options)
    except OSError as error:
        return errno.errorcode[error.errno]
    return "OK"
def attempt(call, *arguments, **options):
    try:
        call(*arguments, **options)
    except shirq.ShirqError as error:
        return error
    raise SystemExit(f"{call} was not refused")
def armed(master=False, **options):
    device = shirq.Device.open(ADDRESS)
    device.load(SET)
    if master:
        device.set_master(True)
    device.arm(**options)
    return device, device.mmap(0)
def silence(device, seconds):
    try:
        device.read(timeout=seconds)
    except TimeoutError:
        return "silence"
    return "an event"
def report(*what, sep=" "):
    print(*what, sep=sep, flush=True)
def proceed():
    sys.stdin.readline()
def child(call):
    pid = os.fork()
    if not pid:
        call()
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return "OK" if not code else signal.Signals(-code).name
@contextlib.contextmanager
def resetting():
    over = threading.Event()
    def reset():
        while not over.is_set():
            Path("/sys/bus/pci/devices", ADDRESS, "reset").write_text("1")
    thread = threading.Thread(target=reset)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
def stat(name):
    return int((Path("/sys/class/shirq") / ADDRESS / "stats" / name).read_text())
def state(name="state"):
    return (Path("/sys/class/shirq") / ADDRESS / name).read_text().strip()
def asleep_in(thread, call):
    while not Path(f"/proc/self/task/{thread.native_id}/syscall").read_text().startswith(f"{call} "):
        time.sleep(0.01)
def asleep_in_read(thread, device):
    asleep_in(thread, f"0 {device.fileno():#x}")
def set_command(value):
    fd = os.open(f"/sys/bus/pci/devices/{ADDRESS}/config", os.O_RDWR)
    os.pwrite(fd, value.to_bytes(2, "little"), 4)
    os.close(fd)
def command():
    return int.from_bytes((Path("/sys/bus/pci/devices") / ADDRESS / "config").read_bytes()[4:6], "little")
"""

#: In the guest: a set whose irq program acknowledges.
ACKNOWLEDGES = """
acknowledging = shirq.ProgramSet.from_text(
    mode=abi.Mode.ACKNOWLEDGES,
    irq="read32 r0, bar0+0x2c\\nskip_if_not_zero r0, ours\\ndecline\\nours:\\nclaim\\nwrite32 bar0+0x64, r0",
    unmask="load r0, -1\\nwrite32 bar0+0x6c, r0",
    release="load r0, -1\\nwrite32 bar0+0x68, r0\\nwrite32 bar0+0x64, r0")
"""

#: In the guest: an owner that uses every resource of the device, and an interrupt that it has read but not unmasked.
OWNER = """
device, registers = armed(master=True, auto_unmask=False)
report("armed")
assert device.read(timeout=TIMEOUT).r[0] == 1
report("pending")
"""


def start(scene: Scene, device: str, script: str) -> Command:
    """Start a script; its ADDRESS is that of ``device``."""
    return scene.vm.agent.start("python3", "-c", _PREAMBLE % (ADDRESSES[device], TIMEOUT) + textwrap.dedent(script))


def finish(command: Command, deadline: float = 60.0) -> list[str]:
    """Wait until a script has ended successfully; returns its output lines."""
    result = command.wait(deadline)
    assert result.status == 0, result.stderr
    return result.stdout.splitlines()


def run(scene: Scene, device: str, script: str) -> list[str]:
    """Run a script to its end; returns the lines that it has printed."""
    return finish(start(scene, device, script))
