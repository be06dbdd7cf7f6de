# SPDX-License-Identifier: MIT
"""Static checks of all kernel modules of the checkout: checkpatch from the kernel's source, sparse, all warnings."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from shirq_bench.paths import KMOD, need_checkout
from shirq_bench.provision import cache, kernel
from shirq_bench.provision.apt import Suites
from shirq_bench.provision.kmod import NO_BTF
from shirq_bench.provision.kmod import sources as own_modules
from shirq_bench.provision.steps import BuildError, run, say

#: The files of the kernel's source that make up checkpatch.
_CHECKPATCH = ["scripts/checkpatch.pl", "scripts/spelling.txt", "scripts/const_structs.checkpatch"]
#: An out-of-tree module must test the kernel version, and checkpatch warns about these tests. A sysfs attribute's name
#: appears twice in the macro that declares it.
_IGNORE = ["LINUX_VERSION_CODE", "CONSTANT_COMPARISON", "MACRO_ARG_REUSE"]
_SOURCE_SUITES = ("bookworm", "bookworm-security")


def _sources() -> list[Path]:
    """The source trees of all modules."""
    top = need_checkout("lint")
    examples = sorted(top.glob("examples/*/driver"))
    return [KMOD, *own_modules(), *examples, *sorted(p.parent for p in top.glob("tests/*/*/Kbuild"))]


def _checkpatch() -> Path:
    def fill(directory: Path) -> None:
        suites = Suites(*_SOURCE_SUITES)
        package = suites.depends("linux-source")[0]
        suites.unpack([package], directory / "package")
        archive = directory / f"package/usr/src/{package}.tar.xz"
        run(
            "checkpatch from the kernel's source",
            ["tar", "-C", directory, "--strip-components=1", "-xf", archive, *(f"{package}/{n}" for n in _CHECKPATCH)],
            log=cache.root() / "lint.log",
        )
        shutil.rmtree(directory / "package")

    return cache.entry("checkpatch", cache.digest(_CHECKPATCH, _SOURCE_SUITES), fill) / _CHECKPATCH[0]


def check_style() -> None:
    """Run checkpatch over the modules' sources. Raises `BuildError` with its output."""
    sources = [p for tree in _sources() for p in sorted(tree.iterdir()) if p.suffix in (".c", ".h")]
    done = subprocess.run(
        [
            _checkpatch(),
            "--no-tree",
            f"--ignore={','.join(_IGNORE)}",
            "--strict",
            "--terse",
            "--no-summary",
            "--quiet",
            "--file",
            *sources,
        ],
        capture_output=True,
        text=True,
    )
    if done.returncode or done.stdout.strip():
        raise BuildError(f"checkpatch has complaints:\n{done.stdout}{done.stderr}")
    say(f"checkpatch: {len(sources)} files are clean")


def check_sparse(target: kernel.Kernel, source: Path) -> None:
    """Compile the modules of ``source`` with sparse and all warnings. Raises `BuildError` with their output."""
    with tempfile.TemporaryDirectory(prefix="shirq-lint-") as work:
        tree = Path(work) / source.name
        shutil.copytree(source, tree)
        done = subprocess.run(
            ["make", "-C", target.headers, f"M={tree}", "W=1", "C=2", "KCFLAGS=-Werror", *NO_BTF, "modules"],
            capture_output=True,
            text=True,
        )
    complaints = [line for line in (done.stdout + done.stderr).splitlines() if "warning:" in line or "error:" in line]
    if done.returncode or complaints:
        raise BuildError(
            f"{source.name}: sparse and W=1 on {target.release}:\n" + "\n".join(complaints or [done.stderr[-2000:]])
        )
    say(f"sparse and W=1: {source.name} is clean on {target.release}")


def check(names: Sequence[str]) -> None:
    """Run both checks, sparse for each of these kernels. Raises `BenchError`."""
    check_style()
    for name in names:
        for tree in _sources():
            check_sparse(kernel.get(name), tree)
