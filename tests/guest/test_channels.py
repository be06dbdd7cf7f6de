# SPDX-License-Identifier: MIT
"""The channels into a guest (agent, SSH, console, QMP), and their error reports when the guest dies."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shirq_bench.errors import AgentGone, BenchError, CommandFailed, DeadlineExceeded
from shirq_bench.plugin import Boot, artefacts
from shirq_bench.vm.machine import Machine
from shirq_bench.vm.vm import Vm


@pytest.fixture
def plain(boot: Boot) -> Vm:
    """A guest without additional devices."""
    return boot(Machine())


@pytest.mark.fast
def test_the_agent_gives_status_output_and_errors_apart(plain: Vm) -> None:
    result = plain.agent.run("sh", "-c", "echo out; echo err >&2; exit 3")
    assert (result.status, result.stdout, result.stderr) == (3, "out\n", "err\n")
    assert plain.agent.run("cat", stdin="x" * 300_000).stdout == "x" * 300_000
    assert plain.agent.run("/no/such/program").status == 127
    with pytest.raises(CommandFailed, match="status 1 from: false"):
        plain.agent.succeed("false")
    with pytest.raises(CommandFailed, match="though it should fail"):
        plain.agent.fail("true")


def test_a_frozen_vm_stands_still_until_the_outermost_block_ends(plain: Vm) -> None:
    def runs() -> bool:
        return bool(plain.qmp.execute("query-status")["running"])

    with plain.frozen():
        with plain.frozen():
            assert not runs()
        assert not runs()
    assert runs()


def test_many_commands_run_side_by_side(plain: Vm) -> None:
    commands = [plain.agent.start("sh", "-c", f"read x; echo $x {n}") for n in range(40)]
    for number, command in enumerate(commands):
        command.write(f"hello {number}\n")
    assert [c.wait().stdout for c in commands] == [f"hello {n} {n}\n" for n in range(40)]


def test_command_timeout_is_reported_with_output_and_console(plain: Vm) -> None:
    """If a command exceeds its deadline, the error has the command's output and the console."""
    late = f"its end did not come within {0.5 * plain.patience:g} s"
    command = plain.agent.start("sh", "-c", "echo so far; sleep 1000")
    command.expect("so far")
    with pytest.raises(DeadlineExceeded, match=rf"(?s){late}.*so far.*QEMU runs.*console"):
        command.wait(0.5)


def test_dead_agent_is_restarted_and_its_commands_fail_clearly(plain: Vm) -> None:
    """The guest starts the agent again if it dies; the commands that it ran fail with a clear error."""
    lost = plain.agent.start("sleep", "1000")
    plain.agent.start("killall", "-9", "shirq-agent")
    with pytest.raises(AgentGone, match="agent died and was started again"):
        lost.wait()
    assert plain.agent.succeed("echo back") == "back\n"


def test_random_numbers_need_no_waiting(plain: Vm) -> None:
    """The kernel has regarded them as random since the boot, so no program of a clone spins until it does."""
    assert "crng init done" in plain.agent.succeed("dmesg")


def test_ssh_runs_commands_and_copies_files_both_ways(plain: Vm, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(bytes(range(256)) * 1000)
    with plain.ssh() as ssh:
        result = ssh.exec("echo out; echo err >&2; exit 4")
        assert (result.status, result.stdout, result.stderr) == (4, "out\n", "err\n")
        assert len(ssh.exec("head -c 4000000 /dev/zero >&2").stderr) == 4_000_000
        ssh.put(source, "/tmp/copy")
        ssh.get("/tmp/copy", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == source.read_bytes()
    with plain.ssh() as again:
        assert again.exec("wc -c </tmp/copy").stdout.strip() == "256000"


@pytest.mark.invariants_broken("QEMU is killed", guest_ends=True)
def test_a_copy_by_ssh_ends_when_qemu_is_killed(plain: Vm) -> None:
    plain.agent.succeed("mkfifo /tmp/fifo")
    with ThreadPoolExecutor(1) as pool, plain.ssh() as ssh:
        copied = pool.submit(ssh.get, "/tmp/fifo", Path("/dev/null"))
        plain.agent.succeed("until pidof sftp-server; do usleep 10000; done")
        os.kill(plain.pid, signal.SIGKILL)
        with pytest.raises(BenchError, match="ssh: /tmp/fifo: "):
            copied.result(timeout=60)


def test_the_console_is_a_shell_that_pexpect_can_drive(plain: Vm) -> None:
    plain.console.sendline("echo $((6 * 7)) is the answer")
    plain.console.expect("\n42 is the answer")


@pytest.mark.splats_expected
@pytest.mark.invariants_broken("the guest panics", guest_ends=True)
def test_a_guest_that_panics_fails_at_once_and_shows_its_console(plain: Vm) -> None:
    with pytest.raises(
        AgentGone, match=r"(?s)QEMU has ended with status 0.*last console lines.*Kernel panic.*sysrq_handle_crash"
    ):
        plain.agent.run("sh", "-c", "echo c >/proc/sysrq-trigger; sleep 100", deadline=60)


def test_panic_during_boot_fails_at_once_and_shows_the_console(kernel_name: str) -> None:
    """If a guest panics during boot, boot() fails at once and shows the guest's console."""
    with (
        Vm(Machine(kernel=kernel_name, parameters="rdinit=/no/such init=/no/such")) as vm,
        pytest.raises(BenchError, match=r"(?s)QEMU has ended.*Kernel panic"),
    ):
        vm.boot(deadline=60)


def test_hung_guest_fails_at_its_deadline_and_shows_its_console(kernel_name: str) -> None:
    """If a guest hangs during boot, boot() fails at its deadline and shows the guest's console."""
    with Vm(Machine(kernel=kernel_name, parameters="rdinit=/bin/cat init=/bin/cat")) as vm:
        patience = 8 * vm.patience
        with pytest.raises(DeadlineExceeded, match=rf"(?s)not up within {patience:g} s.*QEMU runs.*console"):
            vm.boot(deadline=8)


def test_vcpu_state_of_an_unresponsive_guest_is_kept(plain: Vm, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bench keeps the state of the vCPUs of a guest that does not answer any more."""
    monkeypatch.setattr(artefacts, "ANSWER", 1.0)
    with plain.frozen():
        log, unread = artefacts.kernel_log(plain)
        said = artefacts.processors(plain)
    assert "the guest is up" in log and "dmesg: its end did not come within" in unread
    assert (said.count("RIP="), said.count("LVTT\t")) == (2, 2), said


def test_a_guest_whose_qemu_refuses_its_command_line_says_why(kernel_name: str) -> None:
    with (
        Vm(Machine(kernel=kernel_name, devices=("shirq-edu,disintx=perhaps",))) as vm,
        pytest.raises(BenchError, match=r"(?s)disintx.*perhaps.*read-only"),
    ):
        vm.boot()
