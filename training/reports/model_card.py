"""The model card: the intended use, metrics, weaknesses and origin of a model.

The card is a text in Markdown, with the figures of one run.  `page` makes an HTML page from the
card and its plots.  `gaps` lists the missing parts of a card; a model with an incomplete card is
not promoted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from model_service.truth import DURATION

from ..data.dataset import UNITS, Target
from ..data.provenance import MonthUse
from ..metrics import CLOSE_ERROR, CLOSE_SHARE, PartMetrics, of_kind
from . import svg_style
from .plots import NOMINAL_COVERAGE, Plot

TEXT, PAGE = "card.md", "card.html"
SECTIONS = (
    "Intended use",
    "Metrics",
    "Weaknesses",
    "Features",
    "Intervals",
    "Data",
    "Limits",
    "How to use it",
    "Privacy and fairness",
    "Origin",
)
PLOTS = (
    "predicted-against-true",
    "residuals-by-hour",
    "residuals-by-distance",
    "importance",
    "learning-curve",
)
"""The plots of every card; the card of a model with intervals also has plots of their coverage."""
NO_INTERVALS = "This model has no intervals."
TLC = "The data are trip records of the New York City Taxi and Limousine Commission."
SIMULATED = "The data are simulated rides, in the format of the TLC's trip records."
PREDICTS: Mapping[Target, str] = {
    "duration": "the duration of a taxi ride in New York, in minutes",
    "cost": "the cost of a taxi ride in New York without the tip, in dollars",
}
SETTINGS: Mapping[Target, str] = {
    "duration": "`MODEL_LOCATION` and `MODEL_SHA256`",
    "cost": "`MODEL_LOCATION` and `MODEL_SHA256` (in the web service and in batch scoring: "
    "`COST_MODEL_LOCATION` and `COST_MODEL_SHA256`)",
}


@dataclass(frozen=True, slots=True)
class CardFacts:
    """The figures of one training run that its model card shows."""

    target: Target
    run_id: str
    location: str
    sha256: str
    revision: str
    features: Sequence[str]
    parameters: Mapping[str, object]
    environment: Mapping[str, str]
    months: Sequence[MonthUse]
    parts: Sequence[PartMetrics]
    baseline_rmse: float
    one_ride_ms: float
    largest_difference: float
    plausible: tuple[float, float]


def markdown(facts: CardFacts, plots: Sequence[Plot]) -> str:
    """Return the card in Markdown, with links to ``pictures/<name>.svg``."""
    drawn = {plot.name: plot for plot in plots}
    whole = facts.parts[0]
    better = 1 - whole.rmse / facts.baseline_rmse
    template = Template((Path(__file__).parent / "model_card.md").read_text(encoding="utf-8"))
    text = template.substitute(
        target=facts.target,
        predicts=PREDICTS[facts.target],
        unit=UNITS[facts.target],
        test_rides=f"{whole.rides:,}",
        test_months=", ".join(one.month for one in facts.months if one.use == "test"),
        rmse=f"{whole.rmse:.2f}",
        better=f"{abs(better):.0%} {'below' if better > 0 else 'above'}",
        baseline_rmse=f"{facts.baseline_rmse:.2f}",
        close=_close(facts.target),
        figures=_figures(facts.parts, facts.target),
        weaker=_weaker(facts),
        features=", ".join(f"`{name}`" for name in facts.features),
        intervals=_intervals(facts),
        source=SIMULATED if any(one.simulated for one in facts.months) else TLC,
        rows=_month_table(facts.months),
        dropped=_dropped_table(facts.months),
        lowest=f"{facts.plausible[0]:.1f}",
        highest=f"{facts.plausible[1]:.1f}",
        shortest=f"{DURATION.low:g}",
        longest=f"{DURATION.high:g}",
        settings=SETTINGS[facts.target],
        least=facts.parameters["min_samples_leaf"],
        location=facts.location,
        sha256=facts.sha256,
        one_ride_ms=f"{facts.one_ride_ms:.2f}",
        made=_made(facts),
        pictures_of_figures=_images(drawn, "predicted-against-true", "learning-curve"),
        pictures_of_residuals=_images(drawn, "residuals-by-hour", "residuals-by-distance"),
        pictures_of_importance=_images(drawn, "importance"),
        pictures_of_coverage=_images(drawn, "coverage-by-hour", "coverage-by-borough"),
    )
    return re.sub(r"\n{3,}", "\n\n", text)


def page(text: str, plots: Sequence[Plot]) -> str:
    """Return *text*, the card in Markdown, as an HTML page that contains its plots.

    The page loads no other file.
    """
    from markdown_it import MarkdownIt

    drawn = {f"pictures/{plot.name}.svg": plot for plot in plots}

    def picture(tokens: Any, place: int, *_: object) -> str:
        shown = drawn[tokens[place].attrs["src"]]
        return (
            f"<figure>{svg_style.inline(shown.svg, shown.name, shown.alt)}"
            f"<figcaption>{escape(shown.caption)}</figcaption></figure>"
        )

    renderer = MarkdownIt("commonmark", {"html": False}).enable("table")
    renderer.add_render_rule("image", lambda _, *given: picture(*given))
    body = re.sub(r"<p>(<figure>.*?</figure>)\s*</p>", r"\1", renderer.render(text), flags=re.S)
    body = body.replace("<table>", "<div class=table tabindex=0><table>")
    body = body.replace("</table>", "</table></div>")
    title = escape(text.partition("\n")[0].removeprefix("# "))
    style = (Path(__file__).parent / "model_card.css").read_text(encoding="utf-8")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{style}</style></head><body><main>{body}</main></body></html>\n"
    )


def gaps(text: str, files: Collection[str]) -> list[str]:
    """Return one sentence for each missing part of a card.

    *text* is the card in Markdown, and *files* are the paths of the files in its folder.
    """
    bodies = dict(re.findall(r"^## (.+)\n((?:(?!## ).*\n?)*)", text, re.MULTILINE))
    shown = re.findall(r"\]\((pictures/[^)]+)\)", text)
    wanted = [f"pictures/{name}.svg" for name in PLOTS]
    if f"## Intervals\n{NO_INTERVALS}" not in text:
        wanted += [f"pictures/coverage-by-{kind}.svg" for kind in ("hour", "borough")]
    return [
        *(f"section “{name}” is missing" for name in SECTIONS if name not in bodies),
        *(f"section “{name}” is empty" for name, body in bodies.items() if not body.strip()),
        *(f"plot {name} is missing" for name in wanted if name not in shown or name not in files),
        *(f"{name} is missing" for name in (TEXT, PAGE) if name not in files),
    ]


def _images(drawn: Mapping[str, Plot], *names: str) -> str:
    return "\n\n".join(
        f"![{drawn[name].alt}](pictures/{name}.svg)" for name in names if name in drawn
    )


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    rule = [":---", *["---:"] * (len(heads) - 1)]
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in (heads, rule, *rows))


def _close(target: Target) -> str:
    return f"{CLOSE_ERROR:g} {UNITS[target]} or {CLOSE_SHARE:.0%}"


def _figures(parts: Sequence[PartMetrics], target: Target) -> str:
    shown = [part for kind in ("all", "month", "borough") for part in of_kind(parts, kind)]
    return _table(
        ("", "rides", "RMSE", "MAE", "median", "p90", f"within {_close(target)}", "bias"),
        (
            (
                "all test rides" if part.kind == "all" else part.name,
                f"{part.rides:,}",
                *(f"{value:.2f}" for value in (part.rmse, part.mae, part.median, part.p90)),
                f"{part.close:.1%}",
                f"{part.bias:+.2f}",
            )
            for part in shown
        ),
    )


def _weaker(facts: CardFacts) -> str:
    lines = []
    for kind, name in (("borough", "{}"), ("hour", "the hour from {}:00")):
        if some := of_kind(facts.parts, kind):
            worst = max(some, key=lambda part: part.rmse)
            lines.append(
                f"* The {kind} with the largest RMSE is {name.format(worst.name)}: "
                f"{worst.rmse:.2f} {UNITS[facts.target]} on {worst.rides:,} rides."
            )
    return "\n".join(lines)


def _intervals(facts: CardFacts) -> str:
    whole = facts.parts[0]
    if whole.coverage is None or whole.width is None:
        return NO_INTERVALS
    return (
        f"Each prediction has an interval that should contain the true value of "
        f"{NOMINAL_COVERAGE:.0%} of all rides. In the test it contained "
        f"**{whole.coverage:.1%}**, with a mean width of {whole.width:.1f} {UNITS[facts.target]}."
    )


def _month_table(months: Sequence[MonthUse]) -> str:
    rows = (
        (
            one.month,
            one.use,
            *(f"{n:,}" for n in (one.tally.read, one.tally.read - one.tally.used, one.tally.used)),
            f"`{one.file.sha256[:12]}…`",
        )
        for one in months
    )
    return _table(("month", "use", "rows read", "dropped", "used", "SHA-256"), rows)


def _dropped_table(months: Sequence[MonthUse]) -> str:
    reasons = sum((Counter(one.tally.dropped) for one in months), Counter[str]())
    rows = [(reason, f"{count:,}") for reason, count in reasons.most_common()]
    return _table(("reason for dropping rows", "rows"), rows) if rows else ""


def _made(facts: CardFacts) -> str:
    made = {
        "run": facts.run_id,
        "code": facts.revision,
        "largest difference between ONNX and scikit-learn": f"{facts.largest_difference:.1g}",
        **facts.parameters,
        **facts.environment,
    }
    return _table(("property", "value"), ((name, f"`{value}`") for name, value in made.items()))
