# SPDX-License-Identifier: MIT
"""A run's picture has the contents of the log: as text, as a self-contained page, and as a waveform."""

from __future__ import annotations

import io
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from rich.console import Console
from vcd.reader import TokenKind, tokenize

from logwriter import GSI, Story
from shirq_bench import journal
from shirq_bench.channels.log import ClockFit, HandlerCall, Kind
from shirq_bench.journal import Step
from shirq_bench.observe import judge
from shirq_bench.report import html, text, vcd
from shirq_bench.report.model import Picture, Shape, Span, Tone, Track, build

ROLES = {"dev0": "claimed", "nic": "neighbour"}


def story(rounds: int = 1) -> Story:
    """Return interrupts of dev0, each followed by one of the neighbour."""
    told = Story(("dev0", "nic"), now=10_000_000)
    for _ in range(rounds):
        told.claimed_interrupt("dev0").wait(100_000).neighbours_interrupt("nic").wait(300_000)
    return told


def picture(told: Story, **more: object) -> Picture:
    return build(told.log(), title="a run", roles=ROLES, **more)  # type: ignore[arg-type]


def track(shown: Picture, name: str, group: str = "") -> Track:
    """Return the only track with this name in a group whose name begins with ``group``."""
    (found,) = (it for it in shown.tracks if it.name == name and it.group.startswith(group))
    return found


# The model


def test_levels_are_high_exactly_while_they_were() -> None:
    told = story()
    shown = picture(told)
    for name, group, intervals in (
        ("line", "line", judge.high(told.log(), Kind.LINE, gsi=GSI)),
        ("pin", "dev0", judge.assertions(told.log(), "dev0")),
        ("pin", "nic", judge.assertions(told.log(), "nic")),
        ("masked", "dev0", [it for it in judge.high(told.log(), Kind.MASK, "dev0") if it.start]),
    ):
        expected = [(it.start.time_ns, it.end.time_ns) for it in intervals if it.start and it.end]
        assert expected
        assert [(span.start_ns, span.end_ns) for span in track(shown, name, group).spans] == expected


def test_the_story_of_an_interrupt_is_told_in_verbs() -> None:
    shown = picture(story())
    acts = {name: track(shown, name, "dev0") for name in ("interrupt program", "user handler", "other kernel access")}
    assert {name: [span.label for span in it.spans] for name, it in acts.items()} == {
        "interrupt program": ["claim, mask"],
        "user handler": ["acknowledge"],
        "other kernel access": ["unmask"],
    }
    program, user, other = (it.spans[0] for it in acts.values())
    (handling, _) = track(shown, "DELIVER to EOI").spans
    (masked,) = (span for span in track(shown, "masked", "dev0").spans)
    assert handling.start_ns < program.start_ns < program.end_ns < handling.end_ns < user.start_ns < other.start_ns
    assert (masked.start_ns, masked.end_ns) == (program.end_ns, other.end_ns)
    assert "kernel writes dev0 INT_MASK_SET = 0xffffffff" in program.detail


def test_a_program_that_reads_zero_declines() -> None:
    told = Story(("dev0", "nic")).stimulus("nic").deliver().read("dev0").eoi()
    assert [span.label for span in track(picture(told), "interrupt program").spans] == ["decline"]


def test_the_pins_fall_names_its_cause() -> None:
    (pin,) = track(picture(story()), "pin", "dev0").spans
    assert pin.detail == "ended: kernel writes dev0 INT_MASK_SET = 0xffffffff"


def test_clock_marks_are_not_shown_but_labels_are() -> None:
    told = story().marker("dev0", 123456789).marker("dev0", 42, width=4)
    shown = picture(told)
    assert [span.label for span in track(shown, "stimuli", "dev0").spans] == ["+0x1", "42"]
    assert [event.what for event in shown.events][-1] == "marks 42 through dev0"
    assert not [event for event in shown.events if "123456789" in event.what or "MARK" in event.what]


