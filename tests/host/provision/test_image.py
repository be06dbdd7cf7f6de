# SPDX-License-Identifier: MIT
"""Keys of cache entries for guests: equal inputs give the same key in any cache, and different inputs another key."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from shirq_bench.campaigns.mutants.mutant import Mutant
from shirq_bench.campaigns.mutants.trial import private_cache
from shirq_bench.paths import need_checkout
from shirq_bench.provision import cache, image, kmod
from shirq_bench.provision.kernel import Kernel
from shirq_bench.vm import accel, template
from shirq_bench.vm.accel import Accelerator
from shirq_bench.vm.machine import Machine
from shirq_bench.vm.vm import Parts

TOP = need_checkout("looking for kinds of entries")


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys (KIND/KEY) of the entries that are made. The entries have only an empty list of packages."""
    found: list[str] = []
    entry = cache.entry

    def make(kind: str, key: str, build: Callable[[Path], None]) -> Path:
        def fill(directory: Path) -> None:
            found.append(f"{kind}/{key}")
            (directory / "packages").touch()

        return entry(kind, key, fill)

    monkeypatch.setattr(cache, "entry", make)
    monkeypatch.setenv("SHIRQ_CACHE", str(tmp_path / "cache"))
    return found


@pytest.fixture
def target(tmp_path: Path) -> Kernel:
    return Kernel("6.1", "6.1.0-99", tmp_path / "vmlinuz", tmp_path, tmp_path / "headers", "6.1-0123")


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """The source of a further module of a machine."""
    source = tmp_path / "module"
    source.mkdir()
    (source / "Kbuild").write_text("obj-m := module.o\n")
    return source


def _make(target: Kernel, module: Path, emulator: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Make an image; returns the key of a template with that image, and the key of the verdict on KVM."""
    initrd = image.build(target, modules=[module], overlay=[module])
    monkeypatch.setattr(template, "parts", lambda *_: Parts(target, initrd, emulator, Accelerator("tcg", "")))
    return template.path(Machine()).name, accel._key(emulator)


def test_a_cache_that_shares_makes_nothing_anew(
    made: list[str], target: Kernel, module: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = _make(target, module, cache.root() / "qemu/0123/qemu-system-x86_64", monkeypatch)
    assert {name.partition("/")[0] for name in made} >= {"image", "image-base", "image-overlay", "image-packages"}
    made.clear()
    cache.share(tmp_path / "other", cache.FETCHED + cache.COMPILED)
    monkeypatch.setenv("SHIRQ_CACHE", str(tmp_path / "other"))
    assert _make(target, module, cache.root() / "qemu/0123/qemu-system-x86_64", monkeypatch) == keys
    assert made == []


@pytest.mark.parametrize(
    ("file", "kinds"),
    [
        ("kmod/file.c", {"image", "image-layer", "kmod"}),
        ("guest/lib/shirq.c", {"image", "image-layer", "image-programs", "kmod"}),
        ("kmod/shirq.h", {"image", "image-layer", "image-programs", "kmod"}),
    ],
)
def test_a_mutants_guest_fetches_nothing(
    made: list[str], target: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, kinds: set[str]
) -> None:
    """Entries that a mutant may affect are made in a separate cache, and the user's cache stays as it is."""
    image.build(target)
    made.clear()
    own = cache.root()
    before = _entries(own)
    mutant = Mutant(name="m", title="t", diff=f"--- a/{file}\n", tests=("tests/x.py",))
    (tmp_path / "place").mkdir()
    (tmp_path / "kmod").mkdir()
    monkeypatch.setenv("SHIRQ_CACHE", str(private_cache(mutant, tmp_path / "place", tmp_path / "kmod")))
    image.build(target)
    assert {name.partition("/")[0] for name in made} == kinds
    assert _entries(own) == before


def _entries(root: Path) -> list[Path]:
    return sorted(path for path in root.glob("*/*") if path.parent.name != "locks")


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: (tree / "etc/secret").chmod(0o600),
        lambda tree: (tree / "etc/secret").chmod(0o4644),
        lambda tree: (tree / "etc").chmod(0o700),
        lambda tree: (tree / "var/empty").mkdir(parents=True),
        lambda tree: (tree / "etc/link").symlink_to("secret"),
        lambda tree: (tree / "etc/secret").write_text("another"),
    ],
    ids=["mode", "setuid", "mode of a folder", "empty folder", "link", "content"],
)
def test_an_overlay_is_keyed_by_all_that_is_packed(
    made: list[str], target: Kernel, tmp_path: Path, change: Callable[[Path], object]
) -> None:
    tree = tmp_path / "overlay"
    (tree / "etc").mkdir(parents=True)
    (tree / "etc").chmod(0o755)
    (tree / "etc/secret").write_text("a secret")
    (tree / "etc/secret").chmod(0o644)
    before = image.overlay_archive(target, [], [tree])
    assert image.overlay_archive(target, [], [tree]) == before
    change(tree)
    assert image.overlay_archive(target, [], [tree]) != before


@pytest.mark.parametrize(
    ("file", "anew"),
    [
        ("headers/part.c", True),
        ("module/own.c", True),
        ("headers/part.o", False),
        ("headers/__pycache__/x", False),
        ("module/README.md", False),
    ],
)
def test_a_module_is_keyed_by_the_files_that_are_compiled(
    made: list[str], target: Kernel, module: Path, tmp_path: Path, file: str, anew: bool
) -> None:
    """Files in a folder that the source links to also count, because they are compiled with it."""
    (tmp_path / "headers/__pycache__").mkdir(parents=True)
    (module / "common").symlink_to("../headers")
    before = kmod.build_modules(target, module)
    assert kmod.build_modules(target, module) == before
    (tmp_path / file).write_text("new")
    assert (kmod.build_modules(target, module) != before) is anew


@pytest.mark.parametrize(
    ("accelerator", "deterministic", "anew"), [("kvm", False, True), ("kvm", True, False), ("tcg", False, False)]
)
@pytest.mark.parametrize("part", ["kernel", "processor"])
def test_template_with_the_hosts_processor_is_keyed_by_the_host(
    target: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    accelerator: str, deterministic: bool, anew: bool, part: str,
) -> None:  # fmt: skip
    """With `-cpu host`, a template depends on the processor's features that the host's kernel shows to guests."""
    there = Parts(target, tmp_path / "a/initrd", tmp_path / "b/qemu", Accelerator(accelerator, ""))
    monkeypatch.setattr(template, "parts", lambda *_: there)
    machine = Machine(deterministic=deterministic)
    before = template.path(machine)
    if part == "kernel":
        monkeypatch.setattr("platform.release", lambda: "6.99")
    else:
        monkeypatch.setattr(accel, "_cpu", lambda: "another processor")
    assert (template.path(machine) != before) is anew


def test_every_kind_of_entry_can_be_shared() -> None:
    """Templates, and entries that are derived from them, cannot be shared between caches."""
    files = [*(TOP / "harness/shirq_bench").rglob("*.py"), *TOP.glob("tests/*.py")]
    sources = "".join(path.read_text() for path in files)
    kinds = set(re.findall(r'cache\.entry\(\s*"([a-z-]+)"', sources)) - {"symbols"}
    assert {"accel", "image", "kernel", "qemu"} <= kinds <= {*cache.FETCHED, *cache.COMPILED}
