# SPDX-License-Identifier: MIT
"""A failure that is played again gets a clear verdict, and code from a bundle runs on this machine only if trusted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from logwriter import Story, write_log
from shirq_bench.campaigns import again
from shirq_bench.campaigns.again import Again
from shirq_bench.channels.log import LOG
from shirq_bench.cli.main import main
from shirq_bench.errors import BenchError
from shirq_bench.replay import bundle, failure
from shirq_bench.replay.case import Case, Finding
from shirq_bench.replay.compare import Comparison
from shirq_bench.replay.failure import Failure, OfCase, OfCommand, OfSweep, OfTest, Source
from shirq_bench.replay.play import Stimulus
from shirq_bench.vm import environment
from shirq_bench.vm.machine import Machine

_SAME = Comparison(True, None, "the log is identical to the byte: 3 entries")
_COMMAND = OfCommand(("true",), 1.0, False)
_OTHER = Comparison(False, 1, "the log differs first at entry 1: a; in the other run: b")


def _failure(folder: Path, how: failure.How = _COMMAND, machine: Machine | None = None) -> Failure:
    folder.mkdir(exist_ok=True)
    failure.describe(folder, machine or Machine())
    told = Story().claimed_interrupt()
    write_log(folder / LOG, told.devices, told.entries)
    made = Failure("a title", ("status 3",), how, versions={"QEMU": "10"})
    made.save(folder)
    return made


def _shirq(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.mark.parametrize(
    ("done", "status", "said"),
    [
        (Again(("status 3",), True, (), (_SAME,)), 0, "the versions are the same"),
        (Again(("status 3",), True, (), (_SAME,)), 0, "the log is identical to the byte: 3 entries"),
        (Again(("status 3",), True, ("QEMU: 10 there, 11 here",), (_OTHER,)), 0, "another version: QEMU: 10 there"),
        (Again(("status 3",), True, (), (_OTHER,)), 0, "the log differs first at entry 1"),
        (Again(("status 4",), False, (), ()), 1, "other finding: status 4; the failure was: status 3"),
        (Again((), False, (), ()), 1, "no finding: this time all went well; the failure was: status 3"),
    ],
    ids=["versions", "identical", "other version", "other log", "other finding", "no finding"],
)
def test_verdict_of_a_replay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, done: Again, status: int, said: str
) -> None:
    _failure(tmp_path / "kept")
    monkeypatch.setattr(again, "play", lambda *_: done)
    result = _shirq("replay", tmp_path / "kept")
    assert (result.exit_code, said in result.output) == (status, True), result.output


def test_exact_replay_that_is_not_identical_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = _failure(tmp_path / "kept")
    opened = bundle.Bundle(tmp_path / "kept", made, tmp_path)
    monkeypatch.setattr(bundle, "unpack", lambda *_: opened)
    Path("x.shirq.zip").touch()
    for done, status in (
        (Again(("status 3",), True, (), (_OTHER,)), 1),
        (Again(("status 3",), True, (), (_SAME,)), 0),
        (Again(("status 3",), True, ("QEMU: 10 there, 11 here",), (_OTHER,)), 0),
    ):
        monkeypatch.setattr(again, "play", lambda *_, done=done: done)
        result = _shirq("replay", "x.shirq.zip")
        assert result.exit_code == status, result.output
        assert ("the log should be identical" in result.output) == bool(status)


def test_host_code_of_a_failure_is_named(tmp_path: Path) -> None:
    test = _failure(tmp_path / "test", OfTest("t.py::test", "/project", "", "6.1"))
    assert again.host_code(test, tmp_path / "test") == ["the project of the test t.py::test, by pytest"]
    arguments = _failure(tmp_path / "extra", machine=Machine(extra=("-incoming", "exec:true")))
    assert again.host_code(arguments, tmp_path / "extra") == ["QEMU's arguments -incoming exec:true"]
    module = replace(_failure(tmp_path / "module"), sources={"/x": Source("module"), "/y": Source("tree")})
    assert again.host_code(module, tmp_path / "module") == ["the build of the module in /x"]
    assert again.host_code(_failure(tmp_path / "plain"), tmp_path / "plain") == []
    _failure(tmp_path / "odd", machine=Machine(networks=("net0,addr.type=unix",)))
    with pytest.raises(BenchError, match="is no id of a network"):
        again.host_code(failure.load(tmp_path / "odd"), tmp_path / "odd")


@pytest.mark.parametrize("kind", ["file", "tree", "project"])
def test_a_module_is_host_code_whatever_its_bundle_calls_it(tmp_path: Path, kind: str) -> None:
    made = _failure(tmp_path / "odd", machine=Machine(modules=("/x",)))
    odd = replace(made, sources={"/x": Source(kind)}, guests=())
    assert again.host_code(odd, tmp_path / "odd") == ["the build of the module in /x"]


def test_host_code_is_that_of_the_machine_that_is_played(tmp_path: Path) -> None:
    """A violation's machine is that of its finding, not that of the guest's folder."""
    made = _failure(tmp_path / "odd", OfSweep())
    evil = Machine(deterministic=True, extra=("-incoming", "exec:true"))
    case = Case("t", evil, (Stimulus(1, "dev0", "raise 1"),), (10,), ("dev0",), actors=0, bound_ns=1)
    Finding(case, ("lost",), ("lost: a",), "x", "y").save(tmp_path / "odd/finding.json")
    assert again.host_code(made, tmp_path / "odd") == ["QEMU's arguments -incoming exec:true"]
    (tmp_path / "driver").mkdir()
    module = _failure(tmp_path / "case", OfCase("/case.toml", str(tmp_path / "driver"), "6.1"))
    assert again.host_code(module, tmp_path / "case") == [f"the build of the module in {tmp_path / 'driver'}"]


def test_a_kernel_from_a_bundle_is_host_code(tmp_path: Path) -> None:
    """Modules are built by the scripts of its tree."""
    made = _failure(tmp_path / "odd", machine=Machine(kernel="/x/vmlinuz"))
    assert again.host_code(made, tmp_path / "odd") == ["the build of modules by the kernel's tree at /x/vmlinuz"]
    case = _failure(tmp_path / "case", OfCase("/case.toml", "naive", "/y/vmlinuz"))
    assert again.host_code(case, tmp_path / "case") == ["the build of modules by the kernel's tree at /y/vmlinuz"]


@pytest.mark.parametrize("name", ["...shirq.zip", "..shirq.zip", ".shirq.zip"])
def test_bundle_is_unpacked_into_a_folder_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    _failure(tmp_path / "kept")
    (tmp_path / "build").mkdir()
    (tmp_path / "build/mine").touch()
    assert _shirq("bundle", "kept").exit_code == 0
    Path("kept.shirq.zip").rename(name)
    result = _shirq("replay", name)
    assert result.exit_code == 1 and f"{name}: rename it: its name must be that of a folder" in result.output
    assert (tmp_path / "build/mine").exists()


def test_bundle_with_host_code_is_played_only_if_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _failure(tmp_path / "kept", machine=Machine(extra=("-incoming", "exec:true")))
    assert _shirq("bundle", "kept").exit_code == 0
    played: list[Failure] = []

    def play(made: Failure, *_: object) -> Again:
        played.append(made)
        return Again(made.found, True, (), ())

    monkeypatch.setattr(again, "play", play)
    refused = _shirq("replay", "kept.shirq.zip")
    assert refused.exit_code == 1 and "QEMU's arguments -incoming exec:true" in refused.output
    assert "give --trust" in refused.output and not played
    assert _shirq("replay", "--trust", "kept.shirq.zip").exit_code == 0 and played
    too_large = _shirq("replay", "--limit", "1", "kept.shirq.zip")
    assert too_large.exit_code == 1  # still not trusted
    assert _shirq("replay", "kept").exit_code == 0, "a failure of this machine needs no trust"


def test_sweep_is_the_same_if_it_breaks_all_rules_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With another guest, other numbers and further violations may come."""
    made = replace(_failure(tmp_path / "kept", OfSweep()), found=("lost: a", "late: b"))
    monkeypatch.setattr(Finding, "load", lambda path: None)
    monkeypatch.setattr(environment, "versions", lambda machine: {"QEMU": "11"})
    for found, same in ((["late: c", "lost: d", "dead: e"], True), (["lost: a"], False), ([], False)):
        monkeypatch.setattr(again, "_sweep", lambda finding, into, frozen, found=found: (found, [into / LOG]))
        done = again.play(made, tmp_path / "kept", tmp_path / "again")
        assert (done.same, done.found) == (same, tuple(found))
        assert done.differing == ("QEMU: 10 there, 11 here",) and done.logs == ()


def test_a_test_that_hangs_again_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if the failure was that it did not end, it was played again: the finding is the same."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "test_it.py").write_text("import time\ndef test_it(): time.sleep(600)\n")
    monkeypatch.setattr(again, "_DEADLINE", 1.0)
    monkeypatch.setattr(environment, "versions", lambda machine: {})
    made = _failure(tmp_path / "kept", OfTest("test_it.py::test_it", str(project), "", "6.1"))
    made = replace(made, found=("the test has not ended within 1 s",))
    done = again.play(made, tmp_path / "kept", tmp_path / "again")
    assert (done.found, done.same) == (("the test has not ended within 1 s",), True)
