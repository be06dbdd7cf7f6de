# SPDX-License-Identifier: MIT
"""Every allocation of a system call fails once: the call returns the error, has no partial effect, and leaks nothing.

The kernel's fail-nth makes the n-th allocation of the calling task fail. The test makes a call with n = 1, 2, ... until
the call makes fewer than n allocations. Many of these allocations are made by code outside the module that tolerates
the failure: then the call succeeds.
"""

from __future__ import annotations

import pytest

from guest.guest_python import finish, start
from guest.port import behind_a_port
from guest.scripts import allocation_failures
from shirq_bench.observe.scene import Scene
from shirq_bench.plugin import Boot

pytestmark = pytest.mark.needs_kernel("debug")


def test_binding_fails_cleanly_at_each_allocation(scene: Scene) -> None:
    lines = finish(start(scene, "dev0", allocation_failures.bind), deadline=200)
    allocations, *answers = lines[0].split()
    assert int(allocations) > 20, "hardly any allocation failed"
    # If the PCI core cannot allocate a region, it uses a spare one; without a spare one it returns EBUSY.
    assert {"ENOMEM", "OK"} <= set(answers) <= {"EBUSY", "ENOMEM", "OK"}
    assert lines[1:] == ["OPEN", "no leak"]


def test_every_call_fails_cleanly_at_each_allocation(scene: Scene) -> None:
    scene.run("modprobe uio")
    lines = finish(start(scene, "dev0", allocation_failures.calls), deadline=200)
    assert lines[-2:] == ["state armed", "no leak"]
    answers = {name: found for name, _, *found in map(str.split, lines[:-2])}
    for name in ("open", "load", "exec", "arm", "master", "mmap", "uio", "face"):
        assert "ENOMEM" in answers[name], f"no failed allocation made {name} fail with ENOMEM"
    assert set().union(*answers.values()) <= {"ENOMEM", "OK"}


def test_messages_fail_cleanly_at_each_allocation(boot: Boot) -> None:
    """Allocating and arming messages fails cleanly; the PCI core has several errors for a lack of memory."""
    scene = Scene(boot(behind_a_port("msi=on", "pm=on", "pcie=on")))
    lines = finish(start(scene, "dev2", allocation_failures.messages), deadline=200)
    assert lines[-2:] == ["state armed", "no leak"]
    answers = {name: found for name, _, *found in map(str.split, lines[:-2])}
    assert {"ENOMEM"} <= set(answers["messages"]) <= {"ENOMEM", "ENOSPC", "OK"}
    assert {"ENOMEM"} <= set(answers["arm"]) <= {"ENOMEM", "OK"}


def test_module_load_fails_cleanly_at_each_own_allocation(scene: Scene) -> None:
    """Loading the module fails cleanly at each of the module's own allocations.

    The kernel's loader makes hundreds of allocations first; the module's own are among the last 150.
    """
    lines = finish(start(scene, "dev0", allocation_failures.module_load), deadline=200)
    allocations, *answers = lines[0].split()
    assert int(allocations) > 300
    # The driver core returns EINVAL if it cannot allocate the links between the driver and the module.
    assert set(answers) - {"EINVAL"} == {"ENOMEM", "OK"}
    assert lines[1:] == ["True no leak"]
