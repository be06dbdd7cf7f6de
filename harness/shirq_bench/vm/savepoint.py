# SPDX-License-Identifier: MIT
"""Rewinds a guest to a savepoint inside its own QEMU: memory, devices, clock, event log and channels."""

from __future__ import annotations

import select
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from shirq_bench.channels.log import copy_read

if TYPE_CHECKING:
    from shirq_bench.vm.vm import Vm


class Channel(Protocol):
    """What the host knows of a guest and must know again after a rewind."""

    def place(self) -> Any: ...
    def rewound(self, place: Any) -> None: ...


@dataclass(frozen=True)
class Savepoint:
    """A moment of a guest: QEMU's ``number`` for it, and the place in each of the host's channels."""

    number: int
    places: tuple[Any, ...]


@dataclass(frozen=True)
class Rewound:
    """What QEMU did: ``pages`` of memory restored, those with translated code, bytes dropped, its processor time.

    ``timers`` is whether the virtual clock's timers are those of the savepoint: the guest may be another one if not.
    """

    pages: int
    code_pages: int
    timers: bool
    drained: int
    cpu_ns: int


def _channels(vm: Vm) -> list[Channel]:
    return [vm.agent, vm.console, vm.qmp, vm.journal, *vm.networks.values()]


def make(vm: Vm) -> Savepoint:
    """A savepoint of a guest, which is stopped from then on. `QmpFailed` with the reason if none can be made."""
    number = vm.qmp.execute("shirq-savepoint")["savepoint"]
    return Savepoint(number, tuple(channel.place() for channel in _channels(vm)))


def restore(vm: Vm, savepoint: Savepoint) -> Rewound:
    """Return a guest to ``savepoint``; later ones are lost. It is stopped from then on.

    `QmpFailed` with the reason if it cannot be rewound, for example because a device was plugged or unplugged.
    """
    install = copy_read(vm.log_path)
    done = vm.qmp.execute("shirq-rewind", savepoint=savepoint.number)
    install()
    # All that the guest has sent is in the sockets now.
    for channel, place in zip(_channels(vm), savepoint.places, strict=True):
        channel.rewound(place)
    for wire in vm.wires.values():
        # A socket with a timeout waits even if it is told not to, so ask first.
        while select.select([wire], [], [], 0)[0] and wire.recv(1 << 16):
            pass
    return Rewound(done["pages"], done["code-pages"], done["timers"], done["drained"], done["cpu-ns"])


def differences(vm: Vm, savepoint: Savepoint) -> list[str]:
    """How a stopped guest differs from ``savepoint``: all memory, the devices' state, the virtual clock's timers."""
    found: list[str] = vm.qmp.execute("shirq-rewind-check", savepoint=savepoint.number, deadline=60.0)["differences"]
    return found
