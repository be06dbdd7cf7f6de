# SPDX-License-Identifier: MIT
"""pytest plugin: guests for tests, watched by invariants and judged by their kernel log, everything kept on failure.

harness/README.md explains it to those who test a device or driver of their own; `pytest --help`, `--fixtures` and
`--markers` have its options, fixtures and markers.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from shirq_bench import alone, artefacts, coverage, invariants, splats, template
from shirq_bench.build import kernel
from shirq_bench.machine import SHARED_LINE, Machine
from shirq_bench.vm import Vm

_MARKERS = {
    "smoke": "part of the small set that every kernel must pass",
    "splats_expected": "a splat in the guest's kernel log is what this test provokes",
    "invariants_broken(reason)": "this test breaks what holds in every other one: a guest ends, a line is left high",
    alone.MARKER: "this test measures: under pytest-xdist no other test runs beside it",
    "needs_kernel(*names)": "this test needs what only these kernels have; with others it is not even collected",
}
_VMS = pytest.StashKey[list[Vm]]()


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
        "--artefacts",
        default="build/artefacts",
        metavar="DIR",
        help="where failed tests leave logs and pictures, below the root directory (default: build/artefacts)",
    )
    group.addoption(
        "--coverage",
        type=Path,
        metavar="DIR",
        help="keep in DIR which lines of kmod/ ran, in guests whose kernel counts them and in the host's tests",
    )
    parser.addini(
        "shirq_splats",
        "a folder with splats-deny and splats-allow, below the root directory, in place of the bench's own",
    )


def _kernels(config: pytest.Config) -> list[str]:
    chosen = str(config.getoption("--kernel"))
    return kernel.names() if chosen == "all" else chosen.split(",")


def pytest_configure(config: pytest.Config) -> None:
    for name, meaning in _MARKERS.items():
        config.addinivalue_line("markers", f"{name}: {meaning}")
    config.pluginmanager.register(alone, "shirq_alone")
    for name in _kernels(config):
        if name not in kernel.names() and not Path(name).is_file():
            raise pytest.UsageError(f"--kernel {name}: there are {', '.join(kernel.names())}, or a vmlinuz's path")
    directory: Path | None = config.getoption("--coverage")
    if directory and not hasattr(config, "workerinput"):  # Workers fill what their controller has emptied.
        coverage.begin(directory)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test with a guest runs on each chosen kernel; its id says which."""
    if "kernel_name" in metafunc.fixturenames:
        names = _kernels(metafunc.config)
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
        if complaints:
            artefacts.keep(item, vms)
            pytest.fail("\n".join(complaints), pytrace=False)
        directory: Path | None = item.config.getoption("--coverage")
        if directory:
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
    if not item.get_closest_marker("splats_expected") and (said := splats.scan(artefacts.kernel_log(vm), _rules(item))):
        found.append(f"{vm.name}: splat in the kernel log of this test's guest:\n" + "\n".join(map(str, said)))
    return "\n".join(found)


def _rules(item: pytest.Item) -> Path:
    chosen = str(item.config.getini("shirq_splats"))
    return item.config.rootpath / chosen if chosen else splats.RULES


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    vms = item.stash.get(_VMS, [])
    if not report.failed or not vms:
        return report
    if report.when != "teardown":
        # Its guests are still there; those of a test that fails at its end have been kept by `boot`.
        try:
            artefacts.keep(item, vms)
        except OSError as error:
            report.sections.append(("artefacts", f"could not be kept: {error}"))
        report.sections += [(f"guest {vm.name}", vm.situation()) for vm in vms if vm.dir.exists()]
    report.sections.append(("artefacts", str(artefacts.folder(item))))
    if page := item.config.getoption("htmlpath", None):
        _link(report, item, Path(page))
    return report


def _link(report: pytest.TestReport, item: pytest.Item, page: Path) -> None:
    """Links to what the test left, in pytest-html's report."""
    from pytest_html import extras

    beside = page.absolute().parent
    report.extras = getattr(report, "extras", []) + [  # type: ignore[attr-defined]
        extras.url(os.path.relpath(path, beside), name=name) for name, path in artefacts.links(item)
    ]
