"""The page in a real browser: Debian's Chromium, without a window, driven by Playwright."""

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
OPTIONS = [  # what a container allows, and nothing asked from elsewhere
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
"""So much a mile, within a quarter."""


def write_ranged(path: Path, a_mile: float) -> Path:
    return models.write_onnx(path, RANGED % a_mile)


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()


class Visit:
    """A page that is open; it holds what the browser said and asked for meanwhile."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.asked: list[str] = []
        self.faults: list[str] = []
        page.set_default_timeout(10_000)
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", lambda message: self.hear(message.type, message.text))
        page.goto(address)
        expect(page.locator("#map [role=option]").first).to_be_attached()

    def hear(self, kind: str, text: str) -> None:
        failed = "Failed to load resource" in text  # tests make requests fail
        if kind in ("error", "warning") and not failed:
            self.faults.append(text)  # what the content security policy forbids is said here

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
        """What stands for *figure*, in minutes or dollars, once it is an answer."""
        self.expect_state("answered")
        text = self.page.locator(f"#{figure} .value").inner_text()
        hours = re.search(r"(\d+)\s*h", text)
        rest = re.search(r"([\d.]+)\s*(?:min)?$", text)
        return 60 * float(hours[1] if hours else 0) + float(rest[1] if rest else 0)


def open_page(browser: Browser, address: str, **context: Any) -> Visit:
    """A visit with a fresh memory; *context* is Playwright's: size, colours, touch."""
    return Visit(browser.new_context(**context).new_page(), address)
