# SPDX-License-Identifier: MIT
"""The artefacts of a failed test: all data of its guests, pictures of their runs, and how to run it again.

Each failed test has a folder below ``--shirq-artefacts``, with one folder for each guest. The guests of tests that
passed are kept, too, as far as they may explain a failure: see `keep_passed`.
"""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from shirq_bench.campaigns import twins
from shirq_bench.channels.log import LOG, Kind, LogError
from shirq_bench.errors import BenchError, CannotJudge
from shirq_bench.observe.judge import BrokenRuleError
from shirq_bench.replay import codetrace, failure
from shirq_bench.replay.failure import OfTest
from shirq_bench.report import files, model
from shirq_bench.vm import environment, template
from shirq_bench.vm.vm import Vm, copy_sparse

#: A guest that does not answer within this many seconds counts as hung.
ANSWER = 20.0
#: The folder of tests that passed, among those of failed tests.
_PASSED = "passed"
#: The file in it with the name of the item that passed.
_NAME = "name"


def root(config: pytest.Config) -> Path:
    """The directory that holds the folders of failed tests."""
    return config.rootpath / str(config.getoption("--shirq-artefacts"))


def folder(item: pytest.Item) -> Path:
    """The folder of one test."""
    return root(item.config) / _name(item.nodeid)


def _name(text: str) -> str:
    return re.sub(r"[^\w.=-]+", "_", text)


def test_of(item: pytest.Item) -> str:
    """The id of an item without its kernel: the items of one test on several kernels are each other's twins."""
    name, bracket, parameters = item.nodeid.partition("[")
    kernel = Path(_kernel(item)).name
    return name + bracket + parameters.replace(kernel, "*", 1)


def _kernel(item: pytest.Item) -> str:
    """The kernel of an item's guests."""
    parameters = getattr(item, "callspec", None)
    return str((parameters and parameters.params.get("kernel_name")) or item.config.getoption("--shirq-kernel"))


def _passed(item: pytest.Item) -> Path:
    return root(item.config) / _PASSED / _name(test_of(item))


def kernel_log(vm: Vm) -> tuple[str, str]:
    """The guest's kernel log; or its console's output, and why the kernel log could not be read.

    If QEMU did not start, the text is empty: `Vm.situation` has QEMU's message.
    """
    if not vm.started:
        return "", "QEMU did not start"
    try:
        return vm.agent.succeed("dmesg", deadline=ANSWER), ""
    except BenchError as error:
        return vm.console.text(), str(error).partition("\n")[0]


def processors(vm: Vm) -> str:
    """The state and the pending interrupts of each vCPU. Raises `BenchError` if QEMU does not answer."""
    numbers = [cpu["cpu-index"] for cpu in vm.qmp.execute("query-cpus-fast")]
    asked = ["info registers -a", *(f"info lapic {number}" for number in numbers)]
    return "\n".join(vm.qmp.execute("human-monitor-command", command_line=line) for line in asked)


def keep(item: pytest.Item, vms: Sequence[Vm]) -> list[str]:
    """Replace the folder of ``item`` by the data of its guests. A guest may have died, but must not have been closed.

    Returns the reasons why parts could not be kept, instead of raising them: a full disk must not hide the failure of
    the test itself.
    """
    directory = folder(item)
    problems: list[str] = []
    shutil.rmtree(directory, ignore_errors=True)
    for vm in vms:
        with _noted(problems):
            _keep_guest(item, vm, directory / vm.name, problems)
    with _noted(problems):
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "reproduce").write_text(_again(item))
    with _noted(problems):
        known = environment.describe(dict.fromkeys(vm.machine.kernel for vm in vms))
        (directory / "environment").write_text("".join(f"{what}: {said}\n" for what, said in known.items()))
    return problems


