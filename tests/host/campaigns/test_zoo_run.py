# SPDX-License-Identifier: MIT
"""The player of the bug catalogue checks the effect of each step, even if the guest ends during the step."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from logwriter import Story
from shirq_bench.campaigns.zoo import case as cases
from shirq_bench.campaigns.zoo import run
from shirq_bench.campaigns.zoo.case import Step
from shirq_bench.campaigns.zoo.run import HungError, NotPlayed
from shirq_bench.channels import agent
from shirq_bench.channels.log import CONFIG_SPACE, IOAPIC, Entry, Header, Kind, Log
from shirq_bench.channels.network import Network
from shirq_bench.errors import AgentGone, CannotJudge, DeadlineExceeded, QmpClosed, QmpFailed, VmDied
from shirq_bench.replay import failure
from shirq_bench.vm import template

_CASE = """
id = "trial"
title = "t"
symptom = "s"
cause = "c"
source = ["this test"]
explanation = "e"
shows = ["splat"]
steps = [{steps}]
[expected]
shirq = "survives"
uio_pci_generic = "survives"
vfio-pci = "survives"
naive = "splat"
"""
PANIC = "Kernel panic - not syncing: sysrq triggered crash"


class Vm:
    """A fake of the VM and of its log's reader, with the methods that the player uses.

    The log is a `Story`. ``ends`` returns the result of a script in the guest, or raises an error.
    """

    name = "trial"
    dir = Path()

    def __init__(self, machine: Any) -> None:
        self.machine = machine
        self.story = Story(("dev0", "nic0"))
        self.read = self.dropped = 0
        self.ends: Callable[[str], agent.Result] = lambda script: agent.Result((script,), 0, "", "")
        self.properties: dict[str, object] = {}
        self.parts: Any = None
        #: What `status` returns: these first, then ``ended``.
        self.statuses: list[int | None] = []
        self.ended: int | None = None
        self.words = ""
        self.asked = 0
        self.qmp = SimpleNamespace(set=self.set, get=lambda _, name: self.properties.get(name), execute=lambda _: None)
        self.agent = SimpleNamespace(start=self.start)
        self.console = SimpleNamespace(text=lambda: self.words, expect=lambda _, timeout: None)
        self.networks: dict[str, Any] = {"net0": SimpleNamespace(answers=lambda: 0, ask=lambda: None)}

    def set(self, device: str, name: str, value: Any) -> None:
        if name == "raise":
            self.story.stimulus(device, value)
        elif name == "broken":
            self.story.add(Kind.SETTING, device, offset=3, value=1)
        else:
            self.story.add(Kind.SETTING, device, offset=3, value=1)
            self.properties[name] = value

    def start(self, *argv: str) -> Any:
        ended: list[agent.Result] = []

        def wait(_deadline: float = 0) -> agent.Result:
            if not ended:
                ended.append(self.ends(argv[-1]))
            return ended[0]

        def expect(_line: str, _deadline: float) -> None:
            pass

        return SimpleNamespace(
            argv=argv,
            write=lambda data: None,
            close_stdin=lambda: None,
            wait=wait,
            expect=expect,
            stdout="",
            stderr="",
            running=False,
        )

    def follow(self) -> Vm:
        return self

    def close(self) -> None:
        pass

    @property
    def mark(self) -> int:
        return self.read

    def header(self) -> Header:
        return Header(1 << 20, 0, len(self.story.entries), self.dropped, ())

    def require_complete(self) -> None:
        Log(self.header(), ()).require_complete()

    def poll(self) -> list[Entry]:
        new, self.read = self.story.entries[self.read :], len(self.story.entries)
        return new

    def log(self) -> Log:
        self.read = len(self.story.entries)
        return Log(self.header(), list(self.story.entries))

    def status(self) -> int | None:
        return self.statuses.pop(0) if self.statuses else self.ended

    def wait_end(self, deadline: float) -> int:
        while (status := self.status()) is None:
            if not self.statuses and self.ended is None:
                raise DeadlineExceeded("QEMU has not ended")
        return status

    def now_ns(self) -> int:
        return self.story.now

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        yield


Trial = Callable[[str], tuple[Vm, Any]]


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    """Return a function that makes a fake VM and a player of a case with these steps, for the naive driver."""

    def player(steps: str) -> tuple[Vm, Any]:
        path = tmp_path / "trial.toml"
        path.write_text(_CASE.format(steps=steps))
        case = cases.read(path)
        vm = Vm(run.machine(case, "6.1"))
        vm.dir = tmp_path
        return vm, run._Player(vm, case, "naive")  # type: ignore[arg-type]

    return player


def panic(vm: Vm, script: str) -> None:
    """Make the guest panic when it runs this script."""

    def ends(asked: str) -> agent.Result:
        if asked.endswith(script):
            vm.words = PANIC
            raise AgentGone("the agent channel was closed")
        return agent.Result((asked,), 0, "", "")

    vm.ends = ends


def hang(vm: Vm, *argv_end: str) -> None:
    """Make the guest hang in a storm when it runs this script."""

    def ends(asked: str) -> agent.Result:
        if asked.endswith(argv_end):
            raise HungError("the guest does not answer, in a storm")
        return agent.Result((asked,), 0, "", "")

    vm.ends = ends


@pytest.mark.parametrize("full", [False, True])
def test_an_error_says_where_the_artefacts_are_or_why_not(
    trial: Trial, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, full: bool
) -> None:
    """The error of the play stays the first, even if nothing can be kept of it."""

    def start() -> None:
        raise VmDied("QEMU was killed by signal 11")

    def keep(place: Path) -> None:
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")
        place.mkdir()

    def clone(machine: object, stopped: bool) -> Any:
        return SimpleNamespace(started=False, start=start, keep=keep, machine=machine, close=lambda: None)

    monkeypatch.setattr(template, "clone", clone)
    _, player = trial("{ raise = 1 }")
    words = f"could not be kept in {tmp_path}/kept: .*No space left" if full else f"are in {tmp_path}/kept"
    with pytest.raises(VmDied, match=f"trial, naive: QEMU was killed by signal 11\nThe artefacts of the guest {words}"):
        run.play(player.case, "naive", keep=tmp_path / "kept", file=tmp_path / "trial.toml")
    if not full:
        # These are the words of a replay, whose error is this one.
        assert failure.load(tmp_path / "kept").found == ("trial, naive: QEMU was killed by signal 11",)


def test_a_panic_before_any_stimulus_is_no_outcome(trial: Trial) -> None:
    vm, player = trial("{ guest = 'crash' }, { raise = 1 }")
    panic(vm, "crash")
    with pytest.raises(NotPlayed, match="panicked in step 1, guest 'crash', before anything was raised or set"):
        player.play()


def test_a_hang_before_the_decisive_step_is_no_outcome(trial: Trial) -> None:
    for hangs, only in (("2", "naive"), ("4", "naive"), ("2", "shirq")):
        vm, player = trial(
            f"{{ raise = 1 }}, {{ wait = 2 }}, {{ wait = 3, decisive = true, only = ['{only}'] }}, {{ wait = 4 }}"
        )
        hang(vm, hangs)
        if (hangs, only) == ("2", "naive"):
            with pytest.raises(NotPlayed, match="hung or panicked in step 2, wait 2, before step 3"):
                player.play()
        else:
            assert player.play().hung


def test_what_prepares_the_device_is_no_stimulus(trial: Trial) -> None:
    vm, player = trial("{ guest = 'crash' }, { raise = 1 }")
    player.case.device["dead"] = "bars"
    panic(vm, "crash")
    with pytest.raises(NotPlayed, match="before anything was raised or set"):
        player.play()


def test_a_panic_after_a_stimulus_names_its_step(trial: Trial) -> None:
    vm, player = trial("{ raise = 1 }, { guest = 'crash' }")
    panic(vm, "crash")
    assert player.play().panicked == f"step 2, guest 'crash': {PANIC}"


def test_a_panic_by_the_neighbours_interrupt_is_an_outcome(trial: Trial) -> None:
    """The end of QEMU may be seen first by the next query, which cannot be sent any more."""
    vm, player = trial("{ raise = 1 }, { neighbour = 2 }")
    ours, theirs = socket.socketpair()

    def ends(asked: str) -> agent.Result:
        if asked == f"{run._QUERY:g}":
            vm.story.neighbours_interrupt("nic0")
            vm.words = PANIC
            theirs.close()
        return agent.Result((asked,), 0, "", "")

    vm.ends = ends
    with contextlib.closing(Network("trial", ours, lambda: "QEMU has ended")) as network:
        vm.networks["net0"] = network
        assert player.play().panicked == f"step 2, neighbour 2: {PANIC}"


def test_a_panic_during_a_qmp_call_is_an_outcome(trial: Trial) -> None:
    """On a busy host the end of QEMU is known only some time after that of its connection."""
    vm, player = trial("{ raise = 1 }, { raise = 2 }")

    def closed(device: str, name: str, value: Any) -> None:
        if value == 1:
            vm.set(device, name, value)
        else:
            vm.words, vm.statuses, vm.ended = PANIC, [None], 0
            raise QmpClosed("QMP: qom-set: the connection is closed")

    vm.qmp.set = closed
    assert player.play().panicked == f"step 2, raise 2: {PANIC}"


def test_a_refusal_by_qmp_is_not_waited_for(trial: Trial) -> None:
    vm, player = trial("{ raise = 1 }, { raise = 2 }")
    vm.statuses = [None]
    vm.ended = 0

    def refused(device: str, name: str, value: Any) -> None:
        raise QmpFailed("QMP: qom-set: there is no such source")

    vm.qmp.set = refused
    with pytest.raises(NotPlayed, match="stimulus not played: step 1, raise 1: QMP: qom-set: there is no such source"):
        player.play()


def test_the_storm_of_a_guest_that_has_ended_is_read(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    vm, player = trial("{ raise = 1 }")
    monkeypatch.setattr(run, "_MANY", 0)

    @contextlib.contextmanager
    def frozen() -> Iterator[None]:
        raise QmpClosed("QMP: stop: the connection is closed")
        yield

    monkeypatch.setattr(vm, "frozen", frozen)
    vm.story.stimulus("dev0")
    assert player._account()
    assert player.pins["dev0"]


def test_a_hang_names_its_step(trial: Trial) -> None:
    vm, player = trial("{ raise = 1 }, { wait = 3 }")
    hang(vm, "3")
    assert player.play().hung == "step 2, wait 3: the guest does not answer, in a storm"


def test_the_end_of_qemu_is_no_outcome(trial: Trial) -> None:
    vm, player = trial("{ raise = 1 }, { wait = 3 }")

    def ends(asked: str) -> agent.Result:
        raise VmDied("QEMU was killed by signal 11")

    vm.ends = ends
    with pytest.raises(VmDied, match="signal 11"):
        player.play()


def test_a_hang_before_the_neighbour_interrupts_is_no_outcome(trial: Trial) -> None:
    vm, player = trial("{ raise = 1 }, { neighbour = 2 }")
    hang(vm, f"{run._QUERY:g}")
    with pytest.raises(NotPlayed, match="the neighbour's pin did not rise"):
        player.play()


def test_a_hang_by_the_neighbours_interrupt_counts(trial: Trial) -> None:
    """The hang counts even if the player has not read the neighbour's interrupt from the log before the hang."""
    vm, player = trial("{ raise = 1 }, { neighbour = 2 }")

    def ends(asked: str) -> agent.Result:
        if asked != f"{run._QUERY:g}":
            return agent.Result((asked,), 0, "", "")
        vm.story.neighbours_interrupt("nic0")
        raise HungError("the guest does not answer, in a storm")

    vm.ends = ends
    assert player.play().hung.startswith("step 2, neighbour 2:")


