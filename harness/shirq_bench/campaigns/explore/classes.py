# SPDX-License-Identifier: MIT
"""Points of an exploration that are equivalent, so that one of them stands for all.

A preemption before an instruction that changes only registers of the first actor's processor is equivalent to one after
it: the instruction reads and writes no memory and no device, so it commutes with all that the second actor does, and
both orders end in the same state. Only the clock differs, by 1 ns. So of a run of such instructions only the last point
is played: the one before the next instruction that does access something.

The argument needs no knowledge of the second actor. Instructions are classified by an allowlist; what is not on it, and
all of user space, counts as an access. A test plays all points of some classes and compares their events.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

import capstone
from capstone import x86

from shirq_bench.campaigns.sweep import run
from shirq_bench.campaigns.sweep.run import Shape
from shirq_bench.campaigns.sweep.scenario import Scenario
from shirq_bench.channels.log import Kind
from shirq_bench.replay import stopped
from shirq_bench.replay.play import Stimulus, beginning
from shirq_bench.vm.vm import Vm

#: Instructions that change only registers, if their operands are registers and constants.
_COMPUTES: Final = frozenset(
    (
        *("mov", "movabs", "movzx", "movsx", "movsxd", "bswap", "cdq", "cqo", "cdqe", "cwde"),
        *("add", "sub", "adc", "sbb", "and", "or", "xor", "not", "neg", "inc", "dec", "cmp", "test", "imul", "mul"),
        *("shl", "sal", "shr", "sar", "rol", "ror", "shld", "shrd"),
        *("bsf", "bsr", "bt", "btc", "btr", "bts", "popcnt", "tzcnt", "lzcnt"),
    )
)
#: Those whose operand in memory is not accessed.
_ADDRESSES: Final = frozenset(("lea", "nop", "endbr64"))
_JUMPS: Final = ("j", "cmov", "set")
_PAGE: Final = 4096
#: The length of the longest instruction.
_LONGEST: Final = 15


def classes(scenario: Scenario, kernel: str, shape: Shape) -> list[range]:
    """The offsets of a scenario's window, divided into runs of equivalent ones."""
    window = range(shape.begin_ns, shape.begin_ns + shape.window_ns)
    case = run.case_of(scenario, kernel, [None], shape.period_ns)
    looks = tuple(Stimulus(offset, "ctl2", "where") for offset in window)
    with stopped.stopped(replace(case, stimuli=case.stimuli + looks), window.stop) as vm:
        begin = beginning(vm)
        log = vm.log()
        log.require_complete()
        at = {e.time_ns - begin: e.value for e in log.of(Kind.WHERE, device="ctl2") if e.vcpu == 0}
        code = _code(vm, {pc for pc in at.values() if pc >> 63})
    places = [at[offset] for offset in window]
    return list(divide(window, places, code))


def divide(window: range, places: Sequence[int], code: Mapping[int, bytes]) -> Iterator[range]:
    """Divide ``window`` into classes.

    ``places`` are the addresses of its instructions. ``code`` has the bytes at those addresses that are known.
    """
    decoder = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    decoder.detail = True
    known = {place: _end(decoder, place, text) for place, text in code.items()}
    begin = window.start
    for offset, place, after in zip(window, places, places[1:], strict=False):
        end = known.get(place)
        # If another instruction follows than it should, an interrupt came.
        if end is None or (end and after != end):
            yield range(begin, offset + 1)
            begin = offset + 1
    yield range(begin, window.stop)


def _end(decoder: capstone.Cs, place: int, text: bytes) -> int | None:
    """The address after an instruction that changes only registers; 0 if it is a jump, None if it does more."""
    instruction = next(decoder.disasm(text, place, count=1), None)
    if instruction is None or not _only_registers(instruction):
        return None
    return 0 if instruction.mnemonic.startswith("j") else place + instruction.size


def _only_registers(instruction: capstone.CsInsn) -> bool:
    name = instruction.mnemonic
    if name in _ADDRESSES:
        return True
    if name not in _COMPUTES and not name.startswith(_JUMPS):
        return False
    kinds = {operand.type for operand in instruction.operands}
    special = {operand.reg for operand in instruction.operands if operand.type == x86.X86_OP_REG} & _SPECIAL
    return x86.X86_OP_MEM not in kinds and not special


#: Registers that change more than the processor's own computation: control, debug and segment registers.
_SPECIAL: Final = frozenset(
    getattr(x86, name)
    for name in dir(x86)
    if name.startswith(("X86_REG_CR", "X86_REG_DR")) or name in {f"X86_REG_{segment}S" for segment in "CDEFGS"}
)


def _code(vm: Vm, places: set[int]) -> dict[int, bytes]:
    """The bytes of the instructions at addresses of the kernel of a stopped guest."""
    pages: dict[int, bytes] = {}
    for page in sorted({place // _PAGE for place in places}):
        file = vm.dir / "code"
        vm.qmp.execute("memsave", val=page * _PAGE, size=_PAGE + _LONGEST, filename=str(file))
        pages[page] = file.read_bytes()
    return {place: pages[place // _PAGE][place % _PAGE :][:_LONGEST] for place in places}
