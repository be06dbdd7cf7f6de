# SPDX-License-Identifier: MIT
"""Sentences of kmod/shirq.h, kmod/README.md and kmod/SECURITY.md that no other test is about, one test each."""

from __future__ import annotations

import re

from guest.guest_python import run
from shirq_bench.machine import ADDRESSES
from shirq_bench.scene import Scene

_TRACING = "/sys/kernel/tracing"


def test_an_event_has_the_time_of_the_handlers_entry(scene: Scene) -> None:
    """`time_ns` is taken before the irq program runs, which is made long here: the tracepoints are around it."""
    scene.run(
        f"cd {_TRACING} && echo mono >trace_clock && echo 1 >tracing_on"
        " && for name in irq claim; do echo 1 >events/shirq/shirq_$name/enable; done"
    )
    lines = run(
        scene,
        "dev1",
        """
        device = shirq.Device.open(ADDRESS)
        device.load(dataclasses.replace(SET, irq=shirq.assemble("read32 r3, bar0+0x24\\n" * 8) + SET.irq))
        device.arm()
        registers = device.mmap(0)
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        registers.write32(0x60, 1)
        event = device.read(timeout=60)
        print(event.time_ns - before, event.time_ns)
        """,
    )
    since, stamp = (int(word) for word in lines[0].split())
    trace = scene.run(f"cat {_TRACING}/trace")
    points = re.findall(rf" (\d+)\.(\d{{6}}): shirq_(irq|claim): {ADDRESSES['dev1']}", trace)
    # Whole microseconds, rounded.
    times = [(name, int(seconds) * 10**9 + int(micros) * 1000) for seconds, micros, name in points]
    claim = [name for name, _ in times].index("claim")
    (name, entry), (_, claimed) = times[claim - 1 : claim + 1]
    assert name == "irq"
    assert claimed - entry > 3000, "the program was too short to show anything"
    assert since > 0
    assert stamp <= entry + 500


def test_command_is_written_for_the_bits_that_are_asked_for(scene: Scene) -> None:
    """Arming clears DisINTx, masking sets it, and of Command nothing else changes but by SET_MASTER."""
    assert run(
        scene,
        "dev0",
        """
        set_command(command() | 0x100)
        device = shirq.Device.open(ADDRESS)
        words = [command()]
        device.load(SET); words.append(command())
        device.arm(); words.append(command())
        seq = device.mask(); words.append(command())
        device.set_master(True); words.append(command())
        device.unmask(seq); words.append(command())
        device.disarm(); words.append(command())
        device.set_master(False); words.append(command())
        device.close(); words.append(command())
        print(hex(words[0] & 0x504), *(hex(word ^ words[0]) for word in words[1:]))
        """,
    ) == ["0x500 0x0 0x400 0x0 0x4 0x404 0x4 0x0 0x0"]


def test_a_claim_is_counted_once_in_every_statistic(scene: Scene) -> None:
    """Claimed, queued, delivered, unmasked: as many of each, and numbers without a gap."""
    assert run(
        scene,
        "dev1",
        """
        names = ("claims", "events", "unmasks", "lost", "masks", "remasks")
        before = [stat(name) for name in names]
        device, registers = armed()
        numbers = []
        for _ in range(20):
            registers.write32(0x60, 1)
            event = device.read(timeout=60)
            numbers.append((event.seq, event.lost, event.source, event.flags))
            registers.write32(edu["INT_ACK"], event.r[0])
        os.set_blocking(device.fileno(), False)
        print(fails(os.read, device.fileno(), 64), numbers == [(seq, 0, 0, 0) for seq in range(1, 21)])
        print(*(stat(name) - count for name, count in zip(names, before)))
        """,
    ) == ["EAGAIN True", "20 20 20 0 0 0"]