@pytest.mark.parametrize(
    ("moment", "over", "counts"),
    [("2", True, True), ("1", False, True), ("1", True, False)],
    ids=["since the stimulus", "during it", "before it"],
)
def test_a_hang_by_an_interrupt_of_the_neighbours_own_counts(
    trial: Trial, moment: str, over: bool, counts: bool
) -> None:
    """The neighbour can interrupt by itself because its driver has work, also between the stimulus and the first query.

    The neighbour's driver may then mask it until the storm has ended, so that the queries raise no pin.
    """
    vm, player = trial("{ wait = 1 }, { set = { dead = 'bars' } }, { wait = 2 }, { neighbour = 2 }")

    def ends(asked: str) -> agent.Result:
        if asked == moment and over:
            vm.story.neighbours_interrupt("nic0")
        elif asked == moment:
            vm.story.stimulus("nic0")
        if asked == "2" and not over:
            vm.story.deliver().read("nic0", 0).mask("nic0").eoi()
        if asked == f"{run._QUERY:g}":
            raise HungError("the guest does not answer, in a storm")
        return agent.Result((asked,), 0, "", "")

    vm.ends = ends
    if counts:
        assert player.play().hung.startswith("step 4, neighbour 2:")
    else:
        with pytest.raises(NotPlayed, match="the neighbour's pin did not rise"):
            player.play()


