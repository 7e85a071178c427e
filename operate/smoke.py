"""Smoke test of a running stack: ``python -m operate.smoke --stack NAME``.

The command sends ten rides and a broken record to the input stream.  The stack works if every model
publishes ten predictions on the output stream, and the broken record is found in the rejects.  If
one of the rides is also found in the rejects, the command ends at once with the reasons.  For a
stack that CloudFormation does not know, such as a local stack, pass the streams and the rejects
location: ``--input``, ``--output-stream`` and ``--rejects``.

Every run has new ride ids, reads the output stream from its end, and recognises predictions by the
event ids of its own records.  Records of other producers and of other runs have no effect.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console

from . import command, deployed_stack
from .aws import client
from .command import FAILED, CommandError, whole_number
from .console import OperatorConsole
from .deployed_stack import DeployedStack, StreamTail

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient
    from mypy_boto3_s3 import S3Client

RIDES = 10
PATIENCE_SECONDS = 120
POLL_SECONDS = 1.0  # a shard allows five reads a second, for all its readers together

Wait = Callable[[float], None]
Scored = dict[tuple[str, str], set[str]]
"""(Model, version) -> the event ids of the rides that it scored."""


def events(run: str) -> dict[str, bytes]:
    """Return ten ride events and a broken record: ride id -> the bytes of the record.

    *run* is a text that is different in each run; every ride id begins with it.

    >>> list(events("smoke-1f3e"))[-2:]
    ['smoke-1f3e-9', 'smoke-1f3e-broken']
    """

    def ride_event(ride_id: str, dropoff: int, miles: float) -> bytes:
        ride = {"PULocationID": 130, "DOLocationID": dropoff, "trip_distance": miles}
        return json.dumps({"ride": ride, "ride_id": ride_id}).encode()

    rides = {f"{run}-{n}": ride_event(f"{run}-{n}", 205, 0.5 + n) for n in range(RIDES)}
    return rides | {f"{run}-broken": ride_event(f"{run}-broken", 266, 1.0)}  # no such zone


def smoke(
    stack: DeployedStack,
    kinesis: KinesisClient,
    s3: S3Client,
    say: Callable[[str], None],
    *,
    patience: float = PATIENCE_SECONDS,
    wait: Wait = time.sleep,
) -> bool:
    """Test *stack*; return True if all predictions and the rejection arrive in *patience* seconds.

    *say* prints a line, and *wait* is called with the seconds to wait.

    Raises `CommandError` if a stream or the rejects cannot be used.
    """
    tail = StreamTail(kinesis, stack.output_stream)
    payloads = events(f"smoke-{uuid.uuid4().hex}")
    *rides, broken = [
        deployed_stack.put_record(kinesis, stack.input_stream, *each) for each in payloads.items()
    ]
    say(f"sent {RIDES} rides and a broken record to {stack.input_stream}")

    began = time.monotonic()
    scored: Scored = {}
    reasons: dict[str, str] = {}
    while not (
        complete := broken in reasons and len(complete_models(rides, scored)) >= stack.models
    ):
        for prediction in tail.predictions():
            if prediction.source.event_id in rides:
                version = (prediction.model, prediction.version)
                scored.setdefault(version, set()).add(prediction.source.event_id)
        reasons |= deployed_stack.rejection_reasons(s3, stack, {*rides, broken} - reasons.keys())
        if reasons.keys() & set(rides):
            complete = False
            break
        if time.monotonic() - began > patience:
            break
        wait(POLL_SECONDS)

    seconds = min(patience, time.monotonic() - began)
    for line in summary(stack, rides, scored, reasons, seconds):
        say(line)
    return complete


def summary(
    stack: DeployedStack,
    rides: Sequence[str],
    scored: Scored,
    reasons: Mapping[str, str],
    seconds: float,
) -> list[str]:
    """Return the lines that a smoke test prints at its end.

    *rides* are the event ids of the rides.  *reasons* has the reason for each rejected record, by
    event id; reasons of other event ids belong to the broken record.  *seconds* is the time that
    the test waited for the results.
    """
    lines = [
        f"{model}, version {version}, published predictions for {len(found)} of {RIDES} rides"
        f" on {stack.output_stream}"
        for (model, version), found in scored.items()
    ]
    models = len(complete_models(rides, scored))
    rejected = Counter(reasons[ride] for ride in rides if ride in reasons)
    for reason, count in rejected.most_common():
        lines.append(f"{count} of {RIDES} rides were rejected to {stack.rejects}: {reason}")
    if missing := len(set(rides).difference(reasons, *scored.values())):
        lines.append(f"no prediction arrived for {missing} rides within {seconds:.0f} s")
    elif models < stack.models and not rejected:
        lines.append(f"{models} of {stack.models} models scored all rides within {seconds:.0f} s")
    if broken := [reason for event_id, reason in reasons.items() if event_id not in rides]:
        lines.append(f"the broken record was rejected to {stack.rejects}: {broken[0]}")
    else:
        lines.append(f"the broken record did not reach {stack.rejects} within {seconds:.0f} s")
    return lines


def complete_models(rides: Sequence[str], scored: Scored) -> set[str]:
    """Return the names of the models that scored all *rides*, which are given by their event ids.

    The versions of a model count together.

    >>> complete_models(["a", "b"], {("m", "1"): {"a"}, ("m", "2"): {"b"}, ("n", "1"): {"a"}})
    {'m'}
    """
    by_model: dict[str, set[str]] = {}
    for (model, _), found in scored.items():
        by_model.setdefault(model, set()).update(found)
    return {model for model, found in by_model.items() if found.issuperset(rides)}


def main(arguments: Sequence[str] | None = None, *, wait: Wait = time.sleep) -> int:
    """Run the command and return its exit code.

    *arguments* are those of the command line; None for those of this process.  *wait* is called
    with the seconds to wait.
    """
    options = _options(arguments)
    return command.run("smoke", lambda: run(options, wait))


def run(options: argparse.Namespace, wait: Wait) -> int:
    """Test the stack that *options* name, and return the exit code.

    *wait* is called with the seconds to wait.

    Raises `CommandError` if a stream or the rejects cannot be used.
    """
    console = OperatorConsole(Console(file=sys.stdout))
    stack = _stack(options)
    kinesis, s3 = client("kinesis"), client("s3")
    works = smoke(stack, kinesis, s3, console.say, patience=options.patience, wait=wait)
    console.say("The stack works." if works else "The stack does not work.")
    return 0 if works else FAILED


def _stack(options: argparse.Namespace) -> DeployedStack:
    parts = (options.input, options.output_stream, options.rejects)
    if bool(options.stack) == any(parts) or (any(parts) and not all(parts)):
        raise CommandError("name either --stack, or all of --input, --output-stream and --rejects")
    if options.stack:
        return deployed_stack.find_stack(client("cloudformation"), options.stack)
    return DeployedStack(*parts)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m operate.smoke",
        description="Send ten rides and a broken record through a stack and check the results.",
        epilog="Exit codes: 0 it works, 1 it does not work, 2 bad input, 130 interrupted.",
    )
    parser.add_argument("--stack", metavar="NAME", help="a CloudFormation stack")
    parser.add_argument("--input", metavar="STREAM", help="the stream of ride events")
    parser.add_argument("--output-stream", metavar="STREAM", help="the stream of predictions")
    parser.add_argument(
        "--rejects", type=_location, metavar="s3://bucket/prefix", help="the rejects location"
    )
    parser.add_argument(
        "--patience",
        type=whole_number(1, 3600),
        metavar="SECONDS",
        default=PATIENCE_SECONDS,
        help="how long to wait for the results (%(default)s)",
    )
    return parser.parse_args(arguments)


def _location(text: str) -> str:
    if not text.startswith("s3://") or text == "s3://":
        raise argparse.ArgumentTypeError(f"expected s3://bucket/prefix, not {text!r}")
    return text


if __name__ == "__main__":
    sys.exit(main())
