"""What the commands before and after training can be told."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..registry.bootstrap import BOUND, CONFIDENCE

type Parser = argparse.ArgumentParser
Parsers = Mapping[str, Parser]

TARGETS = ("duration", "cost")
KINDS = ("green", "yellow")
SOURCE = "https://d37ci6vzurychx.cloudfront.net/trip-data"
"""Where the TLC's page of trip records leads to."""


def whole(least: int, most: int) -> Callable[[str], int]:
    """Reads a whole number from *least* to *most*."""

    def parse(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and least <= float(text) <= most):
            raise argparse.ArgumentTypeError(f"it takes a whole number, {least} to {most}")
        return int(text)

    return parse


SEED = whole(0, 2**32 - 1)
"""What scikit-learn takes."""


def add_to(commands: Any, tracking_uri: str, rides_at: Path) -> None:
    """The commands' options; the defaults are where training leaves things."""
    parsers = {
        "promote": "make a model the champion, if it beats the one that is",
        "rollback": "make the champion before this one the champion again",
        "release": "pin a registered model, copy it, and say what a deployment takes",
        "drift": "compare rides with those that a model was trained on",
        "backtest": "month by month, train anew beside a model that never is",
        "compare": "every model on every two months that follow each other, as tables",
        "tune": "search for better hyper-parameters",
    }
    made = {name: commands.add_parser(name, help=said) for name, said in parsers.items()}
    _add_common(made, tracking_uri, rides_at)
    for name, add in _OWN.items():
        add(made[name])


def _add_common(made: Parsers, tracking_uri: str, rides_at: Path) -> None:
    for name in ("promote", "rollback", "release", "tune"):
        made[name].add_argument("--tracking-uri", default=tracking_uri)
    for name in ("promote", "rollback", "backtest", "tune"):
        made[name].add_argument("--target", choices=TARGETS, default="duration")
    for name in ("promote", "drift", "backtest", "compare", "tune"):
        made[name].add_argument("--kind", choices=KINDS, default="green", help="of taxis")
    for name in ("promote", "drift"):
        made[name].add_argument("--data", type=Path, default=rides_at, help="(%(default)s)")
        made[name].add_argument("--month", metavar="YYYY-MM", help="(the newest)")

    for name in ("backtest", "compare", "tune"):
        made[name].add_argument("--data", type=Path, default=rides_at, help="(%(default)s)")
        made[name].add_argument("--seed", type=SEED, default=0)


def _add_backtest(back: Parser) -> None:
    back.add_argument("--from", dest="first", required=True, metavar="YYYY-MM")
    back.add_argument("--to", dest="last", required=True, metavar="YYYY-MM")
    back.add_argument(
        "--window", type=whole(1, 120), default=1, help="months to train on (%(default)s)"
    )
    back.add_argument("--output", type=Path, default=Path("build/backtest"), metavar="DIR")


def _add_compare(compare: Parser) -> None:
    compare.add_argument("--target", nargs="+", choices=TARGETS, default=list(TARGETS))
    compare.add_argument(
        "--parameters", type=Path, metavar="FILE", help="what tune --json found, for the champion"
    )
    compare.add_argument("--output", type=Path, default=Path("build/comparison"), metavar="DIR")


def _add_tune(tune: Parser) -> None:
    tune.add_argument(
        "--train", nargs="+", required=True, metavar="YYYY-MM", help="or YYYY-MM..YYYY-MM"
    )
    tune.add_argument("--validate", required=True, metavar="YYYY-MM", help="a later month")
    tune.add_argument("--trials", type=whole(1, 10_000), default=30, help="(%(default)s)")
    tune.add_argument("--json", type=Path, metavar="FILE", help="for train --parameters FILE")


def _add_promote(promote: Parser) -> None:
    promote.add_argument("--run", help="a run's id (the newest)")
    promote.add_argument("--experiment", default="ride-predictions")
    promote.add_argument("--confidence", type=_share, default=CONFIDENCE)
    promote.add_argument(
        "--bound", type=_percent, default=100 * BOUND, metavar="PERCENT",
        help="no borough's error may grow by more (%(default)g)",
    )  # fmt: skip


def _add_release(release: Parser) -> None:
    release.add_argument("--alias", default="champion")
    release.add_argument("--target", nargs="+", choices=TARGETS, default=["duration"])
    release.add_argument("--bucket", default="", help="(the one that the model lies in)")
    release.add_argument("--format", choices=["json", "overrides"], default="json")
    release.add_argument(
        "--output", type=Path, metavar="models.yaml", help="write the models' parameters there"
    )


def _add_drift(drift: Parser) -> None:
    drift.add_argument("--model", required=True, help="as MODEL_LOCATION takes it")
    drift.add_argument(
        "--events", nargs="+", type=Path, metavar="FILE", help="ride events, one a line"
    )


_OWN: Mapping[str, Callable[[Parser], None]] = {
    "promote": _add_promote,
    "release": _add_release,
    "drift": _add_drift,
    "backtest": _add_backtest,
    "compare": _add_compare,
    "tune": _add_tune,
}
"""What a command has that no other has; `rollback` has nothing."""


def add_download(commands: Any, rides_at: Path) -> None:
    """The options of what comes before training."""
    download = commands.add_parser("download", help="bring the TLC's months of rides")
    download.add_argument("--from", dest="first", required=True, metavar="YYYY-MM")
    download.add_argument("--to", dest="last", required=True, metavar="YYYY-MM")
    download.add_argument("--kind", choices=KINDS, default="green")
    download.add_argument(
        "--data", type=Path, default=rides_at, metavar="DIR", help="(%(default)s)"
    )
    download.add_argument(
        "--source", type=_address, default=os.environ.get("TLC_SOURCE") or SOURCE, metavar="URL",
        help="what stands before the files' names; or TLC_SOURCE (%(default)s)",
    )  # fmt: skip
    download.add_argument(
        "--replace", action="store_true", help="also files that are not as download left them"
    )


def _address(text: str) -> str:
    if not text.startswith(("https://", "http://")):
        raise argparse.ArgumentTypeError("it takes an address that begins with https:// or http://")
    return text.rstrip("/")


def _share(text: str) -> float:
    return _between(text, 0.5, 1)


def _percent(text: str) -> float:
    return _between(text, 0, 100)


def _between(text: str, low: float, high: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise argparse.ArgumentTypeError(f"it takes a number from {low:g} to {high:g}")
    return value
