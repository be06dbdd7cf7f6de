# SPDX-License-Identifier: MIT
"""The linter: finds errors that the verifier accepts, in program sets and in profiles (which contain more facts).

Every rule looks at straight runs through a program (`shirq.runs`). Rules that depend on the effects of register
accesses (`access`, `sets`, `clears`, `index` of a profile) find nothing without these keys. A rule reports only errors
that occur on every device that matches the profile. A profile can allow single findings that are no errors for its
card.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from shirq.abi import CONFIG_DISINTX_BIT, CONFIG_SPACE, Code, Mode, OpFlag, ProgramKind
from shirq.asm import disassemble_op
from shirq.profile import Allow, Profile, Register
from shirq.program import SKIPS, Op, Place, place_of
from shirq.programset import ProgramSet
from shirq.runs import Run, Step, runs

IRQ, UNMASK, RELEASE, MASK = ProgramKind.IRQ, ProgramKind.UNMASK, ProgramKind.RELEASE, ProgramKind.MASK
_KINDS: Final = (IRQ, UNMASK, RELEASE, MASK)
#: Kinds of access to registers whose bits a write to them cannot set. The card sets these bits, unless a write to
#: another register does.
_STATUS: Final = frozenset({"write-1-to-clear", "read-only", "clear-on-read", "mask-on-read"})


@dataclass(frozen=True)
class Finding:
    """A finding: `index` is the operation in the program, `line` its line in the profile, if there is one.

    `register` is the profile's name of the register concerned, or None.
    """

    rule: str
    kind: ProgramKind
    index: int
    text: str
    register: str | None = None
    line: int | None = None


@dataclass(frozen=True)
class Effect:
    """The last write to a register on a run: its place, and the known bits of the register."""

    index: int
    written: Place
    known: int
    ones: int

    def bits(self, subject: Subject, value: bool) -> int:
        """The bits of the register that are known to have this value after the write."""
        register = subject.registers.get(self.written)
        sets = register is not None and (register.sets is not None or register.access == "write-1-to-set")
        if sets or (register and register.clears):
            return self.ones if value == sets else 0
        return self.ones if value else self.known & ~self.ones


@dataclass(frozen=True)
class Subject:
    """The input of the rules: a set, and the known properties of the registers that it uses."""

    programs: ProgramSet
    registers: Mapping[Place, Register] = field(default_factory=dict)
    ports: frozenset[int] = frozenset()
    runs: Mapping[ProgramKind, list[Run]] = field(default_factory=dict)

    def access(self, op: Op) -> str:
        register = self.registers.get(place_of(op))
        return register.access if register else "read-write"

    def named(self, name: str) -> Place:
        return next(place for place, register in self.registers.items() if register.name == name)

    def name(self, place: Place) -> str | None:
        register = self.registers.get(place)
        return register.name if register else None

    def changed(self, op: Op) -> Place:
        """The register that a write changes, after following `sets`, `clears` and `index`."""
        register = self.registers.get(place_of(op))
        return self.named(register.changes) if register and register.changes else place_of(op)

    def acknowledges(self, op: Op) -> bool:
        """Whether an operation clears bits of a status register, that is, a register whose bits only the card sets."""
        register = self.registers.get(place_of(op))
        if op.code != Code.WRITE or not register:
            return False
        if not register.clears and register.access != "write-1-to-clear":
            return False
        status = self.registers[self.changed(op)]
        return status.access in _STATUS and status.name not in {each.sets for each in self.registers.values()}

    def changes(self, kind: ProgramKind, run: Run) -> Iterator[Step]:
        """The steps of a run that change the card's behaviour; of irq, only those after the claim.

        Writes of index registers and acknowledgements do not count.
        """
        for step in run.after_claim if kind is IRQ else run.steps:
            if step.op.code == Code.WRITE and self.access(step.op) != "index" and not self.acknowledges(step.op):
                yield step

    def writes(self, kind: ProgramKind) -> dict[Place, int]:
        """The registers that a program changes, each with the first operation that changes it."""
        found: dict[Place, int] = {}
        for run in self.runs[kind]:
            for step in self.changes(kind, run):
                found.setdefault(self.changed(step.op), step.index)
        return found

    def effects(self, kind: ProgramKind, run: Run) -> dict[Place, Effect]:
        """The final values of the registers that a run changes."""
        found = {}
        for step in self.changes(kind, run):
            place = place_of(step.op)
            bits = CONFIG_DISINTX_BIT if place.space == CONFIG_SPACE else _ones(step.op)
            known = step.value.known & bits
            found[self.changed(step.op)] = Effect(step.index, place, known, step.value.ones & known)
        return found

    def kept(self) -> frozenset[Place]:
        """The registers in which irq saves another register's value, for unmask to restore."""
        saved = set(self._copies(IRQ))
        return frozenset(to for source, to in saved if (to, source) in set(self._copies(UNMASK)))

    def _copies(self, kind: ProgramKind) -> Iterator[tuple[Place, Place]]:
        program = self.programs.program(kind)
        for run in self.runs[kind]:
            for step in run.steps:
                if step.op.code == Code.WRITE and step.value.copy_of is not None:
                    yield place_of(program[step.value.copy_of]), place_of(step.op)

    def silences(self, kind: ProgramKind) -> bool:
        """Whether a program sets the interrupt-disable bit."""
        return any(
            place.space == CONFIG_SPACE and effect.ones
            for run in self.runs[kind]
            for place, effect in self.effects(kind, run).items()
        )


