# SPDX-License-Identifier: MIT
"""A kernel that is given by its path is used with its modules and headers, or refused with the reason."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shirq_bench.provision import image, kernel, kmod
from shirq_bench.provision.steps import BuildError

RELEASE = "6.99.0-mine"


def bzimage(release: str, build: str = "#1") -> bytes:
    """Return a bzImage with only the fields that a boot loader and the bench read."""
    header = bytearray(0x10000)
    header[0x202:0x206] = b"HdrS"
    header[0x20E:0x210] = (0x3000 - 0x200).to_bytes(2, "little")
    text = f"{release} (me@here) {build}\0".encode()
    header[0x3000 : 0x3000 + len(text)] = text
    return bytes(header)


@pytest.fixture
def vmlinuz(tmp_path: Path) -> Path:
    """A kernel as installed below a directory by `make install modules_install`; its build tree is elsewhere."""
    (tmp_path / "linux").mkdir()
    (tmp_path / "linux/Makefile").touch()
    modules = tmp_path / "root/lib/modules" / RELEASE
    modules.mkdir(parents=True)
    (modules / "modules.dep").touch()
    (modules / "e1000.ko").write_text("a module")
    (modules / "build").symlink_to(tmp_path / "linux")
    path = tmp_path / "root/boot/vmlinuz"
    path.parent.mkdir()
    path.write_bytes(bzimage(RELEASE))
    return path


def test_a_kernel_comes_with_its_release_modules_and_headers(vmlinuz: Path, tmp_path: Path) -> None:
    found = kernel.get(str(vmlinuz))
    assert (found.release, found.vmlinuz) == (RELEASE, vmlinuz)
    assert found.modules == tmp_path / "root"
    assert found.headers == tmp_path / "linux"


def test_absolute_link_is_followed_below_the_kernels_own_root(vmlinuz: Path, tmp_path: Path) -> None:
    """An absolute symbolic link is resolved below the root directory of the kernel's installation."""
    link = tmp_path / "root/lib/modules" / RELEASE / "build"
    link.unlink()
    link.symlink_to("/usr/src/linux-headers-mine")
    headers = tmp_path / "root/usr/src/linux-headers-mine"
    headers.mkdir(parents=True)
    (headers / "Makefile").touch()
    assert kernel.get(str(vmlinuz)).headers == headers


@pytest.mark.parametrize("what", ["boot/vmlinuz", f"lib/modules/{RELEASE}/e1000.ko"])
def test_rebuilt_kernel_of_the_same_name_is_another_one(vmlinuz: Path, tmp_path: Path, what: str) -> None:
    """A rebuilt kernel has another identity, although its release name is the same."""
    first = kernel.get(str(vmlinuz))
    assert kernel.get(str(vmlinuz)).identity == first.identity
    path = tmp_path / "root" / what
    status = path.stat()
    path.write_bytes(bzimage(RELEASE, "#2") if path == vmlinuz else b"another!")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    again = kernel.get(str(vmlinuz))
    assert again.release == first.release
    assert again.identity != first.identity


def test_what_is_no_kernel_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no kernel")
    with pytest.raises(BuildError, match=r"text is no x86 kernel image \(bzImage\)"):
        kernel.get(str(tmp_path / "text"))
    with pytest.raises(BuildError, match=r"no kernel '/none'; known kernels: 6\.1, .*or give the path of a vmlinuz"):
        kernel.get("/none")


def test_kernel_without_modules_is_refused_with_their_place(vmlinuz: Path) -> None:
    """A kernel without modules is refused, and the error names the directory in which they must be."""
    (vmlinuz.parents[1] / "lib/modules" / RELEASE / "modules.dep").unlink()
    with pytest.raises(BuildError, match=rf"make modules_install INSTALL_MOD_PATH={vmlinuz.parents[1]}"):
        kernel.get(str(vmlinuz))


def test_kernel_without_headers_is_refused_with_the_missing_link(vmlinuz: Path) -> None:
    """A kernel without headers is refused, and the error names the link that is missing or wrong."""
    link = vmlinuz.parents[1] / "lib/modules" / RELEASE / "build"
    link.unlink()
    with pytest.raises(BuildError, match=f"{link} leads to no build tree"):
        kernel.get(str(vmlinuz))


def test_a_directory_without_a_kbuild_is_no_modules_source(vmlinuz: Path, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    with pytest.raises(BuildError, match="source holds neither a Kbuild nor a Makefile"):
        kmod.build_modules(kernel.get(str(vmlinuz)), tmp_path / "source")


def test_an_overlay_that_is_no_directory_is_refused(vmlinuz: Path, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"must be a directory to copy over the guest's root: .*/none is not one"):
        image.overlay_archive(kernel.get(str(vmlinuz)), [], [tmp_path / "none"])


def test_keys_name_the_version_of_a_kernel_of_the_suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest package of a suite differs from time to time: what is made for it must not be taken for another's."""
    made = []
    for number, build in enumerate(("#1 Debian 6.1.190-1", "#1 Debian 6.1.190-1", "#1 Debian 6.1.192-3")):
        monkeypatch.setenv("SHIRQ_CACHE", str(tmp_path / str(number)))
        directory = tmp_path / str(number) / "kernel" / kernel._key("6.1", kernel._table()["6.1"])
        directory.mkdir(parents=True)
        (directory / "release").write_text(RELEASE)
        (directory / "vmlinuz").write_bytes(bzimage(RELEASE, build))
        found = kernel.cached("6.1")
        assert found and found.version == f"{RELEASE} (me@here) {build}"
        made.append(found.identity)
    assert made[0] == made[1] != made[2]
