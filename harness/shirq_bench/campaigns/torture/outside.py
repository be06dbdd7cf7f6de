# SPDX-License-Identifier: MIT
"""Torture of the bench itself: repeated runs of zoo cases, and of pytest in separate processes as users run it."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from shirq_bench import supervisor
from shirq_bench.campaigns import reportlog
from shirq_bench.campaigns.torture.case import Case
from shirq_bench.campaigns.torture.guests import Round
from shirq_bench.campaigns.zoo import case as zoo
from shirq_bench.campaigns.zoo.run import play
from shirq_bench.deadline import Deadline
from shirq_bench.errors import BenchError
from shirq_bench.paths import need_checkout
from shirq_bench.provision import cache
from shirq_bench.vm.vm import parts

#: Seconds allowed for a run of pytest, per test of the run, on an idle host.
_DEADLINE = 300.0
#: Seconds that a run of the fast part may take on an idle machine.
_FAST_S = 5.0
#: Seconds between two kills of a worker, on average.
_BETWEEN_KILLS_S = 6.0
#: Seconds within which all leftovers must be gone.
_PATIENCE_S = 30.0
#: Allowed growth of the controller process, in KiB per test, for the test's report.
_REPORT_KIB = 32
_SUITE = """
import os
from pathlib import Path
import pytest
from shirq_bench.observe.scene import Scene

@pytest.mark.parametrize("n", range({count}))
def test_an_interrupt_reaches_its_driver(vm, n):
    Path(__file__).with_name("begun").joinpath(str(os.getpid())).touch()
    scene = Scene(vm)
    driver = scene.drive("dev0")
    scene.raise_("dev0", bits=1 + n)
    assert driver.next_event().status == 1 + n
"""


@dataclass(frozen=True)
class _Outcome:
    """The result of one run of pytest: ids of the passed tests, and the messages of the others."""

    passed: list[str]
    failed: dict[str, str]
    seconds: float


def _pytest(
    directory: Path,
    options: Sequence[str],
    most_tests: int,
    keep: Path,
    environment: dict[str, str] | None = None,
    meanwhile: Callable[[subprocess.Popen[bytes], Deadline], None] = lambda *_: None,
) -> _Outcome:
    """Run pytest in a directory; ``meanwhile`` is called with the process and its deadline.

    If a test did not pass, pytest's output and the tests' artefacts are kept in ``keep``.
    """
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="shirq-report-") as folder:
        report, said = Path(folder, "report.jsonl"), Path(folder, "said")
        command = [
            sys.executable,
            "-m",
            "pytest",
            *("-q", "-p", "shirq_bench.plugin"),
            *reportlog.options(report),
            f"--shirq-artefacts={folder}/artefacts",
            *options,
        ]
        trouble = ""
        end = Deadline(_DEADLINE * most_tests)
        with (
            said.open("wb") as output,
            # If pytest has ended, do not kill its process group: processes that outlived it must be found.
            supervisor.child(
                command,
                orphans=True,
                cwd=directory,
                env={**os.environ, **(environment or {})},
                stdout=output,
                stderr=subprocess.STDOUT,
            ) as process,
        ):
            meanwhile(process, end)
            while process.poll() is None and not end.passed:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(end.step)
            if process.poll() is None:
                trouble = f"pytest has not ended within {end}; its last output: "
        seconds = time.monotonic() - began
        try:
            tests = reportlog.read(report)
            passed = [test.id for test in tests if test.outcome == "passed"]
            failed = {test.id: test.message for test in tests if test.outcome != "passed"}
        except BenchError:
            passed, failed = [], {"pytest": trouble + said.read_text(errors="replace")[-2000:]}
        if failed:
            shutil.rmtree(keep, ignore_errors=True)
            shutil.copytree(folder, keep)
        return _Outcome(passed, failed, seconds)


def by_suite(case: Case, kernel: str, count: int, seed: int, keep: Path) -> Round:
    """Run the guest tests of the case ``count`` times."""
    round_ = Round(seed)
    _runs(case, kernel, count, round_, keep)
    return round_


def _runs(case: Case, kernel: str, count: int, round_: Round, keep: Path) -> list[_Outcome]:
    outcomes = []
    top = need_checkout(f"the torture test {case.name}")
    for number in range(count):
        outcome = _pytest(top, ["--shirq-kernel", kernel, *case.words], 10, keep / str(number))
        round_.attempts += bool(outcome.passed)
        round_.failures += [f"run {number}: {name}: {what}" for name, what in outcome.failed.items()]
        outcomes.append(outcome)
    return outcomes


def by_zoo(case: Case, kernel: str, count: int, seed: int, keep: Path) -> Round:
    """Run a bug of the zoo with a driver ``count`` times: each outcome must be the one that the zoo expects."""
    name, driver = case.words
    round_ = Round(seed)
    for number in range(count):
        try:
            played = play(zoo.get(name), driver, kernel, keep / str(number))
        except (BenchError, OSError) as error:
            round_.failures.append(f"run {number}: {error}")
            continue
        round_.attempts += 1
        if not played.expected:
            result = played.result
            round_.failures.append(f"run {number}: {result.outcome}: {result.figures} {list(result.complaints)}")
    if round_.clean:
        shutil.rmtree(keep, ignore_errors=True)
    return round_


def by_fast(case: Case, kernel: str, count: int, seed: int, keep: Path) -> Round:
    """Run the fast part of the guest suite ``count`` times. A flaky test, which does not always pass, is a failure."""
    round_ = Round(seed)
    outcomes = _runs(case, kernel, count, round_, keep)
    times = sorted(outcome.seconds for outcome in outcomes)
    round_.figures = {
        "tests": sum(len(outcome.passed) for outcome in outcomes),
        "flaky_outcomes": len(round_.failures),
        "runs_beyond_5_s": sum(seconds > _FAST_S for seconds in times),
        "slowest_run_ms": round(1000 * times[-1]),
        "slowest_median_run_ms": round(1000 * times[len(times) // 2]),
    }
    return round_


def by_bench(case: Case, kernel: str, count: int, seed: int, keep: Path) -> Round:
    """Run guest tests in two workers, kill a worker now and then, and check for leftovers and growing memory."""
    round_ = Round(seed)
    with tempfile.TemporaryDirectory(prefix="shirq-torture-") as folder:
        directory = Path(folder, "suite")
        temporary, own_cache = Path(folder, "tmp"), Path(folder, "cache")
        for made in (directory, directory / "begun", temporary):
            made.mkdir()
        (directory / "pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider\n")
        (directory / "test_suite.py").write_text(_SUITE.format(count=count))
        accelerator = parts(kernel).accelerator.name
        cache.share(own_cache, cache.FETCHED + cache.COMPILED)
        environment = {"TMPDIR": str(temporary), "SHIRQ_CACHE": str(own_cache), "SHIRQ_ACCEL": accelerator}
        killer = _Killer(seed, directory / "begun", most=max(1, count // 10))
        outcome = _pytest(
            directory,
            ["--shirq-kernel", kernel, "-n2", "--max-worker-restart", str(count)],
            count,
            keep,
            environment,
            killer.run,
        )
        crashed = {name: what for name, what in outcome.failed.items() if "crashed" in what}
        flaky = {name: what for name, what in outcome.failed.items() if name not in crashed}
        round_.attempts = len(outcome.passed) + len(crashed)
        round_.failures += [f"{name}: {what}" for name, what in flaky.items()]
        if len(crashed) > killer.kills:
            round_.failures.append(f"{len(crashed)} workers crashed, but only {killer.kills} were killed")
        round_.failures += _left(temporary) + _grown(own_cache)
        if killer.grown_kib > count * _REPORT_KIB:
            round_.failures.append(f"the memory of pytest's controller grew by {killer.grown_kib} KiB")
        if not killer.kills:
            round_.failures.append("no worker was killed: inconclusive")
        if round_.clean:
            # Only tests whose worker was killed have left artefacts.
            shutil.rmtree(keep, ignore_errors=True)
        round_.choices = killer.digest
        round_.figures = {"kills": killer.kills, "flaky": len(flaky), "grown_kib": max(0, killer.grown_kib)}
    return round_


class _Killer:
    """Kills ``most`` workers of pytest at random times; samples the memory of their controller.

    ``begun`` is a directory with a file for each worker that has begun a test. Only these workers are killed:
    otherwise, if workers start slowly, no test would ever end.
    """

    def __init__(self, seed: int, begun: Path, most: int, between_s: float = _BETWEEN_KILLS_S) -> None:
        self._begun = begun
        self._most = most
        self._between_s = between_s
        self._choices = random.Random(seed)
        self.kills = 0
        self.first_kib = 0
        self.last_kib = 0

    @property
    def digest(self) -> str:
        """A digest of all choices: the next value of the generator."""
        return f"{self._choices.getrandbits(64):016x}"

    @property
    def grown_kib(self) -> int:
        """Growth of the controller's memory, from the first kill to the last."""
        return self.last_kib - self.first_kib

    def run(self, process: subprocess.Popen[bytes], end: Deadline) -> None:
        """Kill workers until ``most`` were killed, the process has ended, or the deadline has passed."""
        while self.kills < self._most and not end.passed:
            # Kill the first worker at once: a short run might end during the first pause.
            pause = 2 * self._between_s * self._choices.random() if self.kills else 0.05
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(pause)
                return
            workers = _workers(self._begun, process.pid)
            if len(workers) < 2:
                continue
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._choices.choice(workers), signal.SIGKILL)
                self.kills += 1
                self.last_kib = _resident_kib(process.pid)
                self.first_kib = self.first_kib or self.last_kib


