"""Parses the command line of batch scoring."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from ..datasets.months import months
from ..errors import SettingsError
from .backfill import MONTH

PARALLEL = {"score": 1, "backfill": 2}
"""Command -> default of ``--parallel``."""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options in *arguments*; exit with code 2 if *arguments* are wrong."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    if options.engine == "spark" and options.parallel:
        parser.error(
            "--parallel applies only to --engine local: on Spark, the number of executors and"
            " their cores decide how many files are scored at a time"
        )
    options.parallel = options.parallel or PARALLEL[options.command]
    return options


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the commands ``score`` and ``backfill``."""
    parser = argparse.ArgumentParser(
        prog="python -m model_service.batch", description="Score files of rides."
    )
    commands = parser.add_subparsers(required=True, dest="command", metavar="score|backfill")
    score = commands.add_parser("score", help="score files")
    score.add_argument(
        "inputs",
        nargs="+",
        type=_location,
        metavar="INPUT",
        help="file, directory or glob, local or s3://bucket/…",
    )
    backfill = commands.add_parser("backfill", help="score a range of months")
    backfill.add_argument(
        "--from", dest="first", required=True, type=_month, metavar="YYYY-MM", help="first month"
    )
    backfill.add_argument(
        "--to", dest="last", required=True, type=_month, metavar="YYYY-MM", help="last month"
    )
    backfill.add_argument(
        "--input",
        required=True,
        type=_pattern,
        metavar="PATTERN",
        help=f"file, directory or glob of a month, with {MONTH} in place of YYYY-MM",
    )
    for command in (score, backfill):
        command.add_argument(
            "--output",
            required=True,
            type=_location,
            metavar="DIR",
            help="output directory, local or s3://bucket/…",
        )
        command.add_argument("--json", type=Path, metavar="FILE", help="write a JSON report")
        command.add_argument(
            "--force", action="store_true", help="score inputs again that are already scored"
        )
        command.add_argument(
            "--parallel",
            type=_parallel,
            metavar="N",
            help="files to score at a time, from 1 to 64 (default: 1; backfill: 2)",
        )
        command.add_argument(
            "--engine",
            choices=("local", "spark"),
            default="local",
            help="score on this machine (default) or on Spark",
        )
    return parser


def _month(text: str) -> str:
    try:
        [month] = months(text, text)
    except SettingsError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from None
    return month


def _location(text: str) -> str:
    if "://" in text and not re.match(r"s3://[A-Za-z0-9._-]{3,}(/|$)", text):
        raise argparse.ArgumentTypeError("must be a path or s3://bucket/…")
    return text


def _pattern(text: str) -> str:
    if MONTH not in text:
        raise argparse.ArgumentTypeError(f"must contain {MONTH}")
    return _location(text)


def _parallel(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 64:
        raise argparse.ArgumentTypeError("must be from 1 to 64")
    return int(text)
