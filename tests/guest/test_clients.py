# SPDX-License-Identifier: MIT
"""UIO programs that were not written for shirq, a few interrupts each; `make clients` runs them for longer."""

from __future__ import annotations

import pytest

from shirq_bench.campaigns import clients
from shirq_bench.observe.scene import Scene
from shirq_bench.plugin import Boot
from shirq_bench.vm.machine import ADDRESSES

INTERRUPTS = 50


@pytest.mark.parametrize("name", clients.CLIENTS)
def test_a_uio_program_serves_a_shared_line(boot: Boot, kernel_name: str, name: str) -> None:
    """Every interrupt comes once; the program is killed while its device is pending, and the line is low."""
    figures = clients.serve(Scene(boot(clients.machine(kernel_name, INTERRUPTS))), clients.CLIENTS[name], INTERRUPTS)
    assert figures["pings"] > 0


def test_dpdk_refuses_the_function_by_its_drivers_name(scene: Scene) -> None:
    """The negative case: DPDK knows three drivers by their names, and maps by sysfs, which shirq does not allow."""
    result = scene.vm.agent.run("python3", "/usr/share/shirq/drivers/clients/dpdk.py", ADDRESSES["dev0"])
    assert result.status == 1
    assert result.stdout == f"{ADDRESSES['dev0']}: not managed by a driver that DPDK knows, but by shirq: skipped\n"
