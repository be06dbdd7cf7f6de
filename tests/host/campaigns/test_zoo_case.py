# SPDX-License-Identifier: MIT
"""The cases of the bug catalogue are complete, and the error for an invalid case contains the expected form."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import io
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from shirq_bench.campaigns.zoo import case as cases
from shirq_bench.campaigns.zoo import page, run, suite
from shirq_bench.campaigns.zoo.case import DRIVERS, Case
from shirq_bench.campaigns.zoo.outcome import Outcome, Result
from shirq_bench.campaigns.zoo.run import Played, addresses, line, machine
from shirq_bench.channels.log import Header, Log
from shirq_bench.cli import zoo as cli
from shirq_bench.cli.main import main
from shirq_bench.errors import BenchError
from shirq_bench.vm.machine import ADDRESSES, GSI

#: Every case that the bug catalogue must contain.
_IDS = """
nobody-cared hidden-storm always-claim irq-before-masked-state disintx-races-ioctl eventfd-removed-while-pending
one-irq-then-stall disintx-writable-noop disintx-read-only intx-status-never-set disintx-left-set
screaming-before-driver crash-kernel-storm remote-irr-stuck irq-before-registration-done chip-not-ready-on-resume
debug-shirq-late-call claim-read-masks claim-read-clears status-lags two-level-latch posted-ack eoi-before-fix
oneshot-mismatch forced-threading oneshot-affinity cpu-offline sticky-source surprise-removal
handler-on-suspended-device unbind-with-fd-open rmw-race msi-back-to-intx irqpoll restart-with-event-pending
slow-user-starves-sharers claims-everything refuse-if-shared ungated-source
dead-line orphan-after-msi other-line forgetful-bridge short-pulses everything-on-one-line always-handled-neighbour
tied-high enables-and-polls asserted-bit
"""

_GOOD = """
id = "x"
title = "t"
symptom = "s"
cause = "c"
source = ["somewhere"]
explanation = "e"
shows = ["hang"]
steps = [{ driver = "bind" }, { raise = 1, only = ["naive"] }]
[expected]
shirq = "survives"
uio_pci_generic = "survives"
vfio-pci = "refuses"
naive = "hang"
"""


#: Shell constructs that hide the failure of a command in a script.
_HIDES = re.compile(r"\|\|\s*(true|:)|;\s*(true|:)\s*$|2>\s*/dev/null|(?<![&>])&\s*$|set \+e")


def read(tmp_path: Path, text: str) -> Case:
    path = tmp_path / "x.toml"
    path.write_text(text)
    return cases.read_catalogued(path)


def test_every_bug_of_the_list_is_a_case_and_nothing_else_is() -> None:
    assert sorted(_IDS.split()) == cases.ids()


@pytest.mark.parametrize("name", cases.ids())
def test_case_tells_its_story_and_argues_shirqs_failures(name: str) -> None:
    """A case has an explanation, sources, a symptom and a cause; it argues why if it expects a bad outcome of shirq."""
    case = cases.get(name)
    assert len(case.explanation) > 150 and case.source and case.symptom and case.cause
    good = {Outcome.SURVIVES, Outcome.REFUSES}
    assert case.expected["shirq"] in good or case.argued["shirq"], "shirq fails, and the case has no argument"


@pytest.mark.parametrize("name", cases.ids())
def test_a_case_that_ends_its_guest_says_by_which_step(name: str) -> None:
    """The case marks the step that ends the guest: a hang or a panic before that step would prove nothing."""
    case = cases.get(name)
    ends = {Outcome.HANG, Outcome.SPLAT} & set(case.expected.values())
    assert len([step for step in case.steps if step.decisive]) == len(ends)


def test_a_step_keeps_its_argument_and_whom_it_is_for(tmp_path: Path) -> None:
    case = read(tmp_path, _GOOD)
    assert [(step.verb, step.argument, step.only) for step in case.steps] == [
        ("driver", "bind", ()),
        ("raise", 1, ("naive",)),
    ]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('id = "x"', 'id = "y"', "but must be the file's name, 'x'"),
        ('title = "t"', 'titel = "t"', "unknown key titel; known keys: .*, title, "),
        ("raise = 1", "rise = 1", r"steps\[1\]: unknown key rise; known keys: .*, raise, "),
        (
            'raise = 1, only = ["naive"]',
            "raise = 1, wait = 2",
            r"steps\[1\]: needs exactly one of driver, raise, lower",
        ),
        (
            'only = ["naive"]',
            'only = ["uio"]',
            r"steps\[1\]\.only\[0\] must be one of shirq, uio_pci_generic, vfio-pci, naive, own, not 'uio'",
        ),
        ('naive = "hang"', "", "needs an outcome for each of"),
        ('shows = ["hang"]', 'shows = ["hangs"]', r"shows\[0\] must be one of hang, .*, not 'hangs'"),
        ('cause = "c"', "cause = ", "Invalid value"),
        ('source = ["somewhere"]', "", "source is missing"),
    ],
)
def test_a_case_that_makes_no_sense_is_refused(tmp_path: Path, old: str, new: str, says: str) -> None:
    with pytest.raises(BenchError, match=says):
        read(tmp_path, _GOOD.replace(old, new))


_MORE = {
    "machine key": (
        "[machine]\ncpus = 2",
        "machine: unknown key cpus; known keys: dev0, devices, late_ms, log_entries",
    ),
    "machine type": ('[machine]\nvcpus = "2"', "machine.vcpus must be int, not '2'"),
    "machine bool": ("[machine]\nvcpus = true", "machine.vcpus must be int, not True"),
    "log_entries": ("[machine]\nlog_entries = 0", "machine.log_entries must be at least 1, not 0"),
    "slot": (
        '[machine]\nslots = { dev0 = "20" }',
        "machine.slots.dev0 must be SLOT or SLOT.FUNCTION, hexadecimal, up to 1f",
    ),
    "slot of": (
        '[machine]\nslots = { dev9 = "4" }',
        "machine.slots: unknown key dev9; known keys: clock, dev0, dev1, nic0",
    ),
    "device": ('[machine]\ndevices = ["shirq-edu,id=dev2"]', "'shirq-edu,id=dev2' needs id=NAME and addr=SLOT"),
    "device twice": ('[machine]\ndevices = ["shirq-edu,id=dev1,addr=10"]', "the id dev1 is used twice"),
    "mode": (
        '[shirq]\nmode = "acks"\nirq = ""\nunmask = ""\nrelease = ""',
        "shirq.mode must be one of masks, acknowledges, not 'acks'",
    ),
    "mode alone": ('[shirq]\nmode = "masks"', "needs all of irq, unmask and release; or none of them, and no mode"),
    "programs": ('[shirq]\nirq = "claim"', "needs all of irq, unmask and release"),
    "driver's key": ('[vfio-pci]\nbug = "x"', "vfio-pci: unknown key bug; known keys: options"),
    "notices": ('[notices]\nuio = ["x"]', "notices.uio must be one of shirq, .*, not 'uio'"),
    "notices type": ('[notices]\nshirq = "x"', "notices.shirq must be a list, not 'x'"),
    "ends": ('[ends]\nshirq = "("', "ends.shirq is not a regular expression"),
    "latency": (
        "[latency.shirq]\nserved_ms = 3",
        "latency.shirq.served_ms must be one of served_us, asserted_us, neighbour_us, not 'served_ms'",
    ),
}
_STEPS = {
    "word": ('driver = "bnid"', r"\.driver must be one of bind, unbind, start, .*, not 'bnid'"),
    "type": ('raise = "1"', r"\.raise must be int, not '1'"),
    "seconds": ("wait = 0", r"\.wait must be above 0, not 0"),
    "zero": ("burst = 0", r"\.burst must be at least 1, not 0"),
    "option": ("wait = 1, frozen = true", ": frozen is for set, not for wait"),
    "option type": ('set = { dead = "all" }, frozen = 1', r"\.frozen must be bool, not 1"),
    "device": ('raise = 1, device = "dev7"', "names the unknown device 'dev7'; known devices: dev0, dev1, nic0, clock"),
    "device of set": ('set = { device = "dev7", dead = "all" }', "names the unknown device 'dev7'"),
    "check": ('check = "true"', "needs shows"),
    "output": ('output = "("', r"\.output is not a regular expression"),
    "logged": ('guest = "true", logged = "("', r"\.logged is not a regular expression"),
    "logged beside": ('guest = "true", logged = "x", background = true', "logged is only for a script that ends"),
    "expression": ('check = "true", shows = "("', r"\.shows is not a regular expression"),
    "judge": ('judge = "here"', r"\.judge must be one of from here, not 'here'"),
}


@pytest.mark.parametrize(("table", "says"), _MORE.values(), ids=_MORE)
def test_a_table_that_makes_no_sense_is_refused(tmp_path: Path, table: str, says: str) -> None:
    """The error contains the file, the key and the expected form."""
    with pytest.raises(BenchError, match=rf"x\.toml(:\d+)?: .*{says}"):
        read(tmp_path, f"{_GOOD}\n{table}")


@pytest.mark.parametrize(("step", "says"), _STEPS.values(), ids=_STEPS)
def test_a_step_that_makes_no_sense_is_refused(tmp_path: Path, step: str, says: str) -> None:
    with pytest.raises(BenchError, match=rf"x\.toml(:\d+)?: steps\[0\].*{says}"):
        read(tmp_path, _GOOD.replace('driver = "bind"', step))


def test_a_case_can_have_further_devices_and_other_slots(tmp_path: Path) -> None:
    more = '[machine]\nlog_entries = 5000\ndevices = ["shirq-edu,id=dev2,addr=a.1"]\nslots = { dev0 = "a", nic0 = "e" }'
    good = _GOOD.replace("raise = 1", 'raise = 1, device = "dev2"')
    case = read(tmp_path, f"{good}\n{more}")
    guest = machine(case, "6.1")
    assert guest.log_entries == 5000
    assert addresses(guest.devices) == {
        "dev0": "0000:00:0a.0",
        "dev1": "0000:00:08.0",
        "nic0": "0000:00:0e.0",
        "clock": "0000:00:05.0",
        "dev2": "0000:00:0a.1",
    }
    assert line(case) == 22


def test_a_case_without_a_machine_has_the_usual_one(tmp_path: Path) -> None:
    case = read(tmp_path, _GOOD)
    found = addresses(machine(case, "6.1").devices)
    assert {name: found[name] for name in ("dev0", "dev1", "nic0", "clock")} == {
        name: ADDRESSES[name] for name in ("dev0", "dev1", "nic0", "clock")
    }
    assert line(case) == GSI


@pytest.mark.parametrize("name", cases.ids())
def test_no_case_hides_the_failure_of_a_step(name: str) -> None:
    """A script fails at its first failing command, and no script may hide a failure; `background` scripts continue."""
    for step in cases.get(name).steps:
        if step.verb in ("guest", "check"):
            assert not _HIDES.search(step.argument), step


def test_the_player_hides_the_failure_of_no_step() -> None:
    """Neither the common definitions of the scripts nor the player's own scripts hide a failure."""
    assert not _HIDES.search(run.PRELUDE)
    assert not _HIDES.search(Path(run.__file__).read_text())