def _ones(op: Op) -> int:
    """The bits of a read or write."""
    return (1 << 8 * op.width) - 1


def _shown(subject: Subject, op: Op) -> str:
    return subject.name(place_of(op)) or disassemble_op(op)


def _spot(subject: Subject, place: Place) -> str:
    where = "config" if place.space == CONFIG_SPACE else f"bar{place.space}"
    return subject.name(place) or f"the register at {where}+{place.offset:#x}"


@dataclass(frozen=True)
class _At:
    """The place of a finding, its message, and the register concerned."""

    index: int
    text: str
    place: Place | None = None


_Found = Iterator[_At]
_Check = Callable[[Subject, ProgramKind], _Found]


# ------------------------------------------------------------ the claim


def _clears_unclaimed(subject: Subject, kind: ProgramKind) -> _Found:
    for run in subject.runs[kind]:
        for step in run.steps if run.claim is None else ():
            if step.op.code != Code.READ or subject.access(step.op) != "clear-on-read":
                continue
            if not _ones(step.op) & ~run.zeros.get(step.index, 0):
                continue
            text = f"{_shown(subject, step.op)} is clear-on-read and read on a run that does not claim"
            yield _At(step.index, f"{text}: a neighbour's interrupt clears it too", place_of(step.op))


def _masks_unclaimed(subject: Subject, kind: ProgramKind) -> _Found:
    for run in subject.runs[kind]:
        for step in run.steps if run.claim is None else ():
            if step.op.code == Code.READ and subject.access(step.op) == "mask-on-read":
                text = f"{_shown(subject, step.op)} is mask-on-read and read on a run that does not claim"
                yield _At(step.index, f"{text}: a neighbour's interrupt masks the device", place_of(step.op))


def _claims_blindly(subject: Subject, kind: ProgramKind) -> _Found:
    for run in subject.runs[kind]:
        tested = any(step.op.code in SKIPS and step.value.origins for step in run.before_claim)
        if run.claim is not None and not tested:
            yield _At(run.steps[run.claim].index, "no skip that depends on the device stands before this claim")


def _claims_never(subject: Subject, kind: ProgramKind) -> _Found:
    if all(run.claim is None for run in subject.runs[kind]):
        claim = next(index for index, op in enumerate(subject.programs.program(kind)) if op.code == Code.CLAIM)
        yield _At(claim, "no value that the device can return leads to this claim")


def _enabled(subject: Subject) -> dict[Place, int]:
    """The bits of each status register that may assert after unmask, whatever was there before."""
    found: dict[Place, int] = {}
    after = [subject.effects(UNMASK, run) for run in subject.runs[UNMASK]]
    for place, register in subject.registers.items():
        status = register.enables or register.masks
        if status is None:
            continue
        enabled = -1
        for effects in after:
            effect = effects.get(place)
            enabled &= effect.bits(subject, bool(register.enables)) if effect else 0
        found[subject.named(status)] = found.get(subject.named(status), 0) | enabled
    return found


