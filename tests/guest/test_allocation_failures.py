# SPDX-License-Identifier: MIT
"""Every allocation of a system call fails once: the call returns the error, has no partial effect, and leaks nothing.

fail-nth lets the n-th allocation of the calling task fail. A call is made with n = 1, 2, ... until it makes fewer. Many
of these allocations are not the module's and their failure is absorbed: then the call succeeds.
"""

from __future__ import annotations

import pytest

from guest.guest_python import finish, start
from shirq_bench.observe.scene import Scene

pytestmark = pytest.mark.needs_kernel("debug")

#: In the guest. `each` tells how a call answered; where it failed, `untouched` must hold. What is left behind all the
#: same lets the next attempt, which gets one allocation further, fail with another errno.
_INJECTION = """
import itertools
debug = Path("/sys/kernel/debug")
if not debug.joinpath("failslab").exists():
    os.system("mount -t debugfs debugfs /sys/kernel/debug")
for fault in ("failslab", "fail_page_alloc"):
    (debug / fault / "ignore-gfp-wait").write_text("N")
    (debug / fault / "verbose").write_text("0")
(debug / "fail_page_alloc/min-order").write_text("0")
kmemleak = debug / "kmemleak"
nth = os.open("/proc/thread-self/fail-nth", os.O_RDWR)
kmemleak.write_text("scan")
kmemleak.write_text("clear")

def each(call, undo, untouched=lambda: True, first=1):
    answers = set()
    for n in itertools.count(first):
        os.pwrite(nth, str(n).encode(), 0)
        try:
            result, answer = call(), "OK"
        except OSError as error:
            answer = errno.errorcode[error.errno]
        left = int(os.pread(nth, 16, 0))
        os.pwrite(nth, b"0", 0)
        if answer == "OK":
            undo(result)
        else:
            assert untouched(), f"allocation {n} has left something behind"
        if left:
            assert answer == "OK", f"{answer} without a failed allocation"
            return n, *sorted(answers)
        answers.add(answer)

def leaks():
    # Memory younger than 5 s is not reported.
    kmemleak.write_text("scan")
    time.sleep(6)
    kmemleak.write_text("scan")
    return kmemleak.read_text()
"""


def _inject(scene: Scene, script: str) -> list[str]:
    """Run a script for dev0 with `_INJECTION` before it; returns the lines that it has printed."""
    return finish(start(scene, "dev0", _INJECTION + script), deadline=200)


def test_binding_fails_cleanly_at_each_allocation(scene: Scene) -> None:
    lines = _inject(
        scene,
        """
driver = Path("/sys/bus/pci/drivers/shirq")
bind, unbind = (os.open(driver / name, os.O_WRONLY) for name in ("bind", "unbind"))
os.pwrite(unbind, ADDRESS.encode(), 0)
# Keep it enabled: ACPI, which looks up the line when it is enabled, does not survive allocation failures.
Path("/sys/bus/pci/devices", ADDRESS, "enable").write_text("1")
def unbound():
    # Quiet, and its regions, node and number are free.
    return not (driver / ADDRESS).exists() and not Path("/sys/class/shirq", ADDRESS).exists() \\
        and not os.path.exists("/dev/shirq/" + ADDRESS) and not command() & 4
print(*each(lambda: os.pwrite(bind, ADDRESS.encode(), 0), lambda _: os.pwrite(unbind, ADDRESS.encode(), 0), unbound))
os.pwrite(bind, ADDRESS.encode(), 0)
print(shirq.Device.open(ADDRESS).info.state.name)
print(leaks() or "no leak")
""",
    )
    allocations, *answers = lines[0].split()
    assert int(allocations) > 20, "hardly any allocation failed"
    # The PCI core returns EBUSY if it cannot allocate a region; it may also have a spare one.
    assert {"ENOMEM", "OK"} <= set(answers) <= {"EBUSY", "ENOMEM", "OK"}
    assert lines[1:] == ["OPEN", "no leak"]


def test_every_call_fails_cleanly_at_each_allocation(scene: Scene) -> None:
    lines = _inject(
        scene,
        """
path = "/dev/shirq/" + ADDRESS
print("open", *each(lambda: os.open(path, os.O_RDWR), os.close, lambda: state() == "parked"))
device = shirq.Device.open(ADDRESS)
nothing = lambda _: None
in_state = lambda name: lambda: state() == name
print("load", *each(lambda: device.load(SET), nothing))
print("exec", *each(lambda: device.exec(SET.release), nothing, in_state("loaded")))
print("arm", *each(device.arm, lambda _: device.disarm(), in_state("loaded")))
print("master", *each(lambda: device.set_master(True), lambda _: device.set_master(False), lambda: not command() & 4))
print("mmap", *each(lambda: mmap.mmap(device.fileno(), 4096), lambda mapping: mapping.close()))
print("fault", *each(lambda: device.mmap(0), lambda registers: registers.read32(0)))
eventfd = os.eventfd(0)
print("eventfd", *each(lambda: device.set_eventfd(eventfd), lambda _: device.set_eventfd(None)))
print("quiesce", *each(device.set_quiesce, nothing))
print("info", *each(lambda: device.info, nothing))
device.arm()
print("state", state())
device.close()
print(leaks() or "no leak")
""",
    )
    assert lines[-2:] == ["state armed", "no leak"]
    answers = {name: found for name, _, *found in map(str.split, lines[:-2])}
    for name in ("open", "load", "exec", "arm", "master", "mmap"):
        assert "ENOMEM" in answers[name], f"no allocation of {name} has failed it"
    assert set().union(*answers.values()) <= {"ENOMEM", "OK"}


def test_module_load_fails_cleanly_at_each_own_allocation(scene: Scene) -> None:
    """Loading the module fails cleanly at each allocation of its own.

    The kernel's loader comes first, with hundreds; the module's own are among the last 150.
    """
    lines = _inject(
        scene,
        """
for function in sorted(Path("/sys/bus/pci/drivers/shirq").glob("0000:*")):
    (function / "driver_override").write_text("\\n")
    Path("/sys/bus/pci/drivers/shirq/unbind").write_text(function.name)
image = Path("/lib/modules", os.uname().release, "extra/shirq.ko").read_bytes()
INIT_MODULE, DELETE_MODULE = 175, 176
def call(number, *arguments):
    if libc.syscall(number, *arguments):
        raise OSError(ctypes.get_errno(), "a module's system call")
insert = lambda: call(INIT_MODULE, image, ctypes.c_ulong(len(image)), b"")
remove = lambda *_: call(DELETE_MODULE, b"shirq", os.O_NONBLOCK)
absent = lambda: not any(Path("/sys", *p).exists() for p in (("class", "shirq"), ("bus", "pci", "drivers", "shirq")))
remove()
os.pwrite(nth, b"1000000", 0)
insert()
allocations = 1000000 - int(os.pread(nth, 16, 0))
os.pwrite(nth, b"0", 0)
remove()
print(*each(insert, remove, absent, first=allocations - 150))
insert()
print(Path("/sys/class/shirq").exists(), leaks() or "no leak")
""",
    )
    allocations, *answers = lines[0].split()
    assert int(allocations) > 300
    # Where the driver core gets no memory for its links to the module, it says EINVAL.
    assert set(answers) - {"EINVAL"} == {"ENOMEM", "OK"}
    assert lines[1:] == ["True no leak"]
