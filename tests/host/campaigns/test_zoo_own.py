# SPDX-License-Identifier: MIT
"""A driver that is not the catalogue's: what can be one, and how its interrupts are counted on any card."""

from __future__ import annotations

from pathlib import Path

import pytest

from logwriter import GSI, Story
from shirq_bench.campaigns.zoo import case as cases
from shirq_bench.campaigns.zoo import own
from shirq_bench.campaigns.zoo.case import OwnOptions
from shirq_bench.campaigns.zoo.outcome import Evidence, Ledger, Outcome, classify
from shirq_bench.campaigns.zoo.own import Own
from shirq_bench.errors import BenchError

_CASE = 'title = "t"\nshows = ["hang"]\nsteps = [{ driver = "bind" }]\n'
_STATIC = b"\x7fELF" + bytes(60)


def _case(folder: Path, more: str = "") -> cases.Case:
    (folder / "mine.toml").write_text(_CASE + more)
    return cases.read(folder / "mine.toml")


@pytest.fixture
def module(tmp_path: Path) -> Path:
    (tmp_path / "mod").mkdir()
    (tmp_path / "mod" / "Kbuild").write_text("obj-m := mod.o\n")
    return tmp_path / "mod"


def test_case_of_ones_own_needs_a_title_a_symptom_and_steps(tmp_path: Path) -> None:
    case = _case(tmp_path)
    assert (case.id, case.expected, case.own.bind) == ("mine", {}, "shirq")
    with pytest.raises(BenchError, match="symptom is missing: a case of the catalogue needs"):
        cases.read_catalogued(tmp_path / "mine.toml")


def test_the_driver_of_a_case_is_relative_to_its_file(tmp_path: Path, module: Path) -> None:
    (tmp_path / "cases").mkdir()
    case = _case(tmp_path / "cases", '[own]\ndriver = "../mod"\n')
    assert own.of_case(case, tmp_path / "cases").path.resolve() == module
    with pytest.raises(BenchError, match=r"mine names no driver: give one with --driver, or .* \[own\]"):
        own.of_case(_case(tmp_path), tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("nothing", None, "no such file or folder; give a module's folder, or a program"),
        ("mod.c", b"int x;", "give the folder with the module's Kbuild"),
        ("mod.ko", b"\x7fELF", "give the folder with the module's Kbuild"),
        ("prog", _STATIC + b"/lib64/ld-linux-x86-64.so.2", "link it with -static"),
    ],
)
def test_what_cannot_be_a_driver_is_refused(tmp_path: Path, name: str, content: bytes | None, says: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(BenchError, match=says):
        Own(tmp_path / name)


def test_a_folder_without_a_kbuild_is_no_module(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="holds neither a Kbuild nor a Makefile"):
        Own(tmp_path)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("prog", None, ["/run/own/prog", "ADDRESS"]),
        ("prog.py", None, ["python3", "-u", "/run/own/prog.py", "ADDRESS"]),
        ("prog", "--on {address} -v", ["/run/own/prog", "--on", "ADDRESS", "-v"]),
        ("prog", "/dev/uio0", ["/run/own/prog", "/dev/uio0"]),
    ],
)
def test_a_program_gets_its_arguments(tmp_path: Path, name: str, options: str | None, words: list[str]) -> None:
    (tmp_path / name).write_bytes(_STATIC)
    assert Own(tmp_path / name).command(OwnOptions(options=options), "ADDRESS") == words


def test_no_name_is_that_of_a_driver_of_the_catalogue(tmp_path: Path, module: Path) -> None:
    (tmp_path / "naive").write_bytes(_STATIC)
    assert Own(tmp_path / "naive").name == "own naive"
    assert Own(module).name == "mod"


@pytest.mark.parametrize(
    ("device", "by_register"),
    [
        ("", True),
        ('preset = "edu"', True),
        ('registers = "bar0+0x64/32 status wo w1c"', True),
        ('registers = "bar0+0x10/32 status w1c"', False),
        ('preset = "plx9050"', False),
    ],
)
def test_device_tells_whether_the_log_shows_acknowledgements(tmp_path: Path, device: str, by_register: bool) -> None:
    assert _case(tmp_path, f"[device]\n{device}\n").acknowledges_by_edu is by_register


def _raised(*sources: int) -> Story:
    """Return a log with these raises of dev0, each delivered once, without any acknowledgement."""
    story = Story(("dev0", "nic0"))
    for bits in sources:
        story.stimulus("dev0", bits).deliver().eoi()
    return story


def test_without_a_known_register_an_interrupt_is_served_if_its_source_is_not_pending() -> None:
    """A source that is raised twice was served in between; the status at the end tells the rest."""
    ledger = Ledger(by_register=False)
    ledger.take(_raised(1, 2, 1, 4).entries)
    assert (ledger.raised, ledger.served, ledger.pending) == (4, 1, 0b111)
    ledger.settle(0b100)
    assert (ledger.served, ledger.outstanding) == (3, 1)


@pytest.mark.parametrize(("status", "outcome", "lost"), [(0, Outcome.SURVIVES, 0), (2, Outcome.LOSES, 1)])
def test_status_at_the_end_decides_what_was_lost(status: int, outcome: Outcome, lost: int) -> None:
    story = Story(("dev0", "nic0"))
    story.claimed_interrupt("dev0").wait(1_000_000).claimed_interrupt("dev0").wait(1_000_000)
    story.stimulus("dev0", 2)
    log = story.neighbours_interrupt("nic0").log()
    kernel_log = "[    0.000000] Linux version 6.1.0\n[    1.000000] quiet\n"
    result = classify(Evidence(log, kernel_log, GSI, status=status))
    assert (result.outcome, result.figures["lost"]) == (outcome, lost)
    assert result.figures["raised"] == 3
    assert "slowest_us" not in result.figures, "the log does not show when an interrupt was served"


def test_a_latency_that_the_log_does_not_show_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="served_us needs a dev0 with the register INT_ACK"):
        _case(tmp_path, '[device]\npreset = "plx9050"\n[latency.own]\nserved_us = 10\n')


def test_a_device_that_stays_masked_asserts_late() -> None:
    story = Story(("dev0", "nic0"))
    story.claimed_interrupt("dev0").mask("dev0").wait(3_000_000).stimulus("dev0", 2).wait(5_000_000)
    log = story.mask("dev0", False).deliver().eoi().log()
    figures = classify(Evidence(log, "[    0.000000] Linux version 6.1.0\n[    1.000000] quiet\n", GSI)).figures
    assert 5_000 <= int(figures["asserted_slowest_us"]) < 5_010