def _claims_narrowly(subject: Subject, kind: ProgramKind) -> _Found:
    enabled = _enabled(subject)
    for run in subject.runs[kind]:
        tested: dict[Place, tuple[int, int]] = {}
        for step in run.steps if run.claim is None else ():
            place = place_of(step.op)
            if step.op.code == Code.READ and place in enabled:
                tested[place] = step.index, tested.get(place, (0, 0))[1] | run.zeros.get(step.index, 0)
        for place, (index, zeros) in tested.items():
            missed = enabled[place] & ~zeros
            if zeros and missed:
                text = f"unmask lets bits {missed:#x} of {_spot(subject, place)} assert, and a run that declines"
                yield _At(index, f"{text} does not look at them", place)


def _claims_silently(subject: Subject, kind: ProgramKind) -> _Found:
    for run in subject.runs[kind]:
        clears = any(step.op.code == Code.READ and subject.access(step.op) == "clear-on-read" for step in run.steps)
        acknowledged = clears and subject.programs.mode is Mode.ACKNOWLEDGES
        silenced = any(step.op.code == Code.WRITE for step in run.after_claim)
        if run.claim is not None and not acknowledged and not silenced:
            yield _At(run.steps[run.claim].index, "nothing is written after this claim")


def _gone_unasked(subject: Subject, kind: ProgramKind) -> _Found:
    for run in subject.runs[kind]:
        asked = any(step.op.code == Code.READ and step.op.flags & OpFlag.GONE_IF_ONES for step in run.before_claim)
        if run.claim is not None and not asked:
            yield _At(run.steps[run.claim].index, "no read before this claim has gone_if_ones")


def _writes_unclaimed(subject: Subject, kind: ProgramKind) -> _Found:
    for run in subject.runs[kind]:
        for step in run.steps if run.claim is None else ():
            if step.op.code == Code.WRITE and subject.access(step.op) != "index":
                text = f"{_shown(subject, step.op)} is written on a run that does not claim"
                yield _At(step.index, text, place_of(step.op))


# ------------------------------------------------------- acknowledgements


def _acknowledge_misses(subject: Subject, kind: ProgramKind) -> _Found:
    if subject.programs.mode is not Mode.ACKNOWLEDGES:
        return
    program = subject.programs.program(kind)
    for run in subject.runs[kind]:
        tests = [step for step in run.before_claim if step.op.code in SKIPS]
        asked = {place_of(program[read]) for step in tests for read in step.value.origins} & subject.registers.keys()
        cleared = any(_may_clear(subject, step, asked) for step in run.steps)
        if run.claim is not None and asked and not cleared:
            names = " and ".join(sorted(subject.registers[place].name for place in asked))
            yield _At(run.steps[run.claim].index, f"nothing clears {names}, on which this claim depends")


def _may_clear(subject: Subject, step: Step, asked: set[Place]) -> bool:
    """Whether a step may clear a register that the claim depends on; true if the profile does not say."""
    place = place_of(step.op)
    register = subject.registers.get(place)
    if step.op.code == Code.READ:
        return place in asked and subject.access(step.op) == "clear-on-read"
    if step.op.code != Code.WRITE:
        return False
    if not register or (register.access == "write-only" and not register.changes):
        return True
    return subject.changed(step.op) in asked and (step.value.may_be_other or register.access == "read-write")


def _acknowledges_unseen(subject: Subject, kind: ProgramKind) -> _Found:
    for run in subject.runs[kind]:
        for step in run.after_claim:
            ones = step.value.ones & (1 << 8 * step.op.width) - 1
            if subject.acknowledges(step.op) and ones.bit_count() > 1:
                text = f"{_shown(subject, step.op)} is written with the constant {ones:#x}, not with the value read"
                yield _At(step.index, text, place_of(step.op))


def _unmask_acknowledges(subject: Subject, kind: ProgramKind) -> _Found:
    for run in subject.runs[kind] if subject.programs.mode is Mode.MASKS else ():
        for step in run.steps:
            if subject.acknowledges(step.op) and step.value.may_be_other:
                text = f"{_shown(subject, step.op)} is written: sources that became pending while masked are lost"
                yield _At(step.index, text, place_of(step.op))


