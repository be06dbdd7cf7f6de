# SPDX-License-Identifier: MIT
"""Whether a device is quiet: judged from the log and the device itself."""

from __future__ import annotations

from shirq_bench.observe.scene import Scene, handler_name
from shirq_bench.vm.machine import ADDRESSES

#: Log entries for a guest in which only the kernel or the test ends a storm, which may take long on a slow host. The
#: log's file grows as it is written.
STORM_ENTRIES = 1 << 23


def line_falls(scene: Scene, device: str) -> None:
    """The device's line is low, or falls soon: a neighbour may just have asserted it."""
    with scene.record(device) as run:
        pass
    run.line_low_at_end()


def line_not_given_up(scene: Scene) -> None:
    """The kernel has not shut a line down because no handler claimed its interrupts."""
    assert scene.run("dmesg | grep -E 'nobody cared|Disabling IRQ' || true") == ""


def is_quiet(scene: Scene, device: str) -> None:
    """The device is masked, it does not master the bus, and nothing that is raised reaches the line.

    Its interrupt-disable bit is set, if it has one.
    """
    assert scene.vm.qmp.get(device, "mask") == 0xFFFFFFFF, "the release program did not run"
    config = f"/sys/bus/pci/devices/{ADDRESSES[device]}/config"
    command = int(scene.run(f"hexdump -s 4 -n 2 -e '1/2 \"%u\"' {config}"))
    assert not command & 0x4, "the device still masters the bus"
    (options,) = (options for options in scene.vm.machine.devices if f"id={device}" in options.split(","))
    assert command & 0x400 or "disintx=read-only" in options, "the interrupt-disable bit is clear"
    scene.raise_(device, bits=0xF0)
    scene.run("true")
    assert not scene.vm.qmp.get(device, "pin"), "the device asserts"
    line_falls(scene, device)
    assert scene.vm.agent.run("grep", handler_name(device), "/proc/interrupts").status == 1
