# SPDX-License-Identifier: MIT
"""The guest's initramfs, made from Debian packages without root.

It consists of several cpio archives, which the kernel unpacks in order. The *base* holds Debian's packages and the
kernel's modules, and changes rarely. The *layer* holds this project's own programs and files, and is quick to make. The
*overlay*, if there is one, holds the additions of a machine.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shirq_bench import toml
from shirq_bench.paths import GUEST, KMOD
from shirq_bench.provision import cache, kernel, kmod
from shirq_bench.provision.apt import Suites
from shirq_bench.provision.steps import BuildError, run
from shirq_bench.toml import Words

_IMAGE = GUEST / "image"
#: Part of the key of the packages' root: increment it when the result of `_packages` changes.
_LAYOUT = 2
#: The file of an entry that lists the packages in it, with their versions.
_VERSIONS = "packages"


@dataclass(frozen=True)
class _Recipe:
    """See ``image.toml``."""

    suite: str
    packages: Words
    exclude: Words
    boot_modules: Words
    modules: Words


def _recipe() -> _Recipe:
    return toml.read(_Recipe, _IMAGE / "image.toml")


def _cpio(tree: Path, archive: Path) -> None:
    """Pack ``tree`` with root as every file's owner, in a stable order."""
    names = sorted(str(p.relative_to(tree)) for p in tree.rglob("*"))
    with archive.open("wb") as out:
        subprocess.run(
            ["cpio", "--create", "--format=newc", "--owner=0:0", "--reproducible", "--quiet"],
            input="\n".join(names).encode(),
            cwd=tree,
            stdout=out,
            check=True,
        )


def _module_closure(root: Path, release: str, wanted: Iterable[str]) -> list[str]:
    """The paths, below ``lib/modules/<release>``, of the modules ``wanted`` and all that they depend on."""
    depends: dict[str, list[str]] = {}
    by_name: dict[str, str] = {}
    for line in (root / "lib/modules" / release / "modules.dep").read_text().splitlines():
        path, _, rest = line.partition(":")
        depends[path] = rest.split()
        by_name[Path(path).name.split(".")[0].replace("-", "_")] = path
    found: dict[str, None] = {}
    pending = []
    for name in wanted:
        if (key := name.replace("-", "_")) in by_name:
            pending.append(by_name[key])
        elif not _built_in(root, release, key):
            raise BuildError(f"kernel {release} has no module {name} (guest/image/image.toml)")
    while pending:
        path = pending.pop()
        if path not in found:
            found[path] = None
            pending += depends[path]
    return list(found)


def _built_in(root: Path, release: str, name: str) -> bool:
    builtin = (root / "lib/modules" / release / "modules.builtin").read_text().split()
    return any(Path(p).stem.replace("-", "_") == name for p in builtin)


def _byte_compile(python: Path, tree: Path, *folders: str) -> None:
    """Compile the Python modules in ``folders`` of ``tree`` to byte code, with the interpreter of the root ``python``.

    That interpreter is the guest's; the host's version may differ. Without byte code, a guest under emulation needs
    seconds to compile whenever a program starts. Python checks the byte code by the hash of the source, because an
    overlay may bring other sources with other times.
    """
    libraries = python / "lib/x86_64-linux-gnu"
    run(
        "byte code of the guest's Python modules",
        [
            *(libraries / "ld-linux-x86-64.so.2", "--library-path", f"{libraries}:{python}/usr/lib/x86_64-linux-gnu"),
            *(python / "usr/bin/python3.11", "-s", "-S", "-m", "compileall", "-q", "-f"),
            *("--invalidation-mode", "checked-hash", "-s", tree, "-p", "/"),
            *(tree / folder for folder in folders),
        ],
        log=cache.root() / "image.log",
        env={"PYTHONHOME": str(python / "usr"), "PYTHONDONTWRITEBYTECODE": "1"},
    )


def _packages() -> Path:
    """A root with Debian's packages; all kernels use the same one."""
    recipe = _recipe()

    def fill(directory: Path) -> None:
        root = directory / "root"
        fetched = Suites(recipe.suite).unpack(recipe.packages, root)
        for name in recipe.exclude:
            shutil.rmtree(root / name, ignore_errors=True)
        (root / "usr/bin/python3").symlink_to("python3.11")
        _byte_compile(root, root, "usr/lib/python3.11")
        (directory / _VERSIONS).write_text("".join(f"{package}\n" for package in fetched))

    return cache.entry("image-packages", cache.digest(_LAYOUT, asdict(recipe)), fill) / "root"


def package_versions() -> list[str]:
    """The Debian packages of every image, with their versions; they are fetched if the cache does not have them."""
    return (_packages().parent / _VERSIONS).read_text().split()


