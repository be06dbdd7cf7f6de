# SPDX-License-Identifier: MIT
"""A guest that is rewound to a savepoint is the guest that it was then, and so is what the host knows of it."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from guest.port import behind_a_port
from shirq_bench.campaigns.determinism import busy, stimuli
from shirq_bench.channels.log import Kind, LogError
from shirq_bench.deadline import Deadline
from shirq_bench.errors import AgentGone, QmpFailed
from shirq_bench.journal import Kind as StepKind
from shirq_bench.observe.scene import Scene
from shirq_bench.replay import exact
from shirq_bench.replay.play import Stimulus, beginning, schedule
from shirq_bench.vm import pool, savepoint, template
from shirq_bench.vm.machine import GSI, SHARED_LINE, Machine
from shirq_bench.vm.vm import Vm

#: Work that changes memory, devices and processes of a guest.
WORK = "python3 -c 'print(sum(range(10**5)))' && find / -xdev >/dev/null && ls -l /proc/self/fd >/tmp/listed"
#: The length of a run, in ns of virtual time, and of its first part.
LENGTH_NS, MIDDLE_NS = 8_000_000, 3_000_000
#: Interrupts of both devices.
STIMULI = stimuli(2005)


def run_to(vm: Vm, at_ns: int) -> None:
    """Let a deterministic guest, whose schedule has a stop there, run to it."""
    vm.qmp.execute("cont")
    vm.qmp.wait_event("STOP", deadline=120)
    assert vm.now_ns() == beginning(vm) + at_ns


@pytest.mark.needs_kernel("6.1", "6.12")
@pytest.mark.parametrize("vcpus", [1, 2])
def test_runs_of_a_rewound_guest_are_those_of_a_new_clone(kernel_name: str, vcpus: int) -> None:
    """Log, registers and the whole memory of a busy guest are the same after the same instruction."""
    machine = busy(kernel_name, vcpus)
    with template.clone(machine, stopped=True) as clone:
        clone.start()
        reference = exact.state(clone, STIMULI, LENGTH_NS)
    assert reference.entries > len(STIMULI), "the devices were hardly served"
    with template.clone(machine, stopped=True) as guest:
        guest.start()
        first = guest.savepoint()
        for _ in range(3):
            assert exact.state(guest, STIMULI, LENGTH_NS) == reference
            guest.rewind(first, go=False)


@pytest.mark.needs_kernel("6.1", "6.12")
@pytest.mark.parametrize("vcpus", [1, 2])
def test_run_goes_on_from_a_savepoint_in_its_middle_as_it_did(kernel_name: str, vcpus: int) -> None:
    """With two vCPUs, the savepoint is made while the second one has the turn."""
    with template.clone(busy(kernel_name, vcpus), stopped=True) as guest:
        guest.start()
        stops = [Stimulus(at, "ctl", "stop") for at in (MIDDLE_NS, LENGTH_NS)]
        turn = Stimulus(MIDDLE_NS - 1000, "ctl", f"turn {vcpus - 1}")
        schedule(guest, beginning(guest), [*STIMULI, turn, *stops])
        run_to(guest, MIDDLE_NS)
        middle = guest.savepoint()
        states = []
        for _ in range(3):
            run_to(guest, LENGTH_NS)
            states.append(exact.look(guest))
            guest.rewind(middle, go=False)
            assert savepoint.differences(guest, middle) == []
        assert states[1:] == states[:1] * 2


@pytest.mark.parametrize("vcpus", [1, 2])
def test_nothing_of_a_run_stays(kernel_name: str, vcpus: int) -> None:
    """All memory, the state of all devices and the timers are as at the savepoint, whatever the guest did."""
    with template.clone(SHARED_LINE.with_(kernel=kernel_name, vcpus=vcpus), stopped=True) as guest:
        guest.start()
        first = guest.savepoint()
        for number in range(12):
            guest.qmp.execute("cont")
            if number % 2:
                guest.agent.succeed(WORK)
                guest.networks["net0"].ping(3)
            guest.qmp.set("dev1", "raise", 1)
            guest.agent.ping()
            done = guest.rewind(first, go=False)
            assert done.pages > 0
            assert savepoint.differences(guest, first) == []


def test_difference_is_found(kernel_name: str) -> None:
    """The check of a rewind reports memory, devices and timers of a guest that has gone on."""
    with template.clone(SHARED_LINE.with_(kernel=kernel_name)) as guest:
        first = guest.boot().savepoint()
        guest.agent.succeed("true")
        guest.qmp.execute("stop")
        found = savepoint.differences(guest, first)
        assert [text.partition(":")[0] for text in found] == ["RAM 'ram'", "state", "timers"]


def test_properties_and_schedules_return(vm: Vm) -> None:
    """The properties by which a device misbehaves are no part of a saved state, but they are of a savepoint."""
    vm.qmp.set("dev0", "status-lag-ns", 500)
    first = vm.savepoint()
    with vm.frozen():
        vm.qmp.set("dev0", "status-lag-ns", 0)
        vm.qmp.set("dev0", "dead", "all")
        vm.qmp.set("dev1", "disintx", "ok")
        vm.qmp.set("dev1", "intx-pin", "B")
        vm.qmp.set("dev0", "preset", "plx9050")
        path = vm.dir / "later"
        path.write_text(f"@{vm.now_ns() + 10**12} raise 1\n")
        vm.qmp.set("dev1", "schedule", str(path))
    vm.rewind(first)
    assert vm.qmp.get("dev0", "status-lag-ns") == 500
    assert vm.qmp.get("dev0", "dead") == "off"
    assert vm.qmp.get("dev1", "disintx") == "read-only"
    assert vm.qmp.get("dev1", "intx-pin") == "A"
    assert vm.qmp.get("dev0", "preset") == "edu"
    assert vm.qmp.get("dev1", "schedule") == ""
    with vm.frozen():
        assert savepoint.differences(vm, first) != [], "it has run since"


def test_line_that_was_low_is_logged_when_it_rises_again(scene: Scene) -> None:
    """What the log's probe knows of the lines returns, too: a level is logged when it changes, and only then."""
    vm = scene.vm
    scene.drive("dev1")
    with vm.frozen():
        first = vm.savepoint()
        mark = vm.log().mark
        for _ in range(2):
            vm.qmp.set("dev1", "raise", 1)
            assert [(entry.offset, entry.value) for entry in vm.log().since(mark).of(Kind.LINE)] == [(GSI, 1)]
            vm.rewind(first, go=False)
            assert vm.log().mark == mark