@pytest.mark.parametrize("stops", [False, True])
def test_a_storm_that_fills_the_log_before_it_stops_is_judged(trial: Trial, stops: bool) -> None:
    """The part of the log up to the hang is complete, even if entries are dropped while the player stops the guest."""
    vm, player = trial("{ raise = 1 }, { wait = 3 }")
    hang(vm, "3")

    def execute(command: str) -> None:
        vm.story.neighbours_interrupt("nic0")
        vm.dropped = 7

    vm.qmp.execute = execute
    if stops:
        evidence = player.play()
        evidence.log.require_complete()
        assert not evidence.log.of(Kind.PIN, device="nic0")
    else:
        vm.dropped = 7
        with pytest.raises(CannotJudge, match="7 entries did not fit"):
            player.play()


def test_a_schedule_that_was_due_before_a_hang_was_executed(trial: Trial) -> None:
    """Entries of the schedule that were due only after the hang are not reported as missing."""
    schedule = '{ schedule = "@1000 note 1\\n@3600000000000 note 2" }, '
    for executed in (True, False):
        vm, player = trial("{ raise = 1 }, " + schedule + "{ guest = 'grow' }, { guest = 'hang' }")

        def ends(asked: str, vm: Vm = vm, executed: bool = executed) -> agent.Result:
            if asked.endswith("hang"):
                raise HungError("the guest does not answer")
            if asked.endswith("grow"):
                if executed:
                    vm.story.add(Kind.SCHEDULED, "dev0", offset=1)
                vm.story.wait(1_000_000).neighbours_interrupt("nic0")
            return agent.Result((asked,), 0, "", "")

        vm.ends = ends
        if executed:
            assert player.play().hung
        else:
            with pytest.raises(
                NotPlayed, match="1 entries of dev0's schedule were not executed, the first is in line 1"
            ):
                player.play()


