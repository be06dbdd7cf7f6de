# SPDX-License-Identifier: MIT
"""The kernel log that the plugin searches for splats."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from agentguest import guest
from shirq_bench.channels.agent import _Frame
from shirq_bench.plugin.artefacts import kernel_log
from shirq_bench.vm.vm import Vm


def test_a_kernel_log_that_is_not_read_whole_is_the_consoles(tmp_path: Path) -> None:
    """If dmesg fails, its output may lack a splat: the plugin uses the console's text instead."""

    def dmesg() -> None:
        _, number, _ = vm.hears()
        vm.says(_Frame.STDOUT, number, b"a part\n")
        vm.exits(number, 1)

    with guest() as vm:
        threading.Thread(target=dmesg).start()
        whole = SimpleNamespace(
            started=True,
            dir=tmp_path,
            agent=vm.agent,
            qmp=SimpleNamespace(execute=lambda command, **arguments: ""),
            console=SimpleNamespace(text=lambda: "all of it"),
        )
        assert kernel_log(cast(Vm, whole)) == "all of it"
