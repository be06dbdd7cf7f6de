# SPDX-License-Identifier: MIT
"""`shirq case`: which driver is played, what is said, and the exit status."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from logwriter import Story
from shirq_bench.campaigns.zoo import case as cases
from shirq_bench.campaigns.zoo.case import Case
from shirq_bench.campaigns.zoo.outcome import Outcome, Result
from shirq_bench.campaigns.zoo.own import Own
from shirq_bench.campaigns.zoo.run import Played
from shirq_bench.channels.log import Log
from shirq_bench.cli import case as cli
from shirq_bench.cli.main import main
from shirq_bench.errors import BenchError
from shirq_bench.observe.judge import BrokenRuleError

_CASE = """
title = "t [x]"
shows = ["line disabled"]
steps = [{ driver = "bind" },
  { raise = 1 }]
[own]
driver = "prog"
"""


class Runs:
    """Plays no guest: each driver's outcome is known."""

    def __init__(self) -> None:
        self.outcomes = {"prog": Outcome.SURVIVES, "naive": Outcome.DISABLED, "mine.py": Outcome.LOSES}
        self.kernels: list[str] = []

    def play(self, case: Case, driver: str | Own, kernel: str, keep: Path, file: Path = Path("mine.toml")) -> Played:
        assert file.name == "mine.toml"
        keep.mkdir(parents=True, exist_ok=True)
        (keep / "machine.json").touch()
        self.kernels.append(kernel)
        name = driver.name if isinstance(driver, Own) else driver
        log: Log = Story(("dev0", "nic0")).claimed_interrupt("dev0").log()
        return Played(case, name, kernel, Result(self.outcomes[name], {"raised": 1}, ("line 1: x",)), log, 1.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.toml").write_text(_CASE)
    for name in ("prog", "mine.py"):
        (tmp_path / name).write_text("#!/bin/sh\n")
    return tmp_path


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    found = Runs()
    monkeypatch.setattr(cli, "play", found.play)
    return found


def _case(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["case", *map(str, words)])
    return done.exit_code, done.output


def test_the_driver_of_the_case_is_played_and_a_page_is_made(folder: Path, runs: Runs) -> None:
    status, said = _case("run", folder / "mine.toml", "-o", folder / "out")
    assert (status, runs.kernels) == (0, ["6.1"])
    assert "mine: t [x]" in said and "prog: survives" in said and "prog does not show the symptom\n" in said
    assert "<iframe" in (folder / "out/index.html").read_text()


@pytest.mark.parametrize(
    ("options", "status", "verdict"),
    [
        (["--driver", "{}/mine.py"], 1, "mine.py does not show the symptom, but is not right"),
        (["--driver", "naive"], 1, "naive shows the symptom: line disabled"),
        (["--driver", "naive", "--reproduce"], 0, "naive shows the symptom: line disabled"),
        (["--reproduce"], 1, "prog does not show the symptom"),
        (["--against", "naive"], 0, "prog does not show the symptom"),
    ],
)
def test_the_status_is_that_of_the_driver_under_test(
    folder: Path, runs: Runs, options: list[str], status: int, verdict: str
) -> None:
    words = [option.format(folder) for option in options]
    found, said = _case("run", folder / "mine.toml", "-o", folder / "out", *words)
    assert (found, verdict in said) == (status, True), said
    assert len(runs.kernels) == 1 + ("--against" in options)


def test_an_expected_outcome_of_the_own_driver_counts(folder: Path, runs: Runs) -> None:
    (folder / "mine.toml").write_text(_CASE + '[expected]\nown = "line disabled"\n')
    runs.outcomes["prog"] = Outcome.DISABLED
    assert _case("run", folder / "mine.toml", "-o", folder / "out")[0] == 0
    runs.outcomes["prog"] = Outcome.SURVIVES
    status, said = _case("run", folder / "mine.toml", "-o", folder / "again")
    assert status == 1 and "expected line disabled" in said


def test_what_is_required_is_told_with_what_was_found(folder: Path, runs: Runs) -> None:
    case = cases.read(folder / "mine.toml")
    runs.play(case, "prog", "6.1", folder / "kept").require()
    with pytest.raises(BrokenRuleError) as broken:
        runs.play(case, "naive", "6.1", folder / "kept2").require()
    said = "mine, naive on 6.1: line disabled, but the case expects: survives\n    raised 1\n    kernel: line 1: x"
    assert str(broken.value) == said


def test_check_names_the_line_of_an_error(folder: Path) -> None:
    assert _case("check", folder / "mine.toml") == (
        0,
        f"{folder}/mine.toml: 2 steps; the symptom is: line disabled\n",
    )
    (folder / "mine.toml").write_text(_CASE.replace("raise", "rise"))
    status, said = _case("check", folder / "mine.toml")
    assert status == 1 and f"{folder}/mine.toml:5: steps[1]: unknown key rise; known keys: " in said


def test_the_catalogues_drivers_need_registers_that_they_know(folder: Path, runs: Runs) -> None:
    others = '[device]\npreset = "plx9050"\n'
    (folder / "mine.toml").write_text(_CASE + others)
    assert _case("run", folder / "mine.toml", "-o", folder / "out")[0] == 0
    status, said = _case("run", folder / "mine.toml", "-o", folder / "out", "--against", "naive")
    assert (
        status == 1
        and "naive drives a device with the registers of the preset edu, and dev0 of mine has others" in said
    )
    programs = '[shirq]\nirq = "claim"\nunmask = ""\nrelease = ""\n'
    (folder / "mine.toml").write_text(_CASE + others + programs)
    runs.outcomes["shirq"] = Outcome.SURVIVES
    assert _case("run", folder / "mine.toml", "-o", folder / "again", "--driver", "shirq")[0] == 0


def test_an_error_of_one_driver_leaves_the_others_outcomes(
    folder: Path, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def play(case: Case, driver: str | Own, kernel: str, keep: Path, file: Path) -> Played:
        if driver == "naive":
            raise BenchError("naive was not played")
        return runs.play(case, driver, kernel, keep, file)

    monkeypatch.setattr(cli, "play", play)
    status, said = _case("run", folder / "mine.toml", "-o", folder / "out", "--against", "naive")
    assert status == 1 and "prog: survives" in said and "naive was not played" in said
    assert (folder / "out/index.html").exists()


def test_check_looks_for_the_driver(folder: Path) -> None:
    (folder / "prog").unlink()
    status, said = _case("check", folder / "mine.toml")
    assert status == 1 and "prog: no such file or folder" in said


def test_a_driver_that_is_none_is_refused(folder: Path, runs: Runs) -> None:
    status, said = _case("run", folder / "mine.toml", "--driver", folder / "none")
    assert status == 1 and "none: no such file or folder; give a module's folder, or a program" in said
    assert runs.kernels == []


@pytest.mark.parametrize("driver", ["mod", "prog"])
def test_output_never_replaces_the_driver(folder: Path, runs: Runs, driver: str) -> None:
    """The guests' files go into a folder with the driver's name, which is replaced: it may be the driver itself."""
    (folder / "mod").mkdir()
    (folder / "mod/Kbuild").write_text("obj-m := mod.o\n")
    (folder / "mod/mod.c").write_text("int x;\n")
    runs.outcomes["mod"] = Outcome.SURVIVES
    status, said = _case("run", folder / "mine.toml", "--driver", folder / driver, "-o", folder)
    assert (status, runs.kernels) == (1, [])
    assert f"shirq: {folder / driver} exists, was not made by such a run, and would be replaced" in said
    assert (folder / "mod/mod.c").read_text() == "int x;\n"
    for _ in range(2):
        assert _case("run", folder / "mine.toml", "--driver", folder / driver, "-o", folder / "out")[0] == 0