def _workers(begun: Path, leader: int) -> list[int]:
    """The leader's running workers that have begun a test: pytest fails if a worker dies before its first test."""
    try:
        children = {child.pid for child in psutil.Process(leader).children()}
    except psutil.NoSuchProcess:
        return []
    return sorted(children & {int(path.name) for path in begun.iterdir()})


def _resident_kib(pid: int) -> int:
    """A process's memory, or 0 if the process has ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).memory_info().rss // 1024
    return 0


def _left(temporary: Path) -> list[str]:
    """Directories and processes that outlived the tests; the processes are killed. Supervisors get time to clean up."""
    end = Deadline(_PATIENCE_S)
    while True:
        left = [f"left behind: {path.name}" for path in temporary.iterdir() if path.name.startswith("shirq-")]
        processes = _of(temporary)
        left += [f"process {pid} outlived its test" for pid in processes]
        if not left or end.passed:
            break
        time.sleep(0.1)
    for pid in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return left


def _of(temporary: Path) -> list[int]:
    """The processes whose environment has ``temporary`` as TMPDIR."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("TMPDIR") == str(temporary):
                found.append(process.pid)
    return found


def _grown(own_cache: Path) -> list[str]:
    """Report unexpected templates in the cache: all these tests use one template."""
    templates = sorted(path.name for path in own_cache.glob("template/*"))
    complete = len(templates) == 1 and not templates[0].startswith(".")
    return [] if complete else [f"the cache should hold one complete template, but holds {templates}"]


#: The cases that run tests of tests/, which are not in the wheel.
RUNS_OUR_TESTS = ("suite", "fast")
OUTSIDE = {"suite": by_suite, "zoo": by_zoo, "fast": by_fast, "bench": by_bench}
