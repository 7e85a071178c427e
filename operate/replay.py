"""Lists what was rejected or given up, and replays it: ``python -m operate.replay s3://bucket/prefix``.

``--function NAME`` is a dry run; with ``--yes`` the function is invoked with the original records,
so that event ids and arrival times stay, and no other consumer of the stream sees a ride twice.
`delivery` has the rules of that, and `kept` has what marks an object as done.

* What the replay itself makes the function reject is not replayed by it: that is listed before.
* Delivery is at least once.  Rejects hold only records with something that was rejected, but a
  record that the KPL aggregated comes back as a whole, and Lambda's own objects hold whole batches.
  What was published of these is published again, with the same identity.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence

from rich.console import Console

from . import invoke
from .aws import client
from .console import Screen
from .errors import BadInput, OperateError
from .failed_records import Shelf
from .inventory import Survey, look
from .invoke import Function
from .redelivery import Outcome, Sleep, replay

BATCH_SIZE = 1000
REMAINS, BAD_INPUT, INTERRUPTED = 1, 2, 130  # exit codes


def check(survey: Survey, target: Function) -> None:
    """Raises `BadInput` where objects are another function's, whose rides this one would answer."""
    models = {lot.model for lot in survey.lots} - {"", target.model}
    functions = {lot.function for lot in survey.lots} - {"", target.bare_name}
    if models:
        raise BadInput(
            f"the function {target.name} answers for {target.model}, and objects here were rejected"
            f" by {', '.join(sorted(models))}: name a prefix with one model, or say --from-any"
        )
    if functions:
        raise BadInput(
            f"objects here were given up by {', '.join(sorted(functions))}, not {target.name}:"
            " name that function, or say --from-any"
        )


def run(
    options: argparse.Namespace, screen: Screen, connect: Callable[[str], Function], sleep: Sleep
) -> int:
    """The exit code.

    Raises `BadInput`.
    """
    shelf = Shelf.at(client("s3"), options.location)
    survey = look(shelf)
    screen.survey(survey)
    if not options.function:
        return 0
    target = connect(options.function)
    if not options.from_any:
        check(survey, target)
    if not options.yes:
        screen.say(f"A dry run: {target.name} was not invoked. --yes does it.")
        return 0
    with screen.replaying(survey.records) as advance:
        outcome = replay(
            shelf, survey.lots, target, most=options.batch_size, sleep=sleep, advance=advance
        )
    outcome.remains |= survey.unreadable
    return end(outcome, screen)


def end(outcome: Outcome, screen: Screen) -> int:
    """Say what became of it; the exit code."""
    for key, why in outcome.remains.items():
        screen.say(f"remains: {key}: {why}")
    again = {None: "how many rides were rejected again, the function did not say", 0: ""}.get(
        outcome.rejected,
        f"{outcome.rejected} rides were rejected again, and lie there with their reasons",
    )
    screen.say(
        "; ".join(
            filter(
                None,
                [
                    f"{outcome.records} records of {outcome.objects} objects were replayed",
                    again,
                    f"{len(outcome.remains)} objects remain" if outcome.remains else "",
                ],
            )
        )
    )
    return REMAINS if outcome.remains or outcome.rejected else 0


def main(
    arguments: Sequence[str] | None = None,
    *,
    connect: Callable[[str], Function] = invoke.connect,
    sleep: Sleep = time.sleep,
) -> int:
    """The exit code."""
    options = _options(arguments)
    try:
        return run(options, Screen(Console(file=sys.stdout)), connect, sleep)
    except OperateError as exc:
        print(f"replay: {exc}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("replay: stopped; the same command goes on where it ended", file=sys.stderr)
        return INTERRUPTED


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m operate.replay",
        description="List the records that were rejected or given up, and replay them.",
        epilog="Exit codes: 0 all is done, 1 something remains, 2 bad input, 130 stopped.",
    )
    parser.add_argument("location", metavar="s3://bucket/prefix", help="a prefix, or one object")
    parser.add_argument("--function", metavar="NAME", help="invoke this function; a dry run first")
    parser.add_argument("--yes", action="store_true", help="no dry run: invoke it")
    parser.add_argument(
        "--batch-size", type=_size, metavar="N", default=BATCH_SIZE, help="records (%(default)s)"
    )
    parser.add_argument(
        "--from-any", action="store_true", help="also what another model or function left"
    )
    return parser.parse_args(arguments)


def _size(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= 10_000:
        raise argparse.ArgumentTypeError(f"it takes a whole number from 1 to 10000, not {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