@pytest.mark.parametrize("status", [0, 3])
def test_background_script_failed_before_a_hang_is_reported(trial: Trial, status: int) -> None:
    """If a background script failed before a hang, the failure is reported."""
    vm, player = trial("{ raise = 1 }, { guest = 'beside', background = true }, { guest = 'hang' }")

    def ends(asked: str) -> agent.Result:
        if asked.endswith("hang"):
            raise HungError("the guest does not answer")
        return agent.Result((asked,), status if asked.endswith("beside") else 0, "", "")

    vm.ends = ends
    if status:
        with pytest.raises(NotPlayed, match="the script 'beside' in the background failed with status 3"):
            player.play()
    else:
        assert player.play().hung


def test_background_script_cut_by_the_guests_end_was_under_way(trial: Trial) -> None:
    """A background script that the guest's end cut short counts as running, not as failed."""
    vm, player = trial("{ raise = 1 }, { guest = 'beside', background = true }, { guest = 'hang' }")

    def ends(asked: str) -> agent.Result:
        if asked.endswith("hang"):
            raise HungError("the guest does not answer")
        if asked.endswith("beside"):
            raise DeadlineExceeded("it runs")
        return agent.Result((asked,), 0, "", "")

    vm.ends = ends
    assert player.play().hung


def test_a_setting_counts_if_it_reads_back(trial: Trial) -> None:
    """The player reads the property back, because a log entry of another setting proves nothing about this one."""
    _, player = trial("{ raise = 1 }")
    player._set(Step(set={"dead": "bars"}))
    with pytest.raises(NotPlayed, match="dev0's broken is None, not 1"):
        player._set(Step(set={"broken": 1}))


def test_a_set_raises_what_was_not_pending(trial: Trial) -> None:
    vm, player = trial("{ raise = 1 }")
    player._set(Step(set={"raise": 1}))
    vm.qmp.set = lambda device, name, value: vm.story.add(Kind.RAISE, device, value=0)
    with pytest.raises(NotPlayed, match=r"of dev0 changed only the sources \['0x0'\], .* some were already pending"):
        player._set(Step(set={"raise": 1}))


