# SPDX-License-Identifier: MIT
"""The page of a run in a browser: it opens from a file, zooms, shows values, follows its table, and fetches nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from browsing import logged, requested
from logwriter import GSI, Story
from shirq_bench.deadline import Deadline
from shirq_bench.observe import judge
from shirq_bench.report import html
from shirq_bench.report.model import build

ROUNDS = 30


def page(directory: Path, *, broken: bool = False) -> Path:
    """Write the page of a run of dev0 and a neighbour; with ``broken``, the line is high at the end."""
    told = Story(("dev0", "nic"), now=10_000_000)
    for _ in range(ROUNDS):
        told.claimed_interrupt("dev0").wait(100_000).neighbours_interrupt("nic").wait(300_000)
    if broken:
        told.stimulus("dev0")
    log = told.log()
    shown = build(
        log, title="A <run>", roles={"dev0": "claimed", "nic": "neighbour"}, verdicts=[judge.line_low_at_end(log, GSI)]
    )
    path = directory / "page.html"
    path.write_text(html.render(shown), encoding="utf-8")
    return path


class Page:
    """The page in the browser, with methods to read and use it."""

    def __init__(self, browser: Chrome, path: Path) -> None:
        self.browser = browser
        for kind in ("browser", "performance"):
            logged(browser, kind)
        browser.get(path.as_uri())
        self.until(lambda: self.one("#drawing path.wave"), "the picture is drawn")
        self.settle()

    def settle(self) -> None:
        """Wait until pending drawing is complete: after that, elements change only by an action."""
        frame = "requestAnimationFrame(() => "
        self.browser.execute_async_script(f"const done = arguments[0]; {3 * frame}done(){3 * ')'}")

    def until(self, holds: Callable[[], object], what: str, deadline: float = 60.0) -> None:
        """Wait until ``holds()`` is true, because the page draws only at the next frame."""
        end = Deadline(deadline)
        while not holds():
            assert not end.passed, f"not within {end}: {what}"
            time.sleep(0.02)

    def all(self, selector: str) -> list[WebElement]:
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> WebElement | None:
        return next(iter(self.all(selector)), None)

    def the(self, selector: str) -> WebElement:
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        return str(self.browser.execute_script("return document.querySelector(arguments[0]).textContent", selector))

    def drawn(self) -> str:
        """Return the drawn axis and tracks."""
        return str(self.browser.execute_script("return document.querySelector('#drawing').innerHTML"))

    def width(self) -> float:
        """Return the length of the shown virtual time, in ns."""
        value, unit, word = self.text("#scale").split()
        assert word == "shown"
        return float(value) * {"ns": 1, "µs": 1e3, "ms": 1e6, "s": 1e9}[unit]

    def changed(self, act: Callable[[], object]) -> tuple[float, float]:
        """Call ``act``, which must change the axis; returns the length of the shown time before and after it."""
        before, drawing = self.width(), self.drawn()
        act()
        self.until(lambda: self.drawn() != drawing, "the axis changes")
        self.settle()
        return before, self.width()

    def wheel(self, by: int) -> None:
        # Dispatch the event itself, because ActionChains scrolls without an event that the page receives.
        self.browser.execute_script(
            "const plot = document.querySelector('#plot'), box = plot.getBoundingClientRect();"
            "const at = {clientX: box.left + box.width / 2, clientY: box.top + 80};"
            "plot.dispatchEvent(new WheelEvent('wheel', {...at, deltaY: arguments[0], cancelable: true}));",
            by,
        )


@pytest.fixture
def shown(browser: Chrome, tmp_path: Path) -> Iterator[Page]:
    """The page of a correct run. At the end of the test there must be no console message and no further request."""
    opened = Page(browser, page(tmp_path))
    yield opened
    assert logged(browser, "browser") == []
    assert requested(browser) == [(tmp_path / "page.html").as_uri()]


def test_the_page_opens_from_a_file_and_says_what_it_shows(shown: Page) -> None:
    assert shown.browser.title == "A <run>"
    assert shown.text("#title") == "A <run>"
    assert f"line {GSI}" in shown.text("#summary")
    assert "holds" in shown.text("#verdicts")
    assert len(shown.all("#labels .name")) >= 6


def test_the_wheel_and_the_buttons_zoom_the_axis(shown: Page) -> None:
    for act, factor in (
        (lambda: shown.wheel(-120), 0.67),
        (lambda: shown.wheel(120), 1.49),
        (shown.the("#in").click, 0.5),
        (shown.the("#out").click, 2.0),
        (lambda: shown.the("body").send_keys("+"), 0.5),
    ):
        before, after = shown.changed(act)
        assert after / before == pytest.approx(factor, rel=0.03)
    shown.changed(shown.the("#fit").click)
    assert shown.width() > 1.5e5


def test_dragging_moves_the_axis_without_zooming(shown: Page) -> None:
    plot = shown.the("#plot")
    drag = (
        ActionChains(shown.browser, duration=20)
        .move_to_element(plot)
        .click_and_hold()
        .move_by_offset(-200, 0)
        .release()
    )
    before, after = shown.changed(drag.perform)
    assert before == after


def test_the_buttons_step_from_burst_to_burst(shown: Page) -> None:
    shown.the("#next").click()
    shown.changed(shown.the("#next").click)
    shown.changed(shown.the("#previous").click)


def test_the_pointer_shows_the_values_below_it(shown: Page) -> None:
    assert not shown.the("#tip").is_displayed()
    wave = shown.the("#drawing .fill")
    ActionChains(shown.browser, duration=20).move_to_element(wave).perform()
    shown.until(lambda: shown.the("#tip").is_displayed(), "the tip is shown")
    values = dict(zip((e.text for e in shown.all("#tip dt")), (e.text for e in shown.all("#tip dd")), strict=True))
    assert values["line"].startswith("high (")
    assert {values["dev0 pin"][:3], values["nic pin"][:3]} == {"hig", "low"}
    assert "µs" in shown.text("#tip b") or "ms" in shown.text("#tip b")
    ActionChains(shown.browser, duration=20).move_to_element(shown.the("#title")).perform()
    shown.until(lambda: not shown.the("#tip").is_displayed(), "the tip goes")


def test_a_row_of_the_table_moves_the_axis_to_its_event(shown: Page) -> None:
    shown.browser.execute_script("const l = document.querySelector('#list'); l.scrollTop = l.scrollHeight")
    shown.settle()
    row = shown.all("#rows .row")[-1]
    assert int(row.get_attribute("data-index") or 0) > 300
    time_of_row = row.find_elements(By.TAG_NAME, "span")[0].text
    shown.changed(row.click)
    shown.until(lambda: shown.one("#rows .row.chosen"), "the row is chosen")
    assert shown.one("#rows .row.chosen span").text == time_of_row  # type: ignore[union-attr]
    mark = shown.the("#cursor .selected").get_attribute("d") or ""
    assert 0 < float(mark[1:].split()[0]) < shown.the("#plot").size["width"]


def test_the_filter_leaves_only_what_matches(shown: Page) -> None:
    shown.the("#filter").send_keys("int_ack")
    shown.until(lambda: f"{ROUNDS} of " in shown.text("#count"), "the count follows")
    shown.settle()
    assert all("INT_ACK" in row.text for row in shown.all("#rows .row"))
    shown.the("#filter").send_keys(Keys.CONTROL, "a", Keys.DELETE)
    shown.until(lambda: " of " not in shown.text("#count"), "all events are back")


def test_unfolding_shows_true_time(shown: Page) -> None:
    shown.the("#fit").click()
    before, after = shown.changed(shown.the("#folding").click)
    assert after > 3 * before
    assert not shown.all("#drawing .fold")


def test_a_broken_rule_is_what_one_sees_first(browser: Chrome, tmp_path: Path) -> None:
    opened = Page(browser, page(tmp_path, broken=True))
    assert "broken" in opened.text("#verdicts .badge")
    finding = opened.the("#drawing .findings").get_attribute("d") or ""
    assert 0 < float(finding[1:].split()[0]) < opened.the("#plot").size["width"]
    opened.changed(opened.the("#fit").click)
    opened.changed(opened.the(".finding").click)
    assert opened.one("#cursor .selected")
    assert logged(browser, "browser") == []
