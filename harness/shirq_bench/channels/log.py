# SPDX-License-Identifier: MIT
"""Readers of QEMU's event log and of the guest's handler trace, and the relation between their clocks.

The event log is the file described by ``qemu-device/overlay/include/hw/misc/shirq-log.h``, on QEMU's virtual clock.
The handler trace is the text of the guest kernel's ``irq:irq_handler_entry`` and ``irq:irq_handler_exit`` tracepoints,
on the guest's trace clock. ``ClockFit`` relates the two, from the moments at which the guest wrote its clock into a
device's MARK register.
"""

from __future__ import annotations

import dataclasses
import enum
import math
import mmap
import operator
import os
import re
import struct
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations, pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, overload

import numpy as np
import numpy.typing as npt

from shirq_bench import pages
from shirq_bench.errors import CannotJudge

#: The name of an event log in the folder of its guest.
LOG = "events.shirqlog"
MAGIC = b"SHIRQLOG"
VERSION = 2
HEADER_SIZE = 65536
MAX_DEVICES = 1000
NAME_SIZE = 64
# magic, version, entry size, capacity, epoch, head, dropped, devices, generation
HEADER = struct.Struct("<8sIIQQQQII8x")
# time_ns, kind, space, width, vcpu, device, ring, value's alignment, offset, value
ENTRY = struct.Struct("<QBBBBHBxQQ")
_FIELDS = np.dtype(
    {
        "names": ["time_ns", "kind", "space", "width", "vcpu", "device", "ring", "offset", "value"],
        "formats": ["<u8", "u1", "u1", "u1", "u1", "<u2", "u1", "<u8", "<u8"],
        "offsets": [0, 8, 9, 10, 11, 12, 14, 16, 24],
        "itemsize": ENTRY.size,
    }
)
#: Number of entry objects that are created at once.
_CHUNK = 1 << 14

VM_INDEX = 0xFFFF
#: `Entry.device` of entries of the whole VM.
VM = "vm"
#: The names of the interrupt controllers of a PC, as `Entry.device` has them.
IOAPIC, I8259 = "ioapic", "i8259"
CONFIG_SPACE = 6
#: `Entry.width` of a LINE that the pin of the last PIN entry moved.
BY_PIN = 1
NONE = 0xFF
#: Privilege levels of the guest's kernel and of its user space, as `Entry.ring` has them.
KERNEL_RING, USER_RING = 0, 3


class LogError(ValueError):
    """The file is not an event log that this version can read; the message gives the reason."""


class TraceError(ValueError):
    """The text is not a handler trace, or the trace is incomplete; the message names the line."""


class ClockError(ValueError):
    """The clock marks do not determine a clock relation."""


class Kind(enum.IntEnum):
    """The kind of an entry. START to TURN are of the VM, RESET to WHERE of a device, the others of a controller."""

    START = 1
    RESTORED = 2
    OFF = 3
    ON = 4
    TURN = 5
    RESET = 8
    READ = 9
    WRITE = 10
    PIN = 11
    RAISE = 12
    LOWER = 13
    MARK = 14
    MASK = 15
    DOORBELL = 16
    SCHEDULED = 17
    SETTING = 18
    LAND = 19
    MESSAGE = 20
    WHERE = 21
    LINE = 32
    LINE_MASK = 33
    DELIVER = 34
    EOI = 35
    TRIGGER = 36


#: The kinds of entries of an interrupt controller.
OF_CONTROLLER = (Kind.LINE, Kind.LINE_MASK, Kind.DELIVER, Kind.EOI, Kind.TRIGGER)


class TurnReason(enum.IntEnum):
    """Why a vCPU has the turn: the ``offset`` of a TURN entry."""

    SCHEDULE = 0
    HALT = 1
    YIELD = 2
    QUANTUM = 3
    #: The log begins while this vCPU has the turn.
    STATE = 4


#: Levels and time do not continue across these entries: the log states the levels again after them.
BEGINNINGS = (Kind.START, Kind.RESTORED, Kind.ON)


