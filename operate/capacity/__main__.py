"""Prints what the service needs and costs on AWS: ``python -m operate.capacity``.

The command finds the cheapest design that keeps the latency asked for.  A choice that is given as
an option is not varied.  It prints Markdown tables: the cheapest design in each capacity mode of
the streams, the bill of the cheapest of all, and designs that differ from it in one choice.
docs/capacity.md says where prices and figures come from.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

from .. import command
from ..command import CommandError, whole_number
from . import limits, tables
from .choices import NoDesignError, Question, cheapest
from .design import WINDOWS, Archive, Mode, Workload
from .estimate import Estimate
from .prices import DATE, REGION

LATENCY = 15.0  # seconds: the default of the template's parameter LatencyMilliseconds
CHOSEN = ("mode", "batch_size", "window_seconds", "parallelization", "memory_mb")
"""The options that fix a choice, by the name of the field of `Design`."""


class Parser(argparse.ArgumentParser):
    """A parser that reports a wrong option like every other error: in one sentence."""

    def error(self, message: str) -> NoReturn:
        raise CommandError(message)


@dataclass(frozen=True, slots=True)
class Options:
    """The command line."""

    question: Question
    json: Path | None


def summary(one: Estimate) -> dict[str, Any]:
    """Return *one* as a dict for ``--json``."""
    return {
        **asdict(one.workload),
        **{name: getattr(one.design, name) for name in (*CHOSEN, "archive")},
        "shards": one.shards,
        "prediction_shards": one.prediction_shards,
        "concurrency": one.concurrency,
        "rides_a_batch": round(one.rides_a_batch, 1),
        "latency_seconds": round(one.latency_seconds, 3),
        "dollars_a_month": round(one.dollars_a_month, 2),
        "dollars_a_million_rides": round(one.dollars_a_million_rides, 4),
        "bill": {item: round(value, 2) for item, value in one.bill.items()},
        "limits_exceeded": [limit.name for limit in limits.exceeded(one)],
        "region": REGION,
        "prices_read": DATE,
    }


def report(question: Question, one: Estimate) -> str:
    """Return the text that the command prints; *one* is the cheapest design."""
    load = question.workload
    models = "model" if load.models == 1 else "models"
    parts = [
        f"{load.rides_per_second:,g} rides a second of {load.record_bytes:,} bytes, at the peak"
        f" {load.peak:g} times as many; {load.models} {models}; at most"
        f" {question.latency_seconds:g} s from a ride to its prediction."
        f" US dollars, {REGION}, prices read on {DATE}.",
        "Shards: of the stream of rides + of the stream of predictions.",
        f"The cheapest design, by capacity mode of the streams:\n\n{tables.choices(question)}",
        f"The bill of the cheapest design ({one.design.mode}):\n\n{tables.bill(one)}",
        "Designs that differ from it in one choice:\n\n"
        + tables.one_choice_at_a_time(question, one),
    ]
    parts += [
        f"Above a default limit of AWS: {limit.name}. What to do: {limit.remedy}."
        for limit in limits.exceeded(one)
    ]
    return "\n\n".join(parts)


def run(arguments: Sequence[str] | None) -> int:
    """Print the report and write the JSON; raises `CommandError` if the arguments make no sense."""
    options = parse(arguments)
    try:
        one = cheapest(options.question)
    except NoDesignError as exc:
        raise CommandError(str(exc)) from None
    if options.json:
        try:
            options.json.write_text(json.dumps(summary(one), indent=2) + "\n")
        except OSError as exc:
            raise CommandError(f"cannot write {options.json}: {exc.strerror}") from None
    print(report(options.question, one))
    return 0


def parse(arguments: Sequence[str] | None) -> Options:
    parser = _parser()
    given = parser.parse_args(arguments)
    made = {name: value for name in CHOSEN if (value := getattr(given, name)) is not None}
    if given.mode is not None:
        made["mode"] = Mode(given.mode)
    workload = Workload(given.rides_per_second, given.record_bytes, given.models, given.peak)
    question = Question(workload, given.latency, {**made, "archive": Archive(given.archive)})
    return Options(question, given.json)


def _parser() -> Parser:
    parser = Parser(
        prog="python -m operate.capacity",
        description="Calculate shards, concurrency, latency and costs on AWS.",
        epilog="A choice that is left out is made: the cheapest that keeps the latency."
        " Exit codes: 0 done, 2 bad input or no design keeps the latency.",
    )
    add = parser.add_argument
    add("--rides-per-second", type=number(0.001, 10_000_000), required=True, metavar="N",
        help="the mean over a month")  # fmt: skip
    add("--record-bytes", type=whole_number(1, 1_000_000), metavar="N", default=200,
        help="the size of a ride's record (%(default)s)")  # fmt: skip
    add("--models", type=whole_number(1, 100), metavar="N", default=1,
        help="models that score every ride (%(default)s)")  # fmt: skip
    add("--peak", type=number(1, 1000), metavar="N", default=4.0,
        help="the highest load divided by the mean (%(default)s)")  # fmt: skip
    add("--latency", type=number(0.1, 3600), metavar="SECONDS", default=LATENCY,
        help="the longest time from a ride to its prediction (%(default)s)")  # fmt: skip
    add("--archive", choices=list(map(str, Archive)), default=str(Archive.BOTH),
        help="the streams that are archived (%(default)s)")  # fmt: skip
    add("--mode", choices=list(map(str, Mode)), help="the capacity mode of the streams")
    add("--batch-size", type=whole_number(1, 10_000), metavar="N", help="rides in a batch, at most")
    add("--batch-window", dest="window_seconds", type=whole_number(0, 300), choices=WINDOWS,
        metavar="SECONDS",
        help=f"the batch window: {', '.join(map(str, WINDOWS))}")  # fmt: skip
    add("--parallelization", type=whole_number(1, 10), metavar="N",
        help="simultaneous batches of a shard")  # fmt: skip
    add("--memory", dest="memory_mb", type=whole_number(128, 10_240), metavar="MB",
        help="the memory of the scorer")  # fmt: skip
    add("--json", type=Path, metavar="FILE", help="also write the cheapest design to a file")
    return parser


def number(low: float, high: float) -> Callable[[str], float]:
    """Return an argument type for argparse: it parses numbers from *low* to *high*.

    >>> number(1, 10)("2.5")
    2.5
    """

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(
                f"expected a number from {low:,g} to {high:,g}, not {text!r}"
            )
        return value

    return parse


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line *arguments* and return the exit code."""
    return command.run("operate.capacity", lambda: run(arguments))


if __name__ == "__main__":
    sys.exit(main())
