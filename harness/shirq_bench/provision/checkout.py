# SPDX-License-Identifier: MIT
"""What git knows of a folder: its files, and the commit that it is of."""

from __future__ import annotations

import subprocess
from pathlib import Path

from shirq_bench.errors import BenchError


def files(top: Path) -> list[Path]:
    """The files below ``top`` that git does not ignore, relative to it, sorted; those that are deleted are left out.

    Links count as files. `BenchError` outside of a git checkout.
    """
    listed = _git(top, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    names = {name for name in listed.split("\0") if name}
    return [Path(name) for name in sorted(names) if (top / name).is_file() or (top / name).is_symlink()]


def commit(top: Path) -> str:
    """The hash of the commit of ``top``. `BenchError` outside of a git checkout, and before the first commit."""
    return _git(top, "rev-parse", "HEAD").strip()


def describe(top: Path) -> str:
    """The commit of ``top``; with "and changes", if files differ from it. `BenchError` as `commit`."""
    return commit(top) + (" and changes" if _git(top, "status", "--porcelain", "--", ".").strip() else "")


def _git(top: Path, *words: str) -> str:
    try:
        done = subprocess.run(["git", "-C", top, *words], capture_output=True)
    except FileNotFoundError as error:
        raise BenchError(f"git is not installed, which knows the files and the commit of {top}") from error
    if done.returncode:
        raise BenchError(f"{top} must be a git checkout: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout.decode(errors="surrogateescape")
