# SPDX-License-Identifier: MIT
"""A failure becomes one file, and happens again from it: to the byte, or with the words for what differs."""

from __future__ import annotations

import json
import re
import shutil
import textwrap
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from shirq_bench.campaigns.sweep import findings, run, scenario
from shirq_bench.channels.log import LOG
from shirq_bench.cli.main import main
from shirq_bench.replay import failure
from shirq_bench.replay.failure import FILE
from shirq_bench.vm import pool, template
from shirq_bench.vm.machine import Machine

# Bounds are in instructions; an instrumented kernel needs a hundred times as many.
pytestmark = pytest.mark.needs_kernel("6.1", "6.12")


def _shirq(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture
def violation(kernel_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a violation: an owner that unmasks gets a second event, which this scenario forbids."""
    monkeypatch.chdir(tmp_path)
    strict = replace(scenario.get("masked-by-owner"), spurious=0)
    result = run.sweep(strict, kernel_name, points=100, most=1)
    return findings.keep(findings.explain(result.failures[0]), "found", tmp_path / "sweep").parent


def test_bundle_of_a_violation_replays_identically(violation: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The frozen guest is in the bundle, so the replay needs none of this machine's templates."""
    assert _shirq("bundle", violation, "-o", "one.shirq.zip").exit_code == 0
    assert _shirq("bundle", violation, "-o", "two.shirq.zip").exit_code == 0
    assert Path("one.shirq.zip").read_bytes() == Path("two.shirq.zip").read_bytes()
    shutil.rmtree(violation)
    pool.close()

    def get(machine: Machine) -> Path:
        raise AssertionError("the replay takes a template of this machine")

    monkeypatch.setattr(template, "get", get)
    said = _shirq("replay", "one.shirq.zip")
    assert said.exit_code == 0, said.output
    assert "the versions are the same" in said.output
    assert "the log is identical to the byte" in said.output
    assert "same finding: duplicate: " in said.output


def test_bundle_of_a_violation_without_its_guest_says_what_differs(violation: Path) -> None:
    """Another version and a guest that was made again are named, and the finding is compared all the same."""
    made = failure.load(violation)
    replace(made, versions={**made.versions, "kernel": "6.0.0 elsewhere"}).save(violation)
    machine = failure.machine_of(violation)
    kept = template.path(machine)
    aside = kept.with_name("aside")
    noted = _shirq("bundle", violation, "--without-guest", "-o", "slim.shirq.zip")
    assert noted.exit_code == 0 and "the frozen guest is left out" in noted.output
    kept.rename(aside)
    template.get.cache_clear()
    try:
        said = _shirq("replay", "slim.shirq.zip")
    finally:
        shutil.rmtree(kept, ignore_errors=True)
        aside.rename(kept)
        template.get.cache_clear()
    assert said.exit_code == 0, said.output
    assert "another version: kernel: 6.0.0 elsewhere there, " in said.output
    assert re.search("the log differs first at entry|the log has the same|identical to the byte", said.output)
    assert "same finding" in said.output


def test_violation_is_explained_by_a_moment_that_passes(violation: Path) -> None:
    said = (violation / "explanation.txt").read_text()
    assert "Both runs have the same" in said
    assert re.search(r"They part in shirq_\w+\(\) at \w+\.[ch]:\d+", said), said
    assert "So this run breaks the rule: " in said
    assert "<iframe" in (violation / "explanation.html").read_text()
    diff = _shirq("report", "--diff", violation, violation / "passed", "-o", "page.html")
    assert diff.exit_code == 0, diff.output
    assert "They part in shirq_" in diff.output
    assert "<iframe" in Path("page.html").read_text()


@pytest.mark.parametrize("status", [3, 0])
def test_bundle_of_a_command_has_its_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    """The overlay travels with the bundle. A command that does not fail leaves no failure."""
    monkeypatch.chdir(tmp_path)
    Path("laid/bin").mkdir(parents=True)
    program = Path("laid/bin/mine")
    program.write_text(f"#!/bin/sh\necho over here; exit {status}\n")
    program.chmod(0o755)
    assert _shirq("run", "--overlay", "laid", "--artefacts", "kept", "--", "mine").exit_code == status
    assert Path("kept", FILE).exists() == bool(status)
    bundled = _shirq("bundle", "kept")
    if not status:
        assert "holds no failure.json" in bundled.output
        return
    assert bundled.exit_code == 0, bundled.output
    shutil.rmtree("laid")
    said = _shirq("replay", "kept.shirq.zip")
    assert said.exit_code == 0, said.output
    assert "the versions are the same" in said.output and "same finding: status 3" in said.output


def test_command_that_did_not_end_is_the_same_when_it_does_not_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert _shirq("run", "--timeout", "2", "--artefacts", "kept", "--", "sleep", "600").exit_code == 1
    said = _shirq("replay", "kept")
    assert said.exit_code == 0, said.output
    assert "same finding: " in said.output and "sleep" in said.output


def test_bundle_of_a_case_has_its_driver(kernel_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The module's source travels with the bundle; it is compiled only for a sender who is trusted."""
    monkeypatch.chdir(tmp_path)
    assert _shirq("new", "mine").exit_code == 0
    source = Path("mine/driver/mine.c")
    text = source.read_text()
    assert text.count("\tiowrite32(ALL, regs + INT_MASK_SET);\n") == 1
    source.write_text(text.replace("\tiowrite32(ALL, regs + INT_MASK_SET);\n", ""))
    case = "mine/cases/driver-goes.toml"
    played = _shirq("case", "run", case, "--kernel", kernel_name, "--against", "shirq", "-o", "played")
    assert played.exit_code == 1, played.output
    said = Path("played/driver/explanation.txt").read_text()
    assert "So this run breaks the rule: " in said
    assert _shirq("bundle", "played/driver").exit_code == 0
    shutil.rmtree("mine")
    refused = _shirq("replay", "driver.shirq.zip")
    assert refused.exit_code == 1 and "give --trust" in refused.output
    again = _shirq("replay", "--trust", "driver.shirq.zip")
    assert again.exit_code == 0, again.output
    assert "same finding: line disabled" in again.output


def test_bundle_of_a_test_has_its_project(kernel_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test is run from the bundle. When its reason to fail is gone, the verdict says so."""
    monkeypatch.chdir(tmp_path)
    project = tmp_path / "project"
    project.mkdir()
    (project / "pytest.ini").write_text("[pytest]\naddopts = -p shirq_bench.plugin\n")
    (project / "wanted").write_text("a wanted answer\n")
    (project / "test_mine.py").write_text(
        textwrap.dedent("""\
            from pathlib import Path

            def test_answer(vm):
                wanted = Path(__file__).with_name("wanted").read_text()
                assert vm.agent.succeed("echo an answer") == wanted
            """)
    )
    options = [
        "--shirq-kernel",
        kernel_name,
        "--shirq-artefacts",
        str(tmp_path / "artefacts"),
        "-p",
        "no:cacheprovider",
    ]
    with monkeypatch.context() as patched:
        patched.chdir(project)
        assert pytest.main(["-q", *options, "-c", str(project / "pytest.ini"), f"--rootdir={project}", "."]) == 1
    (folder,) = (tmp_path / "artefacts").glob("test_mine*")
    assert failure.load(folder).found == ("AssertionError: assert 'an answer\\n' == 'a wanted answer\\n'",)
    assert _shirq("bundle", folder, "-o", "test.shirq.zip").exit_code == 0
    with zipfile.ZipFile("test.shirq.zip") as archive:
        names = archive.namelist()
        index = json.loads(archive.read("bundle.json"))
    assert "source/0/project/test_mine.py" in names
    assert any(name.endswith(LOG) for name in names)
    assert index["failure"]["versions"]["QEMU source"].startswith("qemu ")
    said = _shirq("replay", "--trust", "test.shirq.zip")
    assert said.exit_code == 0, said.output
    assert "same finding: AssertionError: assert 'an answer\\n' == " in said.output
    (project / "wanted").write_text("an answer\n")
    assert "has changed since the failure" in _shirq("bundle", folder, "-o", "other.shirq.zip").output
    well = _shirq("replay", folder)
    assert well.exit_code == 1
    assert "no finding: this time all went well" in well.output
