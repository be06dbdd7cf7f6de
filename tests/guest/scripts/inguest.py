# SPDX-License-Identifier: MIT
"""Helpers of the scripts that run in the guest.

The host also imports this module and the scripts, for their names and types: an import must not access a device.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import errno
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ParamSpec

import edu
import shirq
from shirq import abi

_P = ParamSpec("_P")

#: PCI address of the script's device. The loader sets it before it loads the script.
ADDRESS = ""
#: The timeout of a wait in the guest, in seconds. It is practically infinite, because the guest's clock is unreliable
#: here: it runs on while a busy host does not run the guest, and it jumps if the guest counts instructions and is idle.
#: The host's own deadlines end a test whose event does not come.
TIMEOUT = 1_000_000
SET = edu.PROGRAMS
INT_ACK = edu.INT_ACK
INT_STATUS = 0x24
INT_MASK = 0x28
INT_RAISE = 0x60
INT_MASK_CLEAR = 0x6C

libc = ctypes.CDLL(None, use_errno=True)


# ---------------------------------------------------------------- results of calls


def fails(call: Callable[_P, object], *arguments: _P.args, **options: _P.kwargs) -> str:
    """Make a call; returns the name of its error number, or OK."""
    try:
        call(*arguments, **options)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "OK"


def attempt(call: Callable[_P, object], *arguments: _P.args, **options: _P.kwargs) -> shirq.ShirqError:
    """Make a call that must be refused; returns its error."""
    try:
        call(*arguments, **options)
    except shirq.ShirqError as error:
        return error
    raise SystemExit(f"{call} was not refused")


def refused(call: Callable[_P, object], *arguments: _P.args, **options: _P.kwargs) -> shirq.ProgramRefused:
    """Make a call whose program must be refused; returns its error."""
    error = attempt(call, *arguments, **options)
    assert isinstance(error, shirq.ProgramRefused), error
    return error


def libc_errno() -> str:
    """Return the name of the error number of the last call by `libc`."""
    return errno.errorcode[ctypes.get_errno()]


# ---------------------------------------------------------------- communication with the test on the host


def report(*what: object, sep: str = " ") -> None:
    """Print a line that the test may wait for."""
    print(*what, sep=sep, flush=True)


def proceed() -> None:
    """Wait for a line from the test."""
    sys.stdin.readline()


# ---------------------------------------------------------------- owners


def loaded(programs: shirq.ProgramSet = SET, mask: shirq.Program = ()) -> shirq.Device:
    """Open the device and load a set."""
    device = shirq.Device.open(ADDRESS)
    device.load(programs, mask)
    return device


def armed(master: bool = False, shared: bool = True, auto_unmask: bool = True) -> tuple[shirq.Device, shirq.Registers]:
    """Open the device, load `SET` and arm; returns the device and its BAR 0."""
    device = loaded()
    if master:
        device.set_master(True)
    device.arm(shared=shared, auto_unmask=auto_unmask)
    return device, device.mmap(0)


def pending() -> tuple[shirq.Device, shirq.Registers]:
    """Arm with bus mastering and read one event; the device stays masked. Returns the device and its BAR 0."""
    device, registers = armed(master=True, auto_unmask=False)
    report("armed")
    assert device.read(timeout=TIMEOUT).r[0] == 1
    report("pending")
    return device, registers


def silence(device: shirq.Device, seconds: float) -> str:
    """Return "silence" if no event comes within ``seconds``, else "an event"."""
    try:
        device.read(timeout=seconds)
    except TimeoutError:
        return "silence"
    return "an event"


def quarantined(device: shirq.Device) -> shirq.Event:
    """Read until the device is quarantined; returns that event."""
    while (event := device.read(timeout=TIMEOUT)).type is shirq.EventType.IRQ:
        pass
    assert event.type is shirq.EventType.QUARANTINED, event
    return event


def reason(event: shirq.Event) -> str:
    """The name of a quarantine's reason."""
    return abi.Quarantine(event.flags).name or ""


def kind(event: shirq.Event) -> str:
    """The name of the event's type."""
    return shirq.EventType(event.type).name


def become_nobody() -> None:
    """Drop all privileges."""
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)


# ---------------------------------------------------------------- programs

#: An irq program that claims if a source is pending, and neither masks nor acknowledges.
CLAIM = """
    read32 r0, bar0+0x2c
    skip_if_not_zero r0, ours
    decline
ours:
    claim
"""


def low_irq(masked: int = 0xFF) -> str:
    """An irq program that does not look at the sources above the lowest eight; it masks the sources ``masked``."""
    return f"""
        read32 r0, bar0+0x2c
        and r0, 0xff
        skip_if_not_zero r0, ours
        decline
    ours:
        claim
        load r1, {masked:#x}
        write32 bar0+0x68, r1
    """