def test_an_unknown_case_is_refused_with_where_to_look() -> None:
    with pytest.raises(BenchError, match="zoo list"):
        cases.get("no-such-bug")
    result = CliRunner().invoke(main, ["zoo", "show", "no-such-bug"])
    assert result.exit_code == 2 and "zoo list" in result.output


def test_list_and_show_tell_what_is_expected() -> None:
    runner = CliRunner()
    listed = runner.invoke(main, ["zoo", "list"])
    assert all(name[:10] in listed.output for name in cases.ids())
    shown = runner.invoke(main, ["zoo", "show", "rmw-race"]).output
    case = cases.get("rmw-race")
    assert case.symptom in shown and case.cause in shown and case.source[0] in shown and "tell read" in shown


def played(case: Case, *outcomes: Outcome) -> list[Played]:
    log = Log(Header(0, 0, 0, 0, ()), ())
    return [
        Played(case, driver, "6.1", Result(outcome, {"raised": 1}, ()), log, 0.1)
        for driver, outcome in zip(DRIVERS, outcomes, strict=True)
    ]


def test_a_bug_is_reproduced_when_one_driver_shows_its_symptom(tmp_path: Path) -> None:
    case = read(tmp_path, _GOOD)
    survived = [Outcome.SURVIVES] * 3
    assert suite.reproduced(case, played(case, *survived, Outcome.HANG))
    assert not suite.reproduced(case, played(case, *survived, Outcome.LOSES))


