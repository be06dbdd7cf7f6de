# SPDX-License-Identifier: MIT
"""A PC without a guest, controlled by QEMU's qtest protocol instead of a processor, to test device models.

`QTest` speaks the protocol; `Board` is a machine with our emulator, its monitor and its event log. `Function` is one
PCI function on it, reached through ports cf8/cfc as firmware would, `IoApic` and `Pic` are its interrupt controllers.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from shirq_bench.channels.log import Log, read_log
from shirq_bench.channels.qmp import Monitor
from shirq_bench.deadline import STEP, Deadline
from shirq_bench.errors import BenchError, DeadlineExceeded, VmDied
from shirq_bench.provision import qemu
from shirq_bench.vm.emulator import Emulator

#: The ports of PCI configuration mechanism #1.
_CONFIG_ADDRESS = 0xCF8
_CONFIG_DATA = 0xCFC
#: The address from which `Function.enable` places memory BARs upwards.
_BARS = 0xE0000000
#: The port from which `Function.enable_ports` places port BARs upwards.
_PORTS = 0xC000
_IOAPIC = 0xFEC00000
#: The command ports of the 8259s and the ports of their edge/level registers, for lines 0 to 7 and 8 to 15.
_PIC = (0x20, 0xA0)
_ELCR = (0x4D0, 0x4D1)

COMMAND = 0x04
STATUS = 0x06
BAR0 = 0x10
CAPABILITIES = 0x34
COMMAND_IO = 0x0001
COMMAND_MEMORY = 0x0002
COMMAND_INTX_DISABLE = 0x0400
STATUS_INTERRUPT = 0x0008

_SUFFIX = {1: "b", 2: "w", 4: "l", 8: "q"}
_numbers = itertools.count(1)


class QTestFailed(BenchError):
    """QEMU refused a qtest command, or gave an invalid answer."""


class QTest:
    """A client of the qtest protocol on the connected socket ``channel``.

    Every answer must come within ``deadline`` seconds; a busy host stretches this time.
    """

    def __init__(self, name: str, channel: socket.socket, deadline: float = 120.0) -> None:
        self.name = name
        self._channel = channel
        self._channel.settimeout(STEP)
        self._deadline = deadline
        self._arrived = b""
        #: The levels of the intercepted inputs that have changed, by the input's number.
        self.irqs: dict[int, bool] = {}

    def _line(self, request: str) -> str:
        """The next line from QEMU. Raises `DeadlineExceeded` or `VmDied`."""
        end: Deadline | None = None  # created when needed: measuring the host's load is slow
        while b"\n" not in self._arrived:
            try:
                data = self._channel.recv(1 << 16)
            except TimeoutError:
                end = end or Deadline(self._deadline)
                if end.passed:
                    raise DeadlineExceeded(f"{self.name}: qtest: no answer to {request} within {end}") from None
                continue
            except OSError as error:
                raise VmDied(f"{self.name}: qtest: {request}: {error}") from error
            if not data:
                raise VmDied(f"{self.name}: qtest: {request}: the connection is closed")
            self._arrived += data
        line, _, self._arrived = self._arrived.partition(b"\n")
        return line.decode("ascii").strip()

    def _send(self, requests: Sequence[str]) -> None:
        try:
            self._channel.sendall("".join(f"{request}\n" for request in requests).encode())
        except OSError as error:
            raise VmDied(f"{self.name}: qtest: {requests[0]}: {error}") from error

    def command(self, *words: object) -> list[str]:
        """The words of QEMU's answer, without its OK. Raises QTestFailed, DeadlineExceeded or VmDied."""
        request = " ".join(map(str, words))
        self._send([request])
        while True:
            line = self._line(request)
            answer = line.split()
            if answer[:1] == ["IRQ"]:
                self.irqs[int(answer[2])] = answer[1] == "raise"
            elif answer[:1] == ["OK"]:
                return answer[1:]
            else:
                raise QTestFailed(f"{self.name}: qtest: {request}: {line}")

    def batch(self, requests: Sequence[str]) -> None:
        """Send all the requests before reading the answers, which are dropped. Raises the same errors as `command`.

        Keep the number of requests below the connection's buffer, some hundred requests.
        """
        self._send(requests)
        for request in requests:
            while (line := self._line(request)).startswith("IRQ"):
                pass
            if not line.startswith("OK"):
                raise QTestFailed(f"{self.name}: qtest: {request}: {line}")

    def read(self, address: int, width: int = 4) -> int:
        """Read ``width`` (1, 2, 4 or 8) bytes of physical memory."""
        return int(self.command(f"read{_SUFFIX[width]}", hex(address))[0], 0)

    def write(self, address: int, value: int, width: int = 4) -> None:
        """Write ``width`` (1, 2, 4 or 8) bytes of physical memory."""
        self.command(f"write{_SUFFIX[width]}", hex(address), hex(value))

    def inp(self, port: int, width: int = 4) -> int:
        """Read ``width`` (1, 2 or 4) bytes from an I/O port."""
        return int(self.command(f"in{_SUFFIX[width]}", hex(port))[0], 0)

    def outp(self, port: int, value: int, width: int = 4) -> None:
        """Write ``width`` (1, 2 or 4) bytes to an I/O port."""
        self.command(f"out{_SUFFIX[width]}", hex(port), hex(value))

    def clock_step(self, nanoseconds: int | None = None) -> int:
        """Advance virtual time, to the next timer if no length is given; returns the new time in ns."""
        return int(self.command("clock_step", *([] if nanoseconds is None else [nanoseconds]))[0])

    def intercept_inputs(self, path: str) -> None:
        """Record in `irqs` the levels of the inputs of the device at the QOM ``path``; one device per connection."""
        self.command("irq_intercept_in", path)

    def close(self) -> None:
        self._channel.close()


