# SPDX-License-Identifier: MIT
"""Where things are: what the package reads travels with it, what it writes goes below the current directory."""

from __future__ import annotations

from pathlib import Path

from shirq_bench.errors import BenchError

#: In a wheel, copies of the checkout's top directories; in the checkout, links to them.
_DATA = Path(__file__).resolve().parent / "data"
QEMU_DEVICE = (_DATA / "qemu-device").resolve()
KMOD = (_DATA / "kmod").resolve()
GUEST = (_DATA / "guest").resolve()
#: Kernel modules of the bench itself, each a folder called like its module.
MODULES = GUEST / "modules"
#: What runs leave: reports, failure artefacts. Relative, so that it is the current project's.
BUILD = Path("build")


def checkout() -> Path | None:
    """The top directory of the checkout that this package runs from, or None if it is installed from a wheel."""
    return KMOD.parent if KMOD.parent != _DATA else None


def need_checkout(what: str) -> Path:
    """The same; raises `BenchError` where there is none. ``what`` is what cannot be done then."""
    if top := checkout():
        return top
    raise BenchError(
        f"{what} needs a git checkout of shirq: {Path(__file__).parent} was installed from a wheel; "
        "run it in a checkout, after `make deps`"
    )
