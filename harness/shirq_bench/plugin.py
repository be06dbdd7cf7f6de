"""pytest plugin: guests for tests, watched by invariants and judged by their kernel log, everything kept on failure.

Fixtures: `kernel_name`, `boot`, `vm`. Options: ``--kernel``, ``--coverage``. Markers: ``splats_expected``,
``invariants_broken``, ``needs_kernel``.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from shirq_bench import coverage, invariants, splats, template
from shirq_bench.build import kernel
from shirq_bench.errors import BenchError
from shirq_bench.judge import BrokenRuleError
from shirq_bench.machine import SHARED_LINE, Machine
from shirq_bench.paths import BUILD
from shirq_bench.report import html, model, vcd
from shirq_bench.trace import Kind, LogError
from shirq_bench.vm import Vm

_MARKERS = {
    "smoke": "part of the small set that every kernel must pass",
    "splats_expected": "a splat in the guest's kernel log is what this test provokes",
    "invariants_broken(reason)": "this test breaks what holds in every other one: a guest ends, a line is left high",
    "needs_kernel(*names)": "this test needs what only these kernels have; with others it is not even collected",
}
_VMS = pytest.StashKey[list[Vm]]()
_FAILED = pytest.StashKey[bool]()


class Boot(Protocol):
    """What the fixture `boot` gives."""

    def __call__(self, machine: Machine, cold: bool = False) -> Vm: ...


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("shirq", "guests on a shared interrupt line")
    known = ", ".join(kernel.names())
    group.addoption(
        "--kernel",
        default="6.1",
        metavar="NAME",
        help=f"what guests boot: {known}, the path of a vmlinuz, several with commas, or 'all' (default: 6.1)",
    )
    group.addoption(
        "--coverage",
        type=Path,
        metavar="DIR",
        help="keep in DIR which lines of kmod/ ran, in guests whose kernel counts them and in the host's tests",
    )


def pytest_configure(config: pytest.Config) -> None:
    for name, meaning in _MARKERS.items():
        config.addinivalue_line("markers", f"{name}: {meaning}")
    directory: Path | None = config.getoption("--coverage")
    if directory and not hasattr(config, "workerinput"):  # Workers fill what their controller has emptied.
        coverage.begin(directory)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test with a guest runs on each chosen kernel; its id says which."""
    if "kernel_name" in metafunc.fixturenames:
        chosen: str = metafunc.config.getoption("--kernel")
        names = kernel.names() if chosen == "all" else chosen.split(",")
        metafunc.parametrize("kernel_name", names, ids=[Path(name).name for name in names], scope="session")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what needs another kernel: on this one there is nothing to skip, the test does not exist."""
    foreign = [item for item in items if not _fits(item)]
    if foreign:
        config.hook.pytest_deselected(items=foreign)
        items[:] = [item for item in items if item not in foreign]


def _fits(item: pytest.Item) -> bool:
    marker = item.get_closest_marker("needs_kernel")
    return marker is None or (isinstance(item, pytest.Function) and item.callspec.params["kernel_name"] in marker.args)


@pytest.fixture(scope="session")
def kernel_name(request: pytest.FixtureRequest) -> str:
    """The kernel that guests boot, from ``--kernel``."""
    name: str = request.param
    return name


@pytest.fixture
def boot(request: pytest.FixtureRequest, kernel_name: str) -> Iterator[Boot]:
    """A function that gives a guest of a `Machine`; every guest ends with the test.

    A guest is a clone of the machine's template, prepared as ``Machine.prepare`` says, or with ``cold=True`` one that
    boots now and is not prepared. At the end of the test every guest's invariants must hold and its kernel log must
    show no splat.
    """
    item: pytest.Item = request.node
    vms = item.stash.setdefault(_VMS, [])
    with ExitStack() as stack:

        def make(machine: Machine, cold: bool = False) -> Vm:
            machine = machine.with_(kernel=kernel_name)
            vm = stack.enter_context(Vm(machine) if cold else template.clone(machine))
            vms.append(vm)
            return vm.boot()

        yield make
        complaints = [complaint for vm in vms if (complaint := _complaints(item, vm))]
        if complaints or _FAILED in item.stash:
            _keep(item, vms)
        if complaints:
            pytest.fail("\n".join(complaints) + f"\nartefacts: {_artefacts(item)}", pytrace=False)
        directory: Path | None = item.config.getoption("--coverage")
        if directory and _FAILED not in item.stash:
            for vm in vms:
                coverage.collect(vm, directory, item.nodeid)


@pytest.fixture
def vm(boot: Boot) -> Vm:
    """A fresh guest with `SHARED_LINE`: dev0 and dev1, bound to shirq.ko, and the neighbour nic0, up, on one line."""
    return boot(SHARED_LINE)


def _complaints(item: pytest.Item, vm: Vm) -> str:
    """What is wrong with a guest at the end of its test; empty if nothing is."""
    found = []
    if not item.get_closest_marker("invariants_broken") and (broken := invariants.broken(vm)):
        found.append(f"{vm.name}: {broken}")
    if not item.get_closest_marker("splats_expected") and (complaints := splats.scan(_kernel_log(vm))):
        found.append(f"{vm.name}: splat in the kernel log of this test's guest:\n" + "\n".join(map(str, complaints)))
    return "\n".join(found)


def _kernel_log(vm: Vm) -> str:
    """The guest's kernel log, or what its console showed where the guest does not answer any more."""
    try:
        return vm.agent.run("dmesg", deadline=20).stdout
    except BenchError:
        return vm.console.tail(10_000)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and (vms := item.stash.get(_VMS, [])):
        item.stash[_FAILED] = True
        report.sections += [(f"guest {vm.name}", vm.situation()) for vm in vms if vm.dir.exists()]
        report.sections.append(("artefacts", str(_artefacts(item))))
    return report


def _artefacts(item: pytest.Item) -> Path:
    return BUILD / "artefacts" / re.sub(r"[^\w.=-]+", "_", item.nodeid)


def _keep(item: pytest.Item, vms: list[Vm]) -> None:
    """Everything that a failed test's guests leave, pictures, and how to run it again."""
    directory = _artefacts(item)
    shutil.rmtree(directory, ignore_errors=True)
    chosen = item.config.getoption("--kernel")
    again = ["make", "vm-test", f"KERNEL={chosen}", f"PYTEST_ARGS={shlex.quote(item.nodeid)}"]
    for vm in vms:
        kept = directory / vm.name
        (vm.dir / "dmesg").write_text(_kernel_log(vm))
        vm.keep(kept)
        _draw(item.nodeid, vm, kept)
        (kept / template.DESCRIPTION).write_text(
            json.dumps({"test": item.nodeid, "machine": vm.machine.as_data()}, indent=1)
        )
    (directory / "reproduce").write_text(" ".join(again) + "\n")


def _draw(title: str, vm: Vm, directory: Path) -> None:
    """The picture of a guest's run; a run in which no device's line moved has none."""
    try:
        log = vm.log()
        picture = model.build(log, title=title)
    except (BrokenRuleError, LogError) as error:
        (directory / "no-picture").write_text(f"{error}\n")
        return
    if not log.of(Kind.PIN):
        return
    (directory / "page.html").write_text(html.render(picture))
    with (directory / "waveform.vcd").open("w") as file:
        vcd.write(picture, file)
