# SPDX-License-Identifier: MIT
"""Sweeps in guests: runs are identical, a stimulus comes at its instruction, and violations are found and explained."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from shirq_bench.campaigns.sweep import findings, run, scenario
from shirq_bench.channels.log import Kind
from shirq_bench.cli.main import main
from shirq_bench.errors import QmpFailed
from shirq_bench.replay import stopped
from shirq_bench.replay.case import Case, Finding
from shirq_bench.replay.play import LogOverflow, play
from shirq_bench.vm import template
from shirq_bench.vm.machine import Machine
from shirq_bench.vm.vm import Vm

# Bounds are in instructions; an instrumented kernel needs a hundred times as many.
pytestmark = pytest.mark.needs_kernel("6.1", "6.12")

_PERIOD_NS = 250_000


def _case(name: str, kernel: str, offsets: range) -> Case:
    return run.case_of(scenario.get(name), kernel, offsets, _PERIOD_NS)


def test_the_same_stimuli_give_the_same_log_to_the_byte(kernel_name: str) -> None:
    case = _case("neighbour", kernel_name, range(0, 8000, 400))
    assert len({case.run().recording.digest for _ in range(4)}) == 1
    other = replace(case, stimuli=(*case.stimuli[:-1], case.stimuli[-1]._replace(at_ns=case.stimuli[-1].at_ns + 1)))
    assert other.run().recording.digest != case.run().recording.digest


@pytest.mark.long
def test_a_deterministic_guest_boots_once_for_all_preparations(
    kernel_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Differently prepared guests share the template of one boot, because a boot takes a minute on a busy host."""
    booted = Machine(kernel=kernel_name, deterministic=True, vcpus=1)
    template.get(booted)
    prepared = booted.with_(prepare=("echo prepared >/run/grown",))
    shutil.rmtree(template.path(prepared), ignore_errors=True)

    def boot(vm: Vm, deadline: float = 0) -> Vm:
        raise AssertionError("another guest boots")

    with monkeypatch.context() as patched:
        patched.setattr(Vm, "boot", boot)
        template.get(prepared)
    try:
        with template.clone(prepared) as vm:
            assert vm.boot().agent.succeed("cat /run/grown") == "prepared\n"
    finally:
        shutil.rmtree(template.path(prepared))


@pytest.mark.long
def test_a_busy_monitor_does_not_change_a_run(kernel_name: str) -> None:
    """QMP queries keep QEMU's main loop busy: timers must not fire some instructions later because of that."""
    case = _case("reassert-unmask", kernel_name, range(4000))
    machine = case.machine.with_(wires=("monitor",), extra=("-mon", "chardev=monitor,mode=control"))

    def ask(vm: Vm) -> None:
        vm.wires["monitor"].sendall(100 * b'{"execute": "query-status"}\n')
        answers = 0
        while answers < 100:
            answers += vm.wires["monitor"].recv(1 << 16).count(b"\n")

    assert len({play(machine, case.stimuli, case.cuts[-1], meanwhile=ask).digest for _ in range(6)}) == 1


@pytest.mark.long
def test_a_stimulus_comes_before_the_instruction_that_is_said(kernel_name: str) -> None:
    case = _case("reassert", kernel_name, range(3000, 3001))
    (logged,) = (entry for entry in case.run().recording.entries if entry.kind is Kind.WHERE)
    with stopped.stopped(case, 3000) as vm:
        (first,) = stopped.look(vm)
        assert vm.qmp.execute("query-status")["status"] == "paused"
        assert vm.log().entries[-1].time_ns == logged.time_ns, "the guest did not stop at the stimulus"
    with stopped.stopped(case, 3001) as vm:
        (second,) = stopped.look(vm)
    assert (first.pc, first.ring) == (logged.value, logged.ring)
    assert first.function.split("+")[0] != f"{first.pc:#x}", "the address was not resolved to a function"
    assert second.pc != first.pc, "the guest has not advanced by an instruction"


def test_device_that_storms_by_design_breaks_no_rule(kernel_name: str) -> None:
    """Only explorations limit the number of deliveries."""
    assert run.calibrate(scenario.get("storm"), kernel_name).window_ns > 0


