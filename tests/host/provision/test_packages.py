# SPDX-License-Identifier: MIT
"""The packages of `make packages`: contents, reproducibility, and the binding's Debian package in use."""

from __future__ import annotations

import argparse
import fnmatch
import gzip
import hashlib
import os
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

import debian_root
from installing import EPOCH, TOP, build_packages, must
from pci_tree import EDU, NIC, Tree
from shirq import ctl
from shirq_bench.provision import packages as builder
from shirq_bench.provision.kmod import _LEAVINGS
from shirq_bench.provision.steps import BuildError

VERSION = builder.version(TOP)
DKMS, BINDING = (f"{name}_{VERSION}_all.deb" for name in ("shirq-dkms", "python3-shirq"))


def _copy(into: Path) -> Path:
    """Copy the checkout's files without the repository and build output; returns the copy."""
    made = shutil.ignore_patterns(".git", ".venv", ".*_cache", ".hypothesis", "build", "__pycache__", *_LEAVINGS)
    shutil.copytree(TOP, into, ignore=made, symlinks=True)
    return into


def _digests(directory: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in directory.iterdir()}


def _unpacked(deb: Path, into: Path) -> Path:
    """Unpack a package, with its control files in DEBIAN/; returns the directory."""
    must("dpkg-deb", "--raw-extract", deb, into, cwd=deb.parent)
    return into


def _files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


# ------------------------------------------------------------------- builds


def test_every_package_is_built(packages: Path) -> None:
    assert {path.name for path in packages.iterdir()} == {
        f"shirq_bench-{VERSION}.tar.gz",
        f"shirq_bench-{VERSION}-py3-none-any.whl",
        f"shirq-{VERSION}.tar.gz",
        f"shirq-{VERSION}-py3-none-any.whl",
        DKMS,
        BINDING,
    }


def test_two_builds_are_identical(packages: Path, tmp_path: Path) -> None:
    """The second build has another folder, other file times and modes, and another umask, time zone and language."""
    copy = _copy(tmp_path / "copy")
    mask = os.umask(0o077)
    try:
        for path in copy.rglob("*"):
            if path.is_file() and not path.is_symlink():
                path.chmod(0o700 if os.access(path, os.X_OK) else 0o600)
                os.utime(path, (0, 1_000_000_000))
        again = build_packages(copy, tmp_path, TZ="Asia/Tokyo", LC_ALL="C", PYTHONHASHSEED="7")
    finally:
        os.umask(mask)
    assert _digests(again) == _digests(packages)


def test_a_second_build_replaces_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packages of an earlier version are removed, and build/ contains nothing else."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", EPOCH)
    stale = tmp_path / "build/packages/shirq-0.0.1.tar.gz"
    stale.parent.mkdir(parents=True)
    stale.touch()
    assert {path.name for path in builder.build()} == {path.name for path in stale.parent.iterdir()}
    assert not stale.exists()
    assert [path.name for path in (tmp_path / "build").iterdir()] == ["packages"]


def test_the_time_is_the_last_commits_or_what_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    for words in (
        ["init", "-q"],
        ["-c", "user.name=a", "-c", "user.email=b", "commit", "-q", "--allow-empty", "-m", "c"],
    ):
        dates = {"GIT_COMMITTER_DATE": "1234567890 +0900", "GIT_AUTHOR_DATE": "1111111111 +0000"}
        subprocess.run(["git", *words], cwd=tmp_path, env={**os.environ, **dates}, check=True)
    assert builder.source_date_epoch(tmp_path) == 1234567890
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    assert builder.source_date_epoch(tmp_path) == 86400


def test_a_time_that_is_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(BuildError, match="SOURCE_DATE_EPOCH is 'yesterday': it must be a number of seconds"):
        builder.source_date_epoch(TOP)
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(BuildError, match=r"not a git repository.*set SOURCE_DATE_EPOCH"):
        builder.source_date_epoch(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildError, match=r"git is not installed.*set SOURCE_DATE_EPOCH"):
        builder.source_date_epoch(tmp_path)


@pytest.mark.parametrize("name", ["guest/shirq/__init__.py", "kmod/dkms.conf"])
def test_versions_that_disagree_are_refused(tmp_path: Path, name: str) -> None:
    for part in ("pyproject.toml", "guest/shirq/__init__.py", "kmod/dkms.conf"):
        (tmp_path / part).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(TOP / part, tmp_path / part)
    assert builder.version(tmp_path) == VERSION
    text = (tmp_path / name).read_text()
    (tmp_path / name).write_text(text.replace(f'"{VERSION}"', '"9.9"'))
    with pytest.raises(BuildError, match=f"these files disagree: pyproject.toml: {VERSION}.*{name}: 9.9"):
        builder.version(tmp_path)
    (tmp_path / name).write_text("")
    with pytest.raises(BuildError, match=f"{name} states no version"):
        builder.version(tmp_path)