# ----------------------------------------------------- masking and unmasking


def _same_as_unmask(subject: Subject, kind: ProgramKind) -> Iterator[tuple[Place, Effect]]:
    """The registers that a program and unmask both change, if the program gives all of them unmask's final values."""
    unmasked = [subject.effects(UNMASK, run) for run in subject.runs[UNMASK]]
    for run in subject.runs[kind]:
        common = {
            place: (effect, [each[place] for each in unmasked if place in each])
            for place, effect in subject.effects(kind, run).items()
        }
        common = {place: (effect, others) for place, (effect, others) in common.items() if others}
        if all(
            effect.known and all((effect.written, effect.known, effect.ones) == _bits(other) for other in others)
            for effect, others in common.values()
        ):
            yield from ((place, effect) for place, (effect, _) in common.items())


def _bits(effect: Effect) -> tuple[Place, int, int]:
    return effect.written, effect.known, effect.ones


def _masks_nothing(subject: Subject, kind: ProgramKind) -> _Found:
    if kind is IRQ and subject.programs.mode is not Mode.MASKS:
        return
    for place, effect in _same_as_unmask(subject, kind):
        name = _spot(subject, effect.written)
        yield _At(effect.index, f"{name} is written with unmask's value, so it masks nothing", place)


def _release_enables(subject: Subject, kind: ProgramKind) -> _Found:
    for place, effect in _same_as_unmask(subject, kind):
        name = _spot(subject, effect.written)
        yield _At(effect.index, f"{name} is written with unmask's value, so the device stays enabled", place)


def _release_leaves(subject: Subject, kind: ProgramKind) -> _Found:
    if subject.silences(kind):
        return
    released = subject.writes(kind)
    masked = [IRQ] if subject.programs.mode is Mode.MASKS else []
    for source in [UNMASK, *masked, MASK]:
        for place in subject.writes(source).keys() - released.keys() - subject.kept():
            yield _At(0, f"{_spot(subject, place)} is written by {source.name.lower()} and not by release", place)


def _unmask_elsewhere(subject: Subject, kind: ProgramKind) -> _Found:
    if subject.programs.mode is Mode.MASKS:
        masked = subject.writes(IRQ).keys() | subject.writes(MASK).keys()
        for place, index in subject.writes(kind).items():
            if place not in masked:
                yield _At(index, f"{_spot(subject, place)} is written by unmask and not by irq", place)


def _unmask_misses(subject: Subject, kind: ProgramKind) -> _Found:
    if subject.programs.mode is Mode.MASKS:
        for place in subject.writes(IRQ).keys() - subject.writes(kind).keys() - subject.kept():
            yield _At(0, f"{_spot(subject, place)} is written by irq and not by unmask", place)


def _mask_stays(subject: Subject, kind: ProgramKind) -> _Found:
    unmasked = subject.writes(UNMASK)
    for place, index in subject.writes(kind).items():
        if place not in unmasked:
            yield _At(index, f"{_spot(subject, place)} is written by mask and not by unmask", place)


def _mask_misses(subject: Subject, kind: ProgramKind) -> _Found:
    if subject.silences(kind):
        return
    source = IRQ if subject.programs.mode is Mode.MASKS else UNMASK
    for place in subject.writes(source).keys() - subject.writes(kind).keys() - subject.kept():
        yield _At(0, f"{_spot(subject, place)} is written by {source.name.lower()} and not by mask", place)


# ---------------------------------------------------------------- accesses


def _posted(subject: Subject, kind: ProgramKind) -> _Found:
    for run in subject.runs[kind]:
        for at, step in enumerate(run.steps):
            op = step.op
            if op.code != Code.WRITE or op.space == CONFIG_SPACE or op.space in subject.ports:
                continue
            if not any(later.op.code == Code.READ and later.op.space == op.space for later in run.steps[at:]):
                text = f"no read of the same BAR follows the write of {_shown(subject, op)}"
                yield _At(step.index, text, place_of(op))


def _accesses(code: Code, access: str, text: str) -> _Check:
    def check(subject: Subject, kind: ProgramKind) -> _Found:
        for index, op in enumerate(subject.programs.program(kind)):
            if op.code == code and subject.access(op) == access:
                yield _At(index, f"{_shown(subject, op)} is {access}: {text}", place_of(op))

    return check


