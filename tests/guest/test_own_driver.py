# SPDX-License-Identifier: MIT
"""A driver of one's own is played like one of the catalogue's: green as made, red as its README breaks it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from shirq_bench.campaigns.zoo import case as cases
from shirq_bench.campaigns.zoo import own
from shirq_bench.campaigns.zoo.outcome import Outcome
from shirq_bench.campaigns.zoo.run import NotPlayed, Played, play
from shirq_bench.cli.main import main

Play = Callable[[Path], Played]
New = Callable[..., Path]


@pytest.fixture
def new(tmp_path: Path) -> New:
    """Return a function that makes a project with these options, and returns the file of one of its cases."""

    def make(*options: str, case: str = "busy-line") -> Path:
        done = CliRunner().invoke(main, ["new", str(tmp_path / "mine"), *options])
        assert done.exit_code == 0, done.output
        return tmp_path / "mine" / f"cases/{case}.toml"

    return make


@pytest.fixture
def played(kernel_name: str, tmp_path: Path) -> Play:
    """Return a function that plays a case with the driver that it names."""

    def run(file: Path) -> Played:
        case = cases.read(file)
        return play(case, own.of_case(case, file.parent), kernel_name, keep=tmp_path / "kept")

    return run


def _break(file: Path, old: str, new: str = "") -> None:
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))


def _mask_only(case: Path) -> None:
    """Let the module mask its device in the interrupt, and not acknowledge."""
    acknowledges = "iowrite32(active, regs + INT_ACK)"
    _break(case.parents[1] / "driver/mine.c", acknowledges, acknowledges.replace("ACK", "MASK_SET"))


def test_a_new_module_survives_and_its_broken_one_does_not(new: New, played: Play) -> None:
    case = new(case="driver-goes")
    run = played(case)
    run.require()
    assert run.result.figures["raised"] == 3 and run.result.figures["served"] == 2
    _break(case.parents[1] / "driver/mine.c", "\tiowrite32(ALL, regs + INT_MASK_SET);\n")
    assert played(case).result.outcome is Outcome.DISABLED


def test_a_module_that_masks_and_does_not_serve_loses_interrupts(new: New, played: Play) -> None:
    case = new()
    _mask_only(case)
    assert played(case).result.outcome is Outcome.LOSES


def test_the_new_driver_of_a_card_survives(new: New, played: Play) -> None:
    """The device has other registers than shirq-edu's own, so its status word tells what was served."""
    run = played(new("--card", "plx9050"))
    run.require()
    assert run.result.figures["raised"] == run.result.figures["served"] == 16


@pytest.mark.long
def test_broken_driver_of_a_card_loses_interrupts(new: New, played: Play) -> None:
    case = new("--card", "plx9050")
    _break(case.parents[1] / "driver/driver.py", "for event in events:", "for event in [next(events)]:")
    assert played(case).result.outcome is Outcome.LOSES


#: The registers of the preset edu, described so that the player does not know INT_ACK and reads the status instead.
_OTHERS = """
[device]
registers = '''
bar0+0x2c/32 active ro
bar0+100/32 status wo w1c
bar0+0x68/32 mask w1s wo
bar0+0x6c/32 mask w1c wo
'''
"""
#: A program for /dev/uio0 that does not write to it after an event.
_NEVER_UNMASKS = """
import mmap, os, struct, sys

uio = os.open("/dev/uio0", os.O_RDWR)
config = os.open(f"/sys/bus/pci/devices/{sys.argv[1]}/config", os.O_RDWR)
registers = mmap.mmap(os.open(f"/sys/bus/pci/devices/{sys.argv[1]}/resource0", os.O_RDWR), 4096)
os.pwrite(config, bytes([os.pread(config, 1, 5)[0] & ~4]), 5)
struct.pack_into("<I", registers, 0x6C, 0xFFFFFFFF)
print("armed")
while os.read(uio, 4):
    registers[0x64:0x68] = registers[0x24:0x28]
"""
_CRASH = "\t*(volatile int *)8 = 0;\n"


def _more(case: Path, text: str) -> None:
    case.write_text(case.read_text() + text)


def test_a_module_leaves_the_storm_of_another_device_to_the_kernel(new: New, played: Play) -> None:
    case = new(case="neighbours-storm")
    played(case).require()
    _break(case.parents[1] / "driver/mine.c", "\tif (!active)\n\t\treturn IRQ_NONE;\n")
    assert played(case).shows


def test_a_device_that_never_asserts_proves_nothing(new: New, played: Play) -> None:
    """Where the driver enables its sources, this device has no register: the neighbour's interrupts would serve it."""
    case = new()
    _more(case, _OTHERS.replace("0x6c", "0x5c"))
    with pytest.raises(NotPlayed, match=r"dev0 has raised \d+ interrupts and never asserted its pin"):
        played(case)


