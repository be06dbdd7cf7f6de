# SPDX-License-Identifier: MIT
"""Starts the browser that tests pages, and reads its logs."""

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
    """Start a headless browser, with its settings in the directory ``profile``."""
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
    """Return the log entries since the last call: of the browser's console ("browser") or requests ("performance")."""
    entries: list[dict[str, str]] = browser.get_log(kind)  # type: ignore[no-untyped-call]
    return entries


def requested(browser: Chrome) -> list[str]:
    """Return the addresses that pages have requested since the last call."""
    messages = [json.loads(entry["message"])["message"] for entry in logged(browser, "performance")]
    requests = [m["params"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    # Skip the requests of the browser's own first tab.
    return [
        it["request"]["url"] for it in requests if not it["documentURL"].startswith(("chrome:", "chrome-untrusted:"))
    ]
