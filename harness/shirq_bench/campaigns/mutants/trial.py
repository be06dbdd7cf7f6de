# SPDX-License-Identifier: MIT
"""Try one mutant: apply its patch to a copy of the checkout, and see whether its tests fail there.

Modules, images and templates built from the copy go to a separate cache, which shares the entries that no mutant
changes and is deleted with the copy.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from shirq_bench import supervisor
from shirq_bench.campaigns import reportlog
from shirq_bench.campaigns.mutants.mutant import Mutant, boot_guests
from shirq_bench.errors import BenchError
from shirq_bench.provision import cache, checkout

#: A kind of entries that a mutant's cache shares if the mutant does not change the sources of the guest's programs.
_PROGRAMS, _COMPILED_FROM = "image-programs", ("guest/", "kmod/shirq.h")
#: Seconds that all tests of one mutant may take together; the same limit holds for one sweep.
DEADLINE = 1200.0
#: Seconds between two checks whether a trial must end early.
_STEP = 0.2

KILLED, SURVIVED = "killed", "survived"
#: Verdicts about an invalid mutant: its patch does not apply, the result does not compile, its tests fail without the
#: patch, do not end, or fail only now and then. The last two may also be due to a busy machine.
STALE, STILLBORN, UNSOUND, ENDLESS, UNSTABLE = "stale", "stillborn", "unsound", "endless", "unstable"
#: The trial itself failed.
FAILED = "failed"
#: The verdict if the time budget of all trials was spent, or the trials were stopped, before this trial ended.
UNTRIED = "untried"
#: A text in the message of a test that timed out.
_DEADLINE_SAID = "DeadlineExceeded"
#: Number of tries for tests whose failures do not repeat.
_ROUNDS = 3


@dataclass(frozen=True)
class Verdict:
    """The result of a mutant's trial. ``by`` is the test or scenario that detected the mutant, ``detail`` its message.

    ``passed`` is the number of tests that passed, if no test detected the mutant.
    """

    mutant: Mutant
    verdict: str
    by: str = ""
    detail: str = ""
    seconds: float = 0.0
    passed: int = 0

    @property
    def swept(self) -> bool:
        """Whether only a sweep detected the mutant."""
        return self.verdict == KILLED and self.by in self.mutant.sweep


class _End(Exception):
    """Ends the trial. ``what`` is the id of the test, or the scenario, that ended it."""

    def __init__(self, verdict: str, by: str = "", detail: str = "", what: str = "", passed: int = 0) -> None:
        super().__init__(verdict)
        self.verdict, self.by, self.detail, self.what, self.passed = verdict, by, detail, what, passed


def copy_checkout(top: Path, target: Path) -> None:
    """Copy the files of the working tree that git does not ignore. `BenchError` outside of a git checkout."""
    for name in checkout.files(top):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        # Copy links, too: the package's data are links to directories.
        shutil.copy2(top / name, target / name, follow_symlinks=False)


def apply(diff: str, tree: Path) -> str:
    """Apply a diff to a tree, which need not be a repository. Returns git's error, or an empty string."""
    done = subprocess.run(
        ["git", "apply", "--whitespace=nowarn", "-"],
        input=diff,
        cwd=tree,
        env={**os.environ, "GIT_CEILING_DIRECTORIES": str(tree.parent)},
        capture_output=True,
        text=True,
    )
    return done.stderr.strip() if done.returncode else ""


