# SPDX-License-Identifier: MIT
"""Listings of /sys/kernel/irq, as grep, head and tail print them."""

from __future__ import annotations

import pytest

from shirq_bench.intake import sysfs, text
from shirq_bench.intake.facts import Facts, Route

VALUES = {
    "actions": "i801_smbus,enp3s0",
    "chip_name": "IO-APIC",
    "hwirq": "18",
    "name": "fasteoi",
    "per_cpu_count": "0,41022,122465,0",
    "type": "level",
}


def routes(contents: str) -> list[Route]:
    found = Facts()
    sysfs.find(text.clean([("listing", contents)]).lines, found)
    return found.routes


@pytest.mark.parametrize("folder", ["/sys/kernel/irq/", "./", ""])
def test_a_listing_of_grep_is_read(folder: str) -> None:
    (route,) = routes("".join(f"{folder}18/{key}:{value}\n" for key, value in VALUES.items()))
    assert (route.irq, route.hwirq, route.chip, route.trigger) == (18, 18, "IO-APIC", "level")
    assert (route.names, route.total, route.message) == (("i801_smbus", "enp3s0"), 163487, True)


def test_a_listing_of_head_is_read() -> None:
    (route,) = routes("".join(f"==> /sys/kernel/irq/18/{key} <==\n{value}\n\n" for key, value in VALUES.items()))
    assert (route.irq, route.names, route.total) == (18, ("i801_smbus", "enp3s0"), 163487)


def test_empty_files_state_nothing() -> None:
    (route,) = routes("==> /sys/kernel/irq/5/hwirq <==\n==> /sys/kernel/irq/5/actions <==\n\n")
    assert (route.hwirq, route.names, route.total, route.trigger) == (None, (), None, None)


@pytest.mark.parametrize("line", ["18/name: somebody\n", "the file 18/type:level\n", "/sys/class/18/type:level\n"])
def test_other_paths_are_no_listing(line: str) -> None:
    assert routes(line) == []