class Entry(NamedTuple):
    """One entry of the log.

    ``time_ns`` is on QEMU's virtual clock, ``width`` in bytes; ``space`` is a BAR number or ``CONFIG_SPACE``.
    ``vcpu`` and ``ring`` (privilege level, 0 to 3) are ``NONE`` if no vCPU caused the entry.
    ``device`` is the device's QEMU id, the name of an interrupt controller, or ``VM``. For the entries of a controller
    ``offset`` is the number of the line, on a PC the GSI; for PIN it is 0..3 for INTA..D. ``width`` of a LINE is
    ``BY_PIN`` if a pin moved it, and not 0 if a pin did so before the log's beginning.
    For TURN ``value`` is the vCPU that has the turn from now on, ``vcpu`` had it, and ``offset`` is a `TurnReason`.
    """

    time_ns: int
    kind: Kind
    space: int
    width: int
    vcpu: int
    device: str
    ring: int
    offset: int
    value: int

    @property
    def event(self) -> tuple[object, ...]:
        """The entry without its time and its vCPU, in which two runs of one story may differ."""
        return (self.kind, self.device, self.space, self.offset, self.width, self.ring, self.value)


class Table:
    """The entries of one file: ``raw`` shows the file, ``used`` is the number of entries read."""

    def __init__(self, path: Path, raw: npt.NDArray[np.void]) -> None:
        self.path = path
        self.raw = raw
        self.used = 0
        with _tables_lock:
            _tables.add(self)


#: The tables that show a file.
_tables: weakref.WeakSet[Table] = weakref.WeakSet()
_tables_lock = threading.Lock()


def copy_read(path: Path) -> Callable[[], None]:
    """Copy the entries that were read from the log ``path``, before its VM is rewound and writes over them.

    Returns a function that puts the copies in their place: call it if the VM was rewound.
    """
    with _tables_lock:
        copies = [(table, table.raw[: table.used].copy()) for table in _tables if table.path == path]

    def install() -> None:
        for table, copy in copies:
            table.raw = copy
            with _tables_lock:
                _tables.discard(table)

    return install


class Entries(Sequence[Entry]):
    """Entries in the file that QEMU wrote: an `Entry` object is created on access, and slices are views.

    So even millions of entries take no further memory. `find` and similar methods create objects only for the entries
    that they find.
    """

    def __init__(self, table: Table, devices: Sequence[str], start: int, stop: int):
        self._table = table
        self.devices = devices
        self.start = start
        self.stop = stop

    @property
    def raw(self) -> npt.NDArray[np.void]:
        """All entries of the file as numpy's records."""
        return self._table.raw

    def __len__(self) -> int:
        return self.stop - self.start

    @overload
    def __getitem__(self, index: int) -> Entry: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Entry]: ...
    def __getitem__(self, index: int | slice) -> Entry | Sequence[Entry]:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step != 1:
                return [self[place] for place in range(start, stop, step)]
            return Entries(self._table, self.devices, self.start + start, self.start + max(start, stop))
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        place = self.start + index % len(self)
        return next(self._made(self.raw[place : place + 1]))

    def __iter__(self) -> Iterator[Entry]:
        for start in range(self.start, self.stop, _CHUNK):
            yield from self._made(self.raw[start : min(start + _CHUNK, self.stop)])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(operator.eq, self, other))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{len(self)} entries>"

    def _made(self, raw: npt.NDArray[np.void]) -> Iterator[Entry]:
        names = {**dict(enumerate(self.devices)), VM_INDEX: VM}
        # Call tuple.__new__ directly, for speed: a run of the bench makes millions of entries.
        new, kinds = tuple.__new__, _KINDS
        return iter(
            [
                new(Entry, (time, kinds[kind], space, width, vcpu, names[device], ring, offset, value))
                for time, kind, space, width, vcpu, device, ring, offset, value in ENTRY.iter_unpack(raw.tobytes())
            ]
        )

    def find(
        self, kinds: Sequence[Kind], device: str | None, offset: int | None, value: bool | None
    ) -> npt.NDArray[np.intp]:
        """The indices of the entries that match; the parameters are those of the function `find`."""
        part = self.raw[self.start : self.stop]
        wanted = np.ones(len(part), dtype=bool)
        if kinds:
            wanted &= np.isin(part["kind"], [kind.value for kind in kinds])
        if device is not None:
            wanted &= part["device"] == self._number(device)
        if offset is not None:
            wanted &= part["offset"] == offset
        if value is not None:
            wanted &= (part["value"] != 0) == value
        return np.flatnonzero(wanted)

    def _number(self, device: str) -> int:
        if device == VM:
            return VM_INDEX
        return self.devices.index(device) if device in self.devices else _NOBODY

    def at(self, places: npt.NDArray[np.intp]) -> Iterator[Entry]:
        """The entries at these places."""
        for start in range(0, len(places), _CHUNK):
            yield from self._made(self.raw[self.start + places[start : start + _CHUNK]])

    def joined(self, other: Sequence[Entry]) -> Sequence[Entry]:
        """These entries, then ``other``; nothing is copied if ``other`` directly follows them in the same file."""
        if isinstance(other, Entries) and other._table is self._table and other.start == self.stop:
            return Entries(self._table, self.devices, self.start, other.stop)
        return [*self, *other]