def test_other_lines_and_devices_are_not_shown() -> None:
    told = story().add(Kind.LINE, offset=4, value=1).add(Kind.DELIVER, offset=4, value=0x30)
    assert picture(told).events == picture(story()).events


def test_the_line_and_the_devices_are_found_if_not_given() -> None:
    shown = build(story().log(), title="a run")
    assert shown.gsi == GSI
    assert [it.group for it in shown.tracks if it.name == "pin"] == ["dev0", "nic"]


def test_devices_without_logged_accesses_are_found_by_their_pins() -> None:
    """For devices other than shirq-edu the log has only pins: the picture shows those of the line that moved first."""
    told = Story(("nic", "other", "uart", "clock")).neighbours_interrupt("nic").wait(100).neighbours_interrupt("uart")
    told.add(Kind.PIN, "other", value=1).add(Kind.LINE, offset=GSI + 1, value=1)
    told.add(Kind.PIN, "other", value=0).add(Kind.LINE, offset=GSI + 1, value=0)
    told.marker("clock", 123456789)
    told.entries = [entry for entry in told.entries if entry.kind is not Kind.RAISE]
    shown = build(told.log(), title="a run")
    assert shown.gsi == GSI
    assert [it.group for it in shown.tracks if it.name == "pin"] == ["nic", "uart"]


def test_only_the_last_epoch_is_shown() -> None:
    told, later = story(), story()
    told.entries += later.entries
    assert picture(told).events == picture(later).events


def test_a_cut_shows_what_came_after_with_the_levels_from_before() -> None:
    told = story().stimulus("dev0").deliver()
    mark = told.log().mark
    told.read("dev0").mask("dev0").eoi()
    shown = build(told.log().since(mark), title="a run", roles=ROLES)
    (pin,) = track(shown, "pin", "dev0").spans
    assert shown.events[0].what == "reads dev0 INT_ACTIVE = 0x1"
    assert (pin.start_ns, pin.detail[:18]) == (shown.start_ns, "from the beginning")


def test_pause_threshold_follows_from_the_handling_speed() -> None:
    """The length from which a gap counts as a pause depends on how fast interrupts are handled."""
    slow = Story(("dev0", "nic")).stimulus("dev0").deliver().wait(95_000).read("dev0").mask("dev0").eoi()
    assert (picture(story()).pause_ns, picture(slow).pause_ns) == (20_000, 500_000)


def test_handler_calls_are_drawn_within_their_handling() -> None:
    told = story()
    marks = [(at - 5_000_000, at) for at in (9_000_000, 9_002_000, 20_000_000, 20_002_000)]
    (handling, _) = judge.handlings(told.log(), GSI)
    begin = (handling.deliver.time_ns - 5_000_000) / 1e9
    calls = [
        HandlerCall(0, begin - 5e-7, begin + 1e-6, GSI, "shirq", True),
        HandlerCall(0, begin + 1e-6, begin + 1e-6, GSI, "nic", False),
        HandlerCall(0, begin + 1e-6, begin + 1e-6, 9, "acpi", True),
    ]
    shown = picture(told, calls=calls, fit=ClockFit.from_marks(marks))
    (ours,) = track(shown, "handler shirq").spans
    (other,) = track(shown, "handler nic").spans
    assert ours.start_ns == handling.deliver.time_ns
    assert handling.eoi and ours.end_ns <= handling.eoi.time_ns
    assert (ours.label, ours.muted, other.label, other.muted) == ("handled", False, "unhandled", True)
    assert "runs shirq: handled" in [event.what for event in shown.events]
    assert not [it for it in shown.tracks if "acpi" in it.name]


# Text


