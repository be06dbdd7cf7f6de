# SPDX-License-Identifier: MIT
"""One device and its owner: open, load, arm, read events, reach registers."""

from __future__ import annotations

import ctypes
import dataclasses
import errno
import fcntl
import math
import mmap
import os
import select
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from shirq import abi
from shirq.asm import disassemble_op
from shirq.binding import check_address, check_uio_name
from shirq.errors import ProgramRefused, ShirqError
from shirq.program import Program, to_array
from shirq.programset import ProgramSet
from shirq.records import Bar, Event, Info
from shirq.ring import Ring

if TYPE_CHECKING:  # imported on use: drivers rarely need it, and importing is slow in an emulated guest
    from shirq.profile import Profile

_EVENT_SIZE: Final = ctypes.sizeof(abi.EventStruct)

_GONE: Final = {errno.ENODEV: "the device is gone: close it"}
_STOPPED: Final = {errno.EIO: "the device is quarantined, which arm() ends, or asleep, or being reset"}
_NOT_ARMED: Final = {errno.ENXIO: "the device is not armed: arm() it first"}
_RAWIO: Final = {errno.EPERM: "CAP_SYS_RAWIO is needed: run as root"}
_OPENING: Final = {
    errno.ENOENT: "no such node: bind() the function to shirq first",
    errno.EBUSY: "the device has an owner already: a device has one owner at a time",
    errno.EPERM: "the kernel is locked down",
    errno.EACCES: "the node's permissions do not allow it: run as root",
    errno.ENODEV: "the device is gone",
    errno.ENXIO: "the device was unbound meanwhile",
    errno.EIO: "the device is asleep or in error recovery, or storms as soon as it is awake: see the kernel log",
}
_LOADING: Final = _RAWIO | {
    errno.EBUSY: "the device is armed: disarm() it first",
    errno.ENXIO: "the device has no INTx line",
}
_NO_SOURCE: Final = {errno.EINVAL: "there is no such source: set_messages() allocates messages"}
_ARMING: Final = {
    errno.ENOEXEC: "no programs are loaded: load() a set first",
    errno.EALREADY: "the device is armed already",
    errno.EBUSY: (
        "the line is not available: it has a neighbour, a neighbour does not share it in the same way, or messages are"
        " allocated"
    ),
    errno.ENXIO: "the device has no INTx line",
}
_MESSAGES: Final = {
    errno.EBUSY: "a source is armed, or messages are allocated already: disarm() it, or free them by set_messages(0)",
    errno.ENXIO: "the device has neither MSI-X nor MSI",
    errno.ENOSPC: "the kernel has no interrupt left, or uses no messages (pci=nomsi)",
    errno.EINVAL: f"a device has at most {abi.MAX_MESSAGES} messages",
}
_UIO: Final = _RAWIO | {
    errno.ENOEXEC: "no programs are loaded: load() a set first",
    errno.EEXIST: "it has one already",
    errno.ENOENT: "it has none",
    errno.EOPNOTSUPP: "the kernel has no UIO core: it was built without CONFIG_UIO, or uio.ko is not installed",
}
#: A timeout of SHIRQ_WAIT that does not end.
_NO_LIMIT: Final = (1 << 64) - 1
#: The longest timeout of poll() in seconds, which is less than 2^31 ms.
_LONGEST_POLL: Final = 1_000_000
_RING: Final = {errno.EINVAL: "this kernel's shirq is too old for a ring"}
_MAPPING: Final = {errno.EINVAL: "the device has no such memory BAR of whole pages: use exec() to reach it"}


def _refused(kind: abi.ProgramKind, raw: abi.LoadStruct | abi.ExecStruct, program: Program) -> ProgramRefused:
    index = raw.error_index
    operation = disassemble_op(program[index]) if index < len(program) else "the end of the program"
    return ProgramRefused(kind, index, raw.error_reason, operation)


