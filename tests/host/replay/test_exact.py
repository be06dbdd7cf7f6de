# SPDX-License-Identifier: MIT
"""The complete state of a run: its log must be complete, and it has all vCPUs."""

from __future__ import annotations

from pathlib import Path

import pytest

from logwriter import Story, write_log
from shirq_bench.channels.log import Kind, LogReader
from shirq_bench.errors import CannotJudge
from shirq_bench.replay import exact


def test_the_end_of_a_run_is_not_waited_for_in_a_full_log(tmp_path: Path) -> None:
    """The entry that marks the end may have been dropped."""
    told = Story(("dev0",)).add(Kind.SCHEDULED, "dev0", width=exact._STOP)
    path = tmp_path / "events.shirqlog"
    write_log(path, told.devices, told.entries, dropped=7)
    with LogReader(path) as reader:
        assert exact._is_over(reader)
        with pytest.raises(CannotJudge, match="7 entries did not fit"):
            exact._is_over(reader)
