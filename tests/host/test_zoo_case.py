# SPDX-License-Identifier: MIT
"""The zoo's cases are complete, and a case that makes no sense is refused with what would."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from shirq_bench.cli import main
from shirq_bench.trace import Header, Log
from shirq_bench.zoo import case as cases
from shirq_bench.zoo import page, suite
from shirq_bench.zoo.case import DRIVERS, Case, CaseError
from shirq_bench.zoo.outcome import Outcome, Result
from shirq_bench.zoo.run import Played

#: Every bug that the zoo is to hold.
_IDS = """
nobody-cared hidden-storm always-claim irq-before-masked-state disintx-races-ioctl eventfd-removed-while-pending
one-irq-then-stall disintx-writable-noop disintx-read-only intx-status-never-set disintx-left-set
screaming-before-driver crash-kernel-storm remote-irr-stuck irq-before-registration-done chip-not-ready-on-resume
debug-shirq-late-call claim-read-masks claim-read-clears status-lags two-level-latch posted-ack eoi-before-fix
oneshot-mismatch forced-threading oneshot-affinity cpu-offline sticky-source surprise-removal
handler-on-suspended-device unbind-with-fd-open rmw-race msi-back-to-intx irqpoll restart-with-event-pending
slow-user-starves-sharers claims-everything refuse-if-shared
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


def read(tmp_path: Path, text: str) -> Case:
    path = tmp_path / "x.toml"
    path.write_text(text)
    return cases.read(path)


def test_every_bug_of_the_list_is_a_case_and_nothing_else_is() -> None:
    assert sorted(_IDS.split()) == cases.ids()


@pytest.mark.parametrize("name", cases.ids())
def test_a_case_tells_its_story_and_argues_where_shirq_does_not_come_through(name: str) -> None:
    case = cases.get(name)
    assert len(case.explanation) > 150 and case.source and case.symptom and case.cause
    good = {Outcome.SURVIVES, Outcome.REFUSES}
    assert case.expected["shirq"] in good or case.argued["shirq"], "shirq fails and nobody says why"


def test_a_step_keeps_its_argument_and_whom_it_is_for(tmp_path: Path) -> None:
    case = read(tmp_path, _GOOD)
    assert [(step.verb, step.argument, step.only) for step in case.steps] == [
        ("driver", "bind", ()),
        ("raise", 1, ("naive",)),
    ]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('id = "x"', 'id = "y"', "the file is called 'x'"),
        ('title = "t"', 'titel = "t"', "no case has titel"),
        ("raise = 1", "rise = 1", "needs exactly one of driver"),
        ('raise = 1, only = ["naive"]', "raise = 1, wait = 2", "needs exactly one of"),
        ('only = ["naive"]', 'only = ["uio"]', "is for uio"),
        ('naive = "hang"', "", "needs an outcome for each of"),
        ('shows = ["hang"]', 'shows = ["hangs"]', "'hangs' is not a valid Outcome"),
        ('cause = "c"', "cause = ", "Invalid value"),
        ('source = ["somewhere"]', "", "'source'"),
    ],
)
def test_a_case_that_makes_no_sense_is_refused(tmp_path: Path, old: str, new: str, says: str) -> None:
    with pytest.raises(CaseError, match=says):
        read(tmp_path, _GOOD.replace(old, new))


def test_an_unknown_case_is_refused_with_where_to_look() -> None:
    with pytest.raises(CaseError, match="zoo list"):
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


def test_the_reports_say_what_came_out_and_mark_what_was_not_expected(tmp_path: Path) -> None:
    case = read(tmp_path, _GOOD)
    suite.write([played(case, Outcome.SURVIVES, Outcome.LOSES, Outcome.REFUSES, Outcome.HANG)], tmp_path)
    text = (tmp_path / "zoo.html").read_text()
    assert text.count('unexpected"') == 1 and "loses interrupts" in text
    assert '"reproduced": true' in (tmp_path / "zoo.json").read_text()


def test_a_page_shows_the_bug_above_the_driver_that_has_it_not(tmp_path: Path) -> None:
    case = read(tmp_path, _GOOD)
    runs = played(case, Outcome.SURVIVES, Outcome.SURVIVES, Outcome.REFUSES, Outcome.HANG)
    assert [each.driver for each in page.contrast(case, runs)] == ["naive", "shirq"]
    assert "No pin moved" in page.render(case, runs)
