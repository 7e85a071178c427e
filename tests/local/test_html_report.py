"""The report is one self-contained page that shows every count."""

import re
from collections import Counter
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from local.demo.counts import PredictedRide
from local.demo.html_report import ReportFigures, render
from local.rides import Trip
from training.reports.svg_style import VARIABLES

VOID = {"meta"}


class Page(HTMLParser):
    """Parses a page into its tags, their attributes, and its text."""

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


def figures(**changes: Any) -> ReportFigures:
    random = np.random.default_rng(0)
    true = random.uniform(1, 60, 300)
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
        "predicted": true + random.normal(0, 4, 300),
        "hour": random.integers(0, 24, 300).astype(float),
        "rides": [PredictedRide("7", 12.0, 13.5, n / 100, 80.0 + n) for n in range(50)],
        "rows": [(Trip(7, 130, 205, 3.66, "2023-02-01T08:15:00", 12.0), 13.5)],
    }
    return ReportFigures(**(values | changes))


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(PAGE)


PAGE = render(figures())


@pytest.fixture(scope="module")
def unusual() -> str:
    """A page of unusual figures; drawing one page for several tests saves much of their time."""
    counts = {
        "rides_sent": 1,
        "bad_records_sent": 1,
        "rides_predicted": 1,
        "rejected": 1,
        "lost": 1,
    }
    halves = {"rmse_minutes": 3.545, "rmse_minutes_streamed": 3.505}
    rows = [
        (Trip(number, 130, 205, 3.66, begins, 12.0), 13.5)
        for number, begins in ((7, "2023-02-02T08:15:00"), (9, "2023-02-01T08:15:00"))
    ]
    return render(
        figures(
            summary={**figures().summary, **counts, **halves},
            faults=["2 records were lost."],
            reasons={("<b>", "<script>alert(1)</script>"): 1},
            version='"><script>',
            rows=rows,
        )
    )


def test_every_tag_is_closed(page: Page) -> None:
    assert page.open == []


def test_the_report_loads_no_resources_and_runs_no_scripts(page: Page) -> None:
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


def test_each_plot_has_an_alternative_text(page: Page) -> None:
    pictures = [attributes for tag, attributes in page.tags if tag == "svg"]

    assert len(pictures) == 4
    assert all(each["role"] == "img" and each["aria-label"] for each in pictures)
    assert "301.9" not in PAGE
    assert any("99 of 100 within 302 ms" in (each["aria-label"] or "") for each in pictures)


def test_no_identifier_occurs_twice(page: Page) -> None:
    identifiers = Counter(each["id"] for _, each in page.tags if "id" in each)

    assert set(identifiers.values()) == {1}


def test_every_reference_of_a_plot_exists(page: Page) -> None:
    identifiers = {each["id"] for _, each in page.tags if "id" in each}
    references = set(re.findall(r'(?:href="#|url\(#)([^")]+)', PAGE))

    assert references
    assert references <= identifiers


def test_plots_use_the_colours_of_the_page_in_light_and_dark() -> None:
    assert "prefers-color-scheme: dark" in PAGE
    assert not any(colour in PAGE for colour in VARIABLES)
    assert "var(--accent)" in PAGE


def test_the_same_figures_make_the_same_page() -> None:
    assert render(figures()) == PAGE


def test_rides_are_sorted_by_pick_up_time(unusual: str) -> None:
    text = Page(unusual).text

    assert text.index("2023-02-01 08:15:00") < text.index("2023-02-02 08:15:00")


def test_a_count_of_one_is_singular(unusual: str) -> None:
    text = Page(unusual).text

    assert "1 simulated ride and 1 broken record were sent to a stream." in text
    assert "1 record was set aside, 1 was lost." in text
    assert not re.search(r"\b1 (rides|records|duplicates)\b", text)


def test_a_half_is_rounded_up_as_on_the_console(unusual: str) -> None:
    text = Page(unusual).text

    assert "3.55 min" in text
    assert "3.51 minutes" in text


def test_wrong_counts_are_reported_first(unusual: str) -> None:
    text = Page(unusual).text

    assert "The counts do not add up" in text
    assert "2 records were lost." in text


def test_external_text_is_escaped(unusual: str) -> None:
    assert "<script>" not in unusual


def test_a_run_without_predictions_has_a_report() -> None:
    summary = dict(figures().summary)
    summary |= {
        "latency_ms": {"p50": None, "p99": None},
        "rides_per_second": None,
        "rmse_minutes_streamed": None,
    }

    assert "No ride was predicted." in render(
        figures(summary=summary, rides=[], rows=[], reasons={})
    )
