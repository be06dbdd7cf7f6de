# SPDX-License-Identifier: MIT
"""`make fuzz-device`: random accesses to the emulated device, in a QEMU built with sanitizers.

One seed determines all accesses to BARs and configuration space, steps of the clock, stimuli, faults, other cards,
schedules, resets, snapshots and rewinds. A sanitizer's report, the end of QEMU, and a device that a rewind does not
return to its savepoint are failures; the message names the seed.

Then bytes of saved states are changed. QEMU must load each of these states, or refuse it and say why.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
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
#: The part of the batches after which a savepoint is made, or the machine returns to one.
_REWINDS = 0.1
#: Savepoints of one machine, at most.
_SAVEPOINTS = 4
#: Bytes of a state that are damaged, at most.
_DAMAGED = 4
#: The end of a section of the devices' state in which most of shirq-edu's own fields are, in bytes.
_FIELDS = 3000
#: Seconds that QEMU may take to end after it has refused a state.
_END = 60.0

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
#: What is compared after a rewind besides the faults.
_OBSERVED = (
    *("status", "mask", "pin", "posted-writes", "schedule-left", "raises", "asserts", "acks", "reads", "writes"),
    *("preset", "registers", "schedule"),
)
_COMPARED = (*(FAULTS.keys() - {"raise", "lower"}), *_OBSERVED)
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


def _sections(state: bytes) -> list[range]:
    """The places in a saved state that the I/O APIC and the devices have filled."""
    found = []
    for match in re.finditer(rb"(?s)\x04(.{4}).[\w:./-]*?(?:/shirq-edu|ioapic)\0", state):
        # A section ends with a mark and its own number.
        end = state.index(b"\x7e" + match[1], match.end())
        found.append(range(match.end(), end))
    return found


class _Savepoints:
    """The savepoints of one machine, each with the properties that the devices had then."""

    def __init__(self, board: Board, random: random.Random) -> None:
        self._board = board
        self._random = random
        self._known: list[dict[str, object]] = []
        self.make()

    def _properties(self) -> dict[str, object]:
        qmp = self._board.qmp
        return {f"dev{slot} {name}": qmp.get(f"dev{slot}", name) for slot in _DEVICES for name in _COMPARED}

    def make(self) -> None:
        """Make a savepoint, unless there are enough."""
        if len(self._known) < _SAVEPOINTS:
            self._board.qmp.execute("stop")
            self._board.qmp.execute("shirq-savepoint")
            self._known.append(self._properties())
            self._board.qmp.execute("cont")

    def rewind(self) -> None:
        """Return to one of the savepoints. Raises `BenchError` if a device is not as it was then."""
        number = self._random.randrange(len(self._known))
        self._board.qmp.execute("shirq-rewind", savepoint=number)
        del self._known[number + 1 :]
        then, now = self._known[number], self._properties()
        wrong = [f"{name} was {then[name]!r} and is {now[name]!r}" for name in then if now[name] != then[name]]
        if wrong:
            raise BenchError(f"rewound to savepoint {number}: {'; '.join(wrong)}")
        self._board.qmp.execute("cont")


@dataclass
class Count:
    """What was done: accesses, rewinds, and damaged states that QEMU loaded or refused."""

    accesses: int = 0
    rewinds: int = 0
    loaded: int = 0
    refused: int = 0

    @property
    def states(self) -> int:
        return self.loaded + self.refused


class Fuzzer:
    """Fuzzes one machine after another, each a clone of the previous one; ``done`` counts what was done so far."""

    def __init__(self, emulator: Path, seed: int, directory: Path) -> None:
        self._emulator = emulator
        self._random = random.Random(seed)
        self._state = directory / "state"
        self._schedule = directory / "schedule"
        #: Of the devices of the last machine; empty before the first one.
        self._registers: dict[str, str] = {}
        self.done = Count()

    def _value(self, width: int) -> int:
        choose = self._random.choice
        return choose((0, 1, 0x40, (1 << 8 * width) - 1, self._random.getrandbits(8 * width)))

    def _access(self, slot: int) -> str:
        """One access to a memory BAR, a port BAR or configuration space."""
        random = self._random
        kind = random.random()
        width = random.choice((1, 2, 4))
        suffix = {1: "b", 2: "w", 4: "l", 8: "q"}
        self.done.accesses += 1
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

    def _restore(self, board: Board, state: Path) -> None:
        for device, text in self._registers.items():
            board.qmp.set(device, "registers", text)
        board.load(state)

    def round(self) -> None:
        """Fuzz one machine, a clone of the one before if there was one, and save its state."""
        with self._board(incoming=bool(self._registers)) as board:
            if self._registers:
                self._restore(board, self._state)
                board.qmp.execute("cont")
            savepoints = _Savepoints(board, self._random)
            until = self.done.accesses + _ROUND
            while self.done.accesses < until:
                board.qtest.batch(self._requests())
                self._disturb(board)
                if self._random.random() < _REWINDS:
                    if self._random.random() < 0.5:
                        savepoints.make()
                    else:
                        savepoints.rewind()
                        self.done.rewinds += 1
            for slot in _DEVICES:
                # Save with a working DisINTx: the next machine would refuse the state of a device that ignores the bit.
                board.qmp.set(f"dev{slot}", "reset-disintx", "off")
                board.qmp.set(f"dev{slot}", "disintx", "ok")
            board.save(self._state)
            self._registers = {f"dev{slot}": str(board.qmp.get(f"dev{slot}", "registers")) for slot in _DEVICES}

    def damage(self) -> None:
        """Change bytes of the last machine's state, and load it into another machine, which is then used a little."""
        state = bytearray(self._state.read_bytes())
        sections = _sections(bytes(state))
        for _ in range(self._random.randint(1, _DAMAGED)):
            section = self._random.choice(sections)
            place = self._random.choice((section, section[-_FIELDS:]))
            state[self._random.choice(place)] = self._random.choice((0, 1, 0x7F, 0xFF, self._random.randrange(256)))
        damaged = self._state.with_name("damaged")
        damaged.write_bytes(state)
        with self._board(incoming=True) as board:
            try:
                self._restore(board, damaged)
            except BenchError as error:
                if (status := board.wait(_END)) != 1:
                    raise BenchError(f"QEMU has not refused a state: status {status}; {error}") from error
                self.done.refused += 1
                return
            self.done.loaded += 1
            board.qmp.execute("cont")
            board.qtest.batch(self._requests())

    @contextlib.contextmanager
    def _board(self, incoming: bool) -> Iterator[Board]:
        """A machine with the devices. Raises `BenchError` if a sanitizer reports an error in it."""
        with Board(*_devices(), incoming=incoming, emulator=self._emulator) as board:
            try:
                yield board
            finally:
                output = (board.dir / "qemu.log").read_text(errors="replace")
                if any(report in output for report in _REPORTS):
                    raise BenchError(f"a sanitizer has reported an error; QEMU's output:\n{output}")


def run(accesses: int, states: int, seed: int, directory: Path) -> Count:
    """Fuzz by at least ``accesses`` accesses and ``states`` damaged states; returns what was done.

    Raises `BenchError` on a failure; ``directory`` has the state then.
    """
    os.environ["ASAN_OPTIONS"] = "detect_leaks=0:detect_stack_use_after_return=0"
    fuzzer = Fuzzer(qemu.build("sanitize", _SANITIZERS), seed, directory)
    done = fuzzer.done
    try:
        with shown("fuzzing the device") as show:
            while done.accesses < accesses or done.states < states:
                fuzzer.round()
                show(f"[{done.accesses}/{accesses}] accesses")
                # As large a part of the states as of the accesses.
                while done.states < min(states, states * done.accesses // accesses):
                    fuzzer.damage()
                    show(f"[{done.states}/{states}] states")
    except BenchError as error:
        raise BenchError(
            f"seed {seed}, after {done.accesses} accesses, {done.rewinds} rewinds and {done.states} states: {error}"
        ) from error
    return done