@dataclass
class Workshop:
    """Tries mutants in copies of the checkout ``top``, in guests with ``kernel``.

    ``work`` is a directory that all trials share. After ``until``, on the clock `time.monotonic`, a trial ends untried.
    """

    top: Path
    kernel: str
    work: Path
    until: float = math.inf
    #: If it is set, no trial continues.
    stop: threading.Event = field(default_factory=threading.Event)
    #: For a kernel and a test or scenario, the failure without any mutant; empty if the test or scenario passes.
    sound: dict[tuple[str, str], str] = field(default_factory=dict)

    def try_(self, mutant: Mutant, tell: Callable[[str], None] = lambda _: None) -> Verdict:
        """Try whether a test or scenario detects a mutant."""
        started = time.monotonic()
        with supervisor.owned_directory(f"shirq-mutant-{mutant.name}-") as place:
            try:
                end = _End(SURVIVED, passed=self._try(mutant, place, tell))
            except _End as over:
                end = over
            except (BenchError, OSError) as error:
                end = _End(FAILED, detail=str(error))
        return Verdict(mutant, end.verdict, end.by, end.detail, time.monotonic() - started, end.passed)

    def _try(self, mutant: Mutant, place: Path, tell: Callable[[str], None]) -> int:
        tree = place / "tree"
        copy_checkout(self.top, tree)
        if refused := apply(mutant.diff, tree):
            raise _End(STALE, detail=refused)
        kernel = mutant.kernel or self.kernel
        # All trials share one folder for modules: modules are small, and a mutant changes only a few of them.
        modules = self.work / "kmod"
        modules.mkdir(exist_ok=True)
        bench = Bench(tree, kernel, place, private_cache(mutant, place, modules), self.until, self.stop)
        if mutant.has_guest:
            tell("compiling it")
            bench.compile()
        passed = 0
        try:
            tell("its tests")
            passed = bench.test(mutant.tests, KILLED)
            for scenario in mutant.sweep:
                tell(f"sweep {scenario}")
                bench.sweep(scenario)
        except _End as end:
            end.passed = passed
            if end.verdict == KILLED:
                tell(f"{end.by} without it")
                self._require_sound(end, kernel)
            raise
        return passed

    def _require_sound(self, end: _End, kernel: str) -> None:
        """Require that the test or scenario passes without the mutant.

        If a timeout expired, run it again even if it passed before: on a busy machine any timeout may expire.
        """
        key = (kernel, end.what)
        if key not in self.sound or _DEADLINE_SAID in end.detail:
            with supervisor.owned_directory("shirq-mutant-none-") as place:
                copy_checkout(self.top, place / "tree")
                bench = Bench(place / "tree", kernel, place, cache.root(), self.until, self.stop)
                self.sound[key] = _fails(bench, end.what)
        if self.sound[key]:
            raise _End(UNSOUND, end.by, self.sound[key])


def private_cache(mutant: Mutant, place: Path, modules: Path) -> Path:
    """A cache in ``place`` for what a mutant changes, which shares all else; compiled modules go to ``modules``."""
    own = place / "cache"
    same_programs = not any(name.startswith(_COMPILED_FROM) for name in mutant.files)
    cache.share(own, [*cache.FETCHED, *([_PROGRAMS] if same_programs else [])])
    (own / "kmod").symlink_to(modules)
    return own


