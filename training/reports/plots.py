"""Draws the plots of a training run: errors, feature importance and coverage of intervals.

Each plot has a caption, and an alternative text with the main numbers for screen readers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..metrics import Evaluation, PartMetrics
from .svg_style import ACCENT, INK, SHADES, WARM, draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]

WIDE = (6.2, 3.6)  # inches
NOMINAL_COVERAGE = 0.8
"""The share of rides whose true value should be within the interval."""
DASHES = (5, 4)


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot: its name, caption and alternative text, and an SVG document from `svg_style.draw`."""

    name: str
    caption: str
    alt: str
    svg: str


class LearningPoint(NamedTuple):
    """A point of the learning curve: a number of training rides, and the RMSE on the test rides."""

    rides: int
    rmse: float


def predicted_against_true(test: Evaluation, unit: str) -> Plot:
    true, predicted = test.rides.target, test.answers.values
    most = float(np.ceil(np.quantile(true, 0.995) / 10) * 10)
    return Plot(
        "predicted-against-true",
        "Each cell shows how many rides have that pair of values; a stronger colour means more.",
        f"Predicted against true {unit} of {len(true):,} rides, near the diagonal.",
        draw("match", lambda axes: paint_match(axes, true, predicted, unit=unit, most=most)),
    )


def shaded(counts: Floats) -> list[str]:
    """Return a colour of `SHADES` for each count; the largest count has the strongest colour.

    *counts* are numbers of rides; each is at least 1.

    >>> shaded(np.array([1.0, 500.0, 2.0])) == [SHADES[1], SHADES[-1], SHADES[2]]
    True
    """
    share = np.log1p(counts)
    levels = np.ceil(len(SHADES) * (share / share.max())).astype(int) - 1
    return [SHADES[level] for level in levels]


def paint_match(axes: Axes, true: Floats, predicted: Floats, *, unit: str, most: float) -> None:
    """Draw predicted against true values: the colour of a hexagon shows its number of rides.

    *true* and *predicted* are in *unit*; both axes end at *most*.
    """
    cells = axes.hexbin(
        true, predicted, gridsize=44, extent=(0, most, 0, most), mincnt=1, linewidths=0
    )
    shades = shaded(np.asarray(cells.get_array(), dtype=float))
    cells.set_array(None)
    cells.set(facecolor=shades, edgecolor="face", linewidth=0.4)
    axes.plot([0, most], [0, most], color=WARM, linewidth=1.6, dashes=DASHES)
    axes.text(
        most * 46 / 60, most * 56.5 / 60, "exactly right", color=WARM, ha="right", va="center"
    )
    axes.set(
        xlim=(0, most), ylim=(0, most), aspect="equal",
        xlabel=f"true {unit}", ylabel=f"predicted {unit}",
    )  # fmt: skip
    axes.set_xticks(axes.get_xticks())
    axes.set_yticks(axes.get_xticks())
    axes.set(xlim=(0, most), ylim=(0, most))


def residuals_by_hour(test: Evaluation, unit: str) -> Plot:
    hour = test.rides.columns.hour
    hours = [h for h in range(24) if np.count_nonzero(hour == h) >= 10]
    bands = [_band(test.error[hour == h]) for h in hours]
    return Plot(
        "residuals-by-hour",
        "The errors by hour of the pick-up: the dark band holds half of the rides, the light band "
        "eight of ten. Errors above 0 are predictions that are too high.",
        f"Errors in {unit} by hour of the pick-up; the medians are between "
        f"{_span([band[2] for band in bands])}.",
        draw("residuals-hour", lambda axes: _paint_hours(axes, hours, bands, unit), size=WIDE),
    )


def residuals_by_distance(test: Evaluation, unit: str) -> Plot:
    miles = test.rides.columns.distance
    edges = np.unique(np.quantile(miles, np.linspace(0, 1, 21)))
    place = np.clip(np.searchsorted(edges, miles, side="right") - 1, 0, len(edges) - 2)
    filled = [i for i in range(len(edges) - 1) if np.any(place == i)]
    middles = [float(np.median(miles[place == i])) for i in filled]
    bands = [_band(test.error[place == i]) for i in filled]

    def paint(axes: Axes) -> None:
        _paint_bands(axes, middles, bands)
        axes.set(xlabel="miles", ylabel=f"error, {unit}", xlim=(0, None))

    return Plot(
        "residuals-by-distance",
        "The errors by distance: each point stands for a twentieth of the rides, and the bands are "
        "as in the plot by hour.",
        f"Errors in {unit} by distance; the medians are between "
        f"{_span([band[2] for band in bands])}.",
        draw("residuals-miles", paint, size=WIDE),
    )


def importance(importances: Mapping[str, float], unit: str) -> Plot:
    rows = sorted(importances.items(), key=lambda row: row[1])

    def paint(axes: Axes) -> None:
        axes.barh([name for name, _ in rows], [grown for _, grown in rows], 0.6, color=ACCENT)
        for place, (_, grown) in enumerate(rows):
            axes.annotate(
                f"{grown:+.2f}", (max(grown, 0), place), (6, 0), color=INK, va="center",
                textcoords="offset points",
            )  # fmt: skip
        axes.set(xlabel=f"growth of RMSE, {unit}")
        most = max(importances.values()) * 1.15
        axes.set_xlim(
            min(0.0, *importances.values()), most if most > 0 else 1.0
        )  # room for “+0.00”
        axes.grid(visible=False, axis="y")

    return Plot(
        "importance",
        "Permutation importance: the growth of the error where an input is shuffled between rides.",
        "Importance: " + ", ".join(f"{name} {grown:.2f}" for name, grown in reversed(rows)) + ".",
        draw("importance", paint, size=WIDE),
    )


