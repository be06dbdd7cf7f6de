# SPDX-License-Identifier: MIT
"""The pages about UIO: the test runs their commands in a guest; and the unit that runs at boot."""

from __future__ import annotations

import re

import pytest

from guest.test_uio import FACED
from shirq_bench.observe.scene import Scene
from shirq_bench.paths import need_checkout
from shirq_bench.plugin import Boot
from shirq_bench.vm.machine import ADDRESSES, SHARED_LINE

_TOP = need_checkout("running the commands of the documents")
_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"^# (.*)\n((?:(?!# ).*\n)*)", re.MULTILINE)
_UNBOUND = SHARED_LINE.with_(prepare=(*FACED.prepare[:2], "modprobe uio"))


@pytest.mark.parametrize("page", ["uio", "from-drivers"])
def test_each_command_of_a_page_says_what_the_page_shows(boot: Boot, page: str) -> None:
    """``...`` in a page matches any text."""
    scene = Scene(boot(_UNBOUND))
    commands = 0
    for block in _BLOCK.findall((_TOP / f"docs/howto/{page}.md").read_text()):
        for command, shown in _COMMAND.findall(block):
            commands += 1
            result = scene.vm.agent.run("sh", "-c", command, deadline=60)
            wanted = r"[\s\S]*".join(re.escape(part) for part in shown.split("..."))
            assert re.fullmatch(wanted, result.stdout + result.stderr), f"{command}\n{result.stdout}{result.stderr}"
    assert commands > 6


def test_the_unit_of_systemd_makes_and_removes_the_uio_device(boot: Boot) -> None:
    """Its commands, run as systemd would run them; the udev rule starts the unit of a function with a file."""
    scene = Scene(boot(_UNBOUND))
    scene.run("mkdir -p /sbin && ln -s /bin/modprobe /sbin/modprobe")
    # The bench has loaded the module already; modprobe finds it by its name.
    scene.run("mkdir -p /etc/shirq/uio && depmod 2>/dev/null; true")
    folder = _TOP / "packages/python3-shirq"
    address = ADDRESSES["dev1"]
    unit = dict[str, list[str]]()
    for line in (folder / "shirq-uio@.service").read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals:
            unit.setdefault(key, []).append(value.replace("%i", address))
    assert unit["EnvironmentFile"] == [f"/etc/shirq/uio/{address}"]
    (load, bind), (start,), (stop,) = unit["ExecStartPre"], unit["ExecStart"], unit["ExecStop"]
    assert load == "/sbin/modprobe shirq"
    for command in (bind, f"CARD=shirq-edu; {start}", "test -c /dev/uio0", stop, "! test -e /dev/uio0"):
        scene.run(command)
    rules = (folder / "70-shirq-uio.rules").read_text()
    assert 'TEST=="/etc/shirq/uio/$kernel"' in rules and 'ENV{SYSTEMD_WANTS}+="shirq-uio@$kernel.service"' in rules
