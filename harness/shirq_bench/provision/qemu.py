# SPDX-License-Identifier: MIT
"""Build QEMU with our device and line probe in it, once, into the cache.

The source tree is Debian's plus ``qemu-device/overlay`` (new files), ``qemu-device/upstream`` (mends of QEMU's own
bugs, each a patch that can be sent to QEMU) and ``qemu-device/patches`` (small changes of QEMU's own files). Every
build applies all of them anew to pristine copies, and writes only files whose content changes. So the step can be
repeated, and ninja rebuilds no more than necessary.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from shirq_bench import toml
from shirq_bench.paths import QEMU_DEVICE
from shirq_bench.provision import cache
from shirq_bench.provision.apt import Suites
from shirq_bench.provision.steps import BuildError, run
from shirq_bench.toml import Words

_OVERLAY = QEMU_DEVICE / "overlay"
_UPSTREAM = QEMU_DEVICE / "upstream"
_PATCHES = QEMU_DEVICE / "patches"


@dataclass(frozen=True)
class _Recipe:
    """See ``recipe.toml``."""

    suite: str
    source: str
    python: Words
    devices: str
    configure: Words
    firmware_packages: Words
    firmware: Words


def _recipe() -> _Recipe:
    return toml.read(_Recipe, QEMU_DEVICE / "recipe.toml")


def _source() -> tuple[_Recipe, str]:
    """The recipe, and the version of its source package that the mirror has."""
    recipe = _recipe()
    return recipe, Suites(recipe.suite).source_version(recipe.source)


def upstream_patches() -> list[Path]:
    """The mends of QEMU's own bugs, in the order in which they are applied."""
    return sorted(_UPSTREAM.glob("*.patch"))


def _changes() -> list[Path]:
    """All that differs from Debian's source."""
    return [_OVERLAY, _UPSTREAM, _PATCHES]


def _place(source: Path, target: Path) -> None:
    """Copy ``source`` over ``target`` unless it already has the same content."""
    if target.exists() and target.read_bytes() == source.read_bytes():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def apply_device(tree: Path) -> None:
    """Bring ``tree`` to Debian's source plus our overlay and patches."""
    apply(tree, _OVERLAY, [*upstream_patches(), *sorted(_PATCHES.glob("*.patch"))])


