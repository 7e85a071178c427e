"""Sends rides to a stream: ``python -m local.producer --stream ride_events --rate 500 --rides N``.

The rides are simulated, or the TLC's own: ``--from-tlc DIR --months 2022-01 --speed 60`` sends an
hour of rides in a minute, each at the time of its pick-up.  Without ``--endpoint``, the records go
to the stack of `make stack` on this machine.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_service.errors import ServiceError

from .formatting import many
from .messages import Message, encoded
from .rides import RidesError, Trip, check_directory, simulated, trips
from .sending import put_to, send_at

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient

RIDES, RATE, PER_AGGREGATE = 1_000, 500.0, 20
SECONDS_BETWEEN_LINES = 10.0
FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130  # exit codes
AWS = "aws"


@dataclass(slots=True)
class Totals:
    """What was sent so far."""

    rides: int = 0
    records: int = 0
    again: int = 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Send rides as the command line requests, and return the exit code."""
    from botocore.exceptions import BotoCoreError, ClientError

    options = _options(arguments)
    try:
        client = _client(options.endpoint)
        client.describe_stream_summary(StreamName=options.stream)
        _send(client, options, _trips(options))
    except (RidesError, ServiceError, BotoCoreError, ClientError) as exc:
        print(f"producer: {exc}", file=sys.stderr)
        return BAD_INPUT
    except RuntimeError as exc:
        print(f"producer: {exc}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("producer: stopped", file=sys.stderr)
        return INTERRUPTED
    return 0


def _send(client: KinesisClient, options: argparse.Namespace, rides: Sequence[Trip]) -> None:
    totals, began = Totals(), time.monotonic()
    per_record = PER_AGGREGATE if options.kpl else 1
    messages = encoded((trip.event for trip in rides), zipped=options.gzip, per_record=per_record)

    def refused(count: int) -> None:
        totals.again += count

    with _progress(len(rides)) as show:

        def sent(accepted: dict[str, Message]) -> None:
            totals.records += len(accepted)
            totals.rides += sum(message.rides for message in accepted.values())
            show(totals.rides)

        due = _schedule(rides, messages, rate=options.rate, speed=options.speed)
        send_at(due, put_to(client, options.stream), sent=sent, refused=refused)
    seconds = time.monotonic() - began
    again = f", {many(totals.again, 'record')} sent again" if totals.again else ""
    print(
        f"sent {many(totals.rides, 'ride')} in {many(totals.records, 'record')} to"
        f" {options.stream} in {seconds:.1f} s{again}"
    )


def _schedule(
    rides: Sequence[Trip], messages: Iterator[Message], *, rate: float, speed: float | None
) -> Iterator[tuple[float, Message]]:
    """Yield each message with its time: that of its last ride, in seconds after the start."""
    first = datetime.fromisoformat(rides[0].pickup_datetime)
    done = 0
    for message in messages:
        done += message.rides
        if speed is None:
            yield (done - 1) / rate, message
        else:
            pickup = datetime.fromisoformat(rides[done - 1].pickup_datetime)
            yield max(0.0, (pickup - first).total_seconds() / speed), message


def _trips(options: argparse.Namespace) -> list[Trip]:
    """Return the rides to send, in the order of their pick-ups."""
    from training.data import dataset

    if options.from_tlc is None:
        count = options.rides or RIDES
        with tempfile.TemporaryDirectory(prefix="rides-") as scratch:
            months = simulated(Path(scratch), count)
            return trips(dataset.read(months.directory, months.train, "duration"), count)
    check_directory(options.from_tlc)
    wanted = options.months or dataset.months(options.from_tlc)
    if not wanted:
        raise RidesError(f"{options.from_tlc} has no green_tripdata_YYYY-MM.parquet.")
    found: list[Trip] = []
    for month in wanted:
        rides = dataset.read(options.from_tlc, month, "duration")
        found += trips(rides, len(rides), first_id=len(found) + 1)
        if options.rides is not None and len(found) >= options.rides:
            return found[: options.rides]
    return found


def _client(endpoint: str | None) -> Any:
    """Return a client of Kinesis.  Raises `RidesError` if no local stack runs."""
    import boto3

    from .aws.server import KEY, REGION
    from .stack import ENVIRONMENT, address

    if endpoint == AWS:
        return boto3.client("kinesis")
    found = endpoint or address(ENVIRONMENT)
    if found is None:
        raise RidesError(
            f"No local stack runs here (make stack). Start it, or give --endpoint URL, or"
            f" --endpoint {AWS} for AWS itself."
        )
    return boto3.client(
        "kinesis",
        endpoint_url=found,
        region_name=REGION,
        aws_access_key_id=KEY,
        aws_secret_access_key=KEY,
    )


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar on a terminal, and lines elsewhere; yield the function that moves it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console, last = Console(), time.monotonic()
    if not console.is_terminal:

        def line(done: int) -> None:
            nonlocal last
            if time.monotonic() - last >= SECONDS_BETWEEN_LINES:
                last = time.monotonic()
                console.print(f"- {done:,} of {many(total, 'ride')} sent", highlight=False)

        yield line
        return
    columns = (TextColumn("rides sent"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bars:
        task = bars.add_task("", total=total)
        yield lambda done: bars.update(task, completed=done)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m local.producer", description="Send rides to a Kinesis stream."
    )
    parser.add_argument("--stream", default="ride_events", help="name (%(default)s)")
    parser.add_argument(
        "--endpoint", metavar="URL", help=f"of Kinesis, or {AWS}; the local stack without it"
    )
    parser.add_argument("--rides", type=_whole, metavar="N", help="how many; 1,000 if simulated")
    pace = parser.add_mutually_exclusive_group()
    pace.add_argument(
        "--rate", type=_positive, default=RATE, metavar="N", help="rides a second (%(default)s)"
    )
    pace.add_argument(
        "--speed", type=_positive, metavar="X", help="X times the pace of the pick-ups instead"
    )
    parser.add_argument("--gzip", action="store_true", help="compress each ride")
    parser.add_argument(
        "--kpl", action="store_true", help=f"put {PER_AGGREGATE} rides in a record, as the KPL does"
    )
    parser.add_argument("--from-tlc", type=Path, metavar="DIR", help="directory of TLC files")
    parser.add_argument("--months", nargs="+", metavar="YYYY-MM", help="months in it; all without")
    options = parser.parse_args(arguments)
    if options.months and options.from_tlc is None:
        parser.error("--months needs --from-tlc")
    return options


def _whole(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, not {text!r}")
    return int(text)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, not {text!r}")
    return value


if __name__ == "__main__":
    sys.exit(main())
