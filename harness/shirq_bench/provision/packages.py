# SPDX-License-Identifier: MIT
"""The project's packages: sdists and wheels of the bench and of the binding, and the Debian packages made from them.

Two builds of the same sources with the same tools give the same bytes. Every time in a package is SOURCE_DATE_EPOCH or,
if that is not set, the time of the last commit; every mode is set here; nothing else depends on the machine. The Debian
packages are staged here and packed by dpkg-deb. Their control files and maintainer scripts are in the checkout's
``packages/``.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path

from shirq_bench import supervisor
from shirq_bench.paths import BUILD, need_checkout
from shirq_bench.provision import cache
from shirq_bench.provision.steps import BuildError, run

#: Where the packages go.
PACKAGES = BUILD / "packages"
#: Debian packages compress documents that are larger than this, and changelogs always.
_COMPRESSED_ABOVE = 4096
_PLACEHOLDER = re.compile(r"@([A-Z_]+)@")
#: The module's source, without the files that an in-tree build leaves there.
_MODULE = ("*.c", "*.h", "Kbuild", "Makefile", "dkms.conf")
_NOT_MODULE = ("*.mod.c",)


@dataclass(frozen=True)
class _Build:
    """The properties that all packages of one build share."""

    top: Path
    version: str
    #: The mtime of every file, in seconds since 1970.
    epoch: int
    #: Where finished packages go.
    into: Path
    #: Where trees are staged.
    work: Path

    def run(self, what: str, argv: Sequence[str | Path], cwd: Path | None = None) -> None:
        environment = {"SOURCE_DATE_EPOCH": str(self.epoch)}
        run(what, argv, log=cache.root() / "packages.log", cwd=cwd, env=environment, deadline=600)


def build() -> list[Path]:
    """Build every package anew into `PACKAGES`, which is replaced. Returns their paths.

    Raises `BenchError` outside a checkout, or if something that the build needs is missing or fails.
    """
    top = need_checkout("building packages")
    _check_tools()
    stated, epoch = version(top), source_date_epoch(top)
    PACKAGES.parent.mkdir(parents=True, exist_ok=True)
    with supervisor.owned_directory(".packages-", PACKAGES.parent) as work:
        made = work / "made"
        made.mkdir()
        this = _Build(top, stated, epoch, made.absolute(), work)
        _distributions(this, "shirq-bench", top)
        _distributions(this, "shirq", top / "guest")
        _debian(this, "shirq-dkms", _fill_dkms)
        _debian(this, "python3-shirq", _fill_binding)
        made.chmod(0o755)
        if PACKAGES.exists():
            shutil.rmtree(PACKAGES)
        made.rename(PACKAGES)
    return sorted(PACKAGES.iterdir())


def _check_tools() -> None:
    if not shutil.which("dpkg-deb"):
        raise BuildError("building packages needs dpkg-deb, which this machine lacks: install the package dpkg")
    if not importlib.util.find_spec("hatchling"):
        raise BuildError(f"building packages needs hatchling, which {sys.executable} does not find: run `make deps`")


def source_date_epoch(top: Path) -> int:
    """The mtime in packages of the checkout ``top``: SOURCE_DATE_EPOCH, else the time of the last commit."""
    if (said := os.environ.get("SOURCE_DATE_EPOCH")) is not None:
        if not said.isdecimal():
            raise BuildError(f"SOURCE_DATE_EPOCH is {said!r}: it must be a number of seconds since 1970")
        return int(said)
    advice = f"the time of the packages is unknown, because {top} has no commit; set SOURCE_DATE_EPOCH"
    try:
        done = subprocess.run(["git", "-C", top, "log", "-1", "--format=%ct"], capture_output=True, text=True)
    except FileNotFoundError as error:
        raise BuildError(f"git is not installed: {advice}") from error
    if done.returncode or not done.stdout.strip():
        raise BuildError(f"{done.stderr.strip() or 'git has no commit'}: {advice}")
    return int(done.stdout)


def version(top: Path) -> str:
    """The version of all packages. Raises `BuildError` if the files that state it disagree."""
    stated: dict[str, str] = {
        "pyproject.toml": tomllib.loads((top / "pyproject.toml").read_text())["project"]["version"]
    }
    for name, pattern in (
        ("guest/shirq/__init__.py", r'^__version__ = "(.+)"$'),
        ("kmod/dkms.conf", r'^PACKAGE_VERSION="(.+)"$'),
    ):
        found = re.search(pattern, (top / name).read_text(), re.MULTILINE)
        if not found:
            raise BuildError(f"{top / name} states no version: a line like {pattern} is missing")
        stated[name] = found[1]
    if len(set(stated.values())) > 1:
        listed = ", ".join(f"{name}: {value}" for name, value in stated.items())
        raise BuildError(f"the packages have one version, but these files disagree: {listed}")
    return stated["pyproject.toml"]


def _distributions(this: _Build, name: str, source: Path) -> None:
    """The sdist and the wheel of the project in ``source``."""
    hatch = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-t", "wheel"]
    this.run(f"sdist and wheel of {name}", [*hatch, "-d", this.into], cwd=source)


# ------------------------------------------------------------------- Debian


def _debian(this: _Build, name: str, fill: Callable[[_Build, Path], None]) -> None:
    """The Debian package ``name``: ``fill`` puts its own files into the tree that it is packed from."""
    recipe = this.top / "packages" / name
    values = {
        "VERSION": this.version,
        "MIT": _paragraph((this.top / "LICENSES/MIT.txt").read_text()),
        "SYSCALL_NOTE": _paragraph((this.top / "LICENSES/Linux-syscall-note.txt").read_text()),
    }
    root = this.work / name
    control = root / "DEBIAN"
    control.mkdir(parents=True)
    fill(this, root)
    _document(root, name, "copyright", _filled(recipe / "copyright", values).encode(), compressed=False)
    _document(root, name, "CHANGELOG.md", (this.top / "CHANGELOG.md").read_bytes())
    _document(root, name, "changelog", _changelog(this).encode(), compressed=True)
    packed = sorted(path for path in root.rglob("*") if path.is_file())
    sums = "".join(f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(root)}\n" for path in packed)
    (control / "md5sums").write_text(sums)
    size = sum(-(-path.stat().st_size // 1024) for path in packed)
    (control / "control").write_text(f"{_filled(recipe / 'control', values)}Installed-Size: {size}\n")
    for script in ("postinst", "prerm"):
        (control / script).write_text(_filled(recipe / script, values))
    _normalise(root, this.epoch)
    # Use one thread and a fixed compression: both affect the bytes, and their defaults differ between machines.
    options = ["--root-owner-group", "-Zxz", "--threads-max=1"]
    target = this.into / f"{name}_{this.version}_all.deb"
    this.run(f"Debian package {name}", ["dpkg-deb", *options, "--build", root, target])


def _fill_dkms(this: _Build, root: Path) -> None:
    for path in _module_files(this.top / "kmod"):
        _write(root / f"usr/src/shirq-{this.version}" / path.name, path.read_bytes())
    for name in ("README.md", "SECURITY.md"):
        _document(root, "shirq-dkms", name, (this.top / "kmod" / name).read_bytes())


def _fill_binding(this: _Build, root: Path) -> None:
    """Fill the tree from the wheel, so that the wheel and the Debian package have the same files."""
    (wheel,) = this.into.glob("shirq-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            # Skip the licence, which is in Debian's copyright file, and RECORD: with it, pip could remove dpkg's files.
            if ".dist-info/licenses/" not in name and not name.endswith(".dist-info/RECORD"):
                _write(root / "usr/lib/python3/dist-packages" / name, archive.read(name))
    _write(root / "usr/bin/shirqctl", (this.top / "guest/tools/shirqctl").read_bytes())
    manual = _filled(this.top / "packages/python3-shirq/shirqctl.1", {"VERSION": this.version})
    _write(root / "usr/share/man/man1/shirqctl.1.gz", gzip.compress(manual.encode(), 9, mtime=0))
    for name, folder in (
        ("shirq-uio@.service", "usr/lib/systemd/system"),
        ("70-shirq-uio.rules", "usr/lib/udev/rules.d"),
    ):
        _write(root / folder / name, (this.top / "packages/python3-shirq" / name).read_bytes())
    _document(root, "python3-shirq", "README.md", (this.top / "guest/README.md").read_bytes())


def _module_files(kmod: Path) -> Iterator[Path]:
    found = {path for pattern in _MODULE for path in kmod.glob(pattern)}
    yield from sorted(path for path in found if not any(path.match(pattern) for pattern in _NOT_MODULE))


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _document(root: Path, package: str, name: str, content: bytes, compressed: bool | None = None) -> None:
    """A file of the package's documentation, compressed if it is large or on request."""
    path = root / "usr/share/doc" / package / name
    if len(content) > _COMPRESSED_ABOVE if compressed is None else compressed:
        path = path.with_name(f"{name}.gz")
        content = gzip.compress(content, 9, mtime=0)
    _write(path, content)


