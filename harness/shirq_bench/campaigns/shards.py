# SPDX-License-Identifier: MIT
"""Campaigns in shards: each is a value with a content hash, each result a file; the report follows from the results.

A shard names all that its result depends on. Running it twice gives the same bytes, so it does not matter where shards
run, in which order, how often, or what dies meanwhile.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from shirq_bench.errors import BenchError

#: A shard that has failed so often, or killed its worker, is set apart.
ATTEMPTS: Final = 3
#: Results by the keys of their shards.
Results = Mapping[str, Any]


class CampaignError(BenchError):
    """A campaign's folder cannot be used: it is of another campaign, or its files contradict each other."""


class OtherInputs(BenchError):
    """This machine has another QEMU, kernel, image or bench than the shard asks for."""


def require_same(wanted: Mapping[str, str], here: Mapping[str, str]) -> None:
    """Raise `OtherInputs` if the versions ``here`` are not those with which a shard is to be run."""
    if differ := [f"{name} {wanted[name]}, not {here[name]}" for name in wanted if here[name] != wanted[name]]:
        raise OtherInputs(
            f"the campaign is of {' and '.join(differ)}, which this machine has: use the same commit and packages"
        )


def canonical(value: object) -> bytes:
    """The JSON of ``value``, always with the same bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode() + b"\n"


@dataclass(frozen=True)
class Shard:
    """A part of a campaign. ``task`` is JSON: what to do, and the hashes of all that it is done with.

    Other shards depend on the result of a shard that is ``first``: if a campaign is divided among machines, each runs
    it.
    """

    task: Mapping[str, Any]
    first: bool = False

    @functools.cached_property
    def key(self) -> str:
        """The hash of the task, 32 hexadecimal digits."""
        return hashlib.sha256(canonical(self.task)).hexdigest()[:32]


class Campaign(Protocol):
    """What a campaign consists of; see `shirq_bench.campaigns.sweep.shards` for one."""

    @property
    def spec(self) -> Mapping[str, Any]:
        """All that makes the campaign what it is, as JSON."""

    def shards(self, results: Results) -> Iterator[Shard]:
        """The shards that are known, given the ``results`` so far."""

    def run(self, task: Mapping[str, Any], tell: Callable[[str], None]) -> Any:
        """Run a shard; returns its result as JSON. Raises `OtherInputs`; `BenchError` if it failed."""

    def report(self, results: Results) -> dict[str, Any]:
        """The report, which depends on the results alone: ``summary`` has its figures in words, ``failed`` is how many
        results are not as they should be."""


class Store:
    """The folder of a campaign: ``campaign.json``, a file for each result, and for each shard that was set apart."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._results = directory / "results"
        self._apart = directory / "apart"
        self._spec = directory / "campaign.json"

    def spec(self) -> Mapping[str, Any]:
        """The campaign's description. `CampaignError` if the folder has none."""
        try:
            found = json.loads(self._spec.read_bytes())
        except (OSError, ValueError) as error:
            raise CampaignError(f"{self._spec}: no description of a campaign: {error}") from error
        if not isinstance(found, dict) or not isinstance(found.get("campaign"), str):
            raise CampaignError(f'{self._spec}: a campaign\'s description has a key "campaign"')
        return found

    def begin(self, spec: Mapping[str, Any]) -> None:
        """Make this the folder of a campaign, or go on with it. `CampaignError` if it is of another one."""
        self._results.mkdir(parents=True, exist_ok=True)
        self._apart.mkdir(exist_ok=True)
        if self._spec.exists():
            if differ := _differences(self.spec(), spec):
                raise CampaignError(
                    f"{self.directory} has results of another campaign: {differ}. Give another --out, or delete it"
                )
            return
        _write(self._spec, canonical(spec))

    def results(self, tell: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
        """All results. A damaged file, which a full disk may leave, counts as missing; ``tell`` is told."""
        found = {}
        for file in sorted(self._results.glob("*.json")):
            try:
                found[file.stem] = _read(file)[1]
            except _Damaged as error:
                tell(f"{file} is damaged, its shard runs again: {error}")
        return found

    def add(self, shard: Shard, result: object) -> None:
        """Keep a result. `CampaignError` if the shard has another one already."""
        content = canonical({"task": dict(shard.task), "result": result})
        file = self._results / f"{shard.key}.json"
        (self._apart / file.name).unlink(missing_ok=True)
        with contextlib.suppress(_Damaged):
            if canonical(_read(file)[1]) != canonical(result):
                _write(file.with_suffix(".other"), content)
                raise CampaignError(
                    f"shard {shard.key} had two different results: {file} and {file.with_suffix('.other')};"
                    " its inputs are not all in its key, or the run is not deterministic"
                )
        _write(file, content)

    def set_apart(self, shard: Shard, why: str) -> None:
        """Note that a shard cannot be run: it failed, or killed its workers, `ATTEMPTS` times."""
        _write(self._apart / f"{shard.key}.json", canonical({"task": dict(shard.task), "why": why}))

    def apart(self) -> dict[str, str]:
        """The shards that were set apart, by their keys, each with the reason."""
        return {shard.key: why for shard, why in self.shards_apart()}

    def shards_apart(self) -> Iterator[tuple[Shard, str]]:
        """The shards that were set apart, each with the reason."""
        for file in sorted(self._apart.glob("*.json")):
            content = json.loads(file.read_bytes())
            yield Shard(content["task"]), content["why"]

    def report(self, campaign: Campaign) -> dict[str, Any]:
        """Write and return the report; ``missing`` and ``apart`` say what it lacks."""
        results = self.results()
        apart = self.apart()
        known = [shard.key for shard in campaign.shards(results)]
        content = campaign.report(results) | {
            "missing": sum(key not in results and key not in apart for key in known),
            "apart": {key: apart[key] for key in known if key in apart},
        }
        _write(self.directory / "report.json", json.dumps(content, indent=1, sort_keys=True).encode() + b"\n")
        return content


def _differences(known: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """The keys in which two descriptions differ."""
    keys = sorted({*known, *wanted})
    return ", ".join(key for key in keys if canonical(known.get(key)) != canonical(wanted.get(key)))


class _Damaged(Exception):
    """A result's file is missing, cut short, or that of another shard."""


def _read(file: Path) -> tuple[Shard, Any]:
    """A shard and its result. Raises `_Damaged`."""
    try:
        content = json.loads(file.read_bytes())
        shard, result = Shard(content["task"]), content["result"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _Damaged(f"{type(error).__name__}: {error}") from error
    if shard.key != file.stem:
        raise _Damaged(f"it is the result of another shard, {shard.key}")
    return shard, result


def _write(file: Path, content: bytes) -> None:
    """Write a file that is whole or missing, whatever dies."""
    part = file.with_suffix(f".{os.getpid()}.part")
    with part.open("wb") as sink:
        sink.write(content)
        sink.flush()
        os.fsync(sink.fileno())
    part.replace(file)


def pending(campaign: Campaign, results: Results, apart: Iterable[str] = ()) -> list[Shard]:
    """The shards that can be run now, in the campaign's order."""
    done = {*results, *apart}
    return [shard for shard in campaign.shards(results) if shard.key not in done]


def is_of(shard: Shard, part: int, parts: int) -> bool:
    """Whether a shard belongs to the ``part``-th (from 1) of so many parts of a divided campaign."""
    return shard.first or int(shard.key, 16) % parts == part - 1


def run_here(
    campaign: Campaign,
    store: Store,
    part: int = 1,
    parts: int = 1,
    tell: Callable[[str], None] = lambda _: None,
) -> None:
    """Run a part of a campaign's shards in this process, one after the other. ``tell`` is called with the progress."""
    results = store.results(tell)
    apart = store.apart()
    while mine := [shard for shard in pending(campaign, results, apart) if is_of(shard, part, parts)]:
        for number, shard in enumerate(mine, 1):
            name = f"[{number}/{len(mine)}] shard {shard.key[:8]}"
            try:
                result = attempt(campaign, shard, lambda said, name=name: tell(f"{name}: {said}"))  # type: ignore[misc]
            except Unable as error:
                apart[shard.key] = str(error)
                store.set_apart(shard, str(error))
                tell(f"{name} was set apart: {error}")
            else:
                store.add(shard, result)
                results[shard.key] = result
                tell(f"{name} done")


class Unable(BenchError):
    """A shard failed `ATTEMPTS` times; the message has the last error."""


def attempt(campaign: Campaign, shard: Shard, tell: Callable[[str], None]) -> Any:
    """Run a shard, if it fails again, `ATTEMPTS` times in all. Raises `Unable`, `OtherInputs`."""
    for number in range(1, ATTEMPTS + 1):
        try:
            return campaign.run(shard.task, tell)
        except OtherInputs:
            raise
        except (BenchError, OSError) as error:
            tell(f"attempt {number} of {ATTEMPTS} failed: {str(error).splitlines()[0]}")
            last = error
    raise Unable(f"it failed {ATTEMPTS} times: {last}")


def merge(sources: Sequence[Path], target: Path) -> Store:
    """Put the results of several folders of one campaign together. Raises `CampaignError`."""
    store = Store(target)
    for source in sources:
        store.begin(Store(source).spec())
        for file in sorted((source / "results").glob("*.json")):
            try:
                store.add(*_read(file))
            except _Damaged as error:
                raise CampaignError(f"{file} is damaged: {error}; run its shard again there") from error
    known = store.results()
    for source in sources:
        for shard, why in Store(source).shards_apart():
            if shard.key not in known:
                store.set_apart(shard, why)
    return store
