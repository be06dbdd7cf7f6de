# SPDX-License-Identifier: MIT
"""Runs UIO programs that were not written for shirq, on a shared line: none loses an interrupt, or harms the line.

Each client serves a device without the interrupt-disable bit, except the one that needs this bit, beside a busy e1000
on the same line. It is killed while its device is masked and pending.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from shirq_bench.channels.network import Network
from shirq_bench.errors import BenchError
from shirq_bench.observe.scene import Scene
from shirq_bench.observe.source_lines import splats_of
from shirq_bench.provision import pynq
from shirq_bench.vm import template
from shirq_bench.vm.machine import ADDRESSES, SHARED_LINE, Machine
from shirq_bench.vm.vm import Vm

_PROGRAMS = "/usr/share/shirq/drivers/clients"
#: Interrupts of each client in `make clients`.
INTERRUPTS = 10_000
#: The entries of the event log that one interrupt of a client may take, with those of the neighbour.
_ENTRIES = 200


@dataclass(frozen=True)
class Client:
    """A program and the profile by which its device is served.

    ``where`` is what the program knows of its device: its ``address``, its ``node``, or its ``name``.
    """

    name: str
    where: str
    profile: str = "shirq-edu"
    device: str = "dev1"
    #: The profile says that a read() that waits unmasks.
    by_read: bool = False


CLIENTS = {
    client.name: client
    for client in (
        Client("pynq", "name"),
        Client("devlib2", "address"),
        Client("devlib2_reads", "address", by_read=True),
        Client("py_uio", "node"),
        Client("chimeratk", "node"),
        Client("howto", "node", profile="pci23", device="dev0"),
    )
}


def machine(kernel: str, interrupts: int = INTERRUPTS) -> Machine:
    """The guest, whose log has room for this number of interrupts."""
    return SHARED_LINE.with_(
        kernel=kernel,
        log_entries=max(SHARED_LINE.log_entries, interrupts * _ENTRIES),
        prepare=(*SHARED_LINE.prepare, "modprobe uio"),
    )


def measure(kernel: str, names: tuple[str, ...], interrupts: int, tell: Callable[[str], None]) -> dict[str, Any]:
    """Run these clients, each in a guest of its own. Returns the figures of `serve` by their names.

    Raises `BenchError` if a rule is broken.
    """
    found = {}
    for name in names:
        tell(f"kernel {kernel}: {name}")
        with template.clone(machine(kernel, interrupts)) as vm:
            found[name] = serve(Scene(vm.boot()), CLIENTS[name], interrupts)
    return found


def serve(scene: Scene, client: Client, interrupts: int) -> dict[str, int]:
    """Let a client serve its device, and kill it. Returns its own figures, those of the module, and the neighbour's.

    Raises `BenchError` unless the client got each interrupt once, the neighbour was served, the line is low, and the
    kernel has not complained.
    """
    _face(scene, client)
    if client.name == "pynq":
        scene.run("mkdir -p /tmp/pynq")
        scene.upload(pynq.uio(), "/tmp/pynq/uio.py")
    where = {"address": ADDRESSES[client.device], "node": "/dev/uio0", "name": client.profile}[client.where]
    with scene.record(client.device) as recorded:
        program = scene.vm.agent.start("python3", f"{_PROGRAMS}/{client.name}.py", str(interrupts), where)
        program.expect("^armed$", 120)
        with _busy(scene.network) as pings:
            scene.raise_(client.device)
            served = program.expect(r"^served=(\d+) lost=(\d+) idle=(\d+)$", 60 + interrupts / 20)
            program.expect("^pending$", 60)
            pinged = pings()
        program.signal(signal.SIGKILL)
        program.wait(30)
        scene.run(f"until grep -q parked /sys/class/shirq/{ADDRESSES[client.device]}/state; do usleep 1000; done")
        scene.network.ping(3)
    recorded.line_low_at_end()
    stats = f"/sys/class/shirq/{ADDRESSES[client.device]}/stats"
    figures = {
        "served": int(served[1]),
        "lost": int(served[2]),
        "idle": int(served[3]),
        "asserted": len(recorded.assertions(client.device)),
        "event": int(scene.run("cat /sys/class/uio/uio0/event")),
        **{name: int(scene.run(f"cat {stats}/{name}")) for name in ("claims", "events", "storms_masked", "line_off")},
        "pings": pinged,
    }
    wanted = {"served": interrupts, "lost": 0, "idle": 0, "storms_masked": 0, "line_off": 0} | {
        name: interrupts + 1 for name in ("asserted", "event", "claims", "events")
    }
    if wrong := {name: figures[name] for name, value in wanted.items() if figures[name] != value}:
        raise BenchError(f"{client.name}: {wrong} instead of { ({name: wanted[name] for name in wrong}) }: {figures}")
    _require_silence(client.name, scene.vm)
    return figures


def _require_silence(name: str, vm: Vm) -> None:
    """Raise `BenchError` if the guest's kernel complains of anything: a disabled line is one of many."""
    if found := splats_of(vm, vm.agent.succeed("dmesg", deadline=60)):
        raise BenchError(f"{name}: the guest's kernel complained:\n" + "\n".join(map(str, found)))


def _face(scene: Scene, client: Client) -> None:
    """Make the client's device a UIO device."""
    profile = f"/usr/share/shirq/profiles/{client.profile}.toml"
    if client.by_read:
        mine = f"/tmp/{client.profile}.toml"
        scene.run(f"{{ cat {profile}; printf '\\n[uio]\\nunmask = \"read\"\\n'; }} >{mine}")
        profile = mine
    scene.run(f"shirqctl uio {ADDRESSES[client.device]} {profile}", deadline=60)


@contextmanager
def _busy(network: Network) -> Iterator[Callable[[], int]]:
    """Keep the neighbour busy: queries that it answers, one after the other. The value gives their number so far."""
    over, begun = threading.Event(), threading.Event()
    done: list[int] = []
    failed: list[Exception] = []

    def ask() -> None:
        try:
            while not over.is_set():
                network.ping(2)
                done.append(2)
                begun.set()
        except Exception as error:
            failed.append(error)
            begun.set()

    thread = threading.Thread(target=ask, name="neighbour")
    thread.start()
    begun.wait()
    try:
        yield lambda: sum(done)
    finally:
        over.set()
        thread.join()
    if failed:
        raise failed[0]
