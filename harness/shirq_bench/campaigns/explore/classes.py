# SPDX-License-Identifier: MIT
"""Points of an exploration that are equivalent, so that one of them stands for all.

A preemption before an instruction that changes only registers of the first actor's processor is equivalent to one after
it: the instruction reads and writes no memory and no device, so it commutes with all that the second actor does, and
both orders end in the same state. Only the clock differs, by 1 ns, so that a timer or the end of a quantum, which the
clock decides, may come one instruction earlier; such instants are none of an exploration's choices. So of a run of such
instructions only the last point is played: the one before the next instruction that does access something.

The argument needs no knowledge of the second actor. Instructions are classified by an allowlist; what is not on it, and
all of user space, counts as an access. A test plays the first and the last point of some classes, and compares events.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from shirq_bench.campaigns.sweep import run
from shirq_bench.campaigns.sweep.run import Shape
from shirq_bench.campaigns.sweep.scenario import Scenario
from shirq_bench.channels.log import Kind
from shirq_bench.replay import stopped
from shirq_bench.replay.play import Stimulus, beginning
from shirq_bench.vm.vm import Vm

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
    from shirq_bench.campaigns.explore import instructions

    known = instructions.successors(code)
    begin = window.start
    for offset, place, after in zip(window, places, places[1:], strict=False):
        # If another instruction follows than can follow, an interrupt came.
        if after not in known.get(place, ()):
            yield range(begin, offset + 1)
            begin = offset + 1
    yield range(begin, window.stop)


def _code(vm: Vm, places: set[int]) -> dict[int, bytes]:
    """The bytes of the instructions at addresses of the kernel of a stopped guest."""
    numbers = sorted({place // _PAGE for place in places})
    pages = {number: stopped.memory(vm, number * _PAGE, _PAGE + _LONGEST) for number in numbers}
    return {place: pages[place // _PAGE][place % _PAGE :][:_LONGEST] for place in places}
