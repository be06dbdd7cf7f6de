# SPDX-License-Identifier: MIT
"""`shirq diagnose` on two made-up reports of one machine, from their texts to the case that shows the fault."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from shirq_bench.campaigns.diagnose import output
from shirq_bench.campaigns.diagnose.diagnose import RUNS
from shirq_bench.campaigns.diagnose.run import ARCHIVE
from shirq_bench.cli.main import main
from shirq_bench.replay import failure

LOG = """\
[    0.000000] Linux version 6.1.0-57-amd64 (gcc-12) #1 SMP
[    4.100000] daq 0000:00:1a.0: ready
[  812.000000] irq 18: nobody cared (try booting with the "irqpoll" option)
[  812.000001] handlers:
[  812.000002] [<00000000aaaaaaaa>] daq_interrupt [daq]
[  812.000003] Disabling IRQ #18
"""
TABLE = "           CPU0\n 18:     100213   IO-APIC  18-fasteoi   daq\n"
LSPCI = """\
00:1a.0 Data acquisition [1180]: Made up [1a2b:0001] (rev 01)
\tControl: I/O+ Mem+ BusMaster+ SpecCycle- MemWINV- VGASnoop- ParErr- Stepping- SERR- FastB2B- DisINTx-
\tStatus: Cap- 66MHz- UDF- FastB2B- ParErr- DEVSEL=medium >TAbort- <TAbort- <MAbort- >SERR- <PERR- INTx-
\tInterrupt: pin A routed to IRQ 18
\tKernel driver in use: daq

03:04.0 Bridge device [1180]: Made up [10b5:9050] (rev 02)
\tControl: I/O+ Mem+ BusMaster- SpecCycle- MemWINV- VGASnoop- ParErr- Stepping- SERR- FastB2B- DisINTx-
\tStatus: Cap- 66MHz- UDF- FastB2B- ParErr- DEVSEL=medium >TAbort- <TAbort- <MAbort- >SERR- <PERR- INTx+
\tInterrupt: pin A routed to IRQ 18
"""


@pytest.mark.parametrize(
    ("driver", "cause", "next_best"),
    [
        pytest.param("", "orphan-asserts", "polls-with-interrupts-on", id="undriven"),
        pytest.param("\tKernel driver in use: plc\n", "polls-with-interrupts-on", "orphan-asserts", id="polling"),
    ],
)
def test_the_cause_of_a_report_is_first_and_its_case_shows_it(
    driver: str, cause: str, next_best: str, tmp_path: Path
) -> None:
    report, guest = tmp_path / "report", tmp_path / "guest"
    report.mkdir()
    for name, content in (("dmesg", LOG), ("interrupts", TABLE), ("lspci", LSPCI + driver)):
        (report / f"{name}.txt").write_text(content)
    run = CliRunner().invoke
    assert run(main, ["import", str(report), "--out", str(guest)]).exit_code == 0
    chosen = [word for name in (cause, next_best) for word in ("--only", name)]
    done = run(main, ["diagnose", str(guest), "--json", *chosen])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert [one["hypothesis"] for one in found["ranking"]] == [cause, next_best]
    assert [*found["ranking"][0]["against"]] == []
    assert [*found["ranking"][1]["against"]] == ["asserter"]
    assert found["rivals"] == [cause]
    assert f"case run {output.CASE}" in (guest / output.README).read_text()
    # The run can be played again by what it left, too.
    assert failure.load(guest / RUNS / cause).sources
    replayed = run(main, ["replay", str(guest / RUNS / cause)])
    assert replayed.exit_code == 0 and "same finding: line disabled" in replayed.output, replayed.output
    # The picture shows the line, and the guest's texts are kept.
    assert "<iframe" in (guest / output.PICTURE).read_text()
    assert (guest / RUNS / cause / ARCHIVE).stat().st_size
    words = ["case", "run", str(guest / output.CASE), "--driver", "naive", "--reproduce", "-o", str(tmp_path / "again")]
    again = run(main, words)
    assert again.exit_code == 0, again.output
