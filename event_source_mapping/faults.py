"""Faults of a function and of its invocations, by name.

A name has a kind, a number of times, and for readers ", then works":

    handler fails twice, then works
    handler is throttled once, then works
    handler always fails
    handler is always throttled
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, repeat
from threading import Lock
from typing import Any

from .errors import MappingError
from .functions import Function, NotInvoked, Raised, Result, Returned

FAULT = Raised("Fault: the handler was made to fail")
UNKNOWN_RECORD = {"batchItemFailures": [{"itemIdentifier": "no record of this batch"}]}


def _fails(function: Function, event: dict[str, Any], request_id: str) -> Result:
    return FAULT


def _fails_after_its_work(function: Function, event: dict[str, Any], request_id: str) -> Result:
    function(event, request_id)
    return FAULT


def _times_out(function: Function, event: dict[str, Any], request_id: str) -> Result:
    function(event, request_id)
    return Raised("Task timed out")


def _is_throttled(function: Function, event: dict[str, Any], request_id: str) -> Result:
    return NotInvoked("throttled")


def _reports_an_unknown_record(
    function: Function, event: dict[str, Any], request_id: str
) -> Result:
    function(event, request_id)
    return Returned(UNKNOWN_RECORD)


def _reports_the_middle_record(
    function: Function, event: dict[str, Any], request_id: str
) -> Result:
    records = event["Records"]
    middle = len(records) // 2
    done = function({"Records": records[:middle]}, request_id) if middle else Returned(None)
    if not isinstance(done, Returned) or (done.response or {}).get("batchItemFailures"):
        return done
    number = records[middle]["kinesis"]["sequenceNumber"]
    return Returned({"batchItemFailures": [{"itemIdentifier": number}]})


def _returns_text(function: Function, event: dict[str, Any], request_id: str) -> Result:
    function(event, request_id)
    return Returned("done")


KINDS: dict[str, Callable[[Function, dict[str, Any], str], Result]] = {
    "fails": _fails,
    "fails after its work": _fails_after_its_work,
    "times out": _times_out,
    "is throttled": _is_throttled,
    "reports an unknown record": _reports_an_unknown_record,
    "reports the middle record": _reports_the_middle_record,
    "returns text": _returns_text,
}
"""Kind of a fault -> what happens instead of the invocation."""
TIMES = {"once": 1, "twice": 2, "three times": 3}
_NAME = re.compile(
    rf"handler (?:(?P<kind>{'|'.join(sorted(KINDS, key=len, reverse=True))})"
    rf" (?P<times>{'|'.join(TIMES)})(?:, then works)?|always (?P<always>{'|'.join(KINDS)}))"
)


def planned(names: Sequence[str]) -> Iterator[str | None]:
    """Yield for each invocation the kind of its fault: first the faults that *names* describe, and
    then always None.

    Raises `MappingError` if a name is not known.
    """
    plans: list[Iterator[str]] = []
    for name in names:
        if not isinstance(name, str):
            raise MappingError("faults must be a text, such as 'handler fails once', or a list.")
        found = _NAME.fullmatch(name.replace("handler is always", "handler always is"))
        if found is None:
            raise MappingError(
                f"{name!r} is no fault: write 'handler KIND TIMES, then works' or 'handler always"
                f" KIND', with a KIND of {', '.join(KINDS)} and TIMES of {', '.join(TIMES)}."
            )
        if found["always"]:
            plans.append(repeat(found["always"]))
        else:
            plans.append(repeat(found["kind"], TIMES[found["times"]]))
    return chain(*plans, repeat(None))


def recurring(every: int) -> Iterator[str | None]:
    """Yield the kind of a fault for one in *every* invocations, and None for the others.

    Each fault is of the next kind, and after the last kind comes the first kind again.
    """
    while True:
        for kind in KINDS:
            yield from repeat(None, every - 1)
            yield kind


def faulty(
    function: Function,
    faults: Iterator[str | None],
    on_fault: Callable[[str], object] = lambda kind: None,
) -> Function:
    """Return a function that invokes *function*, with the next of *faults* in each invocation.

    *on_fault* is called with the kind of each fault.
    """
    lock = Lock()

    def invoke(event: dict[str, Any], request_id: str) -> Result:
        with lock:
            kind = next(faults)
        if kind is None:
            return function(event, request_id)
        on_fault(kind)
        return KINDS[kind](function, event, request_id)

    return invoke
