# SPDX-License-Identifier: MIT
"""pytest plugin: gives guests to tests, checks each guest's invariants and kernel log, and keeps all data of a failure.

A project loads it with ``-p shirq_bench.plugin`` (in `addopts`) or ``pytest_plugins`` (in its root conftest.py); in
other projects it has no effect. harness/README.md explains it to users who test a device or driver of their own;
`pytest --help`, `--fixtures` and `--markers` have its options, fixtures and markers.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Protocol

import pytest

from shirq_bench import journal
from shirq_bench.campaigns import reportlog
from shirq_bench.campaigns.zoo import case as cases
from shirq_bench.campaigns.zoo import own, page, suite
from shirq_bench.campaigns.zoo.run import Played, play
from shirq_bench.errors import BenchError
from shirq_bench.observe import coverage, invariants, splats
from shirq_bench.observe.source_lines import splats_of
from shirq_bench.plugin import alone, artefacts
from shirq_bench.provision import kernel
from shirq_bench.replay import codetrace
from shirq_bench.vm import environment, pool, template
from shirq_bench.vm.machine import SHARED_LINE, Machine
from shirq_bench.vm.vm import Vm

_MARKERS = {
    "splats_expected": "this test provokes a splat in the guest's kernel log",
    "invariants_broken(reason, guest_ends=False, line_of='', guest=0)": "this test breaks invariants on purpose: the "
    "guest with the number `guest` (from 0) ends before the test, or the line of the device `line_of` stays high",
    alone.MARKER: "this test measures time: under pytest-xdist no other test runs at the same time",
    "needs_kernel(*names)": "this test needs one of these kernels; with other kernels it is deselected",
}
#: The report of a failed test shows at most this many last steps of each guest; the test's artefacts have all steps.
_LAST_STEPS = 20
_VMS = pytest.StashKey[list[Vm]]()
_FAILED = pytest.StashKey[bool]()
#: Whether the session has another item of the same test, which the guests of this one may explain.
_HAS_TWIN = pytest.StashKey[bool]()
#: The stack that ends the guests of a test.
_RUNNING = pytest.StashKey[ExitStack]()
#: Report sections about the guests of a test that fails in its teardown; made while the guests still run.
_SHOWN = pytest.StashKey[Iterable[tuple[str, str]]]()


class Boot(Protocol):
    """The type of the fixture `boot`."""

    def __call__(self, machine: Machine, cold: bool = False) -> Vm: ...


class PlayCase(Protocol):
    """The type of the fixture `play_case`."""

    def __call__(self, file: str | Path, driver: str | Path = "") -> Played: ...


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("shirq", "guests on a shared interrupt line")
    known = ", ".join(kernel.names())
    group.addoption(
        "--shirq-kernel",
        default="6.1",
        metavar="NAME",
        help=f"kernels of the guests: {known}, the path of a vmlinuz, several with commas, or 'all' (default: 6.1)",
    )
    group.addoption(
        "--shirq-artefacts",
        default="build/artefacts",
        metavar="DIR",
        help="where failed tests leave logs and pictures, below the root directory (default: build/artefacts)",
    )
    group.addoption(
        "--shirq-coverage",
        type=Path,
        metavar="DIR",
        help="record in DIR the lines of kmod/ that ran in the host's tests and in guests whose kernel counts them",
    )
    group.addoption(
        "--shirq-check-rewind",
        action="store_true",
        help="compare each guest that is used again with its beginning: memory, devices' state, timers (0.1 s each)",
    )
    group.addoption(
        "--shirq-explain",
        action="store_true",
        help="trace the code of the guests' modules, and keep the guests of tests that pass, so that a failure is "
        "explained by an earlier pass: the function and the event in which they part",
    )
    parser.addini(
        "shirq_splats",
        "a folder with splats-deny and splats-allow, below the root directory, in place of the bench's own",
    )


def _kernels(config: pytest.Config) -> list[str]:
    chosen = str(config.getoption("--shirq-kernel"))
    return kernel.names() if chosen == "all" else chosen.split(",")


def _exists(name: str) -> bool:
    """Whether there is a kernel of that name, or at that path."""
    return name in kernel.names() or Path(name).is_file()


def pytest_configure(config: pytest.Config) -> None:
    for name, meaning in _MARKERS.items():
        config.addinivalue_line("markers", f"{name}: {meaning}")
    config.pluginmanager.register(alone, "shirq_alone")
    for name in _kernels(config):
        if not _exists(name):
            raise pytest.UsageError(
                f"--shirq-kernel {name}: unknown; give the path of a vmlinuz or one of {', '.join(kernel.names())}"
            )
    directory: Path | None = config.getoption("--shirq-coverage")
    if directory and not hasattr(config, "workerinput"):  # Only the controller empties the folder; the workers fill it.
        coverage.begin(directory)
    if config.get_verbosity() > 0 and not hasattr(config, "workerinput"):
        config.add_cleanup(journal.subscribe(_Live(config)))


class _Live:
    """Prints each step on the terminal when the step ends."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def __call__(self, step: journal.Step) -> None:
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        capture = self._config.pluginmanager.get_plugin("capturemanager")
        if terminal:
            with capture.global_and_fixture_disabled() if capture else nullcontext():
                terminal.ensure_newline()
                terminal.write_line(f"  {step}")


