# SPDX-License-Identifier: MIT
"""`make fuzz-device`: random accesses to the emulated device, in a QEMU built with sanitizers.

One seed determines all accesses to BARs and configuration space, steps of the clock, stimuli, faults, other cards,
schedules, resets and snapshots. A sanitizer's report and the end of QEMU are failures; the message names the seed.
"""

from __future__ import annotations

import contextlib
import os
import random
from pathlib import Path

from shirq_bench.errors import BenchError, QmpFailed
from shirq_bench.provision import qemu
from shirq_bench.provision.steps import shown
from shirq_bench.vm.board import Board

#: Debugging information is needed because the sanitizers' reports name source lines.
_SANITIZERS = ("--enable-asan", "--enable-ubsan", "--enable-debug-info")
_REPORTS = ("AddressSanitizer", "runtime error:", "LeakSanitizer")
_BATCH = 400
_ROUND = 20_000

PRESETS = ("edu", "plx9050", "e1000-like", "rtl8139-like", "nvme-like", "ahci-like", "pcnet-like")
_OWN = (
    "bar0+0/8 status rc automask; bar0+1/8 enable; bar0+2/16be mask[3:0]; bar0+8/32 cause w0c",
    "bar0+0/32 status wc; bar0+4/32 summary rc group=3; bar0+8/32 active rc; bar0+12/32be[30:5] scratch7 w1s",
    "bar1+0/8 index; bar1+1/8 data; ind+0/8 status w1c; ind+255/8 enable; bar1+2/16 gate[0]; bar0+0/64 mark",
    "bar0+0/32 status w1c; bar0+4/32 count ro rc; bar0+8/16be count wc; bar0+12/32 payload; bar0+16/32 enable",
)
#: Values that are tried for the properties. QEMU must refuse some of them.
FAULTS: dict[str, tuple[object, ...]] = {
    "disintx": ("ok", "read-only", "no-op", "stuck"),
    "intx-status": ("auto", "ok", "zero", "one"),
    "intx-pin": ("A", "B", "C", "D", "none"),
    "dead": ("off", "off", "off", "bars", "all"),
    "posted": ("off", "until-read", "delayed"),
    "posted-ns": (1, 1000, 10_000_000_000),
    "deassert-delay-ns": (0, 1, 5000),
    "status-lag-ns": (0, 1, 5000),
    "storm-ns": (0, 0, 1000, 100_000),
    "storm-sources": (1, 0xFFFFFFFF),
    "reassert": (0, 0, 1, 0xFFFFFFFF),
    "reset-disintx": ("off", "on"),
    "reset-status": (0, 1, 0xFFFFFFFF),
    "reset-unmasked": (0, 1, 0xFFFFFFFF),
    "pm-effective": ("on", "off"),
    "flr-effective": ("on", "off"),
    "pin-stuck": ("off", "on"),
    "intx-with-msi": ("off", "on"),
    "payload-lag-ns": (0, 1, 5000),
    "raise": (1, 2, 0x80000000),
    "lower": (1, 0xFFFFFFFF),
}
_BARS = "bar0=mem:16384,bar1=port:256"
#: The slots of the devices, each with the properties in which the devices differ.
_DEVICES = {4: "pm=on,msi=on,pcie=on", 8: "pm=on,no-soft-reset=on,msi=on", 5: "bar2=mem64:4096"}
_MEMORY = {4: 0xE0000000, 8: 0xE0100000, 5: 0xE0200000}
_PORTS = {4: 0xC000, 8: 0xC100, 5: 0xC200}


def _devices() -> list[str]:
    return [f"shirq-edu,id=dev{slot},addr={slot},{_BARS},{extra}" for slot, extra in _DEVICES.items()]


def _place(slot: int) -> list[str]:
    """Requests that place a device's BARs and switch decoding on."""
    base = 1 << 31 | slot << 11
    requests = []
    for offset, value in ((0x10, _MEMORY[slot]), (0x14, _PORTS[slot]), (0x04, 3)):
        requests += [f"outl 0xcf8 {base | offset:#x}", f"outl 0xcfc {value:#x}"]
    return requests


