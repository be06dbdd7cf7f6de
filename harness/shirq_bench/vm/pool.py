# SPDX-License-Identifier: MIT
"""Lends guests at their beginning, each made in the cheapest way that is right.

A boot takes seconds, a clone of a template some tenths of a second, a rewind of a used guest milliseconds. All three
give the same guest. The first step of a guest's journal says how it was made.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from shirq_bench.errors import BenchError
from shirq_bench.vm import savepoint, template
from shirq_bench.vm.machine import Machine
from shirq_bench.vm.savepoint import Savepoint
from shirq_bench.vm.vm import Vm

#: Idle guests of a process. Each has the memory that its runs have touched, at most that of its machine.
_IDLE = 3


class RewindError(BenchError):
    """A rewound guest differs from its beginning; the message says in what."""


class Guest:
    """A guest that was taken from the pool. `begin` it, use its ``vm``, and `end` it, or close the VM."""

    def __init__(self, vm: Vm) -> None:
        self.vm = vm
        #: None if the guest cannot be rewound.
        self._beginning: Savepoint | None = None
        self._begun = False

    def begin(self, stopped: bool = False) -> Vm:
        """Bring the guest to its beginning. It has not run yet if it is to be ``stopped``; else its agent answers."""
        vm = self.vm
        self._begun = False
        if vm.started:
            vm.journal.note("rewound to its beginning")
        else:
            vm.start()
            emulated = vm.machine.deterministic or vm.parts.accelerator.name == "tcg"
            self._beginning = vm.savepoint() if emulated else None
            vm.journal.note("a new clone" if emulated else "a new clone; under KVM it is not rewound")
        if not stopped:
            vm.qmp.execute("cont")
            vm.agent.ping(120.0)
        self._begun = True
        return vm

    def end(self, check: bool = False) -> None:
        r"""Give the guest back: it is rewound and waits for its next user.

        It is closed if it cannot be rewound: it was hot-plugged, its QEMU or a channel has ended, or the accelerator is
        KVM, for which rewinding is not proven. `RewindError` if it is to be ``check``\ ed and differs from its
        beginning in memory, devices' state or timers.
        """
        with contextlib.ExitStack() as stack:
            stack.callback(self.vm.close)
            if self._beginning is None or not self._begun or not self.vm.whole or not self._rewound(self._beginning):
                return
            if check and (found := savepoint.differences(self.vm, self._beginning)):
                raise RewindError(f"{self.vm.name}: after a rewind it differs from its beginning: {'; '.join(found)}")
            stack.pop_all()
        with _lock:
            _idle.append(self)
            surplus = _idle[:-_IDLE]
            del _idle[:-_IDLE]
        for guest in surplus:
            guest.vm.close()

    def _rewound(self, beginning: Savepoint) -> bool:
        with contextlib.suppress(BenchError, OSError, ValueError):  # ValueError: a wire was closed
            return self.vm.rewind(beginning, go=False).timers
        return False


_lock = threading.Lock()
#: The guests that wait at their beginning, the one that was used last at the end.
_idle: list[Guest] = []


def take(machine: Machine) -> Guest:
    """A guest of ``machine`` to `Guest.begin`: one that was used before, or else a new clone of the template."""
    while found := _waiting(machine):
        if found.vm.whole:
            return found
        found.vm.close()
    return Guest(template.clone(machine, stopped=True))


def _waiting(machine: Machine) -> Guest | None:
    with _lock:
        found = next((guest for guest in reversed(_idle) if guest.vm.machine == machine), None)
        if found:
            _idle.remove(found)
        return found


@contextlib.contextmanager
def held(machine: Machine) -> Iterator[Guest]:
    """Lend a guest, which the block has to begin; it is closed if the block raises."""
    guest = take(machine)
    try:
        yield guest
    except BaseException:
        guest.vm.close()
        raise
    guest.end()


@contextlib.contextmanager
def lent(machine: Machine, stopped: bool = False) -> Iterator[Vm]:
    """Lend a guest at its beginning, as `Guest.begin` has it; it is closed if the block raises."""
    with held(machine) as guest:
        yield guest.begin(stopped)


def close() -> None:
    """End all idle guests."""
    with _lock:
        guests = _idle[:]
        _idle.clear()
    for guest in guests:
        guest.vm.close()