def describe(item: pytest.Item, vms: Sequence[Vm], message: str) -> list[str]:
    """Write failure.json of a failed test, whose guests `keep` has kept, and explain it by the test's last pass.

    Returns the reasons why this was not possible.
    """
    directory = folder(item)
    problems: list[str] = []
    with _noted(problems):
        config = item.config
        ini = config.inipath.relative_to(config.rootpath) if config.inipath else ""
        how = OfTest(item.nodeid, str(config.rootpath), str(ini), _kernel(item))
        kept = {vm.name: vm.machine for vm in vms if (directory / vm.name).is_dir()}
        failure.record(directory, item.nodeid, [failure.first_line(message)], how, kept)
    twin = _passed(item)
    for number, vm in enumerate(vms if twin.is_dir() else ()):
        with _noted(problems):
            name = (twin / _NAME).read_text()
            twins.write(directory / vm.name, twin / str(number), (item.nodeid, name), [message])
    return problems


def keep_passed(item: pytest.Item, vms: Sequence[Vm]) -> None:
    """Replace the kept guests of the test's last pass by those of ``item``, as far as a comparison needs them.

    An error leaves none: it must not fail a test that has passed.
    """
    directory = _passed(item)
    shutil.rmtree(directory, ignore_errors=True)
    try:
        for number, vm in enumerate(vms):
            kept = directory / str(number)
            kept.mkdir(parents=True)
            for file in (LOG, codetrace.RAW):
                if (vm.dir / file).exists():
                    copy_sparse(vm.dir / file, kept / file)
            _save_trace(vm, kept)
        (directory / _NAME).write_text(f"{item.nodeid}, which passed")
    except Exception:
        shutil.rmtree(directory, ignore_errors=True)


def _save_trace(vm: Vm, place: Path) -> None:
    """Make the code trace of a guest that was kept, if it was recorded."""
    if (place / codetrace.RAW).exists():
        codetrace.save(vm.machine, place)


@contextlib.contextmanager
def _noted(problems: list[str]) -> Iterator[None]:
    """Add to ``problems`` an error of the block: raised into pytest's hooks, it would end the session."""
    try:
        yield
    except Exception as error:
        problems.append(f"could not be kept: {error}")


def _keep_guest(item: pytest.Item, vm: Vm, kept: Path, problems: list[str]) -> None:
    """Keep everything of one guest; a part that cannot be kept leaves the others.

    If the guest does not answer, the file ``processors`` shows the state of each vCPU.
    """
    with _noted(problems):
        vm.keep(kept)
    log, unread = kernel_log(vm)
    with _noted(problems):
        (kept / "dmesg").write_text(log)
    if unread and vm.started:
        with _noted(problems), contextlib.suppress(BenchError):
            (kept / "processors").write_text(processors(vm))
    with _noted(problems):
        (kept / template.DESCRIPTION).write_text(
            json.dumps({"test": item.nodeid, "machine": vm.machine.as_data()}, indent=1)
        )
    with _noted(problems):
        _draw(item.nodeid, vm, kept)
    with _noted(problems):
        _save_trace(vm, kept)


def _again(item: pytest.Item) -> str:
    """A shell script that runs this test alone again."""
    options = ["-p", "shirq_bench.plugin", "--shirq-kernel", str(item.config.getoption("--shirq-kernel"))]
    if item.config.inipath:
        options += ["-c", str(item.config.inipath)]
    command = shlex.join([sys.executable, "-m", "pytest", *options, item.nodeid])
    return f"cd {shlex.quote(str(item.config.rootpath))} && {command}\n"


def _draw(title: str, vm: Vm, directory: Path) -> None:
    """Draw a guest's run. If this is impossible, for example if no pin moved, write the reason to ``no-picture``."""
    try:
        log = vm.log()
        picture = model.build(log, title=title, steps=vm.journal.steps)
    except (BrokenRuleError, CannotJudge, LogError, FileNotFoundError) as error:
        (directory / "no-picture").write_text(f"{error}\n")
        return
    if not log.of(Kind.PIN):
        (directory / "no-picture").write_text("no device moved its pin\n")
        return
    files.save(picture, directory)


def links(item: pytest.Item) -> list[tuple[str, Path]]:
    """The files in the folder of ``item``, pictures first, each with its path below the folder as its name."""
    directory = folder(item)
    files = [path for path in directory.rglob("*") if path.is_file()]
    files.sort(key=lambda path: (path.name != "page.html", path.name != "waveform.vcd", path))
    return [(str(path.relative_to(directory)), path) for path in files]