class Fuzzer:
    """Fuzzes one machine after another, each a clone of the previous one; ``accesses`` counts the accesses so far."""

    def __init__(self, emulator: Path, seed: int, directory: Path) -> None:
        self._emulator = emulator
        self._random = random.Random(seed)
        self._state = directory / "state"
        self._schedule = directory / "schedule"
        self.accesses = 0

    def _value(self, width: int) -> int:
        choose = self._random.choice
        return choose((0, 1, 0x40, (1 << 8 * width) - 1, self._random.getrandbits(8 * width)))

    def _access(self, slot: int) -> str:
        """One access to a memory BAR, a port BAR or configuration space."""
        random = self._random
        kind = random.random()
        width = random.choice((1, 2, 4))
        suffix = {1: "b", 2: "w", 4: "l", 8: "q"}
        self.accesses += 1
        if kind < 0.6:
            width = random.choice((1, 2, 4, 4, 4, 8))
            offset = random.choice(
                (random.randrange(0x130), random.randrange(0x4000 - 8) & ~3, 4 * random.randrange(64))
            )
            if random.random() < 0.5:
                return f"read{suffix[width]} {_MEMORY[slot] + offset:#x}"
            return f"write{suffix[width]} {_MEMORY[slot] + offset:#x} {self._value(width):#x}"
        if kind < 0.85:
            offset = random.choice((0x10, 0x12, 0x3C, 0x3E, random.randrange(0xFC)))
            if random.random() < 0.5:
                return f"in{suffix[width]} {_PORTS[slot] + offset:#x}"
            return f"out{suffix[width]} {_PORTS[slot] + offset:#x} {self._value(width):#x}"
        offset = random.choice((4, 6, random.randrange(0x40, 0x100))) & ~(width - 1)
        select = f"outl 0xcf8 {1 << 31 | slot << 11 | offset & 0xFC:#x}"
        if random.random() < 0.5:
            return f"{select}\nin{suffix[width]} {0xCFC + offset % 4:#x}"
        return f"{select}\nout{suffix[width]} {0xCFC + offset % 4:#x} {self._value(width):#x}"

    def _requests(self) -> list[str]:
        random = self._random
        slot = random.choice(tuple(_DEVICES))
        requests = _place(slot)
        while len(requests) < _BATCH:
            requests += self._access(slot).split("\n")
        requests.append(f"clock_step {random.choice((1, 100, 1000, 50_000))}")
        return requests

    def _disturb(self, board: Board) -> None:
        """Change properties of the device from the host. QEMU refuses invalid combinations, which is not an error."""
        random = self._random
        device = f"dev{random.choice(tuple(_DEVICES))}"
        stopped = random.random() < 0.2
        if stopped:
            board.qmp.execute("stop")
        with contextlib.suppress(QmpFailed):
            kind = random.random()
            if kind < 0.8:
                name = random.choice(tuple(FAULTS))
                board.qmp.set(device, name, random.choice(FAULTS[name]))
            elif kind < 0.9:
                if random.random() < 0.5:
                    board.qmp.set(device, "preset", random.choice(PRESETS))
                else:
                    board.qmp.set(device, "registers", random.choice(_OWN))
            elif kind < 0.97:
                actions = (
                    "raise 1",
                    "lower 1",
                    "mask 1",
                    "unmask 1",
                    "reset",
                    "set dead off",
                    "set storm-ns 0",
                    "note 1",
                )
                lines = [f"+{random.randrange(10**6)} {random.choice(actions)}\n" for _ in range(50)]
                self._schedule.write_text("".join(lines))
                board.qmp.set(device, "schedule", str(self._schedule))
            else:
                board.qmp.execute("system_reset")
        if stopped:
            board.qmp.execute("cont")

    def _restore(self, board: Board, registers: dict[str, str]) -> None:
        for device, text in registers.items():
            board.qmp.set(device, "registers", text)
        board.load(self._state)

    def round(self, registers: dict[str, str] | None) -> dict[str, str]:
        """Fuzz one machine, a clone if ``registers`` are given; returns the registers that its saved state needs."""
        with Board(*_devices(), incoming=registers is not None, emulator=self._emulator) as board:
            try:
                if registers is not None:
                    self._restore(board, registers)
                    board.qmp.execute("cont")
                until = self.accesses + _ROUND
                while self.accesses < until:
                    board.qtest.batch(self._requests())
                    self._disturb(board)
                for slot in _DEVICES:
                    # Save with a working DisINTx: the next machine would refuse the state of a device that ignores the
                    # bit.
                    board.qmp.set(f"dev{slot}", "reset-disintx", "off")
                    board.qmp.set(f"dev{slot}", "disintx", "ok")
                board.save(self._state)
                registers = {f"dev{slot}": str(board.qmp.get(f"dev{slot}", "registers")) for slot in _DEVICES}
            finally:
                output = (board.dir / "qemu.log").read_text(errors="replace")
                if any(report in output for report in _REPORTS):
                    raise BenchError(f"a sanitizer has reported an error; QEMU's output:\n{output}")
        return registers


def run(accesses: int, seed: int, directory: Path) -> int:
    """Fuzz until at least ``accesses`` were made; returns their number. Raises BenchError on a failure."""
    os.environ["ASAN_OPTIONS"] = "detect_leaks=0:detect_stack_use_after_return=0"
    fuzzer = Fuzzer(qemu.build("sanitize", _SANITIZERS), seed, directory)
    registers: dict[str, str] | None = None
    try:
        with shown("fuzzing the device") as show:
            while fuzzer.accesses < accesses:
                registers = fuzzer.round(registers)
                show(f"[{fuzzer.accesses}/{accesses}] accesses")
    except BenchError as error:
        raise BenchError(f"seed {seed}, after {fuzzer.accesses} accesses: {error}") from error
    return fuzzer.accesses