class Board:
    """A machine with ``devices`` (``-device`` arguments) and no guest. Use as a context manager.

    ``machine`` is QEMU's name of a PC: q35, or pc. With ``incoming``, the machine is a clone that waits for `load`.
    ``log`` has further properties of the event log; None means no event log. ``extra`` is passed to QEMU unchanged.
    ``emulator`` is another build of our QEMU.
    """

    def __init__(
        self,
        *devices: str,
        machine: str = "q35",
        incoming: bool = False,
        log: str | None = "",
        extra: Sequence[str] = (),
        accel: str = "qtest",
        emulator: Path | None = None,
    ) -> None:
        self.name = f"board{next(_numbers)}"
        self._devices = devices
        self._machine = machine
        self._incoming = incoming
        self._log = log
        self._extra = extra
        self._accel = accel
        self._binary = emulator
        self._bars = itertools.count(_BARS, 0x100000)
        self._ports = itertools.count(_PORTS, 0x100)
        self._resources = contextlib.ExitStack()
        self._emulator = Emulator(self.name)
        self.log_path = self.dir / "event.log"

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            self._start()
            undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _arguments(self, channels: Mapping[str, int]) -> list[str]:
        argv = ["-machine", self._machine, "-accel", self._accel, "-m", "16M"]
        # Unplug through the slot's registers, which a test can write. Unplug by ACPI would need an ACPI interpreter in
        # a guest.
        argv += ["-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off"]
        argv += ["-chardev", f"socket,id=qmp,fd={channels['qmp']}", "-mon", "chardev=qmp,mode=control"]
        argv += ["-chardev", f"socket,id=qtest,fd={channels['qtest']}", "-qtest", "chardev:qtest"]
        argv += ["-qtest-log", "none"]
        if self._log is not None:
            argv += ["-object", ",".join(filter(None, ["shirq-log", "id=log", f"path={self.log_path}", self._log]))]
        if self._incoming:
            argv += ["-incoming", "defer"]
        for device in self._devices:
            argv += ["-device", device]
        return [*argv, *self._extra]

    def _start(self) -> None:
        self._resources.callback(self._emulator.close)
        ours = self._emulator.start(self._binary or qemu.build(), self._arguments, ("qmp", "qtest"))
        for end in ours.values():
            self._resources.callback(end.close)
        self._resources.callback(self._emulator.kill)
        try:
            self.qmp = Monitor(self.name, ours["qmp"], self.dir / "qmp.log")
        except BenchError as error:
            raise VmDied(f"{self.name}: QEMU did not start: {self._emulator.said()}") from error
        self._resources.callback(self.qmp.close)
        self.qtest = QTest(self.name, ours["qtest"])
        self._resources.callback(self.qtest.close)

    @property
    def dir(self) -> Path:
        """The run directory."""
        return self._emulator.dir

    @property
    def pid(self) -> int:
        """QEMU's process id."""
        return self._emulator.pid

    def wait(self, seconds: float) -> int | None:
        """Wait until QEMU has ended by itself; its exit status, negative for a signal. None: it has not."""
        status = self._emulator.wait(seconds)
        return None if status is None else os.waitstatus_to_exitcode(status)

    def close(self) -> None:
        """End QEMU and delete the run directory."""
        self._resources.close()

    def function(self, slot: int, bus: int = 0) -> Function:
        """Function 0 of ``slot``."""
        return Function(self, bus, slot)

    def bar_address(self) -> int:
        """A free, aligned physical address for a memory BAR of up to 1 MiB."""
        return next(self._bars)

    def port_address(self) -> int:
        """A free, aligned I/O port for a port BAR."""
        return next(self._ports)

    def log(self) -> Log:
        """The event log until now."""
        return read_log(self.log_path)

    def save(self, path: Path) -> None:
        """Stop the machine and write its state to ``path``."""
        self.qmp.execute("stop")
        self._migrate("migrate", path)

    def load(self, path: Path) -> None:
        """Load the state that `save` wrote; the machine must be ``incoming``."""
        self._migrate("migrate-incoming", path)

    def _migrate(self, command: str, path: Path) -> None:
        self.qmp.execute("migrate-set-capabilities", capabilities=[{"capability": "events", "state": True}])
        self.qmp.execute(command, uri=f"file:{path}")
        while (status := self.qmp.wait_event("MIGRATION")["data"]["status"]) != "completed":
            if status == "failed":
                raise BenchError(f"{self.name}: {command} failed; QEMU's output: {(self.dir / 'qemu.log').read_text()}")


