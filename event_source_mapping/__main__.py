"""Runs a mapping between a Kinesis stream and a function, and shows what it does.

    python -m event_source_mapping --template template.yaml --function Scorer --stream rides \\
        --endpoint http://127.0.0.1:4566 --invoke http://127.0.0.1:8080

The function runs under a Runtime Interface Emulator, or in this process (``--handler``).
"""

from __future__ import annotations

import argparse
import importlib
import json
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from threading import Event as Flag
from typing import Any

from .destinations import Deliver, deliver_to
from .errors import MappingError
from .functions import Function, Handler, in_process, over_http
from .identity import REGION, Identity
from .kinesis import KinesisSource
from .settings import Settings, settings_from
from .template import load, mapping_of
from .threads import run

BAD_INPUT, INTERRUPTED = 2, 130  # exit codes
EMULATOR = "http://127.0.0.1:8080"
NO_DESTINATION = "none"
TIMEOUT_SECONDS = 60
CREDENTIALS = ("aws_access_key_id", "aws_secret_access_key")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return the exit code.

    *arguments* are those of the command line; None for those of this process.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    options = _options(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        settings, timeout = _settings(options)
        source = KinesisSource(_client("kinesis", options.endpoint), options.stream)
        settings = replace(settings, retention_period_hours=source.retention_period_hours)
        _, _, _, region, account, _ = source.arn.split(":", 5)
        name = options.function or options.handler or "function"
        names = Identity(
            source.arn, f"arn:aws:lambda:{region}:{account}:function:{name.replace('.', '-')}"
        )
        function = _function(options, names, timeout)
        deliver = _deliver(settings, names, options.endpoint)
        _run(function, source, settings, names, deliver, drain=options.drain)
    except (MappingError, BotoCoreError, ClientError) as exc:
        print(f"event_source_mapping: {exc}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _run(
    function: Function,
    source: KinesisSource,
    settings: Settings,
    names: Identity,
    deliver: Deliver | None,
    *,
    drain: bool,
) -> None:
    from rich.console import Console

    from .console import Display

    display = Display(Console(), time.time(), has_destination=deliver is not None)
    stop = Flag()
    with display.showing():
        try:
            run(
                function,
                source,
                settings,
                names,
                deliver=deliver,
                finished=lambda: drain,
                stop=stop,
                show=display.show,
            )
        finally:
            stop.set()


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m event_source_mapping",
        description="Deliver the records of a Kinesis stream to a function, as Lambda does.",
    )
    parser.add_argument("--stream", required=True, help="name of the Kinesis stream")
    parser.add_argument("--endpoint", help="endpoint of Kinesis, S3 and SQS; AWS without it")
    parser.add_argument("--template", type=Path, help="SAM or CloudFormation template")
    parser.add_argument("--function", help="logical id of the function in the template")
    parser.add_argument("--event", help="name of the event source, if the function has several")
    parser.add_argument(
        "--parameter",
        action="append",
        default=[],
        type=_pair,
        metavar="NAME=VALUE",
        help="value of a parameter of the template; may be repeated",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        type=_pair,
        metavar="NAME=VALUE",
        help="setting such as batch_size=4, which replaces that of the template; may be repeated",
    )
    parser.add_argument(
        "--on-failure", metavar="ARN", help="ARN of the bucket or queue for failed batches, or none"
    )
    target = parser.add_mutually_exclusive_group()
    target.add_argument(
        "--invoke",
        metavar="URL",
        default=EMULATOR,
        help="address of a Runtime Interface Emulator (%(default)s)",
    )
    target.add_argument(
        "--handler", metavar="MODULE.FUNCTION", help="handler to call in this process instead"
    )
    parser.add_argument(
        "--drain", action="store_true", help="end when all records in the stream are resolved"
    )
    return parser.parse_args(arguments)


def _settings(options: argparse.Namespace) -> tuple[Settings, float]:
    """Return the settings of the mapping, and the timeout of the function in seconds."""
    given: dict[str, Any] = {name: _value(text) for name, text in options.set}
    if options.on_failure is not None:
        arn = None if options.on_failure == NO_DESTINATION else options.on_failure
        given["destination_config"] = {"OnFailure": {} if arn is None else {"Destination": arn}}
    if options.template is None:
        return settings_from(given), TIMEOUT_SECONDS
    if options.function is None:
        raise MappingError("Give --function, the logical id of the function in the template.")
    mapped = mapping_of(
        load(options.template),
        options.function,
        parameters=dict(options.parameter),
        given=given,
        event=options.event,
    )
    if mapped.destination_resource is not None:
        raise MappingError(
            f"The destination is the resource {mapped.destination_resource} of the template: give"
            f" its ARN with --on-failure, or --on-failure {NO_DESTINATION}."
        )
    return settings_from(mapped.keywords), mapped.timeout


def _function(options: argparse.Namespace, names: Identity, timeout: float) -> Function:
    if options.handler is None:
        return over_http(options.invoke, timeout)
    module, _, attribute = options.handler.rpartition(".")
    try:
        handler: Handler = getattr(importlib.import_module(module or attribute), attribute)
    except (ImportError, AttributeError) as exc:
        raise MappingError(f"The handler {options.handler} cannot be imported: {exc}.") from None
    return in_process(handler, names, timeout)


def _deliver(settings: Settings, names: Identity, endpoint: str | None) -> Deliver | None:
    target = settings.destination
    if target is None:
        return None
    return deliver_to(target, names, _client(target.service, endpoint))


def _client(service: str, endpoint: str | None) -> Any:
    """Return a client; an emulator gets a region and credentials, if none are configured."""
    import boto3

    session: Any = boto3.session.Session()
    if endpoint is None:
        return session.client(service)
    made_up = {} if session.get_credentials() else dict.fromkeys(CREDENTIALS, "emulator")
    region = session.region_name or REGION
    return session.client(service, endpoint_url=endpoint, region_name=region, **made_up)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, not {text!r}")
    return name, value


def _value(text: str) -> Any:
    """Return the value of a setting in *text*: its JSON value, or *text* itself if it is not JSON.

    >>> _value("4"), _value("true"), _value("LATEST")
    (4, True, 'LATEST')
    """
    try:
        return json.loads(text)
    except ValueError:
        return text


if __name__ == "__main__":
    sys.exit(main())