class Registers:
    """A mapped memory BAR.

    Each read and write is one load or store of its width, in the byte order of the processor. Offsets are in bytes
    and must be multiples of the width. When the device is gone, an access ends the process with SIGBUS.
    """

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory
        self._bytes = memoryview(memory)
        # A cast view accesses an element at once, as its C type; a slice could be copied with accesses of any width.
        self._views = {1: self._bytes, 2: self._bytes.cast("H"), 4: self._bytes.cast("I"), 8: self._bytes.cast("Q")}

    def __len__(self) -> int:
        return len(self._bytes)

    def read(self, offset: int, width: int) -> int:
        """Read `width` bytes (1, 2, 4, 8) in one access. Raises ValueError for a bad offset or width."""
        view, index = self._element(offset, width)
        return int(view[index])

    def write(self, offset: int, width: int, value: int) -> None:
        """Write `width` bytes (1, 2, 4, 8) in one access. Raises ValueError for a bad offset, width or value."""
        view, index = self._element(offset, width)
        view[index] = value

    def read32(self, offset: int) -> int:
        return self.read(offset, 4)

    def write32(self, offset: int, value: int) -> None:
        self.write(offset, 4, value)

    def _element(self, offset: int, width: int) -> tuple[memoryview, int]:
        if width not in self._views:
            raise ValueError(f"an access is 1, 2, 4 or 8 bytes wide, not {width}")
        index, rest = divmod(offset, width)
        if rest or not 0 <= index < len(self._views[width]):
            raise ValueError(
                f"no access of {width} bytes at {offset:#x}: offsets are multiples of {width} below {len(self):#x}"
            )
        return self._views[width], index

    @property
    def closed(self) -> bool:
        return self._memory.closed

    def close(self) -> None:
        for view in self._views.values():
            view.release()
        self._memory.close()


class _Delivered(threading.local):
    """The number of the event of each source that the present thread read last."""

    def __init__(self) -> None:
        self.seqs: dict[int, int] = {}


