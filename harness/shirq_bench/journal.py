# SPDX-License-Identifier: MIT
"""The steps of a guest: commands, QMP calls and waits, each with its beginning, its end and its outcome.

`subscribe` subscribes to all journals; `Journal.steps` has the steps of one guest so far.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import enum
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from shirq_bench.transcript import Transcript

#: A step is printed on one line; its text and its outcome are each cut to this many characters.
_WIDTH = 200
#: Maximum number of steps that a journal keeps in memory; the transcript has all of them.
_MOST = 10_000


class Kind(enum.StrEnum):
    """The kind of a step."""

    COMMAND = "command"
    QMP = "qmp"
    WAIT = "wait"
    GUEST = "guest"


@dataclass
class Step:
    """One step: ``began_s`` and ``ended_s`` are seconds since the journal began; ``ended_s`` is None while it lasts.

    ``first`` and ``last`` are the numbers of entries in the event log at these times; the virtual time can be read from
    these entries. If a query, such as the reading of a property, is repeated without another step in between, the
    journal keeps one step for all repetitions, and ``times`` counts them.
    """

    guest: str
    kind: Kind
    what: str
    began_s: float
    first: int
    ended_s: float | None = None
    last: int | None = None
    outcome: str = ""
    times: int = 1

    def __str__(self) -> str:
        """The step as one line: its beginning, duration, text and outcome."""
        took = "          " if self.ended_s is None else f"{self.ended_s - self.began_s:8.3f} s"
        words = " ".join(self.what.split())
        words = words if len(words) <= _WIDTH else f"{words[:_WIDTH]}..."
        outcome = f" -> {' '.join(self.outcome.split())[:_WIDTH]}" if self.outcome else ""
        return f"{self.guest} {self.began_s:9.3f} s {took}  {self.kind:7} {words}{outcome}"


Reporter = Callable[[Step], None]
_reporters: list[Reporter] = []


def subscribe(reporter: Reporter) -> Callable[[], None]:
    """Call ``reporter`` with each step of every guest when the step has ended, on the thread that ended it.

    Returns a function that undoes the subscription.
    """
    _reporters.append(reporter)
    return lambda: _reporters.remove(reporter)


@dataclass(frozen=True)
class Place:
    """What a savepoint keeps of a journal: the steps as they were then, and the transcript's ``size``."""

    steps: tuple[tuple[Step, Step], ...]
    size: int


class Journal:
    """The steps of one guest. Any thread may use it; ``transcript`` is a file that gets one line for each step.

    ``position`` returns the number of entries in the event log.
    """

    def __init__(self, guest: str, transcript: Path | None = None, position: Callable[[], int] = lambda: 0) -> None:
        #: Bounded, because a long run has more steps than the memory should hold.
        self.steps: collections.deque[Step] = collections.deque(maxlen=_MOST)
        self.position = position
        self._guest = guest
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self.transcript = Transcript(transcript) if transcript else None

    def begin(self, kind: Kind, what: str) -> Step:
        """Begin a step. The caller must `end` it."""
        step = Step(self._guest, kind, what, time.monotonic() - self._began, self.position())
        with self._lock:
            self.steps.append(step)
        return step

    def end(self, step: Step, outcome: str = "") -> None:
        """End the step; a second call has no effect."""
        with self._lock:
            if step.ended_s is not None:
                return
            step.ended_s, step.last, step.outcome = time.monotonic() - self._began, self.position(), outcome
            if self.transcript:
                self.transcript.write(f"{step}\n".encode())
        for reporter in list(_reporters):
            reporter(step)

    def note(self, what: str) -> None:
        """Record what has become of the guest as a whole, as a step that takes no time."""
        self.end(self.begin(Kind.GUEST, what))

    @contextlib.contextmanager
    def during(self, kind: Kind, what: str, look: bool = False) -> Iterator[Step]:
        """Record the block as a step; if the block raises, the exception is the step's outcome.

        ``look`` means that the step is a query: repetitions of the previous query are counted in one step.
        """
        step = self.begin(kind, what)
        try:
            yield step
        except BaseException as error:
            self.end(step, f"{type(error).__name__}: {error}")
            raise
        if not (look and self._repeats(step)):
            self.end(step)

    def _repeats(self, step: Step) -> bool:
        """Whether this successful query repeats the step before it. If so, the journal keeps only the earlier step."""
        with self._lock:
            if len(self.steps) < 2 or self.steps[-1] is not step:
                return False
            before = self.steps[-2]
            if (before.kind, before.what, before.outcome) != (step.kind, step.what, "") or before.ended_s is None:
                return False
            self.steps.pop()
            before.times += 1
            before.ended_s, before.last = time.monotonic() - self._began, self.position()
            return True

    def place(self) -> Place:
        """What a savepoint keeps."""
        with self._lock:
            steps = tuple((step, dataclasses.replace(step)) for step in self.steps)
            return Place(steps, self.transcript.size if self.transcript else 0)

    def rewound(self, place: Place) -> None:
        """Return to a savepoint's `place`, to which the guest was rewound: a step may be under way again."""
        with self._lock:
            self.steps.clear()
            for step, then in place.steps:
                vars(step).update(vars(then))
                self.steps.append(step)
            if self.transcript:
                self.transcript.cut(place.size)

    def close(self) -> None:
        """Close the transcript, and write to it the steps that have not ended."""
        with self._lock:
            if self.transcript:
                for step in self.steps:
                    if step.ended_s is None:
                        self.transcript.write(f"{step} -> not over\n".encode())
                self.transcript.close()