_KINDS = {kind.value: kind for kind in Kind}
#: A device number that no device has.
_NOBODY = VM_INDEX - 1


def find(
    entries: Sequence[Entry],
    *kinds: Kind,
    device: str | None = None,
    offset: int | None = None,
    value: bool | None = None,
) -> list[tuple[int, Entry]]:
    """Entries with their places: of these kinds (all kinds if none is given), of this device, at this offset or GSI.

    ``value`` true selects entries whose value is not 0, false those whose value is 0.
    """
    if isinstance(entries, Entries):
        places = entries.find(kinds, device, offset, value)
        return list(zip(places.tolist(), entries.at(places), strict=True))
    return [
        (place, entry)
        for place, entry in enumerate(entries)
        if (not kinds or entry.kind in kinds)
        and (device is None or entry.device == device)
        and (offset is None or entry.offset == offset)
        and (value is None or bool(entry.value) == value)
    ]


def last(entries: Sequence[Entry], *kinds: Kind, device: str | None = None, offset: int | None = None) -> Entry | None:
    """The last of the entries that `find` finds, or None."""
    if isinstance(entries, Entries):
        places = entries.find(kinds, device, offset, None)
        return entries[int(places[-1])] if len(places) else None
    found = find(entries, *kinds, device=device, offset=offset)
    return found[-1][1] if found else None


def offsets(entries: Sequence[Entry], kind: Kind, value: bool | None = None) -> set[int]:
    """The offsets, or GSIs, of the entries of this kind. ``value`` selects entries as in `find`."""
    if isinstance(entries, Entries):
        places = entries.find((kind,), None, None, value)
        return set(np.unique(entries.raw["offset"][entries.start + places]).tolist())
    return {entry.offset for _, entry in find(entries, kind, value=value)}


def sources(entries: Sequence[Entry], *kinds: Kind) -> set[str]:
    """The devices, or controllers, that wrote entries of these kinds."""
    if isinstance(entries, Entries):
        places = entries.find(kinds, None, None, None)
        numbers = np.unique(entries.raw["device"][entries.start + places]).tolist()
        return {VM if number == VM_INDEX else entries.devices[number] for number in numbers}
    return {entry.device for _, entry in find(entries, *kinds)}


def written_ns(entries: Sequence[Entry]) -> Sequence[int]:
    """The time at which each entry was written, in virtual ns."""
    if isinstance(entries, Entries):
        moments: Sequence[int] = entries.raw["time_ns"][entries.start : entries.stop].tolist()
        return moments
    return [entry.time_ns for entry in entries]


def joined(first: Sequence[Entry], second: Sequence[Entry]) -> Sequence[Entry]:
    """The entries of ``first``, then those of ``second``."""
    if not first or not second:
        return first or second
    return first.joined(second) if isinstance(first, Entries) else [*first, *second]