def test_commands_of_the_savepoint_run_again_and_later_ones_fail(vm: Vm) -> None:
    counter = vm.agent.start("sh", "-c", "echo ready; while read -r word; do echo got $word; done; exit 7")
    counter.expect("ready")
    first = vm.savepoint()
    for _ in range(3):
        counter.write("one\n")
        counter.expect("got one")
        later = vm.agent.start("sleep", "1000")
        counter.close_stdin()
        assert counter.wait().status == 7
        vm.rewind(first)
        assert counter.running
        assert counter.stdout == "ready\n"
        with pytest.raises(AgentGone, match="rewound to before the command"):
            later.wait()
    counter.signal(signal.SIGKILL)
    assert counter.wait().status == -signal.SIGKILL


def test_half_messages_are_dropped(vm: Vm) -> None:
    """A guest that was sending and being sent much at the moment of the rewind is answered to and answers."""
    first = vm.savepoint()
    for _ in range(5):
        echo = vm.agent.start("cat")
        noise = vm.agent.start("sh", "-c", "while :; do cat /bin/busybox; done")
        with vm.frozen():
            echo.write("x" * 200_000, deadline=30)
            vm.networks["net0"].ask()
        vm.rewind(first)
        assert not noise.running
        assert vm.agent.succeed("echo here") == "here\n"
        vm.networks["net0"].ping(2)


