# SPDX-License-Identifier: MIT
"""DKMS on a Debian system builds the module, by the package shirq-dkms or by commands; a guest runs the module."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import debian_root
from shirq_bench.observe.scene import Scene
from shirq_bench.paths import KMOD, need_checkout
from shirq_bench.plugin import Boot
from shirq_bench.provision import cache, kernel, packages
from shirq_bench.vm.machine import SHARED_LINE

#: The packages of a system that can build modules; the package shirq-dkms itself depends only on DKMS.
_SYSTEM = ("dkms", "gcc-12", "libelf1")
_KERNEL = """
mkdir -p /lib/modules/{release}
ln -s {headers} /lib/modules/{release}/build
"""
_PACKAGE = """
if ! apt-get install -y -q --no-install-recommends /mnt/shirq-dkms_*.deb; then
    cat /var/lib/dkms/shirq/*/build/make.log
    exit 1
fi
apt-get install -y -q --no-install-recommends --reinstall /mnt/shirq-dkms_*.deb
dkms status
modinfo -k {release} shirq
cp /lib/modules/{release}/updates/dkms/shirq.ko /mnt/
apt-get purge -y -q shirq-dkms
[ -z "$(dkms status)" ]
[ ! -e /lib/modules/{release}/updates/dkms/shirq.ko ]
[ -z "$(ls -d /usr/src/shirq-* /var/lib/dkms/shirq 2>/dev/null)" ]
echo purged
"""


_COMMANDS = """
dkms add /mnt/kmod
dkms install shirq/{version} -k {release}
dkms status
modinfo -k {release} shirq
dkms remove shirq/{version} --all
[ -z "$(dkms status)" ]
[ ! -e /lib/modules/{release}/updates/dkms/shirq.ko ]
"""


def _on_debian(script: str, target: kernel.Kernel, shared: Path) -> str:
    """Run a script on a system with the headers of ``target``; it must install the module. Returns its output."""
    headers = target.headers.resolve()
    # In the cache, a kernel's headers refer to other headers next to them: bind the whole directory.
    tree = cache.root() / "kernel"
    tree = tree if headers.is_relative_to(tree) else headers.parent
    version = packages.version(need_checkout("packages"))
    filled = (_KERNEL + script).format(release=target.release, headers=headers, version=version)
    said = debian_root.run(filled, shared, packages=_SYSTEM, binds={tree: str(tree)})
    assert f"shirq/{version}, {target.release}, x86_64: installed" in said, said
    return said


def _from_package(target: kernel.Kernel, shared: Path) -> Path:
    """Return shirq.ko as DKMS builds it when the package is installed; the package is purged afterwards."""
    assert _on_debian(_PACKAGE, target, shared).endswith("purged\n")
    return shared / "shirq.ko"


@pytest.mark.long
def test_the_readmes_dkms_commands_build_the_module(tmp_path: Path, kernel_name: str) -> None:
    """The commands in the section "Install" of kmod/README.md build the module without a package."""
    shutil.copytree(KMOD, tmp_path / "kmod")
    _on_debian(_COMMANDS, kernel.get(kernel_name), tmp_path)


@pytest.mark.long
def test_the_dkms_package_builds_a_module_that_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, boot: Boot, kernel_name: str
) -> None:
    """DKMS builds the module when the package is installed, and leaves nothing when the package is purged."""
    monkeypatch.chdir(tmp_path)
    # Set the packages' time: mutants are tried in copies of the checkout that have no commit to take it from.
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    packages.build()
    module = _from_package(kernel.get(kernel_name), packages.PACKAGES.absolute())

    scene = Scene(boot(SHARED_LINE))
    scene.run("rmmod shirq")
    scene.upload(module, "/tmp/shirq.ko")
    scene.run("insmod /tmp/shirq.ko")
    scene.bind("dev1")
    driver = scene.drive("dev1")
    scene.raise_("dev1", bits=0x10)
    assert driver.next_event().status == 0x10
