# SPDX-License-Identifier: MIT
"""The build of QEMU: which inputs cause a new build, and the checks of its result."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from shirq_bench.provision import cache, qemu
from shirq_bench.provision.steps import BuildError

PATCH = """Say something else.

--- a/hello.c
+++ b/hello.c
@@ -1,3 +1,3 @@
 one
-two
+deux
 three
"""


class Mirror:
    """A fake of `Suites`: a mirror that has ``version`` of every source package."""

    version = "10.0.1"
    known = True

    def __init__(self, *suites: str) -> None:
        pass

    def source_version(self, package: str) -> str:
        return self.version

    def source(self, package: str, into: Path) -> str:
        (into / "src").mkdir()
        (into / "src/hello.c").write_text(f"{self.version}\n")
        return self.version

    def unpack(self, packages: Sequence[str], into: Path) -> None:
        for name in qemu._recipe().firmware:
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            (into / name).touch()


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Make builds run below ``tmp_path``, with sources from `Mirror`; the value lists the executed steps."""
    done: list[str] = []

    def run(what: str, argv: Sequence[object], *, log: Path, cwd: Path | None = None, **_: object) -> None:
        done.append(f"{what}: {' '.join(map(str, argv))}")
        if what == "build environment":
            Path(str(argv[-1])).mkdir()
        if cwd and what == "configuring QEMU":
            (cwd / "build.ninja").touch()
        if cwd and what == "compiling QEMU":
            (cwd / "qemu-system-x86_64").write_text((cwd.parent / "src/hello.c").read_text())

    monkeypatch.setenv("SHIRQ_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(qemu, "Suites", Mirror)
    monkeypatch.setattr(qemu, "run", run)
    monkeypatch.setattr(qemu, "_OVERLAY", tmp_path / "overlay")
    monkeypatch.setattr(qemu, "_UPSTREAM", tmp_path / "upstream")
    monkeypatch.setattr(qemu, "_PATCHES", tmp_path / "patches")
    for name in ("overlay", "upstream", "patches"):
        (tmp_path / name).mkdir()
    return done


def configured(commands: list[str]) -> list[str]:
    return [command.split()[-1] for command in commands if command.startswith("configuring QEMU")]


@pytest.mark.parametrize("first", ["one", "eins"])
def test_patch_with_other_surroundings_is_refused(tmp_path: Path, commands: list[str], first: str) -> None:
    """A patch that applies only with fuzz is refused, because it may change the wrong place."""
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "hello.c").write_text(f"{first}\ntwo\nthree\n")
    (tmp_path / "patches/0001-say.patch").write_text(PATCH)
    if first == "one":
        qemu.apply_device(tree)
        assert (tree / "hello.c").read_text() == "one\ndeux\nthree\n"
    else:
        with pytest.raises(BuildError, match=r"0001-say.patch does not apply to this QEMU:"):
            qemu.apply_device(tree)


NEW_FILE = """--- /dev/null
+++ b/new.c
@@ -0,0 +1 @@
+zero
"""


def test_patches_for_qemu_come_first_and_their_files_go_with_them(tmp_path: Path, commands: list[str]) -> None:
    """A file that a patch creates is there as long as the patch is, and a later patch can build on an earlier one."""
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "hello.c").write_text("one\ntwo\nthree\n")
    sent = tmp_path / "upstream/0001-say.patch"
    sent.write_text(PATCH + NEW_FILE)
    for _ in range(2):
        qemu.apply_device(tree)
        assert (tree / "new.c").read_text() == "zero\n"
    own = tmp_path / "patches/0001-again.patch"
    own.write_text(PATCH.replace("+deux", "+zwei").replace("-two", "-deux"))
    qemu.apply_device(tree)
    assert (tree / "hello.c").read_text() == "one\nzwei\nthree\n"
    own.unlink()
    sent.unlink()
    qemu.apply_device(tree)
    assert (tree / "hello.c").read_text() == "one\ntwo\nthree\n"
    assert not (tree / "new.c").exists()


def test_a_created_file_that_qemu_has_is_refused(tmp_path: Path, commands: list[str]) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "new.c").write_text("of QEMU\n")
    (tmp_path / "upstream/0001-new.patch").write_text(NEW_FILE)
    with pytest.raises(BuildError, match=r"the new file new.c would replace a file of QEMU"):
        qemu.apply_device(tree)
    assert (tree / "new.c").read_text() == "of QEMU\n"


def test_new_version_of_the_source_is_built_anew(commands: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    old = qemu.build()
    assert qemu.cached() == old
    monkeypatch.setattr(Mirror, "version", "10.0.2")
    assert qemu.cached() is None
    new = qemu.build()
    assert new != old
    assert (old.read_text(), new.read_text()) == ("10.0.1\n", "10.0.2\n")


def test_source_replaced_meanwhile_is_not_mistaken(commands: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """If the mirror replaces the version between query and download, the build fails."""
    monkeypatch.setattr(Mirror, "source", lambda self, package, into: "10.0.2")
    with pytest.raises(BuildError, match=r"the mirror has qemu 10.0.2 now instead of 10.0.1: build again"):
        qemu.build()
    assert not list((cache.root() / "qemu").iterdir())


def test_a_cache_that_shares_the_tree_does_not_configure_it_anew(
    tmp_path: Path, commands: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache of a mutant shares the compiled tree with the cache of its checkout."""
    qemu.build()
    cache.share(tmp_path / "other", cache.FETCHED)
    monkeypatch.setenv("SHIRQ_CACHE", str(tmp_path / "other"))
    (tmp_path / "overlay/new.c").touch()
    qemu.build()
    assert len(configured(commands)) == 1


def test_build_of_another_version_than_its_key_is_refused(commands: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The package lists may be fetched anew, by another process, while a build waits for its lock."""
    versions = iter(["10.0.1"])

    def source_version(mirror: Mirror, package: str) -> str:
        Mirror.version = next(versions, "10.0.2")
        return Mirror.version

    monkeypatch.setattr(Mirror, "version", "10.0.1")
    monkeypatch.setattr(Mirror, "source_version", source_version)
    path = qemu.build()
    assert path.read_text() == "10.0.1\n"


def test_versions_tell_every_change_of_ours(tmp_path: Path, commands: list[str]) -> None:
    known = {qemu.versions(qemu.build())}
    for number, name in enumerate(("overlay/new.c", "upstream/0001-x.patch", "patches/0001-y.patch"), 2):
        (tmp_path / name).write_text(NEW_FILE.replace("new.c", f"new{number}.c") if name.endswith("patch") else "new")
        known.add(qemu.versions(qemu.build()))
        assert len(known) == number


def test_the_plain_source_has_devices_of_its_own(tmp_path: Path, commands: list[str]) -> None:
    """The list of devices in the overlay is not in a tree without it."""
    (tmp_path / "sent.patch").write_text(NEW_FILE)
    with qemu.compiled("plain", of="-upstream", devices="default", apply_to=lambda tree: None):
        assert commands[-2].endswith(" --with-devices-x86_64=default")
    qemu.build()
    assert "--with-devices-x86_64=shirq" in commands[-2]


def test_changed_configure_arguments_configure_anew(tmp_path: Path, commands: list[str]) -> None:
    qemu.build("tried", ["--enable-this"])
    (tmp_path / "overlay/new.c").touch()
    qemu.build("tried", ["--enable-this"])
    assert configured(commands) == ["--enable-this"]
    qemu.build("tried", ["--enable-that"])
    assert configured(commands) == ["--enable-this", "--enable-that"]
