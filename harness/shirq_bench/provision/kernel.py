# SPDX-License-Identifier: MIT
"""The kernels of guests, with their modules and headers: stock kernels are unpacked, instrumented ones are built."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from shirq_bench import toml
from shirq_bench.paths import GUEST
from shirq_bench.provision import cache, deps
from shirq_bench.provision.apt import Suites
from shirq_bench.provision.steps import BuildError, run
from shirq_bench.toml import Words


@dataclass(frozen=True)
class Kernel:
    """A kernel that guests can boot."""

    #: Its name for users, for example ``6.1``.
    name: str
    #: The output of ``uname -r``.
    release: str
    vmlinuz: Path
    #: The tree that holds ``lib/modules/<release>`` with ``modules.dep``.
    modules: Path
    #: The build tree that out-of-tree modules compile against.
    headers: Path
    #: Part of the key of everything that is built for this kernel: two builds may have the same release.
    identity: str
    #: The factor for every timeout of a guest with this kernel: its slowdown against a stock kernel, with a margin.
    patience: float = 1.0
    #: The minimum memory of a guest with this kernel.
    memory_mib: int = 0
    #: The kernel's own words about its build, which its image holds: release, builder, the package's version, date.
    version: str = ""

    def has(self, option: str) -> bool:
        """Whether the kernel was built with ``CONFIG_<option>=y``. False if its build tree is missing."""
        config = self.headers / ".config"
        return config.exists() and f"CONFIG_{option}=y" in config.read_text().splitlines()


@dataclass(frozen=True)
class Recipe:
    """How a kernel is made: a stock kernel has ``image`` and ``headers``, our own has ``source`` and ``config``."""

    suites: Words
    image: str = ""
    headers: str = ""
    source: str = ""
    config: Words = ()
    patience: float = 1.0
    memory_mib: int = 0

    def __post_init__(self) -> None:
        if [bool(self.source), bool(self.config)] != [not self.image, not self.headers]:
            raise ValueError("needs either image and headers, or source and config")


#: Part of every stock kernel's key: increment it when the result of `_unpack` changes.
_LAYOUT = 3
#: The group of packages that compiling a kernel needs.
_COMPILER = "debug-kernel"
#: Keys of a kernel that do not affect its build.
_HABITS = ("patience", "memory_mib")


def names(stock: bool = False) -> list[str]:
    """The names of the available kernels, or of those alone that Debian has built."""
    return [name for name, recipe in _table().items() if recipe.image or not stock]


def _table() -> dict[str, Recipe]:
    return toml.read(dict[str, Recipe], GUEST / "kernels.toml")


def _unpack(recipe: Recipe, target: Path) -> None:
    """Unpack a stock kernel from Debian's packages."""
    suites = Suites(*recipe.suites)
    image = suites.depends(recipe.image)[0]
    headers = suites.depends(recipe.headers)[0]
    build_parts = [p for p in suites.depends(headers) if re.match(r"linux-(headers|kbuild)-", p)]
    root = target / "root"
    suites.unpack([f"{image}-unsigned", headers, *build_parts], root)
    release = image.removeprefix("linux-image-")
    # The packages expect to be unpacked in /. Their links are relative, but this include has an absolute path.
    makefile = root / "usr/src" / headers / "Makefile"
    makefile.write_text(
        makefile.read_text().replace("include /usr/src/", "include $(dir $(lastword $(MAKEFILE_LIST)))../")
    )
    _name_compiler(root / "usr/src" / headers / ".kernelvariables")
    if not (root / "lib").exists():
        (root / "lib").symlink_to("usr/lib")
    shutil.rmtree(root / "usr/share", ignore_errors=True)
    (target / "headers").symlink_to(f"root/usr/src/{headers}")
    (target / "vmlinuz").symlink_to(f"root/boot/vmlinuz-{release}")
    _finish(target, release)


def _name_compiler(variables: Path) -> None:
    """Let modules be compiled by this machine's gcc if it does not have the version that compiled the kernel."""
    text = variables.read_text()
    named = re.search(r"\bgcc-\d+\b", text)
    if named and not shutil.which(named[0]):
        variables.write_text(text.replace(named[0], "gcc"))


def _finish(target: Path, release: str) -> None:
    subprocess.run(["/sbin/depmod", "-b", target / "root", release], check=True)
    (target / "release").write_text(release)


def _compile(recipe: Recipe, target: Path) -> None:
    """Compile a kernel from Debian's source with our configuration; keep its build tree for modules and debuggers."""
    if lacking := deps.missing([_COMPILER]):
        names = ", ".join(f"{name} ({why})" for name, why in lacking.items())
        raise BuildError(
            f"compiling {recipe.source} needs {names}: install this with `make deps` or `shirq deps {_COMPILER}`"
        )
    suites = Suites(*recipe.suites)
    package = suites.depends(recipe.source)[0]
    log = cache.root() / "kernel.log"
    suites.unpack([package], target / "package")
    tree = target / "build"
    tree.mkdir()
    archive = target / f"package/usr/src/{package}.tar.xz"
    run(f"unpacking {package}", ["tar", "-C", tree, "--strip-components=1", "-xf", archive], log=log)
    shutil.rmtree(target / "package")
    fragments = _fragments(recipe)
    run("configuring", ["make", "tinyconfig"], log=log, cwd=tree)
    run("configuring", ["scripts/kconfig/merge_config.sh", "-m", ".config", *fragments], log=log, cwd=tree)
    run("configuring", ["make", "olddefconfig"], log=log, cwd=tree)
    _check_config(fragments, tree / ".config")
    jobs = f"-j{os.cpu_count() or 1}"
    run(f"compiling {package}", ["make", jobs, "bzImage", "modules"], log=log, cwd=tree, deadline=7200)
    release = (tree / "include/config/kernel.release").read_text().strip()
    install = ["make", "modules_install", f"INSTALL_MOD_PATH={target / 'root'}", "INSTALL_MOD_STRIP=1"]
    run("installing its modules", install, log=log, cwd=tree)
    shutil.copy2(tree / "arch/x86/boot/bzImage", target / "vmlinuz")
    headers = target / "root/lib/modules" / release / "build"
    headers.unlink()
    headers.symlink_to("../../../../build")
    for path in tree.rglob("*.o"):
        if "scripts" not in path.parts and "tools" not in path.parts:
            path.unlink()
    (target / "headers").symlink_to("build")
    _finish(target, release)


