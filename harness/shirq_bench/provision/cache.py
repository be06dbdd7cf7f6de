# SPDX-License-Identifier: MIT
"""A content-addressed cache for expensive builds: QEMU, kernels, images, templates.

An entry is a directory ``<root>/<kind>/<key>`` that is complete or absent: it is built in a sibling directory and
renamed into place. The key is a hash over everything the entry depends on, so an entry with outdated inputs is never
looked up again. Two builders of the same entry queue on a lock file instead of building twice.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from shirq_bench import supervisor
from shirq_bench.errors import BenchError

#: The file that is written last into every entry, with the sizes of the entry's files.
_MANIFEST = ".manifest"
#: Kinds of entries without kernel modules and guest files of the checkout; and the folder of all locks.
FETCHED = (
    *("accel", "apt", "checkpatch", "debian-root", "image-base", "image-packages", "kernel", "locks", "qemu"),
    *("pynq", "qemu-work", "ssh"),
)
#: Kinds of entries with kernel modules or guest files that were compiled or copied from the checkout.
COMPILED = ("image", "image-layer", "image-overlay", "image-programs", "kmod")


def root() -> Path:
    """The cache's directory: ``$SHIRQ_CACHE``, else ``shirq`` in the user's cache directory."""
    if explicit := os.environ.get("SHIRQ_CACHE"):
        return Path(explicit).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser().absolute() / "shirq"


def share(other: Path, kinds: Iterable[str]) -> None:
    """Make the directory ``other`` a cache that has these ``kinds`` in common with this one."""
    other.mkdir(exist_ok=True)
    for kind in kinds:
        (root() / kind).mkdir(parents=True, exist_ok=True)
        (other / kind).symlink_to(root() / kind)


def name(path: Path) -> str:
    """The kind and key of the entry that contains ``path``, for other keys: they are the same in every cache."""
    return f"{path.parent.parent.name}/{path.parent.name}"


def digest(*parts: object) -> str:
    """A short hash (16 hex digits) of JSON-serialisable values; paths are hashed by name and content."""
    sha = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            for path in sorted(tree(part)):
                sha.update(f"{path.relative_to(part.parent)}\0{path.stat().st_mode & 0o111:o}\0".encode())
                sha.update(hashlib.sha256(path.read_bytes()).digest())
        else:
            sha.update(json.dumps(part, sort_keys=True).encode())
        sha.update(b"\1")
    return sha.hexdigest()[:16]


def tree(path: Path) -> Iterable[Path]:
    """The regular files of a tree (or the file itself), without Python's caches and editors' backup files."""
    if path.is_file():
        return [path]
    return [p for p in path.rglob("*") if p.is_file() and "__pycache__" not in p.parts and not p.name.endswith("~")]


@contextlib.contextmanager
def lock(name: str) -> Iterator[None]:
    """Hold the cache-wide lock ``name``; the kernel drops it if the holder dies."""
    path = root() / "locks" / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def lock_if_free(name: str) -> Iterator[bool]:
    """Try to hold the lock ``name`` during the block; the value says whether this succeeded."""
    path = root() / "locks" / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


class CacheError(BenchError):
    """An entry cannot be built; the message gives the entry, the reason and the remedy."""


def used(path: Path) -> None:
    """Note that ``path`` is used now, for `gc`. A cache that is read-only has no use for the time."""
    with contextlib.suppress(OSError):
        os.utime(path)


def entry(kind: str, key: str, build: Callable[[Path], None]) -> Path:
    """The directory of entry ``kind/key``. Calls ``build(directory)`` to fill it if the cache does not have the entry.

    A build that fails or is killed leaves no entry; a full disk is a `CacheError`. An entry whose files have been
    truncated or lost is built anew. Other processes may call this at the same time.
    """
    final = root() / kind / key
    if not _damage(final):
        used(final)
        return final
    with lock(f"{kind}-{key}"):
        if damage := _damage(final):
            if final.exists():
                print(f"shirq: cache entry {kind}/{key} is damaged ({damage}): building it again", file=sys.stderr)
            _make(final, build)
    return final


def _make(final: Path, build: Callable[[Path], None]) -> None:
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        prefix = f".partial-{final.name}-"
        # Delete the remains of crashed builds: the lock is held, so no other process builds this entry.
        for left in final.parent.glob(f"{glob.escape(prefix)}*"):
            shutil.rmtree(left)
        with supervisor.owned_directory(prefix, final.parent) as partial:
            build(partial)
            (partial / _MANIFEST).write_text(json.dumps(_sizes(partial)))
            partial.chmod(0o755)
            if final.exists():
                shutil.rmtree(final)
            partial.rename(final)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        free = shutil.disk_usage(root()).free >> 20
        raise CacheError(
            f"no space left in the cache {root()} for {final.parent.name}/{final.name} ({free} MiB free): "
            "make room there, or point SHIRQ_CACHE elsewhere"
        ) from error


def _sizes(directory: Path) -> dict[str, int]:
    """The sizes of the files directly in an entry. Its subdirectories are too large to be checked at every use."""
    return {p.name: p.stat().st_size for p in directory.iterdir() if p.is_file() and p.name != _MANIFEST}


def _damage(directory: Path) -> str:
    """The defect of an entry that should be complete; empty if there is none."""
    try:
        wanted = json.loads((directory / _MANIFEST).read_text())
    except (OSError, ValueError):
        return f"no readable {_MANIFEST}"
    found = _sizes(directory)
    wrong = [
        f"{name} has {found.get(name, 0)} bytes, not {size}" for name, size in wanted.items() if found.get(name) != size
    ]
    return ", ".join(wrong)
