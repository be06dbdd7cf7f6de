# SPDX-License-Identifier: MIT
"""Compile copies of shirq.ko, the bench's modules and others against a kernel's headers, into the cache.

For a kernel with GCOV the module counts how often its lines run; the compiler's notes, which map the counters to lines,
are kept beside the module. For a kernel with KCOV, the module reports the code that a system call has reached.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from shirq_bench.paths import KMOD, MODULES
from shirq_bench.provision import cache, kernel
from shirq_bench.provision.steps import BuildError, run

#: Build without BTF: nothing here uses it, and making it would need a tool and the kernel's own image.
NO_BTF = ["CONFIG_DEBUG_INFO_BTF_MODULES="]
#: The option of a kernel whose modules count how often their lines run.
COUNTS_LINES = "GCOV_KERNEL"
#: Arguments of make for kernel options that the module must be built with, too.
_INSTRUMENTS = {COUNTS_LINES: "GCOV_PROFILE=y", "KCOV": "KCOV_INSTRUMENT=y"}

#: Files that an in-tree build leaves in the source, perhaps for another kernel.
_LEAVINGS = ("*.o", "*.ko", "*.mod", "*.mod.c", "*.cmd", "Module.symvers", "modules.order", "__pycache__", "*~")
#: What a build leaves out; a change of a document makes no module, and so no guest, anew.
_left = shutil.ignore_patterns(*_LEAVINGS, "*.md")
#: Every compiler warning is an error.
_STRICT = ("W=1", "KCFLAGS=-Werror")


def build(target: kernel.Kernel, source: Path = KMOD) -> Path:
    """The path of shirq.ko, compiled from the tree ``source`` for ``target``; every compiler warning is an error."""
    return build_modules(target, source, _STRICT) / "shirq.ko"


def sources() -> list[Path]:
    """The trees of the bench's own modules."""
    return sorted(path.parent for path in MODULES.glob("*/Kbuild"))


def build_own(target: kernel.Kernel) -> list[Path]:
    """The bench's own modules for ``target``."""
    return [build_modules(target, source, _STRICT) / f"{source.name}.ko" for source in sources()]


def files(source: Path) -> Iterator[Path]:
    """The files that a build copies. Links to directories are followed, because `shutil.copytree` follows them."""
    for folder, folders, names in os.walk(source, followlinks=True):
        left = _left(folder, folders + names)
        folders[:] = set(folders) - left
        yield from (Path(folder, name) for name in set(names) - left)


def content(source: Path) -> list[tuple[str, str]]:
    """The files of a module's source that a build copies, each with a hash of its content, for keys."""
    return [(str(path.relative_to(source)), cache.digest(path)) for path in sorted(files(source))]


def require_source(folder: Path) -> None:
    """Raise `BuildError` if a folder does not hold the source of a kernel module."""
    if not any((folder / name).exists() for name in ("Kbuild", "Makefile")):
        raise BuildError(f"{folder} holds neither a Kbuild nor a Makefile, so it is not the source of a module")


def build_modules(target: kernel.Kernel, source: Path, options: Sequence[str] = ()) -> Path:
    """A directory with every module that the Kbuild or Makefile in ``source`` makes for ``target``.

    ``options`` are further arguments of make. Raises `BuildError` with the compiler's output.
    """
    require_source(source)
    instruments = [argument for option, argument in _INSTRUMENTS.items() if target.has(option)]

    def fill(directory: Path) -> None:
        work = directory / "work"
        shutil.copytree(source, work, ignore=_left)
        run(
            f"modules of {source.name} for {target.release}",
            ["make", "-C", target.headers, f"M={work}", *options, *NO_BTF, *instruments, "modules"],
            log=cache.root() / "kmod.log",
        )
        made = sorted(work.rglob("*.ko"))
        if not made:
            raise BuildError(f"{source} made no module: its Kbuild needs a line like `obj-m := NAME.o`")
        for product in (*made, *work.glob("*.gcno")):
            shutil.copy2(product, directory)
        shutil.rmtree(work)

    key = cache.digest(target.identity, [*options, *instruments], content(source))
    return cache.entry("kmod", key, fill)