@dataclasses.dataclass(frozen=True)
class Header:
    """The log's header: ``capacity``, ``head`` and ``dropped`` count entries, ``epoch`` counts loads of VM state.

    ``devices`` has the names of all devices and interrupt controllers that have written an entry.
    """

    capacity: int
    epoch: int
    head: int
    dropped: int
    devices: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Log:
    """Entries of one log in the order in which QEMU wrote them.

    If the log was cut with ``since``, ``past`` holds the entries before the cut: they give the levels that have not
    changed since.
    """

    header: Header
    entries: Sequence[Entry]
    past: Sequence[Entry] = ()

    @property
    def mark(self) -> int:
        """The number of entries so far, as a place in the log: pass it to ``since`` when the log is read later."""
        return len(self.past) + len(self.entries)

    def since(self, mark: int) -> Log:
        """The entries after ``mark``; raises ValueError for a mark that this log does not reach."""
        everything = joined(self.past, self.entries)
        if not 0 <= mark <= len(everything):
            raise ValueError(f"mark {mark} is not in this log of {len(everything)} entries")
        return Log(self.header, everything[mark:], everything[:mark])

    def epochs(self) -> list[Log]:
        """The log cut at `BEGINNINGS`: levels and time are continuous only within each part."""
        everything = joined(self.past, self.entries)
        cuts = [0, *(place for place, _ in find(everything, *BEGINNINGS) if place)]
        return [Log(self.header, everything[a:b]) for a, b in pairwise([*cuts, len(everything)])]

    def of(self, *kinds: Kind, device: str | None = None, offset: int | None = None) -> list[Entry]:
        """The entries of these kinds (all kinds if none is given), of this device, at this offset or GSI."""
        return [entry for _, entry in find(self.entries, *kinds, device=device, offset=offset)]

    def require_complete(self) -> None:
        """Raise `CannotJudge` if entries were dropped: any verdict could then be wrong."""
        if dropped := self.header.dropped:
            raise CannotJudge(
                f"{dropped} entries did not fit into the event log, which holds {self.header.capacity}: no verdict can "
                "be given. Enlarge the log: Machine(log_entries=...), or log_entries in [machine] of a case"
            )

    def kept(self) -> Log:
        """The same entries with ``dropped`` set to 0: for pictures, which mention the loss, never for verdicts."""
        return dataclasses.replace(self, header=dataclasses.replace(self.header, dropped=0))

    def _repr_html_(self) -> str:
        """A table for notebooks: how many entries of each kind every device has."""
        counts = Counter((entry.device, entry.kind) for entry in self.entries)
        kinds = sorted({kind for _, kind in counts})
        times = [entry.time_ns for entry in self.entries]
        return pages.render(
            __package__,
            "log.html",
            entries=len(self.entries),
            span_ms=(times[-1] - times[0]) / 1e6 if times else None,
            dropped=self.header.dropped,
            kinds=[kind.name for kind in kinds],
            rows=[
                (device, [counts[device, kind] for kind in kinds])
                for device in sorted({device for device, _ in counts})
            ],
        )

    def clock(self, device: str | None = None) -> ClockFit:
        """The relation of the guest's trace clock to virtual time, from the clock marks in ``entries`` (of ``device``).

        Marks in ``past`` belong to an earlier trace and are not used. The relation holds between the first mark and the
        last one.
        """
        return ClockFit.from_marks(clock_marks(self.entries, device))


