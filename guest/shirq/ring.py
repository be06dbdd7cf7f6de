# SPDX-License-Identifier: MIT
"""Events without a system call: the ring, which `Device.ring` maps, and `Device.events` iterates."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import platform
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

from shirq import abi
from shirq.errors import ShirqError
from shirq.records import Event

_EVENT_SIZE: Final = ctypes.sizeof(abi.EventStruct)
_EVENTS: Final = abi.RingStruct.event.offset
_HEAD, _STATE, _REASON = (getattr(abi.RingStruct, name).offset // 4 for name in ("head", "state", "reason"))
_SEQ, _LOST = (getattr(abi.RingStruct, name).offset // 8 for name in ("seq", "lost"))
_TAIL: Final = abi.ConsumerStruct.tail.offset // 4
_UNMASKED: Final = abi.ConsumerStruct.unmasked.offset // 8
_WRAP: Final = 1 << 32
#: Errors of calls about a device that was stopped, whose ring says why.
_STOPPED: Final = frozenset({errno.EIO, errno.ENXIO, errno.ENODEV})

#: Processors that keep the order of loads, and of stores to memory and registers, without barriers.
_ORDERED: Final = platform.machine() in {"x86_64", "i686", "i386", "AMD64"}


class Ring:
    """The mapped ring of a device that was armed with `ring=True`. One thread at a time takes events.

    Its state and events are read without a system call. `unmask` makes none either if `stores`, that is, if the unmask
    program is a store of a constant to a register that can be mapped, and the processor needs no barrier before it:
    Python has none that orders memory and registers.
    """

    def __init__(
        self,
        fd: int,
        *,
        store: Callable[[abi.RingStruct], tuple[Callable[[], None], Callable[[], None]]],
        unmask: Callable[[int], None],
        sleep: Callable[[int, float | None], None],
    ) -> None:
        self._kernels = self._map(fd, ctypes.sizeof(abi.RingStruct), abi.MMAP_RING, mmap.PROT_READ)
        self._own = self._map(
            fd, ctypes.sizeof(abi.ConsumerStruct), abi.MMAP_CONSUMER, mmap.PROT_READ | mmap.PROT_WRITE
        )
        # A cast view accesses an element at once, as its C type.
        self._bytes, own = memoryview(self._kernels), memoryview(self._own)
        self._words, self._doubles = self._bytes.cast("I"), self._bytes.cast("Q")
        self._own_words, self._own_doubles = own.cast("I"), own.cast("Q")
        self._views = (self._words, self._doubles, self._own_words, self._own_doubles, self._bytes, own)
        self._order = threading.Lock()
        self._order.acquire()
        self._tail = int(self._own_words[_TAIL])
        header = abi.RingStruct.from_buffer_copy(self._bytes)
        self._store: Callable[[], None] | None = None
        self._closing = contextlib.ExitStack()
        if header.store_width and _ORDERED:
            with _unless_stopped():
                self._store, unmap = store(header)
                self._closing.callback(unmap)
        self._unmask = unmask
        self._sleep = sleep

    @staticmethod
    def _map(fd: int, size: int, part: int, access: int) -> mmap.mmap:
        size = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        return mmap.mmap(fd, size, mmap.MAP_SHARED, access, offset=part << abi.MMAP_SHIFT)

    @property
    def closed(self) -> bool:
        return self._kernels.closed

    def close(self) -> None:
        """Unmap the ring. A second call does nothing."""
        self._closing.close()
        for view in self._views:
            view.release()
        self._kernels.close()
        self._own.close()

    @property
    def stores(self) -> bool:
        """Whether `unmask` makes no system call."""
        return self._store is not None

    @property
    def state(self) -> abi.RingState:
        """Whether events may still come. `take` finds all events that came before an end that was seen here."""
        state = abi.RingState(self._words[_STATE])
        self._barrier()
        return state

    @property
    def reason(self) -> abi.Quarantine:
        """Why the device was quarantined, if `state` is QUARANTINED."""
        return abi.Quarantine(self._words[_REASON])

    @property
    def seq(self) -> int:
        """The number of the last claim, or mask(): pass that of a claim whose event was lost to `unmask`."""
        return int(self._doubles[_SEQ])

    @property
    def lost(self) -> int:
        """Interrupts that became no event since the device was armed."""
        return int(self._doubles[_LOST])

    def __len__(self) -> int:
        """The number of events that were not taken yet."""
        return int(self._words[_HEAD] - self._tail) % _WRAP

    def take(self) -> Event | None:
        """Take the next event, or None if there is none. Unmasks nothing."""
        if not len(self):
            return None
        self._barrier()
        at = _EVENTS + self._tail % abi.RING_EVENTS * _EVENT_SIZE
        event = Event.from_bytes(bytes(self._bytes[at : at + _EVENT_SIZE]))
        self._tail = (self._tail + 1) % _WRAP
        self._barrier()
        self._own_words[_TAIL] = self._tail
        return event

    def unmask(self, seq: int) -> None:
        """Let the device interrupt again after this event.

        Does nothing if it is not the last claim, or the device is not armed any more, which `state` and `wait` say.
        To undo mask(), call `Device.unmask`.

        If the device is stopped meanwhile, a store ends the process with SIGBUS, as any access to `Registers`.
        """
        if self._store is None:
            with _unless_stopped():
                self._unmask(seq)
        elif seq == self.seq and self.state is abi.RingState.ARMED:
            self._own_doubles[_UNMASKED] = seq
            self._store()

    def wait(self, *, spin: float = 0.0, timeout: float | None = None) -> None:
        """Wait for an event: look for it for `spin` seconds, then sleep for `timeout` at most (None: for ever).

        Unmasks nothing. Raises ShirqError with ENXIO if the device is not armed and has no event, ENODEV if it is gone,
        ETIMEDOUT after the timeout.
        """
        until = time.monotonic() + spin
        while not len(self):
            if self.state is not abi.RingState.ARMED or time.monotonic() >= until:
                self._sleep(self._tail, timeout)
                return

    def _barrier(self) -> None:
        """Keep loads and stores of memory before this call before those after it."""
        if not _ORDERED:
            self._order.release()
            self._order.acquire()


@contextlib.contextmanager
def _unless_stopped() -> Iterator[None]:
    """Suppress the error of a device that was stopped: its owner takes the events left, and then sees the end."""
    try:
        yield
    except ShirqError as error:
        if error.errno not in _STOPPED:
            raise
