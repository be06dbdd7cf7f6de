# SPDX-License-Identifier: MIT
"""The programs of the reference drivers claim, mask, unmask and silence a model of shirq-edu's registers."""

from __future__ import annotations

import runpy
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from program_model import Bus, Library, compile_library
from shirq import ProgramSet
from shirq.abi import Mode, OpStruct, ProgramKind, Reason
from shirq.program import Op, Program
from shirq.simulate import Outcome

DRIVERS = Path(__file__).parents[3] / "guest" / "drivers"
ALL = 0xFFFFFFFF
PROGRAMS: ProgramSet = runpy.run_path(str(DRIVERS / "edu.py"))["PROGRAMS"]


@dataclass
class Edu(Bus):
    """A model of the interrupt registers in qemu-device/SPEC.md."""

    status: int = 0
    mask: int = ALL
    dead: bool = False

    @property
    def asserts(self) -> bool:
        return bool(self.status & ~self.mask)

    def read(self, space: int, offset: int, width: int) -> int:
        super().read(space, offset, width)
        if self.dead:
            return ALL
        return {0x24: self.status, 0x28: self.mask, 0x2C: self.status & ~self.mask & ALL}[offset]

    def write(self, space: int, offset: int, width: int, value: int) -> None:
        super().write(space, offset, width, value)
        if offset == 0x64:
            self.status &= ~value
        elif offset == 0x68:
            self.mask |= value
        elif offset == 0x6C:
            self.mask &= ~value
        else:
            raise AssertionError(f"write to {offset:#x}")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return Library(compile_library(tmp_path_factory.mktemp("program")))


@pytest.mark.parametrize("kind", [ProgramKind.IRQ, ProgramKind.UNMASK, ProgramKind.RELEASE])
def test_the_verifier_accepts_the_reference_programs(library: Library, kind: ProgramKind) -> None:
    program = PROGRAMS.program(kind)
    assert library.verify(program, kind) == (len(program), Reason.OK)


def test_asserting_device_is_claimed_with_its_status_and_masked(library: Library) -> None:
    """If the device asserts, the irq program claims, captures the status and masks."""
    edu = Edu(status=0x5, mask=0)
    run = library.run(PROGRAMS.irq, edu)
    assert run.outcome is Outcome.CLAIMED
    assert run.captured is not None and run.captured[0] == 0x5
    assert not edu.asserts and edu.status == 0x5
    assert edu.log[-1][0] == "read", "the mask write must be flushed"


def test_device_that_does_not_assert_is_declined_and_not_written(library: Library) -> None:
    """If the device does not assert, the irq program declines and writes no register."""
    edu = Edu(status=0x5, mask=0x5)
    assert library.run(PROGRAMS.irq, edu).outcome is Outcome.ENDED
    assert all(access[0] == "read" for access in edu.log)


def test_a_device_that_reads_all_ones_is_gone(library: Library) -> None:
    assert library.run(PROGRAMS.irq, Edu(dead=True)).outcome is Outcome.GONE


def test_unmask_lets_a_pending_source_assert_again(library: Library) -> None:
    edu = Edu(status=0x2)
    library.run(PROGRAMS.unmask, edu)
    assert edu.asserts


def test_release_leaves_nothing_pending_and_everything_masked(library: Library) -> None:
    edu = Edu(status=0x7, mask=0)
    library.run(PROGRAMS.release, edu)
    assert (edu.status, edu.mask) == (0, ALL)
    assert edu.log[-1][0] == "read", "the writes must be flushed"


def test_c_driver_has_the_programs_of_the_python_driver(tmp_path: Path) -> None:
    """The C driver has the same programs as the Python driver."""
    dump = tmp_path / "dump.c"
    dump.write_text(
        f'#define main driver_main\n#include "{DRIVERS / "edu.c"}"\n#undef main\n'
        "int main(void) { fwrite(edu_irq, sizeof(edu_irq), 1, stdout);\n"
        "fwrite(edu_unmask, sizeof(edu_unmask), 1, stdout);\n"
        "fwrite(edu_release, sizeof(edu_release), 1, stdout); return 0; }\n"
    )
    library = DRIVERS.parent / "lib" / "shirq.c"
    command = ["cc", "-std=gnu11", "-Wall", "-Werror", "-o", str(tmp_path / "dump"), str(dump), str(library)]
    subprocess.run(command, check=True, timeout=600)
    raw = subprocess.run([tmp_path / "dump"], check=True, capture_output=True, timeout=300).stdout
    ops = [OpStruct.from_buffer_copy(raw, at) for at in range(0, len(raw), 16)]
    in_c: Program = tuple(Op(op.code, op.dst, op.src, op.width, op.space, op.flags, op.skip, op.imm) for op in ops)
    assert in_c == PROGRAMS.irq + PROGRAMS.unmask + PROGRAMS.release
    assert PROGRAMS.mode is Mode.MASKS