def _other_form(subject: Subject, kind: ProgramKind) -> _Found:
    for index, op in enumerate(subject.programs.program(kind)):
        place = place_of(op)
        if op.code not in (Code.READ, Code.WRITE) or place in subject.registers or op.space == CONFIG_SPACE:
            continue
        for register in subject.registers.values():
            there = register.place
            overlap = place.offset < there.offset + there.width and there.offset < place.offset + place.width
            if there.space == place.space and overlap:
                yield _At(index, f"{disassemble_op(op)}: {register.name} is there, which is {_form(there)}", there)


def _form(place: Place) -> str:
    order = "" if place.width == 1 else ", big-endian" if place.big_endian else ", little-endian"
    return f"of {8 * place.width} bits{order}, at {place.offset:#x}"


def _undeclared(subject: Subject, kind: ProgramKind) -> _Found:
    declared = {(each.space, at) for each in subject.registers for at in range(each.offset, each.offset + each.width)}
    for index, op in enumerate(subject.programs.program(kind)) if declared else ():
        if op.code not in (Code.READ, Code.WRITE) or op.space == CONFIG_SPACE:
            continue
        if not any((op.space, op.imm + at) in declared for at in range(op.width)):
            yield _At(index, f"{disassemble_op(op)}: the profile has no register there")


def _value_cut(subject: Subject, kind: ProgramKind) -> _Found:
    for run in subject.runs[kind]:
        for step in run.steps:
            bits = 8 * step.op.width
            if step.op.code != Code.WRITE or step.op.space == CONFIG_SPACE or not step.value.ones >> bits:
                continue
            ones = step.value.ones
            # All-ones and negative numbers fit a register of any width.
            if ones & (ones + 1) and ones >> bits != (1 << 64 - bits) - 1:
                text = f"{_shown(subject, step.op)} has {bits} bits, and {ones:#x} is written to it"
                yield _At(step.index, text, place_of(step.op))


# --------------------------------------------------------- index registers


def _index_kept(subject: Subject, kind: ProgramKind) -> _Found:
    """On each run the last write of an index register must restore the value that was read from it.

    If a write has chosen a page before, it suffices to restore part of the value: the register may also hold commands.
    """
    program = subject.programs.program(kind)
    for run in subject.runs[kind]:
        left: dict[Place, tuple[int, bool]] = {}
        for step in run.steps:
            place = place_of(step.op)
            if step.op.code == Code.WRITE and subject.access(step.op) == "index":
                value = step.value
                own = {read for read in value.origins if place_of(program[read]) == place}
                whole = value.copy_of in own
                part = bool(own) and own == value.origins and not value.ones
                left[place] = (step.index, whole or (part and place in left))
        for place, (index, restored) in left.items():
            if not restored:
                yield _At(index, f"{_spot(subject, place)} is left as this write sets it", place)


def _index_chosen(subject: Subject, kind: ProgramKind) -> _Found:
    for run in subject.runs[kind]:
        written: set[Place] = set()
        for step in run.steps:
            op = step.op
            register = subject.registers.get(place_of(op)) if op.code in (Code.READ, Code.WRITE) else None
            if op.code == Code.WRITE:
                written.add(place_of(op))
            if register and register.index and subject.named(register.index) not in written:
                text = f"{register.name} is reached through {register.index}, which is not written before"
                yield _At(step.index, text, place_of(op))


@dataclass(frozen=True)
class Rule:
    """A rule: the programs it applies to, why a finding is an error, the remedy, and the check itself."""

    id: str
    kinds: tuple[ProgramKind, ...]
    why: str
    remedy: str
    check: _Check


