"""Stock Debian kernels with their modules and headers, unpacked into the cache without root.

Standard library only. Run as ``python -m shirq_bench.build.kernel 6.1``: prints the entry's directory.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shirq_bench import cache
from shirq_bench.build.apt import Suites
from shirq_bench.build.steps import BuildError
from shirq_bench.paths import GUEST


@dataclass(frozen=True)
class Kernel:
    """A kernel that guests can boot."""

    #: What users call it, for example ``6.1``.
    name: str
    #: What ``uname -r`` says.
    release: str
    vmlinuz: Path
    #: The tree that holds ``lib/modules/<release>`` with ``modules.dep``.
    modules: Path
    #: The build tree that out-of-tree modules compile against.
    headers: Path


def names() -> list[str]:
    """The names of the kernels that can be asked for."""
    return list(_table())


def _table() -> dict[str, dict[str, Any]]:
    return tomllib.loads((GUEST / "kernels.toml").read_text())


def _unpack(recipe: dict[str, Any], target: Path) -> None:
    suites = Suites(*recipe["suites"])
    image = suites.depends(recipe["image"])[0]
    headers = suites.depends(recipe["headers"])[0]
    build_parts = [p for p in suites.depends(headers) if re.match(r"linux-(headers|kbuild)-", p)]
    root = target / "root"
    suites.unpack([f"{image}-unsigned", headers, *build_parts], root)
    release = image.removeprefix("linux-image-")
    (target / "release").write_text(release)
    # The packages expect to live in /: their links are relative, but this one include is not.
    makefile = root / "usr/src" / headers / "Makefile"
    makefile.write_text(
        makefile.read_text().replace("include /usr/src/", "include $(dir $(lastword $(MAKEFILE_LIST)))../")
    )
    if not (root / "lib").exists():
        (root / "lib").symlink_to("usr/lib")
    shutil.rmtree(root / "usr/share", ignore_errors=True)
    subprocess.run(["/sbin/depmod", "-b", root, release], check=True)


def get(name: str) -> Kernel:
    """The kernel called ``name``, fetched if the cache does not have it. Raises `BuildError` for an unknown name."""
    table = _table()
    if name not in table:
        raise BuildError(f"no kernel {name!r}: there are {', '.join(table)} (guest/kernels.toml)")
    recipe = table[name]
    directory = cache.entry("kernel", f"{name}-{cache.digest(recipe)}", lambda target: _unpack(recipe, target))
    release = (directory / "release").read_text()
    return Kernel(
        name=name,
        release=release,
        vmlinuz=directory / f"root/boot/vmlinuz-{release}",
        modules=directory / "root",
        headers=directory / f"root/usr/src/linux-headers-{release}",
    )


if __name__ == "__main__":
    try:
        print(get(sys.argv[1]))
    except BuildError as error:
        sys.exit(f"shirq: {error}")
