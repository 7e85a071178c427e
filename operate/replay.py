"""Lists failed records and replays them: ``python -m operate.replay s3://bucket/prefix``.

With ``--function NAME`` alone, the command is a dry run.  With ``--yes`` as well, it invokes the
function with the original records.  Event ids and arrival times stay the same, and other consumers
of the stream do not receive the rides again.  `redelivery` has the rules for sending records, and
`failed_records` describes the marker of an object that was replayed.

* All objects are listed before the first one is sent.  So if the function rejects a record again
  during a replay, the same replay does not send this record once more.
* Delivery is at least once.  An object written by the function has only rejected records, except
  that a KPL aggregate is stored as a whole; an object written by Lambda has whole batches.  So
  predictions that were already published may be published again, with the same identity.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence

from rich.console import Console

from . import command, invoke
from .aws import client
from .command import FAILED, CommandError, whole_number
from .console import OperatorConsole
from .failed_records import FailedRecordStore
from .inventory import Inventory, take_inventory
from .invoke import ARCHIVE, DeployedFunction
from .redelivery import ReplayReport, Sleep, replay

BATCH_SIZE = 1000

Connect = Callable[[str], DeployedFunction]


def check(inventory: Inventory, function: DeployedFunction) -> None:
    """Raise `CommandError` if some objects in *inventory* are not from *function* or its model."""
    models = {each.model for each in inventory.pending} - {"", function.model}
    functions = {each.function for each in inventory.pending} - {"", function.bare_name}
    if function.model == ARCHIVE and (models or functions):
        raise CommandError(
            f"{function.name} archives records, but some objects are from other functions: name the"
            " folder of its event source mapping, s3://bucket/aws/lambda/<mapping id>"
        )
    if models:
        raise CommandError(
            f"the function {function.name} serves {function.model}, but some objects were rejected"
            f" by {', '.join(sorted(models))}: name the prefix of one model, or add --from-any"
        )
    if functions:
        raise CommandError(
            f"Lambda gave up on some records of {', '.join(sorted(functions))}, not of"
            f" {function.name}: name that function, or add --from-any"
        )


def run(
    options: argparse.Namespace, console: OperatorConsole, connect: Connect, sleep: Sleep
) -> int:
    """List the objects, replay them if *options* request it, and return the exit code.

    *connect* returns the function with a given name.  *sleep* is called with the seconds to wait.

    Raises `CommandError` if the location or the function cannot be used.
    """
    store = FailedRecordStore.at(client("s3"), options.location)
    inventory = take_inventory(store)
    console.show_inventory(inventory)
    if not options.function:
        return 0
    function = connect(options.function)
    if function.model == ARCHIVE and options.from_any:
        raise CommandError(
            f"{function.name} archives records, so --from-any is not allowed: records of another"
            " function have gaps, and readers of the archive would skip the records in these gaps"
        )
    if not options.from_any:
        check(inventory, function)
    if not options.yes:
        console.say(f"Dry run: {function.name} was not invoked. Add --yes to invoke it.")
        return 0
    with console.replaying(inventory.records) as advance:
        report = replay(
            store,
            inventory.pending,
            function,
            most=options.batch_size,
            sleep=sleep,
            advance=advance,
        )
    report.remaining |= inventory.unreadable
    for line in summary(report):
        console.say(line)
    return FAILED if report.remaining or report.rejected else 0


def summary(report: ReplayReport) -> list[str]:
    """Return the lines about *report* that a replay prints at its end."""
    totals = [f"{report.records} records of {report.objects} objects were replayed"]
    if report.rejected is None:
        totals.append("the function did not report how many rides it rejected again")
    elif report.rejected:
        totals.append(
            f"{report.rejected} rides were rejected again and are stored with their reasons"
        )
    if report.remaining:
        totals.append(f"{len(report.remaining)} objects remain")
    return [
        *(f"remains: {key}: {why}" for key, why in report.remaining.items()),
        "; ".join(totals),
    ]


def main(
    arguments: Sequence[str] | None = None,
    *,
    connect: Connect = invoke.connect,
    sleep: Sleep = time.sleep,
) -> int:
    """Run the command and return its exit code.

    *arguments* are those of the command line; None for those of this process.
    """
    options = _options(arguments)
    console = OperatorConsole(Console(file=sys.stdout))
    return command.run(
        "replay",
        lambda: run(options, console, connect, sleep),
        interrupted="stopped; run the same command again to continue",
    )


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m operate.replay",
        description="List rejected and failed records, and replay them.",
        epilog="Exit codes: 0 done, 1 some records remain, 2 bad input, 130 interrupted.",
    )
    parser.add_argument("location", metavar="s3://bucket/prefix", help="a prefix or one object")
    parser.add_argument(
        "--function", metavar="NAME", help="function to replay into; a dry run without --yes"
    )
    parser.add_argument("--yes", action="store_true", help="invoke the function")
    parser.add_argument(
        "--batch-size",
        type=whole_number(1, 10_000),
        metavar="N",
        default=BATCH_SIZE,
        help="records per invocation, at most (%(default)s)",
    )
    parser.add_argument(
        "--from-any",
        action="store_true",
        help="also replay records that another model or function left",
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