RULES: Final = (
    Rule(
        "claim-clears",
        (IRQ,),
        "The line is shared: the program runs for the neighbours' interrupts too, and the bits that the read clears are"
        " lost unless the interrupt is claimed.",
        "Claim by a register whose read changes nothing, or decline only where the read returned 0.",
        _clears_unclaimed,
    ),
    Rule(
        "claim-masks",
        (IRQ,),
        "The line is shared: at a neighbour's interrupt the read masks our device, and nobody will unmask it.",
        "Read the register only after another register has shown that the device asserts.",
        _masks_unclaimed,
    ),
    Rule(
        "claim-blind",
        (IRQ,),
        "A claim without a condition claims the neighbours' interrupts too, and the kernel no longer notices a line"
        " that nobody serves.",
        "Read a status register, and skip the claim if no source asserts.",
        _claims_blindly,
    ),
    Rule(
        "claim-never",
        (IRQ,),
        "The test before the claim cannot succeed: the register has no such bits, or constants cancel out. The line"
        " storms at the first interrupt.",
        "Test bits that the register has.",
        _claims_never,
    ),
    Rule(
        "claim-narrow",
        (IRQ,),
        "A source that asserts and that the program does not look at is nobody's interrupt: the line storms until the"
        " device is quarantined, or the kernel disables the line.",
        "Look at every source that unmask lets assert, or leave the others masked.",
        _claims_narrowly,
    ),
    Rule(
        "claim-without-silence",
        (IRQ,),
        "If the device still asserts when the handler returns, it interrupts again at once, for ever.",
        "Mask or acknowledge after the claim.",
        _claims_silently,
    ),
    Rule(
        "touch-unclaimed",
        (IRQ,),
        "At a neighbour's interrupt the program must leave the device as it is: its owner does not expect a change"
        " without an event.",
        "Write after the claim only.",
        _writes_unclaimed,
    ),
    Rule(
        "gone-unasked",
        (IRQ,),
        "A device that was pulled out reads all-ones, which looks like an interrupt.",
        "Put gone_if_ones on a read of a register that never holds all-ones.",
        _gone_unasked,
    ),
    Rule(
        "acknowledge-misses",
        (IRQ,),
        "The device asserts for as long as the register says so: the line storms at the first interrupt.",
        "Write the register, or the register that clears it; if the program does so, declare it with the key `clears`.",
        _acknowledge_misses,
    ),
    Rule(
        "acknowledge-unseen",
        (IRQ,),
        "A source that becomes pending between the read and the write is cleared, and no event reports it.",
        "Write back the value that was read.",
        _acknowledges_unseen,
    ),
    Rule(
        "masks-nothing",
        (IRQ, MASK),
        "After the program the device is enabled as after unmask, and goes on asserting.",
        "Write a value that disables the sources.",
        _masks_nothing,
    ),
    Rule(
        "posted-write",
        (IRQ, RELEASE, MASK),
        "Writes to memory BARs are posted: the interrupt can end before the device sees the write, and comes again.",
        "Read a register of the BAR back.",
        _posted,
    ),
    Rule(
        "release-leaves",
        (RELEASE,),
        "Sources that irq masks and unmask enables must be disabled by release: afterwards nobody serves the device.",
        "Write the register in release too, or set the interrupt-disable bit.",
        _release_leaves,
    ),
    Rule(
        "release-enables",
        (RELEASE,),
        "After release the device is enabled as after unmask, and nobody serves it.",
        "Write a value that disables the sources.",
        _release_enables,
    ),
    Rule(
        "unmask-elsewhere",
        (UNMASK,),
        "Unmask runs after every event: if it changes other registers than irq, it overwrites the owner's settings.",
        "Leave the register to the owner.",
        _unmask_elsewhere,
    ),
    Rule(
        "unmask-misses",
        (UNMASK,),
        "A source that irq masks stays masked if unmask does not enable it: no interrupt follows the first one.",
        "Write the register in unmask; if irq acknowledges there, declare it with the key `access` or `clears`.",
        _unmask_misses,
    ),
    Rule(
        "unmask-acknowledges",
        (UNMASK,),
        "Sources become pending while the device is masked; unmask must let them assert, not clear them.",
        "Leave acknowledging to the owner, who has the event.",
        _unmask_acknowledges,
    ),
    Rule(
        "mask-misses",
        (MASK,),
        "A source that irq masks (or that unmask enables, if irq acknowledges) stays enabled after MASK.",
        "Write the register in mask too, or set the interrupt-disable bit.",
        _mask_misses,
    ),
    Rule(
        "mask-stays",
        (MASK,),
        "UNMASK ends a MASK with the unmask program: a register that unmask does not change stays masked.",
        "Write the register in unmask too.",
        _mask_stays,
    ),
    Rule(
        "index-kept",
        (IRQ, UNMASK, MASK),
        "The interrupt may come after the owner has chosen a register and before it uses that register.",
        "Read the index register first and write that value back last, on every run.",
        _index_kept,
    ),
    Rule(
        "index-chosen",
        _KINDS,
        "If the program does not choose the register, it accesses the register that the owner chose last.",
        "Write the index register first.",
        _index_chosen,
    ),
    Rule(
        "read-of-write-only",
        _KINDS,
        "A read of such a register returns a meaningless value, often all-ones or zero.",
        "Read another register.",
        _accesses(Code.READ, "write-only", "the value read is meaningless"),
    ),
    Rule(
        "write-of-read-only",
        _KINDS,
        "Such a write does nothing: the program does not do what it seems to do.",
        "Write another register.",
        _accesses(Code.WRITE, "read-only", "the write does nothing"),
    ),
    Rule(
        "other-form",
        _KINDS,
        "An access of another width, offset or byte order than the register's gets other bits, or has side effects on"
        " adjacent registers.",
        "Use the register's name; if a part of the register is meant, declare that part as a register.",
        _other_form,
    ),
    Rule(
        "undeclared",
        _KINDS,
        "No rule, simulator or reader knows what the access does.",
        "Declare the register.",
        _undeclared,
    ),
    Rule(
        "value-cut",
        _KINDS,
        "Bits above the register's width are dropped.",
        "Write a value that fits, or declare the register with its true width.",
        _value_cut,
    ),
)


