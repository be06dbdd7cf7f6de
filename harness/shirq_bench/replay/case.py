# SPDX-License-Identifier: MIT
"""A case: the stimuli of a guest and the rules to judge it, in a file that can be replayed exactly.

A case that fails is shrunk to the smallest schedule that still fails; its finding says at which instruction of which
function the stimulus came.
"""

from __future__ import annotations

import bisect
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from shirq_bench.channels.log import Entry
from shirq_bench.errors import BenchError
from shirq_bench.replay.oracle import Oracle, Violation
from shirq_bench.replay.play import HALTED, LogOverflow, Recording, Start, Stimulus, play
from shirq_bench.vm import template
from shirq_bench.vm.machine import Machine

#: Guest script at the end of a run: it prints state of the actors that the devices do not show.
_QUESTION = "cat /run/actors; for pid in $(pidof shirq-actor); do echo alive; done"
_FORMAT = 1
#: Maximum number of runs for shrinking a case.
_MOST_TRIES = 80


@dataclass(frozen=True)
class Case:
    """``cuts`` divide the run into parts that are judged one by one: times in ns from the beginning of the run.

    At a cut all earlier activity must be complete; the last cut ends the run.
    ``devices``, ``bound_ns``, ``spurious``, ``broken`` and ``deliveries`` are passed to the oracle. ``actors`` is the
    number of user programs in the guest. If the guest ``halts``, it does not run the script at the end.
    """

    title: str
    machine: Machine
    stimuli: tuple[Stimulus, ...]
    cuts: tuple[int, ...]
    devices: tuple[str, ...]
    actors: int
    bound_ns: int
    spurious: int = 0
    broken: tuple[str, ...] = ()
    halts: bool = False
    deliveries: int = 0

    def run(self, keep: Path | None = None, start: Start | None = None) -> Outcome:
        """Play the case in a fresh clone, or in the guest that ``start`` gives, and judge it.

        If the log overflows, as it does in a storm, the parts that are complete are judged. The part in which the log
        overflowed is "unfinished", and later parts are not judged.
        """
        oracle = Oracle(self.devices, self.bound_ns, self.spurious, self.broken, self.halts, self.deliveries)
        try:
            question = "" if self.halts else _QUESTION
            recording = play(self.machine, self.stimuli, self.cuts[-1], question, keep, halts=self.halts, start=start)
        except LogOverflow as overflow:
            recording = overflow.recording
            violations = [oracle.judge(part) for part in self._parts(recording, complete=False)]
            violations += [[Violation("unfinished", str(overflow))]]
            return Outcome(recording, violations, [])
        return Outcome(recording, [oracle.judge(part) for part in self._parts(recording)], self._health(recording))

    def _parts(self, recording: Recording, complete: bool = True) -> Iterator[Sequence[Entry]]:
        """The entries of each part; of an incomplete recording, only the complete parts."""
        times = [entry.time_ns - recording.base_ns for entry in recording.entries]
        first = 0
        for cut in self.cuts if complete else self.cuts[:-1]:
            last = bisect.bisect_left(times, cut)
            if last == len(times) and not complete:
                return
            yield recording.entries[first:last]
            first = last

    def _health(self, recording: Recording) -> list[Violation]:
        found = [Violation("dead", f"splat: {complaint}") for complaint in recording.complaints]
        if self.halts and recording.report != HALTED:
            found.append(Violation("unfinished", "the guest has not halted"))
        if not self.halts and recording.report.split() != ["alive"] * self.actors:
            found.append(Violation("dead", f"an actor ended: {recording.report.strip()}"))
        return found

    @property
    def last_ns(self) -> int:
        """The time of the case's last stimulus, from the beginning."""
        return max(stimulus.at_ns for stimulus in self.stimuli)

    def part(self, index: int) -> tuple[int, tuple[Stimulus, ...]]:
        """The beginning and the stimuli of the part that ends at cut number ``index``."""
        begin = self.cuts[index - 1] if index else 0
        return begin, tuple(s for s in self.stimuli if begin <= s.at_ns < self.cuts[index])


