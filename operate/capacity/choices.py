"""Finds the cheapest design that keeps a latency, and designs that differ from it in one choice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from .design import WINDOWS, Archive, Design, Mode, Workload
from .estimate import Estimate, estimate
from .figures import FIGURES, Figures
from .prices import PRICES, Prices

CHOICES: Mapping[str, Sequence[Any]] = {
    "mode": tuple(Mode),
    "batch_size": (100, 250, 500, 1000),
    "window_seconds": WINDOWS,
    "parallelization": (1, 2, 5, 10),
    "memory_mb": (1024, 1769),
}
"""Field of `Design` -> the values to choose from.

There is no batch size above 1,000, because the handler was not measured with larger batches, and no
memory below 1,024 MB, because the memory that the function needs was not measured on AWS.
"""


class NoDesignError(Exception):
    """No design keeps the latency; the message says why."""


@dataclass(frozen=True, slots=True)
class Question:
    """The load, the latency asked for, and the choices that are already made."""

    workload: Workload
    latency_seconds: float
    made: Mapping[str, Any]
    """Field of `Design` -> its value; `cheapest` chooses the other fields."""
    prices: Prices = PRICES
    figures: Figures = FIGURES

    def estimate(self, design: Design) -> Estimate:
        return estimate(self.workload, design, self.prices, self.figures)

    def answers(self, one: Estimate) -> bool:
        """Whether the design of *one* works at this load and keeps the latency."""
        return not one.faults and one.latency_seconds <= self.latency_seconds


def estimates(question: Question, **more: Any) -> Iterator[Estimate]:
    """Yield the estimates of all designs that *question* allows, with the choices *more* made."""
    made = {**question.made, **more}
    open_choices = {name: values for name, values in CHOICES.items() if name not in made}
    for values in product(*open_choices.values()):
        yield question.estimate(Design(**made, **dict(zip(open_choices, values, strict=True))))


def cheapest(question: Question, **more: Any) -> Estimate:
    """Return the cheapest estimate that keeps the latency; of equally cheap ones, the fastest.

    *more* are choices that are made besides those of *question*.  Raises `NoDesignError` if no
    design keeps the latency.
    """
    found = list(estimates(question, **more))
    kept = [one for one in found if question.answers(one)]
    if kept:
        return min(kept, key=lambda one: (round(one.dollars_a_month, 4), one.latency_seconds))
    works = [one.latency_seconds for one in found if not one.faults]
    if not works:
        raise NoDesignError(f"no design works at this load: {found[0].faults[0]}")
    raise NoDesignError(
        f"no design keeps a latency of {question.latency_seconds:g} s: the shortest is"
        f" {min(works):.2g} s, so ask for a longer one"
    )


VARIATIONS: Mapping[str, Sequence[Any]] = {
    **CHOICES,
    "batch_size": (100, 1000, 5000),
    "window_seconds": (0, 1, 5, 10, 60, 300),
    "memory_mb": (512, 1024, 1769, 3538),
    "archive": tuple(Archive),
}


def variations(question: Question, base: Estimate) -> dict[str, list[Estimate]]:
    """Return choice -> the estimates of *base* and of designs that differ from it in that choice.

    Also designs that do not keep the latency are among them.
    """
    return {
        name: [question.estimate(replace(base.design, **{name: value})) for value in values]
        for name, values in VARIATIONS.items()
    }
