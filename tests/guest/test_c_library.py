# SPDX-License-Identifier: MIT
"""The C library wraps every ioctl of the module, and every function of it works."""

from __future__ import annotations

import ctypes
import errno
import re
import subprocess
from pathlib import Path

from guest.port import behind_a_port
from shirq_bench.observe.scene import Scene
from shirq_bench.paths import GUEST, KMOD
from shirq_bench.plugin import Boot
from shirq_bench.vm.machine import ADDRESSES

_SOURCE = Path(__file__).with_name("library_calls.c")
_MESSAGES = Path(__file__).with_name("library_messages.c")
LIBRARY = GUEST / "lib/shirq.c"
_PROTOTYPE = re.compile(r"^(?:int|volatile void \*) ?(shirq_\w+)\(", re.MULTILINE)


def compiled(target: Path, *arguments: str | Path) -> Path:
    """Compile a program or library with all warnings as errors; returns ``target``, its path."""
    subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-Werror", *arguments, "-o", target], check=True)
    return target


def test_every_call_of_the_c_library_does_what_it_says(scene: Scene, tmp_path: Path) -> None:
    program = compiled(tmp_path / "calls", "-static", f"-I{GUEST}/lib", _SOURCE, LIBRARY)
    scene.run("modprobe uio")
    scene.upload(program, "/tmp/calls")
    with scene.record("dev1") as run:
        result = scene.vm.agent.run("/tmp/calls", ADDRESSES["dev1"])
        assert (result.status, result.stdout) == (0, "done\n"), result.stderr
    assert len(run.assertions()) == 5, "one interrupt before the mask, one after it, three of the ring"


def test_failed_bind_leaves_the_function_to_its_driver(scene: Scene, tmp_path: Path) -> None:
    """Without the module, the function is not touched; one that the module refuses is given back."""
    program = compiled(tmp_path / "calls", "-static", f"-I{GUEST}/lib", _SOURCE, LIBRARY)
    scene.upload(program, "/tmp/calls")
    function = f"/sys/bus/pci/devices/{ADDRESSES['dev0']}"
    scene.run(f"echo {ADDRESSES['dev0']} > {function}/driver/unbind; echo > {function}/driver_override")
    scene.run(f"modprobe uio_pci_generic && echo uio_pci_generic > {function}/driver_override")
    scene.run(f"echo {ADDRESSES['dev0']} > /sys/bus/pci/drivers_probe")
    scene.run("rmmod shirq")
    result = scene.vm.agent.run("/tmp/calls", ADDRESSES["dev0"], str(errno.ENODEV))
    assert result.status == 0, result.stderr
    left = scene.run(f"cat {function}/driver_override; readlink {function}/driver").split()
    assert left[0] == "uio_pci_generic" and left[1].endswith("/uio_pci_generic")


def test_every_call_about_messages_does_what_it_says(boot: Boot, tmp_path: Path) -> None:
    scene = Scene(boot(behind_a_port("msi=on", "pm=on", "pcie=on")))
    program = compiled(tmp_path / "messages", "-static", f"-I{GUEST}/lib", _MESSAGES, LIBRARY)
    scene.upload(program, "/tmp/messages")
    result = scene.vm.agent.run("/tmp/messages", ADDRESSES["dev2"])
    assert (result.status, result.stdout) == (0, "done\n"), result.stderr


def test_c_library_wraps_every_ioctl_and_its_tests_call_all(tmp_path: Path) -> None:
    """The C library wraps every ioctl, and its tests call every function of the library."""
    functions = set(_PROTOTYPE.findall((GUEST / "lib/shirq.h").read_text()))
    library = ctypes.CDLL(str(compiled(tmp_path / "library.so", "-shared", "-fPIC", LIBRARY)))
    assert functions and all(hasattr(library, name) for name in functions)
    calls = set(re.findall(r"#define (SHIRQ_\w+)\s+_IO\(", (KMOD / "shirq.h").read_text()))
    assert calls and not {call for call in calls if f", {call}, " not in LIBRARY.read_text()}
    called = _SOURCE.read_text() + _MESSAGES.read_text()
    assert not {name for name in functions if f"{name}(" not in called}


def test_the_accessors_order_memory_with_registers(tmp_path: Path) -> None:
    """The compiler neither drops nor delays memory writes before a register access, and reads memory again after it."""
    source = tmp_path / "order.c"
    source.write_text(
        """#include "shirq.h"
        void store(volatile void *bar, int *memory) { *memory = 1; shirq_write32(bar, 0, 1); *memory = 2; }
        int load(volatile void *bar, int *memory) { int old = *memory; shirq_read32(bar, 0); return old - *memory; }
        """
    )
    arguments = ["gcc", "-O2", "-Wall", "-Werror", f"-I{GUEST}/lib", "-S", "-o", "-", str(source)]
    text = subprocess.run(arguments, check=True, capture_output=True, text=True).stdout
    functions = {name: body for name, body in re.findall(r"^(store|load):\n(.*?)^\s+\.size", text, re.M | re.S)}
    # The argument ``memory`` is in %rsi.
    assert {name: body.count("(%rsi)") for name, body in functions.items()} == {"store": 2, "load": 2}