@pytest.mark.parametrize(
    ("status", "said", "refused"),
    [
        (1, "peer-shirq: arming: Device or resource busy", True),
        (1, "sh: write error: No such device", True),
        (1, "peer-shirq: loading programs (program 0, operation 3, reason 7): Invalid argument", False),
        (1, "peer-vfio-pci: opening /dev/vfio/vfio: No such file or directory", False),
        (2, "peer-shirq: unrecognized option '--no-such'\nusage: ...", False),
        (2, "Device or resource busy", False),
        (-11, "", False),
        (0, "", False),
    ],
)
def test_only_the_kernels_errors_are_a_refusal(status: int, said: str, refused: bool) -> None:
    ended = agent.Result(("peer",), status, "", said + "\n")
    if refused:
        assert run._refusal("it", ended) == said
    else:
        with pytest.raises(NotPlayed, match=f"it ended with status {status}, but the kernel has not refused"):
            run._refusal("it", ended)


def test_notices_are_told_each_and_in_order() -> None:
    told = ["quarantined flags=0x1", "reset flags=0x0", "resumed flags=0x0"]
    assert run._untold(["quarantined", "resumed"], told) == []
    assert run._untold(["resumed", "quarantined"], told) == [
        f"the driver's program got no notice like 'quarantined' in the expected order; all notices: {told}"
    ]
    assert run._untold(["reset", "reset"], told) == [
        f"the driver's program got no notice like 'reset' in the expected order; all notices: {told}"
    ]


@pytest.mark.parametrize(
    ("wanted", "ended", "unmet"),
    [
        ("", None, []),
        (
            "",
            (1, "read: No such device\n"),
            ["the driver's program ended by itself, with 'status 1: read: No such device'"],
        ),
        ("", (-11, ""), ["the driver's program ended by itself, with 'status -11: '"]),
        ("^status 1: .*No such device$", (1, "closing\nread: No such device\n"), []),
        ("^status 1: ", (-11, ""), ["the driver's program ended by itself, with 'status -11: '"]),
        ("^status 1: ", None, ["the driver's program has not ended by itself, with '^status 1: '"]),
    ],
)
def test_a_program_that_ends_by_itself_is_expected_to(
    wanted: str, ended: tuple[int, str] | None, unmet: list[str]
) -> None:
    result = agent.Result(("peer",), ended[0], "", ended[1]) if ended else None
    assert run._unexpected_end(wanted, result) == unmet


@pytest.mark.parametrize(("after", "unmet"), [("", 1), (", { driver = 'dismiss' }", 0)])
def test_a_program_that_need_not_serve_may_have_ended(trial: Trial, after: str, unmet: int) -> None:
    _, player = trial("{ raise = 1 }, { driver = 'start' }, { serve = 1 }" + after)
    player.play()
    assert len(player.unmet) == unmet


def test_a_bound_that_is_exceeded_is_told() -> None:
    figures = {"slowest_us": 500, "neighbour_slowest_us": 80}
    assert run._late({"served_us": 500, "neighbour_us": 80}, figures) == []
    assert run._late({"served_us": 499, "neighbour_us": 79}, figures) == [
        "served_us is 500, at most 499 is expected",
        "neighbour_us is 80, at most 79 is expected",
    ]


@pytest.mark.parametrize("entries", [3, 4])
def test_a_storm_is_read_while_the_guest_stands_still(
    trial: Trial, monkeypatch: pytest.MonkeyPatch, entries: int
) -> None:
    """The player freezes the guest to read a storm, because a storm is written faster than it is read."""
    monkeypatch.setattr(run, "_MANY", 3)
    vm, player = trial("{ raise = 1 }")
    stopped: list[int] = []

    @contextlib.contextmanager
    def frozen() -> Iterator[None]:
        stopped.append(vm.read)
        yield

    monkeypatch.setattr(vm, "frozen", frozen)
    player._account()
    for _ in range(entries):
        vm.story.add(Kind.READ, "dev0")
    player._account()
    assert len(stopped) == (entries > 3)