def contents(target: kernel.Kernel, modules: Sequence[Path] = (), overlay: Sequence[Path] = ()) -> str:
    """A hash of all that the image for ``target`` is made of; it is the same on every machine that has the same.

    Left out is the key by which ssh enters the guest, which every cache makes for itself.
    """
    sources = [kmod.content(source) for source in (KMOD, *modules)]
    trees = [_listing(tree) for tree in overlay]
    return cache.digest(asdict(_recipe()), package_versions(), target.version, sources, GUEST, trees)


def _base(target: kernel.Kernel) -> Path:
    recipe = _recipe()
    packages = _packages()

    def fill(directory: Path) -> None:
        tree = directory / "tree"
        shutil.copytree(packages, tree, symlinks=True)
        busybox = tree / "bin/busybox"
        applets = subprocess.run([busybox, "--list"], check=True, capture_output=True, text=True).stdout.split()
        for applet in applets:
            if applet != "busybox":
                (tree / "bin" / applet).symlink_to("busybox")
        (tree / "init").symlink_to("bin/busybox")
        for empty in ("proc", "sys", "dev", "run", "tmp", "root/.ssh", "etc/dropbear"):
            (tree / empty).mkdir(parents=True, exist_ok=True)

        modules = Path("lib/modules") / target.release
        for name in _module_closure(target.modules, target.release, recipe.boot_modules + recipe.modules):
            (tree / modules / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(target.modules / modules / name, tree / modules / name)
        for index in ("modules.builtin", "modules.order", "modules.builtin.modinfo"):
            shutil.copy2(target.modules / modules / index, tree / modules)
        subprocess.run(["/sbin/depmod", "-b", tree, target.release], check=True)
        _cpio(tree, directory / "base.cpio")
        shutil.rmtree(tree)

    key = cache.digest(asdict(recipe), target.identity, cache.name(packages), package_versions())
    return cache.entry("image-base", key, fill) / "base.cpio"


def ssh_key() -> Path:
    """The private key that every guest accepts for root; made once per cache. The public key is beside it."""

    def fill(directory: Path) -> None:
        key = Ed25519PrivateKey.generate()
        private = directory / "id_ed25519"
        private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
            )
        )
        private.chmod(0o600)
        public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        (directory / "id_ed25519.pub").write_bytes(public + b" shirq\n")

    return cache.entry("ssh", "guest", fill) / "id_ed25519"


def _compile(directory: Path, program: str, *sources: Path) -> None:
    flags = ["-O2", "-Wall", "-Wextra", "-Werror", "-static", f"-I{KMOD}", f"-I{GUEST}/lib"]
    run(
        f"guest program {program}",
        ["gcc", *flags, "-o", directory / program, *sources],
        log=cache.root() / "image.log",
    )


def _peers(binaries: Path) -> None:
    """One program for each interface that hands interrupts to user space, ``peer-<kernel driver>``."""
    common = GUEST / "drivers/peers/peer.c"
    for source in sorted(common.parent.glob("*.c")):
        if source != common:
            library = [GUEST / "lib/shirq.c"] if source.stem == "shirq" else []
            _compile(binaries, f"peer-{source.stem}", source, common, *library)


def _programs() -> Path:
    """A directory with the compiled programs; all kernels and all builds of shirq.ko use the same one."""

    def fill(directory: Path) -> None:
        _compile(directory, "shirq-agent", GUEST / "agent/agent.c")
        _compile(directory, "shirq-mark", GUEST / "tools/mark.c")
        _compile(directory, "shirq-burn", GUEST / "tools/burn.c")
        _compile(directory, "shirq-edu", GUEST / "drivers/edu.c", GUEST / "lib/shirq.c")
        _compile(directory, "shirq-actor", GUEST / "sweep/actor.c", GUEST / "lib/shirq.c")
        for program in ("torture", "fuzz"):
            common = GUEST / "torture/common.c"
            _compile(directory, f"shirq-{program}", GUEST / f"torture/{program}.c", common, GUEST / "lib/shirq.c")
        _peers(directory)

    sources = sorted(path for path in cache.tree(GUEST) if path.suffix in (".c", ".h"))
    content = [(str(path.relative_to(GUEST)), cache.digest(path)) for path in sources]
    return cache.entry("image-programs", cache.digest(content, KMOD / "shirq.h"), fill)


