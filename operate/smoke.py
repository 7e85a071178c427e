"""Ten rides and a broken record through a running stack: ``python -m operate.smoke --stack NAME``.

Whether the stack works is what comes out of it: ten predictions on the output stream, and the
broken record among the rejects.  A stack that CloudFormation does not know, such as a local one,
is named by its parts: ``--input``, ``--output-stream`` and ``--rejects``.

The rides' ids are new with every run, the output stream is read from where it ends before anything
is sent, and what comes out is known by the event ids of what went in: neither old records nor
another run are taken for this one's.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rich.console import Console

from . import deployed_stack as stacks
from .aws import client
from .console import Screen
from .deployed_stack import Stack, Tail
from .errors import BadInput, OperateError

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient
    from mypy_boto3_s3 import S3Client

RIDES = 10
PATIENCE_SECONDS = 120.0
GLANCE_SECONDS = 1.0  # a shard may be read five times a second, by all its readers together
MISSING, BAD_INPUT, INTERRUPTED = 1, 2, 130  # exit codes

Wait = Callable[[float], None]
Answered = dict[tuple[str, str], set[str]]
"""Rides by the model and the version that answered them."""


def events(run: str) -> dict[str, bytes]:
    """The rides, and behind them the broken record, by ride id.

    >>> list(events("smoke-1f3e"))[-2:]
    ['smoke-1f3e-9', 'smoke-1f3e-broken']
    """

    def ride_event(ride_id: str, dropoff: int, miles: float) -> bytes:
        ride = {"PULocationID": 130, "DOLocationID": dropoff, "trip_distance": miles}
        return json.dumps({"ride": ride, "ride_id": ride_id}).encode()

    rides = {f"{run}-{n}": ride_event(f"{run}-{n}", 205, 0.5 + n) for n in range(RIDES)}
    return rides | {f"{run}-broken": ride_event(f"{run}-broken", 266, 1.0)}  # no such zone


def smoke(
    stack: Stack,
    kinesis: KinesisClient,
    s3: S3Client,
    say: Callable[[str], None],
    *,
    patience: float = PATIENCE_SECONDS,
    wait: Wait = time.sleep,
) -> bool:
    """Whether all that should comes out within *patience* seconds.

    Raises `BadInput` where a part of the stack cannot be used.
    """
    tail = Tail(kinesis, stack.output_stream)
    payloads = events(f"smoke-{uuid.uuid4().hex}")
    *rides, broken = [stacks.put(kinesis, stack.input, *each) for each in payloads.items()]
    say(f"sent {RIDES} rides and a broken record to {stack.input}")

    began = time.monotonic()
    answered: Answered = {}
    reason = ""
    while not (complete := bool(reason) and len(_done(rides, answered)) >= stack.models):
        for prediction in tail.predictions():
            if prediction.source.event_id in rides:
                who = (prediction.model, prediction.version)
                answered.setdefault(who, set()).add(prediction.source.event_id)
        reason = reason or stacks.reason(s3, stack, broken)
        if time.monotonic() - began > patience:
            break
        wait(GLANCE_SECONDS)

    for (model, version), found in answered.items():
        say(
            f"{len(found)} of {RIDES} rides were answered on {stack.output_stream}"
            f" by {model}, version {version}"
        )
    if missing := len(set(rides).difference(*answered.values())):
        say(f"no prediction came for {missing} rides within {patience:g} s")
    elif (done := len(_done(rides, answered))) < stack.models:
        say(f"{done} of {stack.models} models answered all rides within {patience:g} s")
    say(
        f"the broken record lies under {stack.rejects}: {reason}"
        if reason
        else f"the broken record did not come to {stack.rejects} within {patience:g} s"
    )
    return complete


def _done(rides: Sequence[str], answered: Answered) -> set[str]:
    """The models that answered every ride, be it in several versions."""
    models = {model for model, _ in answered}
    return {
        name
        for name in models
        if not set(rides).difference(*(found for who, found in answered.items() if who[0] == name))
    }


def main(arguments: Sequence[str] | None = None, *, wait: Wait = time.sleep) -> int:
    """The exit code."""
    options = _options(arguments)
    screen = Screen(Console(file=sys.stdout))
    try:
        stack = _stack(options)
        kinesis, s3 = client("kinesis"), client("s3")
        works = smoke(stack, kinesis, s3, screen.say, patience=options.patience, wait=wait)
    except OperateError as exc:
        print(f"smoke: {exc}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("smoke: stopped", file=sys.stderr)
        return INTERRUPTED
    screen.say("The stack works." if works else "The stack does not work.")
    return 0 if works else MISSING


def _stack(options: argparse.Namespace) -> Stack:
    parts = (options.input, options.output_stream, options.rejects)
    if bool(options.stack) == any(parts) or (any(parts) and not all(parts)):
        raise BadInput("name a --stack; or its parts: --input, --output-stream and --rejects")
    if options.stack:
        return stacks.deployed(client("cloudformation"), options.stack)
    return Stack(*parts)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m operate.smoke",
        description="Send ten rides and a broken record through a stack, and see what comes out.",
        epilog="Exit codes: 0 it works, 1 something did not come, 2 bad input, 130 stopped.",
    )
    parser.add_argument("--stack", metavar="NAME", help="a CloudFormation stack")
    parser.add_argument("--input", metavar="STREAM", help="the stream of ride events")
    parser.add_argument("--output-stream", metavar="STREAM", help="the stream of predictions")
    parser.add_argument("--rejects", type=_location, metavar="s3://bucket/prefix")
    parser.add_argument(
        "--patience",
        type=_seconds,
        metavar="SECONDS",
        default=PATIENCE_SECONDS,
        help="(%(default)g)",
    )
    return parser.parse_args(arguments)


def _location(text: str) -> str:
    if not text.startswith("s3://") or text == "s3://":
        raise argparse.ArgumentTypeError(f"it takes s3://bucket/prefix, not {text!r}")
    return text


def _seconds(text: str) -> float:
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= 3600:
        raise argparse.ArgumentTypeError(f"it takes whole seconds, 1 to 3600, not {text!r}")
    return float(text)


if __name__ == "__main__":
    sys.exit(main())
