# SPDX-License-Identifier: MIT
"""The command `shirq import`: what it prints, its files, and its errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import comparing
from shirq_bench.cli.main import main

DEATH = (
    '[   12.000001] irq 18: nobody cared (try booting with the "irqpoll" option)\n'
    "[   12.000002] handlers:\n"
    "[   12.000003] [<00000000aaaaaaaa>] e1000_intr [e1000]\n"
    "[   12.000004] Disabling IRQ #18\n"
)


def shirq(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["import", *map(str, arguments)], prog_name="shirq")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "dmesg.txt"
    path.write_text(DEATH)
    return path


def test_json_has_the_facts(log: Path) -> None:
    result = shirq(log, "--json")
    assert result.exit_code == 0
    found = json.loads(result.output)
    assert found["line"] == [{"irq": 18, "given_up": 1, "handlers": ["e1000_intr"], "modules": ["e1000"]}]
    assert found["device"] == [{"irq": 18, "driver": "e1000", "known_by": "driver"}]


def test_the_summary_has_the_place_of_each_fact(log: Path) -> None:
    result = shirq(log)
    assert result.exit_code == 0
    assert f"the kernel gave it up, 1 time ({log}:1)" in result.output
    assert "cat /proc/interrupts" in result.output


def test_files_of_one_report_are_read_together(log: Path, tmp_path: Path) -> None:
    table = tmp_path / "table"
    table.write_text(" 18:     200001   IO-APIC  18-fasteoi   eth0\n")
    (one,) = json.loads(shirq(log, table, "--json").output)["line"]
    assert (one["given_up"], one["given_up_at_most"], one["names"]) == (1, 2, ["eth0"])


def test_out_writes_a_guest(log: Path, tmp_path: Path) -> None:
    result = shirq(log, "--out", tmp_path / "guest")
    assert result.exit_code == 0
    assert (tmp_path / "guest" / "machine.toml").read_text().startswith("# Made by `shirq import` from dmesg.txt.\n")
    assert f"guest: {tmp_path / 'guest' / 'machine.toml'}" in result.output


def test_out_never_replaces_the_report(log: Path, tmp_path: Path) -> None:
    """A report's own folder may have the name of the texts' folder, and has more than texts."""
    report = tmp_path / "report"
    report.mkdir()
    log.rename(report / "dmesg.txt")
    (report / "screen.png").write_bytes(b"png")
    result = shirq(report, "--out", tmp_path)
    assert result.exit_code == 1
    assert result.output.startswith(f"shirq: {report} exists, was not made by such a run, and would be replaced")
    assert sorted(path.name for path in report.iterdir()) == ["dmesg.txt", "screen.png"]
    assert not (tmp_path / "machine.toml").exists()
    for _ in range(2):
        assert shirq(report, "--out", tmp_path / "guest").exit_code == 0
    assert shirq(tmp_path / "guest/report", "--out", tmp_path / "guest").exit_code == 0


@pytest.mark.parametrize("magic", [b"\x1f\x8b\x08", b"\xfd7zXZ\0"])
def test_archive_that_is_cut_near_its_beginning_is_damaged(tmp_path: Path, magic: bytes) -> None:
    (tmp_path / "report.tar.gz").write_bytes(magic + b"cut")
    result = shirq(tmp_path / "report.tar.gz")
    assert result.exit_code == 1
    assert result.output.startswith(f"shirq: {tmp_path / 'report.tar.gz'}: "), result.output


def test_out_says_what_could_not_be_put_there(tmp_path: Path) -> None:
    result = shirq(comparing.REPORTS / "madeup-p45", "--out", tmp_path / "guest")
    assert "not in the guest: 00:1c.2 on IRQ 18: a bridge, which shirq-edu cannot be" in result.output


def test_a_folder_is_a_report() -> None:
    result = shirq(comparing.REPORTS / "acer-z68-2011", "--json")
    assert json.loads(result.output)["kernel"] == "3.0.0-12-generic"


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_bad_input_is_an_error_with_a_reason(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").write_text("")
    result = shirq(tmp_path / name)
    assert result.exit_code == 1
    assert result.output.startswith(f"shirq: {tmp_path / name}: ")
    assert "give the files" in result.output


def test_a_text_without_facts_says_so(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello\n")
    assert "No interrupt line and no PCI function is in these texts." in shirq(tmp_path / "text").output
