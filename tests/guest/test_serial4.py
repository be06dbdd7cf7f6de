# SPDX-License-Identifier: MIT
"""Four UARTs with their own enables behind one pin, on a line with a busy neighbour: no byte is lost or doubled."""

from __future__ import annotations

import random
import signal
import socket
import threading
from collections.abc import Callable

import pytest

from guest.card_drivers import counts_of
from shirq_bench.observe.scene import Scene
from shirq_bench.plugin import Boot
from shirq_bench.vm.machine import LOAD_MODULE, NEIGHBOUR_CARD, NEIGHBOUR_UP, Machine

_WIRES = tuple(f"wire{port}" for port in range(1, 5))
_ADDRESS = "0000:00:04.0"
_MACHINE = Machine(
    devices=(
        ",".join(["pci-serial-4x,id=uarts,addr=4", *(f"chardev{port}={wire}" for port, wire in enumerate(_WIRES, 1))]),
        NEIGHBOUR_CARD,
    ),
    networks=("net0",),
    wires=_WIRES,
    prepare=(NEIGHBOUR_UP, LOAD_MODULE),
)


class Echo:
    """Sends data on a port, and reads what comes back, as long as it comes; both at the same time."""

    def __init__(self, wire: socket.socket, data: bytes) -> None:
        self.data, self.got = data, b""
        self.half = threading.Event()
        self._wire = wire
        self._ends = [threading.Thread(target=end, daemon=True) for end in (self._send, self._receive)]
        for end in self._ends:
            end.start()

    def _send(self) -> None:
        self._wire.sendall(self.data)

    def _receive(self) -> None:
        while len(self.got) < len(self.data):
            try:
                self.got += self._wire.recv(4096)
            except TimeoutError:
                break
            if 2 * len(self.got) > len(self.data):
                self.half.set()
        self.half.set()

    def finish(self, deadline: float) -> None:
        """Wait for the end, in seconds at most; fails unless every byte has come back once, in its order."""
        for end in self._ends:
            end.join(deadline)
        pairs = enumerate(zip(self.got, self.data, strict=False))
        wrong = next((number for number, (got, sent) in pairs if got != sent), None)
        assert self.got == self.data, f"{len(self.got)} of {len(self.data)} bytes came; the first wrong one is {wrong}"


@pytest.fixture
def echo(boot: Boot) -> Callable[[int, float], dict[str, int]]:
    """Return a function that sends that many bytes through each port and back, and returns the driver's counts.

    Its second argument is the deadline of each half, in seconds.
    """

    def run(size: int, deadline: float) -> dict[str, int]:
        scene = Scene(boot(_MACHINE))
        driver = scene.vm.agent.start("python3", "/usr/share/shirq/drivers/serial4.py", "--bind", _ADDRESS)
        driver.expect("^armed", deadline=120)
        seed = random.Random(size)
        ports = [Echo(scene.vm.wires[wire], seed.randbytes(size)) for wire in _WIRES]
        for port in ports:
            assert port.half.wait(deadline), [len(each.got) for each in ports]
        # The driver sleeps for a second, as a busy machine may let it; the neighbour's interrupts go on meanwhile.
        pid = scene.run("pidof python3").split()[0]
        scene.run(f"kill -STOP {pid}")
        scene.network.ping(3)
        scene.run(f"sleep 1; kill -CONT {pid}")
        for port in ports:
            port.finish(deadline)
        driver.signal(signal.SIGTERM)
        assert driver.wait(60).status == 0
        return counts_of(driver)

    return run


def test_no_byte_of_four_uarts_is_lost_or_doubled(echo: Callable[[int, float], dict[str, int]]) -> None:
    counts = echo(1 << 11, 100)
    assert counts["received"] == counts["sent"] == 4 << 11 and not counts["lost"]


@pytest.mark.long
def test_no_byte_of_much_data_is_lost_or_doubled(echo: Callable[[int, float], dict[str, int]]) -> None:
    counts = echo(1 << 16, 600)
    assert counts["received"] == counts["sent"] == 4 << 16 and not counts["lost"]
