# SPDX-License-Identifier: MIT
"""A browser opens the benchmark's page from a file; the page shows the measured figures and fetches nothing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from browsing import logged, requested
from shirq_bench.campaigns.bench import page
from shirq_bench.campaigns.bench.contender import CONTENDERS, POLLING, SHARING, SPINNING
from shirq_bench.campaigns.bench.targets import judge

_ROUNDS = {"shirq": 4792, "shirq-ring": 4445, "uio_pci_generic": 5641, "vfio-pci": 5278, "wake": 4404, "kernel": 700}


def _spread(value: float) -> dict[str, float]:
    return {"median": value, "p99": value + 50, "least": value - 1, "most": value + 90}


def _driver(name: str) -> dict[str, Any]:
    enabled = _ROUNDS[name]
    phase: dict[str, Any] = {"enabled": _spread(enabled), "hard": _spread(600), "registers": 4, "config": 0}
    if CONTENDERS[name].program:
        phase["awake"] = _spread(enabled - 500)
    return {"regular": phase, "random": phase}


def report() -> dict[str, Any]:
    """Return an example of bench.json, in which shirq.ko misses the first two targets."""
    profile = {"instructions": 7000.0, "calls": 1.0, "functions": {"__schedule": 372.0, "<odd>": 1.0}}
    left = {"1000": 0.99, "10000": 0.9, "100000": 0.25}
    beside = {name: {"added": 216.0, "registers": 1, "config": 0} for name in SHARING}
    return {
        "date": "2026-11-23",
        "machine": "2 processors",
        "kernels": {
            "6.1.0-56-amd64": {
                "cost": {
                    "drivers": {name: _driver(name) for name in CONTENDERS},
                    "neighbour": {"alone": _spread(1400), "beside": beside},
                },
                "profile": dict.fromkeys(CONTENDERS, profile),
                "spin": {
                    "handler": 786,
                    "store": _spread(42),
                    "enabled": _spread(74),
                    **{"registers": 5, "config": 0, "reads": 2, "calls": 0.0, "waiting": 23300, "waiting_calls": 17.5},
                },
                "rate": {
                    **{name: {"highest": _spread(117467), "left": left} for name in CONTENDERS},
                    SPINNING.name: {"highest": _spread(520123), "left": None},
                    POLLING.name: {"highest": None, "left": left | {"100000": 0.7}},
                },
            }
        },
        "guest": {
            "kernel": "6.1.0-56-amd64",
            "load": 0.3,
            "ways": {
                kind: {
                    "first_command_ms": _spread(200),
                    "processor_ms": _spread(150),
                    "private_mib": 60.0,
                    "per_second": {"1": 5, "2": 9, "4": 9},
                }
                for kind in ("clone", "cold boot", "virtme-ng")
            },
            "suites": {"10": 2.0, "1000": 200.0},
            "line": {
                "1": {"first_command_ms": _spread(200), "processor_ms": _spread(150), "hard": _spread(2000)},
                "64": {"first_command_ms": _spread(300), "processor_ms": _spread(160), "hard": _spread(14000)},
            },
        },
    }


@pytest.fixture
def shown(browser: Chrome, tmp_path: Path) -> Chrome:
    path = tmp_path / "bench.html"
    path.write_text(page.page(report()))
    for kind in ("browser", "performance"):
        logged(browser, kind)
    browser.get(path.as_uri())
    assert requested(browser) == [path.as_uri()]
    assert logged(browser, "browser") == []
    return browser


def _row(browser: Chrome, head: str, first: str) -> list[str]:
    """Return the row whose first cell is ``first`` in the table whose first column has the title ``head``."""
    rows = browser.find_elements(By.XPATH, f"//table[.//tr[1]/th[1]='{head}']//tr[td[1]=\"{first}\"]")
    assert len(rows) == 1
    return [cell.text for cell in rows[0].find_elements(By.TAG_NAME, "td")]


def test_page_shows_each_drivers_cost_and_the_kernel(shown: Chrome) -> None:
    """The page shows each driver's cost, and the kernel's release."""
    assert "6.1.0-56-amd64" in shown.find_element(By.TAG_NAME, "h2").text
    costs = shown.find_elements(By.XPATH, "//table[.//tr[1]/th[2]='wake-up latency']//tr/td[4]")
    assert [cell.text for cell in costs] == [f"{enabled:,}" for enabled in _ROUNDS.values()]


def test_a_missed_target_is_said_with_its_reason(shown: Chrome) -> None:
    assert _row(shown, "target", "round trip, relative to uio_pci_generic")[-1] == "missed"
    assert _row(shown, "target", "round trip with a ring, relative to the one without")[-1] == "met"
    assert "is 0.78 of uio_pci_generic's. Waking" in shown.find_element(By.TAG_NAME, "body").text


def test_a_driver_that_spins_has_its_path_and_no_time_left(shown: Chrome) -> None:
    path = ["786", "42", "74", "860", "0", "5", "0", "2", "23,300", "17.5"]
    assert _row(shown, "driver that spins", "shirq-ring, spinning")[1:] == path
    assert _row(shown, "target", "spinning: to the first store, relative to uio_pci_generic")[1:] == [
        str(round((786 + 42) / (5641 - 500), 3)),
        "0.2",
        "met",
    ]
    rates = shown.find_elements(By.XPATH, "//table[.//tr[1]/th[2]='highest rate']//tr[td]")
    cells = {row[0]: row[1:] for tr in rates if (row := [td.text for td in tr.find_elements(By.TAG_NAME, "td")])}
    assert cells["shirq-ring, spinning"] == ["520,123", "520,122", "520,213", "-", "-", "-"]
    assert cells["shirq-ring, polling"] == ["-", "-", "-", "99.0%", "90.0%", "70.0%"]


def test_targets_of_what_was_not_measured_are_not_judged() -> None:
    (kernel,) = report()["kernels"].values()
    cost = [target.what for target in judge({name: kernel[name] for name in ("cost", "profile", "spin")})]
    rate = [target.what for target in judge({"rate": kernel["rate"]})]
    assert [target.what for target in judge(kernel)] == cost + rate
    assert rate == [
        "CPU time used at 100,000/s by a driver that polls under load",
        "highest rate of uio_pci_generic, relative to a driver that spins",
    ]
    assert not judge({})


def test_bars_are_as_long_as_what_they_stand_for(shown: Chrome) -> None:
    costs = shown.find_elements(By.TAG_NAME, "svg")[0]
    widths = [
        rect.size["width"] for rect in costs.find_elements(By.CSS_SELECTOR, f"rect[fill='{page.COLOURS['enabled']}']")
    ]
    assert [round(width / max(widths), 2) for width in widths] == [
        round(enabled / max(_ROUNDS.values()), 2) for enabled in _ROUNDS.values()
    ]


def test_the_profile_opens_and_a_functions_name_is_text(shown: Chrome) -> None:
    details = shown.find_element(By.TAG_NAME, "details")
    assert not details.find_element(By.TAG_NAME, "table").is_displayed()
    details.find_element(By.TAG_NAME, "summary").click()
    assert details.find_element(By.TAG_NAME, "table").is_displayed()
    assert _row(shown, "function", "<odd>")[1] == "1"


def test_guests_are_side_by_side(shown: Chrome) -> None:
    assert _row(shown, "guest", "virtme-ng")[1:] == ["200", "199", "290", "150", "60", "5", "9", "9"]
    assert _row(shown, "devices on the line", "64") == ["64", "300", "160", "14,000"]
    assert _row(shown, "tests", "1000") == ["1000", "200", "200"]


def test_the_plot_is_a_picture_of_its_own() -> None:
    plot = ElementTree.fromstring(page.plot(report()))
    assert plot.tag == "{http://www.w3.org/2000/svg}svg"
    assert len(plot.findall(".//{*}rect")) == 3 * (len(CONTENDERS) - 1) + 1


def test_the_documents_tables_have_a_cell_for_each_column() -> None:
    widths = {}
    for table in re.findall(r"(?:^\|.*\n)+", page.document(report()), re.M):
        lines = table.splitlines()
        widths[lines[0]] = {line.count("|") for line in lines}
    assert len(widths) == 9
    assert all(len(of) == 1 for of in widths.values()), widths
