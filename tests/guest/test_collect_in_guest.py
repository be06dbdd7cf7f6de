# SPDX-License-Identifier: MIT
"""`shirq collect`'s script on a small machine without lspci, and the import of what it wrote."""

from __future__ import annotations

import base64
from pathlib import Path

from shirq_bench.cli.intake import SCRIPT
from shirq_bench.intake import join, text
from shirq_bench.vm.machine import GSI
from shirq_bench.vm.vm import Vm


def test_a_report_of_a_guest_has_its_shared_line(vm: Vm, tmp_path: Path) -> None:
    # The ten seconds between two tables of the counts show a storm; here is none.
    done = vm.agent.run("sh", "-c", "cd /tmp && sed 's/sleep 10/:/' | sh", stdin=SCRIPT.read_text(), deadline=120)
    assert done.status == 0, done.stderr
    archive = tmp_path / "shirq-report.tar.gz"
    archive.write_bytes(base64.b64decode(vm.agent.succeed("base64 /tmp/shirq-report.tar.gz")))
    report = join.report(text.read([archive]))
    line = next(one for one in report.lines if one.irq == GSI)
    assert line.get("trigger") == "level" and not line.died
    assert {"eth0"} <= set(line.get("names"))
    functions = {one.address: one for one in report.devices}
    edu = functions["00:08.0"]
    assert (edu.get("vendor"), edu.get("device"), edu.get("pin"), edu.get("driver")) == ("1234", "11e9", "A", "shirq")
    assert (functions["00:0c.0"].get("driver"), functions["00:0c.0"].get("pin")) == ("e1000", "A")
