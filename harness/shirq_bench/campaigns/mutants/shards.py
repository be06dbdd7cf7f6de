# SPDX-License-Identifier: MIT
"""Mutants as a campaign of shards: a shard tries one mutant."""

from __future__ import annotations

import atexit
import contextlib
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from shirq_bench import supervisor
from shirq_bench.campaigns.items import Kind, Tell
from shirq_bench.campaigns.mutants import mutant
from shirq_bench.campaigns.mutants.mutant import Mutant
from shirq_bench.campaigns.mutants.trial import KILLED, STALE, STILLBORN, SURVIVED, UNSOUND, Verdict, Workshop
from shirq_bench.errors import BenchError

#: The verdicts that a second trial would give, too. The others may be due to a busy machine.
_STEADY: Final = (KILLED, SURVIVED, STALE, STILLBORN, UNSOUND)


@functools.cache
def _mutants(top: Path) -> dict[str, Mutant]:
    return {one.name: one for one in mutant.load(top)}


@functools.cache
def _workshop(top: Path, kernel: str) -> Workshop:
    """This process's workshop: its trials share what they compile, and what they know of the tests without mutants."""
    until_exit = contextlib.ExitStack()
    work = until_exit.enter_context(supervisor.owned_directory("shirq-mutants-"))
    # Register this after the supervisor, which is asked to delete the folder, and which ends later then.
    atexit.register(until_exit.close)
    return Workshop(top, kernel, work)


def _try(top: Path, name: str, kernel: str, tell: Tell) -> Mapping[str, Any]:
    one = _mutants(top)[name]
    verdict = _workshop(top, kernel).try_(one, tell)
    if verdict.verdict not in _STEADY:
        raise BenchError(f"mutant {name} has no verdict, it is {verdict.verdict}: {verdict.detail}")
    return {
        "good": verdict.verdict == (SURVIVED if one.equivalent else KILLED),
        "verdict": verdict.verdict,
        "by": verdict.by,
        "detail": verdict.detail if verdict.swept else "",
        "passed": verdict.passed,
    }


def _kernel_of(top: Path, name: str, kernel: str) -> str:
    return _mutants(top)[name].kernel or kernel


KIND: Final = Kind("mutants", "mutants", _try, _kernel_of)


def verdicts(items: Mapping[str, Mapping[str, Any]], known: Sequence[Mutant]) -> list[Verdict]:
    """The verdicts in the report of a campaign."""
    return [
        Verdict(one, found["verdict"], found["by"], found["detail"], passed=found["passed"])
        for one in known
        if (found := items.get(one.name))
    ]
