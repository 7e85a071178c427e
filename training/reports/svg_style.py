"""The style of all plots, and their conversion to SVG for a page or for a separate file.

`draw` uses colours that stand for the final colours (`INK`, `ACCENT`, …).  `inline` replaces these
by CSS variables, so that a plot suits a light page and a dark page.  `standalone` replaces them by
the colours of a light page.  Text remains text, in the font of the page.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, RULE, ACCENT, WARM = "#010203", "#010204", "#010205", "#010206"
SHADES = [f"#0203{level:02x}" for level in range(1, 13)]
"""Stand-ins for shades, from nearly the background colour to the accent colour."""
_SHARES = {shade: level / len(SHADES) for level, shade in enumerate(SHADES, start=1)}
VARIABLES = {
    INK: "var(--soft)",
    RULE: "var(--rule)",
    ACCENT: "var(--accent)",
    WARM: "var(--warm)",
    **{
        shade: f"color-mix(in oklab, var(--accent) {round(100 * share)}%, var(--card))"
        for shade, share in _SHARES.items()
    },
}
_ACCENT = (15, 123, 95)
LIGHT = {
    INK: "#59645f",
    RULE: "#dfe2dc",
    ACCENT: "#{:02x}{:02x}{:02x}".format(*_ACCENT),
    WARM: "#c2571a",
    **{
        shade: "#{:02x}{:02x}{:02x}".format(*(round(255 + share * (c - 255)) for c in _ACCENT))
        for shade, share in _SHARES.items()
    },
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
    "xtick.minor.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
}


def draw(name: str, paint: Callable[[Axes], None], *, size: tuple[float, float] = SIZE) -> str:
    """Return the plot that *paint* draws, as an SVG document; equal plots give equal documents.

    *name* is the plot's name, from which its SVG ids are made, and *size* is (width, height) in
    inches.  Pass the document to `inline` or `standalone`, which replace its stand-in colours.
    """
    from matplotlib import rc_context  # takes half a second
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    text = io.StringIO()
    with rc_context({**STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        paint(figure.add_subplot())
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    return text.getvalue()


def inline(svg: str, name: str, alt: str) -> str:
    """Return *svg*, a document from `draw`, as an element of an HTML page.

    The element's ids begin with *name*, because they must be unique in a page.  *alt* is the
    alternative text for screen readers.
    """
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' (xmlns(:\w+)?|width|height|version)="[^"]*"', "", svg, count=5)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\1{name}-", svg)
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, variable)
    return svg.replace("<svg", f'<svg role="img" aria-label="{escape(alt)}"', 1).strip()


def standalone(svg: str) -> str:
    """Return *svg*, a document from `draw`, as a separate file with light colours on white."""
    for placeholder, colour in LIGHT.items():
        svg = svg.replace(placeholder, colour)
    svg = svg.replace("'DejaVu Sans', ", "system-ui, 'DejaVu Sans', ")
    return re.sub(
        r"(<svg[^>]*>)", r'\1<rect width="100%" height="100%" fill="#fff"/>', svg, count=1
    )
