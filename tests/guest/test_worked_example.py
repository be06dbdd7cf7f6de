# SPDX-License-Identifier: MIT
"""The worked example of kmod/README.md: the test runs each of its commands in a guest that has the card."""

from __future__ import annotations

import re

import pytest

from shirq_bench.observe.scene import Scene
from shirq_bench.paths import KMOD
from shirq_bench.plugin import Boot
from shirq_bench.vm.machine import LOAD_MODULE, NEIGHBOUR_CARD, NEIGHBOUR_UP, Machine

_MACHINE = Machine(
    devices=(
        "rtl8139,id=rtl0,addr=4,netdev=net1,mac=52:54:00:12:34:57,romfile=",
        NEIGHBOUR_CARD,
    ),
    networks=("net0", "net1"),
    prepare=(NEIGHBOUR_UP, LOAD_MODULE),
)
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _shown(text: str) -> re.Pattern[str]:
    """Return a pattern for output that the README shows; ``...`` matches any text."""
    return re.compile(r"[\s\S]*".join(re.escape(part) for part in text.split("...")))


@pytest.fixture
def card(boot: Boot) -> Scene:
    return Scene(boot(_MACHINE))


@pytest.mark.long
def test_the_worked_example_does_what_the_readme_shows(card: Scene) -> None:
    section = (KMOD / "README.md").read_text().split("## A card, from its datasheet to its driver")[1].split("\n## ")[0]
    python = ""
    commands = 0
    folder = "/"
    for kind, body in _BLOCK.findall(section):
        if kind == "python":
            python = body
        elif not kind:
            assert card.vm.agent.run("python3", "-c", python).stdout == body
        for command, shown in (
            re.findall(r"^# (.*)\n((?:(?!# ).*\n)*)", body, re.MULTILINE) if kind == "console" else ()
        ):
            commands += 1
            if command.endswith("&"):
                driver = card.vm.agent.start("sh", "-c", f"exec {command.removesuffix('&')}")
                driver.expect(f"^{shown.strip()}$", deadline=60)
                card.vm.networks["net1"].ping(3)
                continue
            result = card.vm.agent.run("sh", "-c", f"cd {folder}; {command}; pwd >/tmp/folder", deadline=60)
            folder = card.run("cat /tmp/folder").strip()
            assert _shown(shown).fullmatch(result.stdout + result.stderr), f"{command}\n{result.stdout}{result.stderr}"
    assert python and commands >= 8