def learning_curve(learning: Sequence[LearningPoint], baseline: float, unit: str) -> Plot:
    def paint(axes: Axes) -> None:
        rides = [point.rides for point in learning]
        axes.plot(rides, [point.rmse for point in learning], color=ACCENT, linewidth=2, marker="o")
        for point in learning:
            axes.annotate(
                f"{point.rmse:.2f}", (point.rides, point.rmse), (0, 9), color=INK,
                textcoords="offset points", ha="center",
            )  # fmt: skip
        axes.axhline(baseline, color=WARM, linewidth=1.6, dashes=DASHES)
        axes.annotate(
            f"linear, all rides: {baseline:.2f}", (rides[-1], baseline), (0, 6), color=WARM,
            textcoords="offset points", ha="right",
        )  # fmt: skip
        axes.set_xscale("log")
        axes.set_xticks(rides, [f"{count:,}" for count in rides])
        axes.minorticks_off()
        axes.margins(x=0.08)
        worst = max(baseline, *(point.rmse for point in learning))
        axes.set(xlabel="rides trained on", ylabel=f"RMSE, {unit}", ylim=(0, worst * 1.15))

    return Plot(
        "learning-curve",
        "The error on the test month, by the number of training rides.",
        "RMSE by rides trained on: "
        + ", ".join(f"{point.rides:,}: {point.rmse:.2f}" for point in learning) + ".",
        draw("learning", paint, size=WIDE),
    )  # fmt: skip


def coverage(parts: Sequence[PartMetrics], kind: str) -> Plot:
    """Return a plot of the coverage of the intervals in each of *parts*.

    *kind* is the kind of all *parts*: ``hour`` or ``borough``.
    """
    shares = [float(part.coverage) for part in parts if part.coverage is not None]
    names = [f"{part.name}\n{part.rides:,}" if kind == "borough" else part.name for part in parts]

    def paint(axes: Axes) -> None:
        places = range(len(names))
        axes.axhspan(0.75, 0.85, color=SHADES[1], linewidth=0)
        axes.axhline(NOMINAL_COVERAGE, color=WARM, linewidth=1.6, dashes=DASHES)
        axes.plot(places, shares, color=ACCENT, linewidth=0, marker="o", markersize=6)
        step = 3 if len(names) > 12 else 1
        axes.set_xticks(places[::step], names[::step])
        axes.set_xlim(-0.6, len(names) - 0.4)
        low, high = min(0.7, *shares) - 0.02, max(0.9, *shares) + 0.02
        axes.set(ylim=(max(0, low), min(1.02, high)), ylabel="share within the interval")
        axes.set_xlabel(
            "hour of the pick-up, New York" if kind == "hour" else "borough of the pick-up; rides"
        )
        axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
        axes.grid(visible=False, axis="x")

    return Plot(
        f"coverage-by-{kind}",
        f"The share of true values within their interval, by {kind}. The line is the nominal "
        "share, and the band is five percentage points around it.",
        f"Coverage by {kind}: between {min(shares):.0%} and {max(shares):.0%}.",
        draw(f"coverage-{kind}", paint, size=WIDE),
    )


def all_plots(
    test: Evaluation,
    parts: Sequence[PartMetrics],
    *,
    importances: Mapping[str, float],
    learning: Sequence[LearningPoint],
    baseline: float,
    unit: str,
) -> list[Plot]:
    """Return the plots of one run; plots of coverage only if the model has intervals.

    *parts* are the metrics of *test* by part, *importances* is the result of `metrics.importance`,
    *learning* are the points of the learning curve, and *baseline* is the linear baseline's RMSE.
    """
    covered = [
        coverage(found, kind)
        for kind in ("hour", "borough")
        if test.covered is not None and (found := [part for part in parts if part.kind == kind])
    ]
    return [
        predicted_against_true(test, unit),
        residuals_by_hour(test, unit),
        residuals_by_distance(test, unit),
        importance(importances, unit),
        learning_curve(learning, baseline, unit),
        *covered,
    ]


def _paint_hours(axes: Axes, hours: Sequence[int], bands: Sequence[Floats], unit: str) -> None:
    _paint_bands(axes, [float(hour) for hour in hours], bands)
    axes.set(xlim=(-0.4, 23.4), xlabel="hour of the pick-up, New York", ylabel=f"error, {unit}")
    axes.set_xticks(range(0, 24, 3))


def _paint_bands(axes: Axes, places: Sequence[float], bands: Sequence[Floats]) -> None:
    low, quarter, middle, three_quarters, high = np.array(bands).T
    axes.fill_between(places, low, high, color=SHADES[2], linewidth=0)
    axes.fill_between(places, quarter, three_quarters, color=SHADES[6], linewidth=0)
    axes.plot(places, middle, color=WARM, linewidth=1.8, marker="o", markersize=3.5)
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.grid(visible=False, axis="x")


def _band(error: Floats) -> Floats:
    band: Floats = np.quantile(error, [0.1, 0.25, 0.5, 0.75, 0.9])
    return band


def _span(values: Sequence[float]) -> str:
    return f"{min(values):+.1f} and {max(values):+.1f}"