def test_what_the_build_lacks_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a tool is missing, the error names it, and the packages of an earlier build stay."""
    monkeypatch.chdir(tmp_path)
    earlier = tmp_path / "build/packages/earlier"
    earlier.parent.mkdir(parents=True)
    earlier.touch()
    with monkeypatch.context() as without:
        without.setenv("PATH", str(tmp_path))
        with pytest.raises(BuildError, match="needs dpkg-deb, which this machine lacks: install the package dpkg"):
            builder.build()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BuildError, match=r"needs hatchling, which .* does not find: run `make deps`"):
        builder.build()
    assert [path.name for path in earlier.parent.iterdir()] == ["earlier"]


def test_an_unknown_placeholder_is_refused(tmp_path: Path) -> None:
    template = tmp_path / "control"
    template.write_text("Version: @VERSION@\nSize: @SIZE@\n")
    with pytest.raises(BuildError, match=r"control: unknown placeholder @SIZE@; known: VERSION"):
        builder._filled(template, {"VERSION": "1"})
    assert builder._filled(template, {"VERSION": "1", "SIZE": "2"}) == "Version: 1\nSize: 2\n"


def test_the_changelog_has_the_version() -> None:
    headings = re.findall(r"^## \[(.+?)\]", (TOP / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert VERSION in headings


# ---------------------------------------------------------- Debian packages


def test_the_dkms_package_has_the_modules_source_and_no_more(packages: Path, tmp_path: Path) -> None:
    """The package has all files of kmod/ except build output; the documents are in its documentation folder."""
    root = _unpacked(packages / DKMS, tmp_path / "root")
    here = {path.name for path in (TOP / "kmod").iterdir()}
    kept = {name for name in here if not any(fnmatch.fnmatch(name, pattern) for pattern in _LEAVINGS)}
    documents = {"README.md", "SECURITY.md"}
    source = root / f"usr/src/shirq-{VERSION}"
    assert _files(source) == kept - documents
    for name in kept - documents:
        assert (source / name).read_bytes() == (TOP / "kmod" / name).read_bytes()
    shown = {name.removesuffix(".gz") for name in _files(root / "usr/share/doc/shirq-dkms")}
    assert shown == documents | {"CHANGELOG.md", "changelog", "copyright"}


def test_a_build_in_place_leaves_nothing_in_the_package(tmp_path: Path) -> None:
    for name in ("main.c", "main.o", "shirq.mod.c", "shirq.ko", "Module.symvers", "Kbuild", ".main.o.cmd", "core.h"):
        (tmp_path / name).touch()
    assert [path.name for path in builder._module_files(tmp_path)] == ["Kbuild", "core.h", "main.c"]


def test_the_bindings_package_has_what_its_wheel_has(packages: Path, tmp_path: Path) -> None:
    root = _unpacked(packages / BINDING, tmp_path / "root")
    place = root / "usr/lib/python3/dist-packages"
    with zipfile.ZipFile(packages / f"shirq-{VERSION}-py3-none-any.whl") as archive:
        archive.extractall(tmp_path / "wheel")
    wheel = tmp_path / "wheel"
    dist = f"shirq-{VERSION}.dist-info"
    assert _files(place) == _files(wheel) - {f"{dist}/RECORD", f"{dist}/licenses/LICENSES/MIT.txt"}
    for name in _files(place):
        assert (place / name).read_bytes() == (wheel / name).read_bytes()


@pytest.mark.parametrize("deb", [DKMS, BINDING], ids=["dkms", "binding"])
def test_a_debian_package_is_well_formed(packages: Path, tmp_path: Path, deb: str) -> None:
    """All files belong to root, with usual modes and one time; checksums, scripts, licence and changelog are right."""
    listed = must("dpkg-deb", "--contents", packages / deb, cwd=tmp_path).splitlines()
    owners = {line.split()[1] for line in listed}
    modes = {line.split()[0] for line in listed if not line.split()[5].startswith("./usr/bin/")}
    assert owners == {"root/root"}
    assert modes == {"drwxr-xr-x", "-rw-r--r--"}
    assert len({tuple(line.split()[3:5]) for line in listed}) == 1

    root = _unpacked(packages / deb, tmp_path / "root")
    control = root / "DEBIAN"
    assert f"Version: {VERSION}\n" in (control / "control").read_text()
    must("md5sum", "--check", "--quiet", "--strict", control / "md5sums", cwd=root)
    sums = {line.split("  ")[1] for line in (control / "md5sums").read_text().splitlines()}
    assert sums == {name for name in _files(root) if not name.startswith("DEBIAN/")}
    for script in ("postinst", "prerm"):
        assert (control / script).stat().st_mode & 0o777 == 0o755
        must("sh", "-n", control / script, cwd=root)
    for path in (*control.iterdir(), *root.glob("usr/share/doc/*/copyright")):
        assert not re.search(r"@[A-Z_]+@", path.read_text()), path
    name = deb.partition("_")[0]
    (copyright_file,) = root.glob("usr/share/doc/*/copyright")
    assert "Permission is hereby granted, free of charge" in copyright_file.read_text()
    changelog = gzip.decompress((root / f"usr/share/doc/{name}/changelog.gz").read_bytes()).decode()
    assert changelog.startswith(f"shirq ({VERSION}) ")


def test_the_manual_page_has_every_verb_and_option() -> None:
    """The manual page also has no option that does not exist."""
    manual = (TOP / "packages/python3-shirq/shirqctl.1").read_text().replace("\\-", "-")
    (verbs,) = [each for each in ctl._parser()._actions if isinstance(each, argparse._SubParsersAction)]
    assert {"list", "lint", "watch"} < verbs.choices.keys()
    parsers = [ctl._parser(), *verbs.choices.values()]
    options = {name for each in parsers for action in each._actions for name in action.option_strings}
    assert set(re.findall(r"(?<![\w-])--?[a-z]\w*", manual)) == options
    headings = re.findall(r'(?m)^\.BR (\w+)(?: ", " (\w+))?', manual)
    assert {name for each in headings for name in each if name} == verbs.choices.keys()


@pytest.mark.long
def test_lintian_finds_nothing(packages: Path, tmp_path: Path) -> None:
    """lintian reports neither errors nor warnings."""
    found = must(
        "lintian", "--fail-on=error,warning", "--allow-root", packages / DKMS, packages / BINDING, cwd=tmp_path
    )
    assert not re.findall(r"^[EW]:.*$", found, re.MULTILINE)


_USE = """
import='import importlib.metadata, shirq; print(shirq.__file__, importlib.metadata.version("shirq"))'
apt-get install -y -q --no-install-recommends /mnt/python3-shirq_*.deb
ls /usr/lib/python3/dist-packages/shirq/__pycache__ | grep -q '^ctl\\.'  # compiled by postinst
set +x
echo "== version";  shirqctl --version
echo "== list";     shirqctl list
echo "== lint";     shirqctl lint rtl8139 e1000
echo "== refused";  shirqctl lint /mnt/wrong/rtl8139.toml && exit 1 || echo "status $?"
echo "== simulate"; shirqctl simulate rtl8139 --set IntrStatus=0x1 --set IntrMask=0xc07f
echo "== import";   python3 -c "$import"
apt-get purge -y -q python3-shirq >/mnt/purge 2>&1
echo "== left";     find / -xdev -name '*shirq*' -not -path '/mnt/*' -not -path '/proc/*' -not -path '/var/*'
"""


@pytest.mark.long
@pytest.mark.parametrize("suite", ["bookworm", "trixie"])
def test_the_bindings_package_works_on_debian(packages: Path, tmp_path: Path, suite: str) -> None:
    """The package works with only its dependencies installed, and leaves no files when it is purged."""
    shutil.copy(packages / BINDING, tmp_path)
    profile = (TOP / "guest/profiles/rtl8139.toml").read_text()
    wrong = tmp_path / "wrong/rtl8139.toml"
    wrong.parent.mkdir()
    wrong.write_text(re.sub(r"(?m)^.*flushes the posted write\n", "", profile))
    Tree(tmp_path)
    said = debian_root.run(_USE, tmp_path, packages=["python3"], suite=suite, binds={tmp_path / "sys": "/sys"})
    told = dict(zip(*[iter(re.split(r"(?m)^== (\w+)\n", said)[1:])] * 2, strict=True))
    assert told["version"] == f"shirqctl {VERSION}\n"
    rows = {line.split()[0]: line.split()[1:] for line in told["list"].splitlines()}
    assert rows[EDU][5:7] == ["shirq-edu", NIC]
    assert told["lint"] == ""
    assert "posted-write: irq:" in told["refused"] and told["refused"].endswith("status 3\n")
    assert "=> claimed r0=0x1" in told["simulate"]
    assert told["import"] == f"/usr/lib/python3/dist-packages/shirq/__init__.py {VERSION}\n"
    assert told["left"] == ""
