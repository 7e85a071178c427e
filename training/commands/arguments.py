"""Parses the command line of training: the options of all commands, with defaults and checks."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NoReturn

from model_service.datasets.months import months
from model_service.settings import url

from ..registry.paired_bootstrap import BOUND, CONFIDENCE

type Parser = argparse.ArgumentParser
Parsers = Mapping[str, Parser]

TARGETS = ("duration", "cost")
KINDS = ("green", "yellow")
TLC_SOURCE = "https://d37ci6vzurychx.cloudfront.net/trip-data"
"""The address of the TLC's files, to which its page of trip records links."""
DOWNLOADED = Path("build/tlc")
SIMULATED = Path("build/simulated")
TRACKING = "sqlite:///build/mlflow.db"
ARTIFACTS = "build/mlflow"
MONTH = "YYYY-MM"
TO = ".."
INTERRUPTED = 130  # the exit code of shells after an interrupt
HELP = {
    "simulate": "write months of simulated rides",
    "download": "download the TLC's months of rides",
    "train": "train a model, log it to MLflow, and load it as the service does",
    "promote": "make a model the champion if it is better than the present one",
    "rollback": "make the previous champion the champion again",
    "release": "copy a registered model, and print the parameters of a deployment",
    "drift": "compare rides with those that a model was trained on",
    "backtest": "compare a model that is retrained each month with one that never is",
    "compare": "compare all models on all pairs of consecutive months",
    "tune": "search for better hyper-parameters",
}


class _Parser(argparse.ArgumentParser):
    """A parser that prints an error on one line.  It is a class because argparse calls `error`."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see --help\n")


def parser() -> Parser:
    """Return the parser of the command line."""
    root = _Parser(prog="python -m training", description="Train, judge and release models.")
    commands = root.add_subparsers(dest="command", required=True)
    parsers = {name: commands.add_parser(name, help=text) for name, text in HELP.items()}
    _add_common(parsers)
    for name, add in _OWN_OPTIONS.items():
        add(parsers[name])
    return root


def expand_months(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the months that *texts* name, each once, oldest first.

    A text is a month or a range of months.  Raises `SettingsError` if a month is not valid.

    >>> expand_months(["2023-01", "2022-12..2023-02"])
    ('2022-12', '2023-01', '2023-02')
    """
    ends = [(text.partition(TO)[0], text.rpartition(TO)[2]) for text in texts]
    return tuple(sorted({month for first, last in ends for month in months(first, last)}))


def whole(least: int, most: int) -> Callable[[str], int]:
    """Return a function that parses an integer from *least* to *most*, both included."""

    def parse(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and least <= float(text) <= most):
            raise argparse.ArgumentTypeError(f"must be an integer from {least} to {most}")
        return int(text)

    return parse


SEED = whole(0, 2**32 - 1)
"""Parses a seed within the range that scikit-learn accepts."""


def _add_common(parsers: Parsers) -> None:
    """Add the options that several commands have."""
    for name in ("promote", "rollback", "release", "tune"):
        parsers[name].add_argument("--tracking-uri", default=TRACKING)
    for name in ("train", "promote", "rollback", "backtest", "tune"):
        parsers[name].add_argument("--target", choices=TARGETS, default="duration")
    for name in ("download", "train", "promote", "drift", "backtest", "compare", "tune"):
        parsers[name].add_argument("--kind", choices=KINDS, default="green", help="of taxis")
    for name in ("promote", "drift", "backtest", "compare", "tune"):
        parsers[name].add_argument("--data", type=Path, default=SIMULATED, help="(%(default)s)")
    for name in ("promote", "drift"):
        parsers[name].add_argument("--month", metavar=MONTH, help="(the newest)")
    for name in ("simulate", "train", "backtest", "compare", "tune"):
        parsers[name].add_argument("--seed", type=SEED, default=0)
    for name in ("simulate", "train"):
        parsers[name].add_argument(
            "--rides", type=whole(1, 10_000_000), default=20_000, help="simulated rides per month"
        )
    for name in ("download", "backtest"):
        parsers[name].add_argument("--from", dest="first", required=True, metavar=MONTH)
        parsers[name].add_argument("--to", dest="last", required=True, metavar=MONTH)


def _add_simulate(simulate: Parser) -> None:
    simulate.add_argument("--output", type=Path, required=True, metavar="DIR")
    simulate.add_argument("--months", nargs="+", required=True, metavar=MONTH)


def _add_download(download: Parser) -> None:
    download.add_argument(
        "--data", type=Path, default=DOWNLOADED, metavar="DIR", help="(%(default)s)"
    )
    download.add_argument(
        "--source", type=_url, default=os.environ.get("TLC_SOURCE") or TLC_SOURCE, metavar="URL",
        help="the address of the files' directory; or TLC_SOURCE (%(default)s)",
    )  # fmt: skip
    download.add_argument(
        "--replace", action="store_true",
        help="overwrite files that this command did not write, or that have changed since",
    )  # fmt: skip


