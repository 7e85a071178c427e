"""The report's pictures, as SVG that stands inside a page and takes its colours from it.

Matplotlib draws with four stand-in colours; in the text of the SVG they become CSS variables,
so that one picture serves a light page and a dark one.  Text stays text, in the page's font.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .words import rounded

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]

INK, RULE, ACCENT, WARM = "#010203", "#010204", "#010205", "#010206"
VARIABLES = {
    INK: "var(--soft)",
    RULE: "var(--rule)",
    ACCENT: "var(--accent)",
    WARM: "var(--warm)",
}
SHADES = [f"#0203{level:02x}" for level in range(1, 13)]
"""From nearly the card's colour to the accent."""
VARIABLES |= {
    shade: f"color-mix(in oklab, var(--accent) {round(100 * level / len(SHADES))}%, var(--card))"
    for level, shade in enumerate(SHADES, start=1)
}
SIZE = (6.2, 4.6)  # inches
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 11,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": RULE,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.labelpad": 8,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "ytick.major.size": 0,
    "legend.frameon": False,
}


def predicted_against_true(true: Floats, predicted: Floats, *, alt: str) -> str:
    """How many rides lie where, in minutes; darker is more."""

    def draw(axes: Axes) -> None:
        most = 60.0
        cells = axes.hexbin(
            true, predicted, gridsize=44, extent=(0, most, 0, most), mincnt=1, linewidths=0
        )
        share = np.log1p(np.asarray(cells.get_array(), dtype=float))
        levels = np.ceil(len(SHADES) * share / share.max()).astype(int) - 1
        cells.set_array(None)
        cells.set(facecolor=[SHADES[level] for level in levels], edgecolor="face", linewidth=0.4)
        axes.plot([0, most], [0, most], color=WARM, linewidth=1.6, dashes=(5, 4))
        axes.text(46, 56.5, "exactly right", color=WARM, ha="right", va="center")
        axes.set(
            xlim=(0, most), ylim=(0, most), aspect="equal",
            xlabel="minutes that the ride took", ylabel="minutes predicted",
        )  # fmt: skip
        axes.set_xticks(range(0, 61, 10))
        axes.set_yticks(range(0, 61, 10))

    return _svg("match", alt, draw)


def error_by_hour(hour: Floats, error: Floats, *, alt: str) -> str:
    """The mean size of the error for each hour of the day, and its bias."""

    def draw(axes: Axes) -> None:
        hours = [h for h in range(24) if np.any(hour == h)]
        size = [float(np.mean(np.abs(error[hour == h]))) for h in hours]
        bias = [float(np.mean(error[hour == h])) for h in hours]
        axes.bar(hours, size, color=ACCENT, width=0.72, label="size of the error")
        axes.plot(hours, bias, color=WARM, linewidth=1.6, marker="o", markersize=4,
                  label="bias: above 0 predicts too long")  # fmt: skip
        axes.axhline(0, color=INK, linewidth=0.8)
        axes.set(xlim=(-0.7, 23.7), xlabel="hour of the pick-up, New York", ylabel="minutes")
        axes.set_ylim(min(0.0, *bias) * 1.15, max(0.1, *size) * 1.22)
        axes.set_xticks(range(0, 24, 3))
        axes.grid(visible=False, axis="x")
        axes.legend(loc="upper left", ncols=2, handlelength=1.4, borderaxespad=0)

    return _svg("hours", alt, draw)


def latency(milliseconds: Sequence[float], *, alt: str) -> str:
    """How long a ride waited for its prediction."""

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
    """Rides on the input stream and predictions on the output stream, as the seconds pass."""

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


def _svg(name: str, alt: str, draw: Any) -> str:
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    text = io.StringIO()
    with rc_context({**STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=SIZE, layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure.add_subplot())
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    return inline(text.getvalue(), name, alt)


def inline(svg: str, name: str, alt: str) -> str:
    """A whole SVG document as an element of a page.

    Identifiers get *name* before them, for a page's must be unique.
    """
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' (xmlns(:\w+)?|width|height|version)="[^"]*"', "", svg, count=5)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\1{name}-", svg)
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, variable)
    return svg.replace("<svg", f'<svg role="img" aria-label="{escape(alt)}"', 1).strip()