def test_reports_show_outcomes_and_mark_unexpected_ones(tmp_path: Path) -> None:
    """The reports contain all outcomes and mark the unexpected ones."""
    case = read(tmp_path, _GOOD)
    suite.write([played(case, Outcome.SURVIVES, Outcome.LOSES, Outcome.REFUSES, Outcome.HANG)], tmp_path)
    text = (tmp_path / "zoo.html").read_text()
    assert text.count('unexpected"') == 1 and "loses interrupts" in text
    assert '"reproduced": true' in (tmp_path / "zoo.json").read_text()


def test_the_reports_mark_what_was_not_met(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reports also mark an expected outcome if a notice, a check or a bound was not met."""
    case = read(tmp_path, _GOOD)
    runs = played(case, Outcome.SURVIVES, Outcome.SURVIVES, Outcome.REFUSES, Outcome.HANG)
    runs[0] = dataclasses.replace(runs[0], unmet=("served_us is <5>",))
    suite.write([runs], tmp_path)
    for text in ((tmp_path / "zoo.html").read_text(), page.render(case, runs)):
        assert text.count('unexpected"') == 1 and "unmet: served_us is &lt;5&gt;" in text
    monkeypatch.setattr(suite, "play", lambda case, driver, kernel: runs[DRIVERS.index(driver)])
    with contextlib.redirect_stdout(io.StringIO()) as said:
        suite.play_all([case], "6.1")
    assert said.getvalue().count("UNMET: served_us is <5>") == 1
    monkeypatch.setattr(cases, "get", lambda name: case)
    monkeypatch.setattr(cli, "play", lambda case, driver, kernel, keep: runs[DRIVERS.index(driver)])
    shown = CliRunner().invoke(main, ["zoo", "run", "rmw-race", "-o", str(tmp_path)])
    assert shown.exit_code == 1 and shown.output.count("unmet: served_us is <5>") == 1


def test_an_error_of_one_play_leaves_the_others_and_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each case that was played with every driver is in the report at once: all of them take long."""
    good, bad = read(tmp_path, _GOOD), dataclasses.replace(read(tmp_path, _GOOD), id="broken")
    runs = played(good, Outcome.SURVIVES, Outcome.SURVIVES, Outcome.REFUSES, Outcome.HANG)
    reported: list[int] = []

    def play(case: Case, driver: str, kernel: str) -> Played:
        if case is bad and driver == "shirq":
            raise OSError(errno.EAGAIN, "Resource temporarily unavailable")
        return runs[DRIVERS.index(driver)]

    monkeypatch.setattr(suite, "play", play)
    done, errors = suite.play_all([good, bad, good], "6.1", lambda so_far: reported.append(len(so_far)))
    assert done == [runs, runs]
    assert errors == ["broken, shirq: [Errno 11] Resource temporarily unavailable"]
    assert reported == [1, 1, 2]


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A fake player: records the cases that `shirq zoo all` plays, with their expected outcomes, and then "report"."""
    found: list[str] = []

    def play_all(some: list[Case], kernel: str, report: object) -> tuple[list[list[Played]], list[str]]:
        found.extend(case.id for case in some)
        return [played(case, *(case.expected[driver] for driver in DRIVERS)) for case in some], []

    monkeypatch.setattr(suite, "play_all", play_all)
    monkeypatch.setattr(suite, "write", lambda *_, **__: found.append("report"))
    return found


def test_named_cases_are_played_at_any_size(chosen: list[str]) -> None:
    (named,) = [case.id for case in map(cases.get, cases.ids()) if not case.ci][:1]
    assert CliRunner().invoke(main, ["zoo", "all", named, "--size", "ci"]).exit_code == 0
    assert chosen == [named, "report"]


def test_the_small_size_plays_a_few_cases(chosen: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    few = [case.id for case in map(cases.get, cases.ids()) if case.ci]
    ended = CliRunner().invoke(main, ["zoo", "all", "--size", "ci"])
    assert ended.exit_code == 0 and "budget" not in ended.output, "the output names a budget, but nothing enforces one"
    assert chosen == [*few, "report"] and 0 < len(few) < len(cases.ids())
    chosen.clear()
    monkeypatch.setattr(cases, "ids", lambda: [])
    assert CliRunner().invoke(main, ["zoo", "all", "--size", "ci"]).exit_code == 1
    assert chosen == []


def test_a_page_shows_the_bug_above_the_driver_that_has_it_not(tmp_path: Path) -> None:
    case = read(tmp_path, _GOOD)
    runs = played(case, Outcome.SURVIVES, Outcome.SURVIVES, Outcome.REFUSES, Outcome.HANG)
    assert [each.driver for each in page.contrast(case, runs)] == ["naive", "shirq"]
    assert "No pin moved" in page.render(case, runs)
