# SPDX-License-Identifier: MIT
"""What the verifier accepts and is still wrong: rules for sets of programs, and for profiles, which say more.

Every rule looks at straight runs through a program: the verifier allows forward jumps only, so there are finitely many,
and one that contradicts itself (a register zero at one skip and not at the next) is none. Rules that need to know what
a register does to those who read or write it (`access`, `sets`, `clears`, `index` of a profile) find nothing without.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from shirq.abi import CONFIG_SPACE, Code, Mode, OpFlag, ProgramKind
from shirq.asm import disassemble_op
from shirq.profile import Profile, Register
from shirq.program import SKIPS, Op, Place, Program, ProgramSet, place_of, regs_read, regs_written

IRQ, UNMASK, RELEASE = ProgramKind.IRQ, ProgramKind.UNMASK, ProgramKind.RELEASE
#: Runs of one program that are looked at: a program of mere skips has more than anyone can wait for.
MAX_RUNS: Final = 4096


@dataclass(frozen=True)
class Finding:
    """What a rule found: `index` is the operation of the program, `line` its line in the profile if there is one."""

    rule: str
    kind: ProgramKind
    index: int
    text: str
    line: int | None = None


@dataclass(frozen=True)
class Run:
    """One straight run through a program: the operations with their indices, and where the claim is among them."""

    steps: tuple[tuple[int, Op], ...]
    claim: int | None

    @property
    def before_claim(self) -> tuple[tuple[int, Op], ...]:
        return self.steps[: self.claim]

    @property
    def after_claim(self) -> tuple[tuple[int, Op], ...]:
        return () if self.claim is None else self.steps[self.claim + 1 :]


def _walk(program: Program, index: int, zero: Mapping[int, bool]) -> Iterator[tuple[tuple[int, Op], ...]]:
    """Runs from operation `index` on; `zero` has the registers of which a skip has told whether they are zero."""
    if index >= len(program):
        yield ()
        return
    op = program[index]
    here = (index, op)
    if op.code == Code.DECLINE:
        yield (here,)
    elif op.code in SKIPS:
        for is_zero in (True, False):
            if zero.get(op.src, is_zero) == is_zero:
                follower = index + 1 + (op.skip if is_zero == (op.code == Code.SKIP_Z) else 0)
                for rest in _walk(program, follower, {**zero, op.src: is_zero}):
                    yield (here, *rest)
    else:
        written = regs_written(op)
        for rest in _walk(program, index + 1, {reg: known for reg, known in zero.items() if reg not in written}):
            yield (here, *rest)


def runs(program: Program) -> list[Run]:
    """The runs through a program that the verifier accepts, MAX_RUNS at most."""
    found = []
    for steps in itertools.islice(_walk(program, 0, {}), MAX_RUNS):
        claim = next((at for at, (_, op) in enumerate(steps) if op.code == Code.CLAIM), None)
        found.append(Run(steps, claim))
    return found


@dataclass(frozen=True)
class Subject:
    """What is looked at: a set, and what is known of the registers that it uses."""

    programs: ProgramSet
    registers: Mapping[Place, Register] = field(default_factory=dict)
    ports: frozenset[int] = frozenset()
    runs: Mapping[ProgramKind, list[Run]] = field(default_factory=dict)

    def access(self, op: Op) -> str:
        register = self.registers.get(place_of(op))
        return register.access if register else "read-write"

    def name(self, op: Op) -> str:
        register = self.registers.get(place_of(op))
        return register.name if register else disassemble_op(op)

    def named(self, name: str) -> Place:
        return next(place for place, register in self.registers.items() if register.name == name)

    def changed(self, op: Op) -> Place:
        """The register that a write changes in the end."""
        register = self.registers.get(place_of(op))
        return self.named(register.changes) if register and register.changes else place_of(op)

    def writes(self, kind: ProgramKind) -> dict[Place, int]:
        """What a program changes, index registers apart; of irq, once it has claimed. With the first operation."""
        found: dict[Place, int] = {}
        for run in self.runs[kind]:
            for index, op in run.after_claim if kind is IRQ else run.steps:
                if op.code == Code.WRITE and self.access(op) != "index":
                    found.setdefault(self.changed(op), index)
        return found


_Found = Iterator[tuple[int, str]]
_Check = Callable[[Subject, ProgramKind], _Found]


def _reads_before_claim(access: str, text: str) -> _Check:
    def check(subject: Subject, kind: ProgramKind) -> _Found:
        for run in subject.runs[kind]:
            for index, op in run.before_claim:
                if op.code == Code.READ and subject.access(op) == access:
                    yield index, f"{subject.name(op)} is {access} and read before the claim: {text}"

    return check


def _accesses(code: Code, access: str, text: str) -> _Check:
    def check(subject: Subject, kind: ProgramKind) -> _Found:
        for index, op in enumerate(subject.programs.program(kind)):
            if op.code == code and subject.access(op) == access:
                yield index, f"{subject.name(op)} is {access}: {text}"

    return check


def _posted(subject: Subject, kind: ProgramKind) -> _Found:
    for run in subject.runs[kind]:
        for at, (index, op) in enumerate(run.steps):
            if op.code != Code.WRITE or op.space == CONFIG_SPACE or op.space in subject.ports:
                continue
            if not any(later.code == Code.READ and later.space == op.space for _, later in run.steps[at:]):
                yield index, f"no read of the same BAR follows the write of {subject.name(op)}"


def _writes_unclaimed(subject: Subject, kind: ProgramKind) -> _Found:
    for run in subject.runs[kind]:
        if run.claim is None:
            for index, op in run.steps:
                if op.code == Code.WRITE and subject.access(op) != "index":
                    yield index, f"{subject.name(op)} is written on a run that does not claim"


def _claims_silently(subject: Subject, kind: ProgramKind) -> _Found:
    for run in subject.runs[kind]:
        clears = any(subject.access(op) == "clear-on-read" for _, op in run.steps if op.code == Code.READ)
        acknowledged = clears and subject.programs.mode is Mode.ACKNOWLEDGES
        if run.claim is not None and not acknowledged and not any(op.code == Code.WRITE for _, op in run.after_claim):
            yield run.steps[run.claim][0], "nothing is written after this claim"


def _gone_unasked(subject: Subject, kind: ProgramKind) -> _Found:
    for run in subject.runs[kind]:
        reads = [op for _, op in run.before_claim if op.code == Code.READ]
        if run.claim is not None and not any(op.flags & OpFlag.GONE_IF_ONES for op in reads):
            yield run.steps[run.claim][0], "no read before this claim has gone_if_ones"


def _claims_blindly(subject: Subject, kind: ProgramKind) -> _Found:
    for run in subject.runs[kind]:
        if run.claim is not None and not any(op.code in SKIPS for _, op in run.before_claim):
            yield run.steps[run.claim][0], "no skip stands before this claim"


def _release_leaves(subject: Subject, kind: ProgramKind) -> _Found:
    released = subject.writes(kind)
    if any(place.space == CONFIG_SPACE for place in released):
        return
    sources = [UNMASK] + ([IRQ] if subject.programs.mode is Mode.MASKS else [])
    for source in sources:
        for place in subject.writes(source):
            if place not in released:
                yield 0, f"{_spot(subject, place)} is written by {source.name.lower()} and not by release"


def _unmask_elsewhere(subject: Subject, kind: ProgramKind) -> _Found:
    if subject.programs.mode is Mode.MASKS:
        masked = subject.writes(IRQ)
        for place, index in subject.writes(kind).items():
            if place not in masked:
                yield index, f"{_spot(subject, place)} is written by unmask and not by irq"


def _unmask_misses(subject: Subject, kind: ProgramKind) -> _Found:
    if subject.programs.mode is Mode.MASKS:
        unmasked = subject.writes(kind)
        for place in subject.writes(IRQ):
            if place not in unmasked:
                yield 0, f"{_spot(subject, place)} is written by irq and not by unmask"


def _spot(subject: Subject, place: Place) -> str:
    register = subject.registers.get(place)
    if register:
        return register.name
    return f"the register at {'config' if place.space == CONFIG_SPACE else f'bar{place.space}'}+{place.offset:#x}"


def _index_kept(subject: Subject, kind: ProgramKind) -> _Found:
    """On each run the last write of an index register must be of what was read from it.

    A part of what was read (pages share a register with commands) counts if another write chose the page before.
    """
    for run in subject.runs[kind]:
        saved: dict[int, tuple[Place, bool]] = {}
        left: dict[Place, tuple[int, bool]] = {}
        for index, op in run.steps:
            if op.code == Code.WRITE and subject.access(op) == "index":
                origin, whole = saved.get(op.src, (None, False))
                left[place_of(op)] = (index, origin == place_of(op) and (whole or place_of(op) in left))
            elif op.code == Code.READ and subject.access(op) == "index":
                saved[op.dst] = (place_of(op), True)
            elif op.code == Code.LOAD and regs_read(op) and op.src in saved:
                saved[op.dst] = saved[op.src]
            elif op.code == Code.AND and op.dst in saved:
                saved[op.dst] = (saved[op.dst][0], False)
            else:
                for reg in regs_written(op):
                    saved.pop(reg, None)
        for place, (index, restored) in left.items():
            if not restored:
                yield index, f"{_spot(subject, place)} is left as this write sets it"


def _index_chosen(subject: Subject, kind: ProgramKind) -> _Found:
    for run in subject.runs[kind]:
        written: set[Place] = set()
        for index, op in run.steps:
            register = subject.registers.get(place_of(op)) if op.code in (Code.READ, Code.WRITE) else None
            if op.code == Code.WRITE:
                written.add(place_of(op))
            if register and register.index and subject.named(register.index) not in written:
                yield index, f"{register.name} is reached through {register.index}, which is not written before"


@dataclass(frozen=True)
class Rule:
    """A rule: the programs that it looks at, why what it finds is wrong, and how it looks."""

    id: str
    kinds: tuple[ProgramKind, ...]
    why: str
    check: _Check


_ALL: Final = (IRQ, UNMASK, RELEASE)

RULES: Final = (
    Rule(
        "claim-clears",
        (IRQ,),
        "The line is shared: the program runs for the neighbours' interrupts too, and what the read clears is lost"
        " unless it is claimed. Claim by a register whose read changes nothing, or show that nothing is lost.",
        _reads_before_claim("clear-on-read", "a neighbour's interrupt clears it too"),
    ),
    Rule(
        "claim-masks",
        (IRQ,),
        "The line is shared: at a neighbour's interrupt the read masks our device, and nobody will unmask it.",
        _reads_before_claim("mask-on-read", "a neighbour's interrupt masks the device"),
    ),
    Rule(
        "claim-blind",
        (IRQ,),
        "A claim that depends on nothing takes the neighbours' interrupts for its own, and the kernel no longer"
        " notices a line that nobody serves.",
        _claims_blindly,
    ),
    Rule(
        "claim-without-silence",
        (IRQ,),
        "A device that still asserts when the handler returns interrupts again at once, for ever.",
        _claims_silently,
    ),
    Rule(
        "touch-unclaimed",
        (IRQ,),
        "At a neighbour's interrupt the program must leave the device as it is: its owner does not expect a change"
        " without an event.",
        _writes_unclaimed,
    ),
    Rule(
        "gone-unasked",
        (IRQ,),
        "A device that was pulled out reads all-ones, which looks like an interrupt. Put gone_if_ones on a read of a"
        " register that never holds all-ones.",
        _gone_unasked,
    ),
    Rule(
        "posted-write",
        (IRQ, RELEASE),
        "Writes to memory BARs are posted: the interrupt can end before the device sees the write, and comes again."
        " Read a register of the BAR back.",
        _posted,
    ),
    Rule(
        "release-leaves",
        (RELEASE,),
        "What irq masks and unmask enables, release must disable: after it nobody is there to serve the device.",
        _release_leaves,
    ),
    Rule(
        "unmask-elsewhere",
        (UNMASK,),
        "Unmask runs after every event: what it changes beyond what irq masked is taken from the owner.",
        _unmask_elsewhere,
    ),
    Rule(
        "unmask-misses",
        (UNMASK,),
        "What irq masks stays masked if unmask does not change it: there is one interrupt and then silence.",
        _unmask_misses,
    ),
    Rule(
        "index-kept",
        (IRQ, UNMASK),
        "The owner may be between choosing a register and using it when the interrupt comes. Read the index register"
        " first and write that value back last, on every run.",
        _index_kept,
    ),
    Rule(
        "index-chosen",
        _ALL,
        "Without a choice of its own the program accesses whatever register the owner chose last.",
        _index_chosen,
    ),
    Rule(
        "read-of-write-only",
        _ALL,
        "What such a register reads means nothing, often all-ones or zero.",
        _accesses(Code.READ, "write-only", "what is read means nothing"),
    ),
    Rule(
        "write-of-read-only",
        _ALL,
        "Such a write does nothing: the program is not what it seems.",
        _accesses(Code.WRITE, "read-only", "the write does nothing"),
    ),
)


def explain(rule: str) -> str:
    """Why what a rule finds is wrong. Raises KeyError for one that does not exist."""
    return {each.id: each.why for each in RULES}[rule]


def lint_set(
    programs: ProgramSet, registers: Mapping[str, Register] | None = None, ports: frozenset[int] = frozenset()
) -> list[Finding]:
    """All findings for a set that `verify` passes; `ports` are the port BARs, whose writes are not posted."""
    by_kind = {kind: runs(programs.program(kind)) for kind in _ALL}
    by_place: dict[Place, Register] = {}
    for register in (registers or {}).values():
        by_place.setdefault(register.place, register)
    subject = Subject(programs, by_place, ports, by_kind)
    found: dict[tuple[str, ProgramKind, int], Finding] = {}
    for rule in RULES:
        for kind in rule.kinds:
            if programs.program(kind):
                for index, text in rule.check(subject, kind):
                    found.setdefault((rule.id, kind, index), Finding(rule.id, kind, index, text))
    return list(found.values())


def lint(profile: Profile) -> list[Finding]:
    """All findings for a profile that it does not allow, with their lines, and what it allows in vain."""
    found = lint_set(profile.programs, profile.registers, profile.ports)
    lines = [
        Finding(each.rule, each.kind, each.index, each.text, profile.line_of(each.kind, each.index))
        for each in found
        if each.rule not in profile.allowed
    ]
    idle = set(profile.allowed) - {each.rule for each in found}
    lines += [
        Finding("allow-idle", IRQ, 0, f"{rule} is allowed and finds nothing", profile.allowed_lines[rule])
        for rule in sorted(idle)
    ]
    return sorted(lines, key=lambda each: each.line or 0)
