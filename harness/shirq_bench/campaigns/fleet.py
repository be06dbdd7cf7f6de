# SPDX-License-Identifier: MIT
"""Runs a campaign's shards on the workers of a Dask cluster; the package's extra ``fleet`` installs dask.distributed.

Dask moves a shard to another worker if its worker dies, freezes or loses its connection. What it cannot do is done
here: results are kept as they come, so that nothing is lost if the scheduler dies; and a shard that fails, or kills its
workers, again and again is set apart.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from shirq_bench.campaigns import registry
from shirq_bench.campaigns.shards import ATTEMPTS, Campaign, Shard, Store, Unable, attempt, pending
from shirq_bench.errors import BenchError

#: What a worker declares for each guest that it can run at a time: `dask worker --resources SLOT=2`.
SLOT: Final = "vm"
#: Shards that the scheduler knows at a time, for each slot: enough to keep workers busy, few enough for its memory, and
#: few that are suspected of a worker's death without having run.
_AHEAD: Final = 2
#: Seconds without a word from a worker after which it counts as dead.
_WORKER_TTL_S: Final = 60
_CONNECT_S: Final = 30.0


class FleetError(BenchError):
    """The cluster cannot be used: dask.distributed is missing, or there is no scheduler or no worker with a slot."""


@dataclass(frozen=True)
class Cluster:
    """Where the scheduler is, and how to talk to it."""

    address: str
    #: A `distributed.Security`.
    security: Any = None


def _distributed() -> Any:
    try:
        import distributed
    except ImportError as error:
        raise FleetError(f"workers need dask.distributed: pip install 'shirq-bench[fleet]' ({error})") from error
    return distributed


def security(ca: str, certificate: str, key: str) -> Any:
    """TLS in both directions: whoever has a certificate of this authority may submit and work."""
    return _distributed().Security(
        require_encryption=True, tls_ca_file=ca, tls_client_cert=certificate, tls_client_key=key
    )


@contextlib.contextmanager
def local(workers: int) -> Iterator[Cluster]:
    """A scheduler and so many workers, with one slot each, on this machine's loopback."""
    distributed = _distributed()
    import dask

    settings = {
        # A shard whose worker dies is given to another, ATTEMPTS times in all.
        "distributed.scheduler.allowed-failures": ATTEMPTS - 1,
        "distributed.scheduler.worker-ttl": f"{_WORKER_TTL_S}s",
    }
    with (
        dask.config.set(settings),
        distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            resources={SLOT: 1},
            memory_limit=0,
            silence_logs=logging.CRITICAL,
        ) as cluster,
    ):
        yield Cluster(cluster.scheduler_address)


def work(spec: Mapping[str, Any], task: Mapping[str, Any]) -> Any:
    """On a worker: run a shard; returns its result. Raises `Unable`, `OtherInputs`."""
    return attempt(registry.campaign(spec), Shard(task), lambda _: None)


def run(
    campaign: Campaign,
    store: Store,
    cluster: Cluster,
    tell: Callable[[str], None] = lambda _: None,
    patience_s: float = 600.0,
) -> None:
    """Run all shards that have no result. If the scheduler goes away, wait ``patience_s`` for another one.

    Raises `FleetError`; `OtherInputs` if a worker has other versions than the campaign.
    """
    distributed = _distributed()
    # The number of shards that were left when the scheduler went away, and when that was.
    gone: tuple[int, float] = (0, 0.0)
    while left := pending(campaign, store.results(tell), store.apart()):
        try:
            with distributed.Client(
                cluster.address, security=cluster.security, timeout=_CONNECT_S, set_as_default=False
            ) as client:
                _Wave(client, campaign, store, tell).run(left)
        except (OSError, _SchedulerGone) as error:  # also errors of Dask's connections
            said = f"no scheduler at {cluster.address}: {error or type(error).__name__}"
            now = time.monotonic()
            if gone[0] != len(left):
                gone = len(left), now
            if now - gone[1] >= patience_s:
                raise FleetError(f"{said}; waited {patience_s:g} s; {len(left)} shards are left") from error
            tell(f"{said}; waiting for it")
            time.sleep(min(2.0, patience_s))


class _SchedulerGone(Exception):
    """The connection to the scheduler broke."""


class _Wave:
    """The shards that can be run now, with a client of one scheduler."""

    def __init__(self, client: Any, campaign: Campaign, store: Store, tell: Callable[[str], None]) -> None:
        self._client = client
        self._campaign = campaign
        self._store = store
        self._tell = tell

    def run(self, left: list[Shard]) -> None:
        """Run the shards, so that each has a result or is set apart."""
        suspects: list[Shard] = []
        self._run(left, _AHEAD * self._slots(), lambda shard, _: suspects.append(shard))
        for shard in suspects:
            # Dask suspects all shards of a worker that dies. Alone, a shard that kills its worker proves itself.
            self._run([shard], 1, self._convict)

    def _run(self, left: list[Shard], ahead: int, killed: Callable[[Shard, Any], None]) -> None:
        """Run the shards, so many at a time; ``killed`` is called with those whose workers died, and Dask's error."""
        waiting = iter(left)
        alone = "-alone" if ahead == 1 else ""
        shards: dict[str, Shard] = {}

        def submit(shard: Shard) -> Any:
            key = f"shard-{shard.key}{alone}"
            shards[key] = shard
            spec, task = dict(self._campaign.spec), dict(shard.task)
            return self._client.submit(work, spec, task, key=key, resources={SLOT: 1}, pure=False)

        distributed = _distributed()
        begun = [submit(shard) for shard in itertools.islice(waiting, ahead)]
        futures = distributed.as_completed(begun, loop=self._client.loop)
        for done, future in enumerate(futures, 1):
            shard = shards.pop(future.key)
            try:
                self._take(future, shard)
            except distributed.KilledWorker as error:
                killed(shard, error)
            self._tell(f"[{done}/{len(left)}] shards")
            future.release()
            if following := next(waiting, None):
                futures.add(submit(following))

    def _slots(self) -> int:
        self._client.wait_for_workers(1, timeout=_CONNECT_S)
        workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
        slots = int(sum(worker["resources"].get(SLOT, 0) for worker in workers))
        if not slots:
            raise FleetError(f"no worker has a slot for a guest: start workers with --resources {SLOT}=1")
        return slots

    def _take(self, future: Any, shard: Shard) -> None:
        """Keep the result of a shard, or set it apart. Raises Dask's KilledWorker if its workers died."""
        if future.status in ("cancelled", "lost"):
            raise _SchedulerGone("it forgot a shard")
        try:
            self._store.add(shard, future.result())
        except Unable as error:
            self._apart(shard, str(error))

    def _convict(self, shard: Shard, error: Any) -> None:
        self._apart(shard, f"its worker died {error.allowed_failures + 1} times, with no other shard on it")

    def _apart(self, shard: Shard, why: str) -> None:
        self._store.set_apart(shard, why)
        self._tell(f"shard {shard.key[:8]} was set apart: {why}")