def with_irq(text: str, programs: shirq.ProgramSet = SET) -> shirq.ProgramSet:
    """Return the set with another irq program."""
    return dataclasses.replace(programs, irq=shirq.assemble(text))


def acknowledging() -> shirq.ProgramSet:
    """A set whose irq program acknowledges."""
    return shirq.ProgramSet.from_text(
        mode=abi.Mode.ACKNOWLEDGES,
        irq=CLAIM + "write32 bar0+0x64, r0",
        unmask="load r0, -1\nwrite32 bar0+0x6c, r0",
        release="load r0, -1\nwrite32 bar0+0x68, r0\nwrite32 bar0+0x64, r0",
    )


def kept_mask() -> shirq.ProgramSet:
    """A set whose irq program saves the mask of the sources, and whose unmask program restores it."""
    return shirq.ProgramSet.from_text(
        irq=CLAIM
        + """
            read32 r4, bar0+0x28            # INT_MASK
            load r1, 0xffffffff
            write32 bar0+0x68, r1           # INT_MASK_SET
        """,
        unmask="xor r4, 0xffffffff\nwrite32 bar0+0x6c, r4",
        release="load r0, -1\nwrite32 bar0+0x68, r0\nwrite32 bar0+0x64, r0",
    )


def useless_mask() -> shirq.ProgramSet:
    """A set whose irq program claims correctly, but whose mask has no effect on the device."""
    return with_irq("""
        read32 r0, bar0+0x2c, gone_if_ones
        skip_if_not_zero r0, ours
        decline
    ours:
        claim
        load r1, 1
        write32 bar0+0x04, r1   # LIVENESS: no mask
    """)


def useless() -> shirq.ProgramSet:
    """A set whose irq program does not mask and whose release program does not silence the device."""
    return dataclasses.replace(useless_mask(), release=shirq.assemble("read32 r0, bar0"))


def wrong_release() -> shirq.ProgramSet:
    """A set whose release program lets the device assert."""
    return dataclasses.replace(SET, release=shirq.assemble("load r1, 0xffffffff\nwrite32 bar0+0x6c, r1"))


# ---------------------------------------------------------------- the kernel and the device


def stat(name: str) -> int:
    """Return one of the device's counters."""
    return int((Path("/sys/class/shirq") / ADDRESS / "stats" / name).read_text())


def calls() -> int:
    """Return the number of calls of the device's handler."""
    return stat("claims") + stat("declines") + stat("silent")


def state(name: str = "state") -> str:
    """Return the device's state, or another attribute of the device."""
    return (Path("/sys/class/shirq") / ADDRESS / name).read_text().strip()


def command() -> int:
    """Return the PCI Command register."""
    return int.from_bytes((Path("/sys/bus/pci/devices") / ADDRESS / "config").read_bytes()[4:6], "little")


def set_command(value: int) -> None:
    """Write the PCI Command register."""
    fd = os.open(f"/sys/bus/pci/devices/{ADDRESS}/config", os.O_RDWR)
    os.pwrite(fd, value.to_bytes(2, "little"), 4)
    os.close(fd)


def reset() -> None:
    """Reset the device by sysfs."""
    Path("/sys/bus/pci/devices", ADDRESS, "reset").write_text("1")


@contextlib.contextmanager
def resetting() -> Iterator[None]:
    """Reset the device by sysfs again and again during the block."""
    over = threading.Event()

    def again_and_again() -> None:
        while not over.is_set():
            reset()

    thread = threading.Thread(target=again_and_again)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


# ---------------------------------------------------------------- processes and threads


def child(call: Callable[[], object]) -> str:
    """Make the call in a child process; returns OK, or the name of the signal that ended it."""
    pid = os.fork()
    if not pid:
        call()
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return "OK" if not code else signal.Signals(-code).name


def begun_late() -> None:
    """Wait until the function of the module `late` was called, which the test loads."""
    while Path("/sys/module/late/parameters/begun").read_text().strip() != "Y":
        time.sleep(0.01)


def go_on() -> None:
    """Let that function go on."""
    Path("/sys/module/late/parameters/go").write_text("1")


def asleep_in(thread: threading.Thread, call: str) -> None:
    """Wait until the thread sleeps in a system call; ``call`` is the start of its line in /proc/.../syscall."""
    while not Path(f"/proc/self/task/{thread.native_id}/syscall").read_text().startswith(f"{call} "):
        time.sleep(0.01)


def asleep_in_read(thread: threading.Thread, device: shirq.Device) -> None:
    """Wait until the thread sleeps in a read() of the device."""
    asleep_in(thread, f"0 {device.fileno():#x}")
