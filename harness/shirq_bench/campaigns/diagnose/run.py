# SPDX-License-Identifier: MIT
"""Plays a hypothesis in a guest, and reads what the guest shows as a reporter's texts are read."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shirq_bench.campaigns.diagnose.hypothesis import Hypothesis
from shirq_bench.campaigns.diagnose.reproduction import IRQ, Reproduction
from shirq_bench.campaigns.zoo.run import Played, addresses, machine, play
from shirq_bench.errors import BenchError
from shirq_bench.intake import join, symptoms, text
from shirq_bench.intake.report import Line, Report
from shirq_bench.vm.vm import Vm

#: The driver that a case of a hypothesis is played with. It is loaded, and takes a device only if a step says so.
DRIVER: Final = "naive"
#: The guest's texts, in the folder of the run.
ARCHIVE: Final = "shirq-report.tar.gz"
_COLLECT_S: Final = 120.0


class NotShown(BenchError):
    """The run of a hypothesis did not show the symptom by which its fault is known: the data are wrong."""


@dataclass(frozen=True)
class Run:
    """A hypothesis that was played: the result, and the symptoms that the guest's texts show."""

    hypothesis: Hypothesis
    played: Played
    symptoms: dict[str, str | None]


def run(hypothesis: Hypothesis, reproduction: Reproduction, kernel: str, folder: Path) -> Run:
    """Play a hypothesis; the guest's artefacts and texts go into the folder, and the case into a file beside it.

    Raises `NotShown`, and what `play` raises.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    file = folder.parent / f"{hypothesis.id}.toml"
    case = reproduction.save(hypothesis, file)
    texts = b""

    def last(vm: Vm) -> None:
        nonlocal texts
        texts = collect(vm)

    played = play(case, DRIVER, kernel, keep=folder, file=file, last=last)
    archive = folder / ARCHIVE
    archive.write_bytes(texts)
    report = join.report(text.read([archive]))
    _hide(report, reproduction, hypothesis, addresses(machine(case, kernel).devices))
    line = next((one for one in report.lines if one.irq == IRQ), Line(IRQ))
    found = symptoms.of_guest(report, line)
    wrong = [
        f"{key} is {found[key] or 'not shown'}, must be {word}"
        for key, word in hypothesis.symptoms.items()
        if found[key] != word
    ]
    if not played.shows:
        wrong.append(f"the outcome is {played.result.outcome}, must be {' or '.join(hypothesis.shows)}")
    if wrong:
        raise NotShown(
            f"the run of {hypothesis.id} does not show its own symptom: {'; '.join(wrong)}\nThe guest is in {folder}"
        )
    return Run(hypothesis, played, found)


def collect(vm: Vm) -> bytes:
    """The archive of `shirq collect` in a guest."""
    script = f"cd /tmp && sh >/dev/null && base64 {ARCHIVE}"
    done = vm.agent.run("sh", "-c", script, stdin=join.COLLECT.read_text(), deadline=_COLLECT_S)
    if done.status:
        raise BenchError(f"{vm.name}: collecting the guest's texts failed with status {done.status}: {done.stderr}")
    return base64.b64decode(done.stdout)


def _hide(report: Report, reproduction: Reproduction, hypothesis: Hypothesis, places: dict[str, str]) -> None:
    """Take out of a guest's report what the report's machine would not list."""
    names = {address.removeprefix("0000:"): name for name, address in places.items()}
    gone = [
        device
        for device in report.devices
        if device.address
        and (name := names.get(device.address))
        and reproduction.hides(name, hypothesis, device.get("driver"))
    ]
    who = {device.who for device in gone}
    report.devices = [device for device in report.devices if device.who not in who]
    report.suspects = [suspect for suspect in report.suspects if suspect.who not in who]
