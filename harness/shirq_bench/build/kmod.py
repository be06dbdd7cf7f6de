"""Compile shirq.ko and the bench's own modules against a kernel's headers, in copies of their trees, into the cache.

Run as ``python -m shirq_bench.build.kmod 6.1``: prints the modules' paths, shirq.ko's first.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from shirq_bench import cache
from shirq_bench.build import kernel
from shirq_bench.build.steps import BuildError, run
from shirq_bench.paths import KMOD, MODULES

#: BTF wants a tool and the kernel's own image; nothing here reads it.
NO_BTF = ["CONFIG_DEBUG_INFO_BTF_MODULES="]


def build(target: kernel.Kernel, source: Path = KMOD, name: str = "shirq") -> Path:
    """The path of ``name``.ko, compiled from the tree ``source`` for ``target``; every compiler warning is an error."""

    def fill(directory: Path) -> None:
        work = directory / "source"
        shutil.copytree(source, work)
        run(
            f"{name}.ko for {target.release}",
            ["make", "-C", target.headers, f"M={work}", "W=1", "KCFLAGS=-Werror", *NO_BTF, "modules"],
            log=cache.root() / "kmod.log",
        )
        shutil.copy2(work / f"{name}.ko", directory)
        shutil.rmtree(work)

    return cache.entry("kmod", cache.digest(target.release, source), fill) / f"{name}.ko"


def sources() -> list[Path]:
    """The trees of the bench's own modules."""
    return sorted(path.parent for path in MODULES.glob("*/Kbuild"))


def build_own(target: kernel.Kernel) -> list[Path]:
    """The bench's own modules for ``target``."""
    return [build(target, source, source.name) for source in sources()]


if __name__ == "__main__":
    try:
        for name in sys.argv[1:]:
            target = kernel.get(name)
            print(build(target), *build_own(target), sep="\n")
    except BuildError as error:
        sys.exit(f"shirq: {error}")
