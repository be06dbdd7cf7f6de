# SPDX-License-Identifier: MIT
"""shirq drives QEMU's stock cards on a line with a busy in-kernel driver: no interrupt is lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import pytest

from guest.card_drivers import counts_of
from shirq_bench.channels.log import LogReader
from shirq_bench.channels.network import GUEST_IP, Network
from shirq_bench.deadline import Deadline
from shirq_bench.observe.scene import Driver, Scene, handler_name
from shirq_bench.plugin import Boot
from shirq_bench.vm.machine import ADDRESSES, LOAD_MODULE, NEIGHBOUR_CARD, NEIGHBOUR_UP, Machine

#: The least duration of the load, in ns of guest time, and the least number of replies on each network.
_DURATION_NS = 60_000_000_000
_QUERIES = 500
#: Seconds between a reply and the next query, and between two computations of edu: a higher rate only fills the trace.
_PAUSE_S = 0.005
#: The driver of each card. The cards' slots are wired to the same line: see `gsi_of`.
_CARDS = {"edu0": "qemu-edu", "rtl0": "rtl8139", "ne0": "ne2000"}
_ADDRESSES = {"edu0": "0000:00:04.0", "rtl0": "0000:00:08.0", "ne0": "0000:00:10.0"}
_WIRES = {"nic0": "net0", "rtl0": "net1", "ne0": "net2"}
#: The test boots this machine, because edu cannot be migrated and so cannot be cloned.
_MACHINE = Machine(
    devices=(
        "edu,id=edu0,addr=4",
        "rtl8139,id=rtl0,addr=8,netdev=net1,mac=52:54:00:12:34:57,romfile=",
        "ne2k_pci,id=ne0,addr=10,netdev=net2,mac=52:54:00:12:34:58,romfile=",
        NEIGHBOUR_CARD,
        "shirq-edu,id=clock,addr=5",
    ),
    networks=("net0", "net1", "net2"),
    # With deterministic, the guest's time stands still while a busy host does not run it.
    deterministic=True,
)


@pytest.fixture
def cards(boot: Boot, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """A guest with the three cards and the running neighbour nic0 on one line; shirq.ko is loaded, no card is bound."""
    for device, address in _ADDRESSES.items():
        monkeypatch.setitem(ADDRESSES, device, address)
    scene = Scene(boot(_MACHINE, cold=True))
    scene.run(f"{NEIGHBOUR_UP} && {LOAD_MODULE}", deadline=120)
    return scene


def _drive(scene: Scene, device: str) -> Driver:
    """Bind a card and start its driver; returns once it is armed."""
    path = f"/usr/share/shirq/drivers/{_CARDS[device]}.py"
    options = ["--ip", GUEST_IP] if device in _WIRES else ["--pause", str(_PAUSE_S)]
    command = scene.vm.agent.start("python3", path, "--bind", *options, ADDRESSES[device])
    command.expect("^armed", deadline=120)
    return Driver(scene.vm, device, command)


@dataclass
class Load:
    """Sends queries on one network, each after the reply to the previous one, until ``over`` is set."""

    network: Network
    over: threading.Event
    answered: int = 0
    failure: Exception | None = None
    thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            while not self.over.wait(_PAUSE_S):
                self.network.ping(deadline=30)
                self.answered += 1
        except Exception as error:
            self.failure = error


@contextmanager
def _load(scene: Scene) -> Iterator[dict[str, Load]]:
    """Send queries on all networks during the block; fail at its end if a query had no reply."""
    over = threading.Event()
    loads = {device: Load(scene.vm.networks[wire], over) for device, wire in _WIRES.items()}
    try:
        yield loads
    finally:
        over.set()
        for load in loads.values():
            load.thread.join()
    for load in loads.values():
        if load.failure:
            raise load.failure


def _let_pass(reader: LogReader, loads: dict[str, Load], deadline: float = 400.0) -> None:
    """Wait until the load has lasted long enough by the log's clock, or has failed."""
    limit = Deadline(deadline)
    begin = end = reader.log().entries[-1].time_ns
    while end - begin < _DURATION_NS or min(load.answered for load in loads.values()) < _QUERIES:
        loads["nic0"].thread.join(0.2)
        if any(load.failure for load in loads.values()):
            return
        assert not limit.passed, f"after {limit}: {(end - begin) / 1e9:.1f} s of guest time, {loads}"
        end = max([end, *(entry.time_ns for entry in reader.poll()[-1:])])


@pytest.mark.long
def test_stock_cards_on_a_busy_line_lose_no_interrupt(cards: Scene) -> None:
    """Stock cards and a busy neighbour share a line for a minute and lose no interrupt."""
    with cards.record(*_CARDS, settled=False) as whole:
        drivers = {device: _drive(cards, device) for device in _CARDS}
        irq = cards.irq("eth0")
        assert all(cards.irq(handler_name(device)) == irq for device in drivers), "the devices do not share a line"
        for event in ("entry", "exit"):
            cards.run(f"echo 'irq == {irq}' >/sys/kernel/tracing/events/irq/irq_handler_{event}/filter")

        with ExitStack() as stack:
            reader = stack.enter_context(cards.vm.follow())
            with cards.tracing(buffer_kib=24576) as handlers:
                with _load(cards) as loads:
                    _let_pass(reader, loads)
                # The driver of edu starts a new computation after each: stop it, so that edu is silent when tracing
                # ends.
                drivers["edu0"].stop()
        drivers["edu0"].resume()
        for driver in drivers.values():
            assert driver.end(deadline=120) == 0, driver.command.stderr

    assert handlers.fit and handlers.log
    begin, end = handlers.fit.span_ns
    assert end - begin >= _DURATION_NS, "the trace is shorter than the load by the guest's clock"

    handlers.neighbour_lost("nic0", irq, "eth0").require(at_least=_QUERIES // 2)
    for device in drivers:
        handlers.neighbour_lost(device, irq, handler_name(device)).require(at_least=_QUERIES // 2)
        handlers.false_claims(device, irq).require(at_least=_QUERIES // 2)
    handlers.line_never_masked("nic0").require(at_least=_QUERIES // 2)

    for device, driver in drivers.items():
        counts = counts_of(driver.command)
        assert counts["lost"] == 0
        assert counts["events"] == len(whole.assertions(device)), "the numbers of events and assertions differ"
        if device in _WIRES:
            assert counts["received"] == counts["sent"] == loads[device].answered
            assert counts["dropped"] == 0
        else:
            assert counts["right"] == counts["events"] and counts["wrong"] == 0