@pytest.mark.parametrize("gsi", [20, 21])
def test_the_delivery_of_a_raise_is_in_the_log_at_once(trial: Trial, gsi: int) -> None:
    """The player searches for the delivery right after the raise: by the next step the guest may have handled it."""
    vm, player = trial(f"{{ raise = 1, logged = 'DELIVER ioapic {gsi} ' }}, {{ wait = 1 }}")
    raises = vm.set

    def set_(device: str, name: str, value: Any) -> None:
        raises(device, name, value)
        vm.story.deliver()

    vm.qmp.set = set_
    if gsi == 20:
        player.play()
    else:
        with pytest.raises(NotPlayed, match="step 1, raise 1: the log has no entry like 'DELIVER ioapic 21 '"):
            player.play()


@pytest.mark.parametrize("value", [0x4, 0x0])
def test_what_a_step_must_have_done_is_in_the_log(trial: Trial, value: int) -> None:
    vm, player = trial("{ guest = 'config', logged = 'WRITE dev0 config\\+0x5 0x4$' }, { raise = 1 }")
    vm.story.add(Kind.WRITE, "dev0", space=CONFIG_SPACE, offset=5, value=4)  # This entry is from before the step.

    def ends(asked: str) -> agent.Result:
        if asked.endswith("config"):
            vm.story.add(Kind.WRITE, "dev0", space=CONFIG_SPACE, offset=5, value=value)
        return agent.Result((asked,), 0, "", "")

    vm.ends = ends
    if value:
        player.play()
    else:
        with pytest.raises(NotPlayed, match="step 1, guest 'config': the log has no entry like 'WRITE dev0 config"):
            player.play()


def test_entries_are_named_as_logged_has_them() -> None:
    story = Story(("dev0",)).add(Kind.WRITE, "dev0", offset=0x64, value=1, width=4)
    story.add(Kind.DELIVER, IOAPIC, offset=21, value=0x22)
    assert [run._words(entry) for entry in story.entries[-2:]] == ["WRITE dev0 bar0+0x64 0x1", "DELIVER ioapic 21 0x22"]


@pytest.mark.parametrize(
    ("vcpus", "runs", "why"),
    [
        ([0, 0, 0, 1], True, ""),
        ([0], True, r"the line's interrupts have ended only on the vCPUs \[0\], not on all"),
        ([0, 1], False, "the background script that moves the interrupt had ended after 0 times"),
    ],
)
def test_a_burst_that_is_moved_ends_on_every_vcpu(trial: Trial, vcpus: list[int], runs: bool, why: str) -> None:
    """The burst starts while the moving script runs, and continues until each vCPU has ended an interrupt."""
    vm, player = trial("{ raise = 1 }")
    player.vm.machine = dataclasses.replace(vm.machine, vcpus=2, deterministic=False)
    player.background.append((Step(guest=""), SimpleNamespace(running=runs)))
    ending = iter(vcpus)

    def stimulate(device: str, name: str, value: int) -> None:
        vm.story.stimulus(device, value).add(Kind.WRITE, "dev0", offset=0x64, value=value)
        vm.story.add(Kind.EOI, IOAPIC, offset=20, vcpu=next(ending, vcpus[-1]), ring=0)

    vm.qmp.set = stimulate
    if why:
        with pytest.raises(NotPlayed, match=why):
            player._burst(Step(burst=2, moved=True))
    else:
        player._burst(Step(burst=2, moved=True))
        assert len([entry for entry in vm.story.entries if entry.kind is Kind.RAISE]) == 4


@pytest.mark.parametrize("vcpus", [[0, 0, 0, 1], [0]])
def test_moved_interrupts_of_the_neighbour_end_on_every_vcpu(trial: Trial, vcpus: list[int]) -> None:
    """If a script moves the line's interrupt, the neighbour's interrupts must end on every vCPU.

    The player sends further queries, one after the other, until each vCPU has ended an interrupt.
    """
    vm, player = trial("{ raise = 1 }")
    player.vm.machine = dataclasses.replace(vm.machine, vcpus=2, deterministic=False)
    player.background.append((Step(guest=""), SimpleNamespace(running=True)))
    ending = iter(vcpus)
    waiting: list[int] = []

    def ask() -> None:
        vm.story.neighbours_interrupt("nic0")
        vm.story.add(Kind.EOI, IOAPIC, offset=20, vcpu=next(ending, vcpus[-1]), ring=0)
        waiting.append(1)

    def answers() -> int:
        return len([waiting.pop() for _ in waiting[:1]])

    vm.networks["net0"] = SimpleNamespace(answers=answers, ask=ask)
    if 1 in vcpus:
        player._neighbour(Step(neighbour=2, moved=True))
        assert (player.asked, player.answered) == (4, 4)
    else:
        with pytest.raises(NotPlayed, match=r"the line's interrupts have ended only on the vCPUs \[0\], not on all"):
            player._neighbour(Step(neighbour=2, moved=True))