@dataclass(frozen=True)
class Outcome:
    """The result of a run of a case.

    ``violations`` has one list for each judged part, ``health`` is about the guest at the end.
    """

    recording: Recording
    violations: list[list[Violation]]
    health: list[Violation]

    def all(self) -> list[Violation]:
        """All violations."""
        return [v for part in self.violations for v in part] + self.health

    def first(self) -> int | None:
        """The index of the first part with a violation, which is also the index of the cut that ends this part."""
        return next((index for index, found in enumerate(self.violations) if found), None)


@dataclass(frozen=True)
class Finding:
    """A failing case. ``template`` names its guest's template: clones of another template begin in another state."""

    case: Case
    rules: tuple[str, ...]
    what: tuple[str, ...]
    template: str
    digest: str
    where: dict[str, str] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write the finding as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        data = asdict(self) | {"format": _FORMAT}
        data["case"]["machine"] = self.case.machine.as_data()
        path.write_text(json.dumps(data, indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> Finding:
        """Read a file that `save` wrote. `BenchError` if the file is not a finding."""
        try:
            data: dict[str, Any] = json.loads(path.read_text())
            if data.pop("format") != _FORMAT:
                raise ValueError("the format is of another version")
            case = data.pop("case")
            case["machine"] = Machine.from_data(case["machine"])
            case["stimuli"] = tuple(Stimulus(*stimulus) for stimulus in case["stimuli"])
            for key in ("cuts", "devices", "broken"):
                case[key] = tuple(case[key])
            for key in ("rules", "what"):
                data[key] = tuple(data[key])
            return cls(case=Case(**case), **data)
        except (BenchError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise BenchError(f"{path} is not a finding of a sweep: {error!r}") from error


def finding(case: Case, outcome: Outcome) -> Finding:
    """The finding of a failed run of a case."""
    violations = outcome.all()
    return Finding(
        case=case,
        rules=tuple(dict.fromkeys(v.rule for v in violations)),
        what=tuple(v.what for v in violations),
        template=template.path(case.machine).name,
        digest=outcome.recording.digest,
    )


def _only(case: Case, first: int, last: int, shift_ns: int) -> Case:
    """The parts from ``first`` to ``last`` of a case, moved ``shift_ns`` earlier."""
    begin = case.part(first)[0]
    stimuli = tuple(s._replace(at_ns=s.at_ns - shift_ns) for s in case.stimuli if begin <= s.at_ns < case.cuts[last])
    return replace(case, stimuli=stimuli, cuts=tuple(cut - shift_ns for cut in case.cuts[first : last + 1]))


def shrink(case: Case, index: int, rules: set[str], tell: Callable[[str], None] = lambda _: None) -> Case:
    """The smallest case that was found to break one of ``rules``, which part ``index`` of ``case`` breaks.

    First the part is tried alone, once at the run's beginning and once at its own time, then with more and more of the
    preceding parts. Then unneeded stimuli are removed: half of them at a time, then a quarter, down to one, as long as
    tries are left.
    """
    tries = 0

    def fails(candidate: Case) -> bool:
        nonlocal tries
        tries += 1
        tell(f"{len(candidate.stimuli)} stimuli")
        return any(violation.rule in rules for violation in candidate.run().all())

    candidates = [_only(case, index, index, case.part(index)[0])]
    before = 0
    while before < index:
        candidates.append(_only(case, index - before, index, 0))
        before = max(1, 2 * before)
    smallest = next((c for c in candidates if fails(c)), _only(case, 0, index, 0))
    size = max(1, len(smallest.stimuli) // 2)
    while size:
        for last in range(len(smallest.stimuli), 0, -size):
            rest = smallest.stimuli[: max(0, last - size)] + smallest.stimuli[last:]
            if rest and tries < _MOST_TRIES and fails(shorter := replace(smallest, stimuli=rest)):
                smallest = shorter
        size //= 2
    return smallest