class Device:
    """The owner of one device. Close it, best by `with`: the kernel then silences the device."""

    def __init__(self, fd: int, address: str) -> None:
        self._fd = fd
        self.address = address
        self._auto_unmask: set[int] = set()
        self._delivered = _Delivered()
        self._mapped: list[Registers | Ring] = []

    @classmethod
    def open(cls, address: str, dev: Path = Path("/dev/shirq")) -> Self:
        """Become the owner of the function with this PCI address, which must be bound to the module."""
        path = dev / check_address(address)
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise ShirqError.explain(error.errno or errno.EIO, f"opening {path}", _OPENING) from None
        return cls(fd, address)

    def close(self) -> None:
        """Close the device; its mappings become invalid. A second call does nothing."""
        for mapping in self._mapped:
            mapping.close()
        self._mapped.clear()
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def fileno(self) -> int:
        """For select, poll and epoll: readable when an event is queued. Polling never unmasks."""
        return self._fd

    # ---------------------------------------------------------------- calls

    def _call(self, request: int, argument: ctypes.Structure, doing: str, hints: dict[int, str]) -> None:
        """One ioctl. `size` is set anew for every call: the kernel writes its own size there, which may be larger."""
        argument.size = ctypes.sizeof(argument)
        try:
            fcntl.ioctl(self._fd, request, argument)
        except OSError as error:
            number = error.errno or errno.EIO
            hints = {errno.ENOTTY: "this kernel's shirq is too old for this call", **_GONE, **hints}
            raise ShirqError.explain(number, f"{doing} {self.address}", hints) from None

    @property
    def info(self) -> Info:
        """Information about the device, the kernel and the present state, with that of source 0."""
        return self.info_of(0)

    def info_of(self, source: int) -> Info:
        """As `info`, with the interrupt's number, the state, the mask and the losses of this source."""
        raw = abi.InfoStruct(source=source)
        self._call(abi.GET_INFO, raw, "reading the info of", _NO_SOURCE)
        return Info(
            features=abi.Feature(raw.features),
            vendor=raw.vendor,
            device=raw.device,
            subsystem_vendor=raw.subsystem_vendor,
            subsystem_device=raw.subsystem_device,
            class_code=getattr(raw, "class"),
            revision=raw.revision,
            config_size=raw.config_size,
            sources=raw.sources,
            irq=raw.irq,
            state=abi.State(raw.state),
            flags=abi.InfoFlag(raw.flags),
            events=raw.events,
            bars=tuple(Bar(bar.length, abi.BarFlag(bar.flags)) for bar in raw.bar),
            lost=raw.lost,
            messages=raw.messages,
        )

    def set_messages(self, count: int) -> int:
        """Use up to `count` of the device's messages, MSI-X or MSI, as sources 1, 2, ...; returns how many there are.

        0 frees them, and the device can use its line again. Messages need bus mastering: see `set_master`.
        """
        raw = abi.MessagesStruct(count=count)
        self._call(abi.SET_MESSAGES, raw, "setting the messages of", _RAWIO | _STOPPED | _MESSAGES)
        return int(raw.count)

    def load(self, programs: ProgramSet, mask: Program = (), *, source: int = 0) -> None:
        """Verify and load all programs of a source, or none. Raises ProgramRefused, or ShirqError.

        `mask`, if given, replaces the set's own mask program.
        """
        programs = dataclasses.replace(programs, mask=mask or programs.mask)
        irq, unmask, release, masking = (
            to_array(program) for program in (programs.irq, programs.unmask, programs.release, programs.mask)
        )
        raw = abi.LoadStruct(
            source=source,
            mode=programs.mode,
            irq=ctypes.addressof(irq),
            unmask=ctypes.addressof(unmask),
            release=ctypes.addressof(release),
            irq_count=len(irq),
            unmask_count=len(unmask),
            release_count=len(release),
            mask=ctypes.addressof(masking),
            mask_count=len(masking),
        )
        try:
            self._call(abi.LOAD, raw, "loading programs into", _LOADING)
        except ShirqError:
            if raw.error_reason:
                kind = abi.ProgramKind(raw.error_program)
                raise _refused(kind, raw, programs.program(kind)) from None
            raise

    def load_profile(self, card: Profile, *, source: int = 0) -> None:
        """Load a profile's programs for a source, and set its rungs for silencing the card. Raises as load() does."""
        self.load(card.programs, source=source)
        self.set_quiesce(card.quiesce, release=card.release_reset)

    def arm(self, *, shared: bool = True, auto_unmask: bool = True, source: int = 0, ring: bool = False) -> None:
        """Request the interrupt of a source, and let the device interrupt by it.

        The line, source 0, is shared or exclusive, and needs a set. A message is never shared, and needs no set. With
        `ring`, which is for source 0 alone, take events by `events` or `ring`: `read` fails, and `auto_unmask` is off.
        """
        flags = abi.ArmFlag(0) if source else abi.ArmFlag.SHARED if shared else abi.ArmFlag.EXCLUSIVE
        auto_unmask = auto_unmask and not ring
        if ring:
            flags |= abi.ArmFlag.RING
        if auto_unmask:
            flags |= abi.ArmFlag.AUTO_UNMASK
        self._call(abi.ARM, abi.ArmStruct(source=source, flags=int(flags)), "arming", _ARMING | _NO_SOURCE)
        self._delivered.seqs.pop(source, None)
        (self._auto_unmask.add if auto_unmask else self._auto_unmask.discard)(source)

    def disarm(self, source: int = 0) -> None:
        """Silence a source and free its interrupt; its events are dropped.

        Readers raise ENXIO when no source is armed any more.
        """
        self._call(abi.DISARM, abi.DisarmStruct(source=source), "disarming", _NOT_ARMED | _NO_SOURCE)

    def unmask(self, seq: int, source: int = 0) -> None:
        """Let the source interrupt again after this event; does nothing if a later interrupt was claimed meanwhile."""
        hints = _NOT_ARMED | {errno.EINVAL: f"no event had the number {seq} yet (of source {source})"}
        self._call(abi.UNMASK, abi.UnmaskStruct(source=source, seq=seq), "unmasking", hints)

    def exec(self, program: Program, regs: Sequence[int] = (), *, kept: bool = False) -> tuple[int, ...]:
        """Run a one-shot program, serialised with the interrupt; returns r0 to r7 as it leaves them.

        `regs` are r0, r1, ... at the start; those that are not given are 0. With `kept`, r4 to r7 are those that the
        programs of the loaded set share, in and out. Raises ProgramRefused, or ShirqError.
        """
        if len(regs) > abi.REGS:
            raise ValueError(f"{len(regs)} registers given: there are {abi.REGS}")
        array = to_array(program)
        raw = abi.ExecStruct(
            flags=int(abi.ExecFlag.KEPT) if kept else 0,
            ops=ctypes.addressof(array),
            count=len(array),
            regs=(ctypes.c_uint64 * abi.REGS)(*regs),
        )
        try:
            hints = _RAWIO | _STOPPED | {errno.ENOEXEC: "no set is loaded, so no registers are kept: load one first"}
            self._call(abi.EXEC, raw, "executing on", hints)
        except ShirqError:
            if raw.error_reason:
                raise _refused(abi.ProgramKind.EXEC, raw, program) from None
            raise
        return tuple(raw.regs)

    def set_master(self, on: bool) -> None:
        """Switch bus mastering on or off. It is off after open() and after close()."""
        self._call(abi.SET_MASTER, abi.MasterStruct(on=int(on)), "setting bus mastering of", _RAWIO | _STOPPED)

    def mask(self, source: int = 0) -> int:
        """Silence a source, whether it asserts or not. Only unmask() with the returned number unmasks it."""
        raw = abi.MaskStruct(source=source)
        hints = _NOT_ARMED | _NO_SOURCE | {errno.EOPNOTSUPP: "it has no interrupt-disable bit: load() a mask program"}
        self._call(abi.MASK, raw, "masking", hints)
        return int(raw.seq)

    def set_eventfd(self, fd: int | None, source: int = 0) -> None:
        """Add 1 to this eventfd for each queued event, and when read() begins to fail; None removes the eventfd.

        A message without an eventfd of its own uses that of source 0.
        """
        raw = abi.EventfdStruct(source=source, fd=-1 if fd is None else fd)
        hints = {errno.EINVAL: f"{fd} is no eventfd, or there is no source {source}"}
        self._call(abi.SET_EVENTFD, raw, "setting the eventfd of", hints)

    def set_quiesce(
        self,
        rungs: abi.Quiesce = abi.Quiesce.D3HOT,
        *,
        release: abi.Quiesce = abi.Quiesce(0),  # noqa: B008
        max_rate: int = 0,
    ) -> None:
        """Set the rungs that may silence the device in a storm, and the reset at close (FLR only).

        `max_rate` is in interrupts a second, for a device that acknowledges; 0 is the default, `abi.DEFAULT_RATE`.
        """
        raw = abi.QuiesceStruct(rungs=int(rungs), release=int(release), max_rate=max_rate)
        self._call(abi.SET_QUIESCE, raw, "choosing the means to quiesce", _RAWIO)

    def add_uio(self, name: str, version: str, *, unmask_by_read: bool = False) -> int:
        """Give the device a UIO face with the loaded set and settings; returns N of /dev/uioN.

        The face works once this device is closed. Raises ShirqError; ValueError for a name or version as
        `binding.check_uio_name` does.
        """
        raw = abi.UioStruct(flags=int(abi.UioFlag.UNMASK_BY_READ) if unmask_by_read else 0)
        raw.name, raw.version = check_uio_name(name), check_uio_name(version)
        self._call(abi.SET_UIO, raw, "adding a UIO face to", _UIO)
        return int(raw.number)

    def remove_uio(self) -> None:
        """Take the UIO face away. Raises ShirqError."""
        self._call(abi.SET_UIO, abi.UioStruct(flags=int(abi.UioFlag.OFF)), "removing the UIO face of", _UIO)

    # --------------------------------------------------------------- events

    def ring(self) -> Ring:
        """Map the ring of a device that was armed with `ring=True`; it is unmapped when the device is closed.

        If the device was stopped, its registers were unmapped too: map the ring anew after arm().
        """
        try:
            ring = Ring(self._fd, store=self._storing, unmask=self.unmask, sleep=self._sleep)
        except ShirqError:
            raise
        except OSError as error:
            doing = f"mapping the ring of {self.address}"
            raise ShirqError.explain(error.errno or errno.EIO, doing, _GONE | _RING) from None
        # An owner may iterate `events` anew after each stop.
        self._mapped = [mapping for mapping in self._mapped if not mapping.closed]
        self._mapped.append(ring)
        return ring

    def _storing(self, header: abi.RingStruct) -> tuple[Callable[[], None], Callable[[], None]]:
        """Return a function that unmasks by a store, and one that unmaps its register."""
        registers, offset, value = self._map(header.store_bar), header.store_offset, header.store_value
        value = int.from_bytes(value.to_bytes(4, "little"), sys.byteorder)
        return lambda: registers.write32(offset, value), registers.close

    def _sleep(self, tail: int, timeout: float | None) -> None:
        """Sleep until the ring has an event after `tail`. A signal ends it only if its handler raises, as in read()."""
        until = math.inf if timeout is None else time.monotonic() + timeout
        hints = _NOT_ARMED | {errno.ETIMEDOUT: f"no event within {timeout} s"}
        while True:
            limit = round(min(max(0.0, until - time.monotonic()) * 1e9, _NO_LIMIT))
            try:
                self._call(abi.WAIT, abi.WaitStruct(tail=tail, timeout_ns=limit), "waiting for an event of", hints)
            except ShirqError as error:
                if error.errno != errno.EINTR:
                    raise
            else:
                return

    def events(self, *, spin: float = 0.0) -> Iterator[Event]:
        """Yield the events of a device that was armed with `ring=True`, until it is disarmed or stopped.

        An event is unmasked when the next one is asked for. Before it sleeps, the thread looks for an event for `spin`
        seconds: interrupts that come meanwhile cost no system call. Raises ShirqError with ENODEV if the device is
        gone.
        """
        ring = self.ring()
        try:
            while True:
                try:
                    ring.wait(spin=spin)
                except ShirqError as error:
                    if error.errno == errno.ENXIO:
                        return
                    raise
                while (event := ring.take()) is not None:
                    yield event
                    if event.type is abi.EventType.IRQ:
                        ring.unmask(event.seq)
        finally:
            ring.close()

    def read(self, timeout: float | None = None) -> Event:
        """Wait for the next event, for `timeout` seconds at most (None: for ever).

        With auto_unmask, first unmasks the event of each source that this thread read last; an event of another thread
        stays masked.
        Use a timeout only if no other thread reads: it could take the event that ended this wait, and this call would
        block. Raises TimeoutError; ShirqError with ENXIO when the device is disarmed, with ENODEV when it is gone.
        """
        if timeout is not None:
            self._wait(timeout)
        try:
            record = os.read(self._fd, _EVENT_SIZE)
        except OSError as error:
            hints = _GONE | _NOT_ARMED
            raise ShirqError.explain(error.errno or errno.EIO, f"reading events of {self.address}", hints) from None
        event = Event.from_bytes(record)
        self._delivered.seqs[event.source] = event.seq
        return event

    def _wait(self, timeout: float) -> None:
        """Wait until the device is readable. poll() never unmasks, so unmask here as read() would."""
        for source in self._auto_unmask & self._delivered.seqs.keys():
            try:
                self.unmask(self._delivered.seqs[source], source)
            except ShirqError as error:
                # The device was stopped. The event with the reason may be queued; if it is not, read() raises this
                # error.
                if error.errno != errno.ENXIO:
                    raise
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        until = time.monotonic() + timeout
        while not poll.poll(min(max(0.0, until - time.monotonic()), _LONGEST_POLL) * 1000):
            if time.monotonic() < until:
                continue
            raise TimeoutError(f"no event of {self.address} within {timeout:g} s")

    # ------------------------------------------------------------ registers

    def pread(self, bar: int, offset: int, width: int) -> int:
        """One read of `width` bytes (1, 2, 4, 8) of any BAR, serialised with the programs."""
        try:
            data = os.pread(self._fd, width, self._position(bar, offset))
        except OSError as error:
            raise self._access_failed(error, "reading", bar, offset, width) from None
        return int.from_bytes(data, sys.byteorder)

    def pwrite(self, bar: int, offset: int, width: int, value: int) -> None:
        """One write of `width` bytes (1, 2, 4, 8) to any BAR, serialised with the programs."""
        try:
            os.pwrite(self._fd, value.to_bytes(width, sys.byteorder), self._position(bar, offset))
        except OSError as error:
            raise self._access_failed(error, "writing", bar, offset, width) from None

    @staticmethod
    def _position(bar: int, offset: int) -> int:
        if not 0 <= bar < abi.BARS or not 0 <= offset < 1 << abi.MMAP_SHIFT:
            raise ValueError(f"there is no BAR {bar} with an offset {offset:#x}")
        return bar << abi.MMAP_SHIFT | offset

    def _access_failed(self, error: OSError, doing: str, bar: int, offset: int, width: int) -> ShirqError:
        hints = _GONE | _STOPPED | {errno.EINVAL: "the BAR has no register of this width there"}
        what = f"{doing} {width} bytes at BAR {bar} + {offset:#x} of {self.address}"
        return ShirqError.explain(error.errno or errno.EIO, what, hints)

    def mmap(self, bar: int) -> Registers:
        """Map the whole pages of a memory BAR. The mapping lasts until the device is closed, stopped, or gone."""
        registers = self._map(bar)
        self._mapped.append(registers)
        return registers

    def _map(self, bar: int) -> Registers:
        if not 0 <= bar < abi.BARS:
            raise ValueError(f"there is no BAR {bar}: BARs are 0 to {abi.BARS - 1}")
        length = self.info.bars[bar].length // mmap.PAGESIZE * mmap.PAGESIZE
        doing = f"mapping BAR {bar} of {self.address}"
        if not length:
            raise ShirqError.explain(errno.EINVAL, doing, _MAPPING)
        try:
            memory = mmap.mmap(self._fd, length, mmap.MAP_SHARED, offset=bar << abi.MMAP_SHIFT)
        except OSError as error:
            raise ShirqError.explain(error.errno or errno.EIO, doing, _GONE | _MAPPING) from None
        return Registers(memory)
