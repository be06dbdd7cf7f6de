# SPDX-License-Identifier: MIT
"""Runs small test suites in pytest processes of their own, as a user of the plugin does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from interruptible import INTERRUPTIBLE
from shirq_bench.provision import cache
from shirq_bench.vm.vm import parts


def arrange(directory: Path, tests: str) -> None:
    """Make ``directory`` a pytest project with these tests."""
    (directory / "pytest.ini").write_text(
        "[pytest]\naddopts = -p shirq_bench.plugin --strict-markers -p no:cacheprovider\n"
    )
    (directory / "test_suite.py").write_text(tests)


def start(directory: Path, *options: str, **environment: str) -> subprocess.Popen[str]:
    """Start pytest in the project, with its output in a pipe."""
    return subprocess.Popen(
        [*INTERRUPTIBLE, sys.executable, "-m", "pytest", *options],
        cwd=directory,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run(directory: Path, *options: str, **environment: str) -> tuple[int, str]:
    """Run pytest in the project; returns its status and output."""
    process = start(directory, *options, **environment)
    try:
        said, _ = process.communicate(timeout=1800)
    finally:
        process.kill()
    return process.returncode, said


def without_templates(directory: Path, kernel: str) -> dict[str, str]:
    """Return environment variables that select a cache with all that ``kernel`` needs, except templates."""
    accelerator = parts(kernel).accelerator.name
    cache.share(directory, cache.FETCHED + cache.COMPILED)
    return {"SHIRQ_CACHE": str(directory), "SHIRQ_ACCEL": accelerator}
