"""Opens the riders' page in headless Chromium (the Debian package), with Playwright."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from . import models

CHROMIUM = shutil.which("chromium")
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None and "CI" not in os.environ,
    reason="needs Chromium: apt install chromium",
)
OPTIONS = [  # works in a container, and makes no requests of its own
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
RANGED = f"""{models.HEAD}
ride (float[N, 1] trip_distance) => (float[N, 1] value, float[N, 2] interval) {{
    slope = Constant <value_float = %s> ()
    least = Constant <value_float = 0.75> ()
    most = Constant <value_float = 1.25> ()
    value = Mul (trip_distance, slope)
    low = Mul (value, least)
    high = Mul (value, most)
    interval = Concat <axis = 1> (low, high)
}}"""
"""A model that predicts %s per mile, with an interval of ±25 %."""


TRAINING_RIDES = {"source": "tlc", "months": ["2021-01"], "rides": 73_855, "longest_miles": 25.5}


def write_ranged(path: Path, a_mile: float) -> Path:
    metadata = {"training_rides": TRAINING_RIDES}
    return models.write_onnx(path, RANGED % a_mile, metadata=metadata)


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()


class Visit:
    """An open page, with its requests and the browser's errors and warnings."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.requests: list[str] = []
        self.errors: list[str] = []
        page.set_default_timeout(10_000)
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda message: self.record(message.type, message.text))
        page.goto(address)
        expect(page.locator("#map [role=option]").first).to_be_attached()

    def record(self, kind: str, text: str) -> None:
        failed = "Failed to load resource" in text  # tests make requests fail on purpose
        if kind in ("error", "warning") and not failed:
            self.errors.append(text)  # includes content security policy violations

    def choose(self, end: str, text: str) -> None:
        field = self.page.get_by_label(end, exact=True).and_(self.page.get_by_role("combobox"))
        field.fill(text)
        field.press("Enter")

    def ride(self, pickup: str = "jamaica", dropoff: str = "times sq") -> None:
        self.choose("Pick-up", pickup)
        self.choose("Drop-off", dropoff)
        self.expect_state("answered")

    def expect_state(self, state: str) -> None:
        expect(self.page.locator("#quote")).to_have_attribute("data-state", state, timeout=15_000)

    def number(self, figure: str) -> float:
        """Wait for a quote, and return *figure* in minutes or dollars."""
        self.expect_state("answered")
        text = self.page.locator(f"#{figure} .value").inner_text()
        hours = re.search(r"(\d+)\s*h", text)
        rest = re.search(r"([\d.]+)\s*(?:min)?$", text)
        return 60 * float(hours[1] if hours else 0) + float(rest[1] if rest else 0)


def open_page(browser: Browser, address: str, **context: Any) -> Visit:
    """Open the page with empty storage; *context* has Playwright's options (size, touch, …)."""
    return Visit(browser.new_context(**context).new_page(), address)