def _changelog(this: _Build) -> str:
    """Debian's changelog, with only the present version: CHANGELOG.md has the changes."""
    return (
        f"shirq ({this.version}) unstable; urgency=medium\n\n"
        f"  * Version {this.version}. CHANGELOG.md, beside this file, has the changes.\n\n"
        f" -- The shirq authors <maintainers@shirq.invalid>  {formatdate(this.epoch).replace('-0000', '+0000')}\n"
    )


def _paragraph(text: str) -> str:
    """Format a text as the continuation lines of a field in a Debian copyright file."""
    return "\n".join(f" {line.rstrip()}" if line.strip() else " ." for line in text.strip().splitlines())


def _filled(template: Path, values: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise BuildError(f"{template}: unknown placeholder {match[0]}; known: {', '.join(sorted(values))}")
        return values[match[1]]

    return _PLACEHOLDER.sub(value, template.read_text())


def _normalise(root: Path, epoch: int) -> None:
    """Set modes and times, which would otherwise depend on the umask and the time of the build."""
    for path in [root, *root.rglob("*")]:
        inside = path.relative_to(root)
        program = inside.parts[:2] == ("usr", "bin") or str(inside) in ("DEBIAN/postinst", "DEBIAN/prerm")
        path.chmod(0o755 if path.is_dir() or program else 0o644)
    for path in sorted([root, *root.rglob("*")], reverse=True):
        os.utime(path, (epoch, epoch))