def test_console_steps_and_events_return(vm: Vm) -> None:
    with vm.frozen():
        first = vm.savepoint()
        before, steps, events = vm.console.text(), [step.what for step in vm.journal.steps], vm.qmp.events()
    vm.agent.succeed("echo something new >/dev/console")
    assert vm.console.shows("something new", Deadline(20))
    vm.rewind(first, go=False)
    assert vm.console.text() == before
    assert [step.what for step in vm.journal.steps] == steps
    assert vm.qmp.events() == events, "the rewind itself stops the VM, which is no event of the test"
    vm.qmp.execute("cont")
    vm.agent.ping()
    vm.agent.succeed("true")
    assert list(vm.journal.steps)[-1].first >= vm.log().mark > 0, "a step has its place in the log after a rewind, too"


def test_refused_rewind_leaves_the_readers_of_the_log(port: Scene) -> None:
    vm = port.vm
    first = vm.savepoint()
    with vm.follow() as reader:
        vm.qmp.execute("device_del", id="dev2")
        vm.qmp.wait_event("DEVICE_DELETED", 60)
        with pytest.raises(QmpFailed):
            vm.rewind(first)
        vm.qmp.execute("cont")
        vm.qmp.set("dev1", "raise", 1)
        assert list(reader.poll())[-1].device == "dev1"


def test_rewinds_take_no_descriptors(vm: Vm) -> None:
    first = vm.savepoint()
    vm.rewind(first)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        vm.agent.succeed("true")
        vm.rewind(first)
    assert len(list(Path("/proc/self/fd").iterdir())) <= before


def test_entries_that_were_read_stay_and_the_reader_says_that_it_is_old(vm: Vm) -> None:
    first = vm.savepoint()
    vm.qmp.set("dev1", "raise", 1)
    vm.agent.ping()
    before = vm.log()
    entries = list(before.entries)
    with vm.follow() as reader:
        vm.rewind(first)
        for _ in range(3):
            vm.qmp.set("dev0", "raise", 1)
            vm.agent.ping()
        assert list(before.entries) == entries
        with pytest.raises(LogError, match="the VM was rewound"):
            reader.poll()


def test_later_savepoints_are_forgotten(vm: Vm) -> None:
    first = vm.savepoint()
    vm.agent.succeed("echo 1 >/tmp/now")
    second = vm.savepoint()
    vm.agent.succeed("echo 2 >/tmp/now")
    vm.rewind(second)
    assert vm.agent.succeed("cat /tmp/now") == "1\n"
    vm.rewind(first, go=False)
    assert savepoint.differences(vm, first) == [], "it was rewound over the second savepoint"
    vm.qmp.execute("cont")
    assert vm.agent.fail("cat /tmp/now")
    with pytest.raises(QmpFailed, match=f"there is no savepoint {second.number}: there are 0 to {first.number}"):
        vm.rewind(second)


def test_panicked_guest_is_rewound(kernel_name: str) -> None:
    with template.clone(SHARED_LINE.with_(kernel=kernel_name, extra=("-no-shutdown",))) as guest:
        first = guest.boot().savepoint()
        for _ in range(3):
            guest.agent.start("sh", "-c", "echo c >/proc/sysrq-trigger")
            guest.qmp.wait_event("SHUTDOWN", 60)
            guest.rewind(first)
            assert guest.agent.succeed("uname") == "Linux\n"
            assert "panic" not in guest.console.text()


def test_guest_that_was_plugged_is_not_rewound(port: Scene) -> None:
    vm = port.vm
    first = vm.savepoint()
    vm.qmp.execute("device_del", id="dev2")
    vm.qmp.wait_event("DEVICE_DELETED", 60)
    with pytest.raises(QmpFailed, match="'dev2' was plugged or unplugged since the first savepoint"):
        vm.rewind(first)
    with pytest.raises(QmpFailed, match="'dev2' was plugged or unplugged since the first savepoint"):
        vm.savepoint()
    vm.qmp.execute("cont")
    vm.agent.ping()