class LogReader:
    """Reads a log, whose VM may run, by mapping its file. Use as a context manager.

    Raises LogError if the file is not an event log, also while QEMU is still creating it.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._closed = False
        with self.path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size < HEADER_SIZE:
                raise LogError(f"{self.path}: {size} bytes are too few for an event log's header of {HEADER_SIZE}")
            self._map = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
        count = (size - HEADER_SIZE) // ENTRY.size
        self._table = Table(self.path, np.frombuffer(self._map, _FIELDS, count, HEADER_SIZE))
        self._entries = Entries(self._table, (), 0, 0)
        self._generation = self._fields()[-1]
        try:
            self.header()
        except LogError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop reading from the file; entries read before stay readable, and keep the file mapped."""
        self._closed = True

    def _fields(self) -> tuple[Any, ...]:
        # struct loads each aligned native-size field at once, so head is never torn.
        return HEADER.unpack_from(self._map)

    def header(self) -> Header:
        """The current header. Raises LogError, and ValueError after `close`."""
        if self._closed:
            raise ValueError(f"{self.path}: the reader is closed")
        magic, version, entry_size, capacity, epoch, head, dropped, devices, generation = self._fields()
        if magic != MAGIC:
            raise LogError(f"{self.path}: starts with {magic!r} instead of {MAGIC!r}: not an event log")
        if version != VERSION:
            raise LogError(f"{self.path}: version {version}, but this reader knows only version {VERSION}")
        if entry_size != ENTRY.size:
            raise LogError(f"{self.path}: entries of {entry_size} bytes instead of {ENTRY.size}")
        if generation != self._generation:
            raise LogError(f"{self.path}: the VM was rewound, and what it logged since another reader must read")
        if head > capacity:
            raise LogError(f"{self.path}: head is {head}, beyond the capacity of {capacity} entries")
        if devices > MAX_DEVICES:
            raise LogError(
                f"{self.path}: the header counts {devices} devices, but the table has only {MAX_DEVICES} slots"
            )
        if (need := HEADER_SIZE + head * ENTRY.size) > len(self._map):
            raise LogError(
                f"{self.path}: truncated: {head} entries need {need} bytes, the file had {len(self._map)} when opened"
            )
        return Header(capacity, epoch, head, dropped, tuple(self._name(slot) for slot in range(devices)))

    @property
    def mark(self) -> int:
        """The number of entries read so far, for ``Log.since``."""
        return len(self._entries)

    def poll(self) -> Sequence[Entry]:
        """The entries that QEMU wrote since the last call. Raises LogError."""
        return self._read(self.header())

    def since(self, mark: int) -> Sequence[Entry]:
        """The entries that QEMU has written until now, from a `mark` on. Raises LogError."""
        self._read(self.header())
        return self._entries[mark:]

    def log(self) -> Log:
        """Everything that QEMU has written until now. Raises LogError."""
        header = self.header()
        self._read(header)
        return Log(header, self._entries)

    def require_complete(self) -> None:
        """`Log.require_complete` for all entries so far: the entry that a caller waits for may have been dropped."""
        Log(self.header(), ()).require_complete()

    def _name(self, slot: int) -> str:
        start = HEADER.size + slot * NAME_SIZE
        return self._map[start : start + NAME_SIZE].split(b"\0")[0].decode(errors="replace")

    def _read(self, header: Header) -> Sequence[Entry]:
        first = len(self._entries)
        if header.head < first:
            raise LogError(f"{self.path}: head went back from {first} to {header.head}: another VM writes this file")
        new = self._table.raw[first : header.head]
        # QEMU adds a device to the table before the device's first entry, so read the names after the head.
        known = np.isin(new["kind"], list(_KINDS))
        named = (new["device"] < len(header.devices)) | (new["device"] == VM_INDEX)
        if len(wrong := np.flatnonzero(~(known & named))):
            place = int(wrong[0])
            what = (
                f"device {new['device'][place]}, but the table has {len(header.devices)}"
                if known[place]
                else f"kind {new['kind'][place]}"
            )
            raise LogError(f"{self.path}: entry {first + place} has the unknown {what}")
        self._table.used = max(self._table.used, header.head)
        self._entries = Entries(self._table, header.devices, 0, header.head)
        return self._entries[first:]


def read_log(path: str | os.PathLike[str]) -> Log:
    """The present contents of a log, by its file or its guest's folder; the VM may still run.

    Raises LogError, or OSError if there is no such file.
    """
    path = Path(path)
    with LogReader(path / LOG if path.is_dir() else path) as reader:
        return reader.log()


# Handler calls