def test_interrupts_that_a_burst_waited_for_in_vain_are_lost(new: New, played: Play) -> None:
    """The driver goes after the burst, and so owes nothing at the end."""
    case = new(case="driver-goes")
    _mask_only(case)
    run = played(case)
    assert run.result.outcome is Outcome.LOSES and run.result.figures["overdue"] == 2


def test_a_program_that_does_not_unmask_is_found(new: New, played: Play, tmp_path: Path) -> None:
    """The neighbour's interrupts make the handler of uio_pci_generic look at dev0 all the same, but late."""
    (tmp_path / "prog.py").write_text(_NEVER_UNMASKS)
    run = played(new("--program", str(tmp_path / "prog.py")))
    assert run.result.outcome is not Outcome.SURVIVES or "asserted_us is" in run.unmet[0]


@pytest.mark.parametrize("where", ["irq", "remove"])
def test_a_module_that_crashes_the_kernel_has_an_outcome(new: New, played: Play, where: str) -> None:
    case = new(case="driver-goes")
    _more(case, _OTHERS)
    # In the handler, crash at an interrupt of the device: the neighbour may have one before anything was raised.
    at = {"irq": "\tiowrite32(active, regs + INT_ACK)", "remove": "\tiowrite32(ALL, regs + INT_MASK_SET)"}[where]
    _break(case.parents[1] / "driver/mine.c", at, _CRASH + at)
    run = played(case)
    assert run.result.outcome is Outcome.SPLAT
    assert run.result.complaints or "panicked" in run.result.figures


@pytest.mark.long
@pytest.mark.parametrize("card", ["shirq-edu", "e1000", "rtl8139", "nvme", "ahci", "pcnet"])
def test_the_new_driver_of_each_card_survives(new: New, played: Play, card: str) -> None:
    run = played(new("--card", card))
    run.require()
    assert run.result.figures["raised"] == run.result.figures["served"] == 16


def test_a_program_that_uses_uio_survives(new: New, played: Play, tmp_path: Path) -> None:
    (tmp_path / "prog").write_text('#!/bin/sh\n# opens /dev/uio0\nexec peer-uio_pci_generic "$1"\n')
    run = played(new("--program", str(tmp_path / "prog")))
    run.require()
    assert run.driver == "prog" and run.result.figures["served"] == 16


#: In place of module_pci_driver(): a module that registers no driver.
_REGISTERS_NOTHING = """
static int __init mine_init(void)
{
	(void)&mine_driver;
	return 0;
}

static void __exit mine_exit(void)
{
}
module_init(mine_init);
module_exit(mine_exit);
"""


def _steps(case: Path, *steps: str) -> None:
    """Replace a case's steps."""
    lines = ["steps = [", *(f"    {{ {step} }}," for step in steps), "]"]
    case.write_text("\n".join(['title = "t"', 'shows = ["hang"]', *lines, "[own]", 'driver = "../driver"', ""]))


def test_a_module_has_no_program_to_kill(new: New, played: Play) -> None:
    case = new()
    _steps(case, 'driver = "bind"', 'driver = "kill"')
    with pytest.raises(NotPlayed, match="a module has no program"):
        played(case)


def test_a_module_that_registers_no_driver_is_told(new: New, played: Play) -> None:
    case = new()
    _break(case.parents[1] / "driver/mine.c", "module_pci_driver(mine_driver);", _REGISTERS_NOTHING)
    with pytest.raises(NotPlayed, match=r"must register one PCI driver .* but registers none"):
        played(case)


def test_a_module_gets_its_device_by_the_step_alone(new: New, played: Play) -> None:
    """Its table of ids fits several devices of the guest; it drives only dev0, and only from the step `bind` on."""
    case = new()
    _steps(
        case,
        "check = 'cd /sys/bus/pci/drivers/mine; echo 0000:*', shows = '^0000:\\*$'",
        'driver = "bind"',
        "check = 'cd /sys/bus/pci/drivers/mine; echo 0000:*', shows = '^0000:00:04.0$'",
        "burst = 2",
    )
    run = played(case)
    assert run.unmet == () and run.result.figures["served"] == 2


def test_the_project_is_a_pytest_project(new: New) -> None:
    """Its test passes, and fails with the outcome if the driver is broken; the page stays."""
    project = new().parents[1]

    def pytest_in_it() -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist"],
            cwd=project, capture_output=True, text=True, timeout=600,
        )  # fmt: skip
        return done.returncode, done.stdout

    assert pytest_in_it()[0] == 0
    assert not list(project.glob("build/artefacts/*"))
    _break(project / "driver/mine.c", "\tiowrite32(ALL, regs + INT_MASK_SET);\n")
    status, said = pytest_in_it()
    assert status == 1 and "line disabled, but the case expects: survives" in said
    (page,) = project.glob("build/artefacts/*/index.html")
    assert str(page.parent) in said
