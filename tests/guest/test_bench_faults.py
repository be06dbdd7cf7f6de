# SPDX-License-Identifier: MIT
"""Failures of the bench itself: each is reported in one clear message and leaves no files behind."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from guest import suites
from shirq_bench.errors import AgentGone, BenchError, QmpFailed
from shirq_bench.observe.source_lines import splats_of
from shirq_bench.plugin import Boot
from shirq_bench.vm import accel, template
from shirq_bench.vm.machine import Machine, insmod
from shirq_bench.vm.vm import Vm, parts


@pytest.mark.invariants_broken("QEMU is killed", guest_ends=True)
def test_a_qemu_that_dies_is_reported_on_every_channel(boot: Boot) -> None:
    vm = boot(Machine())
    command = vm.agent.start("sleep", "1000")
    os.kill(vm.pid, signal.SIGKILL)
    with pytest.raises(AgentGone, match="QEMU has ended with status -9"):
        command.wait()
    with pytest.raises(AgentGone, match="QEMU has ended with status -9"):
        vm.agent.run("true")
    with pytest.raises(QmpFailed, match="query-status: the connection is closed"):
        vm.qmp.execute("query-status")
    with pytest.raises(QmpFailed, match="event SHUTDOWN: the connection is closed"):
        vm.qmp.wait_event("SHUTDOWN")


def test_closed_qmp_connection_is_reported_and_the_guest_goes_on(boot: Boot) -> None:
    """A QMP connection that closes is reported, and the guest goes on."""
    vm = boot(Machine())
    vm.qmp.close()
    with pytest.raises(QmpFailed, match="the connection is closed"):
        vm.qmp.execute("query-status")
    assert vm.agent.succeed("echo still here") == "still here\n"


_COMPLAIN = Path(__file__).parent / "complain"


@pytest.mark.splats_expected
def test_a_splat_names_the_source_lines_of_modules(boot: Boot) -> None:
    vm = boot(Machine(modules=(str(_COMPLAIN),)))
    vm.agent.succeed(insmod("complain"))
    (splat,) = splats_of(vm, vm.agent.succeed("dmesg"))
    source = (_COMPLAIN / "complain.c").read_text().splitlines()
    for where, words in (("RIP: .*:complain.*", "WARN(value"), ("complain_init", "ret = complain(7);")):
        line = next(number for number, text in enumerate(source, 1) if words in text)
        assert re.search(rf"{where}\+.* \(complain\.c:{line}\)$", splat.excerpt, re.MULTILINE), splat.excerpt


def test_a_template_whose_preparation_fails_is_not_kept(kernel_name: str) -> None:
    machine = Machine(kernel=kernel_name, prepare=("echo about to fail; exit 7",))
    directory = template.path(machine)
    with pytest.raises(BenchError, match=r"(?s)template: status 7 from: .*about to fail"):
        template.get(machine)
    assert not directory.exists()
    assert not list(directory.parent.glob(f".partial-{directory.name}*"))


def test_a_clone_of_a_state_that_qemu_cannot_load_says_why(kernel_name: str, tmp_path: Path) -> None:
    # Keep the size of the damaged state, because the cache would detect a truncated file first.
    good = template.get(Machine(kernel=kernel_name))
    for name in ("memory", "console.log"):
        (tmp_path / name).symlink_to(good / name)
    state = bytearray((good / "state").read_bytes())
    state[0:4] = b"junk"
    (tmp_path / "state").write_bytes(state)
    with (
        Vm(Machine(kernel=kernel_name), template=tmp_path) as vm,
        pytest.raises(BenchError, match=r"(?s)QEMU has ended with status 1.*QEMU said: .*migration"),
    ):
        vm.boot()


def test_disk_full_under_a_template_is_reported_in_one_message(
    kernel_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fills up under a template is reported in one message.

    The test truncates the file of the guest's memory while the guest runs: the missing memory acts like a full disk.
    """
    for name, value in suites.without_templates(tmp_path, kernel_name).items():
        monkeypatch.setenv(name, value)
    machine = Machine(kernel=kernel_name, prepare=("sleep 86400",))
    with ThreadPoolExecutor() as pool:
        made = pool.submit(template.get, machine)
        while not (memory := list(tmp_path.glob("template/.partial-*/memory"))) or not memory[0].stat().st_size:
            assert not made.done(), made.exception()
            time.sleep(0.01)
        os.truncate(memory[0], 0)
        told = made.exception()
    assert isinstance(told, BenchError)
    assert re.search(rf"SIGBUS, .*{memory[0].parent} has \d+ MiB free; make room", str(told)), told
    assert not list(memory[0].parent.parent.iterdir())


@pytest.mark.parametrize(
    ("script", "deadline", "why"),
    [
        ("exec sleep 1000", 1.0, "does not boot within 1 s"),
        ("echo Assertion failed; exit 1", accel.PROBE_DEADLINE, "QEMU ended before a kernel"),
    ],
    ids=["hangs", "aborts"],
)
def test_a_kvm_that_opens_but_does_not_work_is_found_out(
    kernel_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, deadline: float, why: str
) -> None:
    emulator = tmp_path / "qemu-system-x86_64"
    emulator.write_text(f"#!/bin/sh\n{script}\n")
    emulator.chmod(emulator.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(accel, "PROBE_DEADLINE", deadline)
    verdict = accel.probe(emulator, parts(kernel_name).kernel.vmlinuz)
    assert verdict.name == "tcg"
    assert why in verdict.why


def test_a_machine_without_a_network_is_told_in_one_message(tmp_path: Path) -> None:
    """A build that needs packages uses a proxy address at which no process listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{taken.getsockname()[1]}"
        done = subprocess.run(
            [sys.executable, "-m", "shirq_bench.cli", "build", "kernel", "6.1"],
            env={**os.environ, "SHIRQ_CACHE": str(tmp_path), "http_proxy": nowhere, "https_proxy": nowhere},
            capture_output=True,
            text=True,
            timeout=600,
        )
    assert done.returncode == 1
    assert "package lists of bookworm" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("kernel/*")) and not list(tmp_path.glob("kernel/.*"))