class HandlerCall(NamedTuple):
    """One call of one interrupt handler in the guest's kernel; times in seconds on its trace clock.

    Where handlers are threads, this is the call in the thread. Without the threads' events, ``handled`` is also true
    for a handler that only woke its thread: the tracepoint does not tell the two apart.
    """

    cpu: int
    entry_s: float
    exit_s: float
    irq: int
    name: str
    handled: bool


_EVENT = re.compile(
    r"\[(?P<cpu>\d+)\]\s+(?:\S+\s+)?(?P<time>[\d.]+): irq_handler_(?:"
    r"entry: irq=(?P<entry>\d+) name=(?P<name>.*)|exit: irq=(?P<exit>\d+) ret=(?P<ret>handled|unhandled))\s*$"
)
#: The events of `THREADS`. The name of a handler is in quotation marks.
_THREAD_EVENT = re.compile(
    r"-(?P<pid>\d+)\s+(?:\(.*?\)\s+)?\[(?P<cpu>\d+)\]\s+(?:\S+\s+)?(?P<time>[\d.]+): irq_thread_(?:"
    r"entry: \(.*?\) irq=(?P<entry>\d+) name=\"(?P<name>.*)\"|exit: \(.*?\) ret=(?P<ret>-?\d+))\s*$"
)
#: Definitions for the tracing directory's ``kprobe_events``: a forced thread calls its handler, which then returns.
#: The numbers are the places of ``irq`` and ``name`` in ``struct irqaction``, from Linux 5.10 to 7.2 on 64 bits.
THREADS = (
    "p:irq_thread_entry irq_forced_thread_fn irq=+56($arg2):u32 name=+0(+80($arg2)):string",
    "r:irq_thread_exit irq_forced_thread_fn ret=$retval:s32",
)
#: What the events say of a handler that has handled its interrupt: the kernel's word, or the number that it returned.
_HANDLED = ("handled", "1")
_WRITTEN = re.compile(r"entries-in-buffer/entries-written:\s*(\d+)/(\d+)")
_LOST = re.compile(r"CPU:\d+ \[LOST (?:\d+ )?EVENTS\]")


def parse_ftrace(text: str, threads: bool = False) -> list[HandlerCall]:
    """The handler calls in the text of the tracing directory's ``trace`` (or ``trace_pipe``), in order of entry.

    With ``threads`` they are the calls in the forced threads of handlers, from the events of `THREADS`; the calls that
    wake these threads are left out. A call that was running when tracing began or ended is left out. Raises TraceError
    if the kernel lost events, if an entry in the middle has no exit, or if the trace clock does not count seconds.
    """
    calls: list[HandlerCall] = []
    # By the CPU, or the thread, that runs the handler.
    running: dict[int, tuple[float, int, str]] = {}
    seen: set[int] = set()
    what, pattern, marks = ("thread", _THREAD_EVENT, "irq_thread_e") if threads else ("CPU", _EVENT, "irq_handler_e")
    for number, line in enumerate(text.splitlines(), 1):
        if (written := _WRITTEN.search(line)) and written[1] != written[2]:
            raise TraceError(
                f"line {number}: the trace buffer kept {written[1]} of {written[2]} events: increase buffer_size_kb"
            )
        if _LOST.search(line):
            raise TraceError(f"line {number}: the kernel lost events ({line.strip()}): increase buffer_size_kb")
        if marks not in line or not (event := pattern.search(line)):
            continue
        if "." not in event["time"]:
            raise TraceError(f"line {number}: time {event['time']} is not in seconds: choose trace_clock mono or local")
        cpu, time = int(event["cpu"]), float(event["time"])
        runner = int(event["pid"]) if threads else cpu
        if event["entry"]:
            if runner in running:
                _, irq, name = running[runner]
                raise TraceError(
                    f"line {number}: {what} {runner} enters a handler before {name} (irq {irq}) has returned"
                )
            running[runner] = (time, int(event["entry"]), event["name"].rstrip())
        elif runner in running:
            began, irq, name = running.pop(runner)
            if not threads and irq != int(event["exit"]):
                raise TraceError(
                    f"line {number}: exit from irq {event['exit']} follows the entry of {name} (irq {irq})"
                )
            calls.append(HandlerCall(cpu, began, time, irq, name, event["ret"] in _HANDLED))
        elif runner in seen:
            raise TraceError(f"line {number}: {what} {runner} leaves a handler that it did not enter")
        seen.add(runner)
    return sorted(calls, key=lambda call: call.entry_s)


