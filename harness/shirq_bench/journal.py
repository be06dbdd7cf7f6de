# SPDX-License-Identifier: MIT
"""The steps of a guest: commands, QMP calls and waits, each with its beginning, its end and its outcome.

`subscribe` subscribes to all journals; `Journal.steps` has the steps of one guest so far.
"""

from __future__ import annotations

import collections
import contextlib
import enum
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from shirq_bench.transcript import Transcript

#: A step's text is cut to this many characters in a single line.
_WIDTH = 200
#: Steps that a journal remembers; its transcript has all.
_MOST = 10_000


class Kind(enum.StrEnum):
    """The kind of a step."""

    COMMAND = "command"
    QMP = "qmp"
    WAIT = "wait"


@dataclass
class Step:
    """One step: ``began_s`` and ``ended_s`` count from the journal's beginning, the latter is None while it lasts.

    ``first`` and ``last`` are the numbers of entries in the event log at these times, which give the virtual time. A
    query, such as the reading of a property, that is repeated without another step in between is one step: ``times``
    counts.
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
    """Call ``tell`` with each step of every guest when it has ended, on the thread that ends it; returns an undo."""
    _reporters.append(reporter)
    return lambda: _reporters.remove(reporter)


class Journal:
    """The steps of one guest. Any thread may use it; ``transcript`` is a file that gets a line a step.

    ``position`` says how many entries the event log has.
    """

    def __init__(self, guest: str, transcript: Path | None = None, position: Callable[[], int] = lambda: 0) -> None:
        #: Bounded: a long run has very many steps.
        self.steps: collections.deque[Step] = collections.deque(maxlen=_MOST)
        self.position = position
        self._guest = guest
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self.transcript = Transcript(transcript) if transcript else None

    def begin(self, kind: Kind, what: str) -> Step:
        """A step begins; `end` it."""
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

    @contextlib.contextmanager
    def during(self, kind: Kind, what: str, look: bool = False) -> Iterator[Step]:
        """A step that lasts as long as the block; an exception of the block is its outcome."""
        step = self.begin(kind, what)
        try:
            yield step
        except BaseException as error:
            self.end(step, f"{type(error).__name__}: {error}")
            raise
        if not (look and self._repeats(step)):
            self.end(step)

    def _repeats(self, step: Step) -> bool:
        """Whether this query, which succeeded, only repeats the step before it, which then stands for both."""
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

    def close(self) -> None:
        """Close the transcript; steps that have not ended are marked as such."""
        with self._lock:
            if self.transcript:
                for step in self.steps:
                    if step.ended_s is None:
                        self.transcript.write(f"{step} -> not over\n".encode())
                self.transcript.close()
