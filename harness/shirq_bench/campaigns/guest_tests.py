# SPDX-License-Identifier: MIT
"""The guests' tests as a campaign of shards: a shard runs the tests of one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from shirq_bench.campaigns import pytests
from shirq_bench.campaigns.items import Kind, Tell
from shirq_bench.errors import BenchError

_FOLDER: Final = Path("tests/guest")
#: Seconds for one file.
_DEADLINE: Final = 3600.0


def items(top: Path, names: Sequence[str] = ()) -> list[str]:
    """The files with tests in a checkout, all or the named ones. `BenchError` names others."""
    known = sorted(str(file.relative_to(top)) for file in (top / _FOLDER).glob("test_*.py"))
    if unknown := [name for name in names if name not in known]:
        raise BenchError(f"{', '.join(unknown)}: no file with guests' tests; such are {known[0]}, {known[1]}, ...")
    return list(names) or known


def _run(top: Path, item: str, kernel: str, tell: Tell) -> Mapping[str, Any]:
    words = [item, "-m", "not long", "--shirq-kernel", kernel, "-p", "no:cacheprovider"]
    try:
        outcomes = {test.name: test.outcome for test in pytests.run(top, words, _DEADLINE)}
    except pytests.NoTestError:
        # All tests of the file take long.
        outcomes = {}
    return {"good": "failed" not in outcomes.values(), "tests": outcomes}


KIND: Final = Kind("tests", "files of tests", _run)
