"""Formats the results of a comparison as Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from math import sqrt

from ..data.dataset import UNITS, Target
from ..metrics import CLOSE_ERROR, CLOSE_SHARE, COVERAGE, PartMetrics, of_kind
from .comparison import (
    CHAMPION,
    Comparison,
    ConstantIntervals,
    ModelResult,
    UnknownInputResult,
)

LINEAR = "linear"
MIN_RIDES = 1_000
"""Hours and boroughs with fewer rides are left out of the check of coverage."""


def markdown(found: Comparison) -> str:
    """Return the results of a comparison as Markdown.

    For each target, there is a table of errors and a table of intervals.  A last table has the
    errors for rides with an unknown input.
    """
    parts = []
    for target, each in groupby(found.lines, key=lambda line: line.target):
        lines = list(each)
        constant = [one for one in found.constant if one.target == target]
        parts += [_errors(target, lines), _intervals(target, lines, constant)]
    return "\n".join([*parts, _unknown_inputs(found.unknown)])


def _errors(target: Target, lines: Sequence[ModelResult]) -> str:
    models = list(dict.fromkeys(line.model for line in lines))
    rows = []
    for pair, each in groupby(lines, key=lambda line: line.pair):
        of = {line.model: line for line in each}
        share = of[CHAMPION].whole.rmse / of[LINEAR].whole.rmse
        rides = f"{of[CHAMPION].trained:,} → {of[CHAMPION].whole.rides:,}"
        rows.append([pair, rides, *(_error(of[model].whole) for model in models), f"{share:.3f}"])
    return _table(
        f"{target.capitalize()}, {UNITS[target]}: RMSE (MAE; median and p90 of the absolute error; "
        f"share within {CLOSE_ERROR:g} {UNITS[target]} or {CLOSE_SHARE:.0%})",
        ["train → test", "rides", *models, f"ratio to {LINEAR}"],
        rows,
    )


def _intervals(
    target: Target, lines: Sequence[ModelResult], constant: Sequence[ConstantIntervals]
) -> str:
    champions = [line for line in lines if line.model == CHAMPION]
    both = list(zip(champions, constant, strict=True))
    rows = [
        [
            line.pair,
            f"{line.whole.bias:+.2f}",
            *_coverage_and_width(line.whole.coverage, line.whole.width),
            *_coverage_and_width(one.coverage, one.width),
            "; ".join(_outside(line)) or "none",
        ]
        for line, one in both
    ]
    pooled = [
        _mean((value, line.whole.rides) for value, line in each)
        for each in (
            [(line.whole.bias, line) for line in champions],
            [(line.whole.coverage, line) for line in champions],
            [(line.whole.width, line) for line in champions],
            [(one.coverage, line) for line, one in both],
            [(one.width, line) for line, one in both],
        )
    ]
    return _table(
        f"Bias of the champion of {target} in {UNITS[target]}, and its 80 % intervals: coverage "
        f"and mean width in {UNITS[target]}, beside intervals of constant width",
        ["train → test", "bias", "coverage", "width", "constant width: coverage", "width",
         f"groups of {MIN_RIDES:,} rides or more outside {COVERAGE[0]:.0%} to {COVERAGE[1]:.0%}"],
        [*rows, ["all", f"{pooled[0]:+.2f}", *_coverage_and_width(*pooled[1:3]),
                 *_coverage_and_width(*pooled[3:]), ""]],
    )  # fmt: skip


def _coverage_and_width(coverage: float | None, width: float | None) -> tuple[str, str]:
    return _percent(coverage), f"{width:.2f}"


def _outside(line: ModelResult) -> Iterator[str]:
    for kind in ("hour", "borough"):
        for part in of_kind(line.parts, kind):
            if part.rides >= MIN_RIDES and not COVERAGE[0] <= (part.coverage or 0) <= COVERAGE[1]:
                name = f"{part.name} h" if kind == "hour" else part.name
                yield f"{name} {_percent(part.coverage)}"


def _unknown_inputs(found: Sequence[UnknownInputResult]) -> str:
    targets = list(dict.fromkeys(one.target for one in found))
    rows = []
    for what in dict.fromkeys(one.what for one in found):
        of = {t: [one for one in found if (one.what, one.target) == (what, t)] for t in targets}
        cells = [
            f"{_pooled(of[t], 'champion'):.2f} ({_pooled(of[t], LINEAR):.2f})" for t in targets
        ]
        rows.append([what, f"{sum(one.rides for one in of[targets[0]]):,}", *cells])
    return _table(
        "RMSE of the champion (and the linear baseline) with unknown inputs, over all pairs",
        ["unknown input", "rides", *(f"{target}, {UNITS[target]}" for target in targets)],
        rows,
    )


def _pooled(found: Iterable[UnknownInputResult], model: str) -> float:
    return sqrt(_mean((getattr(one, model) ** 2, one.rides) for one in found))


def _mean(weighted: Iterable[tuple[float | None, int]]) -> float:
    pairs = [(value or 0, weight) for value, weight in weighted]
    return sum(value * weight for value, weight in pairs) / sum(weight for _, weight in pairs)


def _error(part: PartMetrics) -> str:
    quantiles = f"{part.median:.2f}; {part.p90:.2f}"
    return f"{part.rmse:.2f} ({part.mae:.2f}; {quantiles}; {part.close:.0%})"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


def _table(title: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return f"{title}\n\n" + "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)