def test_no_savepoint_of_a_drive_that_can_be_written(kernel_name: str) -> None:
    drive = ("-blockdev", "null-co,node-name=disk,size=1048576", "-device", "virtio-blk-pci,drive=disk,addr=12")
    with Vm(Machine(kernel=kernel_name, extra=drive)) as guest:
        guest.start()
        with pytest.raises(QmpFailed, match=r"the contents of .* are not part of a savepoint"):
            savepoint.make(guest)


def made(vm: Vm) -> list[str]:
    """Return what the journal says of the guest's beginning."""
    return [step.what for step in vm.journal.steps if step.kind is StepKind.GUEST]


def test_pool_lends_the_same_guest_again_and_never_a_dead_one(kernel_name: str) -> None:
    machine = behind_a_port().with_(kernel=kernel_name)
    with pool.lent(machine) as first:
        first.agent.succeed("touch /tmp/used")
        assert made(first) == ["a new clone"]
    with pool.lent(machine) as second:
        assert second is first
        assert made(second) == ["rewound to its beginning"]
        assert second.agent.fail("cat /tmp/used")
        second.qmp.execute("device_del", id="dev2")
        second.qmp.wait_event("DEVICE_DELETED", 60)
    with pool.lent(machine) as third:
        assert third is not first
        assert first.status() is not None
        third.agent.start("sh", "-c", "echo c >/proc/sysrq-trigger")
        third.wait_end(60)
    with pool.lent(machine, stopped=True) as fourth:
        assert fourth is not third
        assert not fourth.qmp.execute("query-status")["running"]


def test_guest_of_a_block_that_raises_is_closed(kernel_name: str) -> None:
    """A block that raises may have left anything behind: its guest is not lent again."""
    machine = SHARED_LINE.with_(kernel=kernel_name)
    with pytest.raises(KeyError), pool.lent(machine, stopped=True) as first:
        raise KeyError
    assert first.status() is not None


#: Prints random numbers of the processor: a function of two instructions, ``rdrand`` and ``ret``.
RDRAND = """
import ctypes, mmap
code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
code.write(bytes.fromhex("480fc7f0c3"))
call = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
print(*(call() for _ in range(1000)))
"""


def test_random_numbers_of_the_processor_return(kernel_name: str) -> None:
    """They are part of a run that is repeated, for a clone as for a rewound guest."""

    def numbers(guest: Vm) -> set[str]:
        return set(guest.agent.run("python3", "-c", RDRAND).stdout.split())

    machine = SHARED_LINE.with_(kernel=kernel_name, deterministic=True, vcpus=1, extra=("-cpu", "max"))
    with template.clone(machine) as guest:
        first = guest.boot().savepoint()
        once = numbers(guest)
        assert len(once) == 1000
        guest.rewind(first)
        # The kernel takes some of them, too, when it pleases.
        assert len(numbers(guest) & once) > 500
    with template.clone(machine) as clone:
        assert len(numbers(clone.boot()) & once) > 500


def test_check_of_rewinds_finds_what_stays(kernel_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    guest = pool.take(SHARED_LINE.with_(kernel=kernel_name))
    guest.begin()
    guest.end(check=True)
    again = pool.take(SHARED_LINE.with_(kernel=kernel_name))
    assert again is guest
    again.begin()

    def stay(vm: Vm, to: savepoint.Savepoint, go: bool) -> savepoint.Rewound:
        vm.qmp.execute("stop")
        return savepoint.Rewound(0, 0, True, 0, 0)

    monkeypatch.setattr(Vm, "rewind", stay)
    with pytest.raises(pool.RewindError, match=r"differs from its beginning: RAM 'ram': .* pages"):
        again.end(check=True)
    assert again.vm.status() is not None
