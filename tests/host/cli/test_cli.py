# SPDX-License-Identifier: MIT
"""The command line's help, behaviour, error messages and exit statuses."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner, Result

from agentguest import guest
from logwriter import Story, write_log
from shirq_bench.campaigns.zoo import case as cases
from shirq_bench.channels.agent import _Frame
from shirq_bench.cli import bench, doctor
from shirq_bench.cli.doctor import Check, State
from shirq_bench.cli.machines import chosen
from shirq_bench.cli.main import main
from shirq_bench.errors import BenchError
from shirq_bench.provision import costs, deps, kernel, qemu
from shirq_bench.supervisor import SupervisorGone
from shirq_bench.vm import accel, pool, template
from shirq_bench.vm.machine import SHARED_LINE, Machine

VERBS = sorted(main.commands)


def shirq(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="shirq")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SHIRQ_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A folder with an event log, like the artefacts of a failed test."""
    told = Story(("dev0", "nic")).claimed_interrupt("dev0").wait(100_000).neighbours_interrupt("nic")
    write_log(tmp_path / "events.shirqlog", told.devices, told.entries)
    return tmp_path


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb: str) -> None:
    result = shirq(verb, "--help")
    assert result.exit_code == 0
    assert len(result.output.splitlines()) > 6


@pytest.mark.parametrize("verb", ["completion", "gc", "report", "run", "shell", "trace"])
def test_a_verbs_help_has_examples_that_it_accepts(verb: str) -> None:
    examples = [line.strip() for line in shirq(verb, "--help").output.splitlines() if f"shirq {verb} " in line]
    assert [line for line in examples if not line.startswith("Usage")]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["run"], "give a command"),
        (["run", "--vcpus", "none", "--", "true"], "'none' is not a valid integer"),
        (["run", "--kernel", "9.9", "--", "true"], "no kernel '9.9'; known kernels: 6.1"),
        (["trace"], "Missing argument 'LOG'"),
        (["trace", "/does/not/exist"], "does not exist"),
        (["gc", "--older-than", "-1"], "-1"),
        (["shell"], "standard input is not a terminal"),
        (["report", "/"], "Missing option '-o'"),
    ],
)
def test_wrong_usage_is_said_with_status_2(arguments: list[str], said: str) -> None:
    result = shirq(*arguments)
    assert result.exit_code == 2
    assert said in result.stderr


