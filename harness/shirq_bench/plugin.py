"""pytest plugin: guests for tests, judged by their kernel log, with everything kept when a test fails.

Fixtures: `kernel_name`, `boot`, `vm`. Options: ``--kernel``.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from shirq_bench import splats, template
from shirq_bench.build import kernel
from shirq_bench.errors import BenchError
from shirq_bench.machine import SHARED_LINE, Machine
from shirq_bench.paths import BUILD
from shirq_bench.vm import Vm


class Boot(Protocol):
    """What the fixture `boot` gives."""

    def __call__(self, machine: Machine, cold: bool = False) -> Vm: ...


_VMS = pytest.StashKey[list[Vm]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("shirq", "guests on a shared interrupt line")
    known = ", ".join(kernel.names())
    group.addoption(
        "--kernel",
        default="6.1",
        metavar="NAME",
        help=f"what guests boot: {known}, the path of a vmlinuz, several with commas, or 'all' (default: 6.1)",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test with a guest runs on each chosen kernel; its id says which."""
    if "kernel_name" in metafunc.fixturenames:
        chosen: str = metafunc.config.getoption("--kernel")
        names = kernel.names() if chosen == "all" else chosen.split(",")
        metafunc.parametrize("kernel_name", names, ids=[Path(name).name for name in names], scope="session")


@pytest.fixture(scope="session")
def kernel_name(request: pytest.FixtureRequest) -> str:
    """The kernel that guests boot, from ``--kernel``."""
    name: str = request.param
    return name


@pytest.fixture
def boot(request: pytest.FixtureRequest, kernel_name: str) -> Iterator[Boot]:
    """A function that gives a guest of a `Machine`; every guest ends with the test.

    A guest is a clone of the machine's template, prepared as ``Machine.prepare`` says, or with ``cold=True`` one that
    boots now and is not prepared.

    At the end of the test the kernel log of each guest that still runs must hold no splat, and its event log must have
    dropped nothing; mark the test ``splats_expected`` where a splat is what it provokes.
    """
    vms: list[Vm] = []
    request.node.stash[_VMS] = vms
    with ExitStack() as stack:

        def make(machine: Machine, cold: bool = False) -> Vm:
            machine = machine.with_(kernel=kernel_name)
            vm = stack.enter_context(Vm(machine) if cold else template.clone(machine))
            vms.append(vm)
            return vm.boot()

        yield make
        _keep_if_failed(request.node, vms)
        for vm in vms:
            if vm.status() is not None:
                continue
            if request.node.get_closest_marker("splats_expected") is None:
                text = vm.agent.run("dmesg").stdout + vm.console.tail(10_000)
                if found := splats.scan(text):
                    _keep(request.node, vms)
                    pytest.fail(f"{vm.name}: splat in the kernel log of this test's guest:\n{found}", pytrace=False)
            if dropped := vm.log().header.dropped:
                pytest.fail(f"{vm.name}: the event log was full and dropped {dropped} entries", pytrace=False)


@pytest.fixture
def vm(boot: Boot) -> Vm:
    """A fresh guest with `SHARED_LINE`: dev0 and dev1, bound to shirq.ko, and the neighbour nic0, up, on one line."""
    return boot(SHARED_LINE)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "splats_expected: the guest's kernel log may hold splats after this test")


_FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[_FAILED] = True
        for vm in item.stash.get(_VMS, []):
            report.sections.append((f"guest {vm.name}", vm.situation()))
        if item.stash.get(_VMS, []):
            report.sections.append(("artefacts", str(_artefacts(item))))
    return report


def _artefacts(item: pytest.Item) -> Path:
    return BUILD / "artefacts" / re.sub(r"[^\w.=-]+", "_", item.nodeid)


def _keep_if_failed(item: pytest.Item, vms: list[Vm]) -> None:
    if item.stash.get(_FAILED, False):
        _keep(item, vms)


def _keep(item: pytest.Item, vms: list[Vm]) -> None:
    directory = _artefacts(item)
    shutil.rmtree(directory, ignore_errors=True)
    for vm in vms:
        if vm.status() is None:
            try:
                (vm.dir / "dmesg").write_text(vm.agent.run("dmesg", deadline=10).stdout)
            except BenchError as error:
                (vm.dir / "dmesg").write_text(f"not to be had: {error}\n")
        vm.keep(directory / vm.name)