def _fragments(recipe: Recipe) -> list[Path]:
    """The fragments applied to tinyconfig; later ones override earlier ones."""
    return [GUEST / "config" / name for name in recipe.config]


def _check_config(fragments: list[Path], final: Path) -> None:
    """Check that the result has all options of the fragments: kconfig silently drops options that it cannot satisfy."""
    result = set(final.read_text().splitlines())
    wanted: dict[str, str] = {}
    for fragment in fragments:
        for line in fragment.read_text().splitlines():
            if option := re.match(r"(?:# )?(CONFIG_\w+)[= ]", line):
                wanted[option[1]] = line

    def missing(option: str, line: str) -> bool:
        return f"{option}=y" in result if line.startswith("# ") else line not in result

    if dropped := [line for option, line in wanted.items() if missing(option, line)]:
        names = ", ".join(str(fragment) for fragment in fragments)
        raise BuildError(f"kconfig did not accept these lines of {names}: {', '.join(dropped)}")


def _from_path(vmlinuz: Path) -> Kernel:
    """A kernel that was built elsewhere. Its modules are in lib/modules beside its folder, or in /lib/modules."""
    version = _version(vmlinuz)
    release = version.split()[0]
    for root in (vmlinuz.parent.parent, Path("/")):
        modules = root / "lib/modules" / release
        if (modules / "modules.dep").exists():
            statuses = [(str(p.relative_to(modules)), p.stat()) for p in sorted(modules.rglob("*.ko*"))]
            listing = [(name, status.st_size, status.st_mtime_ns) for name, status in statuses]
            identity = f"path-{cache.digest(vmlinuz.resolve(), listing)}"
            headers = _headers(root, modules)
            return Kernel(str(vmlinuz), release, vmlinuz, root, headers, identity, version=version)
    raise BuildError(
        f"the modules of {vmlinuz} ({release}) are neither in {vmlinuz.parent.parent}/lib/modules nor in /lib/modules: "
        f"install them there with `make modules_install INSTALL_MOD_PATH={vmlinuz.parent.parent}`"
    )


def _version(vmlinuz: Path) -> str:
    """The words of a kernel's image about its build. `BuildError` if the file is no such image."""
    with vmlinuz.open("rb") as image:
        header = image.read(0x10000)
    if header[0x202:0x206] != b"HdrS":
        raise BuildError(f"{vmlinuz} is no x86 kernel image (bzImage)")
    at = 0x200 + int.from_bytes(header[0x20E:0x210], "little")
    return header[at : header.index(b"\0", at)].decode(errors="replace")


def _headers(root: Path, modules: Path) -> Path:
    """The build tree to which ``modules/build`` points. If the link is absolute, try it below ``root``, too."""
    link = modules / "build"
    for headers in (link, root / str(link.readlink()).lstrip("/") if link.is_symlink() else link):
        if (headers / "Makefile").exists():
            return headers.resolve()
    raise BuildError(
        f"{link} leads to no build tree, and shirq.ko must be compiled for this kernel: "
        "install its headers, or make `build` a link to the tree that the kernel was built in"
    )


def get(name: str) -> Kernel:
    """The kernel called ``name``, or the one at the path ``name``; fetched or built if the cache does not have it.

    Raises `BuildError` for an unknown name.
    """
    table = _table()
    if name not in table:
        if Path(name).is_file():
            return _from_path(Path(name).absolute())
        raise BuildError(f"no kernel {name!r}; known kernels: {', '.join(table)}; or give the path of a vmlinuz")
    recipe = table[name]
    make = _compile if recipe.source else _unpack
    return _at(name, cache.entry("kernel", _key(name, recipe), lambda target: make(recipe, target)))


def is_compiled(name: str) -> bool:
    """Whether the kernel called ``name`` is compiled from source, not unpacked from a package."""
    return bool(_table()[name].source)


def cached(name: str) -> Kernel | None:
    """The kernel called ``name`` in the table, or None if it would have to be fetched or built."""
    directory = cache.root() / "kernel" / _key(name, _table()[name])
    return _at(name, directory) if (directory / "release").exists() else None


def _key(name: str, recipe: Recipe) -> str:
    what = _fragments(recipe) if recipe.source else [_LAYOUT]
    made_of = {key: value for key, value in asdict(recipe).items() if value and key not in _HABITS}
    return f"{name}-{cache.digest(made_of, *what)}"


def _at(name: str, directory: Path) -> Kernel:
    vmlinuz = directory / "vmlinuz"
    # An entry that has lost its image is described, too, for `shirq doctor`.
    version = _version(vmlinuz) if vmlinuz.exists() else ""
    return Kernel(
        name=name,
        release=(directory / "release").read_text(),
        version=version,
        vmlinuz=vmlinuz,
        modules=directory / "root",
        headers=directory / "headers",
        # The entry's key names the suites, whose newest package was fetched: name the version that this was.
        identity=f"{directory.name}-{cache.digest(version)}",
        **{habit: getattr(_table()[name], habit) for habit in _HABITS},
    )
