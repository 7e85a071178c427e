"""Formats estimates as Markdown tables, for the command and for docs/capacity.md."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from itertools import product
from typing import Any

from . import earlier, limits
from .choices import NoDesignError, Question, cheapest, variations
from .design import Archive, Design, Mode, Workload
from .estimate import Estimate
from .figures import Figure, Figures
from .prices import Price, Prices

TITLES = {
    "mode": "streams",
    "batch_size": "batch size",
    "window_seconds": "batch window",
    "parallelization": "parallelization",
    "memory_mb": "memory",
    "archive": "archive",
}
UNITS = {"window_seconds": " s", "memory_mb": " MB"}
RESULTS = ("shards", "concurrency", "latency", "$ a month", "$ a million rides")
LOADS = (1_000, 10_000, 100_000, 1_000_000)
EVERYTHING = {"archive": Archive.BOTH}
GOALS = (
    (1_000, Mode.ON_DEMAND, 0.35),
    (1_000, None, 0.15),
    (50_000, None, 0.08),
)
"""Rides a second, capacity mode (None for the cheapest), and dollars a million rides at most."""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table.

    >>> print(table(["a", "b"], [["1", "2"]]))
    | a | b |
    |---|---|
    | 1 | 2 |
    """
    lines = [head, *rows]
    written = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([written[0], "|" + "---|" * len(head), *written[1:]])


def dollars(value: float) -> str:
    """Return *value* with the digits that matter.

    >>> dollars(0.0675), dollars(177.4), dollars(7983.8), dollars(1.994)
    ('0.068', '177', '7,984', '1.99')
    """
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def seconds(value: float) -> str:
    """Return seconds with the digits that matter.

    >>> seconds(1.066), seconds(11.3)
    ('1.1 s', '11 s')
    """
    return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"


def choices(question: Question) -> str:
    """Return the table of the cheapest design in each capacity mode."""
    rows = []
    for mode in Mode if "mode" not in question.made else [question.made["mode"]]:
        try:
            one = cheapest(question, mode=mode)
        except NoDesignError as exc:
            rows.append([mode, str(exc), *[""] * 9])
            continue
        rows.append([*design(one.design), *results(one)])
    return table([*TITLES.values(), *RESULTS], rows)


def design(one: Design) -> list[str]:
    return [_value(name, getattr(one, name)) for name in TITLES]


def results(one: Estimate) -> list[str]:
    return [
        _shards(one),
        f"{one.concurrency:,}",
        seconds(one.latency_seconds),
        dollars(one.dollars_a_month),
        dollars(one.dollars_a_million_rides),
    ]


def one_choice_at_a_time(question: Question, base: Estimate) -> str:
    """Return the table of designs that differ from *base* in one choice."""
    rows = []
    for name, found in variations(question, base).items():
        for one in found:
            mark = " (chosen)" if one.design == base.design else ""
            note = "; ".join(one.faults)
            if not note and one.latency_seconds > question.latency_seconds:
                note = "too slow"
            value = _value(name, getattr(one.design, name))
            rows.append([f"{TITLES[name]}: {value}{mark}", *results(one), note])
    return table(["choice", *RESULTS, ""], rows)


def bill(one: Estimate) -> str:
    rows = [[item, dollars(value)] for item, value in one.bill.items()]
    return table(
        ["item", "$ a month"], [*rows, ["**total**", f"**{dollars(one.dollars_a_month)}**"]]
    )


def prices(of: Prices) -> str:
    """Return the table of prices; ✓ marks a price that was read on the page that is named."""
    rows = []
    for name in (field.name for field in fields(of)):
        one = getattr(of, name)
        if isinstance(one, Price):
            site = one.source.removeprefix("https://").removeprefix("www.").partition("/")[0]
            link = f"[{site}]({one.source})"
            source = f"✓ {link}, {one.year}" if one.verified else f"not found; check {link}"
            rows.append([one.item, f"{one.dollars:.10f}".rstrip("0").rstrip("."), one.unit, source])
    return table(["item", "$", "for a", "source"], rows)