def _add_train(train: Parser) -> None:
    train.add_argument("--data", type=Path, help="a directory of the TLC's months")
    train.add_argument(
        "--train", nargs="+", default=["2021-01"], metavar=MONTH, help=f"or {MONTH}..{MONTH}"
    )
    train.add_argument("--test", default="2021-02", metavar=MONTH)
    train.add_argument(
        "--calibrate", metavar=MONTH, help="a month between, to calibrate the intervals on"
    )
    train.add_argument(
        "--most", type=whole(1, 1_000_000_000), default=1_000_000, metavar="RIDES",
        help="train on a random sample if there are more rides (%(default)s)",
    )  # fmt: skip
    train.add_argument("--parameters", type=Path, metavar="FILE", help="the file of tune --json")
    train.add_argument("--tracking-uri", help=f"MLflow's (default: {TRACKING})")
    train.add_argument("--artifacts", help="s3://bucket/prefix or a directory")
    train.add_argument("--experiment", default="ride-predictions")
    train.add_argument("--json", type=Path, metavar="FILE", help="write the summary there as well")
    train.add_argument("--output", type=Path, metavar="DIR", help="copy the model's files there")
    train.add_argument(
        "--no-card", dest="card", action="store_false",
        help="make no model card; a model without one cannot be promoted",
    )  # fmt: skip


def _add_promote(promote: Parser) -> None:
    promote.add_argument("--run", help="a run's id (the newest run)")
    promote.add_argument("--experiment", default="ride-predictions")
    promote.add_argument("--confidence", type=_share, default=CONFIDENCE)
    promote.add_argument(
        "--bound", type=_percent, default=100 * BOUND, metavar="PERCENT",
        help="the most by which a borough's error may grow (%(default)g)",
    )  # fmt: skip


def _add_release(release: Parser) -> None:
    which = release.add_mutually_exclusive_group()
    which.add_argument("--alias", default="champion", help="(%(default)s)")
    which.add_argument(
        "--version", type=whole(1, 10**9), metavar="NUMBER", help="a version instead of an alias"
    )
    release.add_argument("--name", help="the registered model (ride-duration or ride-cost)")
    release.add_argument("--target", nargs="+", choices=TARGETS, default=["duration"])
    release.add_argument("--bucket", default="", help="(the bucket that holds the model)")
    release.add_argument("--format", choices=["json", "overrides"], default="json")
    release.add_argument(
        "--output", type=Path, metavar="models.yaml", help="write the models' parameters there"
    )


def _add_drift(drift: Parser) -> None:
    drift.add_argument("--model", required=True, help="in the form of MODEL_LOCATION")
    drift.add_argument(
        "--events", nargs="+", type=Path, metavar="FILE", help="files that batch scoring reads"
    )


def _add_backtest(backtest: Parser) -> None:
    backtest.add_argument(
        "--window", type=whole(1, 120), default=1, help="months to train on (%(default)s)"
    )
    backtest.add_argument("--output", type=Path, default=Path("build/backtest"), metavar="DIR")


def _add_compare(compare: Parser) -> None:
    compare.add_argument("--target", nargs="+", choices=TARGETS, default=list(TARGETS))
    compare.add_argument(
        "--parameters", type=Path, metavar="FILE", help="the champion's: the file of tune --json"
    )
    compare.add_argument("--output", type=Path, default=Path("build/comparison"), metavar="DIR")


def _add_tune(tune: Parser) -> None:
    tune.add_argument(
        "--train", nargs="+", required=True, metavar=MONTH, help=f"or {MONTH}..{MONTH}"
    )
    tune.add_argument("--validate", required=True, metavar=MONTH, help="a later month")
    tune.add_argument("--trials", type=whole(1, 10_000), default=30, help="(%(default)s)")
    tune.add_argument("--json", type=Path, metavar="FILE", help="for train --parameters FILE")


_OWN_OPTIONS: Mapping[str, Callable[[Parser], None]] = {
    "simulate": _add_simulate,
    "download": _add_download,
    "train": _add_train,
    "promote": _add_promote,
    "release": _add_release,
    "drift": _add_drift,
    "backtest": _add_backtest,
    "compare": _add_compare,
    "tune": _add_tune,
}
"""Functions that add the options that only one command has; ``rollback`` has none."""


def _url(text: str) -> str:
    try:
        return url(text).rstrip("/")
    except ValueError:
        raise argparse.ArgumentTypeError(
            "must be an address that begins with https:// or http://"
        ) from None


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
        raise argparse.ArgumentTypeError(f"must be a number from {low:g} to {high:g}")
    return value