@pytest.mark.long
def test_a_violation_is_found_shrunk_named_and_replayed(kernel_name: str, tmp_path: Path) -> None:
    """An owner that unmasks while an event is queued gets a second one, which this scenario counts as a violation."""
    strict = replace(scenario.get("masked-by-owner"), spurious=0)
    result = run.sweep(strict, kernel_name, points=100)
    assert result.failures
    found = findings.explain(result.failures[0])
    assert found.rules == ("duplicate",)
    assert [s for s in found.case.stimuli if s.action == "where"] == []
    assert {s.device for s in found.case.stimuli} == {"ctl", "dev0"}
    # Two stimuli are enough, unless the first interrupts of a guest take longer than later ones: then a third stimulus
    # must precede them.
    assert len(found.case.stimuli) in (2, 3)
    assert re.fullmatch(r"\S+\+0x[0-9a-f]+( \[\w+\])?", found.where["function"])
    assert found.where["instruction"]

    file = findings.keep(found, "found", tmp_path)
    assert {"page.html", "waveform.vcd", "events.shirqlog", "finding.json"} <= {p.name for p in file.parent.iterdir()}
    assert Finding.load(file) == found
    said = CliRunner().invoke(main, ["replay", str(file)])
    assert said.exit_code == 0, said.output
    assert "2 events for 1 raises" in said.output
    assert "identical" in said.output

    changed = replace(found, case=replace(found.case, spurious=1), digest="another")
    changed.save(tmp_path / "changed.json")
    said = CliRunner().invoke(main, ["replay", str(tmp_path / "changed.json")])
    assert said.exit_code == 1
    assert "no finding: this time all went well; the failure was: duplicate" in said.output


@pytest.mark.long
def test_gdb_stands_at_the_stimulus_or_before_it_with_symbols(
    kernel_name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    case = _case("reassert", kernel_name, range(4000, 4001))
    Finding(case, ("lost",), ("",), "", "").save(tmp_path / "finding.json")
    with stopped.stopped(case, 4000) as vm:
        (there,) = stopped.look(vm)
    command = [
        "debug",
        str(tmp_path / "finding.json"),
        "--batch",
        'printf "at %lx\\n", $rip',
        "--batch",
        "info symbol $rip",
    ]
    with pytest.raises(SystemExit) as ended:
        main(command, standalone_mode=False)
    said = capfd.readouterr().out
    assert ended.value.code == 0, said
    assert f"at {there.pc:x}\n" in said
    # gdb omits the suffix that the compiler gives to a clone of a function.
    assert re.search(rf"^{re.escape(re.split(r'[.+]', there.function)[0])}\b", said, re.MULTILINE), said
    with pytest.raises(SystemExit):
        main([*command[:2], "--before", "40", *command[2:4]], standalone_mode=False)
    earlier = capfd.readouterr().out
    assert "at " in earlier
    assert f"at {there.pc:x}\n" not in earlier


def test_schedule_naming_instructions_needs_icount(vm: Vm, tmp_path: Path) -> None:
    """A schedule may stop at an instruction, or log one, only if the guest counts instructions."""
    for action in ("where", "stop"):
        (tmp_path / "schedule").write_text(f"+5 {action}\n")
        with vm.frozen(), pytest.raises(QmpFailed, match=f"'{action}' is between two instructions"):
            vm.qmp.set("dev0", "schedule", str(tmp_path / "schedule"))


def test_log_overflow_ends_a_run_and_whole_points_are_judged(kernel_name: str) -> None:
    """If the log overflows, the run ends, and only complete points are judged.

    The point in which the log overflowed is reported as unfinished, and no interrupt after the overflow as lost.
    """
    case = _case("reassert", kernel_name, range(3000, 3030))
    full = replace(case, machine=replace(case.machine, log_entries=60))
    with pytest.raises(LogOverflow, match="did not fit into the event log"):
        play(full.machine, full.stimuli, full.cuts[-1])
    outcome = full.run()
    *whole, overflowed = outcome.violations
    assert 0 < len(outcome.recording.entries) <= 60
    assert whole and not any(whole), "the first points must be whole, without a violation"
    assert len(whole) < 29 and outcome.first() == len(whole)
    assert [violation.rule for violation in overflowed] == ["unfinished"]
    assert "did not fit into the event log" in overflowed[0].what
