# SPDX-License-Identifier: MIT
"""Plays a failure again, in its own machine's guests or elsewhere, and says whether the same was found."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shirq_bench.campaigns import pytests
from shirq_bench.campaigns.sweep import findings
from shirq_bench.campaigns.zoo import case as cases
from shirq_bench.campaigns.zoo.own import Own
from shirq_bench.campaigns.zoo.run import play as play_case
from shirq_bench.channels.log import LOG, read_log
from shirq_bench.errors import BenchError
from shirq_bench.observe.source_lines import splats_of
from shirq_bench.provision import kernel
from shirq_bench.replay import compare, failure
from shirq_bench.replay.case import Finding
from shirq_bench.replay.compare import Comparison
from shirq_bench.replay.failure import Failure, OfCase, OfCommand, OfSweep, OfTest
from shirq_bench.replay.play import Start
from shirq_bench.vm import environment, template
from shirq_bench.vm.machine import Machine

#: Seconds that a test may take.
_DEADLINE = 3600.0
_ID = re.compile(r"[\w.-]+")


@dataclass(frozen=True)
class Again:
    """A failure that was played again. ``found`` is what was found this time, nothing if all went well.

    ``differing`` says which versions differ; ``logs`` compares the log of each guest with the one of the failure.
    """

    found: tuple[str, ...]
    same: bool
    differing: tuple[str, ...]
    logs: tuple[Comparison, ...]

    def words(self, then: Sequence[str]) -> list[str]:
        """The verdict in sentences; ``then`` is what the failure has found."""
        said = [f"another version: {each}" for each in self.differing] or ["the versions are the same"]
        said += [each.words for each in self.logs]
        if self.same:
            return [*said, f"same finding: {'; '.join(self.found)}"]
        if not self.found:
            return [*said, f"no finding: this time all went well; the failure was: {'; '.join(then)}"]
        return [*said, f"other finding: {'; '.join(self.found)}; the failure was: {'; '.join(then)}"]


def host_code(made: Failure, folder: Path) -> list[str]:
    """What of a failure from elsewhere would run on this machine, outside of the guest. `BenchError` for odd ids.

    It is that of what would be played: the failure's description of itself is not believed.
    """
    machines = [failure.machine_of(folder / guest) for guest in made.guests]
    found = []
    modules = [path for path, source in made.sources.items() if source.kind == "module"]
    kernels = []
    match made.how:
        case OfTest():
            found.append(f"the project of the test {made.how.id}, by pytest")
        case OfSweep():
            machines.append(Finding.load(folder / made.how.finding).case.machine)
        case OfCommand():
            machines.append(failure.machine_of(folder))
        case OfCase():
            modules += [made.how.driver] if Path(made.how.driver).is_dir() else []
            kernels.append(made.how.kernel)
    modules += [path for machine in machines for path in machine.modules]
    kernels += [machine.kernel for machine in machines]
    found += [f"the build of the module in {path}" for path in dict.fromkeys(modules)]
    for name in dict.fromkeys(kernels):
        if name not in kernel.names():
            found.append(f"the build of modules by the kernel's tree at {name}")
    for machine in machines:
        for name in (*machine.networks, *machine.wires):
            if not _ID.fullmatch(name):
                raise BenchError(f"{folder}: {name!r} is no id of a network or of a character device")
    arguments = dict.fromkeys(machine.extra for machine in machines if machine.extra)
    return found + [f"QEMU's arguments {' '.join(each)}" for each in arguments]


def play(made: Failure, folder: Path, into: Path, frozen: Path | None = None) -> Again:
    """Play the failure in ``folder`` again; the new run's files go into the folder ``into``, which is replaced.

    ``frozen`` is the guest with which the run began; by default it is the template of the machine. `BenchError` if the
    failure cannot be played.
    """
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    match made.how:
        case OfSweep():
            found, guests = _sweep(Finding.load(folder / made.how.finding), into, frozen)
        case OfCase():
            found, guests = _case(made.how, into)
        case OfCommand():
            found, guests = _command(made.how, failure.machine_of(folder), into)
        case OfTest():
            found, guests = _test(made.how, into)
    here: dict[str, str] = {}
    for guest in made.guests:
        here |= environment.versions(failure.machine_of(folder / guest))
    pairs = [(ours, folder / theirs / LOG) for ours, theirs in zip(guests, made.guests, strict=False)]
    logs = [
        compare.logs(read_log(ours), read_log(theirs)) for ours, theirs in pairs if ours.exists() and theirs.exists()
    ]
    # Only the failure's own machine is asked for its versions: others have none that could differ.
    differing = failure.different(made.versions, here) if made.versions else ["the failure does not say its versions"]
    return Again(tuple(found), _same(made, found), tuple(differing), tuple(logs))


def _same(made: Failure, found: Sequence[str]) -> bool:
    """Whether the same was found: of a sweep's run, that it breaks all the rules that it broke."""
    if isinstance(made.how, OfSweep):
        rules, then = ({text.partition(":")[0] for text in texts} for texts in (found, made.found))
        return then <= rules
    return bool(found) and failure.alike(found, made.found)


def _sweep(found: Finding, into: Path, frozen: Path | None) -> tuple[list[str], list[Path]]:
    outcome = found.case.run(keep=into, start=Start(frozen) if frozen else None)
    findings.draw(found.case, into)
    return findings.said(outcome.all()), [into / LOG]


def _case(how: OfCase, into: Path) -> tuple[list[str], list[Path]]:
    file, driver = Path(how.case), Path(how.driver)
    chosen = Own(driver) if driver.is_absolute() else how.driver
    try:
        played = play_case(cases.read(file), chosen, how.kernel, keep=into, file=file)
    except BenchError as error:
        return [failure.first_line(str(error))], [into / LOG]
    return ([] if played.expected and not played.shows else played.found), [into / LOG]


def _command(how: OfCommand, machine: Machine, into: Path) -> tuple[list[str], list[Path]]:
    with template.clone(machine, name="run") as vm:
        vm.boot()
        try:
            status = vm.agent.run(*how.words, deadline=how.timeout / vm.patience).status
            kernel_log = vm.agent.succeed("dmesg")
            found = command_found(status, [] if how.allow_splats else [s.rule for s in splats_of(vm, kernel_log)])
            (into / "dmesg").write_text(kernel_log)
        except BenchError as error:
            found = [failure.first_line(str(error))]
        finally:
            vm.keep(into)
    return found, [into / LOG]


def command_found(status: int, splats: Sequence[str]) -> list[str]:
    """What is to be said of a command: its status, if it failed, and the rules of the kernel's complaints."""
    return [*([f"status {status}"] if status else []), *splats]


def _test(how: OfTest, into: Path) -> tuple[list[str], list[Path]]:
    root = Path(how.root)
    options = ["-p", "shirq_bench.plugin", "--shirq-kernel", how.kernel, "-p", "no:cacheprovider"]
    options += ["--rootdir", str(root), f"--shirq-artefacts={(into / 'artefacts').absolute()}"]
    options += ["-c", str(root / how.config)] if how.config else []
    try:
        tests = pytests.run(root, [*options, how.id], _DEADLINE, (into / "pytest.log").absolute())
    except pytests.UnendedError:
        return [f"the test has not ended within {_DEADLINE:g} s"], []
    failed = [failure.first_line(test.message) for test in tests if test.outcome == "failed"]
    return failed, sorted((into / "artefacts").glob(f"*/*/{LOG}"))