@dataclass(frozen=True)
class Function:
    """Function 0 of a slot, seen through its configuration space and its BAR 0."""

    board: Board
    bus: int
    slot: int

    def _select(self, offset: int) -> int:
        address = 1 << 31 | self.bus << 16 | self.slot << 11 | offset & 0xFC
        self.board.qtest.outp(_CONFIG_ADDRESS, address)
        return _CONFIG_DATA + (offset & 3)

    def config_read(self, offset: int, width: int) -> int:
        """``width`` (1, 2 or 4) bytes of configuration space."""
        return self.board.qtest.inp(self._select(offset), width)

    def config_write(self, offset: int, value: int, width: int) -> None:
        """Write ``width`` (1, 2 or 4) bytes of configuration space."""
        self.board.qtest.outp(self._select(offset), value, width)

    def capability(self, identifier: int) -> int:
        """The offset of a capability. Raises LookupError."""
        offset = self.config_read(CAPABILITIES, 1)
        while offset:
            if self.config_read(offset, 1) == identifier:
                return offset
            offset = self.config_read(offset + 1, 1)
        raise LookupError(f"the function in slot {self.slot} has no capability {identifier:#x}")

    def enable(self, address: int | None = None, number: int = 0) -> Bar:
        """Place memory BAR ``number``, at a free address if none is given, switch decoding on and return the BAR."""
        base = self.board.bar_address() if address is None else address
        self.config_write(BAR0 + 4 * number, base, 4)
        self.config_write(COMMAND, self.config_read(COMMAND, 2) | COMMAND_MEMORY, 2)
        return Bar(self.board.qtest, base)

    def enable_ports(self, number: int) -> Ports:
        """Place port BAR ``number`` at a free address, switch decoding on and return the BAR."""
        base = self.board.port_address()
        self.config_write(BAR0 + 4 * number, base, 4)
        self.config_write(COMMAND, self.config_read(COMMAND, 2) | COMMAND_IO, 2)
        return Ports(self.board.qtest, base)

    def set_intx_disable(self, disabled: bool) -> None:
        """Write Command's interrupt-disable bit."""
        command = self.config_read(COMMAND, 2) & ~COMMAND_INTX_DISABLE
        self.config_write(COMMAND, command | COMMAND_INTX_DISABLE * disabled, 2)


