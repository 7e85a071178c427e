"""Draws the plots of the report, as SVG that is embedded in a page and uses the page's colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from training.reports import svg_style
from training.reports.plots import paint_match
from training.reports.svg_style import ACCENT, INK, WARM

from ..formatting import rounded

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]


def predicted_against_true(true: Floats, predicted: Floats, *, alt: str) -> str:
    """Return an SVG plot of predicted against true minutes.

    The colour of a cell shows its number of rides.  *alt* is the alternative text.
    """

    def draw(axes: Axes) -> None:
        paint_match(axes, true, predicted, unit="minutes", most=60.0)

    return _svg("match", alt, draw)


def error_by_hour(hour: Floats, error: Floats, *, alt: str) -> str:
    """Return an SVG plot of the mean absolute error and the bias for each hour of the day.

    *hour* is the hour of each pick-up, and *error* is predicted minus true minutes, shape (n,).
    *alt* is the alternative text.
    """

    def draw(axes: Axes) -> None:
        hours = [h for h in range(24) if np.any(hour == h)]
        size = [float(np.mean(np.abs(error[hour == h]))) for h in hours]
        bias = [float(np.mean(error[hour == h])) for h in hours]
        axes.bar(hours, size, color=ACCENT, width=0.72, label="mean absolute error")
        axes.plot(hours, bias, color=WARM, linewidth=1.6, marker="o", markersize=4,
                  label="bias: above 0, predictions are too long")  # fmt: skip
        axes.axhline(0, color=INK, linewidth=0.8)
        axes.set(xlim=(-0.7, 23.7), xlabel="hour of the pick-up, New York", ylabel="minutes")
        axes.set_ylim(min(0.0, *bias) * 1.15, max(0.1, *size) * 1.22)
        axes.set_xticks(range(0, 24, 3))
        axes.grid(visible=False, axis="x")
        axes.legend(loc="upper left", ncols=2, handlelength=1.4, borderaxespad=0)

    return _svg("hours", alt, draw)


def latency(milliseconds: Sequence[float], *, alt: str) -> str:
    """Return an SVG histogram of the times from a ride to its prediction.

    *alt* is the alternative text.
    """

    def draw(axes: Axes) -> None:
        values = np.array(milliseconds)
        middle, late = np.percentile(values, [50, 99])
        end = max(1.0, late * 1.15)
        axes.hist(np.clip(values, 0, end), bins=48, range=(0, end), color=ACCENT, rwidth=0.88)
        top = axes.get_ylim()[1]
        axes.set_ylim(0, top * 1.22)
        for value, name, height in ((late, "99 of 100 by", 1.15), (middle, "half by", 1.05)):
            axes.axvline(value, color=WARM, linewidth=1.6, dashes=(5, 4))
            right = value < end / 2
            axes.text(
                value + end * (0.012 if right else -0.012),
                top * height,
                f"{name} {rounded(round(float(value), 3), 0)} ms",
                color=WARM,
                ha="left" if right else "right",
            )
        axes.set(xlim=(0, end), xlabel="milliseconds from ride to prediction", ylabel="rides")
        axes.grid(visible=False, axis="x")

    return _svg("latency", alt, draw)


def keeping_up(sent: Floats, predicted: Floats, *, alt: str) -> str:
    """Return an SVG plot of how many rides were sent and predicted up to each point in time.

    *sent* and *predicted* are the times of sending and of prediction, one for each ride, in seconds
    since the first ride.  *alt* is the alternative text.
    """

    def draw(axes: Axes) -> None:
        for seconds, colour, label, width in (
            (sent, WARM, "rides sent", 4.0),
            (predicted, ACCENT, "predictions published", 1.8),
        ):
            axes.step(
                np.sort(seconds), np.arange(1, len(seconds) + 1), where="post",
                color=colour, linewidth=width, label=label,
            )  # fmt: skip
        axes.set(xlabel="seconds since the first ride", ylabel="rides so far")
        axes.set_xlim(0)
        axes.set_ylim(0)
        axes.legend(loc="upper left")

    return _svg("pace", alt, draw)


def _svg(name: str, alt: str, paint: Any) -> str:
    return svg_style.inline(svg_style.draw(name, paint), name, alt)