@dataclass(frozen=True)
class Bench:
    """Runs the tests of one copy of the checkout. `test` and `sweep` raise `_End` once the mutant's result is known."""

    tree: Path
    kernel: str
    place: Path
    cache: Path
    until: float = math.inf
    stop: threading.Event = field(default_factory=threading.Event)

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "PYTHONPATH": str(self.tree / "harness"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "SHIRQ_CACHE": str(self.cache),
        }
        with supervisor.child(
            [sys.executable, *arguments],
            cwd=self.tree,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            end = time.monotonic() + DEADLINE
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    said, _ = process.communicate(timeout=_STEP)
                    return subprocess.CompletedProcess(arguments, process.returncode, said)
                if self.stop.is_set() or time.monotonic() >= self.until:
                    raise _End(UNTRIED)
                if time.monotonic() >= end:
                    raise _End(ENDLESS, detail=f"not finished after {DEADLINE:g} s: {' '.join(arguments)}")

    def compile(self) -> None:
        """Compile the mutant's modules and image; a mutant that does not compile is not valid."""
        done = self._run("-m", "shirq_bench.cli", "build", "image", self.kernel)
        if done.returncode:
            raise _End(STILLBORN, detail=done.stdout[-1500:])

    def test(self, tests: Sequence[str], verdict: str) -> int:
        """Run tests and return how many passed; a failing test ends the trial with ``verdict``.

        On a busy machine a test may time out. If it passes the second time, it does not count as failed.
        """
        for _ in range(_ROUNDS):
            failed = self._first_failure(tests)
            if isinstance(failed, int):
                return failed
            if not failed.may_be_for_want_of_time or isinstance(self._first_failure([failed.id]), _Failure):
                raise _End(STILLBORN if failed.before_it_began else verdict, failed.name, failed.message, failed.id)
        raise _End(UNSTABLE, detail="the mutant's tests fail intermittently: the machine may be busy")

    def _first_failure(self, tests: Sequence[str]) -> _Failure | int:
        """Run tests and return the first failure; if all pass, return their number."""
        report = self.place / "report.jsonl"
        done = self._pytest(tests, report, "-x")
        if done.returncode == 0:
            return len(reportlog.read(report))
        if done.returncode < 0:
            # A sanitizer has ended the process, in code that the tests run as a library.
            ended = signal.Signals(-done.returncode).name
            return _Failure(tests[0], Path(tests[0]).name, f"{ended} ended the process of pytest")
        if done.returncode != 1:
            raise _End(STILLBORN, detail=f"pytest could not run the tests: {done.stdout[-1500:]}")
        return _failure(report)

    def _pytest(self, tests: Sequence[str], report: Path, *options: str) -> subprocess.CompletedProcess[str]:
        given = ["-q", "-p", "no:cacheprovider", *reportlog.options(report), *options]
        if boot_guests(tests):
            given.append(f"--shirq-kernel={self.kernel}")
        return self._run("-m", "pytest", *given, *(test.replace("{kernel}", self.kernel) for test in tests))

    def outcomes(self, tests: Sequence[str], *options: str) -> list[reportlog.Outcome]:
        """Run tests with further options of pytest, and return their outcomes. `BenchError` if pytest cannot."""
        report = self.place / "report.jsonl"
        report.unlink(missing_ok=True)
        done = self._pytest(tests, report, *options)
        if done.returncode not in (0, 1):
            raise BenchError(f"pytest could not run the tests: {done.stdout[-1500:]}")
        return reportlog.read(report)

    def findings(self, scenario: str) -> list[Path]:
        """Sweep a scenario up to the first violation, and return the files of the findings."""
        self._run(*_sweep(scenario, self.kernel))
        return sorted((self.tree / "build/sweep").glob("*/finding.json"))

    def sweep(self, scenario: str) -> None:
        """Sweep all points of a scenario, up to the first violation; repeat a sweep that could not run to the end."""
        report = self.tree / "build/reports/sweep.json"
        for _ in range(_ROUNDS):
            # Delete the report of an earlier sweep.
            report.unlink(missing_ok=True)
            done = self._run(*_sweep(scenario, self.kernel))
            if not done.returncode:
                return
            if found := _violation(self.tree, report):
                raise _End(KILLED, scenario, found, scenario)
        raise _End(UNSTABLE, detail=f"the sweep {scenario} could not be run to its end: {done.stdout.strip()[-500:]}")


def _sweep(scenario: str, kernel: str) -> tuple[str, ...]:
    return ("-m", "shirq_bench.cli", "sweep", scenario, "--kernel", kernel, "--most", "1")


def _violation(tree: Path, report: Path) -> str:
    """The violation that a failed sweep reports; empty if the sweep failed for any other reason."""
    try:
        content = json.loads(report.read_text())
    except (OSError, ValueError):
        return ""
    if content["findings"]:
        return _finding(json.loads((tree / content["findings"][0]).read_text()))
    return next((one["error"] for one in content["errors"] if one["fails_alone"]), "")


def _finding(found: dict[str, object]) -> str:
    what, where, rules = found["what"], found["where"], found["rules"]
    assert isinstance(what, list) and isinstance(where, dict) and isinstance(rules, list)
    return f"{', '.join(rules)}: {what[0]}; the stimulus came at {where['function']} ({where['instruction']})"


def _fails(bench: Bench, what: str) -> str:
    """The failure of a test or scenario; empty if it passes."""
    try:
        if what.startswith("tests/"):
            bench.test([what], UNSOUND)
        else:
            bench.sweep(what)
    except _End as end:
        if end.verdict in (UNTRIED, UNSTABLE):
            raise
        return f"without the mutant {end.by or what} fails: {end.detail}"
    return ""


@dataclass(frozen=True)
class _Failure:
    """The first test that failed, and the first line of its message."""

    id: str
    name: str
    message: str
    #: A requirement of the test failed: the mutant does not compile, or no guest boots with it. No test detected it.
    before_it_began: bool = False

    @property
    def may_be_for_want_of_time(self) -> bool:
        return self.before_it_began or _DEADLINE_SAID in self.message


def _failure(report: Path) -> _Failure:
    for test in reportlog.read(report):
        if test.outcome == "failed":
            message = re.sub(r"^(AssertionError: |E\s+)", "", test.message.strip().partition("\n")[0])
            return _Failure(test.id, test.name, message[:300], test.when == "setup")
    raise BenchError(f"pytest failed, but its report {report} names no failed test")