@dataclass(frozen=True)
class Bar:
    """A memory BAR at ``base``."""

    qtest: QTest
    base: int

    def read(self, offset: int, width: int = 4) -> int:
        """``width`` bytes at ``offset``."""
        return self.qtest.read(self.base + offset, width)

    def write(self, offset: int, value: int, width: int = 4) -> None:
        """Write ``width`` bytes at ``offset``."""
        self.qtest.write(self.base + offset, value, width)


@dataclass(frozen=True)
class Ports:
    """A port BAR at ``base``."""

    qtest: QTest
    base: int

    def read(self, offset: int, width: int = 4) -> int:
        """``width`` bytes at ``offset``."""
        return self.qtest.inp(self.base + offset, width)

    def write(self, offset: int, value: int, width: int = 4) -> None:
        """Write ``width`` bytes at ``offset``."""
        self.qtest.outp(self.base + offset, value, width)


@dataclass(frozen=True)
class IoApic:
    """The I/O APIC: redirection entries are 64-bit, one for every GSI."""

    qtest: QTest

    LEVEL = 1 << 15
    MASKED = 1 << 16
    REMOTE_IRR = 1 << 14

    def _register(self, index: int) -> int:
        self.qtest.write(_IOAPIC, index)
        return _IOAPIC + 0x10

    def entry(self, gsi: int) -> int:
        """A redirection entry."""
        low, high = (self.qtest.read(self._register(0x10 + 2 * gsi + half)) for half in (0, 1))
        return high << 32 | low

    def program(self, gsi: int, vector: int, *, masked: bool = False, level: bool = True) -> None:
        """Write a redirection entry: fixed delivery to the processor whose APIC has the identifier 0."""
        low = vector | self.LEVEL * level | self.MASKED * masked
        self.qtest.write(self._register(0x11 + 2 * gsi), 0)
        self.qtest.write(self._register(0x10 + 2 * gsi), low)

    def eoi(self, vector: int) -> None:
        """End the level interrupts that have ``vector``."""
        self.qtest.write(_IOAPIC + 0x40, vector)


@dataclass(frozen=True)
class Pic:
    """The pair of 8259s: lines 0 to 15, of which line 2 is the cascade."""

    qtest: QTest

    #: The vector of line 0.
    BASE = 0x30
    CASCADE = 2

    def initialise(self, *, auto_eoi: bool = False) -> None:
        """Initialise both chips, with all lines masked."""
        for chip, port in enumerate(_PIC):
            self.qtest.outp(port, 0x11, 1)
            for word in (self.BASE + 8 * chip, (1 << self.CASCADE, self.CASCADE)[chip], 1 | auto_eoi << 1, 0xFF):
                self.qtest.outp(port + 1, word, 1)

    def unmask(self, lines: Collection[int]) -> None:
        """Unmask exactly these lines; a line above 7 needs the cascade."""
        self._set([port + 1 for port in _PIC], ~self._bits(lines))

    def trigger(self, level: Collection[int]) -> None:
        """Make exactly these lines level-triggered."""
        self._set(_ELCR, self._bits(level))

    def _bits(self, lines: Collection[int]) -> int:
        return sum(1 << line for line in lines)

    def _set(self, ports: Sequence[int], bits: int) -> None:
        for chip, port in enumerate(ports):
            self.qtest.outp(port, bits >> 8 * chip & 0xFF, 1)

    def acknowledge(self, line: int) -> int | None:
        """Acknowledge an interrupt of the chip that has ``line``, by its poll command; returns the interrupt's line."""
        chip = line // 8
        self.qtest.outp(_PIC[chip], 0x0C, 1)
        answer = self.qtest.inp(_PIC[chip], 1)
        return 8 * chip + (answer & 7) if answer & 0x80 else None

    def command(self, line: int, word: int) -> None:
        """Write an operation command word, such as an end of interrupt, to the chip that has ``line``."""
        self.qtest.outp(_PIC[line // 8], word, 1)

    def eoi(self, line: int) -> None:
        """End the interrupt of ``line``."""
        self.command(line, 0x60 | line % 8)
