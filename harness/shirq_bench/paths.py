# SPDX-License-Identifier: MIT
"""The paths that the package uses: input files are part of the package, output goes below the current directory."""

from __future__ import annotations

from pathlib import Path

from shirq_bench.errors import BenchError

#: In a wheel, copies of the checkout's top directories; in the checkout, links to them.
_DATA = Path(__file__).resolve().parent / "data"
QEMU_DEVICE = (_DATA / "qemu-device").resolve()
KMOD = (_DATA / "kmod").resolve()
GUEST = (_DATA / "guest").resolve()
#: Kernel modules of the bench itself, each in a folder with the module's name.
MODULES = GUEST / "modules"
#: Output of runs: reports, failure artefacts. Relative, so that it belongs to the current project.
BUILD = Path("build")


def checkout() -> Path | None:
    """The top directory of the checkout that this package runs from, or None if it is installed from a wheel."""
    return KMOD.parent if KMOD.parent != _DATA else None


def need_checkout(what: str) -> Path:
    """The top directory of the checkout; raises `BenchError` if there is none. ``what`` is the action that needs it."""
    if top := checkout():
        return top
    raise BenchError(
        f"{what} needs a git checkout of shirq: {Path(__file__).parent} was installed from a wheel; "
        "run it in a checkout, after `make deps`"
    )


def require_own(folder: Path, mark: Path) -> None:
    """Raise `BenchError` if a run would replace a user's files: ``folder`` has some, and ``mark`` does not exist.

    ``mark`` is a file that the bench leaves when it makes such a folder.
    """
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if (folder.exists() or folder.is_symlink()) and not mark.exists():
        raise BenchError(f"{folder} exists, was not made by such a run, and would be replaced: give another folder")
