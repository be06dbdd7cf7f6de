# SPDX-License-Identifier: MIT
"""Campaigns on real Dask schedulers and workers, which are killed, frozen, missing, or of other versions."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from distributed import Client

import steady
from shirq_bench.campaigns import fleet, shards
from shirq_bench.campaigns.fleet import SLOT, Cluster, FleetError
from shirq_bench.campaigns.shards import OtherInputs, Shard, Store
from shirq_bench.deadline import Deadline
from steady import Steady

#: Seconds for anything that a busy machine does in one.
PATIENCE = 120.0


class Processes:
    """Schedulers and workers of a test, with its modules; they end with it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.running: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "distributed.cli.dask_" + arguments[0], *arguments[1:]],
            cwd=self.directory,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
            stderr=subprocess.PIPE,
            text=True,
        )
        self.running.append(process)
        return process

    def scheduler(self, port: int = 0) -> tuple[subprocess.Popen[str], str]:
        """Start a scheduler; returns it and its address."""
        process = self.start("scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard", "--no-show")
        assert process.stderr
        for line in process.stderr:
            if found := re.search(r"Scheduler at: +(tcp://\S+)", line):
                threading.Thread(target=process.stderr.read, daemon=True).start()
                return process, found[1]
        raise AssertionError("the scheduler ended")

    def worker(self, address: str, slots: int = 1, inputs: str = "") -> subprocess.Popen[str]:
        options = ["--nthreads", "1", "--no-dashboard", "--host", "127.0.0.1", "--resources", f"{SLOT}={slots}"]
        process = self.start("worker", address, *options, **({steady.OTHER: inputs} if inputs else {}))
        assert process.stderr
        threading.Thread(target=process.stderr.read, daemon=True).start()
        return process

    def end(self) -> None:
        for process in self.running:
            with contextlib.suppress(psutil.NoSuchProcess):
                for child in psutil.Process(process.pid).children(recursive=True):
                    child.kill()
            process.kill()
            process.wait()


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    made = Processes(tmp_path)
    yield made
    made.end()


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    folder = tmp_path / "trace"
    folder.mkdir()
    return folder


def begun(directory: Path, spec: dict[str, Any]) -> Store:
    store = Store(directory)
    store.begin(spec)
    return store


def undisturbed(directory: Path, spec: dict[str, Any]) -> bytes:
    """The report of a run in this process."""
    store = begun(directory, spec)
    shards.run_here(Steady(spec), store)
    store.report(Steady(spec))
    return (directory / "report.json").read_bytes()


def report(store: Store, spec: dict[str, Any]) -> bytes:
    store.report(Steady(spec))
    return (store.directory / "report.json").read_bytes()


def until(done: Callable[[], object]) -> None:
    end = Deadline(PATIENCE)
    while not done():
        assert not end.passed
        threading.Event().wait(0.05)


