# SPDX-License-Identifier: MIT
"""The module packaged with dkms: added, built and installed as on a machine with headers, then run in a guest."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from shirq_bench.observe.scene import Scene
from shirq_bench.paths import KMOD
from shirq_bench.plugin import Boot
from shirq_bench.provision import kernel
from shirq_bench.vm.machine import SHARED_LINE


def _dkms(trees: Path, verb: str, *arguments: str | Path) -> None:
    """One dkms command on trees of its own. It asks for root, which fakeroot pretends to be: its trees are ours."""
    command = [
        "fakeroot",
        "/usr/sbin/dkms",
        verb,
        "--dkmstree",
        trees / "dkms",
        "--sourcetree",
        trees / "src",
        *arguments,
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    logs = "\n".join(log.read_text() for log in trees.rglob("make.log")) if done.returncode else ""
    assert done.returncode == 0, f"{done.stdout}\n{logs}"


@pytest.mark.long
def test_dkms_builds_and_installs_a_module_that_works(tmp_path: Path, boot: Boot, kernel_name: str) -> None:
    target = kernel.get(kernel_name)
    installed = tmp_path / "modules"
    for tree in (tmp_path / "dkms", tmp_path / "src", installed / target.release):
        tree.mkdir(parents=True)
    of_kernel = ("-k", target.release, "--kernelsourcedir", target.headers.resolve())
    _dkms(tmp_path, "add", KMOD)
    (version,) = (path.name.removeprefix("shirq-") for path in (tmp_path / "src").iterdir())
    _dkms(tmp_path, "build", f"shirq/{version}", *of_kernel)
    _dkms(tmp_path, "install", f"shirq/{version}", *of_kernel, "--installtree", installed, "--no-depmod")
    module = installed / target.release / "updates/dkms/shirq.ko"

    scene = Scene(boot(SHARED_LINE))
    scene.run("rmmod shirq")
    scene.upload(module, "/tmp/shirq.ko")
    scene.run("insmod /tmp/shirq.ko")
    scene.bind("dev1")
    driver = scene.drive("dev1")
    scene.raise_("dev1", bits=0x10)
    assert driver.next_event().status == 0x10

    _dkms(tmp_path, "remove", f"shirq/{version}", "--all", "--installtree", installed, "--no-depmod")
    assert not module.exists()
