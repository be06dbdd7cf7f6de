"""Compile shirq.ko against a kernel's headers, in a copy of ``kmod/``, into the cache.

For a kernel with GCOV the module counts how often its lines run; the compiler's notes, which tell what the counters
mean, are kept beside it.

Run as ``python -m shirq_bench.build.kmod 6.1``: prints the module's path.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from shirq_bench import cache
from shirq_bench.build import kernel
from shirq_bench.build.steps import BuildError, run
from shirq_bench.paths import KMOD

#: BTF wants a tool and the kernel's own image; nothing here reads it.
NO_BTF = ["CONFIG_DEBUG_INFO_BTF_MODULES="]
#: The option of a kernel that counts the lines of a module that is compiled for it.
COUNTS_LINES = "GCOV_KERNEL"


def build(target: kernel.Kernel, source: Path = KMOD) -> Path:
    """The path of shirq.ko, compiled from the tree ``source`` for ``target``; every compiler warning is an error."""

    counting = ["GCOV_PROFILE=y"] if target.has(COUNTS_LINES) else []

    def fill(directory: Path) -> None:
        work = directory / "kmod"
        shutil.copytree(source, work)
        run(
            f"shirq.ko for {target.release}",
            ["make", "-C", target.headers, f"M={work}", "W=1", "KCFLAGS=-Werror", *NO_BTF, *counting, "modules"],
            log=cache.root() / "kmod.log",
        )
        for product in (work / "shirq.ko", *work.glob("*.gcno")):
            shutil.copy2(product, directory)
        shutil.rmtree(work)

    return cache.entry("kmod", cache.digest(target.release, source, *counting), fill) / "shirq.ko"


if __name__ == "__main__":
    try:
        for name in sys.argv[1:]:
            print(build(kernel.get(name)))
    except BuildError as error:
        sys.exit(f"shirq: {error}")
