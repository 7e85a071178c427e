"""Writes the tables and plots of docs/capacity.md anew: ``python -m tools.capacity_page docs``.

``--check docs`` writes nothing and fails if the page or a plot is out of date.  A table lies
between ``<!-- table: NAME -->`` and ``<!-- end -->``; the text around it stays.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from operate.capacity import tables
from operate.capacity.__main__ import LATENCY
from operate.capacity.choices import Question, cheapest
from operate.capacity.design import Workload
from operate.capacity.figures import FIGURES
from operate.capacity.prices import PRICES

from .capacity_plots import PLOTS, break_even, svg

PAGE = "capacity.md"
BLOCK = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(\n<!-- end -->)", re.DOTALL)


def question(rides_per_second: float) -> Question:
    return Question(Workload(rides_per_second), LATENCY, tables.EVERYTHING)


def one_thousand() -> str:
    asked = question(1_000)
    return tables.one_choice_at_a_time(asked, cheapest(asked))


TABLES: Mapping[str, Callable[[], str]] = {
    "goals": lambda: tables.goals(LATENCY),
    "choices-1000": lambda: tables.choices(question(1_000)),
    "choices-50000": lambda: tables.choices(question(50_000)),
    "bill-1000": lambda: tables.bill(cheapest(question(1_000))),
    "one-choice": one_thousand,
    "break-even": lambda: tables.table(
        ["rides a second", "on demand is cheaper from a peak of"],
        [
            [f"{rides:,.0f}", f"{break_even(rides):g} times the mean"]
            for rides in (100, 1_000, 10_000, 100_000)
        ],
    ),
    "growth": lambda: tables.growth(LATENCY),
    "earlier": tables.earlier_design,
    "prices": lambda: tables.prices(PRICES),
    "figures": lambda: tables.figures(FIGURES),
}
"""Name of a table in the page -> a function that returns the table."""


def written(page: str) -> str:
    """Return *page* with all tables written anew; raises `KeyError` for a table without a name."""
    return BLOCK.sub(lambda found: found[1] + TABLES[found[2]]() + found[3], page)


def files(docs: Path) -> dict[Path, str]:
    """Return path -> text of all generated files in the directory *docs*."""
    plots = {docs / "images" / name: svg(name) for name in PLOTS}
    return {docs / PAGE: written((docs / PAGE).read_text()), **plots}


def main(arguments: list[str]) -> int:
    """Write or check the files; return the exit code."""
    check = arguments[:1] == ["--check"]
    names = arguments[1:] if check else arguments
    if len(names) != 1 or not (Path(names[0]) / PAGE).is_file():
        print(
            f"usage: python -m tools.capacity_page [--check] DIRECTORY-OF-{PAGE}", file=sys.stderr
        )
        return 2
    stale = []
    for path, text in files(Path(names[0])).items():
        if path.exists() and path.read_text() == text:
            continue
        stale.append(str(path))
        if not check:
            path.write_text(text)
    if check and stale:
        print(f"out of date: {', '.join(stale)}: run make capacity", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