def apply(tree: Path, overlay: Path | None, patches: Sequence[Path]) -> None:
    """Bring ``tree`` to exactly Debian's source plus ``overlay`` and ``patches``, whatever was applied before.

    Raises `BuildError` if a patch does not apply, or a new file would replace a file of QEMU.
    """
    pristine = tree / ".shirq-pristine"
    manifest = tree / ".shirq-overlay"
    previous = set(manifest.read_text().splitlines()) if manifest.exists() else set()
    texts = [patch.read_text() for patch in patches]
    placed = {str(p.relative_to(overlay)) for p in cache.tree(overlay)} if overlay else set()
    created = {m for text in texts for m in re.findall(r"^--- /dev/null\n\+\+\+ b/(\S+)", text, re.M)}
    for name in previous - placed - created:
        (tree / name).unlink(missing_ok=True)
    for name in sorted(placed | created):
        if name not in previous and (tree / name).exists():
            raise BuildError(f"the new file {name} would replace a file of QEMU: change such a file by a patch")
        if overlay and name in placed:
            _place(overlay / name, tree / name)
    manifest.write_text("".join(f"{name}\n" for name in sorted(placed | created)))

    touched = {m for text in texts for m in re.findall(r"^\+\+\+ b/(\S+)", text, re.M)} - created
    for name in touched:
        if not (pristine / name).exists():
            _place(tree / name, pristine / name)
    scratch = tree / ".shirq-patched"
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(pristine, scratch) if pristine.exists() else scratch.mkdir()
    for patch in patches:
        done = subprocess.run(
            # Apply without fuzz: a patch whose context has changed must be reviewed.
            ["patch", "-p1", "-F0", "--no-backup-if-mismatch", "-i", patch],
            cwd=scratch,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise BuildError(f"{patch.name} does not apply to this QEMU:\n{done.stdout}{done.stderr}")
    for path in cache.tree(scratch):
        _place(path, tree / path.relative_to(scratch))
    shutil.rmtree(scratch)


def _venv(directory: Path, packages: Sequence[str], log: Path) -> Path:
    python = directory / "bin/python"
    stamp = directory / "complete"
    if not stamp.exists():
        run("build environment", [sys.executable, "-m", "venv", "--clear", directory], log=log)
        run("meson", [python, "-m", "pip", "install", "-q", *packages], log=log, deadline=600)
        stamp.touch()
    return python


def _unpack(recipe: _Recipe, version: str, work: Path) -> None:
    """Make ``work``/src the source of ``version``, unless it is up to date."""
    stamp = work / "unpacked"
    if stamp.exists() and stamp.read_text() == version:
        return
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    fetched = Suites(recipe.suite).source(recipe.source, work)
    if fetched != version:
        raise BuildError(f"the mirror has {recipe.source} {fetched} now instead of {version}: build again")
    stamp.write_text(version)


def _configure(command: list[str], log: Path, build: Path) -> None:
    """Configure QEMU in ``build``, unless that was done by the same command."""
    stamp = build / "configured"
    if (build / "build.ninja").exists() and stamp.exists() and stamp.read_text() == shlex.join(command):
        return
    shutil.rmtree(build, ignore_errors=True)
    build.mkdir()
    run("configuring QEMU", command, log=log, cwd=build)
    stamp.write_text(shlex.join(command))


@contextlib.contextmanager
def compiled(
    variant: str,
    extra: Sequence[str] = (),
    *,
    of: str = "",
    devices: str = "",
    apply_to: Callable[[Path], None] = apply_device,
    targets: Sequence[str] = ("qemu-system-x86_64",),
    source: tuple[_Recipe, str] | None = None,
) -> Iterator[Path]:
    """Bring a working tree up to date by ``apply_to`` and compile ``targets``; yields the build directory.

    No other process changes the tree during the block. ``of`` names a tree of its own, ``devices`` its list of devices,
    by default the recipe's. For ``variant`` and ``extra`` see `build`.
    """
    recipe, version = source or _source()
    key = cache.digest(asdict(recipe)) + of
    # Another path would configure the tree anew, and a cache that shares the tree has another path to it.
    work = (cache.root() / "qemu-work").resolve() / key
    log = work / f"{variant}.log"
    with cache.lock(f"qemu-work-{key}"):
        tree = work / "src"
        _unpack(recipe, version, work)
        python = _venv(work / "venv", recipe.python, log)
        apply_to(tree)
        build = work / f"build-{variant}"
        options = [*recipe.configure, f"--with-devices-x86_64={devices or recipe.devices}", *extra]
        _configure([str(tree / "configure"), f"--python={python}", *options], log, build)
        run("compiling QEMU", ["ninja", *targets], log=log, cwd=build)
        yield build


def build(variant: str = "plain", extra: Sequence[str] = ()) -> Path:
    """The emulator's path; builds it if the cache has none of this version, recipe, overlay, patches and variant.

    ``extra`` are further configure arguments; ``variant`` is a name for them.
    """
    recipe, version = _source()

    def fill(target: Path) -> None:
        with compiled(variant, extra, source=(recipe, version)) as built:
            shutil.copy2(built / "qemu-system-x86_64", target)
        data = target / "unpacked"
        Suites(recipe.suite).unpack(recipe.firmware_packages, data)
        (target / "firmware").mkdir()
        for name in recipe.firmware:
            shutil.copy2(data / name, target / "firmware")
        shutil.rmtree(data)

    return cache.entry("qemu", _key(recipe, version, variant, extra), fill) / "qemu-system-x86_64"


def _key(recipe: _Recipe, version: str, variant: str, extra: Sequence[str]) -> str:
    return cache.digest(asdict(recipe), version, variant, list(extra), *_changes())


@dataclass(frozen=True)
class Versions:
    """The exact versions in an emulator: of Debian's source package, and hashes of our changes and of its firmware."""

    source: str
    device: str
    firmware: str


def versions(emulator: Path) -> Versions:
    """The versions of an emulator that `build` or `cached` returned."""
    recipe, version = _source()
    firmware = emulator.parent / "firmware"
    return Versions(
        f"{recipe.source} {version} ({recipe.suite})",
        cache.digest(*_changes()),
        cache.digest(firmware) if firmware.is_dir() else "none",
    )


def cached() -> Path | None:
    """The emulator's path, or None if it would have to be built."""
    recipe = _recipe()
    suites = Suites(recipe.suite)
    if not suites.known:
        return None
    version = suites.source_version(recipe.source)
    path = cache.root() / "qemu" / _key(recipe, version, "plain", ()) / "qemu-system-x86_64"
    return path if path.exists() else None