@contextlib.contextmanager
def running(spec: dict[str, Any], store: Store, cluster: Cluster) -> Iterator[Callable[[int], None]]:
    """A campaign that runs beside the block, and ends without an error; yields a wait for a number of results."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            fleet.run(Steady(spec), store, cluster, patience_s=PATIENCE)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()

    def wait_for(number: int) -> None:
        until(lambda: len(store.results()) >= number or errors)
        assert not errors, errors

    yield wait_for
    thread.join(PATIENCE)
    assert not thread.is_alive() and not errors, errors


def pids(address: str) -> list[int]:
    """The processes that run shards."""
    with Client(address, set_as_default=False) as client:  # type: ignore[no-untyped-call]
        return list(client.run(os.getpid, on_error="ignore").values())


def killed_one_of(address: str) -> bool:
    """Kill a process that runs shards; false if there is none now."""
    running = pids(address)
    for pid in running[:1]:
        os.kill(pid, signal.SIGKILL)
    return bool(running)


def test_workers_that_are_killed_change_nothing(tmp_path: Path, trace: Path) -> None:
    """Each shard has one result, and only those of killed workers run twice."""
    spec = steady.spec(40, slow_s=0.1, trace=str(trace))
    wanted = undisturbed(tmp_path / "here", steady.spec(40, slow_s=0.0))
    store = begun(tmp_path / "out", spec)
    with fleet.local(2) as cluster, running(spec, store, cluster) as wait_for:
        for number in range(1, 4):
            wait_for(8 * number)
            until(lambda: killed_one_of(cluster.address))
    assert report(store, spec) == wanted
    # The shard that ran on a killed worker runs again, and one whose result it still held.
    assert 41 <= len(list(trace.iterdir())) <= 41 + 3 * 2


@pytest.mark.long
def test_a_scheduler_that_is_killed_loses_no_result(tmp_path: Path, trace: Path, processes: Processes) -> None:
    spec = steady.spec(30, slow_s=0.1, trace=str(trace))
    wanted = undisturbed(tmp_path / "here", steady.spec(30))
    store = begun(tmp_path / "out", spec)
    scheduler, address = processes.scheduler()
    processes.worker(address)
    with running(spec, store, Cluster(address)) as wait_for:
        wait_for(8)
        scheduler.kill()
        scheduler.wait()
        known = len(store.results())
        processes.scheduler(int(address.rpartition(":")[2]))
        processes.worker(address)
    assert known < 31
    assert report(store, spec) == wanted
    # The first worker may have run all shards that the scheduler knew, and kept their results to itself.
    assert len(list(trace.iterdir())) <= 31 + 2 * fleet._AHEAD, "results that were there ran again"


@pytest.mark.long
def test_a_frozen_worker_is_given_up(tmp_path: Path, processes: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = steady.spec(12, slow_s=0.2)
    wanted = undisturbed(tmp_path / "here", steady.spec(12))
    store = begun(tmp_path / "out", spec)
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL", "5s")
    _, address = processes.scheduler()
    processes.worker(address)
    processes.worker(address)
    until(lambda: len(pids(address)) == 2)
    frozen = pids(address)[0]
    with running(spec, store, Cluster(address)) as wait_for:
        wait_for(3)
        os.kill(frozen, signal.SIGSTOP)
    with contextlib.suppress(ProcessLookupError):  # its nanny may have ended it
        os.kill(frozen, signal.SIGKILL)
    assert report(store, spec) == wanted


@pytest.mark.long
def test_a_shard_that_kills_its_workers_is_set_apart(tmp_path: Path) -> None:
    spec = steady.spec(6, deadly=[2], failing=[4])
    store = begun(tmp_path / "out", spec)
    with fleet.local(1) as cluster:
        fleet.run(Steady(spec), store, cluster)
    content = store.report(Steady(spec))
    assert (content["points"], content["missing"]) == (5, 0)
    died, failed = sorted(content["apart"].values(), key=len, reverse=True)
    assert died == "its worker died 3 times, with no other shard on it"
    assert failed == "it failed 3 times: number 4 fails"


@pytest.mark.parametrize("dies", [fleet._SchedulerGone("it forgot a shard"), OSError("refused")])
def test_a_campaign_waits_again_after_each_shard_that_was_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies: Exception
) -> None:
    """A scheduler that goes away again and again, but not before a shard is done, ends no campaign."""
    spec = steady.spec(5)
    now = iter(range(0, 10_000, 8))

    def run(left: list[Shard]) -> None:
        store.add(left[0], Steady(spec).run(left[0].task))
        raise dies

    monkeypatch.setattr(fleet, "_Wave", lambda *_: SimpleNamespace(run=run))
    monkeypatch.setattr(
        fleet, "_distributed", lambda: SimpleNamespace(Client=lambda *_, **__: contextlib.nullcontext())
    )
    monkeypatch.setattr(fleet, "time", SimpleNamespace(monotonic=lambda: next(now), sleep=lambda _: None))
    store = begun(tmp_path / "out", spec)
    fleet.run(Steady(spec), store, Cluster("tcp://nowhere:1"), patience_s=10)
    assert len(store.results()) == 6


@pytest.mark.long
def test_the_last_shard_may_be_the_one_that_kills_its_workers(tmp_path: Path) -> None:
    spec = steady.spec(1, deadly=[0])
    store = begun(tmp_path / "out", spec)
    with fleet.local(1) as cluster:
        fleet.run(Steady(spec), store, cluster)
    assert list(store.apart().values()) == ["its worker died 3 times, with no other shard on it"]


def test_a_worker_with_other_versions_says_so_and_takes_nothing(tmp_path: Path, processes: Processes) -> None:
    store = begun(tmp_path / "out", steady.spec(5))
    _, address = processes.scheduler()
    processes.worker(address, inputs="two")
    with pytest.raises(OtherInputs, match="inputs one, not two"):
        fleet.run(Steady(steady.spec(5)), store, Cluster(address))
    assert store.results() == {}


@pytest.mark.long
def test_a_cluster_without_slots_or_scheduler_is_an_error(tmp_path: Path, processes: Processes) -> None:
    store = begun(tmp_path / "out", steady.spec(5))
    scheduler, address = processes.scheduler()
    processes.worker(address, slots=0)
    with pytest.raises(FleetError, match="start workers with --resources vm=1"):
        fleet.run(Steady(steady.spec(5)), store, Cluster(address))
    scheduler.kill()
    scheduler.wait()
    with pytest.raises(FleetError, match=rf"no scheduler at {address}: .*; 1 shards are left"):
        fleet.run(Steady(steady.spec(5)), store, Cluster(address), patience_s=0)


def test_without_the_extra_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(FleetError, match=r"pip install 'shirq-bench\[fleet\]'"), fleet.local(1):
        pass


def test_the_local_cluster_listens_on_loopback_alone() -> None:
    with fleet.local(1) as cluster:
        assert cluster.address.startswith("tcp://127.0.0.1:")
        mine = psutil.Process()
        for process in (mine, *mine.children(recursive=True)):
            listening = [one.laddr.ip for one in process.net_connections() if one.status == psutil.CONN_LISTEN]
            assert set(listening) <= {"127.0.0.1", "::1"}
