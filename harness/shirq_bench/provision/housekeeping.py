# SPDX-License-Identifier: MIT
"""Lists the contents of the cache, and deletes entries that are not needed.

Entries are kept while they are being built (their lock is held), while a running process of this user names them on its
command line or has them open or mapped, and for an hour after their last use.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from shirq_bench.provision import cache

_RECENT = 3600.0
_PARTIAL = ".partial-"
_TRASH = ".trash-"


@dataclass(frozen=True)
class Item:
    """An entry of the cache, the remains of an interrupted build (``partial``), or a log.

    ``age`` is in seconds since it was last built, used or written to; ``size`` is its size on the disk, in bytes.
    """

    kind: str
    path: Path
    age: float
    size: int
    partial: bool = False

    @property
    def name(self) -> str:
        return str(self.path.relative_to(cache.root()))

    @property
    def lock(self) -> str:
        """The name of the lock that is held while the item is being built."""
        key = self.path.name
        if self.partial:
            # The name is the key and a suffix that makes the directory's name unique.
            key = key.removeprefix(_PARTIAL).removeprefix(_TRASH).rpartition("-")[0]
        return f"{self.kind}-{key}"


def items(kind: str = "") -> list[Item]:
    """The contents of the cache, of one kind or all, by name."""
    root = cache.root()
    now = time.time()
    found = []
    for path in sorted(root.glob(f"{kind or '*'}/*")) + ([] if kind else sorted(root.glob("*.log"))):
        if path.parent.name == "locks":
            continue
        with contextlib.suppress(FileNotFoundError):  # another process may be working there
            kind_of = "log" if path.parent == root else path.parent.name
            partial = path.name.startswith((_PARTIAL, _TRASH))
            found.append(Item(kind_of, path, now - _last_used(path), _size(path), partial))
    return found


def _last_used(path: Path) -> float:
    """The latest mtime of the item and of the files in it: a working directory's logs show when it was last used."""
    times: list[float] = [p.lstat().st_mtime for p in (path, *(path.iterdir() if path.is_dir() else ()))]
    return max(times)


def _size(path: Path) -> int:
    if not path.is_dir():
        return path.lstat().st_blocks * 512
    total, seen = 0, set()
    for directory, _, files in os.walk(path):
        for name in files:
            with contextlib.suppress(FileNotFoundError):
                status = os.lstat(f"{directory}/{name}")
                if status.st_ino not in seen:
                    seen.add(status.st_ino)
                    total += status.st_blocks * 512
    return total


def unused(older_than: float) -> list[Item]:
    """The items to delete: those not used for ``older_than`` days, and partial builds without a builder."""
    taken = _taken()
    return [item for item in items() if _limit(item, older_than) < item.age and not _in_use(item, taken)]


def _limit(item: Item, older_than: float) -> float:
    return _RECENT if item.partial else max(older_than * 86400, _RECENT)


def _in_use(item: Item, taken: str) -> bool:
    if f"{item.path}/" in taken or f"{item.path}\n" in taken:
        return True
    with cache.lock_if_free(item.lock) as free:
        return not free


def _taken() -> str:
    """Every path in the cache that a running process names, has open or has mapped, one per line.

    This reads /proc itself, because psutil does not report open directories, and measures every mapping before it
    reports the path.
    """
    root = str(cache.root())
    lines = []
    for process in Path("/proc").glob("[0-9]*"):
        # Processes may end meanwhile, and those of other users cannot be inspected.
        with contextlib.suppress(OSError):
            said = (process / "cmdline").read_bytes().replace(b"\0", b"\n") + (process / "maps").read_bytes()
            opened = [str(link.readlink()) for link in _links(process)]
            lines += [line for line in (*said.decode(errors="replace").splitlines(), *opened) if root in line]
    return "".join(f"{line}\n" for line in lines)


def _links(process: Path) -> Iterator[Path]:
    yield process / "exe"
    yield process / "cwd"
    with contextlib.suppress(OSError):
        yield from (process / "fd").iterdir()


def delete(item: Item) -> bool:
    """Delete the item unless it has been used since it was listed; returns whether it was deleted.

    The item is first renamed, so that builders do not find it while it is being deleted.
    """
    with cache.lock_if_free(item.lock) as free:
        try:
            if not free or time.time() - _last_used(item.path) < min(item.age, _RECENT):
                return False
            if not item.path.is_dir():
                item.path.unlink()
                return True
            trash = Path(tempfile.mkdtemp(prefix=f"{_TRASH}{item.path.name}-", dir=item.path.parent))
            item.path.rename(trash)
        except FileNotFoundError:
            return False
        shutil.rmtree(trash)
    return True