class GuestEvent(NamedTuple):
    """One event of the guest kernel's trace, of any type."""

    time_s: float
    cpu: int
    task: str
    pid: int
    name: str
    details: str


_ANY_EVENT = re.compile(
    r"\s*(?P<task>.+)-(?P<pid>\d+)\s+(?:\(.*?\)\s+)?\[(?P<cpu>\d+)\]\s+(?:\S+\s+)?(?P<time>\d+\.\d+): "
    r"(?:(?P<name>[\w:.]+): ?)?(?P<details>.*)"
)


def parse_ftrace_events(text: str) -> list[GuestEvent]:
    """All events in the text of the tracing directory's ``trace`` (or ``trace_pipe``), in its order.

    A stack trace becomes part of its event's details. Raises TraceError if the kernel lost events or a line is not an
    event.
    """
    events: list[GuestEvent] = []
    for number, line in enumerate(text.splitlines(), 1):
        if _LOST.search(line):
            raise TraceError(f"line {number}: the kernel lost events ({line.strip()}): enlarge buffer_size_kb")
        if not line.strip() or line.startswith("#"):
            continue
        if match := _ANY_EVENT.fullmatch(line):
            name, details = match["name"], match["details"].rstrip()
            if not name:  # an event of the function tracer
                name, _, details = details.partition(" <-")
            cpu, pid = int(match["cpu"]), int(match["pid"])
            events.append(GuestEvent(float(match["time"]), cpu, match["task"].strip(), pid, name, details))
        elif events and line.lstrip().startswith("=>"):
            events[-1] = events[-1]._replace(details=f"{events[-1].details}\n{line.strip()}")
        else:
            raise TraceError(f"line {number}: {line[:80]!r} is no event with a time in seconds")
    return events


# Clocks


def clock_marks(entries: Sequence[Entry], device: str | None = None) -> list[tuple[int, int]]:
    """Pairs (guest_ns, virtual_ns) from the marks that were written with 64 bits; shorter ones are labels."""
    pairs = []
    width: dict[str, int] = {}
    for _, entry in find(entries, Kind.WRITE, Kind.MARK):
        if entry.kind is Kind.WRITE:
            width[entry.device] = entry.width
        elif entry.kind is Kind.MARK and width.get(entry.device) == 8 and device in (None, entry.device):
            pairs.append((entry.value, entry.time_ns))
    return pairs


class _Line(NamedTuple):
    """virtual - v0 = at + rate * (guest - g0)"""

    at: float
    rate: float

    def __call__(self, guest: float) -> float:
        return self.at + self.rate * guest


