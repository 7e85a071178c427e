"""The command line of batch scoring."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from ..datasets.months import months
from ..errors import SettingsError
from . import backfill

PARALLEL = {"score": 1, "backfill": 2}


def read(given: Sequence[str]) -> argparse.Namespace:
    """What *given* asks for; ends the process where that is nothing that can be done."""
    known = parser()
    options = known.parse_args(given)
    if options.engine == "spark" and options.parallel:
        known.error("--parallel is of this machine: on Spark, the cluster says how many at a time")
    options.parallel = options.parallel or PARALLEL[options.command]
    return options


def parser() -> argparse.ArgumentParser:
    """Two commands, ``score`` and ``backfill``; which, is in ``command``."""
    parser = argparse.ArgumentParser(prog="python -m model_service.batch")
    commands = parser.add_subparsers(required=True, dest="command", metavar="score|backfill")
    scoring = commands.add_parser("score", help="score files of rides")
    scoring.add_argument(
        "inputs",
        nargs="+",
        type=_place,
        metavar="INPUT",
        help="file, directory or glob, local or s3://…",
    )
    filling = commands.add_parser("backfill", help="score months of rides")
    filling.add_argument("--from", dest="first", required=True, type=_month, metavar="YYYY-MM")
    filling.add_argument("--to", dest="last", required=True, type=_month, metavar="YYYY-MM")
    filling.add_argument(
        "--input", required=True, type=_pattern, help=f"what has a month, with {backfill.MONTH}"
    )
    for command in (scoring, filling):
        command.add_argument(
            "--output", required=True, type=_place, metavar="DIR", help="local or s3://…"
        )
        command.add_argument("--json", type=Path, metavar="FILE", help="where to write the report")
        command.add_argument("--force", action="store_true", help="redo what is done")
        command.add_argument("--parallel", type=_some, metavar="N", help="files at a time")
        command.add_argument(
            "--engine", choices=("local", "spark"), default="local", help="this machine, or Spark"
        )
    return parser


def _month(text: str) -> str:
    try:
        [month] = months(text, text)
    except SettingsError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from None
    return month


def _place(text: str) -> str:
    if "://" in text and not re.match(r"s3://[A-Za-z0-9._-]{3,}(/|$)", text):
        raise argparse.ArgumentTypeError("must be a path, or s3://bucket/…")
    return text


def _pattern(text: str) -> str:
    if backfill.MONTH not in text:
        raise argparse.ArgumentTypeError(f"has no {backfill.MONTH} in it")
    return _place(text)


def _some(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 64:
        raise argparse.ArgumentTypeError("must be from 1 to 64")
    return int(text)