def test_actions_on_the_guest_are_drawn_at_their_log_positions() -> None:
    """An action on the guest is drawn from the log's position at its start to that at its end."""
    told = story(rounds=2)
    log = told.log()
    inside = len(log.entries) // 2
    steps = [
        Step("vm1", journal.Kind.COMMAND, "sh -c 'true\ntrue'", 0.0, inside, 1.0, inside + 3),
        Step("vm1", journal.Kind.COMMAND, "never ends", 0.0, inside),
        Step("vm1", journal.Kind.QMP, "qom-get pin", 0.0, 1, 1.0, inside, times=7),
        Step("vm1", journal.Kind.WAIT, "too early", 0.0, 0, 1.0, 0),
    ]
    shown = picture(told, steps=steps)
    commands = track(shown, "command", "bench")
    times = [entry.time_ns for entry in log.entries]
    assert [(span.start_ns, span.end_ns) for span in commands.spans] == [
        (times[inside - 1], times[inside + 2]),
        (times[inside - 1], shown.end_ns),
    ]
    assert commands.spans[0].label == "sh -c 'true true'"
    assert "7 times" in track(shown, "qmp", "bench").spans[0].detail


def test_each_vcpu_that_takes_turns_has_a_row() -> None:
    told = Story(("dev0", "nic"), now=10_000_000)
    told.add(Kind.TURN, "vm", offset=4, value=0).claimed_interrupt()
    switch = told.add(Kind.TURN, "vm", offset=0, value=1).now
    back = told.wait(5000).add(Kind.TURN, "vm", offset=1, value=0).now
    end = told.claimed_interrupt().now
    shown = picture(told)
    first, second = (track(shown, f"vCPU {vcpu}", "processors").spans for vcpu in (0, 1))
    assert [(span.start_ns, span.end_ns, span.label) for span in second] == [(switch, back, "halt")]
    assert [(span.end_ns, span.label) for span in first] == [(switch, "schedule"), (end, "")]
    assert any("vCPU 1 has the turn (schedule)" in event.what for event in shown.events)
    assert "vCPU 1" in html.render(shown) and "processors" in html.render(shown)
    assert not [it for it in picture(story()).tracks if it.tone is Tone.TURN]


def test_every_event_is_a_line_with_its_time_and_who_did_it() -> None:
    shown = picture(story())
    lines = text.render(shown).splitlines()
    assert len([line for line in lines if " µs  " in line]) == len(shown.events)
    (unmask,) = (line for line in lines if "INT_MASK_CLEAR" in line)
    assert re.fullmatch(r" +\d+\.\d{3} µs +\+0\.700  kernel +writes dev0 INT_MASK_CLEAR = 0xffffffff", unmask)
    assert [line.strip() for line in lines if line.strip().startswith("...")] == ["... 100 µs ..."]


def test_rounds_that_repeat_are_collapsed() -> None:
    shown = picture(story(50))
    lines = text.render(shown).splitlines()
    assert len(shown.events) > 1000
    assert len(lines) < 60
    (collapsed,) = (line for line in lines if "repeat" in line)
    assert re.search(r"the last 21 events repeat x 48, until \d+\.\d{3} µs", collapsed)


def test_rounds_that_differ_are_not_collapsed() -> None:
    told = Story(("dev0", "nic"))
    for bits in range(1, 30):
        told.wait(100_000).stimulus("dev0", bits).deliver().mask("dev0").eoi().acknowledge("dev0").mask("dev0", False)
    lines = text.render(picture(told)).splitlines()
    assert not [line for line in lines if "repeat" in line]
    assert sum("raises sources" in line for line in lines) == 29


def test_events_that_repeat_are_collapsed_to_one_line() -> None:
    told = Story(("dev0", "nic")).stimulus("dev0")
    for _ in range(30):
        told.read("dev0", ring=3)
    assert "reads dev0 INT_ACTIVE = 0x1 (x 30, over 2.9 µs)" in text.render(picture(told))