def figures(of: Figures) -> str:
    found: list[Figure] = [getattr(of, field.name) for field in fields(of)]
    return table(
        ["figure", "value", "source"],
        [
            [
                one.meaning,
                f"{one.value:,g} {one.unit}",
                ", ".join(filter(None, (one.source, one.date))),
            ]
            for one in found
        ],
    )


def earlier_design() -> str:
    """Return the table that compares the calculation with the known costs of the earlier design."""
    rows = []
    for known in earlier.KNOWN:
        one = earlier.again(known)
        rows.append(
            [
                f"{known.rides_per_second:,.0f}",
                f"{known.dollars_a_month:,.0f} / {one.dollars_a_month:,.0f}",
                f"{known.firehose:,.0f} / {one.bill['Firehose']:,.0f}",
                f"{known.dollars_a_million_rides:.2f} / {one.dollars_a_million_rides:.2f}",
            ]
        )
    return table(["rides a second", "$ a month", "of which Firehose", "$ a million rides"], rows)


def goal(rides_per_second: float, mode: Mode | None, latency: float) -> Estimate:
    """Return the cheapest design with everything in it, for a goal."""
    question = Question(Workload(rides_per_second), latency, EVERYTHING)
    return cheapest(question, **({"mode": mode} if mode else {}))


def goals(latency: float) -> str:
    rows = []
    for rides, mode, most in GOALS:
        one = goal(rides, mode, latency)
        rows.append(
            [
                f"{rides:,}",
                mode or f"the cheapest ({one.design.mode})",
                f"{most:.2f}",
                dollars(one.dollars_a_million_rides),
            ]
        )
    return table(["rides a second", "streams", "at most, $ a million rides", "calculated"], rows)


def growth(latency: float) -> str:
    """Return the table of what breaks first as the load grows, and what to do then.

    A row has only the limits that no smaller load of the table exceeds.
    """
    rows = []
    known: dict[Mode, set[str]] = {Mode.PROVISIONED: set(), Mode.ON_DEMAND: set()}
    for rides, (mode, names) in product(LOADS, known.items()):
        one = cheapest(Question(Workload(rides), latency, EVERYTHING), mode=mode)
        new = [limit for limit in limits.exceeded(one) if limit.name not in names]
        names |= {limit.name for limit in new}
        breaks = [
            f"{limit.name} ([AWS]({limit.source})), {_from(limits.breaking_load(limit, one))}"
            for limit in new
        ]
        rows.append(
            [
                f"{rides:,}",
                str(mode),
                _shards(one),
                f"{one.concurrency:,}",
                dollars(one.dollars_a_month),
                dollars(one.dollars_a_million_rides),
                "; ".join(breaks) or _known(one),
                "; ".join(limit.remedy for limit in new),
            ]
        )
    head = ["rides a second", "streams", "shards", "concurrency", "$ a month", "$ a million"]
    return table([*head, "what breaks", "what to do"], rows)


def _known(one: Estimate) -> str:
    """Return which limit of a smaller load *one* exceeds most."""
    broken = limits.exceeded(one)
    if not broken:
        return "nothing"
    worst = max(broken, key=lambda limit: limit.share(one))
    return f"nothing new ({worst.share(one):,.0f} times the {worst.name})"


def _from(rides: float) -> str:
    return f"from {float(f'{rides:.2g}'):,.0f} rides a second" if rides else "at any load"


def _shards(one: Estimate) -> str:
    """Return the shards of the stream of rides and of the stream of predictions."""
    return f"{one.shards:,} + {one.prediction_shards:,}"


def _value(name: str, value: Any) -> str:
    return f"{value:,}{UNITS.get(name, '')}" if isinstance(value, int) else str(value)