@dataclasses.dataclass(frozen=True)
class ClockFit:
    """Maps the guest's trace clock to QEMU's virtual clock, with bounds.

    The guest reads its clock, then writes the value to MARK; QEMU stamps the write. So the clock was read no later than
    the stamp of its mark, and no earlier than the stamp of the previous mark, because one thread writes all marks. The
    fit is the set of *all* affine clock relations within these bounds and within a rate error of ``RATE`` (the guest
    calibrates its clock against emulated timers). A mark that was delayed (the guest was interrupted between reading
    and writing) only gives a weaker bound and never distorts the fit. Two marks in direct succession suffice. With
    bursts of marks at the beginning and the end of a test, the bounds are about as wide as the shortest distance of two
    marks.

    ``slack_ns`` is the distance of the marks from the closest affine relation; it is part of every bound.
    """

    guest_ns: int
    virtual_ns: int
    span_ns: tuple[int, int]
    slack_ns: float
    extremes: tuple[_Line, ...]

    RATE = 1e-3
    # Tolerance: stopping and continuing a VM, and rate adjustment of the host's clock, shift the clocks a little.
    MAX_SLACK_NS = 100_000

    @classmethod
    def from_marks(cls, marks: Iterable[tuple[int, int]]) -> ClockFit:
        """From pairs (guest_ns, virtual_ns) in the order of writing. Raises ClockError with the reason."""
        pairs = list(marks)
        if len(pairs) < 2:
            raise ClockError(f"{len(pairs)} clock marks, at least 2 are needed (64-bit writes to MARK)")
        for index, (old, new) in enumerate(pairwise(pairs), 1):
            if new[0] < old[0] or new[1] < old[1]:
                raise ClockError(f"mark {index} {new} is before its predecessor {old}: one thread must write all marks")
        g0, v0 = pairs[0]
        points = [(float(g - g0), float(v - v0)) for g, v in pairs]
        upper = _hull(points, below=True)
        lower = _hull([(g, v) for (g, _), (_, v) in zip(points[1:], points, strict=False)], below=False)
        slack = 0.0
        while not (extremes := _extremes(upper, lower, slack, cls.RATE)):
            slack = 2 * slack or 1.0
            if slack > cls.MAX_SLACK_NS:
                raise ClockError(
                    f"no clock that runs within {cls.RATE:.1%} of virtual time fits the {len(pairs)} marks to "
                    f"{cls.MAX_SLACK_NS} ns: they may be from several threads or another clock"
                )
        return cls(g0, v0, (pairs[0][0], pairs[-1][0]), slack, tuple(extremes))

    def window(self, guest_ns: float) -> tuple[float, float]:
        """The earliest and the latest virtual time in ns that can correspond to this guest time."""
        guest = guest_ns - self.guest_ns
        at = [line(guest) for line in self.extremes]
        return self.virtual_ns + min(at) - self.slack_ns, self.virtual_ns + max(at) + self.slack_ns

    def virtual(self, guest_ns: float) -> float:
        """The middle of ``window``. Use it for drawing, and ``window`` for verdicts."""
        return sum(self.window(guest_ns)) / 2

    @property
    def error_ns(self) -> float:
        """The maximum error of ``virtual`` between the first and the last mark; outside of them the error is larger."""
        # The window's width is convex in guest time, so it is largest at an end.
        return max((high - low) / 2 for low, high in map(self.window, self.span_ns))


def _hull(points: Sequence[tuple[float, float]], *, below: bool) -> list[tuple[float, float]]:
    """The lower (or upper) convex hull of points that are sorted by their first coordinate."""
    sign = 1 if below else -1
    best: dict[float, float] = {}
    for x, y in points:
        best[x] = min(best.get(x, math.inf), sign * y)
    hull: list[tuple[float, float]] = []
    for x, y in best.items():
        while len(hull) > 1:
            (x1, y1), (x2, y2) = hull[-2:]
            if (x2 - x1) * (y - y1) > (y2 - y1) * (x - x1):
                break
            hull.pop()
        hull.append((x, y))
    return [(x, sign * y) for x, y in hull]


def _extremes(
    upper: Sequence[tuple[float, float]], lower: Sequence[tuple[float, float]], slack: float, rate: float
) -> list[_Line]:
    """The corners of the set of lines that are below ``upper`` and above ``lower``, each moved away by ``slack``."""
    rates = (1 - rate, 1 + rate)
    above = [(x, y + slack) for x, y in upper]
    beneath = [(x, y - slack) for x, y in lower]
    tolerance = 0.01  # in ns, for the rounding of floating-point numbers

    def fits(line: _Line) -> bool:
        return (
            rates[0] - 1e-12 <= line.rate <= rates[1] + 1e-12
            and all(line(x) <= y + tolerance for x, y in above)
            and all(line(x) >= y - tolerance for x, y in beneath)
        )

    def candidates() -> Iterator[_Line]:
        for (x1, y1), (x2, y2) in combinations([*above, *beneath], 2):
            if x1 != x2:
                slope = (y2 - y1) / (x2 - x1)
                yield _Line(y1 - slope * x1, slope)
        for slope in rates:
            for x, y in (*above, *beneath):
                yield _Line(y - slope * x, slope)

    return [line for line in candidates() if fits(line)]
