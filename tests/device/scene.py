# SPDX-License-Identifier: MIT
"""A device with faults, for the tests of faults: its registers, its properties, its pin, and a stepped clock."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from shirq_bench.channels.edu import Register
from shirq_bench.channels.log import Kind
from shirq_bench.vm.board import Bar, Board, Function

#: Opens a `Board`.
Start = Callable[..., Board]

INT_STATUS, INT_MASK, INT_ACTIVE = Register.INT_STATUS, Register.INT_MASK, Register.INT_ACTIVE
INT_RAISE, INT_ACK, MARK = Register.INT_RAISE, Register.INT_ACK, Register.MARK
ALL = 0xFFFFFFFF
PM, PCIE, MSI = 1, 0x10, 5
COMMAND_MASTER = 4


class Scene:
    """One device with its first source unmasked."""

    def __init__(self, start: Start, *properties: str, armed: bool = True) -> None:
        self.start = start
        self.now = 0
        self.device = ",".join(["shirq-edu", "id=dev0", "addr=4", *properties])
        self.board = start(self.device)
        self.bar = self.function.enable()
        if armed:
            self.bar.write(INT_MASK, ~1 & ALL)

    @property
    def function(self) -> Function:
        return self.board.function(4)

    def set(self, name: str, value: object) -> None:
        self.board.qmp.set("dev0", name, value)

    def raise_(self, sources: int = 1) -> None:
        self.set("raise", sources)

    def step(self, ns: int) -> None:
        self.now = self.board.qtest.clock_step(ns)

    def pin(self) -> list[int]:
        return [entry.value for entry in self.board.log().of(Kind.PIN, device="dev0")]

    def reset(self) -> None:
        self.board.qmp.execute("system_reset")
        self.board.qmp.wait_event("RESET")
        self.bar = self.function.enable()

    def migrate(self, path: Path, *properties: str) -> None:
        """Continue in a clone with other ``properties``."""
        self.board.save(path)
        self.board = self.start(",".join([self.device, *properties]), incoming=True)
        self.board.load(path)
        # Set the clock, which is not part of the state if tests step it.
        if self.now:
            self.board.qtest.command("clock_set", self.now)
        self.bar = Bar(self.board.qtest, self.bar.base)


def power(scene: Scene, state: int) -> None:
    scene.function.config_write(scene.function.capability(PM) + 4, state, 2)


def messages(scene: Scene, on: bool, address: int = 0xFEE00000, data: int = 0x41) -> None:
    capability = scene.function.capability(MSI)
    scene.function.config_write(capability + 4, address, 4)
    scene.function.config_write(capability + 12, data, 2)
    scene.function.config_write(capability + 2, int(on), 2)