def pytest_unconfigure() -> None:
    """End the guests that wait for a next test."""
    pool.close()


def pytest_report_header(config: pytest.Config) -> list[str]:
    """The environment of the guests."""
    return [f"{what}: {said}" for what, said in _environment(config).items()]


@pytest.hookimpl(optionalhook=True)
def pytest_metadata(metadata: dict[str, object], config: pytest.Config) -> None:
    """Add the environment to the head of pytest-html's report, and to the properties of JUnit's report."""
    metadata.update(_environment(config))


def _environment(config: pytest.Config) -> dict[str, str]:
    return environment.head(_kernels(config))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test that has a guest on each chosen kernel; the test's id names the kernel."""
    marker = metafunc.definition.get_closest_marker("needs_kernel")
    if marker and not (marker.args and all(map(_exists, marker.args))):
        raise pytest.Collector.CollectError(
            f"{metafunc.definition.nodeid} is marked needs_kernel({', '.join(map(repr, marker.args))}): "
            f"each must be the path of a vmlinuz or one of {', '.join(kernel.names())}"
        )
    try:
        _waivers(metafunc.definition)
    except (TypeError, BenchError) as error:
        raise pytest.Collector.CollectError(f"{metafunc.definition.nodeid}: invariants_broken: {error}") from None
    if "kernel_name" in metafunc.fixturenames:
        names = _kernels(metafunc.config)
        metafunc.parametrize("kernel_name", names, ids=[Path(name).name for name in names], scope="session")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect tests that need another kernel. They are not reported as skipped: they do not apply to this kernel."""
    foreign = [item for item in items if not _fits(item)]
    if foreign:
        config.hook.pytest_deselected(items=foreign)
        items[:] = [item for item in items if item not in foreign]
    count = Counter(map(artefacts.test_of, items))
    for item in items:
        item.stash[_HAS_TWIN] = count[artefacts.test_of(item)] > 1


def _fits(item: pytest.Item) -> bool:
    """Whether the item's needs_kernel allows its kernel, or one of the session's kernels if the test has no guest."""
    marker = item.get_closest_marker("needs_kernel")
    if marker is None:
        return True
    callspec = getattr(item, "callspec", None)
    own = callspec and callspec.params.get("kernel_name")
    return not set(marker.args).isdisjoint([own] if own else _kernels(item.config))


@pytest.fixture(scope="session")
def kernel_name(request: pytest.FixtureRequest) -> str:
    """The kernel that guests boot, from ``--shirq-kernel``."""
    name: str = request.param
    return name


@pytest.fixture
def boot(request: pytest.FixtureRequest, kernel_name: str) -> Iterator[Boot]:
    """A function that starts a guest for a `Machine`; every guest ends with the test.

    A guest is at the beginning of a clone of the machine's template, which ``Machine.prepare`` has prepared: it is new,
    or an earlier test has used it and it was rewound. With ``cold=True``, the guest boots now and is not prepared. At
    the end of the test every guest's invariants must hold and its kernel log must
    show no splat.
    """
    item: pytest.Item = request.node
    vms = item.stash.setdefault(_VMS, [])
    # Keep the guests until all fixtures have ended, so that the artefacts of a failure in any fixture show the guests.
    stack = item.stash[_RUNNING] = ExitStack()
    item.config.add_cleanup(stack.close)

    def make(machine: Machine, cold: bool = False) -> Vm:
        machine = machine.with_(kernel=kernel_name)
        if cold:
            vm = stack.enter_context(Vm(machine))
            vms.append(vm)
            return vm.boot()
        if _explains(item.config):
            vm = stack.enter_context(template.clone(machine, further=codetrace.recorder(machine)))
            vms.append(vm)
            return vm.boot()
        guest = pool.take(machine)
        stack.callback(_end, item, guest)
        vms.append(guest.vm)
        return guest.begin()

    yield make
    complaints = [
        complaint for number, vm in enumerate(vms) if vm.started and (complaint := _complaints(item, vm, number))
    ]
    if complaints:
        pytest.fail("\n".join(complaints), pytrace=False)
    if not item.stash.get(_FAILED, False) and (_explains(item.config) or item.stash.get(_HAS_TWIN, False)):
        artefacts.keep_passed(item, vms)
    directory: Path | None = item.config.getoption("--shirq-coverage")
    if directory:
        for vm in vms:
            coverage.collect(vm, directory, item.nodeid)


@pytest.fixture
def vm(boot: Boot) -> Vm:
    """A fresh guest with `SHARED_LINE`: dev0 and dev1, bound to shirq.ko, share a line with nic0, whose link is up."""
    return boot(SHARED_LINE)


@pytest.fixture
def play_case(request: pytest.FixtureRequest, kernel_name: str) -> PlayCase:
    """A function that plays a case's file with a driver, and returns the run, whose outcome `Played.require` requires.

    The driver is a path (a kernel module's folder, or a program), the name of one of the catalogue's, or by default the
    one that the case names. Paths are relative to the test's file. Unless the outcome is as expected, the guest's data
    and a page with the waveforms stay in the test's folder below ``--shirq-artefacts``.
    """
    here, kept = request.path.parent, artefacts.folder(request.node)

    def player(file: str | Path, driver: str | Path = "") -> Played:
        case = cases.read(here / file)
        chosen = own.choose(str(driver), case, (here / file).parent, here)
        played = play(case, chosen, suite.kernel_for(case, kernel_name), keep=kept, file=here / file)
        if played.expected:
            shutil.rmtree(kept)
        else:
            (kept / "index.html").write_text(page.render(case, [played]))
            request.node.add_report_section("call", "artefacts", str(kept))
        return played

    return player


def _explains(config: pytest.Config) -> bool:
    return bool(config.getoption("--shirq-explain"))


def _end(item: pytest.Item, guest: pool.Guest) -> None:
    """Give a guest back; that of a failed test is closed, because threads of the test may still use its channels."""
    if item.stash.get(_FAILED, False):
        guest.vm.close()
    else:
        guest.end(check=item.config.getoption("--shirq-check-rewind"))


def _waivers(item: pytest.Item) -> list[invariants.Waiver]:
    """The invariants that the item breaks on purpose. Raises TypeError or `BenchError` if its markers are invalid."""
    return [invariants.Waiver(*marker.args, **marker.kwargs) for marker in item.iter_markers("invariants_broken")]


def _complaints(item: pytest.Item, vm: Vm, number: int) -> str:
    """The problems of a guest, the item's ``number``-th, at the end of its test; empty if there are none."""
    found = []
    waivers = [waiver for waiver in _waivers(item) if waiver.guest == number]
    if broken := invariants.broken(vm, waivers):
        found.append(f"{vm.name}: {broken}")
    if not item.get_closest_marker("splats_expected"):
        log, unread = artefacts.kernel_log(vm)
        if said := splats_of(vm, log, _rules(item)):
            found.append(f"{vm.name}: splat in the kernel log of this test's guest:\n" + "\n".join(map(str, said)))
        # A guest that has ended has written its last messages to its console. One that hangs may have others.
        may_end = vm.status() is not None or any(waiver.guest_ends for waiver in waivers)
        if unread and not may_end:
            found.append(f"{vm.name}: the kernel log could not be read: {unread}")
        if unread and (lost := vm.console.transcript.lost):
            found.append(f"{vm.name}: the console's output, read in place of the kernel log, is incomplete: {lost}")
    return "\n".join(found)


def _rules(item: pytest.Item) -> Path:
    chosen = str(item.config.getini("shirq_splats"))
    return item.config.rootpath / chosen if chosen else splats.RULES


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    try:
        yield
    except (Exception, pytest.fail.Exception):
        item.stash[_FAILED] = True
        if item.stash.get(_VMS, []):
            item.stash[_SHOWN] = _show(item)
        raise
    finally:
        if stack := item.stash.get(_RUNNING, None):
            stack.close()


def _show(item: pytest.Item) -> list[tuple[str, str]]:
    """Keep the artefacts of a failed test whose guests still run; returns sections about the guests for the report."""
    vms = item.stash.get(_VMS, [])
    sections = [("artefacts", problem) for problem in artefacts.keep(item, vms)]
    sections += [(f"guest {vm.name}", _situation(vm)) for vm in vms if vm.dir.exists()]
    sections += [(f"last steps of {vm.name}", _last_steps(vm)) for vm in vms]
    return [*sections, ("artefacts", str(artefacts.folder(item)))]


def _situation(vm: Vm) -> str:
    try:
        return vm.situation()
    except Exception as error:  # the failure counts
        return f"its situation is unknown: {error}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    item.stash[_FAILED] = item.stash.get(_FAILED, False) or report.failed
    vms = item.stash.get(_VMS, [])
    if not report.failed or not vms:
        return report
    # In the teardown phase the guests have ended by now: use the sections that `pytest_runtest_teardown` made before.
    report.sections += item.stash.get(_SHOWN, ()) if report.when == "teardown" else _show(item)
    problems = artefacts.describe(item, vms, reportlog.reason(report))
    report.sections += [("artefacts", problem) for problem in problems]
    if page := item.config.getoption("htmlpath", None):
        _link(report, item, Path(page))
    return report


def _last_steps(vm: Vm) -> str:
    steps = list(vm.journal.steps)
    return "\n".join(map(str, steps[-_LAST_STEPS:])) if steps else "none"


def _link(report: pytest.TestReport, item: pytest.Item, page: Path) -> None:
    """Add links to the test's artefacts to pytest-html's report."""
    from pytest_html import extras

    beside = page.absolute().parent
    report.extras = getattr(report, "extras", []) + [  # type: ignore[attr-defined]
        extras.url(os.path.relpath(path, beside), name=name) for name, path in artefacts.links(item)
    ]