@pytest.mark.parametrize("panics", [True, False])
def test_what_the_kernel_killed_when_it_failed_was_under_way(trial: Trial, panics: bool) -> None:
    """A background script that a signal ended counts as failed, unless the kernel has panicked."""
    vm, player = trial("{ raise = 1 }, { guest = 'beside', background = true }, { guest = 'ends' }")

    def ends(asked: str) -> agent.Result:
        if asked.endswith("ends"):
            if not panics:
                raise HungError("the guest does not answer")
            vm.words = PANIC
            raise AgentGone("the agent channel was closed")
        return agent.Result((asked,), -9 if asked.endswith("beside") else 0, "", "")

    vm.ends = ends
    if panics:
        assert player.play().panicked
    else:
        with pytest.raises(NotPlayed, match="the script 'beside' in the background failed with status -9"):
            player.play()


@pytest.mark.parametrize("oops", [True, False])
def test_a_kernel_that_goes_on_has_killed_the_task_it_failed_in(trial: Trial, oops: bool) -> None:
    """A background script that a signal ended counts as failed, unless the kernel log has the reason."""
    vm, player = trial("{ raise = 1 }, { guest = 'beside', background = true }")

    def ends(asked: str) -> agent.Result:
        said = "BUG: unable to handle page fault\nOops: 0000 [#1]\n" if asked == "dmesg" and oops else ""
        return agent.Result((asked,), -9 if asked.endswith("beside") else 0, said, "")

    vm.ends = ends
    if oops:
        assert "Oops" in player.play().kernel_log
    else:
        with pytest.raises(NotPlayed, match="the script 'beside' in the background failed with status -9"):
            player.play()


@pytest.mark.parametrize("name", ["vmlinuz", "initrd"])
def test_a_crash_kernel_that_the_guest_cannot_keep_is_told(trial: Trial, tmp_path: Path, name: str) -> None:
    """The guest would crash into a kernel of which a part is missing."""
    vm, player = trial("{ crash = 'nr_cpus=1' }, { raise = 1 }")
    (tmp_path / "part").write_bytes(b"part")
    vm.parts = SimpleNamespace(kernel=SimpleNamespace(vmlinuz=tmp_path / "part"), initrd=tmp_path / "part")

    def ends(asked: str) -> agent.Result:
        full = asked.endswith(f"cat >/run/{name}")
        return agent.Result((asked,), int(full), "", "cat: write error: No space left on device" if full else "")

    vm.ends = ends
    with pytest.raises(NotPlayed, match=rf"step 1, crash .*status 1 from: cat >/run/{name}\ncat: write error"):
        player.play()


def test_a_join_waits_for_what_goes_on_beside(trial: Trial) -> None:
    vm, player = trial("{ guest = 'beside', background = true }, { join = 'background' }, { raise = 1 }")
    vm.ends = lambda asked: agent.Result((asked,), 3 if asked.endswith("beside") else 0, "", "")
    with pytest.raises(
        NotPlayed, match=r"step 2, join 'background': .*the script 'beside' in the background failed with status 3"
    ):
        player.play()


def test_entries_of_a_schedule_are_repeated_by_a_period(trial: Trial) -> None:
    """With `times`, the same entries come again, `every_ns` later each time; entries for the doorbell stay."""
    schedule = '{ schedule = "# twice\\n@1000 raise 1\\n+5 note 2", times = 2, every_ns = 300 }'
    vm, player = trial("{ raise = 1 }, " + schedule)
    player._schedule(player.case.steps[1])
    lines = (vm.dir / "dev0.schedule").read_text().splitlines()
    first = int(lines[1].removeprefix("@").split()[0])
    assert lines == ["# twice", f"@{first} raise 1", "+5 note 2", "# twice", f"@{first + 300} raise 1", "+5 note 2"]
    assert sorted(player.due["dev0"]) == [2, 3, 5, 6]
