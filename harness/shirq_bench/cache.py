"""A content-addressed cache for what is expensive: QEMU, kernels, images, templates.

An entry is a directory ``<root>/<kind>/<key>`` that is complete or absent: it is built in a sibling directory and
renamed into place. The key is a hash over everything the entry depends on, so a stale entry is simply never asked
for again. Two builders of the same entry queue on a lock file instead of building twice.

Standard library only: it runs before the project's virtual environment exists.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path


def root() -> Path:
    """The cache's directory: ``$SHIRQ_CACHE``, else ``shirq`` in the user's cache directory."""
    if explicit := os.environ.get("SHIRQ_CACHE"):
        return Path(explicit).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser().absolute() / "shirq"


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
    """The regular files of a tree (or the one file), without Python's and editors' leavings."""
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


def entry(kind: str, key: str, build: Callable[[Path], None]) -> Path:
    """The directory of entry ``kind/key``; calls ``build(directory)`` to fill it if it is not there yet.

    A build that raises leaves nothing behind. Safe against concurrent callers in other processes.
    """
    final = root() / kind / key
    if final.is_dir():
        os.utime(final)  # what `gc` goes by
        return final
    with lock(f"{kind}-{key}"):
        if final.is_dir():
            return final
        final.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".partial-{key}-", dir=final.parent))
        try:
            build(partial)
            partial.chmod(0o755)
            partial.rename(final)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    return final
