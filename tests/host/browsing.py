# SPDX-License-Identifier: MIT
"""The browser that pages are tested in, and its logs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.options import PageLoadStrategy

_ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1400,1000",
)


@contextmanager
def headless(profile: Path) -> Iterator[Chrome]:
    """A browser without a screen, its settings in the directory ``profile``."""
    options = ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    options.page_load_strategy = PageLoadStrategy.normal
    for argument in (*_ARGUMENTS, f"--user-data-dir={profile}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options, ChromeService("/usr/bin/chromedriver"))
    driver.set_page_load_timeout(300)
    yield driver
    driver.quit()


def logged(browser: Chrome, kind: str) -> list[dict[str, str]]:
    """The browser's new log entries since the last call: "browser" is its console, "performance" its requests."""
    entries: list[dict[str, str]] = browser.get_log(kind)  # type: ignore[no-untyped-call]
    return entries


def requested(browser: Chrome) -> list[str]:
    """The addresses that pages have fetched since the last call."""
    messages = [json.loads(entry["message"])["message"] for entry in logged(browser, "performance")]
    requests = [m["params"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    # Skip the requests of the browser's own first tab, which fetches its pictures from the browser.
    return [
        it["request"]["url"] for it in requests if not it["documentURL"].startswith(("chrome:", "chrome-untrusted:"))
    ]
