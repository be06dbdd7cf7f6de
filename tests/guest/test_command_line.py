# SPDX-License-Identifier: MIT
"""`shirq run` and `shirq shell` start a guest, run a command or a shell in it, and end the guest."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

from shirq_bench.vm.machine import SHARED_LINE

SHIRQ = [sys.executable, "-m", "shirq_bench.cli"]


@pytest.fixture
def machine(kernel_name: str, tmp_path: Path) -> Path:
    """Return the artefacts folder of a failed test that had one guest."""
    data = {"test": "tests/guest/test_x.py::test_y", "machine": SHARED_LINE.with_(kernel=kernel_name).as_data()}
    (tmp_path / "failed/vm1").mkdir(parents=True)
    (tmp_path / "failed/vm1/machine.json").write_text(json.dumps(data))
    return tmp_path / "failed"


def run(kernel_name: str, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*SHIRQ, "run", "--kernel", kernel_name, *arguments], input=stdin, capture_output=True, text=True, timeout=600
    )


def test_run_passes_a_commands_input_output_and_status(kernel_name: str, tmp_path: Path) -> None:
    """`shirq run` passes its input to the command in the guest, and returns the command's output and exit status."""
    script = "cat; echo complaint >&2; test -c /dev/shirq/0000:00:04.0 && exit 7"
    done = run(kernel_name, "--artefacts", str(tmp_path / "kept"), "--", "sh", "-c", script, stdin="some\ninput\n")
    assert (done.stdout, done.returncode) == ("some\ninput\n", 7), done.stderr
    assert "complaint\n" in done.stderr
    kept = {path.name for path in (tmp_path / "kept").iterdir()}
    assert {"dmesg", "console.log", "events.shirqlog", "machine.json", "command"} <= kept
    assert "Linux version" in (tmp_path / "kept/dmesg").read_text()


def test_run_runs_a_script_with_its_words(kernel_name: str, tmp_path: Path) -> None:
    (tmp_path / "script").write_text('echo "$# $2"\nkill -TERM $$\n')
    done = run(kernel_name, "--script", str(tmp_path / "script"), "--", "one", "two words")
    assert (done.stdout, done.returncode) == ("2 two words\n", 128 + 15), done.stderr


def test_run_fails_with_what_the_kernel_complained_of(kernel_name: str) -> None:
    complain = ["--", "sh", "-c", "echo 'Disabling IRQ #99' >/dev/kmsg"]
    done = run(kernel_name, *complain)
    assert done.returncode == 1
    assert "shirq: the guest's kernel complained:" in done.stderr
    assert "Disabling IRQ #99" in done.stderr
    assert run(kernel_name, "--allow-splats", *complain).returncode == 0


def test_run_ends_a_command_that_overruns(kernel_name: str) -> None:
    done = run(kernel_name, "--timeout", "0.5", "--", "sleep", "60")
    assert done.returncode == 1
    assert "its end did not come within 0.5 s" in done.stderr


def test_shell_opens_the_machine_of_a_failed_test(machine: Path) -> None:
    with pexpect.spawn(SHIRQ[0], [*SHIRQ[1:], "shell", "--from", str(machine)], encoding="utf-8", timeout=600) as shell:
        shell.expect_exact("the machine of tests/guest/test_x.py::test_y")
        shell.expect_exact("Ctrl-] leaves")
        shell.expect("guest# ")
        shell.sendline("ls /dev/shirq; echo $((6 * 7))")
        shell.expect_exact("0000:00:08.0")
        shell.expect(r"42\r")
        shell.sendcontrol("]")
        shell.expect(pexpect.EOF)
    assert shell.exitstatus == 0