def test_what_is_wrong_is_one_message_with_status_1(tmp_path: Path, log: Path) -> None:
    short = tmp_path / "short"
    short.write_text("no log")
    cases: list[tuple[list[str | Path], str]] = [
        (["trace", short], "6 bytes are too few for an event log's header"),
        (["report", log, "-o", tmp_path / "missing/page.html"], "missing/page.html: No such file or directory"),
        (["run", "--from", tmp_path, "--", "true"], "holds no machine.json"),
    ]
    for arguments, said in cases:
        result = shirq(*arguments)
        assert result.exit_code == 1, result.output
        assert result.stderr.startswith("shirq: ")
        assert said in result.stderr


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError("no descriptors are left"), "the operating system: no descriptors are left"),
        (OSError(28, "No space left on device"), "the operating system: No space left on device"),
        (OSError(28, "No space left on device", "/tmp/x"), "/tmp/x: No space left on device"),
        (SupervisorGone("the supervisor process has died"), "the supervisor process has died"),
        (BrokenPipeError(32, "Broken pipe"), "the operating system: Broken pipe"),
    ],
    ids=["text alone", "number", "file", "supervisor", "another's pipe"],
)
def test_an_error_that_a_guest_meets_is_one_message(
    error: Exception, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def clone(machine: Machine, **options: object) -> None:
        raise error

    monkeypatch.setattr(template, "clone", clone)
    result = shirq("run", "--", "true")
    assert (result.exit_code, result.stderr) == (1, f"shirq: {said}\n")


@pytest.fixture
def statuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The exit statuses of a fake guest's commands, each of which prints two lines; a test can change them."""
    statuses = [0]

    @contextlib.contextmanager
    def clone(machine: Machine, **options: object) -> Iterator[object]:
        def count() -> None:
            while statuses:
                kind, number, _ = it.hears()
                if kind == _Frame.EXEC:
                    it.says(_Frame.STDOUT, number, b"1\n2\n")
                    it.exits(number, statuses.pop(0))

        with guest() as it:
            threading.Thread(target=count).start()
            yield SimpleNamespace(boot=lambda: None, dir=tmp_path, machine=machine, agent=it.agent, patience=1.0)

    monkeypatch.setattr(template, "clone", clone)
    return statuses


def test_a_run_whose_kernel_log_cannot_be_read_fails(statuses: list[int]) -> None:
    """The run fails, because the unreadable log might contain a splat."""
    statuses[:] = [0, 1]
    result = shirq("run", "--", "seq", "2")
    assert result.exit_code == 1
    assert result.stderr == "shirq: vm7: status 1 from: dmesg\n1\n2\n"


def test_a_reader_that_closes_its_pipe_ends_a_run_in_silence(
    statuses: list[int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`shirq run -- seq 100000 | head -1` ends without an error message."""
    reader, writer = os.pipe()
    os.close(reader)
    with contextlib.suppress(BrokenPipeError), os.fdopen(writer, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        with pytest.raises(SystemExit) as ended:
            main(["run", "--", "seq", "2"], prog_name="shirq")
    assert (ended.value.code, capsys.readouterr().err) == (1, "")


def test_a_log_is_printed_from_its_file_and_from_its_folder(log: Path) -> None:
    by_folder, by_file = shirq("trace", log), shirq("trace", log / "events.shirqlog")
    assert "raises sources 0x1 of dev0" in by_folder.output
    assert by_folder.output.splitlines()[1:] == by_file.output.splitlines()[1:]


def test_a_report_is_a_page_a_waveform_and_a_trace(log: Path) -> None:
    result = shirq("report", log, "-o", log / "p.html", "--vcd", log / "w.vcd", "--perfetto", log / "t.json")
    assert result.exit_code == 0, result.output
    assert "INT_MASK_SET" in (log / "p.html").read_text()
    assert "$timescale 1 ns $end" in (log / "w.vcd").read_text()
    assert json.loads((log / "t.json").read_text())["traceEvents"]


def test_a_machine_survives_its_description() -> None:
    machine = SHARED_LINE.with_(vcpus=4, parameters="threadirqs", deterministic=True)
    assert Machine.from_data(json.loads(json.dumps(machine.as_data()))) == machine


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"cpus": 2}, "a machine has no field cpus; its fields: kernel, vcpus"),
        ({"vcpus": "2"}, "a machine's vcpus must have the type of 2, got '2'"),
        ({"devices": "shirq-edu"}, r"a machine's devices must have the type of \(\), got 'shirq-edu'"),
    ],
)
def test_a_description_that_is_none_is_refused(data: dict[str, object], said: str) -> None:
    with pytest.raises(BenchError, match=said):
        Machine.from_data(data)


def test_a_failed_tests_machine_is_found_in_its_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    machine = SHARED_LINE.with_(kernel="6.12", vcpus=1)
    (tmp_path / "vm1").mkdir()
    (tmp_path / "vm1/machine.json").write_text(json.dumps({"test": "tests/x.py::test_y", "machine": machine.as_data()}))
    assert chosen(tmp_path) == chosen(tmp_path / "vm1") == machine
    assert "the machine of tests/x.py::test_y" in capsys.readouterr().err
    assert chosen(tmp_path, kernel="6.1", vcpus=None) == machine.with_(kernel="6.1")
    (tmp_path / "vm2").mkdir()
    (tmp_path / "vm2/machine.json").write_text("{}")
    with pytest.raises(BenchError, match=r"several guests, choose one: .*vm1, .*vm2"):
        chosen(tmp_path)
    with pytest.raises(BenchError, match=r"vm2/machine\.json does not describe a machine"):
        chosen(tmp_path / "vm2")


def test_the_options_change_the_shared_lines_machine() -> None:
    machine = chosen(None, kernel=None, vcpus=1, parameters="threadirqs", devices=("shirq-edu,addr=10",))
    assert machine == SHARED_LINE.with_(
        vcpus=1, parameters="threadirqs", devices=(*SHARED_LINE.devices, "shirq-edu,addr=10")
    )


def test_deterministic_machine_gets_the_chosen_processors(tmp_path: Path) -> None:
    description = {"machine": SHARED_LINE.with_(deterministic=True, vcpus=1).as_data()}
    (tmp_path / "machine.json").write_text(json.dumps(description))
    assert chosen(tmp_path, vcpus=4) == SHARED_LINE.with_(deterministic=True, vcpus=4)


def test_show_prints_the_file_of_a_case_to_begin_with() -> None:
    shown = shirq("zoo", "show", "nobody-cared", "--toml")
    assert shown.output == (cases.DIRECTORY / "nobody-cared.toml").read_text()


def test_further_devices_get_free_slots_of_the_line() -> None:
    """Slots 4, 5, 8 and c are taken by the usual devices, and slot 3 by the agent's."""
    further = ("shirq-edu,id=a", "shirq-edu,id=b,addr=10", "e1000")
    assert chosen(None, line=20, devices=further).devices[len(SHARED_LINE.devices) :] == (
        "shirq-edu,id=a,addr=14",
        "shirq-edu,id=b,addr=10",
        "e1000,addr=18",
    )
    assert chosen(None, line=23, devices=("e1000",)).devices[-1] == "e1000,addr=7"
    assert chosen(None, devices=further).devices[len(SHARED_LINE.devices) :] == further
    with pytest.raises(click.UsageError, match="--line 20: no slot of this line is free for 'e1000'"):
        chosen(None, line=20, devices=("e1000",) * 4)
    with pytest.raises(click.UsageError, match="--line is for the devices of --device"):
        chosen(None, line=20)


def test_modules_and_overlays_are_added_to_the_machines_own(tmp_path: Path) -> None:
    description = {"machine": SHARED_LINE.with_(modules=("/a",), overlay=("/b",)).as_data()}
    (tmp_path / "machine.json").write_text(json.dumps(description))
    machine = chosen(tmp_path, modules=("/c",), overlay=("/d",))
    assert (machine.modules, machine.overlay) == (("/a", "/c"), ("/b", "/d"))
    assert chosen(tmp_path, modules=(), overlay=()).modules == ("/a",)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--accept", "a reason"], "--accept makes the figures of --guard the new baseline: give both options"),
        (["--guard", "cost"], "--guard always measures the same figures: it takes neither PART nor --kernel"),
        (["--guard", "--kernel", "6.1"], "it takes neither PART nor --kernel"),
    ],
)
def test_bench_refuses_options_that_would_have_no_effect(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.setattr(bench, "run", lambda *_: None)
    monkeypatch.setattr(bench, "guard", lambda _: True)
    refused = shirq("bench", *arguments)
    assert refused.exit_code == 2
    assert said in " ".join(refused.stderr.split())
    for fine in ([], ["cost", "--kernel", "6.1"], ["--guard"], ["--guard", "--accept", "a reason"]):
        assert shirq("bench", *fine).exit_code == 0


def test_a_shell_without_any_standard_input_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(click.UsageError, match="standard input is not a terminal"):
        main.main(["shell"], standalone_mode=False)


def test_kernels_are_listed_with_what_is_cached_of_them(root: Path) -> None:
    lines = shirq("kernels").output.splitlines()
    assert lines[0].split() == ["name", "cached", "release", "size"]
    assert [line.split()[:2] for line in lines[1:]] == [[name, "no"] for name in kernel.names()]
    directory = root / "kernel" / kernel._key("6.1", kernel._table()["6.1"])
    directory.mkdir(parents=True)
    (directory / "release").write_text("6.1.0-99-amd64")
    (line,) = [line for line in shirq("kernels").output.splitlines() if line.startswith("6.1 ")]
    assert line.split() == ["6.1", "yes", "6.1.0-99-amd64", "4", "KiB"]


def test_templates_are_listed_with_their_machines(root: Path) -> None:
    directory = root / "template/6.1-0123456789abcdef"
    directory.mkdir(parents=True)
    assert shirq("templates").output.splitlines()[1].split()[:2] == [directory.name, "unknown"]
    machine = Machine(devices=("shirq-edu,id=dev0,addr=4",), parameters="threadirqs")
    (directory / "machine.json").write_text(json.dumps({"machine": machine.as_data()}))
    assert "6.1, 2 vCPUs, 256 MiB, shirq-edu, threadirqs" in shirq("templates").output


def test_a_dry_run_deletes_nothing_and_says_what_would_go(root: Path) -> None:
    old = root / "image/0123"
    old.mkdir(parents=True)
    (old / "initrd").write_bytes(b"x" * 2_000_000)
    then = time.time() - 40 * 86400
    for path in (old / "initrd", old):
        os.utime(path, (then, then))
    said = shirq("gc", "--dry-run").output
    assert "image/0123" in said
    assert "1.91 MiB would be freed" in said
    assert old.exists()
    assert "0 B would be freed" in shirq("gc", "--dry-run", "--older-than", "50").output
    assert "1.91 MiB were freed" in shirq("gc").output
    assert not old.exists()


def test_a_command_ends_the_guests_that_wait_for_a_next_user(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []
    idle = [SimpleNamespace(vm=SimpleNamespace(close=lambda: ended.append("a guest")))]
    monkeypatch.setattr(pool, "_idle", idle)
    shirq("zoo", "list")
    assert (ended, idle) == (["a guest"], [])
    idle += [SimpleNamespace(vm=SimpleNamespace(close=lambda: ended.append("another")))]
    shirq("zoo", "show", "no such case")
    assert ended == ["a guest", "another"]


def test_doctor_passes_this_machine_and_mentions_empty_cache(root: Path) -> None:
    """`shirq doctor` finds no error on this machine, and warns about an empty cache."""
    checks = {check.subject: check for check in doctor.examine()}
    assert checks["Python"].state is State.OK
    assert checks["QEMU"] == Check("QEMU", State.WARN, checks["QEMU"].said, "make qemu")
    assert checks["accelerator"].state is State.WARN
    assert {f"kernel {name}" for name in kernel.names()} <= checks.keys()
    assert not root.exists()


def test_doctor_says_what_the_first_guest_costs(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Time by the number of processors, and disk, of what the cache lacks."""

    def said() -> str:
        (check,) = [check for check in doctor.examine() if check.subject == "the first guest"]
        return check.said

    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    both = costs.QEMU + costs.STOCK_KERNEL
    assert said() == f"with kernel 6.1 takes {both}"
    assert str(both) == "4 min to 7 min on 2 processors, 1.6 GiB"
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    assert str(both) == "2 min to 3 min on 16 processors, 1.6 GiB"
    monkeypatch.setattr(qemu, "cached", lambda: root / "qemu-system-x86_64")
    assert said() == f"with kernel 6.1 takes {costs.STOCK_KERNEL}"
    monkeypatch.setattr(kernel, "cached", lambda name: object())
    assert said() == "with kernel 6.1 lacks nothing"


def test_doctor_says_what_to_do_and_exits_with_1_if_blocked(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`shirq doctor` prints the remedy for each problem and ends with status 1."""
    monkeypatch.setattr(deps, "missing", lambda groups: {"ninja-build": "compiling QEMU"} if "qemu" in groups else {})
    result = shirq("doctor")
    assert result.exit_code == 1
    assert "bad   packages: qemu: ninja-build is missing (compiling QEMU)\n" in result.output
    assert f"      -> {sys.executable} -m shirq_bench.cli deps qemu\n" in result.output


def test_a_finding_says_what_to_do_about_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for state in (State.WARN, State.BAD):
        with pytest.raises(ValueError, match="a finding without a remedy"):
            Check("a part", state, "is amiss")
    monkeypatch.setattr(deps, "missing", lambda groups: {"a-package": "a purpose"})
    monkeypatch.setattr(doctor, "_TOO_LITTLE", 1 << 60)
    monkeypatch.setattr(metadata, "version", lambda name: "0.0.0")
    monkeypatch.setattr(qemu, "cached", lambda: root / "qemu-system-x86_64")
    directory = root / "kernel" / kernel._key("6.1", kernel._table()["6.1"])
    directory.mkdir(parents=True)
    (directory / "release").write_text("6.1.0-99-amd64")
    monkeypatch.setattr(accel, "NODE", root / "no-kvm")
    found = {check.subject: check for check in doctor.examine() if check.state is not State.OK}
    assert {"Python packages", "packages: qemu", "cache", "accelerator", "kernel 6.1"} <= found.keys()
    assert found["cache"].remedy.startswith("shirq gc")
    assert "kvm_intel" in found["accelerator"].remedy
    assert found["kernel 6.1"].remedy == f"rm -r {directory}"


def test_the_doctor_shows_a_cached_verdict_and_boots_no_probe(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`shirq doctor` changes nothing: if KVM has not been tried yet, the remedy is a command that tries it."""

    def accelerator() -> Check:
        (check,) = [check for check in doctor.examine() if check.subject == "accelerator"]
        return check

    emulator = root / "qemu-system-x86_64"
    root.mkdir()
    (root / "kvm").touch()
    monkeypatch.delenv("SHIRQ_ACCEL", raising=False)
    monkeypatch.setattr(accel, "NODE", root / "kvm")
    monkeypatch.setattr(qemu, "cached", lambda: emulator)
    monkeypatch.setattr(kernel, "cached", lambda name: kernel.Kernel(name, name, root, root, root, name))
    monkeypatch.setattr(kernel, "get", lambda name: kernel.Kernel(name, name, root, root, root, name))
    probed: list[Path] = []

    def probe(emulator: Path, vmlinuz: Path) -> accel.Accelerator:
        probed.append(emulator)
        return accel.Accelerator("tcg", "the probe has hung")

    monkeypatch.setattr(accel, "probe", probe)
    before = sorted(root.rglob("*"))
    unknown = accelerator()
    assert (probed, sorted(root.rglob("*"))) == ([], before)
    assert unknown.state is State.WARN
    assert unknown.remedy == "shirq run -- true"
    assert accel.verdict(emulator).name == "tcg"
    assert accelerator().said == "tcg: the probe has hung"
    assert probed == [emulator]


def test_a_check_that_fails_itself_is_a_bad_one(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> list[str]:
        raise ValueError("kernels.toml is none")

    monkeypatch.setattr(kernel, "names", broken)
    (check,) = [check for check in doctor.examine() if check.state is State.BAD]
    assert check.said == "cannot be examined: ValueError: kernels.toml is none"


def test_a_kernel_that_lost_a_part_is_bad(root: Path) -> None:
    directory = root / "kernel" / kernel._key("6.1", kernel._table()["6.1"])
    directory.mkdir(parents=True)
    (directory / "release").write_text("6.1.0-99-amd64")
    (check,) = [check for check in doctor.examine() if check.subject == "kernel 6.1"]
    assert check.state is State.BAD
    assert f"{directory}/vmlinuz" in check.said


def test_the_shell_completes_verbs_and_kernels() -> None:
    def complete(words: str) -> list[str]:
        environment = {"_SHIRQ_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        done = subprocess.run(
            [sys.executable, "-c", "from shirq_bench.cli.main import main; main(prog_name='shirq')"],
            env={**os.environ, **environment}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return [line.partition(",")[2] for line in done.stdout.splitlines()]

    assert complete("shirq t") == ["templates", "torture", "trace"]
    assert complete("shirq run --kernel 6") == ["6.1", "6.12", "6.1-rt", "6.12-rt"]
    assert "complete" in shirq("completion", "bash").output


def test_the_command_starts_without_what_few_commands_need() -> None:
    """Most commands run no test and decode no instruction, so that importing what does this would only delay them."""
    script = "import sys, shirq_bench.cli.main; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    imported = done.stdout.split()
    assert "shirq_bench" in imported
    assert not {"pytest", "_pytest", "capstone"} & {*imported}
