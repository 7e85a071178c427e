"""The report: one page that needs nothing but itself, and says what was counted."""

import re
from collections import Counter
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from local.demo.counts import Streamed
from local.demo.html_report import Figures, html
from local.demo.rides import Trip
from training.reports.svg_style import VARIABLES

VOID = {"meta"}


class Page(HTMLParser):
    """Tags that were opened, their attributes, and the text between."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def figures(**changes: Any) -> Figures:
    random = np.random.default_rng(0)
    true = random.uniform(1, 60, 3000)
    values: dict[str, Any] = {
        "summary": {
            "rides_sent": 4321,
            "bad_records_sent": 73,
            "rides_predicted": 4320,
            "rejected": 72,
            "lost": 2,
            "duplicates": 1,
            "rides_per_second": 987.6,
            "latency_ms": {"p50": 81.4, "p99": 301.9},
            "rmse_minutes": 4.48,
            "rmse_minutes_streamed": 4.57,
            "model_flavour": "onnx",
            "source": "simulated",
        },
        "faults": [],
        "reasons": {("text for a number", "Expected `int`, got `str`"): 6},
        "baseline_rmse": 6.04,
        "trained_on": "2023-01",
        "tested_on": "2023-02",
        "version": "0123abcd",
        "per_second": 1000.0,
        "true": true,
        "predicted": true + random.normal(0, 4, 3000),
        "hour": random.integers(0, 24, 3000).astype(float),
        "rides": [Streamed("7", 12.0, 13.5, n / 100, 80.0 + n) for n in range(50)],
        "rows": [(Trip(7, 130, 205, 3.66, "2023-02-01T08:15:00", 12.0), 13.5)],
    }
    return Figures(**(values | changes))


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(PAGE)


PAGE = html(figures())


def test_every_tag_is_closed(page: Page) -> None:
    assert page.open == []


def test_it_fetches_nothing_and_runs_nothing(page: Page) -> None:
    assert "://" not in PAGE
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object"}
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert all(target.startswith("#") for target in re.findall(r"url\(['\"]?(.)", PAGE))


@pytest.mark.parametrize(
    "figure",
    ["4,321", "4,320", "73", "72", "988", "81", "302", "4.48", "6.04", "4.57", "0123abcd",
     "2023-01", "2023-02", "ONNX", "sent at up to 1,000 a second",
     "130 → 205", "13.5", "+1.5", "Expected `int`, got `str`"],
)  # fmt: skip
def test_every_figure_is_on_the_page(page: Page, figure: str) -> None:
    assert figure in page.text


def test_each_picture_has_a_text_that_stands_for_it(page: Page) -> None:
    pictures = [attributes for tag, attributes in page.tags if tag == "svg"]

    assert len(pictures) == 4
    assert all(each["role"] == "img" and each["aria-label"] for each in pictures)
    assert "301.9" not in PAGE
    assert any("99 of 100 within 302 ms" in (each["aria-label"] or "") for each in pictures)


def test_no_identifier_occurs_twice(page: Page) -> None:
    identifiers = Counter(each["id"] for _, each in page.tags if "id" in each)

    assert set(identifiers.values()) == {1}


def test_what_a_picture_refers_to_is_there(page: Page) -> None:
    identifiers = {each["id"] for _, each in page.tags if "id" in each}
    references = set(re.findall(r'(?:href="#|url\(#)([^")]+)', PAGE))

    assert references
    assert references <= identifiers


def test_pictures_take_their_colours_from_the_page_in_light_and_dark() -> None:
    assert "prefers-color-scheme: dark" in PAGE
    assert not any(colour in PAGE for colour in VARIABLES)
    assert "var(--accent)" in PAGE


def test_the_same_figures_make_the_same_page() -> None:
    assert html(figures()) == PAGE


def test_rides_are_in_the_order_of_their_pick_ups() -> None:
    rows = [
        (Trip(number, 130, 205, 3.66, begins, 12.0), 13.5)
        for number, begins in ((7, "2023-02-02T08:15:00"), (9, "2023-02-01T08:15:00"))
    ]

    text = Page(html(figures(rows=rows))).text

    assert text.index("2023-02-01 08:15:00") < text.index("2023-02-02 08:15:00")


def test_one_of_a_kind_is_no_plural() -> None:
    one = {"rides_sent": 1, "bad_records_sent": 1, "rides_predicted": 1, "rejected": 1, "lost": 1}

    text = Page(html(figures(summary={**figures().summary, **one}))).text

    assert "1 simulated ride and 1 broken record went onto a stream." in text
    assert "1 record was set aside, 1 was lost." in text
    assert not re.search(r"\b1 (rides|records|duplicates)\b", text)


def test_a_half_is_rounded_up_as_on_the_screen() -> None:
    halves = {"rmse_minutes": 3.545, "rmse_minutes_streamed": 3.505}

    text = Page(html(figures(summary={**figures().summary, **halves}))).text

    assert "3.55 min" in text
    assert "3.51 minutes" in text


def test_counts_that_do_not_add_up_are_said_first() -> None:
    text = Page(html(figures(faults=["2 records were lost."]))).text

    assert "The counts do not add up" in text
    assert "2 records were lost." in text


def test_a_run_without_any_prediction_has_a_page_too() -> None:
    summary = dict(figures().summary)
    summary |= {
        "latency_ms": {"p50": None, "p99": None},
        "rides_per_second": None,
        "rmse_minutes_streamed": None,
    }

    assert "No ride was predicted." in html(figures(summary=summary, rides=[], rows=[], reasons={}))


def test_text_from_outside_cannot_become_markup() -> None:
    wrong = {("<b>", "<script>alert(1)</script>"): 1}

    assert "<script>" not in html(figures(reasons=wrong, version='"><script>'))