def _layer(target: kernel.Kernel, modules: Sequence[Path]) -> Path:
    recipe = _recipe()
    public_key = ssh_key().with_suffix(".pub")
    programs = _programs()
    packages = _packages()

    def fill(directory: Path) -> None:
        tree = directory / "tree"
        binaries = tree / "usr/bin"
        binaries.mkdir(parents=True)
        for program in cache.tree(programs):
            if not program.name.startswith("."):
                shutil.copy2(program, binaries)
        shutil.copy2(GUEST / "drivers/edu.py", binaries / "shirq-edu.py")
        shutil.copy2(GUEST / "tools/shirqctl", binaries)
        for folder in ("drivers", "profiles"):
            shutil.copytree(
                GUEST / folder, tree / "usr/share/shirq" / folder, ignore=shutil.ignore_patterns("__pycache__")
            )
        binding = tree / "usr/lib/python3/dist-packages/shirq"
        # Skip `profiles`, which is a link in the sources and missing in wheels. The guest gets its own link below.
        shutil.copytree(GUEST / "shirq", binding, ignore=shutil.ignore_patterns("__pycache__", "profiles"))
        _byte_compile(packages, tree, "usr/lib/python3/dist-packages")
        (binding / "profiles").symlink_to("/usr/share/shirq/profiles")
        extra = tree / "lib/modules" / target.release / "extra"
        extra.mkdir(parents=True)
        for module in modules:
            shutil.copy2(module, extra)
        etc = tree / "etc"
        etc.mkdir()
        for name in ("rcS", "inittab", "profile", "passwd", "group"):
            shutil.copy2(_IMAGE / name, etc)
        (etc / "boot-modules").write_text("\n".join(recipe.boot_modules) + "\n")
        ssh = tree / "root/.ssh"
        ssh.mkdir(parents=True)
        shutil.copy2(public_key, ssh / "authorized_keys")
        for private in (tree / "root", ssh):
            private.chmod(0o700)
        _cpio(tree, directory / "layer.cpio")
        shutil.rmtree(tree)

    key = cache.digest(
        *(asdict(recipe), target.identity, cache.name(packages), package_versions()),
        *(*modules, public_key, GUEST, KMOD / "shirq.h"),
    )
    return cache.entry("image-layer", key, fill) / "layer.cpio"


def overlay_archive(target: kernel.Kernel, modules: Sequence[Path], trees: Sequence[Path]) -> Path:
    """The cpio archive of a machine's additions: modules compiled from their sources, and trees for the guest's root.

    Raises `BuildError` for a tree that is not a directory.
    """
    built = [kmod.build_modules(target, source) for source in modules]
    for tree in trees:
        if not tree.is_dir():
            raise BuildError(
                f"a machine's overlay must be a directory to copy over the guest's root: {tree} is not one"
            )

    def fill(directory: Path) -> None:
        root = directory / "tree"
        extra = root / "lib/modules" / target.release / "extra"
        for made in built:
            extra.mkdir(parents=True, exist_ok=True)
            for module in sorted(made.glob("*.ko")):
                shutil.copy2(module, extra)
        for tree in trees:
            shutil.copytree(tree, root, symlinks=True, dirs_exist_ok=True)
        _cpio(root, directory / "overlay.cpio")
        shutil.rmtree(root)

    key = cache.digest(target.release, [made.name for made in built], [_listing(tree) for tree in trees])
    return cache.entry("image-overlay", key, fill) / "overlay.cpio"


def _listing(tree: Path) -> list[tuple[str, int, str]]:
    """The names, modes and contents of a tree, for keys."""
    return [(str(p.relative_to(tree)), p.lstat().st_mode, _content(p)) for p in sorted(tree.rglob("*"))]


def _content(path: Path) -> str:
    """The content of a file or the target of a link of an overlay, for the cache key; empty for a directory."""
    if path.is_symlink():
        return str(path.readlink())
    return "" if path.is_dir() else cache.digest(path)


def build(
    target: kernel.Kernel, module: Path | None = None, modules: Sequence[Path] = (), overlay: Sequence[Path] = ()
) -> Path:
    """The initramfs for ``target``, with shirq.ko compiled from ``kmod/`` unless another ``module`` is given.

    ``modules`` are source trees of further kernel modules, which go to /lib/modules/RELEASE/extra; the trees
    ``overlay`` are laid over the guest's root, later ones over earlier ones.
    """
    parts = [_base(target), _layer(target, [module or kmod.build(target), *kmod.build_own(target)])]
    if modules or overlay:
        parts.append(overlay_archive(target, modules, overlay))

    def fill(directory: Path) -> None:
        with (directory / "initrd").open("wb") as out:
            for part in parts:
                with part.open("rb") as source:
                    shutil.copyfileobj(source, out)

    return cache.entry("image", cache.digest([cache.name(p) for p in parts]), fill) / "initrd"
