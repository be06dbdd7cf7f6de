# SPDX-License-Identifier: MIT
"""Assertions that a device is quiet, which use the event log and the device itself."""

from __future__ import annotations

from shirq_bench.observe.scene import Scene, handler_name
from shirq_bench.vm.machine import ADDRESSES

#: The capacity of the event log, in entries, for a guest whose storm is ended only by the kernel or by the test. On a
#: slow host that takes long, and the storm makes many entries. The log's file grows as it is written, so that an unused
#: capacity costs nothing.
STORM_ENTRIES = 1 << 23
#: The parameter of a kernel that is to disable a storming line. A storm that finds both processors idle may stop the
#: clock by which the kernel tells a storm from odd interrupts: it then jumps by more than the 100 ms after which the
#: kernel counts anew, and the line is never disabled.
STORM_PARAMETERS = "nohz=off"


def line_falls(scene: Scene, device: str) -> None:
    """Assert that the device's line is low or falls soon; it may be high for a moment because of a neighbour."""
    with scene.record(device) as run:
        pass
    run.line_low_at_end()


def line_not_given_up(scene: Scene) -> None:
    """Assert that the kernel has not disabled a line because no handler claimed its interrupts."""
    assert scene.run("dmesg | grep -E 'nobody cared|Disabling IRQ' || true") == ""


def is_quiet(scene: Scene, device: str) -> None:
    """Assert that the device is masked, does not master the bus, and does not assert its line when sources are raised.

    If the device has an interrupt-disable bit, assert that the bit is set.
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