def test_colour_is_for_terminals_only() -> None:
    assert "\x1b" not in text.render(picture(story()))
    console = Console(file=io.StringIO(), force_terminal=True, color_system="standard")
    text.show(picture(story()), console)
    assert isinstance(console.file, io.StringIO)
    assert "\x1b[34mkernel" in console.file.getvalue()


def test_broken_and_unproven_verdicts_and_losses_are_said_first() -> None:
    told = story().stimulus("dev0")
    verdicts = [judge.line_low_at_end(told.log(), GSI), judge.line_low_at_end(told.log(), 5)]
    shown = build(told.log(dropped=7), title="a run", roles=ROLES, gsi=GSI, verdicts=verdicts)
    head = text.render(shown).splitlines()[:6]
    assert head[1] == "INCOMPLETE: the log dropped 7 entries"
    assert head[2].startswith("  BROKEN  line 20 is low at the end")
    assert any("nothing to judge" in line for line in head)


# The page


class References(HTMLParser):
    """Collects the addresses that a page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.found += [f"{tag} {name}={value}" for name, value in attrs if name in {"src", "href", "srcset", "action"}]


def page_data(page: str) -> dict[str, Any]:
    (raw,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    data = json.loads(raw)
    assert isinstance(data, dict)
    return data


def test_the_page_needs_nothing_else() -> None:
    page = html.render(picture(story()))
    references = References()
    references.feed(page)
    assert "svg" in references.tags
    assert references.found == []
    assert not re.findall(r"https?:|//[a-z]|url\((?!#)|@import|\bimport\b|fetch\(|XMLHttpRequest|WebSocket", page)
    assert "default-src 'none'" in page
    assert "{{" not in page.replace("${{", "")


def test_the_page_holds_every_span_and_event() -> None:
    shown = picture(story(), verdicts=[judge.line_low_at_end(story().log(), GSI)])
    data = page_data(html.render(shown))
    strings = data["strings"]
    assert [(time + shown.start_ns, strings[who], strings[what]) for time, who, what in data["events"]] == [
        (event.time_ns, event.who, event.what) for event in shown.events
    ]
    for drawn, expected in zip(data["tracks"], shown.tracks, strict=True):
        assert (drawn["group"], drawn["name"], drawn["tone"], drawn["shape"]) == (
            expected.group, expected.name, expected.tone, expected.shape,
        )  # fmt: skip
        assert [
            Span(start + shown.start_ns, end + shown.start_ns, strings[label], strings[detail], bool(muted))
            for start, end, label, detail, muted in drawn["spans"]
        ] == list(expected.spans)


def test_every_id_that_the_script_uses_is_in_the_page() -> None:
    page = html.render(picture(story()))
    used = set(re.findall(r'\$\("(\w+)"\)', page)) | set(re.findall(r'getElementById\("(\w+)"\)', page))
    assert used
    assert used <= set(re.findall(r'\bid="(\w+)"', page))


def test_a_finding_carries_its_proof() -> None:
    told = story().stimulus("dev0")
    shown = picture(told, verdicts=[judge.line_low_at_end(told.log(), GSI)])
    (verdict,) = page_data(html.render(shown))["verdicts"]
    (finding,) = verdict["findings"]
    assert finding["what"] == "line 20 is high at the end of the log"
    assert finding["proof"] == [[told.now - shown.start_ns, "controller: line 20 goes high at ioapic"]]


@pytest.mark.parametrize("name", ["</script><b>", "<!--", "a&b", "{{data}}", "{{js}}"])
def test_names_cannot_break_out_of_the_page(name: str) -> None:
    shown = build(story().log(), title=name, roles=ROLES)
    page = html.render(shown)
    assert page_data(page)["title"] == name
    assert page.count("</script>") == 2
    assert page.count("<!--") == 0


# The waveform


def waveform(shown: Picture) -> tuple[dict[str, str], dict[str, list[tuple[int, str]]]]:
    """Return the types of all variables, and their changes as (time, value), by dotted name."""
    file = io.StringIO()
    vcd.write(shown, file)
    scope: list[str] = []
    names: dict[str, str] = {}
    types: dict[str, str] = {}
    changes: dict[str, list[tuple[int, str]]] = {}
    now = -1
    for token in tokenize(io.BytesIO(file.getvalue().encode())):
        match token.kind:
            case TokenKind.TIMESCALE:
                assert (token.timescale.magnitude, token.timescale.unit.value) == (1, "ns")
            case TokenKind.SCOPE:
                scope.append(token.scope.ident)
            case TokenKind.UPSCOPE:
                scope.pop()
            case TokenKind.VAR:
                name = ".".join([*scope, token.var.reference])
                names[token.var.id_code], types[name], changes[name] = name, token.var.type_.value, []
            case TokenKind.CHANGE_TIME:
                assert token.time_change >= now
                now = token.time_change
            case TokenKind.CHANGE_SCALAR:
                changes[names[token.scalar_change.id_code]].append((now, token.scalar_change.value))
            case TokenKind.CHANGE_STRING:
                changes[names[token.string_change.id_code]].append((now, token.string_change.value))
    assert scope == []
    return types, changes


def test_the_waveform_has_every_level_at_its_time() -> None:
    shown = picture(story(3))
    types, changes = waveform(shown)
    for name, group, path in (
        ("line", "line", "line_20.line"),
        ("pin", "dev0", "dev0_claimed.pin"),
        ("pin", "nic", "nic_neighbour.pin"),
        ("masked", "dev0", "dev0_claimed.masked"),
    ):
        spans = track(shown, name, group).spans
        edges = [edge for span in spans for edge in ((span.start_ns, "1"), (span.end_ns, "0"))]
        assert types[path] == "wire"
        assert changes[path] == [(shown.start_ns, "0"), *edges]


def test_waveform_names_spans_and_has_stimuli_as_events() -> None:
    """The waveform has the names of spans as strings, and stimuli as events."""
    shown = picture(story())
    types, changes = waveform(shown)
    (program,) = track(shown, "interrupt program").spans
    (stimulus,) = track(shown, "stimuli", "dev0").spans
    assert types["dev0_claimed.interrupt_program_is"] == "string"
    assert (program.start_ns, "claim,\\x20mask") in changes["dev0_claimed.interrupt_program_is"]
    assert types["dev0_claimed.stimuli"] == "event"
    assert changes["dev0_claimed.stimuli"] == [(stimulus.start_ns, "1")]


def test_instant_span_is_1_ns_wide_and_touching_spans_stay_apart() -> None:
    """A span without a duration is drawn 1 ns wide, and spans that touch are drawn apart."""
    spans = (Span(10, 10), Span(20, 30), Span(30, 40), Span(35, 50))
    shown = Picture("x", GSI, 5, 50, 1000, (Track("g", "t", Tone.USER, Shape.SPANS, spans),), (), (), 0)
    _, changes = waveform(shown)
    assert changes["g.t"] == [(5, "0"), (10, "1"), (11, "0"), (20, "1"), (30, "0"), (30, "1"), (50, "0")]


def test_tracks_whose_names_become_equal_stay_apart() -> None:
    tracks = tuple(Track("dev.0", name, Tone.PIN, Shape.LEVEL, (Span(1, 2),)) for name in ("a-b", "a b", "a.b"))
    types, _ = waveform(Picture("a $end run", GSI, 0, 2, 1000, tracks, (), (), 0))
    assert list(types) == ["dev_0.a_b", "dev_0.a_b_2", "dev_0.a_b_3"]


def test_the_same_run_gives_the_same_waveform_and_page() -> None:
    written = []
    for _ in range(2):
        file = io.StringIO()
        vcd.write(picture(story()), file)
        written.append((file.getvalue(), html.render(picture(story())), text.render(picture(story()))))
    assert written[0] == written[1]