def explain(rule: str) -> str:
    """Why a rule's findings are errors, and the remedy. Raises KeyError for an unknown rule."""
    return {each.id: f"{each.why} {each.remedy}" for each in RULES}[rule]


def lint_set(
    programs: ProgramSet, registers: Mapping[str, Register] | None = None, ports: frozenset[int] = frozenset()
) -> list[Finding]:
    """All findings for a set that `verify` passes; `ports` are the port BARs, whose writes are not posted."""
    by_kind = {kind: runs(programs.program(kind)) for kind in _KINDS}
    by_place: dict[Place, Register] = {}
    for register in (registers or {}).values():
        by_place.setdefault(register.place, register)
    subject = Subject(programs, by_place, ports, by_kind)
    found: dict[tuple[str, ProgramKind, int, str | None], Finding] = {}
    for rule in RULES:
        for kind in rule.kinds:
            for at in rule.check(subject, kind) if programs.program(kind) else ():
                name = subject.name(at.place) if at.place else None
                # The register is part of the key, because a rule may report several registers at one operation.
                key = (rule.id, kind, at.index, name)
                found.setdefault(key, Finding(rule.id, kind, at.index, at.text, name))
    return list(found.values())


def _allows(allow: Allow, finding: Finding) -> bool:
    if allow.rule != finding.rule or allow.program not in (None, finding.kind):
        return False
    return finding.register in allow.registers if finding.register else not allow.registers


def _idle(allow: Allow, found: Iterable[Finding]) -> Iterator[str]:
    """The allowances that match no finding."""
    used = {each.register for each in found if _allows(allow, each)}
    where = f" in {allow.program.name.lower()}" if allow.program is not None else ""
    for register in allow.registers:
        if register not in used:
            yield f"{allow.rule} is allowed for {register}{where} and finds nothing there"
    if not allow.registers and not used:
        others = sorted({each.register for each in found if each.rule == allow.rule and each.register})
        hint = f" that is about no register: write register = one of {', '.join(others)}" if others else ""
        yield f"{allow.rule} is allowed{where} and finds nothing there{hint}"


def lint(profile: Profile) -> list[Finding]:
    """All findings that a profile does not allow, with their lines, and its unused allowances."""
    found = lint_set(profile.programs, profile.registers, profile.ports)
    lines = [
        replace(each, line=profile.line_of(each.kind, each.index))
        for each in found
        if not any(_allows(allow, each) for allow in profile.allowed)
    ]
    for allow in profile.allowed:
        lines += [Finding("allow-idle", IRQ, 0, text, line=allow.line) for text in _idle(allow, found)]
    return sorted(lines, key=lambda each: each.line or 0)
