"""The model card: what a model is for, how good it is, where it is weak, and how it is used.

One text in Markdown, with figures of the run alone; the page is made from it, with the pictures
inside.  `gaps` says what a card lacks, and a model whose card lacks something is not promoted.
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

from ..data.cleaning import Tally
from ..data.dataset import UNITS, Target
from ..data.provenance import File
from ..metrics import Part, of_kind
from . import svg_style
from .plots import NOMINAL, Picture

TEXT, PAGE = "card.md", "card.html"
SECTIONS = (
    "What it is for",
    "Figures",
    "Where it is weaker",
    "What it looks at",
    "Intervals",
    "Data",
    "Limits",
    "How to use it",
    "People",
    "How it was made",
)
PICTURES = (
    "predicted-against-true",
    "residuals-by-hour",
    "residuals-by-distance",
    "importance",
    "learning-curve",
)
"""Those that every card has; of a model with intervals it has their coverage as well."""
NO_INTERVALS = "This model has none."
SAYS: Mapping[Target, str] = {
    "duration": "how long a taxi ride in New York will take, in minutes",
    "cost": "what a taxi ride in New York will cost without the tip, in dollars",
}
SETTINGS: Mapping[Target, str] = {
    "duration": "`MODEL_LOCATION` and `MODEL_SHA256`",
    "cost": "`MODEL_LOCATION` and `MODEL_SHA256` (of the web service: `COST_MODEL_LOCATION` and "
    "`COST_MODEL_SHA256`)",
}


@dataclass(frozen=True, slots=True)
class Rows:
    """What became of the rows of one file."""

    month: str
    use: str
    """``training`` or ``test``."""
    file: File
    tally: Tally


@dataclass(frozen=True, slots=True)
class Facts:
    """What one run knows of its model."""

    target: Target
    run_id: str
    location: str
    sha256: str
    revision: str
    features: Sequence[str]
    parameters: Mapping[str, object]
    environment: Mapping[str, str]
    rows: Sequence[Rows]
    parts: Sequence[Part]
    baseline_rmse: float
    one_ride_ms: float
    largest_difference: float
    plausible: tuple[float, float]


def markdown(facts: Facts, pictures: Sequence[Picture]) -> str:
    """The card, with links to ``pictures/<name>.svg``."""
    drawn = {picture.name: picture for picture in pictures}
    whole = facts.parts[0]
    better = 1 - whole.rmse / facts.baseline_rmse
    text = _beside("model_card.md").substitute(
        target=facts.target,
        says=SAYS[facts.target],
        unit=UNITS[facts.target],
        test_rides=f"{whole.rides:,}",
        test_months=", ".join(rows.month for rows in facts.rows if rows.use == "test"),
        rmse=f"{whole.rmse:.2f}",
        better=f"{abs(better):.0%} {'below' if better > 0 else 'above'}",
        baseline_rmse=f"{facts.baseline_rmse:.2f}",
        figures=_figures(facts.parts),
        weaker=_weaker(facts),
        features=", ".join(f"`{name}`" for name in facts.features),
        intervals=_intervals(facts),
        rows=_rows(facts.rows),
        dropped=_dropped(facts.rows),
        lowest=f"{facts.plausible[0]:.1f}",
        highest=f"{facts.plausible[1]:.1f}",
        settings=SETTINGS[facts.target],
        least=facts.parameters["min_samples_leaf"],
        location=facts.location,
        sha256=facts.sha256,
        one_ride_ms=f"{facts.one_ride_ms:.2f}",
        made=_made(facts),
        pictures_of_figures=_shown(drawn, "predicted-against-true", "learning-curve"),
        pictures_of_residuals=_shown(drawn, "residuals-by-hour", "residuals-by-distance"),
        pictures_of_importance=_shown(drawn, "importance"),
        pictures_of_coverage=_shown(drawn, "coverage-by-hour", "coverage-by-borough"),
    )
    return re.sub(r"\n{3,}", "\n\n", text)


def page(text: str, pictures: Sequence[Picture]) -> str:
    """The card as a page that needs nothing beside itself."""
    from markdown_it import MarkdownIt

    drawn = {f"pictures/{picture.name}.svg": picture for picture in pictures}

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
    """What a card lacks; *files* are those that lie beside it."""
    bodies = dict(re.findall(r"^## (.+)\n((?:(?!## ).*\n?)*)", text, re.MULTILINE))
    shown = re.findall(r"\]\((pictures/[^)]+)\)", text)
    wanted = [f"pictures/{name}.svg" for name in PICTURES]
    if f"## Intervals\n{NO_INTERVALS}" not in text:
        wanted += [f"pictures/coverage-by-{kind}.svg" for kind in ("hour", "borough")]
    return [
        *(f"no section “{name}”" for name in SECTIONS if name not in bodies),
        *(f"nothing under “{name}”" for name, body in bodies.items() if not body.strip()),
        *(f"no picture {name}" for name in wanted if name not in shown or name not in files),
        *(f"no {name}" for name in (TEXT, PAGE) if name not in files),
    ]


def _beside(name: str) -> Template:
    return Template((Path(__file__).parent / name).read_text(encoding="utf-8"))


def _shown(drawn: Mapping[str, Picture], *names: str) -> str:
    return "\n\n".join(
        f"![{drawn[name].alt}](pictures/{name}.svg)" for name in names if name in drawn
    )


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    rule = [":---", *["---:"] * (len(heads) - 1)]
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in (heads, rule, *rows))


def _figures(parts: Sequence[Part]) -> str:
    shown = [part for kind in ("all", "month", "borough") for part in of_kind(parts, kind)]
    return _table(
        ("", "rides", "RMSE", "MAE", "p90", "bias"),
        (
            (
                "the whole test" if part.kind == "all" else part.name,
                f"{part.rides:,}",
                *(f"{value:.2f}" for value in (part.rmse, part.mae, part.p90)),
                f"{part.bias:+.2f}",
            )
            for part in shown
        ),
    )


def _weaker(facts: Facts) -> str:
    found = []
    for kind, name in (("borough", "{}"), ("hour", "the hour from {}:00")):
        if some := of_kind(facts.parts, kind):
            worst = max(some, key=lambda part: part.rmse)
            found.append(
                f"* Of pick-ups by {kind}, the largest error has {name.format(worst.name)}: "
                f"{worst.rmse:.2f} {UNITS[facts.target]} on {worst.rides:,} rides."
            )
    return "\n".join(found)


def _intervals(facts: Facts) -> str:
    whole = facts.parts[0]
    if whole.coverage is None or whole.width is None:
        return NO_INTERVALS
    return (
        f"With each value comes an interval that should hold the truth of {NOMINAL:.0%} of all "
        f"rides. On the test it held **{whole.coverage:.1%}**, and was {whole.width:.1f} "
        f"{UNITS[facts.target]} wide on the mean."
    )


def _rows(rows: Sequence[Rows]) -> str:
    return _table(
        ("month", "use", "read", "dropped", "used", "SHA-256"),
        (
            (
                *(of.month, of.use, *_counts(of.tally)),
                f"`{of.file.sha256[:12]}…`",
            )
            for of in rows
        ),
    )


def _counts(tally: Tally) -> list[str]:
    return [f"{count:,}" for count in (tally.read, tally.read - tally.used, tally.used)]


def _dropped(rows: Sequence[Rows]) -> str:
    reasons: Counter[str] = Counter()
    for of in rows:
        reasons.update(of.tally.dropped)
    found = [(reason, f"{count:,}") for reason, count in reasons.most_common() if count]
    return _table(("why rows were dropped", "rows"), found) if found else ""


def _made(facts: Facts) -> str:
    made = {
        "run": facts.run_id,
        "code": facts.revision,
        "largest difference between ONNX and scikit-learn": f"{facts.largest_difference:.1g}",
        **facts.parameters,
        **facts.environment,
    }
    return _table(("what", "which"), ((name, f"`{value}`") for name, value in made.items()))
